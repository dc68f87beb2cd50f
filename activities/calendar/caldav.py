"""The calendar's tools on a CalDAV server: Radicale, Nextcloud, Fastmail, iCloud.

The server shares no transaction with the ledger, so each effect leaves its own trace there: a new event has a name that
follows from the effect's key, and is made only where none is; a changed one carries a mark. A lost reply is looked up by
that trace before anything is done again, and every change names the version that it was made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from icalendar import Calendar as ICalendar
from sqlmodel import col, delete

from activities.calendar.caldav_invitations import CaldavInvitations
from activities.calendar.caldav_server import CaldavServer
from activities.calendar.caldav_view import CalendarView
from activities.calendar.contract import (
    AddInvitation,
    Calendar,
    Change,
    ChangedEvent,
    CreateEvent,
    DeleteEvent,
    DeleteEventResult,
    Event,
    EventRef,
    FindFreeTime,
    FindFreeTimeResult,
    InvitationText,
    ListEvents,
    ListEventsResult,
    ReadChange,
    RestoreEvent,
    UpdateEvent,
    UpdateEventResult,
    UpdateFromInvitation,
    WriteInvitation,
)
from activities.calendar.ical_edit import changed, is_scheduled, marks_of, new_calendar, sealed, uid_of
from activities.calendar.ical_entry import Entry, parsed, read_entry, vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import Unreadable
from activities.calendar.listing import LONG_AGO, MOST_EVENTS, asks_for, bounds, free_slots, listing
from activities.calendar.models import KeptResource
from activities.calendar.store import entered
from retinue.errors import Conflict, NotAllowed, NotFound, ServiceRefused
from retinue.ledger import Commit, Ledger, lasting_key
from retinue.network.dav import Resource
from retinue.store import Store

KEPT_FOR = timedelta(days=180)
"""For how long a change can be undone."""


class CaldavCalendar(Calendar):
    """The contract, kept by a CalDAV server. The capability's own database holds the ledger and what was before."""

    def __init__(self, store: Store, server: CaldavServer, *, default_zone: str) -> None:
        """Use a calendar.

        Args:
            store: The capability's own database.
            server: The calendar.
            default_zone: IANA zone of events on dates and of floating times.
        """
        self.ledger: Ledger = Ledger(store)
        self._store = store
        self._server = server
        self._zone = default_zone
        self._view = CalendarView(server, default_zone=default_zone)
        self._invitations = CaldavInvitations(server, self.ledger, default_zone=default_zone, mark=_mark)

    async def create_event(self, event: CreateEvent) -> Event:
        """Put the event there once: its name follows from the effect's key, and no attempt overwrites another's."""
        draft, mark = entered(event), _mark()
        event_id = f"{uid_of(mark)}.ics"

        async def act(commit: Commit) -> Event:
            content = new_calendar(draft, mark)
            await commit()
            try:
                await self._server.create(event_id, content)
            except Conflict:
                return await verify() or _no_place()
            return self._read(event_id, content).as_event()

        async def verify() -> Event | None:
            found = await self._get(event_id)
            if found is None:
                return None
            if not _is_ours(found.content, mark):
                raise Conflict("the calendar server has given the event's name to another one")
            return self._read(event_id, found.content).as_event()

        return await self.ledger.once_outside(event, Event, act=act, verify=verify)

    async def list_events(self, window: ListEvents) -> ListEventsResult:
        """List occurrences; `match` looks at events, so that many occurrences of one series are one match."""
        start, end = bounds(window)
        wanted = asks_for(window.query)
        look = await self._view.look(start, end)
        earliest = start if window.starting else LONG_AGO
        found = [
            [each for each in times if each.start >= earliest and wanted(each.event.title, each.event.attendees)][
                : MOST_EVENTS + 1
            ]
            for times in look.found
        ]
        in_order = sorted((times for times in found if times), key=lambda times: times[0].start)
        return listing(in_order, skipped=look.skipped.total(), named=look.named)

    async def find_free_time(self, wish: FindFreeTime) -> FindFreeTimeResult:
        """Cut the gaps between busy times into slots."""
        look = await self._view.look(*bounds(wish))
        busy = [(each.start, each.end) for times in look.found for each in times if each.busy]
        return free_slots(busy, wish, skipped=+look.skipped)

    async def update_event(self, change: UpdateEvent) -> UpdateEventResult:
        """Change the event once, from the version that was read; a second attempt returns the same `previous`."""
        mark = _mark()

        async def act(commit: Commit) -> UpdateEventResult:
            found = await self._server.get(change.event_id)
            if seen := self._seen(mark, found):
                return await result(seen)
            calendar = await self._open(found)
            content = changed(calendar, change, mark, self._zone)
            now = self._read(change.event_id, content)
            await self._keep(mark, change.event_id, found.content)
            await commit()
            try:
                await self._server.replace(change.event_id, content, etag=found.etag)
            except Conflict:
                if done := await verify():
                    return done
                raise
            return await result(now)

        async def verify() -> UpdateEventResult | None:
            found = await self._get(change.event_id)
            done = found and self._seen(mark, found)
            return await result(done) if done else None

        async def result(now: Entry) -> UpdateEventResult:
            kept = await self._kept(mark)
            if kept is None:
                raise NotFound("what the event was is not kept any more")
            before = self._read(change.event_id, kept.content).as_previous(mark)
            return UpdateEventResult(**now.as_event().model_dump(), previous=before)

        return await self.ledger.once_outside(change, UpdateEventResult, act=act, verify=verify)

    async def delete_event(self, event: DeleteEvent) -> DeleteEventResult:
        """Delete the event once, in the version that was read."""
        mark = _mark()

        async def act(commit: Commit) -> DeleteEventResult:
            try:
                found = await self._server.get(event.event_id)
            except NotFound:
                if done := await verify():
                    return done
                raise
            await self._open(found)
            await self._keep(mark, event.event_id, found.content)
            await commit()
            with suppress(NotFound):  # it was already deleted
                await self._server.delete(event.event_id, etag=found.etag)
            return result(found.content)

        async def verify() -> DeleteEventResult | None:
            kept = await self._kept(mark)
            if kept is None or await self._get(event.event_id) is not None:
                return None
            return result(kept.content)

        def result(content: str) -> DeleteEventResult:
            before = self._read(event.event_id, content).as_previous(mark)
            return DeleteEventResult(event_id=event.event_id, title=before.title, previous=before)

        return await self.ledger.once_outside(event, DeleteEventResult, act=act, verify=verify)

    async def restore_event(self, wish: RestoreEvent) -> Event:
        """Write the whole resource back as it was, once."""
        mark = _mark()

        async def act(commit: Commit) -> Event:
            found = await self._get(wish.event_id)
            if found and (done := self._seen(mark, found)):
                return done.as_event()
            kept = await self._kept(wish.previous.kept or "")
            if kept is None or kept.event_id != wish.event_id:
                raise NotFound("what the event was before is not kept any more")
            if found is None and not wish.deleted:
                raise NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")
            calendar = parsed(kept.content)
            content = sealed(calendar, main_of(vevents(calendar)), mark)
            await commit()
            try:
                if found is None:
                    await self._server.create(wish.event_id, content)
                else:
                    await self._server.replace(wish.event_id, content, etag=found.etag)
            except Conflict:
                if done_meanwhile := await verify():
                    return done_meanwhile
                if found is None:
                    raise Conflict("the event is in the calendar again") from None
                raise
            return self._read(wish.event_id, content).as_event()

        async def verify() -> Event | None:
            found = await self._get(wish.event_id)
            done = found and self._seen(mark, found)
            return done.as_event() if done else None

        return await self.ledger.once_outside(wish, Event, act=act, verify=verify)

    async def look_up(self, event: EventRef) -> Event:
        """Fetch the resource and read it."""
        return self._read_found(await self._server.get(event.event_id)).as_event()

    async def write_invitation(self, wish: WriteInvitation) -> InvitationText:
        """Write what the resource holds."""
        return await self._invitations.write(wish)

    async def add_invitation(self, wish: AddInvitation) -> Event:
        """Enter it once."""
        return await self._invitations.add(wish)

    async def read_change(self, wish: ReadChange) -> Change:
        """Say what would become of the event."""
        return await self._invitations.read_change(wish)

    async def update_from_invitation(self, wish: UpdateFromInvitation) -> ChangedEvent:
        """Change or remove it once."""
        return await self._invitations.update(wish)

    async def _get(self, event_id: str) -> Resource | None:
        try:
            return await self._server.get(event_id)
        except NotFound:
            return None

    async def _open(self, found: Resource) -> ICalendar:
        """Return a resource for changing.

        Raises:
            ServiceRefused: It cannot be read.
            NotAllowed: Its server would write to other people.
        """
        calendar = self._parsed(found.content)
        if is_scheduled(calendar) and await self._server.schedules():
            raise NotAllowed(
                "other people take part in this event, and the calendar server would write to them",
                hint="change it in your calendar app",
            )
        return calendar

    def _seen(self, mark: str, found: Resource) -> Entry | None:
        """Return the event, if it has seen this effect."""
        return self._read_found(found) if _is_marked(found.content, mark) else None

    def _read_found(self, found: Resource) -> Entry:
        return self._read(found.href.rpartition("/")[2], found.content)

    def _read(self, event_id: str, content: str) -> Entry:
        try:
            return read_entry(event_id, content, self._zone)
        except Unreadable as reason:
            raise _unreadable(reason) from None

    def _parsed(self, content: str) -> ICalendar:
        try:
            return parsed(content)
        except Unreadable as reason:
            raise _unreadable(reason) from None

    async def _keep(self, mark: str, event_id: str, content: str) -> None:
        """Remember what the event was, before it is touched."""
        now = datetime.now(UTC)
        async with self._store.write() as session:
            await session.exec(delete(KeptResource).where(col(KeptResource.kept_at) < now - KEPT_FOR))
            await session.merge(KeptResource(effect=mark, event_id=event_id, content=content, kept_at=now))

    async def _kept(self, mark: str) -> KeptResource | None:
        async with self._store.read() as session:
            return await session.get(KeptResource, mark)


def _mark() -> str:
    return hashlib.sha256(lasting_key().encode()).hexdigest()[:32]


def _is_marked(content: str, mark: str) -> bool:
    return _holds(content, lambda calendar: any(mark in marks_of(event) for event in vevents(calendar)))


def _is_ours(content: str, mark: str) -> bool:
    return _holds(content, lambda calendar: str(main_of(vevents(calendar)).get("UID")) == uid_of(mark))


def _holds(content: str, says: Callable[[ICalendar], bool]) -> bool:
    try:
        return says(parsed(content))
    except Unreadable:
        return False


def _no_place() -> Event:
    raise ServiceRefused("the calendar server takes no new event at this address", hint="check the settings")


def _unreadable(reason: Unreadable) -> ServiceRefused:
    return ServiceRefused(f"this entry of the calendar cannot be read: {reason}", hint="change it in your calendar app")
