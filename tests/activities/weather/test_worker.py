from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.weather.contract import Weather
from activities.weather.settings import WeatherSettings
from activities.weather.worker import CONTRACT, plugin
from retinue.testing import activities_by_name


async def current_from(settings: WeatherSettings) -> dict[str, Any]:
    capability = plugin(settings)
    by_name = activities_by_name(capability.activities)
    assert capability.run_context is not None
    async with capability.run_context():
        return await ActivityEnvironment().run(by_name["weather.current"], {"place": "Lisbon"})


async def test_the_plugin_asks_the_service_of_its_settings(server: Any, now_there: Any) -> None:
    server.weather = now_there
    settings = WeatherSettings(
        provider="open-meteo", url=f"{server.address}/v1/forecast", geocoding_url=f"{server.address}/v1/search"
    )

    assert (await current_from(settings))["source"] == "open-meteo"
    assert [path for path, _ in server.asked] == ["/v1/search", "/v1/forecast"]


async def test_the_plugin_makes_values_up_when_told_to() -> None:
    assert (await current_from(WeatherSettings(provider="simulated")))["source"] == "simulated"


def test_the_plugin_serves_every_tool_of_the_contract() -> None:
    served = list(activities_by_name(plugin(WeatherSettings()).activities))

    assert served == [spec.name for spec in CONTRACT.manifest().tools]
    assert CONTRACT is Weather


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_PROVIDER", "simulated")
    monkeypatch.setenv("WEATHER_URL", "http://127.0.0.1:1/f")
    monkeypatch.setenv("WEATHER_GEOCODING_URL", "http://127.0.0.1:1/g")
    settings = WeatherSettings()

    assert (settings.provider, str(settings.url), str(settings.geocoding_url)) == (
        "simulated",
        "http://127.0.0.1:1/f",
        "http://127.0.0.1:1/g",
    )


@pytest.mark.parametrize(("name", "value"), [("WEATHER_PROVIDER", "guess"), ("WEATHER_URL", "file:///etc/passwd")])
def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValueError, match=r"open-meteo|URL scheme"):
        WeatherSettings()


def test_without_settings_the_public_service_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEATHER_PROVIDER", "WEATHER_URL", "WEATHER_GEOCODING_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = WeatherSettings()

    assert (settings.provider, str(settings.url)) == ("open-meteo", "https://api.open-meteo.com/v1/forecast")
    assert str(settings.geocoding_url) == "https://geocoding-api.open-meteo.com/v1/search"
