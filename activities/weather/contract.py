"""Contract of the weather capability, the only file of this folder that other packages may import."""

import datetime as dt
from abc import abstractmethod
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from temporalio import activity

from retinue.capability import NOT_FOR_PLANS, READ, Capability, OwnText, tool
from retinue.times import Moment


def _day(value: object) -> object:
    """Accept a full time where a day is wanted, so that a reference to an event's start works: take its local date."""
    return value[:10] if isinstance(value, str) and len(value) > 10 and value[10] in "T " else value


Day = Annotated[dt.date, BeforeValidator(_day, json_schema_input_type=Annotated[str, Field(max_length=40)])]
Units = Annotated[Literal["metric", "imperial"], Field(description="'imperial' adds °F, inches, mph")]
Attribution = Annotated[
    OwnText | None, Field(description="whose data it is, under which licence; to be shown where values are published")
]


class ForecastRequest(BaseModel):
    """Arguments of `weather.forecast`."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(min_length=1, max_length=120, description="a town, as in 'Lisbon, Portugal'")
    start: Day = Field(description="first day, YYYY-MM-DD")
    end: Day = Field(description="last day, inclusive")
    units: Units = "metric"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError("`end` must not be before `start`")
        return self


class ImperialDay(BaseModel):
    """The values of a day in other units."""

    temperature_min_f: float
    temperature_max_f: float
    precipitation_in: float
    wind_mph: float


class DayForecast(BaseModel):
    """The weather of one day."""

    date: dt.date
    summary: OwnText
    temperature_min_c: float
    temperature_max_c: float
    precipitation_mm: float
    wind_kmh: float = Field(description="the day's strongest wind at 10 m")
    imperial: ImperialDay | None = Field(None, description="with `units` imperial", json_schema_extra=NOT_FOR_PLANS)


class Forecast(BaseModel):
    """The forecast for a place."""

    place: str = Field(description="as found, with region and country, in the words of the weather service")
    source: OwnText = Field(description="'open-meteo', or 'simulated' for values that are made up")
    notice: OwnText | None = Field(None, description="what a reader has to know, above all that values are simulated")
    attribution: Attribution = None
    days: list[DayForecast]


class CurrentRequest(BaseModel):
    """Arguments of `weather.current`."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(min_length=1, max_length=120)
    units: Units = "metric"


class ImperialNow(BaseModel):
    """The values of now in other units."""

    temperature_f: float
    precipitation_in: float
    wind_mph: float


class CurrentWeather(BaseModel):
    """The weather now."""

    place: str
    source: OwnText
    notice: OwnText | None = None
    attribution: Attribution = None
    time: Moment
    summary: OwnText
    temperature_c: float
    precipitation_mm: float
    wind_kmh: float
    imperial: ImperialNow | None = Field(None, description="with `units` imperial")


class SunRequest(BaseModel):
    """Arguments of `weather.sun`."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(min_length=1, max_length=120, description="a town, as in 'Lisbon, Portugal'")
    date: Day = Field(description="YYYY-MM-DD, 1900 to 2100")

    @model_validator(mode="after")
    def _computable(self) -> Self:
        if not 1900 <= self.date.year <= 2100:
            raise ValueError("`date` must be from 1900 to 2100")
        return self


class SunTimes(BaseModel):
    """The sun's day at a place. Times have the place's offset; in the far north and south some do not happen (null)."""

    place: str
    source: OwnText = Field(description="'computed'")
    notice: OwnText | None = Field(None, description="what is unusual: 'The sun does not set that day.'")
    attribution: Attribution = None
    date: dt.date
    dawn: Moment | None = Field(description="when it gets light, half an hour before sunrise or so (civil dawn)")
    sunrise: Moment | None
    noon: Moment = Field(description="when the sun is highest")
    sunset: Moment | None = Field(description="may be after midnight in northern summers")
    dusk: Moment | None
    daylight_minutes: int = Field(description="from sunrise to sunset; 1440 where it does not set, 0 where not rise")


_READ = READ.replace(own_errors=True)
"""Names of places come from the weather service; all other texts are data or the capability's own."""


class Weather(Capability):
    """Contract of the weather capability."""

    name = "weather"
    version = "1.1.0"
    description = "Weather now, forecasts up to 15 days ahead, sunrise and sunset, for towns anywhere."
    instructions = (
        "Days are dates local to the place. When `source` is 'simulated', say so in every answer. For a text about the "
        "weather take /days and /notice, and name the place in the person's own words."
    )

    @activity.defn(name="weather.forecast")
    @tool(title="Weather forecast", summary="{place}, {start} to {end}", annotations=_READ)
    @abstractmethod
    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Forecast per day, at most 15 days ahead."""

    @activity.defn(name="weather.current")
    @tool(title="Weather now", summary="{place}", annotations=_READ)
    @abstractmethod
    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """The weather at a place now."""

    @activity.defn(name="weather.sun")
    @tool(title="Sunrise and sunset", summary="{place}, {date}", annotations=_READ, rare=True)
    @abstractmethod
    async def sun(self, wish: SunRequest) -> SunTimes:
        """Sunrise, sunset, dawn and dusk at a place, in its own time, to about two minutes."""
