"""Zones in words of iCalendar, read back under a name that nobody knows."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from activities.calendar.ical_entry import parsed
from activities.calendar.ical_values import moment
from activities.calendar.vtimezone import vtimezone

EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:test\r
{zone}BEGIN:VEVENT\r
UID:1\r
DTSTART;TZID=Nobody/Knows:{wall:%Y%m%dT%H%M%S}\r
END:VEVENT\r
END:VCALENDAR\r
"""


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Casablanca",
        "Etc/GMT-5",
        "UTC",
    ],
)
def test_whoever_reads_only_the_words_finds_the_same_moments(name: str) -> None:
    zone = ZoneInfo(name)
    words = vtimezone(zone, "Nobody/Knows", year=2026).to_ical().decode()
    noons = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(0, 730, 5)]
    walls = [noon.replace(tzinfo=None) for noon in noons]

    events = [parsed(EVENT.format(zone=words, wall=wall)).walk("VEVENT")[0] for wall in walls]

    assert [moment(event["DTSTART"], "UTC")[0] for event in events] == [
        wall.replace(tzinfo=zone).astimezone(UTC) for wall in walls
    ]


def test_a_change_stands_at_the_minute_in_which_clocks_are_put() -> None:
    words = vtimezone(ZoneInfo("Europe/Berlin"), "Europe/Berlin", year=2026).to_ical().decode()

    assert "RDATE:20260329T020000" in words
    assert "RDATE:20261025T030000" in words
    assert words.count("BEGIN:STANDARD") == 2
    assert words.count("BEGIN:DAYLIGHT") == 1
