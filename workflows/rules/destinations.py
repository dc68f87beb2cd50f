"""Checks the destinations of an action before a person is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from retinue.addresses import misleading
from workflows.rules.json_args import at, leaves


def refused_destinations(args: Mapping[str, JsonValue], sensitive: Sequence[str]) -> Iterator[str]:
    """Yield why an action is refused without asking: an address in it imitates another one.

    Args:
        args: Of the action. References are ignored.
        sensitive: JSON pointers of the arguments that decide where data goes.
    """
    for place in sensitive:
        for path, value in leaves(place, at(args, place)):
            if isinstance(value, str) and (problem := misleading(value)):
                yield f"{path.split('/')[1].replace('_', ' ')}: {problem}"
