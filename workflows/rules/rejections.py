"""What a person rejected in a run comes back once at most, in whatever words: the same tool to the same destination.

A destination is what the tool's `sensitive` arguments name, and the ids among its arguments; a subject, a text or a time
do not count. What already waited when the first of them was rejected stays to be answered and counts with it. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, JsonValue

from retinue.plan import BoundStep
from workflows.rules.json_args import at, leaves

MAX_CARRIED = 50
"""How many rejections a chat remembers when it goes on as new."""

Target = tuple[str, tuple[str, ...]]
"""A tool and its destination."""


class Rejection(BaseModel):
    """What a chat carries over: something that was rejected in an earlier turn."""

    tool: str
    destination: list[str] = Field(default_factory=list)


def target(step: BoundStep, args: Mapping[str, JsonValue]) -> Target:
    """The tool of a call and where it leads, by its true arguments."""
    ids = [(name, value) for name, value in args.items() if name.endswith("_id")]
    named = [*(leaf for path in step.annotations.sensitive for leaf in leaves(path, at(args, path))), *ids]
    plain = {_normal(value) for _, value in named if value is not None}
    return step.tool, tuple(sorted(plain - {""}))


def _normal(value: JsonValue) -> str:
    """A name of a destination without what does not count; empty for a text of several words, which names none."""
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
        """By what was rejected: whether it came back and was rejected again."""

    def comes_back(self, what: Target) -> bool:
        """Whether it was rejected before."""
        return what in self._came_back

    def is_settled(self, what: Target) -> bool:
        """Whether it came back already and was rejected again, so that nobody is to be asked any more."""
        return self._came_back.get(what, False)

    def rejected(self, what: Target, *, again: bool) -> None:
        """A person said no; `again`: to something that was wanted after the first no."""
        self._came_back[what] = again or self.is_settled(what)

    def approved(self, what: Target) -> None:
        """A person said yes, so from here on it is asked as if it had never been rejected."""
        self._came_back.pop(what, None)

    def begin_turn(self) -> None:
        """The person said something new, and may want it after all: it may be asked once more."""
        self._came_back = dict.fromkeys(self._came_back, False)

    def carried(self) -> list[Rejection]:
        """What the next run of a chat must know."""
        last = list(self._came_back)[-MAX_CARRIED:]
        return [Rejection(tool=tool, destination=list(named)) for tool, named in last]
