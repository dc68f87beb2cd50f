import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse
from temporalio.exceptions import ApplicationError

TOMORROW = {"place": "Lisbon", "start": "2026-11-03", "end": "2026-11-03"}
ATTRIBUTION = (
    "Weather data by Open-Meteo.com (https://open-meteo.com/), CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/); weather codes put into words"
)
COLUMNS = ["weather_code", "temperature_2m_min", "temperature_2m_max", "precipitation_sum", "wind_speed_10m_max"]


def town(name: str, country: str, admin1: str | None = None, zone: str | None = "Europe/Lisbon") -> dict[str, Any]:
    position = {"latitude": 38.71667, "longitude": -9.13333}
    return position | {"name": name, "country": country, "admin1": admin1, "timezone": zone}


def answers(*responses: Response) -> Callable[[], Awaitable[Response]]:
    """Give the responses in turn."""
    turn = iter(responses)

    async def answer() -> Response:
        return next(turn)

    return answer


async def test_a_forecast_in_the_units_of_the_contract(open_meteo: Any) -> None:
    assert await open_meteo("forecast", **TOMORROW) == {
        "place": "Lisbon, Portugal",
        "source": "open-meteo",
        "notice": "Weather data by Open-Meteo.com (CC BY 4.0).",
        "attribution": ATTRIBUTION,
        "days": [
            {
                "date": "2026-11-03",
                "summary": "light rain",
                "temperature_min_c": 11.2,
                "temperature_max_c": 17.4,
                "precipitation_mm": 2.5,
                "wind_kmh": 24.1,
                "imperial": None,
            }
        ],
    }


async def test_what_the_service_is_asked(open_meteo: Any, server: Any) -> None:
    await open_meteo("forecast", place=" Lisbon ,  Portugal", start="2026-11-03", end="2026-11-03T18:00:00+01:00")

    assert server.asked == [
        ("/v1/search", {"name": "Lisbon", "count": "100", "language": "en", "format": "json"}),
        (
            "/v1/forecast",
            {
                "latitude": "38.7167",
                "longitude": "-9.1333",
                "daily": "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum,wind_speed_10m_max",
                "timezone": "auto",
                "start_date": "2026-11-03",
                "end_date": "2026-11-03",
            },
        ),
    ]


async def test_the_weather_now_carries_the_places_own_offset(open_meteo: Any, server: Any, now_there: Any) -> None:
    server.weather = now_there

    assert await open_meteo("current", place="Lisbon") == {
        "place": "Lisbon, Portugal",
        "source": "open-meteo",
        "notice": "Weather data by Open-Meteo.com (CC BY 4.0).",
        "attribution": ATTRIBUTION,
        "time": "2026-11-02T13:15:00+01:00",
        "summary": "overcast",
        "temperature_c": 18.3,
        "precipitation_mm": 0.0,
        "wind_kmh": 12.6,
        "imperial": None,
    }


@pytest.mark.parametrize(
    ("wished", "label"),
    [
        ("Portland", "Portland, Oregon, United States"),
        ("Portland, Maine", "Portland, Maine, United States"),
        ("portland, MAINE, usa", "Portland, Maine, United States"),
        ("Portland, United Kingdom", "Portland, England, United Kingdom"),
        ("Portland, uk", "Portland, England, United Kingdom"),
        ("Portland, Ile-de-France", "Portland, Île-de-France, France"),
        ("Portland,", "Portland, Oregon, United States"),
    ],
)
async def test_the_first_place_that_fits_is_taken_and_named(
    open_meteo: Any, server: Any, wished: str, label: str
) -> None:
    server.places = {
        "results": [
            town("Portland", "United States", "Oregon"),
            town("Portland", "United States", "Maine"),
            town("Portland", "United Kingdom", "England"),
            town("Portland", "France", "Île-de-France"),
        ]
    }

    assert (await open_meteo("forecast", **TOMORROW | {"place": wished}))["place"] == label


@pytest.mark.parametrize(
    ("places", "wished"),
    [
        ({"generationtime_ms": 0.5}, "Nowhereville"),
        ({"results": []}, "Nowhereville"),
        ({"results": [town("Lisbon", "Portugal")]}, "Lisbon, Japan"),
    ],
)
async def test_an_unknown_place_is_not_found_by_its_name(
    open_meteo: Any, server: Any, places: Any, wished: str
) -> None:
    server.places = places

    with pytest.raises(ApplicationError, match=wished) as failure:
        await open_meteo("forecast", **TOMORROW | {"place": wished})
    assert (failure.value.type, failure.value.non_retryable) == ("NotFound", True)


@pytest.mark.parametrize("place", [" ", ",", ", Portugal"])
async def test_a_place_needs_a_name(open_meteo: Any, server: Any, place: str) -> None:
    with pytest.raises(ApplicationError, match="town's name") as failure:
        await open_meteo("current", place=place)

    assert failure.value.type == "InvalidArguments"
    assert server.asked == []


@pytest.mark.parametrize(
    ("start", "end"), [("2026-10-31", "2026-11-03"), ("2026-11-03", "2026-11-18"), ("2027-01-01", "2027-01-02")]
)
async def test_days_out_of_reach_are_refused_with_the_range(open_meteo: Any, server: Any, start: str, end: str) -> None:
    with pytest.raises(ApplicationError, match="from 2026-11-01 to 2026-11-17") as failure:
        await open_meteo("forecast", place="Lisbon", start=start, end=end)

    assert failure.value.type == "InvalidArguments"
    assert [path for path, _ in server.asked] == ["/v1/search"]


@pytest.mark.parametrize(
    ("zone", "hour", "first", "last"),
    [
        ("Europe/Lisbon", 12, "2026-11-01", "2026-11-17"),
        ("Pacific/Auckland", 12, "2026-11-02", "2026-11-18"),
        ("Pacific/Honolulu", 5, "2026-10-31", "2026-11-16"),
        ("Mars/Olympus_Mons", 12, "2026-11-01", "2026-11-17"),
        ("../../etc/passwd", 12, "2026-11-01", "2026-11-17"),
        (None, 12, "2026-11-01", "2026-11-17"),
    ],
)
async def test_the_reach_counts_in_the_places_own_days(
    open_meteo: Any, server: Any, clock: Any, forecast_of: Any, zone: str | None, hour: int, first: str, last: str
) -> None:
    clock.now = clock.now.replace(hour=hour)
    server.places = {"results": [town("There", "Far", zone=zone)]}
    server.weather = forecast_of(first, last)
    found = await open_meteo("forecast", place="There", start=first, end=last)

    assert [day["date"] for day in found["days"]] == [first, last]


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_day_without_all_its_values_is_left_out_and_said_so(
    open_meteo: Any, server: Any, forecast_of: Any, column: str
) -> None:
    server.weather = forecast_of("2026-11-16", "2026-11-17", **{column: [1, None]})
    found = await open_meteo("forecast", place="Lisbon", start="2026-11-16", end="2026-11-17")

    assert [day["date"] for day in found["days"]] == ["2026-11-16"]
    assert found["notice"].endswith("1 of the days have no values yet.")


async def test_no_values_at_all_is_not_found(open_meteo: Any, server: Any, forecast_of: Any) -> None:
    server.weather = forecast_of("2026-11-03", temperature_2m_max=[None])

    with pytest.raises(ApplicationError, match="no values for Lisbon from") as failure:
        await open_meteo("forecast", **TOMORROW)
    assert failure.value.type == "NotFound"


async def test_days_that_nobody_asked_for_are_dropped(open_meteo: Any, server: Any, forecast_of: Any) -> None:
    server.weather = forecast_of("2026-11-02", "2026-11-03", "2026-11-04")

    assert [day["date"] for day in (await open_meteo("forecast", **TOMORROW))["days"]] == ["2026-11-03"]


@pytest.mark.parametrize(("code", "words"), [(0, "clear sky"), (95, "thunderstorm"), (42, "weather code 42")])
async def test_codes_become_words(open_meteo: Any, server: Any, forecast_of: Any, code: int, words: str) -> None:
    server.weather = forecast_of("2026-11-03", weather_code=[code])

    assert (await open_meteo("forecast", **TOMORROW))["days"][0]["summary"] == words


@pytest.mark.parametrize(
    ("status", "headers", "kind", "final", "pause"),
    [
        (500, {}, "ServiceUnavailable", False, None),
        (503, {"Retry-After": "7"}, "ServiceBusy", False, 7),
        (503, {}, "ServiceUnavailable", False, None),
        (429, {"Retry-After": "7"}, "ServiceBusy", False, 7),
        (429, {"Retry-After": "Mon, 02 Nov 2026 11:00:00 GMT"}, "ServiceBusy", False, 1),
        (429, {"Retry-After": "-5"}, "ServiceBusy", False, 1),
        (429, {"Retry-After": "nan"}, "ServiceBusy", False, 60),
        (429, {"Retry-After": "later"}, "ServiceBusy", False, 60),
        (429, {}, "ServiceBusy", False, 60),
        (429, {"Retry-After": "3600"}, "ServiceBusy", True, None),
        (400, {}, "ServiceRefused", True, None),
        (404, {}, "ServiceRefused", True, None),
        (302, {"Location": "/v1/search"}, "ServiceRefused", True, None),
    ],
)
async def test_how_refusals_are_told(
    open_meteo: Any, server: Any, status: int, headers: dict[str, str], kind: str, final: bool, pause: float | None
) -> None:
    server.failure = answers(JSONResponse({"reason": "secret"}, status_code=status, headers=headers))

    with pytest.raises(ApplicationError) as failure:
        await open_meteo("forecast", **TOMORROW)
    told = failure.value
    assert (told.type, told.non_retryable) == (kind, final)
    assert (told.next_retry_delay and told.next_retry_delay.total_seconds()) == pause
    assert "secret" not in str(told)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b'{"results": ',
        b"[]",
        b'{"results": [{"name": "X"}]}',
        b'{"results": [{"name": "X", "latitude": 91, "longitude": 0}]}',
        b'{"results": [{"name": "X", "latitude": NaN, "longitude": 0}]}',
        b"\xff\xfe",
    ],
)
async def test_nonsense_instead_of_places_may_be_better_later(open_meteo: Any, server: Any, content: bytes) -> None:
    server.failure = answers(Response(content, media_type="application/json"))

    with pytest.raises(ApplicationError, match="makes no sense") as failure:
        await open_meteo("current", place="Lisbon")
    assert (failure.value.type, failure.value.non_retryable) == ("ServiceUnavailable", False)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("values", [[], [1, 2], ["warm"], 7])
async def test_nonsense_instead_of_days_may_be_better_later(
    open_meteo: Any, server: Any, forecast_of: Any, column: str, values: Any
) -> None:
    server.weather = forecast_of("2026-11-03", **{column: values})

    with pytest.raises(ApplicationError, match="makes no sense") as failure:
        await open_meteo("forecast", **TOMORROW)
    assert failure.value.type == "ServiceUnavailable"


async def test_a_huge_answer_is_not_read_to_its_end(open_meteo: Any, server: Any) -> None:
    async def huge() -> Any:
        for _ in range(64):
            yield b" " * 65_536

    server.failure = answers(StreamingResponse(huge()))

    with pytest.raises(ApplicationError, match="longer than 1024 KiB") as failure:
        await open_meteo("forecast", **TOMORROW)
    assert (failure.value.type, failure.value.non_retryable) == ("AnswerTooLong", False)


async def test_a_silent_service_is_not_waited_for(impatient: Any, server: Any) -> None:
    """The read timeout ends this, well before the deadline over the whole question."""

    async def silence() -> Response:
        await asyncio.sleep(2.5)
        return Response()

    server.failure = silence

    with pytest.raises(ApplicationError, match="did not answer in time") as failure:
        await impatient("forecast", **TOMORROW)
    assert failure.value.type == "ServiceUnavailable"


async def test_an_answer_that_only_drips_is_not_waited_for(impatient: Any, server: Any) -> None:
    """Each drop comes before the read timeout; only the deadline over the whole question ends this."""

    async def drops() -> Any:
        for _ in range(15):
            yield b" "
            await asyncio.sleep(0.2)

    server.failure = answers(StreamingResponse(drops()))

    with pytest.raises(ApplicationError, match="did not answer in time"):
        await impatient("forecast", **TOMORROW)


async def test_a_service_that_is_away_may_be_back_later(unreachable: Any) -> None:
    with pytest.raises(ApplicationError, match="cannot be reached") as failure:
        await unreachable("forecast", **TOMORROW)
    assert (failure.value.type, failure.value.non_retryable) == ("ServiceUnavailable", False)


async def test_the_same_question_is_asked_once_in_half_an_hour(open_meteo: Any, server: Any, clock: Any) -> None:
    first = await open_meteo("forecast", **TOMORROW)
    clock.advance(minutes=29)
    again = await open_meteo("forecast", **TOMORROW | {"place": "LISBON"})
    clock.advance(minutes=2)
    await open_meteo("forecast", **TOMORROW)

    assert again == first
    assert [path for path, _ in server.asked] == ["/v1/search", "/v1/forecast", "/v1/forecast"]


async def test_the_weather_now_is_asked_once_in_ten_minutes(
    open_meteo: Any, server: Any, clock: Any, now_there: Any
) -> None:
    server.weather = now_there
    await open_meteo("current", place="Lisbon")
    await open_meteo("current", place="Lisbon")
    clock.advance(minutes=10)
    await open_meteo("current", place="Lisbon")

    assert [path for path, _ in server.asked] == ["/v1/search", "/v1/forecast", "/v1/forecast"]


async def test_a_place_is_asked_again_after_a_day(open_meteo: Any, server: Any, clock: Any, forecast_of: Any) -> None:
    await open_meteo("forecast", **TOMORROW)
    clock.advance(days=1)
    await open_meteo("forecast", **TOMORROW)

    assert [path for path, _ in server.asked].count("/v1/search") == 2


async def test_other_days_are_another_question(open_meteo: Any, server: Any, forecast_of: Any) -> None:
    await open_meteo("forecast", **TOMORROW)
    server.weather = forecast_of("2026-11-04")
    found = await open_meteo("forecast", place="Lisbon", start="2026-11-04", end="2026-11-04")

    assert [day["date"] for day in found["days"]] == ["2026-11-04"]


async def test_another_place_is_another_question(open_meteo: Any, server: Any) -> None:
    await open_meteo("forecast", **TOMORROW)
    server.places = {"results": [town("Oslo", "Norway")]}

    assert (await open_meteo("forecast", **TOMORROW | {"place": "Oslo"}))["place"] == "Oslo, Norway"


async def test_a_failure_is_not_remembered(open_meteo: Any, server: Any) -> None:
    server.failure = answers(Response(status_code=500))
    with pytest.raises(ApplicationError):
        await open_meteo("forecast", **TOMORROW)
    server.failure = None

    assert (await open_meteo("forecast", **TOMORROW))["place"] == "Lisbon, Portugal"


async def test_imperial_values_stand_beside_the_metric_ones(open_meteo: Any, server: Any, now_there: Any) -> None:
    [day] = (await open_meteo("forecast", **TOMORROW | {"units": "imperial"}))["days"]
    server.weather = now_there
    now = await open_meteo("current", place="Lisbon", units="imperial")

    assert (day["temperature_max_c"], day["precipitation_mm"], day["wind_kmh"]) == (17.4, 2.5, 24.1)
    assert day["imperial"] == {
        "temperature_min_f": 52.2,
        "temperature_max_f": 63.3,
        "precipitation_in": 0.1,
        "wind_mph": 15.0,
    }
    assert now["imperial"] == {"temperature_f": 64.9, "precipitation_in": 0.0, "wind_mph": 7.8}


async def test_units_change_what_is_said_and_not_what_is_asked(open_meteo: Any, server: Any) -> None:
    await open_meteo("forecast", **TOMORROW)
    await open_meteo("forecast", **TOMORROW | {"units": "imperial"})

    assert [path for path, _ in server.asked] == ["/v1/search", "/v1/forecast"]


async def test_a_pause_holds_for_every_question_of_the_process(open_meteo: Any, server: Any, clock: Any) -> None:
    """What is remembered is still told; nothing else is asked before the pause is over."""
    told_before = await open_meteo("forecast", **TOMORROW)
    server.failure = answers(JSONResponse({}, 429, headers={"Retry-After": "60"}))
    with pytest.raises(ApplicationError):
        await open_meteo("current", place="Lisbon")
    server.failure = None
    asked = len(server.asked)
    clock.advance(seconds=20)

    assert await open_meteo("forecast", **TOMORROW) == told_before
    with pytest.raises(ApplicationError, match="asked for a pause") as failure:
        await open_meteo("forecast", **TOMORROW | {"place": "Oslo"})
    assert failure.value.next_retry_delay is not None
    assert failure.value.next_retry_delay.total_seconds() == 40
    assert len(server.asked) == asked
    clock.advance(seconds=40)
    server.places = {"results": [town("Oslo", "Norway")]}
    assert (await open_meteo("forecast", **TOMORROW | {"place": "Oslo"}))["place"] == "Oslo, Norway"


async def test_a_pause_may_be_named_as_a_date(open_meteo: Any, server: Any) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.failure = answers(JSONResponse({}, 429, headers={"Retry-After": until}))

    with pytest.raises(ApplicationError) as failure:
        await open_meteo("forecast", **TOMORROW)
    assert failure.value.next_retry_delay is not None
    assert 80 < failure.value.next_retry_delay.total_seconds() <= 90


async def test_steps_that_ask_for_one_place_at_the_same_time_ask_the_service_once(open_meteo: Any, server: Any) -> None:
    await asyncio.gather(*(open_meteo("forecast", **TOMORROW) for _ in range(5)))

    assert [path for path, _ in server.asked] == ["/v1/search", "/v1/forecast"]
