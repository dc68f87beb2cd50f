"""The calendar's tools on its own store."""

import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.contract import (
    Calendar,
    CreateEvent,
    DeleteEvent,
    DeleteEventResult,
    Event,
    FindFreeTime,
    FindFreeTimeResult,
    ListEvents,
    ListEventsResult,
    RestoreEvent,
    Slot,
    UpdateEvent,
    UpdateEventResult,
    Window,
)
from activities.calendar.free_time import gaps, slots
from activities.calendar.store import CalendarStore, Occurrence, as_previous, occurrences_of, ordered
from retinue.errors import InvalidArguments
from retinue.ledger import Ledger
from retinue.store import Store

MOST_EVENTS = 200
MOST_SLOTS = 20
LONGEST_WINDOW = timedelta(days=3 * 366)
LISTED_DESCRIPTION = 500
LISTED_ATTENDEES = 20
LISTED_BYTES = 200 * 1024
"""A list stays below what the edge lets into a run; an event too many is cut, not the whole answer refused."""


class CalendarTools(Calendar):
    """The contract, kept by `CalendarStore`; every change goes through the ledger."""

    def __init__(self, store: Store) -> None:
        self._ledger = Ledger(store)
        self._calendar = CalendarStore(store)

    async def create_event(self, event: CreateEvent) -> Event:
        """Enter the event once."""

        async def effect(session: AsyncSession) -> Event:
            return await self._calendar.create(session, event)

        return await self._ledger.once(event, Event, effect)

    async def list_events(self, window: ListEvents) -> ListEventsResult:
        """List occurrences; `match` looks at events, so that many occurrences of one series are one match."""
        start, end = _bounds(window)
        words = (window.query or "").casefold().split()
        events = [e for e in await self._calendar.between(start, end) if _holds(e.title, words)]
        # No series can fill more than the whole list, so none is followed further.
        found = [list(islice(occurrences_of(event, start, end), MOST_EVENTS + 1)) for event in events]
        found = [times for times in found if times]
        by_time = list(_in_order(found))
        listed = list(_fitting(_listed(occurrence) for occurrence in by_time[:MOST_EVENTS]))
        return ListEventsResult(
            events=listed,
            match=_listed(found[0][0]) if len(found) == 1 else None,
            truncated=len(listed) < len(by_time),
        )

    async def find_free_time(self, wish: FindFreeTime) -> FindFreeTimeResult:
        """Cut the gaps between busy times into slots, shown in the offset of the window's start."""
        start, end = _bounds(wish)
        events = await self._calendar.between(start, end)
        busy = [(o.start, o.end) for event in events if event.busy for o in occurrences_of(event, start, end)]
        free = slots(gaps(busy, start, end), timedelta(minutes=wish.duration_minutes))
        zone = wish.start.tzinfo
        return FindFreeTimeResult(
            slots=[Slot(start=s.astimezone(zone), end=e.astimezone(zone)) for s, e in islice(free, MOST_SLOTS)]
        )

    async def update_event(self, change: UpdateEvent) -> UpdateEventResult:
        """Change the event once; a second attempt returns the same `previous`, not the changed one."""

        async def effect(session: AsyncSession) -> UpdateEventResult:
            before, now = await self._calendar.update(session, change)
            return UpdateEventResult(**now.model_dump(), previous=before)

        return await self._ledger.once(change, UpdateEventResult, effect)

    async def delete_event(self, event: DeleteEvent) -> DeleteEventResult:
        """Delete the event once."""

        async def effect(session: AsyncSession) -> DeleteEventResult:
            gone = await self._calendar.delete(session, event.event_id)
            return DeleteEventResult(event_id=gone.event_id, title=gone.title, previous=as_previous(gone))

        return await self._ledger.once(event, DeleteEventResult, effect)

    async def restore_event(self, wish: RestoreEvent) -> Event:
        """Write the earlier values back once."""

        async def effect(session: AsyncSession) -> Event:
            return await self._calendar.restore(session, wish)

        return await self._ledger.once(wish, Event, effect)


def _bounds(window: Window) -> tuple[datetime, datetime]:
    start, end = ordered(window.start, window.end)
    if end - start > LONGEST_WINDOW:
        raise InvalidArguments("the window is longer than three years", hint="ask for one year after the other")
    return start, end


def _holds(title: str, words: list[str]) -> bool:
    """Compared here and not by the database, because SQLite folds only ASCII letters."""
    folded = title.casefold()
    return all(word in folded for word in words)


def _in_order(found: Iterable[list[Occurrence]]) -> Iterator[Occurrence]:
    return heapq.merge(*found, key=lambda occurrence: (occurrence.start, occurrence.end))


def _listed(occurrence: Occurrence) -> Event:
    event = occurrence.as_event()
    return event.model_copy(
        update={
            "description": event.description and event.description[:LISTED_DESCRIPTION],
            "attendees": event.attendees[:LISTED_ATTENDEES],
        }
    )


def _fitting(events: Iterable[Event]) -> Iterator[Event]:
    size = 0
    for event in events:
        size += len(json.dumps(event.model_dump(mode="json")))
        if size > LISTED_BYTES:
            return
        yield event
