"""The weather tools: the contract over whichever provider the settings name. Both only read, so there is no ledger."""

from activities.weather.contract import CurrentRequest, CurrentWeather, Forecast, ForecastRequest, Weather
from activities.weather.provider import WeatherProvider


class WeatherTools(Weather):
    """The contract over a `WeatherProvider`."""

    def __init__(self, provider: WeatherProvider) -> None:
        """Answer from `provider`."""
        self._provider = provider

    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Ask the provider for the days."""
        return await self._provider.forecast(wish)

    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """Ask the provider for the present."""
        return await self._provider.current(wish)
