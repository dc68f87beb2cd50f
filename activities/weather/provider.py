"""Where weather comes from: an interface and its two implementations, a real service and values that are made up."""

import datetime as dt
import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from activities.weather.answers import Current, CurrentAnswer, Daily, ForecastAnswer, GeocodingAnswer, Place
from activities.weather.conditions import summary
from activities.weather.contract import (
    CurrentRequest,
    CurrentWeather,
    DayForecast,
    Forecast,
    ForecastRequest,
    SunRequest,
    SunTimes,
)
from activities.weather.service import Parameters, Service
from activities.weather.sun import sun_day
from retinue.errors import InvalidArguments, NotFound, ServiceRefused
from retinue.network.ttl_cache import TtlCache

Clock = Callable[[], dt.datetime]

DAYS_AHEAD = 15
CREDIT = "Weather data by Open-Meteo.com (CC BY 4.0)."
_LICENCE = "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"
ATTRIBUTION = f"Weather data by Open-Meteo.com (https://open-meteo.com/), {_LICENCE}; weather codes put into words"
SUN_ATTRIBUTION = f"Position by GeoNames (https://www.geonames.org/) through Open-Meteo.com, {_LICENCE}; times computed"
SIMULATED = "Simulated values, not a forecast: no weather service could be reached."

_OTHER_NAMES = {"usa": "united states", "u.s.": "united states", "uk": "united kingdom", "holland": "netherlands"}


class WeatherProvider(ABC):
    """Answers the questions of the contract, or raises one of the errors that `retinue.errors` draws."""

    @abstractmethod
    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Return the weather per day.

        Raises:
            InvalidArguments: A day is out of reach.
            NotFound: There is no such place.
            ServiceError: The service did not do its part.
        """

    @abstractmethod
    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """Return the weather now.

        Raises:
            NotFound: There is no such place.
            ServiceError: The service did not do its part.
        """

    @abstractmethod
    async def sun(self, wish: SunRequest) -> SunTimes:
        """When the sun rises and sets.

        Raises:
            NotFound: There is no such place.
            ServiceError: Where the place is cannot be had.
        """


class OpenMeteo(WeatherProvider):
    """Open-Meteo's public service, or a server that answers like it."""

    def __init__(self, service: Service, *, url: str, geocoding_url: str, clock: Clock) -> None:
        """Start with nothing remembered.

        Args:
            service: How questions are asked.
            url: The forecast API.
            geocoding_url: The geocoding API.
            clock: The present.
        """
        self._service = service
        self._url = url
        self._geocoding_url = geocoding_url
        self._clock = clock
        # places do not move; the service computes forecasts every hour at most, present values every quarter of an hour
        a_day, half_an_hour, ten_minutes = dt.timedelta(days=1), dt.timedelta(minutes=30), dt.timedelta(minutes=10)
        self._places: TtlCache[list[Place]] = TtlCache(size=256, lifetime=a_day, clock=clock)
        self._forecasts: TtlCache[Daily] = TtlCache(size=256, lifetime=half_an_hour, clock=clock)
        self._currents: TtlCache[CurrentAnswer] = TtlCache(size=256, lifetime=ten_minutes, clock=clock)

    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Find the place, check that the days are within reach there, ask for them."""
        place = await self._find(wish.place)
        check_reach(wish, today=self._clock().astimezone(_zone(place)).date())
        daily = await self._forecasts.get_or_load(
            (place.latitude, place.longitude, wish.start, wish.end), lambda: self._ask_forecast(place, wish)
        )
        days = [day for day in _days(daily) if wish.start <= day.date <= wish.end]
        if not days:
            raise NotFound(f"there are no values for {wish.place} from {wish.start} to {wish.end} yet")
        return Forecast(
            place=place.label, source="open-meteo", notice=_notice(wish, days), attribution=ATTRIBUTION, days=days
        )

    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """Find the place, ask for its present values."""
        place = await self._find(wish.place)
        answer = await self._currents.get_or_load((place.latitude, place.longitude), lambda: self._ask_current(place))
        now = answer.current
        return CurrentWeather(
            place=place.label,
            source="open-meteo",
            notice=CREDIT,
            attribution=ATTRIBUTION,
            time=_local(now, answer.utc_offset_seconds),
            summary=summary(now.weather_code),
            temperature_c=now.temperature_2m,
            precipitation_mm=now.precipitation,
            wind_kmh=now.wind_speed_10m,
        )

    async def sun(self, wish: SunRequest) -> SunTimes:
        """Find the place, compute the rest."""
        place = await self._find(wish.place)
        day = sun_day(place.latitude, place.longitude, wish.date, _zone(place))
        return SunTimes(
            place=place.label,
            source="computed",
            notice=day.words,
            attribution=SUN_ATTRIBUTION,
            date=wish.date,
            dawn=day.dawn,
            sunrise=day.sunrise,
            noon=day.noon,
            sunset=day.sunset,
            dusk=day.dusk,
            daylight_minutes=day.daylight_minutes,
        )

    async def _find(self, wished: str) -> Place:
        """Return the most populous place of that name, within the region or country that follows a comma."""
        name, *within = place_parts(wished)
        candidates = await self._places.get_or_load(_folded(name), lambda: self._ask_places(name))
        for place in candidates:
            if all(_lies_in(place, region) for region in within):
                return place
        raise NotFound(f"no place called {wished!r} was found", hint="write the town's name alone, or 'Town, Country'")

    async def _ask_places(self, name: str) -> list[Place]:
        parameters: Parameters = {"name": name, "count": 100, "language": "en", "format": "json"}
        return (await self._service.request(self._geocoding_url, parameters, GeocodingAnswer)).results

    async def _ask_forecast(self, place: Place, wish: ForecastRequest) -> Daily:
        parameters = {
            **_position(place),
            "daily": "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum,wind_speed_10m_max",
            "timezone": "auto",
            "start_date": wish.start.isoformat(),
            "end_date": wish.end.isoformat(),
        }
        return (await self._service.request(self._url, parameters, ForecastAnswer)).daily

    async def _ask_current(self, place: Place) -> CurrentAnswer:
        parameters = {
            **_position(place),
            "current": "weather_code,temperature_2m,precipitation,wind_speed_10m",
            "timezone": "auto",
        }
        return await self._service.request(self._url, parameters, CurrentAnswer)


class Simulated(WeatherProvider):
    """Values made up from the place and the day: always the same for the same question, and always marked."""

    def __init__(self, clock: Clock) -> None:
        """Need nothing but the present.

        Args:
            clock: The present; days count in UTC, since a made-up place has no zone.
        """
        self._clock = clock

    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Make up the days, within the same reach as real ones."""
        place = ", ".join(place_parts(wish.place))
        check_reach(wish, today=self._clock().astimezone(dt.UTC).date())
        count = (wish.end - wish.start).days + 1
        days = [_made_up(place, wish.start + dt.timedelta(days=number)) for number in range(count)]
        return Forecast(place=place, source="simulated", notice=SIMULATED, days=days)

    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """Today's values, the temperature halfway between its ends."""
        place = ", ".join(place_parts(wish.place))
        now = self._clock().astimezone(dt.UTC)
        today = _made_up(place, now.date())
        return CurrentWeather(
            place=place,
            source="simulated",
            notice=SIMULATED,
            time=now,
            summary=today.summary,
            temperature_c=round((today.temperature_min_c + today.temperature_max_c) / 2, 1),
            precipitation_mm=today.precipitation_mm,
            wind_kmh=today.wind_kmh,
        )

    async def sun(self, wish: SunRequest) -> SunTimes:
        """Nothing: where a place is cannot be made up, and times that look computed would be believed."""
        place_parts(wish.place)
        raise ServiceRefused(
            "sun times are unavailable: where the place lies is not known here, since weather is simulated",
            hint="set WEATHER_PROVIDER to open-meteo",
        )


def place_parts(place: str) -> list[str]:
    """'Lisbon , Portugal' as ['Lisbon', 'Portugal'].

    Raises:
        InvalidArguments: It begins with no name.
    """
    name, *within = (" ".join(part.split()) for part in place.split(","))
    if not name:
        raise InvalidArguments("`place` needs a town's name, as in 'Lisbon' or 'Lisbon, Portugal'")
    return [name, *(region for region in within if region)]


def check_reach(wish: ForecastRequest, *, today: dt.date) -> None:
    """See that forecasts exist for the days.

    Raises:
        InvalidArguments: One is before yesterday or too far ahead; the message names the range.
    """
    first, last = today - dt.timedelta(days=1), today + dt.timedelta(days=DAYS_AHEAD)
    if wish.start < first or wish.end > last:
        raise InvalidArguments(
            f"forecasts exist from {first} to {last}; {wish.start} to {wish.end} was asked for",
            hint="days are dates local to the place",
        )


def _lies_in(place: Place, region: str) -> bool:
    names = (place.country, place.country_code, place.admin1, place.admin2)
    wanted = _folded(region)
    return _OTHER_NAMES.get(wanted, wanted) in {_folded(name) for name in names if name}


def _folded(name: str) -> str:
    """Without case and accents: 'sao paulo' means São Paulo."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _zone(place: Place) -> dt.tzinfo:
    """Return the place's zone; UTC if this machine does not know it, which shifts the range by a day."""
    try:
        return ZoneInfo(place.timezone or "UTC")
    except (LookupError, ValueError, OSError):
        return dt.UTC


def _local(now: Current, offset: int) -> dt.datetime:
    """Return the answer's time with its offset, which comes beside it."""
    return now.time.replace(tzinfo=dt.timezone(dt.timedelta(seconds=offset)))


def _position(place: Place) -> dict[str, str]:
    return {"latitude": f"{place.latitude:.4f}", "longitude": f"{place.longitude:.4f}"}


def _days(daily: Daily) -> Iterator[DayForecast]:
    """The days that are complete: near the end of the reach some values are not computed yet."""
    columns = (
        daily.weather_code,
        daily.temperature_2m_min,
        daily.temperature_2m_max,
        daily.precipitation_sum,
        daily.wind_speed_10m_max,
    )
    for date, code, coldest, warmest, rain, wind in zip(daily.time, *columns, strict=True):
        if code is None or coldest is None or warmest is None or rain is None or wind is None:
            continue
        yield DayForecast(
            date=date,
            summary=summary(code),
            temperature_min_c=coldest,
            temperature_max_c=warmest,
            precipitation_mm=rain,
            wind_kmh=wind,
        )


def _notice(wish: ForecastRequest, days: list[DayForecast]) -> str:
    missing = (wish.end - wish.start).days + 1 - len(days)
    return f"{CREDIT} {missing} of the days have no values yet." if missing else CREDIT


def _made_up(place: str, date: dt.date) -> DayForecast:
    """Return one day from the bytes of a hash; six in ten are dry."""
    seed = hashlib.sha256(f"{_folded(place)}|{date}".encode()).digest()
    coldest = 4 + seed[0] % 120 / 10
    rain = max(0.0, (seed[2] - 153) / 10)
    return DayForecast(
        date=date,
        summary=summary(_code(rain, seed[4])),
        temperature_min_c=round(coldest, 1),
        temperature_max_c=round(coldest + 3 + seed[1] % 90 / 10, 1),
        precipitation_mm=round(rain, 1),
        wind_kmh=round(3 + seed[3] % 35 + seed[5] % 10 / 10, 1),
    )


def _code(rain: float, dice: int) -> int:
    """Return a weather code that fits the rain."""
    if rain == 0:
        return dice % 4
    return 61 if rain < 3 else 63 if rain < 8 else 65
