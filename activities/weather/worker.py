"""Where the weather capability becomes a worker: its contract, and a plugin that holds the HTTP client open."""

import httpx
from temporalio.plugin import SimplePlugin

from activities.weather.contract import Weather
from activities.weather.provider import OpenMeteo, Simulated, WeatherProvider
from activities.weather.service import Service, new_client
from activities.weather.settings import WeatherSettings
from activities.weather.tools import WeatherTools
from retinue.activity_adapter import build_activities, keep_open
from retinue.tenancy import ANY_TENANT
from retinue.times import present

CONTRACT = Weather

_DEADLINE_FACTOR = 1.2
"""Two questions, each of at most 1.2 times the timeout, stay within the 30 s that one attempt of a tool may take."""


def plugin(settings: WeatherSettings | None = None) -> SimplePlugin:
    """Return the worker's part of this capability: its tools, and a client that is closed when the worker stops."""
    settings = settings or WeatherSettings()
    client = new_client(settings.timeout)

    tools = WeatherTools(_provider(settings, client))
    return SimplePlugin(
        Weather.name, activities=build_activities(tools, tenant=ANY_TENANT), run_context=keep_open(client)
    )


def notice(settings: WeatherSettings | None = None) -> str:
    """What people should know about how it works here."""
    simulated = (settings or WeatherSettings()).provider == "simulated"
    return "The weather here is made up: no weather service is in use." if simulated else ""


def _provider(settings: WeatherSettings, client: httpx.AsyncClient) -> WeatherProvider:
    if settings.provider == "simulated":
        return Simulated(present)
    service = Service(client, deadline=settings.timeout * _DEADLINE_FACTOR, clock=present)
    return OpenMeteo(service, url=str(settings.url), geocoding_url=str(settings.geocoding_url), clock=present)
