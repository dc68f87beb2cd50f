"""The calendar's own store: events in its database, and what happens when in a stretch of time.

It knows nothing of Temporal: who calls the writing methods brings the session, and with it the transaction.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlmodel import and_, col, delete, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.contract import (
    CreateEvent,
    DeletedEvent,
    Event,
    KeptEvent,
    MoveEvent,
    PreviewEvent,
    PreviousEvent,
    RestoreEvent,
    UpdateEvent,
)
from activities.calendar.models import EventArrival, KeptResource, StoredEvent
from activities.calendar.overlaps import LOOK_AHEAD, Other, overlaps
from retinue.errors import Conflict, InvalidArguments, NotFound
from retinue.file_import import LeftOut
from retinue.recurrence import LAST_YEAR, Series, check_series, excluded_after_move, normalised, occurrences
from retinue.store import Store
from retinue.times import present
from retinue.zones import is_offset, offset_name, zone_of

FIRST_YEAR = 1900
LONGEST_ATTENDEE = 320
LONGEST_ID = 32
MOST_EXCLUDED = 1000
"""An imported series may leave out any number of times; more than these do not travel through a run."""
KEPT_FOR = timedelta(days=180)
"""For how long what an event was before is kept for an undo, where a run cannot hold it."""


_IMPORTED = (
    "title", "starts_at", "ends_at", "timezone", "location", "description", "attendees", "recurrence", "excluded", "busy",
    "days", "sequence", "modified_at", "series_uid",
)  # fmt: skip


@dataclass(frozen=True)
class Cancellation:
    """A cancelled event, or a cancelled time of a series (`at`, in its own row under `uid` if it was changed)."""

    name: str
    sequence: int
    at: datetime | date | None = None
    uid: str | None = None


@dataclass
class ImportedSeries:
    """What a file says of one event or series: rows to enter, times that those replace, and what was cancelled."""

    uid: str
    events: list[StoredEvent] = field(default_factory=list)
    replaced: list[datetime | date] = field(default_factory=list)
    cancelled: list[Cancellation] = field(default_factory=list)


@dataclass
class Imported:
    """What an import did: how many rows were entered and known already, and the names of the others."""

    added: int = 0
    known: int = 0
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class Occurrence:
    """One time at which an event takes place."""

    start: datetime
    end: datetime
    of: StoredEvent

    def as_event(self) -> Event:
        """Return the event at this time, in the offset that holds there and then."""
        return event_at(self.of, self.start, self.end)


class CalendarStore:
    """Events in the capability's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, session: AsyncSession, wish: CreateEvent) -> StoredEvent:
        """Enter one event.

        Raises:
            InvalidArguments: Its zone, rule, times or attendees are wrong.
        """
        event = entered(wish)
        session.add(event)
        return event

    async def overlaps(self, session: AsyncSession, event: StoredEvent) -> list[str]:
        """Return what else takes place at an event's times, in words; of a series for the next three months."""
        until = event.ends_at if event.recurrence is None else event.starts_at + LOOK_AHEAD
        times = [(each.start, each.end) for each in occurrences_of(event, event.starts_at, until)]
        last = max((end for _, end in times), default=until)
        others = [
            Other(each.start, each.end, other.title)
            for other in await self._within(session, event.starts_at, last)
            if other.busy and other.event_id != event.event_id
            for each in occurrences_of(other, event.starts_at, last)
        ]
        return overlaps(times, others, zone_of(event.timezone))

    async def move(self, session: AsyncSession, wish: MoveEvent) -> UpdateEvent:
        """Return the change that moves an event as far as that.

        Raises:
            NotFound: There is no event of that id.
        """
        return moved(as_event(await _get(session, wish.event_id)), wish.days, wish.minutes)

    async def draft(self, session: AsyncSession, wish: PreviewEvent) -> StoredEvent | None:
        """Return the event that a creation, a change or a move would make, not stored; None where its time stays.

        Raises:
            NotFound: There is no event of that id.
            InvalidArguments: Such an event could not be.
        """
        if wish.event_id is None:
            if wish.start is None or wish.end is None:
                return None
            return entered(
                CreateEvent(
                    title="-", start=wish.start, end=wish.end, timezone=wish.timezone, recurrence=wish.recurrence
                )
            )
        event = StoredEvent(**(await _get(session, wish.event_id)).model_dump())
        change = UpdateEvent(event_id=event.event_id, start=wish.start, end=wish.end)
        if wish.days or wish.minutes:
            change = moved(as_event(event), wish.days, wish.minutes)
        if change.start is None and change.end is None:
            return None
        _move(event, change)
        return event

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Return a session that only reads."""
        return self._store.read()

    async def delete_and_keep(self, session: AsyncSession, event_id: str, kept: str) -> DeletedEvent:
        """Remove one event and keep all that it was under `kept`.

        Raises:
            NotFound: There is no event of that id.
        """
        event = await self.delete(session, event_id)
        await keep(session, KeptEvent(event_id=event_id, kept=kept), event.model_dump_json())
        return as_deleted(as_event(event))

    async def restore_kept(self, session: AsyncSession, kept: KeptEvent) -> DeletedEvent:
        """Enter a deleted event again.

        Raises:
            NotFound: What it was is not kept any more.
            Conflict: It is in the calendar again.
        """
        row = await session.get(KeptResource, kept.kept)
        if row is None or row.event_id != kept.event_id:
            raise NotFound("what the events were before is not kept any more")
        event = StoredEvent.model_validate(json.loads(row.content))
        same = col(StoredEvent.event_id) == event.event_id
        if event.uid is not None:
            same = or_(same, col(StoredEvent.uid) == event.uid)
        if (await session.exec(select(StoredEvent).where(same))).first() is not None:
            raise Conflict("one of the events is in the calendar again")
        session.add(event)
        return as_deleted(as_event(event))

    async def update(self, session: AsyncSession, change: UpdateEvent) -> tuple[PreviousEvent, StoredEvent]:
        """Change one event; returns it as it was and as it is now.

        Raises:
            NotFound: There is no event of that id.
            InvalidArguments: The new times or attendees are wrong.
        """
        event = await _get(session, change.event_id)
        before = as_previous(event)
        _move(event, change)
        if event.modified_at is not None:
            event.modified_at = present()  # what was changed here is newer than what is imported again
        if event.uid is None:
            event.sequence += 1  # those who were invited know the version that comes next
        if change.attendees is not None:
            event.attendees = checked_attendees(change.attendees)
        for name in ("title", "location", "description"):
            if (value := getattr(change, name)) is not None:
                setattr(event, name, value)
        session.add(event)
        return before, event

    async def delete(self, session: AsyncSession, event_id: str) -> StoredEvent:
        """Remove one event with all its occurrences; returns what it was.

        Raises:
            NotFound: There is no event of that id.
        """
        event = await _get(session, event_id)
        await session.delete(event)
        return event

    async def restore(self, session: AsyncSession, wish: RestoreEvent) -> Event:
        """Restore an event's earlier values, or create it again if it was deleted.

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

    async def get(self, event_id: str) -> Event:
        """Return one event.

        Raises:
            NotFound: There is no event of that id.
        """
        async with self._store.read() as session:
            return as_event(await _get(session, event_id))

    async def between(self, start: datetime, end: datetime) -> Sequence[StoredEvent]:
        """Events that overlap the window, and all series that begin before its end."""
        async with self._store.read() as session:
            return await self._within(session, start, end)

    async def _within(self, session: AsyncSession, start: datetime, end: datetime) -> Sequence[StoredEvent]:
        overlapping = and_(col(StoredEvent.recurrence).is_(None), col(StoredEvent.ends_at) > start)
        recurring = col(StoredEvent.recurrence).is_not(None)
        wanted = select(StoredEvent).where(col(StoredEvent.starts_at) < end, or_(overlapping, recurring))
        return (await session.exec(wanted.order_by(col(StoredEvent.starts_at)))).all()

    async def stored(self, event_id: str) -> StoredEvent:
        """Return one event with all that is kept of it.

        Raises:
            NotFound: There is no event of that id.
        """
        async with self._store.read() as session:
            return await _get(session, event_id)

    async def invited(self, uid: str) -> StoredEvent | None:
        """Return the event, or the first changed time of a series, of this UID's digest."""
        async with self._store.read() as session:
            rows = await _of_uid(session, uid)
        return next((row for row in rows if row.uid == uid), rows[0] if rows else None)

    async def is_of(self, session: AsyncSession, event_id: str, uid: str) -> bool:
        """Whether an event is there, and of this UID's digest."""
        return any(row.event_id == event_id for row in await _of_uid(session, uid))

    async def take_invitation(self, session: AsyncSession, series: ImportedSeries) -> tuple[Imported, bool]:
        """Enter, change or remove what an invitation says; returns what was done, and whether the event was there."""
        known = await _of_uid(session, series.uid)
        arrival = _Arrival(session, known)
        await arrival.take(series)
        return arrival.done, bool(known)

    async def import_events(self, found: Iterable[ImportedSeries]) -> Imported:
        """Enter what is not there yet, update what is there in an older version, and remove what was cancelled."""
        wanted = select(StoredEvent).where(col(StoredEvent.uid).is_not(None))
        async with self._store.write() as session:
            arrival = _Arrival(session, (await session.exec(wanted)).all())
            for series in found:
                await arrival.take(series)
            last = (await session.exec(select(func.max(EventArrival.number)))).one() or 0
            for number, event in enumerate(arrival.came, start=last + 1):
                session.add(EventArrival(number=number, event_id=event.event_id))
        return arrival.done

    async def arrivals(self, after: int, *, limit: int) -> list[tuple[int, StoredEvent]]:
        """Return events that came from outside after that number and are still there, oldest first."""
        query = (
            select(EventArrival.number, StoredEvent)
            .join(StoredEvent, col(StoredEvent.event_id) == col(EventArrival.event_id))
            .where(col(EventArrival.number) > after)
            .order_by(col(EventArrival.number))
            .limit(limit)
        )
        async with self._store.read() as session:
            return [(number, event) for number, event in await session.exec(query)]

    async def last_arrival(self) -> int:
        """Return the number of the last event that came from outside; 0 without any."""
        async with self._store.read() as session:
            return (await session.exec(select(func.max(EventArrival.number)))).one() or 0


class _Arrival:
    """One import: what is known, and what comes of it."""

    def __init__(self, session: AsyncSession, known: Iterable[StoredEvent]) -> None:
        self.done = Imported()
        self.came: list[StoredEvent] = []
        """Those that were entered or changed."""
        self._session = session
        self._known = {event.uid: event for event in known}

    async def take(self, series: ImportedSeries) -> None:
        """Enter one event or series with all that the file says of it."""
        for event in series.events:
            await self._enter(event, series)
        main = self._known.get(series.uid)
        cancelled = {each.at for each in series.cancelled}
        if main is not None:
            self._exclude(main, [each for each in series.replaced if each not in cancelled])
        for cancellation in series.cancelled:
            await self._cancel(cancellation, series.uid)

    async def _enter(self, event: StoredEvent, series: ImportedSeries) -> None:
        known = self._known.get(event.uid)
        if known is None:
            self._known[event.uid] = event
            self._session.add(event)
            self.came.append(event)
            self.done.added += 1
        elif _is_newer(event, known):
            moved = (event.starts_at, event.recurrence) != (known.starts_at, known.recurrence)
            excluded = [] if moved else known.excluded
            for name in _IMPORTED:
                setattr(known, name, getattr(event, name))
            known.excluded = sorted({*known.excluded, *excluded})
            self.came.append(known)
            self.done.updated.append(f"'{event.title}'")
            if moved and event.uid == series.uid:
                await self._forget_changes(series)
        else:
            self.done.known += 1
            if event.sequence == known.sequence and event.excluded:
                known.excluded = sorted({*known.excluded, *event.excluded})

    async def _forget_changes(self, series: ImportedSeries) -> None:
        """A series at new times keeps no changed times of the old ones, but those that come with it."""
        staying = {event.uid for event in series.events}
        for event in [each for each in self._known.values() if each.series_uid == series.uid]:
            if event.uid not in staying:
                await self._remove(event)

    def _exclude(self, main: StoredEvent, times: Iterable[datetime | date]) -> bool:
        """Leave times out of a series; returns whether that was new."""
        left_out = sorted({*main.excluded, *(_moment_of(each, main).isoformat() for each in times)})
        is_new, main.excluded = left_out != main.excluded, left_out
        return is_new

    async def _cancel(self, cancelled: Cancellation, uid: str) -> None:
        main = self._known.get(uid)
        if cancelled.at is None:
            rows = [each for each in self._known.values() if uid in (each.uid, each.series_uid)]
        else:
            rows = [each for each in [self._known.get(cancelled.uid)] if each is not None]
        if any(row.sequence > cancelled.sequence for row in rows):
            self.done.left_out.append(LeftOut(cancelled.name, "it cancels an older version than is in the calendar"))
            return
        for row in rows:
            await self._remove(row)
        is_new = cancelled.at is not None and main is not None and self._exclude(main, [cancelled.at])
        if rows or (is_new and main is not None and main not in self._session.new):
            self.done.removed.append(cancelled.name)
        else:
            self.done.left_out.append(LeftOut(cancelled.name, "it was cancelled"))

    async def _remove(self, event: StoredEvent) -> None:
        del self._known[event.uid]
        if event in self._session.new:
            self._session.expunge(event)
        else:
            await self._session.delete(event)


def _is_newer(event: StoredEvent, known: StoredEvent) -> bool:
    if event.sequence != known.sequence or event.modified_at is None or known.modified_at is None:
        return event.sequence > known.sequence
    return event.modified_at > known.modified_at


def _moment_of(time: datetime | date, series: StoredEvent) -> datetime:
    """Return a time of a series; a date alone takes its time of day."""
    if isinstance(time, datetime):
        return time.astimezone(UTC)
    start = series.starts_at.astimezone(zone_of(series.timezone))
    return datetime.combine(time, start.timetz()).astimezone(UTC)


def entered(wish: CreateEvent) -> StoredEvent:
    """Return the requested event under a new id, not stored.

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


def moved(event: Event, days: int, minutes: int) -> UpdateEvent:
    """Return the change that moves an event: by days on its wall clock, then by exact minutes."""

    def later(moment: datetime) -> datetime:
        wall = moment.replace(tzinfo=None) + timedelta(days=days)
        exact = wall.replace(tzinfo=moment.tzinfo).astimezone(UTC) + timedelta(minutes=minutes)
        return exact.astimezone(moment.tzinfo)

    try:
        return UpdateEvent(event_id=event.event_id, start=later(event.start), end=later(event.end))
    except OverflowError:
        raise InvalidArguments("that is too far") from None


async def keep(session: AsyncSession, kept: KeptEvent, content: str) -> None:
    """Keep what an event was, and forget what is too old."""
    now = datetime.now(UTC)
    await session.exec(delete(KeptResource).where(col(KeptResource.kept_at) < now - KEPT_FOR))
    await session.merge(KeptResource(effect=kept.kept, event_id=kept.event_id, content=content, kept_at=now))


def as_deleted(event: Event) -> DeletedEvent:
    """Return what a deletion says of an event."""
    return DeletedEvent(event_id=event.event_id, title=event.title, start=event.start)


def occurrences_of(event: StoredEvent, start: datetime, end: datetime) -> Iterator[Occurrence]:
    """When the event takes place in the window, in order."""
    if event.recurrence is not None:
        for begins, ends in occurrences(series_of(event), start, end):
            yield Occurrence(begins, ends, event)
    elif event.starts_at < end and event.ends_at > start:
        yield Occurrence(event.starts_at, event.ends_at, event)


def as_event(event: StoredEvent) -> Event:
    """Return the event (of a series the first occurrence) as the contract shows it."""
    return event_at(event, event.starts_at, event.ends_at)


def as_previous(event: StoredEvent) -> PreviousEvent:
    """Return the event with all that is kept of it, as far as a run can hold it."""
    return PreviousEvent(
        **as_event(event).model_dump(),
        excluded=event.excluded if len(event.excluded) <= MOST_EXCLUDED else None,
        busy=event.busy,
        uid=event.uid,
        days=event.days,
    )


def event_at(event: StoredEvent, start: datetime, end: datetime) -> Event:
    """Return the event as the contract shows it, at one of its times."""
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
    """Return the attendees as they are, once none of them is a whole text.

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
    """Return the event as a recurrence rule sees it."""
    return Series(
        start=event.starts_at,
        end=event.ends_at,
        zone=zone_of(event.timezone),
        rule=event.recurrence or "",
        excluded=frozenset(map(datetime.fromisoformat, event.excluded)),
        days=event.days,
    )


def _move(event: StoredEvent, change: UpdateEvent) -> None:
    if change.start is None and change.end is None:
        return
    length = event.ends_at - event.starts_at
    start = change.start or event.starts_at
    start, end = ordered(start, change.end or start + length)
    event.days = event.days if end - start == length else 0
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


async def _of_uid(session: AsyncSession, uid: str) -> Sequence[StoredEvent]:
    """Return the rows of an event or series, by the digest of its UID."""
    one = or_(col(StoredEvent.uid) == uid, col(StoredEvent.series_uid) == uid)
    return (await session.exec(select(StoredEvent).where(one).order_by(col(StoredEvent.starts_at)))).all()


def _no_such_event() -> NotFound:
    return NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")


async def _made_anew(session: AsyncSession, wish: RestoreEvent) -> StoredEvent:
    """Return a row for the deleted event; `_write_back` fills it."""
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
    """Write back the values; if the excluded times were too many to return, move the present ones with the start."""
    zone_of(before.timezone)
    start, end = ordered(before.start, before.end)
    excluded = excluded_after_move(series_of(event), start) if before.excluded is None else before.excluded
    event.excluded = [moment.astimezone(UTC).isoformat() for moment in excluded]
    event.starts_at, event.ends_at, event.timezone = start, end, before.timezone
    event.title, event.location, event.description = before.title, before.location, before.description
    event.attendees = checked_attendees(before.attendees)
    event.recurrence = normalised(before.recurrence) if before.recurrence else None
    event.busy, event.days = before.busy, before.days
