"""The calendar's own store: events in its database, and what happens when in a stretch of time.

It knows nothing of Temporal: who calls the writing methods brings the session, and with it the transaction.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.contract import CreateEvent, Event, PreviousEvent, RestoreEvent, UpdateEvent
from activities.calendar.models import StoredEvent
from activities.calendar.recurrence import LAST_YEAR, Series, check_series, excluded_after_move, normalised, occurrences
from activities.calendar.zones import is_offset, offset_name, zone_of
from retinue.errors import Conflict, InvalidArguments, NotFound
from retinue.store import Store

FIRST_YEAR = 1900
LONGEST_ATTENDEE = 320
LONGEST_ID = 32
MOST_EXCLUDED = 1000
"""An imported series may leave out any number of times; more than these do not travel through a run."""


@dataclass(frozen=True)
class Occurrence:
    """One time at which an event takes place."""

    start: datetime
    end: datetime
    of: StoredEvent

    def as_event(self) -> Event:
        """The event at this time, in the offset that holds there and then."""
        return event_at(self.of, self.start, self.end)


class CalendarStore:
    """Events in the capability's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, session: AsyncSession, wish: CreateEvent) -> Event:
        """Enter one event.

        Raises:
            InvalidArguments: Its zone, rule, times or attendees are wrong.
        """
        event = entered(wish)
        session.add(event)
        return as_event(event)

    async def update(self, session: AsyncSession, change: UpdateEvent) -> tuple[PreviousEvent, Event]:
        """Change one event; returns it as it was and as it is now.

        Raises:
            NotFound: There is no event of that id.
            InvalidArguments: The new times or attendees are wrong.
        """
        event = await _get(session, change.event_id)
        before = as_previous(event)
        _move(event, change)
        if change.attendees is not None:
            event.attendees = checked_attendees(change.attendees)
        for field in ("title", "location", "description"):
            if (value := getattr(change, field)) is not None:
                setattr(event, field, value)
        session.add(event)
        return before, as_event(event)

    async def delete(self, session: AsyncSession, event_id: str) -> StoredEvent:
        """Remove one event with all its occurrences; returns what it was.

        Raises:
            NotFound: There is no event of that id.
        """
        event = await _get(session, event_id)
        await session.delete(event)
        return event

    async def restore(self, session: AsyncSession, wish: RestoreEvent) -> Event:
        """Give an event its earlier values, or make it anew where it was deleted.

        Raises:
            NotFound: It was only changed then, and is gone now: whoever deleted it meant it.
            Conflict: An import has brought the deleted event back meanwhile.
            InvalidArguments: Such an event could not have been.
        """
        event = await session.get(StoredEvent, wish.event_id)
        if event is None:
            if not wish.deleted:
                raise _no_such_event()
            event = await _made_anew(session, wish)
        _write_back(event, wish.previous)
        session.add(event)
        return as_event(event)

    async def between(self, start: datetime, end: datetime) -> Sequence[StoredEvent]:
        """Events that overlap the window, and all series that begin before its end."""
        overlapping = and_(col(StoredEvent.recurrence).is_(None), col(StoredEvent.ends_at) > start)
        recurring = col(StoredEvent.recurrence).is_not(None)
        wanted = select(StoredEvent).where(col(StoredEvent.starts_at) < end, or_(overlapping, recurring))
        async with self._store.read() as session:
            return (await session.exec(wanted.order_by(col(StoredEvent.starts_at)))).all()

    async def import_events(self, events: Iterable[StoredEvent]) -> int:
        """Enter those events whose `uid` is not there yet, and leave out what a known series newly leaves out.

        Returns:
            How many were entered.
        """
        added = 0
        imported = select(StoredEvent).where(col(StoredEvent.uid).is_not(None))
        async with self._store.write() as session:
            known = {event.uid: event for event in (await session.exec(imported)).all()}
            for event in events:
                if event.uid not in known:
                    known[event.uid] = event
                    session.add(event)
                    added += 1
                elif event.excluded:
                    earlier = known[event.uid]
                    earlier.excluded = sorted({*earlier.excluded, *event.excluded})
        return added


def entered(wish: CreateEvent) -> StoredEvent:
    """The event that a wish describes, under a new id and nowhere stored.

    Raises:
        InvalidArguments: Its zone, rule, times or attendees are wrong.
    """
    start, end = ordered(wish.start, wish.end)
    event = StoredEvent(
        title=wish.title,
        starts_at=start,
        ends_at=end,
        timezone=wish.timezone or offset_name(wish.start),
        location=wish.location,
        description=wish.description,
        attendees=checked_attendees(wish.attendees),
        recurrence=normalised(wish.recurrence) if wish.recurrence else None,
    )
    check_times(event)
    return event


def occurrences_of(event: StoredEvent, start: datetime, end: datetime) -> Iterator[Occurrence]:
    """When the event takes place in the window, in order."""
    if event.recurrence is not None:
        for begins, ends in occurrences(series_of(event), start, end):
            yield Occurrence(begins, ends, event)
    elif event.starts_at < end and event.ends_at > start:
        yield Occurrence(event.starts_at, event.ends_at, event)


def as_event(event: StoredEvent) -> Event:
    """The event (of a series the first occurrence) as the contract shows it."""
    return event_at(event, event.starts_at, event.ends_at)


def as_previous(event: StoredEvent) -> PreviousEvent:
    """The event with all that is kept of it, as far as a run can hold it."""
    return PreviousEvent(
        **as_event(event).model_dump(),
        excluded=event.excluded if len(event.excluded) <= MOST_EXCLUDED else None,
        busy=event.busy,
        uid=event.uid,
    )


def event_at(event: StoredEvent, start: datetime, end: datetime) -> Event:
    """The event as the contract shows it, at one of its times."""
    zone = zone_of(event.timezone)
    return Event(
        event_id=event.event_id,
        title=event.title,
        start=start.astimezone(zone),
        end=end.astimezone(zone),
        timezone=event.timezone,
        location=event.location,
        description=event.description,
        attendees=event.attendees,
        recurrence=event.recurrence,
    )


def ordered(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Both in UTC and whole seconds, which is all that a recurrence rule can tell.

    Raises:
        InvalidArguments: They are not in order, or outside the years that this calendar keeps.
    """
    for moment in (start, end):
        if not FIRST_YEAR <= moment.year < LAST_YEAR:
            raise InvalidArguments(f"this calendar keeps the years {FIRST_YEAR} to {LAST_YEAR - 1}")
    start, end = (moment.astimezone(UTC).replace(microsecond=0) for moment in (start, end))
    if end <= start:
        raise InvalidArguments(f"`end` must be after `start`, and {end.isoformat()} is not after {start.isoformat()}")
    return start, end


def checked_attendees(attendees: Sequence[str]) -> list[str]:
    """The attendees as they are, once none of them is a whole text.

    Raises:
        InvalidArguments: One is too long for a name or an address.
    """
    if any(len(attendee) > LONGEST_ATTENDEE for attendee in attendees):
        raise InvalidArguments(f"an attendee is a name or an address of at most {LONGEST_ATTENDEE} characters")
    return list(attendees)


def check_times(event: StoredEvent) -> None:
    """Make sure that the event's zone exists and its rule goes with its times.

    Raises:
        InvalidArguments: One of them does not.
    """
    zone_of(event.timezone)
    if event.recurrence is not None:
        check_series(series_of(event))


def series_of(event: StoredEvent) -> Series:
    """The event as a recurrence rule sees it."""
    return Series(
        start=event.starts_at,
        end=event.ends_at,
        zone=zone_of(event.timezone),
        rule=event.recurrence or "",
        excluded=frozenset(map(datetime.fromisoformat, event.excluded)),
    )


def _move(event: StoredEvent, change: UpdateEvent) -> None:
    if change.start is None and change.end is None:
        return
    length = event.ends_at - event.starts_at
    start = change.start or event.starts_at
    start, end = ordered(start, change.end or start + length)
    if event.excluded:
        event.excluded = [moment.isoformat() for moment in excluded_after_move(series_of(event), start)]
    event.starts_at, event.ends_at = start, end
    if change.start is not None and event.recurrence is None and is_offset(event.timezone):
        event.timezone = offset_name(change.start)
    check_times(event)


async def _get(session: AsyncSession, event_id: str) -> StoredEvent:
    event = await session.get(StoredEvent, event_id)
    if event is None:
        raise _no_such_event()
    return event


def _no_such_event() -> NotFound:
    return NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")


async def _made_anew(session: AsyncSession, wish: RestoreEvent) -> StoredEvent:
    """A row for the deleted event; `_write_back` fills it."""
    before = wish.previous
    if len(wish.event_id) > LONGEST_ID or before.kept is not None:
        raise NotFound("this event was kept by another calendar", hint="switch back to that one to undo it")
    if before.excluded is None:
        raise InvalidArguments("the series leaves out too many times to be made anew; import it again")
    if before.uid is not None:
        known = await session.exec(select(StoredEvent).where(col(StoredEvent.uid) == before.uid))
        if known.first() is not None:
            raise Conflict("the event is in the calendar again: it was imported anew")
    return StoredEvent(
        event_id=wish.event_id,
        uid=before.uid,
        title=before.title,
        starts_at=before.start,
        ends_at=before.end,
        timezone=before.timezone,
    )


def _write_back(event: StoredEvent, before: PreviousEvent) -> None:
    """Too many left-out times to be told are those of now, moved back along with the start."""
    zone_of(before.timezone)
    start, end = ordered(before.start, before.end)
    excluded = excluded_after_move(series_of(event), start) if before.excluded is None else before.excluded
    event.excluded = [moment.astimezone(UTC).isoformat() for moment in excluded]
    event.starts_at, event.ends_at, event.timezone = start, end, before.timezone
    event.title, event.location, event.description = before.title, before.location, before.description
    event.attendees = checked_attendees(before.attendees)
    event.recurrence = normalised(before.recurrence) if before.recurrence else None
    event.busy = before.busy
