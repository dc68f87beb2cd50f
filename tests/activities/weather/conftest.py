"""A weather service on a real port that answers in Open-Meteo's shape, and the tools that ask it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from temporalio.testing import ActivityEnvironment

from activities.weather.provider import OpenMeteo, Simulated, WeatherProvider
from activities.weather.service import Service, new_client
from activities.weather.tools import WeatherTools
from retinue.activity_adapter import build_activities
from retinue.testing import activities_by_name

Call = Callable[..., Awaitable[dict[str, Any]]]


def place(name: str, country: str, *, admin1: str | None = None, zone: str = "Europe/Lisbon") -> dict[str, Any]:
    return {
        "id": 1,
        "name": name,
        "latitude": 38.71667,
        "longitude": -9.13333,
        "country": country,
        "country_code": country[:2].upper(),
        "admin1": admin1,
        "timezone": zone,
    }


def daily(*dates: str, **columns: Any) -> dict[str, Any]:
    values = {
        "time": list(dates),
        "weather_code": [61] * len(dates),
        "temperature_2m_max": [17.4] * len(dates),
        "temperature_2m_min": [11.2] * len(dates),
        "precipitation_sum": [2.5] * len(dates),
        "wind_speed_10m_max": [24.1] * len(dates),
    }
    return {"timezone": "Europe/Lisbon", "utc_offset_seconds": 0, "daily": values | columns}


NOW_IN_LISBON = {
    "utc_offset_seconds": 3600,
    "current": {
        "time": "2026-11-02T13:15",
        "interval": 900,
        "weather_code": 3,
        "temperature_2m": 18.3,
        "precipitation": 0.0,
        "wind_speed_10m": 12.6,
    },
}


@dataclass
class FakeOpenMeteo:
    """What the service will answer, and what it was asked."""

    places: Any = field(default_factory=lambda: {"results": [place("Lisbon", "Portugal", admin1="Lisbon")]})
    weather: Any = field(default_factory=lambda: daily("2026-11-03"))
    failure: Callable[[], Awaitable[Response]] | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.url.path, dict(request.query_params)))
        if self.failure is not None:
            return await self.failure()
        return JSONResponse(self.places if request.url.path == "/v1/search" else self.weather)


@dataclass
class Clock:
    """A present that tests move."""

    now: datetime = datetime(2026, 11, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **step: float) -> None:
        self.now += timedelta(**step)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenMeteo]:
    fake = FakeOpenMeteo()
    app = FastAPI()
    app.add_api_route("/v1/search", fake.answer)
    app.add_api_route("/v1/forecast", fake.answer)
    listener = socket.create_server(("127.0.0.1", 0))
    fake.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    yield fake
    running.should_exit = True
    await task


@asynccontextmanager
async def asking(server: FakeOpenMeteo, clock: Clock, patience: float) -> AsyncIterator[Call]:
    async with new_client(patience) as client:
        provider = OpenMeteo(
            Service(client, deadline=2 * patience, clock=clock),
            url=f"{server.address}/v1/forecast",
            geocoding_url=f"{server.address}/v1/search",
            clock=clock,
        )
        yield activities(provider)


@pytest.fixture
async def open_meteo(server: FakeOpenMeteo, clock: Clock) -> AsyncIterator[Call]:
    async with asking(server, clock, 10) as call:
        yield call


@pytest.fixture
async def impatient(server: FakeOpenMeteo, clock: Clock) -> AsyncIterator[Call]:
    """Waits for a second of silence, and two in all."""
    async with asking(server, clock, 1) as call:
        yield call


@pytest.fixture
async def unreachable(clock: Clock) -> AsyncIterator[Call]:
    """Tools that ask a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    async with new_client(0.5) as client:
        service = Service(client, deadline=1, clock=clock)
        yield activities(OpenMeteo(service, url=address, geocoding_url=address, clock=clock))


@pytest.fixture
def forecast_of() -> Callable[..., dict[str, Any]]:
    """Make the service's answer for some days: `forecast_of("2026-11-03", weather_code=[0])`."""
    return daily


@pytest.fixture
def now_there() -> dict[str, Any]:
    """The service's answer about the present."""
    return NOW_IN_LISBON


@pytest.fixture
def simulated(clock: Clock) -> Call:
    return activities(Simulated(clock))


def activities(provider: WeatherProvider) -> Call:
    """Run one tool as the activity that a worker runs: `await call("forecast", place="Lisbon", ...)`."""
    by_name = activities_by_name(build_activities(WeatherTools(provider)))

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        return await ActivityEnvironment().run(by_name[f"weather.{tool}"], arguments)

    return call
