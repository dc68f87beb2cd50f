"""The calendar's tools on its own store."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.contract import (
    AddInvitation,
    Calendar,
    Change,
    ChangedEvent,
    CreatedEvent,
    CreateEvent,
    DeleteEvent,
    DeleteEventResult,
    DeleteEvents,
    DeleteEventsResult,
    Event,
    EventChange,
    EventChanges,
    EventNotes,
    EventRef,
    FindFreeTime,
    FindFreeTimeResult,
    InvitationText,
    KeptEvent,
    ListEvents,
    ListEventsResult,
    MoveEvent,
    PreviewEvent,
    ReadChange,
    ReadEventChanges,
    RestoreEvent,
    RestoreEvents,
    RestoreEventsResult,
    UpdateEvent,
    UpdateEventResult,
    UpdateFromInvitation,
    WriteInvitation,
)
from activities.calendar.listing import LONG_AGO, MOST_EVENTS, asks_for, bounds, free_slots, listing
from activities.calendar.overlaps import notes
from activities.calendar.store import CalendarStore, ImportedSeries, as_event, as_previous, occurrences_of
from retinue.errors import Conflict, InvalidArguments, NotFound
from retinue.ledger import Ledger, effect_key
from retinue.store import Store
from retinue.zones import zone_of

if TYPE_CHECKING:
    from activities.calendar.invitations import Incoming


class CalendarTools(Calendar):
    """The contract, kept by `CalendarStore`; every change goes through the ledger."""

    def __init__(self, store: Store, *, default_zone: str = "UTC") -> None:
        self.ledger: Ledger = Ledger(store)
        self._calendar = CalendarStore(store)
        self._zone = default_zone

    async def create_event(self, event: CreateEvent) -> CreatedEvent:
        """Enter the event once."""

        async def effect(session: AsyncSession) -> CreatedEvent:
            created = await self._calendar.create(session, event)
            found = await self._calendar.overlaps(session, created)
            return CreatedEvent(**as_event(created).model_dump(), overlaps=found)

        return await self.ledger.once(event, CreatedEvent, effect)

    async def list_events(self, window: ListEvents) -> ListEventsResult:
        """List occurrences; `match` looks at events, so that many occurrences of one series are one match."""
        start, end = bounds(window)
        wanted = asks_for(window.query)
        events = [each for each in await self._calendar.between(start, end) if wanted(each.title, each.attendees)]
        earliest = start if window.starting else LONG_AGO
        times = ((each for each in occurrences_of(event, start, end) if each.start >= earliest) for event in events)
        found = [list(islice(each, MOST_EVENTS + 1)) for each in times]
        return listing([each for each in found if each])

    async def changes(self, wish: ReadEventChanges) -> EventChanges:
        """Read the events that came from a file after the cursor, a number. What assistants did is not among them."""
        last = await self._calendar.last_arrival()
        after = last if wish.cursor is None else _number(wish.cursor)
        if wish.cursor is None and wish.latest:
            after = max(0, last - wish.limit)
        found = await self._calendar.arrivals(after, limit=wish.limit + 1)
        taken = found[: wish.limit]
        more = len(found) > len(taken)
        changes = [
            EventChange(
                change_id=f"{event.event_id}-{number}",
                event_id=event.event_id,
                title=event.title,
                start=event.starts_at,
            )
            for number, event in taken
        ]
        until = taken[-1][0] if more else max([last, *(number for number, _ in taken)])
        return EventChanges(changes=changes, cursor=str(until), more=more)

    async def find_free_time(self, wish: FindFreeTime) -> FindFreeTimeResult:
        """Cut the gaps between busy times into slots, shown in the offset of the window's start."""
        start, end = bounds(wish)
        events = await self._calendar.between(start, end)
        busy = [(o.start, o.end) for event in events if event.busy for o in occurrences_of(event, start, end)]
        return free_slots(busy, wish)

    async def update_event(self, change: UpdateEvent) -> UpdateEventResult:
        """Change the event once; a second attempt returns the same `previous`, not the changed one."""

        async def effect(session: AsyncSession) -> UpdateEventResult:
            return await self._update(session, change)

        return await self.ledger.once(change, UpdateEventResult, effect)

    async def move_event(self, wish: MoveEvent) -> UpdateEventResult:
        """Move the event once; a second attempt moves it no further."""

        async def effect(session: AsyncSession) -> UpdateEventResult:
            return await self._update(session, await self._calendar.move(session, wish))

        return await self.ledger.once(wish, UpdateEventResult, effect)

    async def _update(self, session: AsyncSession, change: UpdateEvent) -> UpdateEventResult:
        before, now = await self._calendar.update(session, change)
        is_moved = (before.start, before.end) != (now.starts_at, now.ends_at)
        found = await self._calendar.overlaps(session, now) if is_moved else []
        return UpdateEventResult(**as_event(now).model_dump(), previous=before, overlaps=found)

    async def preview(self, wish: PreviewEvent) -> EventNotes:
        """Compare the event with the others, and store nothing."""
        async with self._calendar.reading() as session:
            draft = await self._calendar.draft(session, wish)
            if draft is None:
                return EventNotes(notes=[])
            found = await self._calendar.overlaps(session, draft)
        moves = bool(wish.days or wish.minutes)
        return EventNotes(notes=notes((draft.starts_at, draft.ends_at), found, zone_of(draft.timezone), moves=moves))

    async def delete_events(self, events: DeleteEvents) -> DeleteEventsResult:
        """Delete all of them in one transaction."""
        key = effect_key()
        kept = [
            KeptEvent(event_id=event_id, kept=hashlib.sha256(f"{key}/{event_id}".encode()).hexdigest()[:32])
            for event_id in dict.fromkeys(events.event_ids)
        ]

        async def effect(session: AsyncSession) -> DeleteEventsResult:
            deleted = [await self._calendar.delete_and_keep(session, each.event_id, each.kept) for each in kept]
            return DeleteEventsResult(deleted=deleted, kept=kept)

        return await self.ledger.once(events, DeleteEventsResult, effect)

    async def restore_events(self, wish: RestoreEvents) -> RestoreEventsResult:
        """Enter all of them again in one transaction."""

        async def effect(session: AsyncSession) -> RestoreEventsResult:
            return RestoreEventsResult(
                restored=[await self._calendar.restore_kept(session, each) for each in wish.kept]
            )

        return await self.ledger.once(wish, RestoreEventsResult, effect)

    async def delete_event(self, event: DeleteEvent) -> DeleteEventResult:
        """Delete the event once."""

        async def effect(session: AsyncSession) -> DeleteEventResult:
            gone = await self._calendar.delete(session, event.event_id)
            return DeleteEventResult(event_id=gone.event_id, title=gone.title, previous=as_previous(gone))

        return await self.ledger.once(event, DeleteEventResult, effect)

    async def restore_event(self, wish: RestoreEvent) -> Event:
        """Write the earlier values back once."""

        async def effect(session: AsyncSession) -> Event:
            return await self._calendar.restore(session, wish)

        return await self.ledger.once(wish, Event, effect)

    async def look_up(self, event: EventRef) -> Event:
        """Return the event."""
        return await self._calendar.get(event.event_id)

    async def write_invitation(self, wish: WriteInvitation) -> InvitationText:
        """Write what is kept of the event."""
        from activities.calendar.invitations import of_stored  # its library is large, and rarely needed here

        return of_stored(await self._calendar.stored(wish.event_id), cancel=wish.cancel)

    async def add_invitation(self, wish: AddInvitation) -> Event:
        """Enter it once, where no event of its UID is."""
        _, series = self._read(wish.icalendar)
        if not series.events:
            raise InvalidArguments("this enters no event", hint="calendar.update_from_invitation removes one")

        async def effect(session: AsyncSession) -> Event:
            _, was_there = await self._calendar.take_invitation(session, series)
            if was_there:
                raise Conflict(
                    "the event of this invitation is in the calendar already",
                    hint="calendar.update_from_invitation changes it",
                )
            return as_event(series.events[0])

        return await self.ledger.once(wish, Event, effect)

    async def read_change(self, wish: ReadChange) -> Change:
        """Find the event, and say what would become of it."""
        incoming, series = self._read(wish.icalendar)
        found = await self._calendar.invited(series.uid)
        if found is None:
            raise _not_there()
        versions = [event.sequence for event in series.events] + [each.sequence for each in series.cancelled]
        if max(versions) < found.sequence:
            raise _is_older()
        return Change(event_id=found.event_id, change=incoming.in_words(self._zone))

    async def update_from_invitation(self, wish: UpdateFromInvitation) -> ChangedEvent:
        """Change or remove the event that was shown, once."""
        incoming, series = self._read(wish.icalendar)
        if wish.event_id is None or wish.change != incoming.in_words(self._zone):
            raise Conflict("the change is not the one that was shown")
        event_id = wish.event_id

        async def effect(session: AsyncSession) -> ChangedEvent:
            if not await self._calendar.is_of(session, event_id, series.uid):
                raise _not_there()
            done, _ = await self._calendar.take_invitation(session, series)
            if not (done.updated or done.removed or done.added):
                raise _is_older()
            status = "removed" if done.removed else "changed"
            return ChangedEvent(event_id=event_id, title=incoming.title, status=status)

        return await self.ledger.once(wish, ChangedEvent, effect)

    def _read(self, icalendar: str) -> tuple[Incoming, ImportedSeries]:
        """Return an invitation, and the rows that it is made of here.

        Raises:
            InvalidArguments: It is no invitation, or cannot be kept here.
        """
        from activities.calendar.icalendar_file import read_calendar
        from activities.calendar.invitations import read

        incoming = read(icalendar)
        file = read_calendar(icalendar.encode(), self._zone)
        if not file.series or not (file.series[0].events or file.series[0].cancelled):
            raise InvalidArguments(
                f"the invitation cannot be kept: {'; '.join(each.why for each in file.left_out[:3])}"
            )
        return incoming, file.series[0]


def _not_there() -> NotFound:
    return NotFound("the event of this invitation is not in the calendar", hint="calendar.add_invitation enters it")


def _is_older() -> Conflict:
    return Conflict("the calendar has this version of the event, or a newer one")


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidArguments("this cursor was not given by this calendar")
    return int(cursor)
