"""The calendar's tools on a server: by CalDAV (Radicale, Nextcloud, Fastmail, iCloud), or by what acts like it (`EventServer`).

The server shares no transaction with the ledger, so each effect leaves its own trace there: a new event has a name that
follows from the effect's key, and is made only where none is; a changed one carries a mark. A lost reply is looked up by
that trace before anything is done again, and every change names the version that it was made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from icalendar import Calendar as ICalendar

from activities.calendar.caldav_changes import Synced, changes
from activities.calendar.caldav_invitations import CaldavInvitations
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
    RemainingEvent,
    RestoreEvent,
    RestoreEvents,
    RestoreEventsResult,
    UpdateEvent,
    UpdateEventResult,
    UpdateFromInvitation,
    WriteInvitation,
)
from activities.calendar.event_server import EventServer, View
from activities.calendar.ical_edit import changed, is_scheduled, marks_of, new_calendar, sealed, uid_of
from activities.calendar.ical_entry import Entry, parsed, read_entry, vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import Unreadable
from activities.calendar.listing import LONG_AGO, MOST_EVENTS, asks_for, bounds, free_slots, listing
from activities.calendar.models import KeptResource
from activities.calendar.overlaps import LOOK_AHEAD, UNCHECKED, Other, notes, overlaps
from activities.calendar.store import as_deleted, entered, keep, moved
from retinue.errors import Conflict, NotAllowed, NotFound, RetinueError, ServiceError, ServiceRefused
from retinue.ledger import Commit, Ledger, lasting_key
from retinue.network.dav import Resource
from retinue.store import Store
from retinue.zones import zone_of


class CaldavCalendar(Calendar):
    """The contract, kept by a server. The capability's own database holds the ledger and what was before."""

    def __init__(self, store: Store, server: EventServer, view: View, *, default_zone: str) -> None:
        """Use a calendar.

        Args:
            store: The capability's own database.
            server: The calendar.
            view: Looks into it.
            default_zone: IANA zone of events on dates and of floating times.
        """
        self.ledger: Ledger = Ledger(store)
        self._store = store
        self._server = server
        self._zone = default_zone
        self._view = view
        self._invitations = CaldavInvitations(server, self.ledger, default_zone=default_zone, mark=_mark)

    async def create_event(self, event: CreateEvent) -> CreatedEvent:
        """Put the event there once: its name follows from the effect's key, and no attempt overwrites another's."""
        draft, mark = entered(event), _mark()
        event_id = self._server.id_for(uid_of(mark))

        async def act(commit: Commit) -> CreatedEvent:
            content = new_calendar(draft, mark)
            entry = self._read(event_id, content)
            others = await self._overlaps(entry)
            await commit()
            try:
                given = await self._server.create(event_id, content)
            except Conflict:
                return await verify() or _no_place()
            event = entry.as_event().model_copy(update={"event_id": given})
            return CreatedEvent(**event.model_dump(), overlaps=others)

        async def verify() -> CreatedEvent | None:
            found = await self._get(event_id)
            if found is None:
                return None
            if not _is_ours(found.content, mark):
                raise Conflict("the calendar server has given the event's name to another one")
            entry = self._read(event_id, found.content)
            return CreatedEvent(**entry.as_event().model_dump(), overlaps=await self._overlaps(entry))

        return await self.ledger.once_outside(event, CreatedEvent, act=act, verify=verify)

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
        """Change the event once."""
        return await self._change(change, lambda _: change)

    async def move_event(self, wish: MoveEvent) -> UpdateEventResult:
        """Move the event once, from where it was read; a second attempt moves it no further."""
        return await self._change(wish, lambda event: moved(event, wish.days, wish.minutes))

    async def _change(
        self, wish: UpdateEvent | MoveEvent, change_of: Callable[[Event], UpdateEvent]
    ) -> UpdateEventResult:
        """Change the event once, from the version that was read; a second attempt returns the same `previous`."""
        mark, event_id = _mark(), wish.event_id

        async def act(commit: Commit) -> UpdateEventResult:
            found = await self._server.get(event_id)
            if seen := self._seen(mark, found):
                return await result(seen)
            calendar = await self._open(found)
            content = changed(calendar, change_of(self._read_found(found).as_event()), mark, self._zone)
            now = self._read(event_id, content)
            await self._keep(mark, event_id, found.content)
            await commit()
            try:
                await self._server.replace(event_id, content, etag=found.etag)
            except Conflict:
                if done := await verify():
                    return done
                raise
            return await result(now)

        async def verify() -> UpdateEventResult | None:
            found = await self._get(event_id)
            done = found and self._seen(mark, found)
            return await result(done) if done else None

        async def result(now: Entry) -> UpdateEventResult:
            kept = await self._kept(mark)
            if kept is None:
                raise NotFound("what the event was is not kept any more")
            before, event = self._read(event_id, kept.content).as_previous(mark), now.as_event()
            is_moved = (before.start, before.end) != (event.start, event.end)
            others = await self._overlaps(now) if is_moved else []
            return UpdateEventResult(**event.model_dump(), previous=before, overlaps=others)

        return await self.ledger.once_outside(wish, UpdateEventResult, act=act, verify=verify)

    async def preview(self, wish: PreviewEvent) -> EventNotes:
        """Compare the event with the others, and write nothing."""
        zone, draft = self._zone, ""
        if wish.event_id is not None:
            found = await self._server.get(wish.event_id)
            event = self._read_found(found).as_event()
            change = UpdateEvent(event_id=wish.event_id, start=wish.start, end=wish.end)
            if wish.days or wish.minutes:
                change = moved(event, wish.days, wish.minutes)
            if change.start is not None or change.end is not None:
                draft = changed(self._parsed(found.content), change, "preview", self._zone)
        elif wish.start is not None and wish.end is not None:
            new = CreateEvent(
                title="-", start=wish.start, end=wish.end, timezone=wish.timezone, recurrence=wish.recurrence
            )
            draft = new_calendar(entered(new), _mark())
        if not draft:
            return EventNotes(notes=[])
        entry = self._read(wish.event_id or "preview.ics", draft)
        event = entry.as_event()
        zone = event.timezone
        found_others = await self._overlaps(entry)
        moves = bool(wish.days or wish.minutes)
        return EventNotes(notes=notes((event.start, event.end), found_others, zone_of(zone), moves=moves))

    async def _overlaps(self, entry: Entry) -> list[str]:
        """Return what else takes place at an event's times, in words; of a series for the next three months."""
        event = entry.as_event()
        try:
            times = entry.occurrences(event.start, event.start + LOOK_AHEAD if entry.recurs else event.end)
            last = max((each.end for each in times), default=event.end)
            look = await self._view.look(event.start, last)
        except (RetinueError, Unreadable):
            return [UNCHECKED]
        others = [
            Other(each.start, each.end, each.event.title)
            for found in look.found
            for each in found
            if each.busy and each.event.event_id != event.event_id
        ]
        return overlaps([(each.start, each.end) for each in times], others, zone_of(event.timezone))

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

    async def delete_events(self, events: DeleteEvents) -> DeleteEventsResult:
        """Delete one after the other, each in the version that was read, and say which were and which were not.

        An attempt that comes after another one goes on with what is left.
        """
        wanted = [KeptEvent(event_id=event_id, kept=_mark(event_id)) for event_id in dict.fromkeys(events.event_ids)]

        async def act(commit: Commit) -> DeleteEventsResult:
            remaining: dict[str, str] = {}
            ready = [await self._ready(each, remaining) for each in wanted]
            if any(ready):
                await commit()
            for event_id, resource in filter(None, ready):
                if (reason := await self._why_not_deleted(event_id, resource)) is not None:
                    remaining[event_id] = reason
            if len(remaining) == len(wanted):
                raise ServiceRefused(f"none of the events could be deleted: {next(iter(remaining.values()))}")
            return await self._deleted(wanted, remaining)

        async def verify() -> DeleteEventsResult | None:
            kept = {each.event_id: await self._kept(each.kept) for each in wanted}
            if any([row is not None and await self._get(event_id) is not None for event_id, row in kept.items()]):
                return None
            gone = {event_id: "it was not deleted" for event_id, row in kept.items() if row is None}
            return None if len(gone) == len(wanted) else await self._deleted(wanted, gone)

        return await self.ledger.once_outside(events, DeleteEventsResult, act=act, verify=verify)

    async def _ready(self, wanted: KeptEvent, remaining: dict[str, str]) -> tuple[str, Resource] | None:
        """Return an event to delete, once what it is has been kept; None if it is gone, or says in `remaining` why not."""
        try:
            found = await self._server.get(wanted.event_id)
            await self._open(found)
        except NotFound as error:
            if await self._kept(wanted.kept) is None:
                remaining[wanted.event_id] = error.message
            return None
        except (ServiceRefused, NotAllowed) as error:
            remaining[wanted.event_id] = error.message
            return None
        await self._keep(wanted.kept, wanted.event_id, found.content)
        return wanted.event_id, found

    async def _why_not_deleted(self, event_id: str, found: Resource) -> str | None:
        """Delete one event, in two tries; returns why it is still there, or may be."""
        reason = ""
        for _ in range(2):
            try:
                with suppress(NotFound):
                    await self._server.delete(event_id, etag=found.etag)
                return None
            except Conflict:
                return "it was changed meanwhile"
            except ServiceError as error:
                reason = error.message
            try:
                if await self._get(event_id) is None:
                    return None
            except ServiceError:
                return f"{reason}; it may be deleted all the same"
        return reason

    async def _deleted(self, wanted: Iterable[KeptEvent], remaining: dict[str, str]) -> DeleteEventsResult:
        kept = [each for each in wanted if each.event_id not in remaining]
        rows = [await self._kept(each.kept) for each in kept]
        return DeleteEventsResult(
            deleted=[as_deleted(self._read(row.event_id, row.content).as_event()) for row in rows if row is not None],
            remaining=_named(remaining),
            kept=kept,
        )

    async def restore_events(self, wish: RestoreEvents) -> RestoreEventsResult:
        """Write the resources back one after the other, and say which are there again and which are not."""
        mark = _mark()

        async def act(commit: Commit) -> RestoreEventsResult:
            rows = [(each, await self._kept(each.kept)) for each in wish.kept]
            if not any(row is not None and row.event_id == each.event_id for each, row in rows):
                raise NotFound("what the events were before is not kept any more")
            await commit()
            remaining: dict[str, str] = {}
            for each, row in rows:
                reason = "it is not kept any more"
                if row is not None and row.event_id == each.event_id:
                    reason = await self._why_not_restored(each.event_id, row.content, mark)
                if reason:
                    remaining[each.event_id] = reason
            return await self._restored(wish.kept, remaining)

        async def verify() -> RestoreEventsResult | None:
            found = {each.event_id: await self._get(each.event_id) for each in wish.kept}
            there = [each is not None and _is_marked(each.content, mark) for each in found.values()]
            return await self._restored(wish.kept, {}) if all(there) else None

        return await self.ledger.once_outside(wish, RestoreEventsResult, act=act, verify=verify)

    async def _why_not_restored(self, event_id: str, content: str, mark: str) -> str:
        """Write one resource back; returns why it is not there, or an empty text."""
        calendar = parsed(content)
        try:
            await self._server.create(event_id, sealed(calendar, main_of(vevents(calendar)), mark))
        except Conflict:
            found = await self._get(event_id)
            return "" if found and _is_marked(found.content, mark) else "it is in the calendar again"
        except ServiceError as error:
            return error.message
        return ""

    async def _restored(self, kept: Sequence[KeptEvent], remaining: dict[str, str]) -> RestoreEventsResult:
        done = await self._deleted(kept, remaining)
        return RestoreEventsResult(restored=done.deleted, remaining=done.remaining)

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

    async def changes(self, wish: ReadEventChanges) -> EventChanges:
        """Ask the server what has changed, if it can tell; else compare the next weeks."""
        if not isinstance(self._server, Synced):
            return await super().changes(wish)
        return await changes(wish, self._server, super().changes, zone=self._zone)

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
        async with self._store.write() as session:
            await keep(session, KeptEvent(event_id=event_id, kept=mark), content)

    async def _kept(self, mark: str) -> KeptResource | None:
        async with self._store.read() as session:
            return await session.get(KeptResource, mark)


def _mark(event_id: str = "") -> str:
    """Return what an effect leaves at an event; of an effect on several, what it keeps one of them under."""
    key = f"{lasting_key()}/{event_id}" if event_id else lasting_key()
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _named(remaining: dict[str, str]) -> list[RemainingEvent]:
    return [RemainingEvent(event_id=event_id, why=why) for event_id, why in remaining.items()]


def _is_marked(content: str, mark: str) -> bool:
    return _holds(content, lambda calendar: any(mark in marks_of(event) for event in vevents(calendar)))


def _is_ours(content: str, mark: str) -> bool:
    return _holds(content, lambda calendar: str(main_of(vevents(calendar)).get("UID")) == uid_of(mark))


def _holds(content: str, says: Callable[[ICalendar], bool]) -> bool:
    try:
        return says(parsed(content))
    except Unreadable:
        return False


def _no_place() -> CreatedEvent:
    raise ServiceRefused("the calendar server takes no new event at this address", hint="check the settings")


def _unreadable(reason: Unreadable) -> ServiceRefused:
    return ServiceRefused(f"this entry of the calendar cannot be read: {reason}", hint="change it in your calendar app")
