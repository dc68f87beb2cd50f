"""Values that a model says it has read: what is none is refused before anybody compares or adds it up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from activities.reasoning.contract import ExtractRequest
from activities.reasoning.extraction import extract
from retinue.conversation import Usage
from retinue.errors import MalformedAnswer


class Says:
    """A model that answers one thing."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    async def complete(self, messages: Any, *, answer_format: Any = None) -> tuple[str, Usage]:
        """The answer, whatever the question."""
        return self._answer, Usage()


async def _extracted(number: str) -> object:
    wish = {"instruction": "the sum", "fields": [{"name": "sum", "kind": "number"}], "inputs": {"text": "..."}}
    request = ExtractRequest.model_validate({**wish, "timezone": "UTC"})
    found = await extract(Says(f'{{"sum": {number}}}'), request, now=datetime(2026, 12, 1, tzinfo=UTC))
    return found.values["sum"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 4000, "true", '"7"'])
async def test_what_is_no_number_everywhere_is_refused(number: str) -> None:
    with pytest.raises(MalformedAnswer, match="no number for 'sum'"):
        await _extracted(number)


@pytest.mark.parametrize("number", ["0", "-12.5", "1000000000000"])
async def test_numbers_come_through(number: str) -> None:
    assert await _extracted(number) == float(number)
