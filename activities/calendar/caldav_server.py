"""One calendar on a CalDAV server: what it holds in a stretch of time, and its resources by the ids of events.

An `event_id` is the name of a resource, percent-encoded in one way only. It is text that came from a server or from a
model: what would lead out of the calendar is no id.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit
from xml.sax.saxutils import escape

import httpx

from retinue.errors import AnswerTooLong, InvalidArguments, NotFound, ServiceRefused
from retinue.network.dav import Collection, Listed, Resource
from retinue.network.dav_discovery import CALENDARS, collection_url
from retinue.network.service_client import ExternalService

MOST_RESOURCES = 10_000
"""A window that holds more entries is refused: one look would take longer than anybody waits."""

LARGEST = 1024 * 1024
"""Bytes of a resource that is looked at in a list; what is larger holds files, and is counted as not readable."""

_NAME = "the calendar server"
_SAFE = "@.-_~"
_ID = re.compile(r"(?:[A-Za-z0-9@._~-]|%[0-9A-F]{2}){1,500}")
_DATA = "{urn:ietf:params:xml:ns:caldav}calendar-data"
_DAY = timedelta(days=1)
_BYTES_AT_ONCE = 2 * 1024 * 1024
_MOST_AT_ONCE = 200
_LONGEST_ANSWER = 8 * 1024 * 1024
_UNTOLD_SIZE = 20 * 1024
_QUERY = (
    '<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
    "<d:prop><d:getetag/><d:getcontentlength/></d:prop>"
    '<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
    '<c:time-range start="{:%Y%m%dT%H%M%SZ}" end="{:%Y%m%dT%H%M%SZ}"/>'
    "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
)
_BY_UID = (
    '<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
    "<d:prop><d:getetag/><d:getcontentlength/></d:prop>"
    '<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
    '<c:prop-filter name="UID"><c:text-match collation="i;octet">{}</c:text-match></c:prop-filter>'
    "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
)
_MOST_ALIKE = 10
_MULTIGET = (
    '<?xml version="1.0"?><c:calendar-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
    "<d:prop><d:getetag/><c:calendar-data/></d:prop>{}</c:calendar-multiget>"
)


class CaldavServer:
    """The calendar behind an address, which is found out at the first use and not before."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, timeout: float) -> None:
        """Use an address.

        Args:
            client: Carries the credentials, and follows no redirects.
            url: Of one calendar, or of anything from which a server leads to one.
            timeout: Seconds that one request may take.
        """
        self._outside = ExternalService(client, name=_NAME, deadline=timeout, most_bytes=_LONGEST_ANSWER)
        self._url = url
        self._found: tuple[str, Collection] | None = None
        self._schedules: bool | None = None
        self._finding = asyncio.Lock()

    async def between(self, start: datetime, end: datetime) -> tuple[dict[str, Listed], int]:
        """The entries that may take place in the window.

        Returns:
            Them by their event ids, and how many more there are that cannot be read.

        Raises:
            InvalidArguments: There are too many.
            ServiceError: See `ExternalService.ask`.
        """
        path, calendar = await self._calendar()
        # A day more on both sides: the server does not know in which zone this person's dates and floating times are.
        listed = await calendar.found(_QUERY.format(start - _DAY, end + _DAY))
        if len(listed) > MOST_RESOURCES:
            raise InvalidArguments(
                f"more than {MOST_RESOURCES} entries of the calendar are in this window", hint="ask for a shorter one"
            )
        readable = {event_id: each for each in listed if (event_id := _readable(path, each))}
        return readable, len(listed) - len(readable)

    async def with_uid(self, uid: str) -> list[str]:
        """Return the event ids of entries whose UID contains this one, at most `_MOST_ALIKE`.

        Raises:
            ServiceError: See `ExternalService.ask`.
        """
        path, calendar = await self._calendar()
        listed = await calendar.found(_BY_UID.format(escape(uid)))
        return [event_id for each in listed if (event_id := _readable(path, each))][:_MOST_ALIKE]

    async def sync_token(self) -> str:
        """Return where the calendar stands now; empty if the server cannot tell changes."""
        _, calendar = await self._calendar()
        return await calendar.sync_token()

    async def changed_since(self, token: str) -> tuple[dict[str, Listed], str] | None:
        """Return entries that were added or changed since, by event ids, and the next token; None if it is not valid."""
        path, calendar = await self._calendar()
        found = await calendar.sync(token)
        if found is None:
            return None
        listed, following = found
        return {event_id: each for each in listed if (event_id := _readable(path, each))}, following

    async def contents(self, wanted: Mapping[str, Listed]) -> AsyncIterator[dict[str, Resource | None]]:
        """Resources by event ids, a part at a time, without those that are gone; None for one that is too large."""
        parts = list(_parts(wanted))
        while parts:
            part = parts.pop()
            try:
                yield await self._contents(part)
            except AnswerTooLong:
                if len(part) == 1:
                    yield {part[0]: None}
                else:
                    parts += [part[: len(part) // 2], part[len(part) // 2 :]]

    async def _contents(self, event_ids: list[str]) -> dict[str, Resource | None]:
        path, calendar = await self._calendar()
        hrefs = "".join(f"<d:href>{escape(path)}{event_id}</d:href>" for event_id in event_ids)
        found = await calendar.report(_MULTIGET.format(hrefs), data=_DATA)
        return {
            event_id: each if len(each.content) <= LARGEST else None
            for each in found
            if (event_id := id_of(path, each.href)) in event_ids and event_id
        }

    async def get(self, event_id: str) -> Resource:
        """Return one resource.

        Raises:
            NotFound: There is none of that id.
            ServiceError: See `ExternalService.ask`.
        """
        path, calendar = await self._calendar()
        try:
            found = await calendar.get(path + _checked(event_id))
        except NotFound:
            raise _no_such_event() from None
        if not found.etag:
            raise ServiceRefused("the calendar server does not tell versions apart, so nothing can be changed there")
        return found

    def id_for(self, uid: str) -> str:
        """Return the event id of a new resource."""
        return f"{uid}.ics"

    async def create(self, event_id: str, content: str) -> str:
        """See `Collection.create`. Returns the event id."""
        path, calendar = await self._calendar()
        await calendar.create(path + _checked(event_id), content)
        return event_id

    async def replace(self, event_id: str, content: str, *, etag: str) -> None:
        """See `Collection.replace`."""
        path, calendar = await self._calendar()
        await calendar.replace(path + _checked(event_id), content, etag=etag)

    async def delete(self, event_id: str, *, etag: str) -> None:
        """See `Collection.delete`."""
        path, calendar = await self._calendar()
        await calendar.delete(path + _checked(event_id), etag=etag)

    async def schedules(self) -> bool:
        """Whether the server itself writes to organisers and attendees when an event changes (RFC 6638)."""
        await self._calendar()
        if self._schedules is None:
            url, _ = await self._address()
            reply = await self._outside.request("OPTIONS", url)
            self._schedules = "calendar-auto-schedule" in reply.headers.get("DAV", "")
        return self._schedules

    async def _calendar(self) -> tuple[str, Collection]:
        """Return the calendar's path on its server, and the calendar."""
        url, calendar = await self._address()
        return urlsplit(url).path, calendar

    async def _address(self) -> tuple[str, Collection]:
        async with self._finding:
            if self._found is None:
                url = await collection_url(self._outside, self._url, CALENDARS)
                url = url if url.endswith("/") else f"{url}/"
                self._found = url, Collection(self._outside, url, content_type="text/calendar; charset=utf-8")
            return self._found


def id_of(path: str, href: str) -> str | None:
    """Return the event id of a resource of the calendar at `path`; None for whatever else a server names there."""
    folder, _, name = (href if href.startswith("/") else path + href).rpartition("/")
    if unquote_to_bytes(f"{folder}/") != unquote_to_bytes(path):
        return None
    event_id = quote_from_bytes(unquote_to_bytes(name), safe=_SAFE)
    return event_id if _is_id(event_id) else None


def _readable(path: str, listed: Listed) -> str | None:
    return id_of(path, listed.href) if (listed.size or 0) <= LARGEST else None


def _checked(event_id: str) -> str:
    if not _is_id(event_id):
        raise _no_such_event()
    return event_id


def _is_id(event_id: str) -> bool:
    """Written in the one way, and a plain name however often a server decodes it."""
    if not _ID.fullmatch(event_id):
        return False
    name = unquote_to_bytes(event_id)
    plain = name not in (b".", b"..") and not any(each < 0x20 or each in b"/\\%\x7f" for each in name)
    return plain and quote_from_bytes(name, safe=_SAFE) == event_id


def _parts(wanted: Mapping[str, Listed]) -> Iterator[list[str]]:
    """Ids of resources that are asked for at once, which keeps each answer small."""
    part: list[str] = []
    size = 0
    for event_id, listed in wanted.items():
        part.append(event_id)
        size += _UNTOLD_SIZE if listed.size is None else listed.size
        if len(part) == _MOST_AT_ONCE or size > _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _no_such_event() -> NotFound:
    return NotFound("there is no such event in the calendar", hint="calendar.list_events gives the ids")
