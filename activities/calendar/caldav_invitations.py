"""Invitations on a calendar server: found by their UID, entered once, changed and removed from the version that was read."""

from __future__ import annotations

from collections.abc import Callable

from icalendar import Calendar as ICalendar

from activities.calendar.contract import (
    AddInvitation,
    Change,
    ChangedEvent,
    Event,
    InvitationText,
    ReadChange,
    UpdateFromInvitation,
    WriteInvitation,
)
from activities.calendar.event_server import EventServer
from activities.calendar.ical_edit import is_scheduled, marks_of, uid_of
from activities.calendar.ical_entry import parsed, read_entry, vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import Unreadable
from activities.calendar.invitations import REQUEST, Incoming, as_resource, changed_by, of_resource, read
from retinue.errors import Conflict, InvalidArguments, NotAllowed, NotFound
from retinue.ledger import Commit, Ledger
from retinue.network.dav import Resource


class CaldavInvitations:
    """The invitation tools of `CaldavCalendar`.

    Args:
        server: The calendar.
        ledger: Of the capability.
        default_zone: IANA zone of events on dates and of floating times.
        mark: Returns the mark of the running effect.
    """

    def __init__(self, server: EventServer, ledger: Ledger, *, default_zone: str, mark: Callable[[], str]) -> None:
        self._server = server
        self._ledger = ledger
        self._zone = default_zone
        self._mark = mark

    async def write(self, wish: WriteInvitation) -> InvitationText:
        """Write what the resource holds."""
        found = await self._server.get(wish.event_id)
        return of_resource(_parsed(found.content), cancel=wish.cancel)

    async def add(self, wish: AddInvitation) -> Event:
        """Enter the event once, where none of its UID is."""
        mark, incoming = self._mark(), _invited(wish)
        event_id = self._server.id_for(uid_of(mark))
        content = as_resource(incoming, mark)
        entered = self._read(event_id, content)

        async def act(commit: Commit) -> Event:
            if await self._with_uid(incoming.uid) is not None:
                return await verify() or _is_there()
            await commit()
            try:
                await self._server.create(event_id, content)
            except Conflict:
                return await verify() or _is_there()
            return entered

        async def verify() -> Event | None:
            found = await self._get(event_id)
            return entered if found is not None and _is_marked(found, mark) else None

        return await self._ledger.once_outside(wish, Event, act=act, verify=verify)

    async def read_change(self, wish: ReadChange) -> Change:
        """Find the event, and say what would become of it."""
        incoming = read(wish.icalendar)
        found = await self._with_uid(incoming.uid)
        if found is None:
            raise _not_there()
        changed_by(_parsed(found.content), read(wish.icalendar), "", self._zone)
        return Change(event_id=found.href.rpartition("/")[2], change=incoming.in_words(self._zone))

    async def update(self, wish: UpdateFromInvitation) -> ChangedEvent:
        """Change or remove the event that was shown, once."""
        mark, incoming = self._mark(), read(wish.icalendar)
        if wish.event_id is None or wish.change != incoming.in_words(self._zone):
            raise Conflict("the change is not the one that was shown")
        event_id = wish.event_id

        async def act(commit: Commit) -> ChangedEvent:
            found = await self._get(event_id)
            if found is None:
                raise _not_there()
            if _is_marked(found, mark):
                return _result(event_id, incoming, "changed")
            if _uid(found) != incoming.uid:
                raise Conflict("this is not the event of the invitation")
            content = changed_by(await self._open(found), incoming, mark, self._zone)
            await commit()
            if content is None:
                await self._server.delete(event_id, etag=found.etag)
                return _result(event_id, incoming, "removed")
            await self._server.replace(event_id, content, etag=found.etag)
            return _result(event_id, incoming, "changed")

        async def verify() -> ChangedEvent | None:
            found = await self._get(event_id)
            if found is None:
                return _result(event_id, incoming, "removed") if incoming.method != REQUEST else None
            return _result(event_id, incoming, "changed") if _is_marked(found, mark) else None

        return await self._ledger.once_outside(wish, ChangedEvent, act=act, verify=verify)

    async def _with_uid(self, uid: str) -> Resource | None:
        """Return the resource of an event; servers look for a part of the UID, so each is compared once more."""
        for event_id in await self._server.with_uid(uid):
            found = await self._get(event_id)
            if found is not None and _uid(found) == uid:
                return found
        return None

    async def _get(self, event_id: str) -> Resource | None:
        try:
            return await self._server.get(event_id)
        except NotFound:
            return None

    async def _open(self, found: Resource) -> ICalendar:
        calendar = _parsed(found.content)
        if is_scheduled(calendar) and await self._server.schedules():
            raise NotAllowed(
                "the calendar server answers this invitation itself", hint="change it in your calendar app"
            )
        return calendar

    def _read(self, event_id: str, content: str) -> Event:
        try:
            return read_entry(event_id, content, self._zone).as_event()
        except Unreadable as reason:
            raise InvalidArguments(f"the invitation cannot be entered: {reason}") from None


def _invited(wish: AddInvitation) -> Incoming:
    incoming = read(wish.icalendar)
    if incoming.method != REQUEST:
        raise InvalidArguments("this cancels an event", hint="calendar.update_from_invitation removes it")
    return incoming


def _parsed(content: str) -> ICalendar:
    try:
        return parsed(content)
    except Unreadable as reason:
        raise InvalidArguments(f"this entry of the calendar cannot be read: {reason}") from None


def _uid(found: Resource) -> str:
    try:
        return str(main_of(vevents(parsed(found.content))).get("UID"))
    except Unreadable:
        return ""


def _is_marked(found: Resource, mark: str) -> bool:
    try:
        return any(mark in marks_of(event) for event in vevents(parsed(found.content)))
    except Unreadable:
        return False


def _result(event_id: str, incoming: Incoming, status: str) -> ChangedEvent:
    return ChangedEvent(event_id=event_id, title=incoming.title, status=status)


def _is_there() -> Event:
    raise Conflict(
        "the event of this invitation is in the calendar already", hint="calendar.update_from_invitation changes it"
    )


def _not_there() -> NotFound:
    return NotFound("the event of this invitation is not in the calendar", hint="calendar.add_invitation enters it")
