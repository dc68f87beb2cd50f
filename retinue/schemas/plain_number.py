"""Accepts only numbers in JSON: pydantic would also accept `true` and `"5"`, which the documented schemas refuse."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number, not text and not true or false")
    return value


PLAIN_NUMBER = BeforeValidator(_plain)
"""For numbers from clients: `Annotated[int, Field(ge=1), PLAIN_NUMBER]`. Bounds after it would be missing in the schema."""
