from datetime import date, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

SPAN = {"start": "2026-11-01", "end": "2026-11-17"}
NOTICE = "Simulated values, not a forecast: no weather service could be reached."


async def test_made_up_values_say_so(simulated: Any) -> None:
    forecast = await simulated("forecast", place="Lisbon , Portugal", **SPAN)
    now = await simulated("current", place="Lisbon")

    assert (forecast["place"], forecast["source"], forecast["notice"]) == ("Lisbon, Portugal", "simulated", NOTICE)
    assert (now["place"], now["source"], now["notice"]) == ("Lisbon", "simulated", NOTICE)
    assert now["time"] == "2026-11-02T12:00:00Z"


async def test_every_day_of_the_span_is_there_once(simulated: Any) -> None:
    days = (await simulated("forecast", place="Lisbon", **SPAN))["days"]

    assert [day["date"] for day in days] == [str(date(2026, 11, 1) + timedelta(days=n)) for n in range(17)]


async def test_the_same_question_has_the_same_answer_and_places_differ(simulated: Any) -> None:
    lisbon, again, oslo = [
        (await simulated("forecast", place=place, **SPAN))["days"] for place in ("Lisbon", "LISBON", "Oslo")
    ]

    assert lisbon == again
    assert lisbon != oslo


async def test_values_are_plausible_and_fit_together(simulated: Any) -> None:
    towns = [f"Town {number}" for number in range(40)]
    days = [day for town in towns for day in (await simulated("forecast", place=town, **SPAN))["days"]]
    wet = [day for day in days if day["precipitation_mm"] > 0]

    assert all(-5 <= day["temperature_min_c"] < day["temperature_max_c"] <= 35 for day in days)
    assert all(0 <= day["wind_kmh"] <= 60 and 0 <= day["precipitation_mm"] <= 15 for day in days)
    assert {day["summary"] for day in wet} == {"light rain", "rain", "heavy rain"}
    assert all("rain" not in day["summary"] for day in days if day["precipitation_mm"] == 0)
    assert 0.2 < len(wet) / len(days) < 0.6


async def test_the_weather_now_is_todays(simulated: Any) -> None:
    now = await simulated("current", place="Lisbon")
    [today] = (await simulated("forecast", place="Lisbon", start="2026-11-02", end="2026-11-02"))["days"]

    assert (now["summary"], now["precipitation_mm"]) == (today["summary"], today["precipitation_mm"])
    assert today["temperature_min_c"] < now["temperature_c"] < today["temperature_max_c"]


@pytest.mark.parametrize(("start", "end"), [("2026-10-31", "2026-11-02"), ("2026-11-02", "2026-11-18")])
async def test_made_up_days_reach_no_further_than_real_ones(simulated: Any, start: str, end: str) -> None:
    with pytest.raises(ApplicationError, match="from 2026-11-01 to 2026-11-17") as failure:
        await simulated("forecast", place="Lisbon", start=start, end=end)

    assert failure.value.type == "InvalidArguments"
