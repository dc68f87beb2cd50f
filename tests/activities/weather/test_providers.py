"""The contract, over every provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

Call = Callable[..., Awaitable[dict[str, Any]]]
TOMORROW = {"place": "Lisbon", "start": "2026-11-03", "end": "2026-11-03"}


@pytest.fixture(params=["open-meteo", "simulated"])
def provider(request: pytest.FixtureRequest, open_meteo: Call, simulated: Call) -> Call:
    return {"open-meteo": open_meteo, "simulated": simulated}[request.param]


async def test_every_provider_answers_in_the_same_form(provider: Call) -> None:
    forecast = await provider("forecast", **TOMORROW)

    assert list(forecast) == ["place", "source", "notice", "attribution", "days"]
    assert [list(day) for day in forecast["days"]] == [
        ["date", "summary", "temperature_min_c", "temperature_max_c", "precipitation_mm", "wind_kmh", "imperial"]
    ]
    assert forecast["notice"]
    assert forecast["days"][0]["imperial"] is None


async def test_every_provider_knows_the_present(provider: Call, server: Any, now_there: Any) -> None:
    server.weather = now_there
    now = await provider("current", place="Lisbon", units="imperial")

    assert {"place", "source", "notice", "time", "summary", "temperature_c", "precipitation_mm", "wind_kmh"} <= {*now}
    assert now["imperial"]["temperature_f"] == round(now["temperature_c"] * 1.8 + 32, 1)


async def test_every_provider_gives_imperial_values_beside(provider: Call) -> None:
    [day] = (await provider("forecast", **TOMORROW, units="imperial"))["days"]

    assert day["imperial"]["temperature_max_f"] == round(day["temperature_max_c"] * 1.8 + 32, 1)
    assert day["imperial"]["wind_mph"] == round(day["wind_kmh"] / 1.609344, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"place": ""},
        {"place": " , "},
        {"start": "2026-11-04"},
        {"start": "2027-01-01", "end": "2027-01-02"},
        {"units": "kelvin"},
    ],
)
async def test_every_provider_refuses_the_same(provider: Call, wrong: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError) as failure:
        await provider("forecast", **TOMORROW | wrong)

    assert (failure.value.type, failure.value.non_retryable) == ("InvalidArguments", True)
