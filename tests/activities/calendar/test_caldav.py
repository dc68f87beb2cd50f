"""What only a calendar on a server has: events by other apps, other devices, lost replies and faults."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.calendar import caldav_server
from activities.calendar.settings import CalendarSettings
from activities.calendar.worker import import_file
from retinue.errors import InvalidArguments
from tests.activities.contacts.between import Between, Fault, Handler, half, lost, says, slow, standing_between
from tests.activities.email.mail_servers import certificates
from tests.radicale import PASSWORD, USER, Radicale

from .conftest import Shelf, on_server, serving
from .test_tools import retried

Call = Callable[..., Awaitable[dict[str, Any]]]

LUNCH = {"title": "Lunch", "start": "2026-11-27T12:00:00+01:00", "end": "2026-11-27T13:00:00+01:00"}
DAY = {"start": "2026-11-27T00:00:00+01:00", "end": "2026-11-28T00:00:00+01:00"}
JANUARY = {"start": "2026-01-01T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00"}

STANDUP = """
BEGIN:VEVENT
UID:standup
DTSTAMP:20260101T000000Z
SUMMARY:Stand-up
DTSTART;TZID=Europe/Berlin:20260105T090000
DTEND;TZID=Europe/Berlin:20260105T091500
RRULE:FREQ=WEEKLY;COUNT=4
EXDATE;TZID=Europe/Berlin:20260112T090000
X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC
ATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY:aGVsbG8=
ATTENDEE;CN=Ana;PARTSTAT=ACCEPTED;X-NUM-GUESTS=0:mailto:ana@example.com
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Soon
TRIGGER:-PT5M
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:standup
DTSTAMP:20260101T000000Z
RECURRENCE-ID;TZID=Europe/Berlin:20260119T090000
SUMMARY:Late stand-up
LOCATION:Room 2
DTSTART;TZID=Europe/Berlin:20260119T160000
DTEND;TZID=Europe/Berlin:20260119T161500
END:VEVENT
"""
HOLIDAY = """
BEGIN:VEVENT
UID:holiday
DTSTAMP:20260101T000000Z
SUMMARY:Epiphany
DTSTART;VALUE=DATE:20260106
DTEND;VALUE=DATE:20260107
TRANSP:TRANSPARENT
END:VEVENT
"""


def _event(*lines: str, uid: str = "one") -> str:
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"])


def _calendar(*events: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:another app", *events, "END:VCALENDAR"])


def _lines(content: str) -> list[str]:
    """A resource's lines in order, without what every change renews.

    The parts of a rule are sorted: the server orders those of zones as it likes, each time anew.
    """
    renewed = ("DTSTAMP:", "LAST-MODIFIED:", "SEQUENCE:", "X-RETINUE-EFFECT:", "X-RETINUE-VERSION:")
    kept = [line for line in content.splitlines() if line and not line.startswith(renewed)]
    return sorted(";".join(sorted(line.split(";"))) if line.startswith("RRULE:") else line for line in kept)


@pytest.fixture
def provider() -> str:
    return "caldav"


@pytest.fixture
def between(server: Radicale) -> Iterator[Between]:
    """The way to the server, on which things go wrong."""
    with standing_between(server.address) as way:
        yield way


@pytest.fixture
def settings(request: pytest.FixtureRequest, between: Between, shelf: Shelf, database: Path) -> CalendarSettings:
    own = CalendarSettings(database_url=f"sqlite+aiosqlite:///{database}", timezone="Europe/Berlin")
    return on_server(own, between.url + httpx.URL(shelf.url).path, timeout=1 if "slow" in request.node.name else 10)


async def _listed(call: Call, **window: Any) -> list[tuple[str, str, str]]:
    events = (await call("calendar.list_events", **{**JANUARY, **window}))["events"]
    return [(event["title"], event["start"], event["end"]) for event in events]


# --- reading what other apps wrote


async def test_exceptions_of_a_series_are_shown_with_their_own_times_and_titles(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))

    assert await _listed(call) == [
        ("Stand-up", "2026-01-05T09:00:00+01:00", "2026-01-05T09:15:00+01:00"),
        ("Late stand-up", "2026-01-19T16:00:00+01:00", "2026-01-19T16:15:00+01:00"),
        ("Stand-up", "2026-01-26T09:00:00+01:00", "2026-01-26T09:15:00+01:00"),
    ]


async def test_all_dates_of_a_series_carry_its_id_and_rule(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))

    listed = await call("calendar.list_events", **JANUARY, query="stand-up")

    assert {event["event_id"] for event in listed["events"]} == {"standup.ics"}
    assert {event["recurrence"] for event in listed["events"]} == {"FREQ=WEEKLY;COUNT=4"}
    assert listed["match"] == listed["events"][0]
    assert [event["location"] for event in listed["events"]] == [None, "Room 2", None]


@pytest.mark.parametrize(
    ("lines", "starts"),
    [
        (["DTSTART:20260105T080000Z", "DURATION:PT1H"], ["2026-01-05T08:00:00Z"]),
        (["DTSTART:20260105T080000", "DURATION:PT1H"], ["2026-01-05T08:00:00+01:00"]),
        (["DTSTART;VALUE=DATE:20260105"], ["2026-01-05T00:00:00+01:00"]),
        (["DTSTART;TZID=America/New_York:20260105T080000", "DURATION:PT1H"], ["2026-01-05T08:00:00-05:00"]),
        (["DTSTART:20260105T080000Z", "DURATION:PT1H", "RDATE:20260107T080000Z"], ["2026-01-05", "2026-01-07"]),
        (["DTSTART:20260105T080000Z", "RRULE:FREQ=HOURLY;INTERVAL=6;COUNT=3"], ["2026-01-05"] * 3),
        (
            ["DTSTART;TZID=Europe/Berlin:20260105T090000", "RRULE:FREQ=DAILY;UNTIL=20260106"],
            ["2026-01-05", "2026-01-06"],
        ),
        (["DTSTART:20260105T080000Z", "STATUS:CANCELLED"], []),
    ],
)
async def test_times_are_read_as_they_are_meant(call: Call, shelf: Shelf, lines: list[str], starts: list[str]) -> None:
    shelf.put("one.ics", _calendar(_event(*lines)))

    listed = await _listed(call)

    assert len(listed) == len(starts)
    assert all(start.startswith(wanted) for (_, start, _), wanted in zip(listed, starts, strict=True))


async def test_a_zone_that_others_describe_in_their_own_words_is_followed(call: Call, shelf: Shelf) -> None:
    """Two hours ahead of UTC, and an hour more from the last Sunday in March on."""
    zone = """
BEGIN:VTIMEZONE
TZID:Our town
BEGIN:STANDARD
DTSTART:20201025T040000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0300
TZOFFSETTO:+0200
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:20200329T030000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0300
END:DAYLIGHT
END:VTIMEZONE
"""
    lines = ["DTSTART;TZID=Our town:20260323T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=2"]
    shelf.put("one.ics", _calendar(zone, _event(*lines)))

    listed = await _listed(call, start="2026-03-01T00:00:00Z", end="2026-05-01T00:00:00Z")

    assert [start for _, start, _ in listed] == ["2026-03-23T09:00:00+02:00", "2026-03-30T09:00:00+03:00"]


async def test_zones_of_one_name_are_not_taken_for_each_other(call: Call, shelf: Shelf) -> None:
    for number, offset in enumerate(("+0200", "-0500")):
        zone = f"""
BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:20200101T000000
TZOFFSETFROM:{offset}
TZOFFSETTO:{offset}
END:STANDARD
END:VTIMEZONE
"""
        lines = ["DTSTART;TZID=Customized Time Zone:20260105T090000", "DURATION:PT1H"]
        shelf.put(f"{number}.ics", _calendar(zone, _event(*lines, uid=str(number))))

    assert [start for _, start, _ in await _listed(call)] == ["2026-01-05T09:00:00+02:00", "2026-01-05T09:00:00-05:00"]


async def test_nine_o_clock_stays_nine_o_clock_when_summer_time_begins(call: Call) -> None:
    await call(
        "calendar.create_event",
        title="Stand-up",
        start="2026-03-23T09:00:00+01:00",
        end="2026-03-23T09:15:00+01:00",
        timezone="Europe/Berlin",
        recurrence="FREQ=WEEKLY;COUNT=2",
    )

    listed = await _listed(call, start="2026-03-01T00:00:00Z", end="2026-05-01T00:00:00Z")

    assert [start for _, start, _ in listed] == ["2026-03-23T09:00:00+01:00", "2026-03-30T09:00:00+02:00"]


@pytest.mark.parametrize(
    ("lines", "first_free"),
    [
        ([], "2026-01-05T10:00:00+01:00"),
        (["STATUS:TENTATIVE"], "2026-01-05T10:00:00+01:00"),
        (["TRANSP:TRANSPARENT"], "2026-01-05T09:00:00+01:00"),
        (["STATUS:CANCELLED"], "2026-01-05T09:00:00+01:00"),
        (["RRULE:FREQ=DAILY", "EXDATE:20260105T080000Z"], "2026-01-05T09:00:00+01:00"),
    ],
)
async def test_only_what_takes_time_is_busy(call: Call, shelf: Shelf, lines: list[str], first_free: str) -> None:
    shelf.put("one.ics", _calendar(_event("DTSTART:20260105T080000Z", "DTEND:20260105T090000Z", *lines)))

    found = await call(
        "calendar.find_free_time",
        start="2026-01-05T09:00:00+01:00",
        end="2026-01-05T12:00:00+01:00",
        duration_minutes=30,
    )

    assert found["slots"][0]["start"] == first_free


async def test_a_moved_date_of_a_series_frees_its_old_time_and_takes_the_new_one(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))
    day = {"start": "2026-01-19T09:00:00+01:00", "end": "2026-01-19T16:30:00+01:00"}

    found = await call("calendar.find_free_time", **day, duration_minutes=420)

    assert [slot["start"] for slot in found["slots"]] == ["2026-01-19T09:00:00+01:00"]


def _rewritten(before: bytes, after: bytes) -> Fault:
    """The server says something else than what stands there, which Radicale itself would not keep."""

    def fault(handler: Handler, answer: httpx.Response | None) -> None:
        assert answer is not None
        assert before in answer.content
        handler.reply(answer.status_code, answer.content.replace(before, after), dict(answer.headers))

    return fault


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"DTSTART:20260105T080000Z", b"DTSTART:garbage"),
        (b"DTSTART:20260105T080000Z", b"X:y"),
        (b"DTSTART:20260105T080000Z", b"DTSTART;TZID=Nowhere/Land:20260105T080000"),
        (b"DTSTART:20260105T080000Z", b"DTSTART;TZID=Europe:20260105T080000"),
        (b"DTSTART:20260105T080000Z", b"DTSTART:99990105T080000Z"),
        (b"DURATION:PT1H", b"DTEND:20250105T080000Z"),
        (b"DURATION:PT1H", b"DURATION:soon"),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=BANANA"),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=SECONDLY"),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=MINUTELY"),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"),
        (
            b"RRULE:FREQ=DAILY;COUNT=2",
            b"RRULE:FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=1,2,3;BYSECOND=1,2,3,4,5,6,7,8,9,10,11,12",
        ),
        (b"RRULE:FREQ=DAILY;COUNT=2", b"RRULE:FREQ=DAILY&#13;\nRRULE:FREQ=WEEKLY"),
        (b"SUMMARY:Bad", b"BEGIN:VALARM"),
        (b"SUMMARY:Bad", b"END:VEVENT"),
        (b"SUMMARY:Bad", b"RDATE:garbage"),
        (b"SUMMARY:Bad", b"EXDATE:garbage&#13;\nSUMMARY:Bad&#13;\nRECURRENCE-ID:garbage"),
    ],
)
async def test_what_cannot_be_read_is_left_out_and_counted(
    call: Call, shelf: Shelf, between: Between, before: bytes, after: bytes
) -> None:
    shelf.put("good.ics", _calendar(HOLIDAY))
    bad = _event("SUMMARY:Bad", "DTSTART:20260105T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2", uid="bad")
    shelf.put("bad.ics", _calendar(bad))
    between.after["REPORT"] = [_as_it_is, _rewritten(before, after)]

    listed = await call("calendar.list_events", **JANUARY)
    free = await call("calendar.find_free_time", **JANUARY, duration_minutes=30)

    assert [event["title"] for event in listed["events"]] == ["Epiphany"]
    assert (listed["skipped"], free["skipped"]) == (1, 1)
    assert (len(listed["skipped_entries"]), len(free["skipped_reasons"])) == (1, 1)


def _as_it_is(handler: Handler, answer: httpx.Response | None) -> None:
    assert answer is not None
    handler.reply(answer.status_code, answer.content, dict(answer.headers))


async def test_tasks_and_notes_are_no_events(call: Call, shelf: Shelf) -> None:
    shelf.put("task.ics", _calendar("BEGIN:VTODO\nUID:t\nSUMMARY:Cake\nDUE:20260105T080000Z\nEND:VTODO"))

    assert await call("calendar.list_events", **JANUARY) == {
        "events": [],
        "event_ids": [],
        "match": None,
        "truncated": False,
        "skipped": 0,
        "skipped_entries": [],
    }


async def test_what_is_left_out_is_named_with_its_reason(call: Call, shelf: Shelf) -> None:
    lines = (
        "SUMMARY:Run",
        "DTSTART:20260105T080000Z",
        "DURATION:PT1H",
        "RRULE:FREQ=DAILY",
        "EXRULE:FREQ=WEEKLY;BYDAY=SA",
    )
    shelf.put("run.ics", _calendar(_event(*lines)))

    listed = await call("calendar.list_events", **JANUARY)
    free = await call("calendar.find_free_time", **JANUARY, duration_minutes=30)

    assert listed["skipped_entries"] == ["'Run': it leaves out times by a rule (EXRULE)"]
    assert free["skipped_reasons"] == ["1 because it leaves out times by a rule (EXRULE)"]


async def test_a_moved_series_takes_dates_along_that_it_leaves_out_without_a_time(call: Call, shelf: Shelf) -> None:
    lines = ("DTSTART;TZID=Europe/Berlin:20260105T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
    shelf.put("one.ics", _calendar(_event(*lines, "EXDATE;VALUE=DATE:20260112")))

    await call("calendar.update_event", event_id="one.ics", start="2026-01-05T11:00:00+01:00")

    starts = [start[:16] for _, start, _ in await _listed(call)]
    assert starts == ["2026-01-05T11:00", "2026-01-19T11:00"]


async def test_an_endless_rule_ends_with_the_window(call: Call, shelf: Shelf) -> None:
    shelf.put("one.ics", _calendar(_event("DTSTART:20200101T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")))

    assert len(await _listed(call)) == 31


async def test_what_was_read_is_asked_for_again_only_when_it_has_changed(
    call: Call, shelf: Shelf, between: Between
) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    await _listed(call)
    first = between.asked.count("REPORT")
    await _listed(call)
    second = between.asked.count("REPORT")
    shelf.put("holiday.ics", _calendar(HOLIDAY.replace("Epiphany", "Three Kings")))

    titles = [title for title, _, _ in await _listed(call)]

    assert (first, second, between.asked.count("REPORT")) == (2, 3, 5)
    assert titles == ["Stand-up", "Three Kings", "Late stand-up", "Stand-up"]


async def test_a_text_by_a_stranger_is_cut_before_it_enters_a_run(call: Call, shelf: Shelf) -> None:
    names = [f"ATTENDEE;CN={'n' * 400}{number}:mailto:{'a' * 400}@example.com" for number in range(300)]
    lines = ["DTSTART:20260105T080000Z", f"SUMMARY:{'s' * 5000}", f"DESCRIPTION:{'ü' * 100_000}", *names]
    shelf.put("one.ics", _calendar(_event(*lines)))

    changed = await call("calendar.update_event", event_id="one.ics", location="Here")

    assert len(json.dumps(changed)) < 200 * 1024
    assert "ü" * 100_000 in shelf.get("one.ics")


@pytest.mark.parametrize("sizes", ["<d:getcontentlength>400</d:getcontentlength>", ""])
async def test_a_window_that_holds_too_much_is_refused_with_what_helps(
    call: Call, shelf: Shelf, between: Between, sizes: str
) -> None:
    path = httpx.URL(shelf.url).path
    each = "<d:response><d:href>{}{}.ics</d:href><d:propstat><d:prop>{}</d:prop></d:propstat></d:response>"
    responses = "".join(each.format(path, number, sizes) for number in range(caldav_server.MOST_RESOURCES + 1))
    between.after["REPORT"] = [says(207, f'<d:multistatus xmlns:d="DAV:">{responses}</d:multistatus>'.encode())]

    with pytest.raises(ApplicationError, match="ask for a shorter one") as refused:
        await call("calendar.list_events", **JANUARY)

    assert refused.value.type == "InvalidArguments"


@pytest.mark.parametrize("longest_answer", [6000, 1_000_000])
async def test_an_entry_that_holds_a_whole_film_is_left_out_and_counted(
    settings: CalendarSettings, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, longest_answer: int
) -> None:
    """Also where it makes the answer for all of them too long."""
    monkeypatch.setattr(caldav_server, "LARGEST", 2000)
    monkeypatch.setattr(caldav_server, "_LONGEST_ANSWER", longest_answer)
    film = _event("DTSTART:20260105T080000Z", f"ATTACH;ENCODING=BASE64;VALUE=BINARY:{'A' * 8000}", uid="film")
    shelf.put("film.ics", _calendar(film))
    for number in range(9):
        shelf.put(f"holiday{number}.ics", _calendar(HOLIDAY.replace("UID:holiday", f"UID:holiday{number}")))

    async with serving(settings) as call:
        listed = await call("calendar.list_events", **JANUARY)

    assert ([event["title"] for event in listed["events"]], listed["skipped"]) == (["Epiphany"] * 9, 1)


# --- writing


async def test_a_new_event_invites_nobody_and_explains_its_zone(call: Call, shelf: Shelf) -> None:
    lunch = await call(
        "calendar.create_event", **LUNCH, timezone="Europe/Berlin", attendees=["ana@example.com", 'Bo "the" <Builder>']
    )

    content = shelf.get(lunch["event_id"])
    assert "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin" in content
    assert content.count("SCHEDULE-AGENT=NONE") == content.count("ATTENDEE") == 2
    assert "ORGANIZER" not in content
    assert lunch["attendees"] == ["ana@example.com", 'Bo "the" <Builder>']


@pytest.mark.parametrize("zone", ["+05:30", "-03:00", "+14:00", "UTC", "Asia/Kathmandu", "Europe/Berlin"])
@pytest.mark.parametrize("start", ["2026-11-27T12:00:00+01:00", "2026-10-25T02:30:00+02:00"])
async def test_every_zone_comes_back_from_the_server(call: Call, zone: str, start: str) -> None:
    end = start.replace("12:00", "13:00").replace("02:30", "02:45")
    created = await call("calendar.create_event", title="Call", start=start, end=end, timezone=zone)

    listed = await call("calendar.list_events", start="2026-10-01T00:00:00Z", end="2026-12-01T00:00:00Z")

    assert listed["events"] == [{name: created[name] for name in created if name != "overlaps"}]
    assert created["timezone"] == zone


async def test_an_hour_that_comes_twice_is_kept_in_utc(call: Call) -> None:
    """The second half past two of the night in which summer time ends; iCalendar has no name for it in Berlin."""
    moments = {"start": "2026-10-25T02:30:00+01:00", "end": "2026-10-25T02:45:00+01:00"}
    await call("calendar.create_event", title="Call", **moments, timezone="Europe/Berlin")

    listed = await _listed(call, start="2026-10-25T00:00:00Z", end="2026-10-26T00:00:00Z")

    assert listed == [("Call", "2026-10-25T01:30:00Z", "2026-10-25T01:45:00Z")]


async def test_a_change_leaves_alone_what_it_does_not_name(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))
    before = _lines(shelf.get("standup.ics"))

    await call("calendar.update_event", event_id="standup.ics", title="Weekly", location="Room 1")

    after = _lines(shelf.get("standup.ics"))
    assert sorted(set(after) - set(before)) == ["LOCATION:Room 1", "SUMMARY:Weekly"]
    assert sorted(set(before) - set(after)) == ["SUMMARY:Stand-up"]


async def test_attendees_who_stay_keep_what_the_calendar_says_of_them(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))

    await call("calendar.update_event", event_id="standup.ics", attendees=["Bo", "ana@example.com"])

    content = shelf.get("standup.ics")
    assert re.search(r"ATTENDEE;CN=Ana;PARTSTAT=ACCEPTED;X-NUM-GUESTS=0:mailto:ana@example.com", content)
    assert re.search(r"ATTENDEE;CN=Bo;SCHEDULE-AGENT=NONE:invalid:nomail", content)


async def test_exceptions_move_with_their_series(call: Call, shelf: Shelf) -> None:
    shelf.put(
        "standup.ics",
        _calendar(
            STANDUP.replace(
                "DTSTART;TZID=Europe/Berlin:20260119T160000", "DTSTART;TZID=Europe/Berlin:20260119T090000"
            ).replace("DTEND;TZID=Europe/Berlin:20260119T161500", "DTEND;TZID=Europe/Berlin:20260119T093000")
        ),
    )

    await call("calendar.update_event", event_id="standup.ics", start="2026-01-06T10:00:00+01:00")

    assert await _listed(call) == [
        ("Stand-up", "2026-01-06T10:00:00+01:00", "2026-01-06T10:15:00+01:00"),
        ("Late stand-up", "2026-01-20T10:00:00+01:00", "2026-01-20T10:30:00+01:00"),
        ("Stand-up", "2026-01-27T10:00:00+01:00", "2026-01-27T10:15:00+01:00"),
    ]


async def test_a_date_with_a_time_of_its_own_keeps_it_when_its_series_moves(call: Call, shelf: Shelf) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))

    await call("calendar.update_event", event_id="standup.ics", start="2026-01-05T10:00:00+01:00")

    assert [start for _, start, _ in await _listed(call)] == [
        "2026-01-05T10:00:00+01:00",
        "2026-01-19T16:00:00+01:00",
        "2026-01-26T10:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"start": "2026-01-08T00:00:00+01:00"}, ["DTEND;VALUE=DATE:20260109", "DTSTART;VALUE=DATE:20260108"]),
        (
            {"start": "2026-01-08T09:00:00+01:00", "end": "2026-01-08T10:00:00+01:00"},
            ["DTEND;TZID=Europe/Berlin:20260108T100000", "DTSTART;TZID=Europe/Berlin:20260108T090000"],
        ),
        ({"title": "x"}, ["DTEND;VALUE=DATE:20260107", "DTSTART;VALUE=DATE:20260106"]),
    ],
)
async def test_an_event_on_a_date_stays_one_as_long_as_it_can(
    call: Call, shelf: Shelf, change: dict[str, str], written: list[str]
) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))

    await call("calendar.update_event", event_id="holiday.ics", **change)

    event = shelf.get("holiday.ics").partition("BEGIN:VEVENT")[2]
    assert [line for line in _lines(event) if line.startswith(("DTSTART", "DTEND"))] == written


@pytest.mark.parametrize(
    "lines",
    [
        ["RRULE:FREQ=HOURLY;COUNT=3"],
        ["RDATE:20260107T080000Z"],
        ["RRULE:FREQ=DAILY;COUNT=3", "RDATE:20260117T080000Z"],
    ],
)
async def test_a_series_that_is_not_understood_is_not_moved(call: Call, shelf: Shelf, lines: list[str]) -> None:
    shelf.put("one.ics", _calendar(_event("DTSTART:20260105T080000Z", *lines)))
    before = shelf.get("one.ics")

    with pytest.raises(ApplicationError, match="in your calendar app") as refused:
        await call("calendar.update_event", event_id="one.ics", start="2026-01-05T09:00:00Z")
    await call("calendar.update_event", event_id="one.ics", title="Its title may change")

    assert refused.value.type == "InvalidArguments"
    assert {"SUMMARY:Its title may change"} >= set(_lines(shelf.get("one.ics"))) - set(_lines(before))


async def test_what_others_would_be_told_of_is_not_changed(call: Call, shelf: Shelf, between: Between) -> None:
    people = ["ORGANIZER:mailto:me@example.com", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:ana@example.com"]
    shelf.put("one.ics", _calendar(_event("DTSTART:20260105T080000Z", *people)))
    before = shelf.get("one.ics")
    between.after["OPTIONS"] = [says(200, DAV="1, calendar-access, calendar-auto-schedule")]

    for tool, change in (("update", {"title": "x"}), ("delete", {})):
        with pytest.raises(ApplicationError, match="would write to them") as refused:
            await call(f"calendar.{tool}_event", event_id="one.ics", **change)
        assert refused.value.type == "NotAllowed"

    assert shelf.get("one.ics") == before


async def test_a_server_that_writes_no_mail_lets_meetings_be_changed(call: Call, shelf: Shelf) -> None:
    people = ["ORGANIZER:mailto:me@example.com", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:ana@example.com"]
    shelf.put("one.ics", _calendar(_event("DTSTART:20260105T080000Z", *people)))

    assert (await call("calendar.update_event", event_id="one.ics", title="x"))["title"] == "x"


# --- taking back


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        ("update", {"title": "Weekly", "attendees": []}),
        ("update", {"start": "2026-01-06T10:00:00+01:00"}),
        ("delete", {}),
    ],
)
async def test_an_effect_is_taken_back_to_the_last_line(
    call: Call, shelf: Shelf, tool: str, change: dict[str, Any]
) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))
    before = _lines(shelf.get("standup.ics"))
    done = await call(f"calendar.{tool}_event", event_id="standup.ics", **change)
    undo = {name: done[name] for name in ("event_id", "previous", "deleted")}

    first = await call("calendar.restore_event", step="u1", **undo)
    second = await call("calendar.restore_event", step="u1", **undo)

    assert _lines(shelf.get("standup.ics")) == before
    assert first == second
    assert first["title"] == "Stand-up"


async def test_the_undo_of_a_change_does_not_bring_back_what_was_deleted_since(call: Call, shelf: Shelf) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    done = await call("calendar.update_event", event_id="holiday.ics", title="x")
    shelf.remove("holiday.ics")

    with pytest.raises(ApplicationError) as refused:
        await call("calendar.restore_event", **{name: done[name] for name in ("event_id", "previous", "deleted")})

    assert refused.value.type == "NotFound"
    assert shelf.names() == []


async def test_a_deleted_event_that_another_app_brought_back_is_not_doubled(call: Call, shelf: Shelf) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    done = await call("calendar.delete_event", event_id="holiday.ics")
    shelf.put("other.ics", _calendar(HOLIDAY))

    with pytest.raises(ApplicationError, match="in the calendar again") as refused:
        await call("calendar.restore_event", **{name: done[name] for name in ("event_id", "previous", "deleted")})

    assert refused.value.type == "Conflict"
    assert shelf.names() == ["other.ics"]


@pytest.mark.parametrize("wrong", [{"kept": "0" * 32}, {"kept": None}])
async def test_what_is_not_kept_is_not_brought_back_by_half(call: Call, shelf: Shelf, wrong: dict[str, Any]) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    done = await call("calendar.delete_event", event_id="holiday.ics")

    with pytest.raises(ApplicationError, match="not kept any more") as refused:
        await call("calendar.restore_event", event_id="holiday.ics", previous={**done["previous"], **wrong})

    assert refused.value.type == "NotFound"
    assert shelf.names() == []


# --- other devices


@pytest.mark.parametrize(("tool", "change"), [("update", {"title": "Mine"}), ("delete", {})])
async def test_what_another_device_changed_meanwhile_is_not_overwritten(
    call: Call, shelf: Shelf, between: Between, tool: str, change: dict[str, Any]
) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    method = {"update": "PUT", "delete": "DELETE"}[tool]
    between.meanwhile[method] = lambda: shelf.put("holiday.ics", _calendar(HOLIDAY.replace("Epiphany", "Theirs")))

    with pytest.raises(ApplicationError, match="changed on the server meanwhile") as refused:
        await call(f"calendar.{tool}_event", event_id="holiday.ics", **change)

    assert (refused.value.type, refused.value.non_retryable) == ("Conflict", True)
    assert "SUMMARY:Theirs" in shelf.get("holiday.ics")


async def test_what_another_device_removed_meanwhile_is_gone(call: Call, shelf: Shelf, between: Between) -> None:
    shelf.put("holiday.ics", _calendar(HOLIDAY))
    between.meanwhile["DELETE"] = lambda: shelf.remove("holiday.ics")

    assert (await call("calendar.delete_event", event_id="holiday.ics"))["deleted"]


# --- lost replies

EFFECTS: list[tuple[str, dict[str, Any], str]] = [
    ("calendar.create_event", LUNCH, "PUT"),
    ("calendar.update_event", {"event_id": "standup.ics", "title": "Weekly"}, "PUT"),
    ("calendar.delete_event", {"event_id": "standup.ics"}, "DELETE"),
]


def _half_a_line(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 20")
    handler.close_connection = True


@pytest.mark.parametrize(("tool", "arguments", "method"), EFFECTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", [lost, slow, lambda handler, _: _half_a_line(handler)], ids=["lost", "slow", "half"])
async def test_a_lost_reply_is_looked_up_and_nothing_is_done_twice(
    call: Call,
    shelf: Shelf,
    between: Between,
    tool: str,
    arguments: dict[str, Any],
    method: str,
    when: str,
    fault: Fault,
) -> None:
    """`before`: the server never saw the request. `after`: it has done it, and nobody heard."""
    shelf.put("standup.ics", _calendar(STANDUP))
    getattr(between, when)[method] = [fault]

    first = await retried(call, tool, step="s1", **arguments)
    second = await call(tool, step="s1", **arguments)

    assert first == second
    assert between.asked.count(method) == {"before": 2, "after": 1}[when]
    assert len(shelf.names()) == {"calendar.create_event": 2, "calendar.delete_event": 0}.get(tool, 1)


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize(("tool", "arguments", "method"), EFFECTS)
async def test_a_gateway_that_gives_up_too_early_makes_no_second_effect(
    call: Call, shelf: Shelf, between: Between, tool: str, arguments: dict[str, Any], method: str, status: int
) -> None:
    """The server has done it; what comes back says that it has not."""
    shelf.put("standup.ics", _calendar(STANDUP))
    between.after[method] = [says(status)]

    done = await retried(call, tool, step="s1", **arguments)

    assert done.get("previous", {}).get("title", "Stand-up") == "Stand-up"
    assert len(shelf.names()) == {"calendar.create_event": 2, "calendar.delete_event": 0}.get(tool, 1)


_DIE = """
import asyncio, json, sys
from activities.calendar.settings import CalendarSettings
from tests.activities.calendar.conftest import serving

async def main(settings, tool, arguments):
    async with serving(CalendarSettings.model_validate(settings)) as call:
        await call(tool, step="s1", **arguments)

asyncio.run(main(*json.loads(sys.stdin.read())))
"""


@pytest.mark.parametrize(("tool", "arguments", "method"), EFFECTS)
async def test_a_worker_that_dies_before_it_notes_what_was_done_does_it_once(
    call: Call,
    settings: CalendarSettings,
    shelf: Shelf,
    between: Between,
    tool: str,
    arguments: dict[str, Any],
    method: str,
) -> None:
    shelf.put("standup.ics", _calendar(STANDUP))
    told = {**settings.model_dump(mode="json"), "password": PASSWORD}
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", _DIE],
        input=json.dumps([told, tool, arguments]).encode(),
        env={
            "RETINUE_FAULT": "before_receipt:calendar",
            "RETINUE_ONLY_PERSON": "local",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        timeout=40,
        check=False,
    )

    done = await retried(call, tool, step="s1", **arguments)

    assert died.returncode == -9
    assert between.asked.count(method) == 1
    assert done.get("previous", {}).get("title", "Stand-up") == "Stand-up"
    assert len(shelf.names()) == {"calendar.create_event": 2, "calendar.delete_event": 0}.get(tool, 1)


@pytest.mark.parametrize(("tool", "arguments", "method"), EFFECTS)
async def test_an_attempt_that_wakes_up_after_another_has_done_it_changes_nothing(
    call: Call, shelf: Shelf, between: Between, tool: str, arguments: dict[str, Any], method: str
) -> None:
    """The first attempt's request arrives when the second one has done everything and another device has gone on."""
    loop = asyncio.get_running_loop()
    shelf.put("standup.ics", _calendar(STANDUP))
    results: list[dict[str, Any]] = []

    async def second() -> None:
        results.append(await retried(call, tool, step="s1", **arguments))

    between.meanwhile[method] = lambda: asyncio.run_coroutine_threadsafe(second(), loop).result(20)
    results.append(await retried(call, tool, step="s1", **arguments))

    assert results[0] == results[1]
    assert between.asked.count(method) == 2
    assert len(shelf.names()) == {"calendar.create_event": 2, "calendar.delete_event": 0}.get(tool, 1)
    assert "SEQUENCE:2" not in "".join(map(shelf.get, shelf.names()))


async def test_an_event_is_made_once_even_when_the_ledger_is_lost(
    call: Call, settings: CalendarSettings, shelf: Shelf, tmp_path: Path
) -> None:
    """And what another device has changed since then stays."""
    created = await call("calendar.create_event", step="s1", **LUNCH)
    content = shelf.get(created["event_id"]).replace("SUMMARY:Lunch", "SUMMARY:Late lunch")
    shelf.put(created["event_id"], content)
    other = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path}/new.db"})

    async with serving(other) as again:
        assert await again("calendar.create_event", step="s1", **LUNCH) == {**created, "title": "Late lunch"}

    assert shelf.names() == [created["event_id"]]
    assert "SUMMARY:Late lunch" in shelf.get(created["event_id"])


async def test_an_event_that_a_person_had_made_again_is_the_same_one(call: Call, shelf: Shelf) -> None:
    """A repeat has a key of its own in the ledger, and the UID of the first."""
    created = await call("calendar.create_event", step="s1", **LUNCH)
    assert await call("calendar.create_event", step="s1~1", **LUNCH) == created
    assert shelf.names() == [created["event_id"]]


async def test_a_name_that_somebody_else_has_taken_is_a_conflict(
    call: Call, settings: CalendarSettings, shelf: Shelf, tmp_path: Path
) -> None:
    created = await call("calendar.create_event", step="s1", **LUNCH)
    shelf.remove(created["event_id"])
    shelf.put(created["event_id"], _calendar(HOLIDAY))
    other = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path}/new.db"})

    async with serving(other) as again:
        with pytest.raises(ApplicationError) as refused:
            await again("calendar.create_event", step="s1", **LUNCH)

    assert refused.value.type == "Conflict"
    assert "Epiphany" in shelf.get(created["event_id"])


# --- faults


@pytest.mark.parametrize(
    ("fault", "type_", "words", "final"),
    [
        (says(401), "ServiceRefused", "does not accept the user name or password", True),
        (says(403), "ServiceRefused", "does not allow it", True),
        (says(404), "ServiceRefused", "check the", True),
        (says(400), "ServiceRefused", "refused the request", True),
        (says(413), "ServiceRefused", "too large", True),
        (says(507), "ServiceRefused", "no room left", True),
        (says(503), "ServiceUnavailable", "an internal problem", False),
        (says(503, Retry_After="30"), "ServiceBusy", "asks for a pause", False),
        (says(429, Retry_After="100000"), "ServiceBusy", "asks for a pause", True),
    ],
)
@pytest.mark.parametrize(("tool", "arguments", "method"), [("calendar.list_events", JANUARY, "REPORT"), EFFECTS[0]])
async def test_what_a_server_answers_is_told_in_words(
    call: Call,
    shelf: Shelf,
    between: Between,
    caplog: pytest.LogCaptureFixture,
    tool: str,
    arguments: dict[str, Any],
    method: str,
    fault: Fault,
    type_: str,
    words: str,
    final: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    between.before[method] = [fault] * 9

    with pytest.raises(ApplicationError, match=words) as refused:
        await call(tool, **arguments)

    assert (refused.value.type, refused.value.non_retryable) == (type_, final)
    assert PASSWORD not in caplog.text + str(refused.value)
    assert shelf.names() == []


@pytest.mark.parametrize(
    ("tool", "arguments", "method", "type_"),
    [("calendar.list_events", JANUARY, "REPORT", "ServiceUnavailable"), (*EFFECTS[0], "OutcomeOpen")],
)
async def test_a_server_that_breaks_may_have_made_a_change(
    call: Call, between: Between, tool: str, arguments: dict[str, Any], method: str, type_: str
) -> None:
    between.before[method] = [says(500)] * 9

    with pytest.raises(ApplicationError, match="an internal problem") as broken:
        await call(tool, **arguments)

    assert (broken.value.type, broken.value.non_retryable) == (type_, False)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lost, "broke off"),
        (half, "broke off"),
        (slow, "did not answer in time"),
        (says(207, b"<multistatus"), "is invalid"),
        (says(207, b"<html/>"), "is invalid"),
        (
            says(207, b'<!DOCTYPE d [<!ENTITY a "b">]><d:multistatus xmlns:d="DAV:">&a;</d:multistatus>'),
            "is invalid",
        ),
        (says(207, b" " * (9 * 1024 * 1024)), "longer than"),
        (says(200, b"hello"), "refused the request"),
    ],
)
async def test_half_an_answer_is_none(call: Call, between: Between, fault: Fault, words: str) -> None:
    between.before["REPORT"] = [fault]

    with pytest.raises(ApplicationError, match=words) as failed:
        await call("calendar.list_events", **JANUARY)

    assert failed.value.type in ("ServiceUnavailable", "AnswerTooLong", "ServiceRefused")


async def test_a_server_that_is_down_is_tried_again_later(settings: CalendarSettings) -> None:
    down = settings.model_copy(update={"url": "http://127.0.0.1:9/me/calendar/"})

    async with serving(down) as call:
        with pytest.raises(ApplicationError, match="the calendar server cannot be reached") as failed:
            await call("calendar.create_event", **LUNCH)

    assert (failed.value.type, failed.value.non_retryable) == ("ServiceUnavailable", False)


async def test_a_wrong_password_is_said_and_not_shown(
    settings: CalendarSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = CalendarSettings.model_validate({**settings.model_dump(), "password": "canary-7d1f"})

    async with serving(wrong) as call:
        with pytest.raises(ApplicationError, match="does not accept the user name or password") as refused:
            await call("calendar.list_events", **JANUARY)

    assert refused.value.non_retryable
    assert "canary-7d1f" not in f"{refused.value} {caplog.text} {wrong!r}"


async def test_a_server_that_cannot_prove_who_it_is_gets_no_password(
    settings: CalendarSettings, tmp_path: Path
) -> None:
    """A TLS server whose certificate nobody knows: the handshake ends before a request is sent."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates(tmp_path))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, serving(settings.model_copy(update={"url": f"https://127.0.0.1:{port}/"})) as call:
        with pytest.raises(ApplicationError, match="certificate of the calendar server") as refused:
            await call("calendar.list_events", **JANUARY)

    assert (refused.value.type, refused.value.non_retryable, seen) == ("ServiceRefused", True, [])


# --- ids


@pytest.mark.parametrize("name", ["a b@c.ics", "ü.ics", "no ending", "x+y=z.ics"])
async def test_every_name_of_an_entry_is_an_id_that_leads_back(call: Call, shelf: Shelf, name: str) -> None:
    shelf.put(name, _calendar(HOLIDAY))
    ((event),) = (await call("calendar.list_events", **JANUARY))["events"]

    await call("calendar.update_event", event_id=event["event_id"], title="Found")

    assert re.fullmatch(r"[A-Za-z0-9@._~%-]+", event["event_id"])
    assert "SUMMARY:Found" in shelf.get(name)
    await call("calendar.delete_event", event_id=event["event_id"])
    assert shelf.names() == []


@pytest.mark.parametrize(
    "event_id",
    [
        "../other/x.ics",
        "..",
        ".",
        "",
        "a/b",
        "%2e%2e",
        "..%2Fother%2Fx.ics",
        "%2F",
        "a%00b",
        "x%252F",
        "a%2fb",
        "a?b",
        "a#b",
        "http://example.com/x",
        "a\r\nb",
        "\\\\x",
        "a%5Cb",
    ],
)
@pytest.mark.parametrize("tool", ["calendar.update_event", "calendar.delete_event"])
async def test_an_id_that_leads_elsewhere_is_none(call: Call, between: Between, event_id: str, tool: str) -> None:
    with pytest.raises(ApplicationError, match="there is no such event") as refused:
        await call(tool, event_id=event_id)

    assert refused.value.type == "NotFound"
    assert not {"GET", "PUT", "DELETE"} & set(between.asked)


@pytest.mark.parametrize(
    "href",
    ["/elsewhere/x.ics", "../x.ics", "https://example.com/x.ics", "%2e%2e", "sub/x.ics", "", "//[", "http://[::1/x"],
)
async def test_an_entry_outside_of_the_calendar_is_left_out(
    call: Call, shelf: Shelf, between: Between, href: str
) -> None:
    body = (
        f'<d:multistatus xmlns:d="DAV:"><d:response><d:href>{href}</d:href><d:propstat><d:prop><d:getetag>1</d:getetag>'
        "</d:prop></d:propstat></d:response></d:multistatus>"
    )
    between.after["REPORT"] = [says(207, body.encode())]

    listed = await call("calendar.list_events", **JANUARY)

    assert (listed["events"], listed["skipped"]) == ([], 1)


# --- settings


@pytest.mark.parametrize(
    "url", ["", "calendar", "ftp://example.com/", "https://", f"https://{USER}:{PASSWORD}@example.com/"]
)
def test_a_server_needs_an_address_without_secrets(url: str) -> None:
    with pytest.raises(ValidationError, match="CALENDAR_U"):
        CalendarSettings.model_validate({"provider": "caldav", "url": url})


async def test_a_file_is_not_imported_beside_the_server(settings: CalendarSettings, tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments) as refused:
        await import_file(tmp_path / "x.ics", settings)

    assert refused.value.hint == "import the file there"


# --- several at once


async def _three(call: Call) -> list[str]:
    return [(await call("calendar.create_event", **{**LUNCH, "title": title}))["event_id"] for title in "ABC"]


def _whys(result: dict[str, Any]) -> dict[str, str]:
    return {each["event_id"]: each["why"] for each in result["remaining"]}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_lost_reply_among_several_deletions_is_looked_up(
    call: Call, shelf: Shelf, between: Between, when: str
) -> None:
    ids = await _three(call)
    getattr(between, when)["DELETE"] = [lost]

    deleted = await call("calendar.delete_events", step="d", event_ids=ids)

    assert (len(deleted["deleted"]), deleted["remaining"], shelf.names()) == (3, [], [])
    assert await call("calendar.delete_events", step="d", event_ids=ids) == deleted


async def test_what_could_not_be_deleted_stays_and_is_said(call: Call, shelf: Shelf, between: Between) -> None:
    ids = await _three(call)
    between.before["DELETE"] = [says(503), says(503)]

    deleted = await call("calendar.delete_events", event_ids=[*ids, "gone.ics"])

    assert [event["title"] for event in deleted["deleted"]] == ["B", "C"]
    assert _whys(deleted).keys() == {ids[0], "gone.ics"}
    assert "no such event" in _whys(deleted)["gone.ics"]
    assert shelf.names() == [ids[0]]
    restored = await call("calendar.restore_events", kept=deleted["kept"])
    assert (len(restored["restored"]), shelf.names()) == (2, sorted(ids))


async def test_what_another_device_changed_is_left_by_a_deletion_of_several(
    call: Call, shelf: Shelf, between: Between
) -> None:
    ids = await _three(call)
    theirs = shelf.get(ids[0]).replace("SUMMARY:A", "SUMMARY:Theirs")
    between.meanwhile["DELETE"] = lambda: shelf.put(ids[0], theirs)

    deleted = await call("calendar.delete_events", event_ids=ids)

    assert _whys(deleted) == {ids[0]: "it was changed meanwhile"}
    assert (shelf.names(), "SUMMARY:Theirs" in shelf.get(ids[0])) == ([ids[0]], True)


async def test_where_none_could_be_deleted_the_step_fails(call: Call, shelf: Shelf) -> None:
    with pytest.raises(ApplicationError, match="none of the events") as refused:
        await call("calendar.delete_events", event_ids=["gone.ics", "away.ics"])

    assert (refused.value.type, shelf.names()) == ("ServiceRefused", [])


async def test_a_deletion_of_several_goes_on_after_a_crash(
    call: Call, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after the first one was deleted: the next attempt counts it and deletes the others."""
    ids = await _three(call)
    died = RuntimeError("killed")
    monkeypatch.setattr(caldav_server.CaldavServer, "delete", _once_and_then(caldav_server.CaldavServer.delete, died))
    with pytest.raises(ApplicationError):
        await call("calendar.delete_events", step="d", event_ids=ids)
    assert len(shelf.names()) == 2
    monkeypatch.undo()

    deleted = await retried(call, "calendar.delete_events", step="d", event_ids=ids)

    assert (len(deleted["deleted"]), deleted["remaining"], shelf.names()) == (3, [], [])


def _once_and_then(delete: Any, error: Exception) -> Any:
    calls: list[str] = []

    async def deletes(server: Any, event_id: str, *, etag: str) -> None:
        calls.append(event_id)
        if len(calls) > 1:
            raise error
        await delete(server, event_id, etag=etag)

    return deletes


async def test_an_event_is_made_although_nobody_can_tell_what_it_overlaps(call: Call, between: Between) -> None:
    between.before["REPORT"] = [says(403)]

    created = await call("calendar.create_event", **LUNCH)

    assert created["overlaps"] == ["it could not be checked what it overlaps"]
