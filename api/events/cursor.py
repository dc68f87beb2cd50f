"""What a reader was told, small enough to be an event's id.

A reader who comes back may meet another process, or one that was started anew, so nothing is remembered here: the id
itself says what its reader knows, as short prints of the parts of the view. What differs from the view as it stands
is what changed since. A changed part is taken for an unchanged one once in four thousand million changes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from retinue.json_values import canonical_json

_KEY = 3
_PRINT = 4
_RUN = 8
MAX_PRINTS = 400
"""Of an id, which has ten characters for each. Of a run with more parts a few are told again after a resume."""
MAX_ID = 6000
_START = "-"


def _digest(value: Any, size: int) -> bytes:
    return hashlib.blake2b(canonical_json(value).encode(errors="surrogatepass"), digest_size=size).digest()


@dataclass(frozen=True)
class Mark:
    """One state of one part of a view: its name and its content as prints."""

    key: bytes
    content: bytes

    @classmethod
    def of(cls, name: str, content: Any) -> Mark:
        """The mark of what can be written as JSON."""
        return cls(_digest(name, _KEY), _digest(content, _PRINT))


def order_of(ids: Iterable[str]) -> str:
    """The print of an order of steps."""
    found = list(ids)
    return _digest(found, _PRINT).hex() if found else _START


def beginning(run: str) -> str:
    """What an id holds of an execution's id."""
    return run[:_RUN]


@dataclass
class EventCursor:
    """What one reader knows.

    Attributes:
        run: The beginning of the execution's id that it was told of last.
        event: That execution's last history event that may count in it.
        messages: How many messages of the conversation, from its beginning.
        order: Of the steps, by `order_of`.
        marks: The last told state of each part.
    """

    run: str = ""
    event: int = 0
    messages: int = 0
    order: str = _START
    marks: dict[bytes, bytes] = field(default_factory=dict)

    def knows(self, mark: Mark) -> bool:
        """Whether this state of this part is the one that was told last."""
        return self.marks.get(mark.key) == mark.content

    def has_heard_of(self, mark: Mark) -> bool:
        """Whether any state of this part was told."""
        return mark.key in self.marks

    def note(self, marks: Iterable[Mark]) -> None:
        """Remember the last told states."""
        self.marks.update((mark.key, mark.content) for mark in marks)

    def keep(self, marks: Iterable[Mark]) -> None:
        """Forget parts that the view no longer has."""
        there = {mark.key for mark in marks}
        self.marks = {key: content for key, content in self.marks.items() if key in there}

    def format_event_id(self, run: str, event: int) -> str:
        """As an event's id.

        Args:
            run: The execution; a chat that continues as new has several.
            event: Its last history event that may count in what was told.
        """
        self.run, self.event = beginning(run), event
        prints = b"".join(key + content for key, content in list(self.marks.items())[-MAX_PRINTS:])
        packed = base64.urlsafe_b64encode(prints).decode().rstrip("=")
        return f"{self.run or _START}.{event}.{self.messages}.{self.order}.{packed}"


def parse_event_id(event_id: str | None) -> EventCursor:
    """Read an id back. One that is not ours counts as none: its reader is told everything."""
    try:
        run, event, messages, order, packed = (event_id or "")[:MAX_ID].split(".")
        prints = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        known = EventCursor(run=run, event=int(event), messages=int(messages), order=order)
        if known.event < 0 or known.messages < 0 or len(prints) % (_KEY + _PRINT):
            return EventCursor()
    except (ValueError, binascii.Error):
        return EventCursor()
    for at in range(0, len(prints), _KEY + _PRINT):
        known.marks[prints[at : at + _KEY]] = prints[at + _KEY : at + _KEY + _PRINT]
    return known
