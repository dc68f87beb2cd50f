"""Which calendar a server's address leads to."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from activities.calendar.settings import CalendarSettings
from tests.activities.contacts.between import Between, says, standing_between
from tests.radicale import USER, Radicale

from .conftest import Shelf, on_server, serving

HOLIDAY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:another app
BEGIN:VEVENT
UID:holiday
DTSTAMP:20260101T000000Z
SUMMARY:Epiphany
DTSTART;VALUE=DATE:20260106
END:VEVENT
END:VCALENDAR"""
JANUARY = {"start": "2026-01-01T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00"}
TASKS_ONLY = """<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop>
<c:supported-calendar-component-set><c:comp name="VTODO"/></c:supported-calendar-component-set>
</d:prop></d:set></c:mkcalendar>"""


@pytest.fixture
def between(server: Radicale) -> Iterator[Between]:
    """The way to the server."""
    with standing_between(server.address) as way:
        yield way


@pytest.fixture
def own(settings: CalendarSettings) -> CalendarSettings:
    """Settings that name no server yet."""
    return settings


async def _titles(settings: CalendarSettings) -> list[str]:
    async with serving(settings) as call:
        return [event["title"] for event in (await call("calendar.list_events", **JANUARY))["events"]]


@pytest.mark.parametrize("path", ["", "/", f"/{USER}/", f"/{USER}"])
async def test_a_server_s_address_leads_to_the_first_calendar_of_events(
    own: CalendarSettings, between: Between, shelf: Shelf, path: str
) -> None:
    """The first one by name is for tasks alone."""
    tasks = shelf.url.rstrip("/")[:-32] + "0" * 32 + "/"
    shelf.client.request("MKCALENDAR", tasks, content=TASKS_ONLY).raise_for_status()
    shelf.put("holiday.ics", HOLIDAY)

    titles = await _titles(on_server(own, between.url + path))

    shelf.client.delete(tasks).raise_for_status()
    assert titles == ["Epiphany"]


@pytest.mark.parametrize("end", ["/", ""])
async def test_a_calendar_s_own_address_is_taken_as_it_is(
    own: CalendarSettings, between: Between, shelf: Shelf, end: str
) -> None:
    shelf.put("holiday.ics", HOLIDAY)

    titles = await _titles(on_server(own, between.url + httpx.URL(shelf.url).path.rstrip("/") + end))

    assert titles == ["Epiphany"]
    assert between.asked == ["PROPFIND", "REPORT", "REPORT"]


async def test_the_way_is_found_once(own: CalendarSettings, between: Between, shelf: Shelf) -> None:
    async with serving(on_server(own, between.url)) as call:
        for _ in range(3):
            await call("calendar.list_events", **JANUARY)

    assert between.asked.count("PROPFIND") == 4
    assert between.asked.count("REPORT") == 3


async def test_a_server_that_was_down_is_found_later(own: CalendarSettings, between: Between, shelf: Shelf) -> None:
    shelf.put("holiday.ics", HOLIDAY)
    between.before["PROPFIND"] = [says(503)]

    async with serving(on_server(own, between.url + httpx.URL(shelf.url).path)) as call:
        with pytest.raises(ApplicationError) as failed:
            await call("calendar.list_events", **JANUARY)
        listed = await call("calendar.list_events", **JANUARY)

    assert not failed.value.non_retryable
    assert [event["title"] for event in listed["events"]] == ["Epiphany"]


@pytest.mark.parametrize(
    "body",
    [
        b'<d:multistatus xmlns:d="DAV:"/>',
        b'<d:multistatus xmlns:d="DAV:"><d:response><d:href>/me/</d:href></d:response></d:multistatus>',
    ],
)
async def test_a_server_without_a_calendar_says_what_helps(
    own: CalendarSettings, between: Between, body: bytes
) -> None:
    between.before["PROPFIND"] = [says(207, body)] * 9

    with pytest.raises(ApplicationError, match=r"shows no calendar .* own address into the settings") as refused:
        await _titles(on_server(own, between.url))

    assert (refused.value.type, refused.value.non_retryable) == ("ServiceRefused", True)


PRINCIPAL = (
    '<d:multistatus xmlns:d="DAV:"><d:response><d:href>/me/</d:href><d:propstat><d:prop><d:current-user-principal>'
    "<d:href>{}</d:href></d:current-user-principal></d:prop></d:propstat></d:response></d:multistatus>"
)


@pytest.mark.parametrize("way", ["redirect", "principal"])
@pytest.mark.parametrize("stranger", ["http://{}/", "//{}/", "http://me:x@{}/", "ftp://{}/", "http://127.0.0.1@{}/"])
async def test_a_stranger_s_host_does_not_get_the_password(
    own: CalendarSettings, server: Radicale, between: Between, way: str, stranger: str
) -> None:
    """The stranger is a second server on this machine, under another name."""
    with standing_between(server.address) as other:
        address = stranger.format(other.url.removeprefix("http://").replace("127.0.0.1", "localhost"))
        answer = {"redirect": says(301, Location=address), "principal": says(207, PRINCIPAL.format(address).encode())}
        between.before["PROPFIND"] = [answer[way]] * 9

        with pytest.raises(ApplicationError, match="does not get the password") as refused:
            await _titles(on_server(own, f"{between.url}/{USER}/"))

    assert refused.value.non_retryable
    assert other.asked == []


@pytest.mark.parametrize("nowhere", ["http://[::1/", "//[", "http://127.0.0.1:99999/"])
async def test_an_address_that_makes_no_sense_is_not_followed(
    own: CalendarSettings, between: Between, nowhere: str
) -> None:
    between.before["PROPFIND"] = [says(207, PRINCIPAL.format(nowhere).encode())]

    with pytest.raises(ApplicationError, match="does not get the password"):
        await _titles(on_server(own, f"{between.url}/{USER}/"))


async def test_a_server_that_sends_in_circles_is_left(own: CalendarSettings, between: Between) -> None:
    between.before["PROPFIND"] = [says(301, Location=f"/{USER}/")] * 20

    with pytest.raises(ApplicationError, match="from one address to the next"):
        await _titles(on_server(own, f"{between.url}/{USER}/"))
