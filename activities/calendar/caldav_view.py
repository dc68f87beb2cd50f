"""What takes place in a stretch of time, by a CalDAV calendar: asked for, read, unfolded, and remembered while it is true."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from activities.calendar.caldav_server import CaldavServer
from activities.calendar.ical_entry import Entry, Occurrence, read_entry
from activities.calendar.ical_values import Unreadable, line
from retinue.errors import InvalidArguments
from retinue.network.dav import Resource

MOST_REMEMBERED = 5000
LONGEST_LOOK = 60.0
"""Seconds for everything that one window holds, which is less than the step may take."""

_TITLE = re.compile(r"^SUMMARY[^:\r\n]*:([^\r\n]*)", re.I | re.M)
_log = logging.getLogger("retinue.calendar")


class CalendarView:
    """Looks into a calendar. One per process, since it remembers what it has read."""

    def __init__(self, server: CaldavServer, *, default_zone: str) -> None:
        self._server = server
        self._zone = default_zone
        self._remembered = _Remembered()

    async def look(self, start: datetime, end: datetime) -> Look:
        """Everything that takes place in the window. Reading and unfolding block, so a thread does them.

        Raises:
            InvalidArguments: The window holds too much.
            ServiceError: See `Outside.ask`.
        """
        look = Look(start, end)
        listed, unreadable = await self._server.between(start, end)
        look.skipped["it is too large, or has no name that can be used"] += unreadable
        known, unknown = self._remembered.divide({event_id: each.etag for event_id, each in listed.items()})
        await asyncio.to_thread(look.add, known)
        async for part in self._server.contents({event_id: listed[event_id] for event_id in unknown}):
            read = await asyncio.to_thread(self._read, part)
            for event_id, entry in read.items():
                self._remembered.add(event_id, listed[event_id].etag, entry)
            await asyncio.to_thread(look.add, read.values())
        if look.skipped.total():
            _log.info("calendar entries skipped", extra={"reasons": dict(+look.skipped)})
        return look

    def _read(self, part: dict[str, Resource | None]) -> dict[str, Entry | Unreadable]:
        return {event_id: self._read_one(event_id, resource) for event_id, resource in part.items()}

    def _read_one(self, event_id: str, resource: Resource | None) -> Entry | Unreadable:
        if resource is None:
            too_large = Unreadable("it is too large")
            too_large.named = event_id
            return too_large
        try:
            return read_entry(event_id, resource.content, self._zone)
        except Unreadable as reason:
            title = _TITLE.search(resource.content)
            reason.named = line(title[1], 80) if title else event_id
            return reason


@dataclass
class Look:
    """What one look into the calendar found."""

    start: datetime
    end: datetime
    found: list[list[Occurrence]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, entries: Iterable[Entry | Unreadable]) -> None:
        """Unfold entries into their times.

        Raises:
            InvalidArguments: It has taken too long.
        """
        for entry in entries:
            try:
                if isinstance(entry, Unreadable):
                    raise entry
                self.found.append(entry.occurrences(self.start, self.end))
            except Unreadable as reason:
                self.skipped[str(reason)] += 1
                self.named.append(f"'{reason.named or (entry.title if isinstance(entry, Entry) else '')}': {reason}")
            if time.monotonic() - self.began > LONGEST_LOOK:
                raise InvalidArguments("this window holds too much to look through", hint="ask for a shorter one")


class _Remembered:
    """Entries that were read, for as long as their ETags stay the same; the ones used longest ago go first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, str], Entry | Unreadable] = OrderedDict()

    def divide(self, etags: dict[str, str]) -> tuple[list[Entry | Unreadable], list[str]]:
        """Those that are known, and the ids of those that are not."""
        known, unknown = [], []
        for event_id, etag in etags.items():
            if (entry := self._entries.get((event_id, etag))) is None:
                unknown.append(event_id)
            else:
                self._entries.move_to_end((event_id, etag))
                known.append(entry)
        return known, unknown

    def add(self, event_id: str, etag: str, entry: Entry | Unreadable) -> None:
        """Remember one, unless the server does not say which version it is."""
        if etag:
            self._entries[event_id, etag] = entry
        while len(self._entries) > MOST_REMEMBERED:
            self._entries.popitem(last=False)
