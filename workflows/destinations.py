"""The places to which an action sends data: checked by code before anybody is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from retinue.addresses import misleading
from workflows.origins import at, leaves


def destinations(args: Mapping[str, JsonValue], sensitive: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every value that decides where data goes, as text, with its JSON pointer. References are left out.

    Args:
        args: Of an action.
        sensitive: The pointers that its tool names.
    """
    for place in sensitive:
        for path, value in leaves(place, at(args, place)):
            yield path, value if isinstance(value, str) else str(value)


def refused_destinations(args: Mapping[str, JsonValue], sensitive: Sequence[str]) -> Iterator[str]:
    """Why an action may not even be asked about: an address in it imitates another one."""
    for path, value in destinations(args, sensitive):
        if problem := misleading(value):
            yield f"{path.split('/')[1].replace('_', ' ')}: {problem}"
