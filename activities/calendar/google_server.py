"""The person's first calendar at Google, as an `EventServer`: each event or series is one resource.

Ids of new events are ours, so that an event is entered once. Changes name the version that was read (`If-Match`), and tell
nobody (`sendUpdates=none`). A series and its changed dates are several events at Google; the version is that of the series.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta

import httpx
from icalendar import Component

from activities.calendar.google_ical import (
    changed_fields,
    content_of,
    fields_of,
    new_fields,
    uid_property,
    without_marks,
)
from activities.calendar.ical_entry import parsed, vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import Unreadable, moment, several, value_of
from retinue.accounts.access import Access
from retinue.accounts.google_api import GoogleApi, Params
from retinue.accounts.rest_api import Json, objects, part, text_of
from retinue.errors import Conflict, InvalidArguments, NotFound, ServiceRefused, ServiceUnavailable
from retinue.network.dav import Listed, Resource

EVENTS = "events"
MOST_PAGES = 40
PAGE = 250
_MOST_AT_ONCE = 2500
_DAY = timedelta(days=1)
_MOST_BYTES = 8 * 1024 * 1024
_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_SILENTLY = (("sendUpdates", "none"),)
_IN_THE_APP = "change it in your calendar app"


def calendar_api(http: httpx.AsyncClient, access: Access) -> GoogleApi:
    """Return the API of the person's first calendar."""
    return GoogleApi(
        http,
        access,
        host="www.googleapis.com",
        path="/calendar/v3/calendars/primary",
        name="Google Calendar",
        most_bytes=_MOST_BYTES,
    )


async def pages(api: GoogleApi, params: Params, *, size: int = PAGE) -> list[Json]:
    """Return all pages of a list of events, `size` on each.

    Raises:
        InvalidArguments: It has more than 40 pages.
        ServiceError: See `GoogleApi.get`.
    """
    found: list[Json] = []
    token = ""
    while len(found) < MOST_PAGES:
        following = (("pageToken", token),) if token else ()
        found.append(await api.get(EVENTS, [*params, ("maxResults", size), *following]))
        if not (token := text_of(found[-1], "nextPageToken")):
            return found
    raise InvalidArguments(f"more than {MOST_PAGES * size} events are in this window", hint="ask for a shorter one")


class GoogleServer:
    """One calendar at Google. Errors are those of `EventServer`."""

    def __init__(self, api: GoogleApi, *, default_zone: str) -> None:
        """Use a calendar.

        Args:
            api: See `calendar_api`.
            default_zone: IANA zone of events on dates.
        """
        self._api = api
        self._zone = default_zone

    def id_for(self, uid: str) -> str:
        """Return the event id of a new resource: Google allows the letters a to v and digits."""
        return uid.replace("-", "")

    async def get(self, event_id: str) -> Resource:
        """Return an event, or a series with its changed dates."""
        event = await self._event(event_id)
        etag = text_of(event, "etag")
        if not etag:
            raise ServiceRefused("Google Calendar does not tell versions apart, so nothing can be changed there")
        try:
            content = await asyncio.to_thread(content_of, event, await self._dates(event))
        except Unreadable as reason:
            raise ServiceRefused(f"this event cannot be read: {reason}", hint=_IN_THE_APP) from None
        return Resource(f"/{event_id}", etag, content)

    async def create(self, event_id: str, content: str) -> str:
        """Enter an event; one that was deleted under this id is brought back. The mark of the effect comes last."""
        main, dates = _divided(content)
        fields = fields_of(main, self._zone)
        marked, first = fields["extendedProperties"], without_marks(fields) if dates else fields
        try:
            made = await self._api.change("POST", EVENTS, {"id": event_id, **new_fields(first)}, params=_SILENTLY)
        except Conflict:
            made = await self._bring_back(event_id, first)
        given = text_of(made, "id") or event_id
        for each in dates:
            await self._write_date(given, each)
        if dates:
            await self._patch(given, {"extendedProperties": marked}, etag="")
        return given

    async def replace(self, event_id: str, content: str, *, etag: str) -> None:
        """Change an event; of a series first its changed dates, so that the mark of the effect comes last.

        Raises:
            InvalidArguments: Dates of a series were changed at Google, and would have to move with it.
        """
        event = await self._event(event_id)
        main, dates = _divided(content)
        kept = _divided(await asyncio.to_thread(content_of, event, await self._dates(event)))[1]
        before = {self._at(each): fields_of(each, self._zone) for each in kept}
        gone = before.keys() - {self._at(each) for each in dates}
        if not gone <= self._left_out(main):
            raise InvalidArguments("single dates of this series were changed", hint=_IN_THE_APP)
        for each in dates:
            if before.get(self._at(each)) != fields_of(each, self._zone):
                await self._write_date(event_id, each)
        for at in gone:
            found = await self._date(event_id, at)
            await self._patch(text_of(found, "id"), {"status": "cancelled"}, etag="")
        await self._patch(event_id, changed_fields(fields_of(main, self._zone), event), etag=etag)

    async def delete(self, event_id: str, *, etag: str) -> None:
        """Delete an event, or a series with all its dates."""
        headers = {"If-Match": etag} if etag else {}
        await self._api.change("DELETE", _path(event_id), params=_SILENTLY, headers=headers)

    async def with_uid(self, uid: str) -> list[str]:
        """Return the events that have this UID, or keep it as that of an invitation."""
        by_google = await self._api.get(EVENTS, [("iCalUID", uid)])
        by_us = await self._api.get(EVENTS, [("privateExtendedProperty", uid_property(uid))])
        found = [*objects(by_google, "items"), *objects(by_us, "items")]
        return list(dict.fromkeys(text_of(each, "id") for each in found if _is_whole(each)))

    async def schedules(self) -> bool:
        """Google shows each change to the others who take part."""
        return True

    async def sync_token(self) -> str:
        """Return where the calendar stands now."""
        since = (datetime.now(UTC) - _DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = [("timeMin", since), ("fields", "nextPageToken,nextSyncToken")]
        return text_of((await pages(self._api, wanted, size=_MOST_AT_ONCE))[-1], "nextSyncToken")

    async def changed_since(self, token: str) -> tuple[dict[str, Listed], str] | None:
        """Return events that were added or changed since, by their ids, and the next token; None if it is not valid."""
        try:
            found = await pages(self._api, [("syncToken", token)])
        except NotFound:
            return None
        items = [each for page in found for each in objects(page, "items") if each.get("status") != "cancelled"]
        listed = {}
        for each in items:
            event_id = text_of(each, "recurringEventId") or text_of(each, "id")
            listed[event_id] = Listed(f"/{event_id}", text_of(each, "etag"), None)
        return listed, text_of(found[-1], "nextSyncToken")

    async def contents(self, wanted: Mapping[str, Listed]) -> AsyncIterator[dict[str, Resource | None]]:
        """Yield events one by one, without those that are gone; None for one that cannot be read."""
        for event_id in wanted:
            try:
                yield {event_id: await self.get(event_id)}
            except NotFound:
                continue
            except ServiceRefused:
                yield {event_id: None}

    async def _event(self, event_id: str) -> Json:
        """Return an event or a series as Google gives it.

        Raises:
            NotFound: There is none, it was deleted, or the id is that of one date of a series.
        """
        try:
            found = await self._api.get(_path(event_id))
        except NotFound:
            raise _no_such_event() from None
        if not _is_whole(found):
            raise _no_such_event()
        return found

    async def _dates(self, event: Json) -> list[Json]:
        """Return the changed and cancelled dates of a series."""
        if not event.get("recurrence"):
            return []
        wanted = [("iCalUID", text_of(event, "iCalUID")), ("showDeleted", "true")]
        found = [each for page in await pages(self._api, wanted) for each in objects(page, "items")]
        return [each for each in found if each.get("recurringEventId") == event.get("id")]

    async def _bring_back(self, event_id: str, fields: Json) -> Json:
        found = await self._api.get(_path(event_id))
        if found.get("status") != "cancelled":
            raise Conflict("there is an event of that id")
        fields = changed_fields(fields, found)
        return await self._patch(event_id, {**fields, "status": "confirmed"}, etag=text_of(found, "etag"))

    async def _write_date(self, event_id: str, changed: Component) -> None:
        """Change one date of a series, whatever it is now."""
        found = await self._date(event_id, self._at(changed))
        fields = changed_fields(fields_of(changed, self._zone), found)
        await self._patch(text_of(found, "id"), {"status": "confirmed", **fields}, etag=text_of(found, "etag"))

    async def _date(self, event_id: str, at: str) -> Json:
        params = [("originalStart", at), ("showDeleted", "true")]
        found = objects(await self._api.get(f"{_path(event_id)}/instances", params), "items")
        if not found:
            raise ServiceUnavailable("Google Calendar does not show a date of this series")
        return found[0]

    async def _patch(self, event_id: str, fields: Json, *, etag: str) -> Json:
        headers = {"If-Match": etag} if etag else {}
        return await self._api.change("PATCH", _path(event_id), fields, params=_SILENTLY, headers=headers)

    def _at(self, changed: Component) -> str:
        """Return the time that a changed date stands for, as Google compares it."""
        return self._original(changed["RECURRENCE-ID"])

    def _left_out(self, main: Component) -> set[str]:
        """Return the times that a series leaves out."""
        lists = several(main.get("EXDATE"))
        return {self._original(each) for dates in lists for each in getattr(dates, "dts", [])}

    def _original(self, value: object) -> str:
        when = value_of(value)
        at = moment(value, self._zone)[0] if isinstance(when, datetime) else when
        return at.isoformat() if isinstance(at, date) else ""


def _divided(content: str) -> tuple[Component, list[Component]]:
    """Return the event or series of a resource, and its changed dates."""
    events = vevents(parsed(content))
    main = main_of(events)
    return main, [each for each in events if each is not main]


def _is_whole(event: Json) -> bool:
    """Whether it is there, and no date of a series."""
    return event.get("status") != "cancelled" and not event.get("recurringEventId")


def _path(event_id: str) -> str:
    if not _ID.fullmatch(event_id):
        raise _no_such_event()
    return f"{EVENTS}/{part(event_id)}"


def _no_such_event() -> NotFound:
    return NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")
