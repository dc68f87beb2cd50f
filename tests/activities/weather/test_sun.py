"""Sun times against those of almanacs, to two minutes, and what is said where the sun does not rise or set."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.exceptions import ApplicationError

from activities.weather.sun import SunDay, sun_day

LISBON = (38.71667, -9.13333, "Europe/Lisbon")
LONDON = (51.50853, -0.12574, "Europe/London")
REYKJAVIK = (64.13548, -21.89541, "Atlantic/Reykjavik")
TROMSO = (69.6489, 18.95508, "Europe/Oslo")
LONGYEARBYEN = (78.22334, 15.64689, "Arctic/Longyearbyen")
KIRITIMATI = (1.87, -157.4, "Pacific/Kiritimati")
AUCKLAND = (-36.84853, 174.76349, "Pacific/Auckland")
SOUTH_POLE = (-90.0, 0.0, "UTC")


def day_at(place: tuple[float, float, str], day: str) -> SunDay:
    latitude, longitude, zone = place
    return sun_day(latitude, longitude, date.fromisoformat(day), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("place", "day", "sunrise", "sunset"),
    [
        (LISBON, "2026-06-21", "2026-06-21T06:12+01:00", "2026-06-21T21:05+01:00"),
        (LONDON, "2026-11-22", "2026-11-22T07:29+00:00", "2026-11-22T16:02+00:00"),
        (REYKJAVIK, "2026-06-21", "2026-06-21T02:55+00:00", "2026-06-22T00:03+00:00"),
        (AUCKLAND, "2026-12-22", "2026-12-22T05:58+13:00", "2026-12-22T20:39+13:00"),
    ],
)
def test_the_times_of_almanacs(place: tuple[float, float, str], day: str, sunrise: str, sunset: str) -> None:
    found = day_at(place, day)
    assert found.sunrise is not None
    assert found.sunset is not None
    assert abs(found.sunrise - datetime.fromisoformat(sunrise)) <= timedelta(minutes=2)
    assert abs(found.sunset - datetime.fromisoformat(sunset)) <= timedelta(minutes=2)
    assert (found.sunrise.isoformat()[-6:], found.sunset.isoformat()[-6:]) == (sunrise[-6:], sunset[-6:])


@pytest.mark.parametrize("place", [LISBON, AUCKLAND, KIRITIMATI, (-13.83, -171.77, "Pacific/Apia")])
@pytest.mark.parametrize("day", ["2026-01-01", "2026-03-29", "2026-06-21", "2026-11-22"])
def test_the_parts_of_a_day_come_in_order_on_its_date(place: tuple[float, float, str], day: str) -> None:
    found = day_at(place, day)
    parts = [part for part in (found.dawn, found.sunrise, found.noon, found.sunset, found.dusk) if part]
    assert len(parts) == 5
    assert parts == sorted(parts)
    assert {part.date().isoformat() for part in parts} == {day}
    assert found.daylight_minutes == round((parts[3] - parts[1]).total_seconds() / 60)


@pytest.mark.parametrize(
    ("place", "day", "minutes", "words"),
    [
        (TROMSO, "2026-06-21", 1440, "The sun does not set that day."),
        (TROMSO, "2026-12-21", 0, "The sun does not rise that day."),
        (LONGYEARBYEN, "2026-12-21", 0, "The sun does not rise that day. There is not even twilight."),
        (SOUTH_POLE, "2026-12-21", 1440, "The sun does not set that day."),
    ],
)
def test_polar_days_and_nights_are_said_in_words(
    place: tuple[float, float, str], day: str, minutes: int, words: str
) -> None:
    found = day_at(place, day)
    assert (found.sunrise, found.sunset, found.daylight_minutes, found.words) == (None, None, minutes, words)


def test_a_night_that_stays_light_is_said_in_words() -> None:
    found = day_at(REYKJAVIK, "2026-06-21")
    assert (found.dawn, found.dusk, found.words) == (None, None, "It does not get fully dark that night.")


async def test_the_tool_asks_only_where_the_place_is(open_meteo: Any, server: Any) -> None:
    found = await open_meteo("sun", place="Lisbon", date="2026-11-03T10:00:00+00:00")

    assert (found["place"], found["source"], found["date"]) == ("Lisbon, Portugal", "computed", "2026-11-03")
    assert found["sunrise"].startswith("2026-11-03T07:0")
    assert found["sunrise"].endswith(("Z", "+00:00"))
    assert "GeoNames" in found["attribution"]
    assert [path for path, _ in server.asked] == ["/v1/search"]


@pytest.mark.parametrize("day", ["1899-12-31", "2101-01-01", "tomorrow", "0001-01-01"])
async def test_dates_that_make_no_sense_are_refused(open_meteo: Any, server: Any, day: str) -> None:
    with pytest.raises(ApplicationError) as failure:
        await open_meteo("sun", place="Lisbon", date=day)
    assert failure.value.type == "InvalidArguments"
    assert server.asked == []


async def test_without_a_position_sun_times_are_unavailable(simulated: Any) -> None:
    with pytest.raises(ApplicationError, match="sun times are unavailable") as failure:
        await simulated("sun", place="Lisbon", date="2026-11-03")
    assert (failure.value.type, failure.value.non_retryable) == ("ServiceRefused", True)
