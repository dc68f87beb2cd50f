"""Rejections: a rejected action (the same tool and destination, in any words) is asked once more at most. Pure.

A destination is the values of the tool's `sensitive` arguments and the ids among its arguments, not a subject, text or
time. An approval that was already pending at the first rejection stays open and counts with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, JsonValue

from retinue.plan import BoundStep
from workflows.rules.json_args import at, leaves

MAX_CARRIED = 50
"""How many rejections a chat keeps when it continues as new."""

Target = tuple[str, tuple[str, ...]]
"""A tool and its destination."""


class Rejection(BaseModel):
    """A rejection in an earlier turn of a chat."""

    tool: str
    destination: list[str] = Field(default_factory=list)


def target(step: BoundStep, args: Mapping[str, JsonValue]) -> Target:
    """Return the tool of a call and its destination, from its resolved arguments."""
    ids = [(name, value) for name, value in args.items() if name.endswith("_id")]
    named = [*(leaf for path in step.annotations.sensitive for leaf in leaves(path, at(args, path))), *ids]
    plain = {_normal(value) for _, value in named if value is not None}
    return step.tool, tuple(sorted(plain - {""}))


def _normal(value: JsonValue) -> str:
    """Return a destination's name, normalized; empty for a text of several words, which is no destination."""
    text = unicodedata.normalize("NFKC", str(value)).strip().casefold()
    if len(text.split()) > 1:
        return ""
    if text.startswith(("http://", "https://")):
        try:
            return urlsplit(text).hostname or text
        except ValueError:
            return text
    return text


class Rejections:
    """The rejections of one run.

    Args:
        carried: From earlier turns of a chat.
    """

    def __init__(self, carried: Sequence[Rejection] = ()) -> None:
        self._came_back = {(one.tool, tuple(one.destination)): False for one in carried}
        """By target: whether it was rejected a second time."""

    def comes_back(self, what: Target) -> bool:
        """Whether this target was rejected before."""
        return what in self._came_back

    def is_settled(self, what: Target) -> bool:
        """Whether this target was rejected twice, so that it is not asked any more."""
        return self._came_back.get(what, False)

    def rejected(self, what: Target, *, again: bool) -> None:
        """Record a rejection; `again`: of something that was requested after the first one."""
        self._came_back[what] = again or self.is_settled(what)

    def approved(self, what: Target) -> None:
        """Forget the rejections of this target, since it was approved."""
        self._came_back.pop(what, None)

    def begin_turn(self) -> None:
        """Allow each rejected target to be asked once more, since the person sent a new message."""
        self._came_back = dict.fromkeys(self._came_back, False)

    def carried(self) -> list[Rejection]:
        """Return the rejections for the next run of a chat."""
        last = list(self._came_back)[-MAX_CARRIED:]
        return [Rejection(tool=tool, destination=list(named)) for tool, named in last]
