"""The state of a reader, small enough to be an event's id.

A reader may resume at another or a restarted process, so no state is stored here: the id itself contains what its
reader has, as short digests of the parts of the view. Parts that differ from the current view have changed since. A
changed part is missed once in four thousand million changes.
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
"""Parts in an id, ten characters each. Of a run with more parts a few are sent again after a resume."""
MAX_ID = 6000
_START = "-"


def _digest(value: Any, size: int) -> bytes:
    return hashlib.blake2b(canonical_json(value).encode(errors="surrogatepass"), digest_size=size).digest()


@dataclass(frozen=True)
class Mark:
    """One state of one part of a view: digests of its name and its content."""

    key: bytes
    content: bytes

    @classmethod
    def of(cls, name: str, content: Any) -> Mark:
        """Return the mark of a JSON value."""
        return cls(_digest(name, _KEY), _digest(content, _PRINT))


def order_of(ids: Iterable[str]) -> str:
    """Return the digest of an order of steps."""
    found = list(ids)
    return _digest(found, _PRINT).hex() if found else _START


def beginning(run: str) -> str:
    """Return the part of an execution's id that a cursor contains."""
    return run[:_RUN]


@dataclass
class EventCursor:
    """The state of one reader.

    Attributes:
        run: The beginning of the last execution's id.
        event: That execution's last history event that may be included.
        messages: Number of messages, from the first one.
        order: The order of the steps, by `order_of`.
        marks: The last sent state of each part.
    """

    run: str = ""
    event: int = 0
    messages: int = 0
    order: str = _START
    marks: dict[bytes, bytes] = field(default_factory=dict)

    def knows(self, mark: Mark) -> bool:
        """Return whether this state of this part is the last sent one."""
        return self.marks.get(mark.key) == mark.content

    def has_seen(self, mark: Mark) -> bool:
        """Return whether any state of this part was sent."""
        return mark.key in self.marks

    def note(self, marks: Iterable[Mark]) -> None:
        """Store the last sent states."""
        self.marks.update((mark.key, mark.content) for mark in marks)

    def keep(self, marks: Iterable[Mark]) -> None:
        """Remove parts that the view no longer has."""
        there = {mark.key for mark in marks}
        self.marks = {key: content for key, content in self.marks.items() if key in there}

    def format_event_id(self, run: str, event: int) -> str:
        """Format it as an event's id.

        Args:
            run: The execution; a chat that continues as new has several.
            event: Its last history event that may be included.
        """
        self.run, self.event = beginning(run), event
        prints = b"".join(key + content for key, content in list(self.marks.items())[-MAX_PRINTS:])
        packed = base64.urlsafe_b64encode(prints).decode().rstrip("=")
        return f"{self.run or _START}.{event}.{self.messages}.{self.order}.{packed}"


def parse_event_id(event_id: str | None) -> EventCursor:
    """Parse an event's id. An invalid one counts as none: its reader gets everything."""
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
