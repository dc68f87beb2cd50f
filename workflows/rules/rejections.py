"""What a person rejected in a run comes back once at most, in whatever words: the same tool to the same destination.

A destination is what the tool's `sensitive` arguments name, and the ids among its arguments; a subject, a text or a time
do not count. What is rejected within one plan, or within one turn of an agent, was asked together and counts as one. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Rejected:
    occasion: str | None
    """Of the first rejection; None: in an earlier turn of a chat."""
    again: bool = False
    """It came back, and was rejected again."""


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
        self._known = {(one.tool, tuple(one.destination)): _Rejected(None) for one in carried}

    def comes_back(self, what: Target, occasion: str) -> bool:
        """Whether it was rejected on another occasion."""
        known = self._known.get(what)
        return known is not None and known.occasion != occasion

    def is_settled(self, what: Target, occasion: str) -> bool:
        """Whether it came back already and was rejected again, so that nobody is to be asked any more."""
        return self.comes_back(what, occasion) and self._known[what].again

    def rejected(self, what: Target, occasion: str) -> None:
        """A person said no."""
        known = self._known.get(what)
        if known is None:
            self._known[what] = _Rejected(occasion)
        elif known.occasion != occasion:
            self._known[what] = _Rejected(known.occasion, again=True)

    def approved(self, what: Target) -> None:
        """A person said yes, so from here on it is asked as if it had never been rejected."""
        self._known.pop(what, None)

    def begin_turn(self) -> None:
        """The person said something new, and may want it after all: it may be asked once more."""
        self._known = dict.fromkeys(self._known, _Rejected(None))

    def carried(self) -> list[Rejection]:
        """What the next run of a chat must know."""
        return [Rejection(tool=tool, destination=list(named)) for tool, named in list(self._known)[-MAX_CARRIED:]]
