"""Importing iCalendar files, from the file to the tools."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.calendar.icalendar_file import LARGEST_FILE, read_calendar
from activities.calendar.settings import CalendarSettings
from activities.calendar.store import Imported
from activities.calendar.worker import import_file
from retinue.errors import InvalidArguments, NotFound

Call = Callable[..., Awaitable[dict[str, Any]]]

JANUARY = {"start": "2026-01-01T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00"}

STANDUP = """
BEGIN:VEVENT
UID:standup
SUMMARY:Stand\\, up
DTSTART;TZID=Europe/Berlin:20260105T090000
DTEND;TZID=Europe/Berlin:20260105T091500
RRULE:FREQ=WEEKLY;UNTIL=20260131T000000Z;BYDAY=MO
EXDATE;TZID=Europe/Berlin:20260112T090000
ATTENDEE;CN=Ana:mailto:ana@example.com
LOCATION:Room 1
END:VEVENT
"""
MOVED_STANDUP = """
BEGIN:VEVENT
UID:standup
RECURRENCE-ID;TZID=Europe/Berlin:20260119T090000
SUMMARY:Late stand-up
DTSTART;TZID=Europe/Berlin:20260119T160000
DTEND;TZID=Europe/Berlin:20260119T161500
END:VEVENT
"""
HOLIDAY = """
BEGIN:VEVENT
UID:holiday
SUMMARY:Epiphany
DTSTART;VALUE=DATE:20260106
TRANSP:TRANSPARENT
END:VEVENT
"""


def _event(*lines: str) -> str:
    return "\n".join(["BEGIN:VEVENT", *lines, "END:VEVENT"])


def _calendar(*events: str) -> bytes:
    lines = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *events, "END:VCALENDAR"]).splitlines()
    return "\r\n".join(line for line in lines if line).encode()


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes events into a file."""

    def write(*events: str) -> Path:
        path = tmp_path / "export.ics"
        path.write_bytes(_calendar(*events))
        return path

    return write


async def _listed(call: Call) -> list[tuple[str, str, str]]:
    events = (await call("calendar.list_events", **JANUARY))["events"]
    return [(event["title"], event["start"], event["end"]) for event in events]


async def test_a_file_is_imported_once_however_often_it_is_read(
    call: Call, settings: CalendarSettings, written: Callable[..., Path], count_events: Callable[[], int]
) -> None:
    path = written(STANDUP, HOLIDAY)

    assert await import_file(path, settings) == "2 events imported, 0 already known"
    assert await import_file(path, settings) == "0 events imported, 2 already known"
    assert count_events() == 2


async def test_a_series_comes_with_its_zone_end_and_left_out_dates(
    call: Call, settings: CalendarSettings, written: Callable[..., Path]
) -> None:
    await import_file(written(STANDUP), settings)

    listed = await call("calendar.list_events", **JANUARY)

    assert [event["start"] for event in listed["events"]] == [
        "2026-01-05T09:00:00+01:00",
        "2026-01-19T09:00:00+01:00",
        "2026-01-26T09:00:00+01:00",
    ]
    assert {key: listed["match"][key] for key in ("title", "timezone", "location", "attendees", "recurrence")} == {
        "title": "Stand, up",
        "timezone": "Europe/Berlin",
        "location": "Room 1",
        "attendees": ["ana@example.com"],
        "recurrence": "FREQ=WEEKLY;UNTIL=20260131T000000Z;BYDAY=MO",
    }


async def test_left_out_dates_move_with_the_series(
    call: Call, settings: CalendarSettings, written: Callable[..., Path]
) -> None:
    await import_file(written(STANDUP), settings)
    series = (await call("calendar.list_events", **JANUARY))["match"]

    await call("calendar.update_event", event_id=series["event_id"], start="2026-01-05T10:00:00+01:00")

    assert [start for _, start, _ in await _listed(call)] == [
        "2026-01-05T10:00:00+01:00",
        "2026-01-19T10:00:00+01:00",
        "2026-01-26T10:00:00+01:00",
    ]


@pytest.mark.parametrize("order", [(STANDUP, MOVED_STANDUP), (MOVED_STANDUP, STANDUP)])
async def test_a_changed_occurrence_replaces_the_one_of_the_series(
    call: Call, settings: CalendarSettings, written: Callable[..., Path], order: tuple[str, str]
) -> None:
    await import_file(written(*order), settings)

    assert await _listed(call) == [
        ("Stand, up", "2026-01-05T09:00:00+01:00", "2026-01-05T09:15:00+01:00"),
        ("Late stand-up", "2026-01-19T16:00:00+01:00", "2026-01-19T16:15:00+01:00"),
        ("Stand, up", "2026-01-26T09:00:00+01:00", "2026-01-26T09:15:00+01:00"),
    ]


def test_a_changed_occurrence_does_not_recur_itself() -> None:
    (event,) = read_calendar(_calendar(MOVED_STANDUP.replace("SUMMARY", "RRULE:FREQ=DAILY\nSUMMARY")), "UTC").events

    assert event.recurrence is None


async def test_an_occurrence_changed_since_the_last_import_is_replaced_too(
    call: Call, settings: CalendarSettings, written: Callable[..., Path]
) -> None:
    await import_file(written(STANDUP), settings)

    assert await import_file(written(STANDUP, MOVED_STANDUP), settings) == "1 event imported, 1 already known"

    assert "2026-01-19T09:00:00+01:00" not in [start for _, start, _ in await _listed(call)]


async def test_a_cancelled_occurrence_disappears(
    call: Call, settings: CalendarSettings, written: Callable[..., Path]
) -> None:
    cancelled = MOVED_STANDUP.replace("SUMMARY:", "STATUS:CANCELLED\nSUMMARY:")

    outcome = await import_file(written(STANDUP, cancelled), settings)

    assert (
        outcome
        == "1 event imported, 0 already known, 1 left out:\n  - 'Late stand-up' (2026-01-19 16:00): it was cancelled"
    )
    assert [start[:10] for _, start, _ in await _listed(call)] == ["2026-01-05", "2026-01-26"]


async def test_an_event_on_a_date_is_that_day_in_the_person_s_zone(
    call: Call, settings: CalendarSettings, written: Callable[..., Path]
) -> None:
    await import_file(written(HOLIDAY), settings)

    assert await _listed(call) == [("Epiphany", "2026-01-06T00:00:00+01:00", "2026-01-07T00:00:00+01:00")]


@pytest.mark.parametrize(("transparency", "found"), [("TRANSPARENT", 20), ("OPAQUE", 0)])
async def test_only_what_is_marked_as_busy_takes_time(
    call: Call, settings: CalendarSettings, written: Callable[..., Path], transparency: str, found: int
) -> None:
    await import_file(written(HOLIDAY.replace("TRANSPARENT", transparency)), settings)

    free = await call(
        "calendar.find_free_time",
        start="2026-01-06T00:00:00+01:00",
        end="2026-01-07T00:00:00+01:00",
        duration_minutes=30,
    )

    assert len(free["slots"]) == found


@pytest.mark.parametrize(
    ("lines", "start", "end"),
    [
        (["DTSTART:20260105T080000Z", "DTEND:20260105T090000Z"], "2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z"),
        (["DTSTART:20260105T080000", "DURATION:PT2H"], "2026-01-05T08:00:00+01:00", "2026-01-05T10:00:00+01:00"),
        (["DTSTART:20260105T080000"], "2026-01-05T08:00:00+01:00", "2026-01-05T08:30:00+01:00"),
        (
            ["DTSTART;TZID=W. Europe Standard Time:20260105T080000", "DURATION:PT1H"],
            "2026-01-05T08:00:00+01:00",
            "2026-01-05T09:00:00+01:00",
        ),
        (
            ["DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260108"],
            "2026-01-05T00:00:00+01:00",
            "2026-01-08T00:00:00+01:00",
        ),
    ],
)
async def test_times_are_read_as_the_file_means_them(
    call: Call, settings: CalendarSettings, written: Callable[..., Path], lines: list[str], start: str, end: str
) -> None:
    await import_file(written(_event("UID:1", *lines)), settings)

    assert await _listed(call) == [("(no title)", start, end)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["SUMMARY:x"], "it has no start"),
        (["DTSTART:garbage"], "one of its times cannot be read"),
        (["DTSTART;TZID=Nowhere/Land:20260105T080000"], "its time zone is unknown"),
        (["DTSTART:20260105T080000Z", "DTEND:20260104T080000Z"], "`end` must be after `start`"),
        (["DTSTART:20260105T080000Z", "DURATION:soon"], "one of its times cannot be read"),
        (["DTSTART:20260105T080000Z", "RRULE:FREQ=HOURLY"], "is not a FREQ"),
        (["DTSTART:20260105T080000Z", "RRULE:FREQ=BANANA"], "is not a FREQ"),
        (["DTSTART:20260105T080000Z", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"], "never holds"),
        (["DTSTART:20260105T080000Z", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"], "several recurrence rules"),
        (["DTSTART:20260105T080000Z", "DURATION:P60D", "RRULE:FREQ=MONTHLY"], "lasts longer than 31 days"),
        (["DTSTART:20260105T080000Z", "RDATE:20260106T080000Z"], "single dates"),
        (["DTSTART:18000105T080000Z"], "the years 1900 to 2199"),
    ],
)
def test_what_cannot_be_entered_is_named_with_its_reason(lines: list[str], reason: str) -> None:
    file = read_calendar(_calendar(_event("UID:1", *lines), HOLIDAY), "Europe/Berlin")
    first, *items = file.outcome(Imported(added=1)).splitlines()

    assert [event.title for event in file.events] == ["Epiphany"]
    assert first == "1 event imported, 0 already known, 1 left out:"
    assert [reason in item for item in items] == [True]


def test_an_event_without_uid_is_recognised_by_what_it_is() -> None:
    lines = ["SUMMARY:Dentist", "DTSTART:20260105T080000Z"]
    read = [read_calendar(_calendar(_event(*lines)), "UTC").events[0].uid for _ in range(2)]
    other = read_calendar(_calendar(_event(*lines, "UID:2")), "UTC").events[0].uid

    assert read[0] == read[1] != other


def test_a_series_may_start_outside_its_own_rule() -> None:
    """Other calendars write such series; a new event would be refused."""
    lines = ["UID:1", "DTSTART:20260106T080000Z", "RRULE:FREQ=WEEKLY;BYDAY=MO"]

    assert len(read_calendar(_calendar(_event(*lines)), "UTC").events) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe\x00", b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n"])
async def test_what_is_not_icalendar_is_refused(tmp_path: Path, settings: CalendarSettings, content: bytes) -> None:
    path = tmp_path / "odd.ics"
    path.write_bytes(content)

    with pytest.raises(InvalidArguments, match="not an iCalendar file"):
        await import_file(path, settings)


async def test_too_large_a_file_is_refused_unread(tmp_path: Path, settings: CalendarSettings) -> None:
    path = tmp_path / "large.ics"
    path.write_bytes(b"\0" * (LARGEST_FILE + 1))

    with pytest.raises(InvalidArguments, match="larger than 5 MiB"):
        await import_file(path, settings)


async def test_a_missing_file_is_not_found(tmp_path: Path, settings: CalendarSettings) -> None:
    with pytest.raises(NotFound):
        await import_file(tmp_path / "absent.ics", settings)
