"""One calendar at Microsoft, by Graph: a server for `CaldavCalendar`, which knows events as iCalendar.

Graph chooses the ids of events. So that a lost reply can be looked up, and a deleted event comes back under its id, a new
event keeps in a property the id under which it is known here; any other event is known by Graph's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
from icalendar import Calendar as ICalendar
from icalendar import Component

from activities.calendar.caldav import CaldavCalendar
from activities.calendar.caldav_view import Look
from activities.calendar.contract import Calendar, Event
from activities.calendar.graph_ical import (
    OURS,
    changed_fields,
    content_of,
    fields_of,
    kept_of,
    original_start,
    people_of,
    rule_in,
    single_dates,
    takes_time,
    times_of,
    transaction_of,
)
from activities.calendar.ical_entry import Occurrence, parsed, vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import Unreadable, line, text
from retinue.accounts.access import Access
from retinue.accounts.graph_api import IMMUTABLE, GraphApi, Params, address, etag_of, inside, quoted
from retinue.accounts.rest_api import Json, objects, part, text_of
from retinue.errors import Conflict, InvalidArguments, NotFound, ServiceRefused
from retinue.network.dav import Resource
from retinue.store import Store
from retinue.zones import zone_of

_EVENTS = "me/events"
_PREFER = f'{IMMUTABLE}, outlook.timezone="UTC", outlook.body-content-type="text"'
_LISTED: Final = (
    "id,subject,start,end,isAllDay,isCancelled,showAs,location,bodyPreview,attendees,type,seriesMasterId,"
    "originalStartTimeZone"
)
_MASTER: Final = "id,start,end,isAllDay,recurrence,attendees,originalStartTimeZone"
_PROPERTIES: Final = "singleValueExtendedProperties"
_PAGE = 250
_DAY = timedelta(days=1)
_FAR = timedelta(days=31)
"""How far a changed date of a series is looked for around its own."""
_Dates = Mapping[datetime, Component | None]
_ID = re.compile(r"[A-Za-z0-9=_+-]{1,400}")
_OWN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_ALIKE = 10
_IN_OUTLOOK = "change it in Outlook"


def over(access: Access, store: Store, *, http: httpx.AsyncClient, default_zone: str, timeout: float = 25) -> Calendar:
    """Return the calendar's tools over one person's account at Microsoft; building them opens nothing.

    Args:
        access: The account's connection, and another one where its token is refused.
        store: The capability's database, for the ledger and what was before.
        http: See `RestApi`; its owner closes it.
        default_zone: IANA zone of events on dates.
        timeout: Seconds that one request may take.
    """
    api = GraphApi(http, access, name="the calendar at Microsoft", deadline=timeout)
    server = GraphServer(api, default_zone=default_zone)
    return CaldavCalendar(store, server, GraphView(api, default_zone=default_zone), default_zone=default_zone)


class GraphServer:
    """The person's default calendar; see `EventServer`."""

    def __init__(self, api: GraphApi, *, default_zone: str) -> None:
        self._api = api
        self._zone = default_zone

    def id_for(self, uid: str) -> str:
        """Return the id under which a new event is known here."""
        return uid

    async def get(self, event_id: str) -> Resource:
        """Return one event, or a series with its changed dates.

        Raises:
            NotFound: There is none of that id.
            ServiceRefused: It cannot be read.
            ServiceError: See `GraphApi.get`.
        """
        event = await self._found(event_id)
        dates: Json = {}
        if inside(event, "recurrence"):
            params = {"$select": "id,cancelledOccurrences,exceptionOccurrences", "$expand": "exceptionOccurrences"}
            dates = await self._api.get(f"{_EVENTS}/{part(text_of(event, 'id'))}", params, prefer=_PREFER)
        found = dates.get("cancelledOccurrences")
        left_out = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
        try:
            content = content_of(event, objects(dates, "exceptionOccurrences"), left_out, self._zone)
        except Unreadable as reason:
            raise _unreadable(reason) from None
        return Resource(event_id, etag_of(event), content)

    async def create(self, event_id: str, content: str) -> str:
        """Create an event under that id.

        Raises:
            Conflict: There is one of that id.
            ServiceRefused: Microsoft's calendars cannot keep it.
            OutcomeUnknown: No reply came.
            ServiceError: See `GraphApi.change`.
        """
        calendar = parsed(content)
        try:
            fields, kept = self._fields(calendar), {"RetinueId": event_id, **kept_of(calendar, self._zone)}
            dates = single_dates(calendar, self._zone)
        except Unreadable as reason:
            raise _unreadable(reason) from None
        if dates:
            raise ServiceRefused(
                "single dates of this series were changed or left out, which cannot be written at once",
                hint="Outlook keeps deleted events for a while: restore it there",
            )
        body = {name: value for name, value in fields.items() if value is not None}
        if await self._by_our_id(event_id) is not None:
            raise Conflict("there is an event of that id")
        body |= {"transactionId": transaction_of(calendar, event_id), _PROPERTIES: OURS.written(kept)}
        await self._api.change("POST", _EVENTS, body)
        return event_id

    async def replace(self, event_id: str, content: str, *, etag: str) -> None:
        """Change what differs between the event whose version is `etag` and that content.

        Raises:
            Conflict: It was changed or removed meanwhile.
            InvalidArguments: Microsoft's calendars cannot keep it.
            OutcomeUnknown: No reply came.
            ServiceError: See `GraphApi.change`.
        """
        try:
            event = await self._found(event_id)
            before = await self.get(event_id)
        except NotFound:
            raise Conflict("it was removed meanwhile") from None
        if before.etag != etag:
            raise Conflict("it was changed meanwhile", hint="look at it again")
        id_, old, new = text_of(event, "id"), parsed(before.content), parsed(content)
        try:
            dates = single_dates(old, self._zone), single_dates(new, self._zone)
            changes = changed_fields(self._fields(old), self._fields(new))
            if dates != ({}, {}):
                if "start" in changes or dates[0].keys() - dates[1].keys():
                    raise ServiceRefused("single dates of this series would be lost", hint=_IN_OUTLOOK)
                if await self._change_dates(id_, *dates, self._fields(new)):
                    etag = ""  # the series has a new version by now
        except Unreadable as reason:
            raise _unreadable(reason) from None
        body = {**changes, _PROPERTIES: OURS.written(kept_of(new, self._zone))}
        try:
            await self._api.change("PATCH", f"{_EVENTS}/{part(id_)}", body, etag=etag)
        except NotFound:
            raise Conflict("it was removed meanwhile") from None

    async def _change_dates(self, id_: str, old: _Dates, new: _Dates, series: Json) -> bool:
        """Change and leave out single dates of a series; returns whether any was. Doing it again changes nothing."""
        done = False
        for at, changed in new.items():
            before = old.get(at)
            fields = None if changed is None else fields_of(changed, self._zone)
            was = series if before is None else fields_of(before, self._zone)
            if at in old and fields == (None if before is None else was):
                continue
            instance = await self._instance(id_, at)
            done = True
            if fields is None:
                await self._api.change("DELETE", f"{_EVENTS}/{part(instance)}")
                continue
            body = changed_fields({**was, "recurrence": None}, {**fields, "recurrence": None})
            await self._api.change("PATCH", f"{_EVENTS}/{part(instance)}", body)
        return done

    async def _instance(self, id_: str, at: datetime) -> str:
        """Return the id of a series' date that would be at that moment by its pattern."""
        window = {"startDateTime": _utc(at - _FAR), "endDateTime": _utc(at + _FAR)}
        params: Params = {**window, "$select": "id,start,originalStart", "$top": _PAGE}
        async for each in self._api.listed(f"{_EVENTS}/{part(id_)}/instances", params, prefer=_PREFER):
            if original_start(each) == at:
                return text_of(each, "id")
        raise Conflict("the series has no such date", hint="look at it again")

    async def delete(self, event_id: str, *, etag: str) -> None:
        """Remove the event whose version is `etag`.

        Raises:
            NotFound: It is not there.
            Conflict: It was changed meanwhile.
            OutcomeUnknown: No reply came.
            ServiceError: See `GraphApi.change`.
        """
        event = await self._found(event_id)
        await self._api.change("DELETE", f"{_EVENTS}/{part(text_of(event, 'id'))}", etag=etag)

    async def with_uid(self, uid: str) -> list[str]:
        """Return the ids of events that have this UID, or may have it.

        Raises:
            ServiceError: See `GraphApi.get`.
        """
        events: list[Json] = []
        for wanted in (OURS.filter("RetinueUid", uid), f"iCalUId eq {quoted(uid)}"):
            params: Params = {
                "$filter": wanted,
                "$select": "id",
                "$expand": OURS.expand("RetinueId"),
                "$top": _MOST_ALIKE,
            }
            events += [each async for each in self._api.listed(_EVENTS, params, prefer=_PREFER)]
        return list(dict.fromkeys(_known_as(each) for each in events))[:_MOST_ALIKE]

    async def schedules(self) -> bool:
        """Microsoft writes to everybody who takes part."""
        return True

    async def _found(self, event_id: str) -> Json:
        if not _ID.fullmatch(event_id):
            raise _no_such_event()
        params = {"$expand": OURS.expand()}
        if not _OWN_ID.fullmatch(event_id):
            try:
                return await self._api.get(f"{_EVENTS}/{part(event_id)}", params, prefer=_PREFER)
            except NotFound:
                pass  # restored: another event is known by the id of the deleted one
        found = await self._by_our_id(event_id)
        if found is None:
            raise _no_such_event()
        try:
            return await self._api.get(f"{_EVENTS}/{part(found)}", params, prefer=_PREFER)
        except NotFound:
            raise _no_such_event() from None

    async def _by_our_id(self, event_id: str) -> str | None:
        params: Params = {"$filter": OURS.filter("RetinueId", event_id), "$select": "id", "$top": _MOST_ALIKE}
        found = [text_of(each, "id") async for each in self._api.listed(_EVENTS, params, prefer=_PREFER)]
        return found[0] if found else None

    def _fields(self, calendar: ICalendar) -> Json:
        return fields_of(main_of(vevents(calendar)), self._zone)


class GraphView:
    """What takes place at which time, as Microsoft works it out."""

    def __init__(self, api: GraphApi, *, default_zone: str) -> None:
        self._api = api
        self._zone = default_zone

    async def look(self, start: datetime, end: datetime) -> Look:
        """Return everything that takes place in the window.

        Raises:
            InvalidArguments: The window holds too much.
            ServiceError: See `GraphApi.get`.
        """
        # A day more on both sides: Microsoft does not know in which zone this person's dates are.
        window = {"startDateTime": _utc(start - _DAY), "endDateTime": _utc(end + _DAY)}
        params: Params = {**window, "$top": _PAGE, "$select": _LISTED, "$expand": OURS.expand()}
        found = [each async for each in self._api.listed("me/calendarView", params, prefer=_PREFER)]
        masters = await self._masters(found)
        look = Look(start, end)
        for events in _by_series(found).values():
            look.found.append(sorted(self._times(events, masters, look), key=lambda each: (each.start, each.end)))
        look.found = [times for times in look.found if times]
        return look

    async def _masters(self, found: Iterable[Json]) -> dict[str, Json]:
        """Return the series of occurrences by their ids: only a series tells its rule."""
        ids = dict.fromkeys(text_of(each, "seriesMasterId") for each in found)
        params = {"$select": _MASTER, "$expand": OURS.expand()}
        paths = [address(f"{_EVENTS}/{part(each)}", params) for each in ids if each]
        return {text_of(each, "id"): each async for each in self._api.all_of(paths, prefer=_PREFER)}

    def _times(self, events: Iterable[Json], masters: Mapping[str, Json], look: Look) -> Iterator[Occurrence]:
        for each in events:
            if each.get("isCancelled") is True:
                continue
            try:
                found = self._occurrence(each, masters.get(text_of(each, "seriesMasterId")))
            except (Unreadable, InvalidArguments) as reason:
                look.skipped[str(reason)] += 1
                look.named.append(f"'{line(text_of(each, 'subject'), 80)}': {reason}")
                continue
            if found.start < look.end and found.end > look.start:
                yield found

    def _occurrence(self, event: Json, master: Json | None) -> Occurrence:
        """Return one time of an event; of a series, `master` tells what all its times share."""
        whole = event if master is None else master
        event = {**event, _PROPERTIES: whole.get(_PROPERTIES)}
        start, end, zone = times_of(event, self._zone)
        shown = Event(
            event_id=_known_as(whole),
            title=line(text_of(event, "subject"), 300) or "(no title)",
            start=start.astimezone(zone_of(zone)),
            end=end.astimezone(zone_of(zone)),
            timezone=zone,
            location=line(text_of(inside(event, "location"), "displayName"), 500) or None,
            description=text(text_of(event, "bodyPreview").strip(), 8000) or None,
            attendees=people_of(event),
            recurrence=(rule_in(whole, self._zone) or "")[:500] or None,
        )
        return Occurrence(start.astimezone(UTC), end.astimezone(UTC), takes_time(event), shown)


def _by_series(found: Iterable[Json]) -> dict[str, list[Json]]:
    series: dict[str, list[Json]] = {}
    for each in found:
        series.setdefault(text_of(each, "seriesMasterId") or text_of(each, "id"), []).append(each)
    return series


def _known_as(event: Json) -> str:
    return OURS.read(event).get("RetinueId") or text_of(event, "id")


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _unreadable(reason: Unreadable) -> ServiceRefused:
    return ServiceRefused(f"this entry of the calendar cannot be read: {reason}", hint=_IN_OUTLOOK)


def _no_such_event() -> NotFound:
    return NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")
