"""The order in which steps are shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class _Step(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def parent(self) -> str | None: ...


AnyStep = TypeVar("AnyStep", bound=_Step)


def in_order(steps: Sequence[AnyStep]) -> list[AnyStep]:
    """Return the steps with an agent's calls right after the delegated step."""
    calls: dict[str | None, list[AnyStep]] = {}
    known = {step.id for step in steps}
    for step in steps:
        calls.setdefault(step.parent if step.parent in known else None, []).append(step)
    return [shown for step in calls.get(None, ()) for shown in (step, *calls.get(step.id, ()))]
