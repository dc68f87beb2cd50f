"""The weather tools: the contract over whichever provider the settings name. All only read, so there is no ledger."""

from activities.weather.contract import (
    CurrentRequest,
    CurrentWeather,
    DayForecast,
    Forecast,
    ForecastRequest,
    ImperialDay,
    ImperialNow,
    SunRequest,
    SunTimes,
    Weather,
)
from activities.weather.provider import WeatherProvider

_MM_PER_INCH = 25.4
_KM_PER_MILE = 1.609344


class WeatherTools(Weather):
    """The contract over a `WeatherProvider`."""

    def __init__(self, provider: WeatherProvider) -> None:
        """Answer from `provider`."""
        self._provider = provider

    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Ask the provider for the days; other units are computed here, so that all providers answer alike."""
        found = await self._provider.forecast(wish)
        if wish.units == "metric":
            return found
        days = [day.model_copy(update={"imperial": _imperial_day(day)}) for day in found.days]
        return found.model_copy(update={"days": days})

    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """Ask the provider for the present."""
        found = await self._provider.current(wish)
        return found if wish.units == "metric" else found.model_copy(update={"imperial": _imperial_now(found)})

    async def sun(self, wish: SunRequest) -> SunTimes:
        """Ask the provider where the place is, and compute."""
        return await self._provider.sun(wish)


def _imperial_day(day: DayForecast) -> ImperialDay:
    return ImperialDay(
        temperature_min_f=_fahrenheit(day.temperature_min_c),
        temperature_max_f=_fahrenheit(day.temperature_max_c),
        precipitation_in=round(day.precipitation_mm / _MM_PER_INCH, 2),
        wind_mph=round(day.wind_kmh / _KM_PER_MILE, 1),
    )


def _imperial_now(now: CurrentWeather) -> ImperialNow:
    return ImperialNow(
        temperature_f=_fahrenheit(now.temperature_c),
        precipitation_in=round(now.precipitation_mm / _MM_PER_INCH, 2),
        wind_mph=round(now.wind_kmh / _KM_PER_MILE, 1),
    )


def _fahrenheit(celsius: float) -> float:
    return round(celsius * 9 / 5 + 32, 1)
