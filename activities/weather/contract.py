"""What the weather capability offers to the rest of Retinue. The only file of this folder others may import."""

import datetime as dt
from abc import abstractmethod
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from temporalio import activity

from retinue.capability import Annotations, Capability, tool
from retinue.times import Moment


def _day(value: object) -> object:
    """Accept a full time where a day is wanted, so that a reference to an event's start works: take its local date."""
    return value[:10] if isinstance(value, str) and len(value) > 10 and value[10] in "T " else value


Day = Annotated[dt.date, BeforeValidator(_day, json_schema_input_type=str)]


class ForecastRequest(BaseModel):
    """Arguments of `weather.forecast`."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(min_length=1, max_length=120, description="a town, as in 'Lisbon' or 'Lisbon, Portugal'")
    start: Day = Field(description="first day, YYYY-MM-DD, local to the place")
    end: Day = Field(description="last day, inclusive; the same as `start` for one day")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError("`end` must not be before `start`")
        return self


class DayForecast(BaseModel):
    """The weather of one day."""

    date: dt.date
    summary: str
    temperature_min_c: float
    temperature_max_c: float
    precipitation_mm: float
    wind_kmh: float = Field(description="the day's strongest wind at 10 m")


class Forecast(BaseModel):
    """The forecast for a place."""

    place: str = Field(description="as found, with region and country")
    source: str = Field(description="'open-meteo', or 'simulated' for values that are made up")
    notice: str | None = Field(None, description="what a reader has to know, above all that values are simulated")
    days: list[DayForecast]


class CurrentRequest(BaseModel):
    """Arguments of `weather.current`."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field(min_length=1, max_length=120)


class CurrentWeather(BaseModel):
    """The weather now."""

    place: str
    source: str
    notice: str | None = None
    time: Moment
    summary: str
    temperature_c: float
    precipitation_mm: float
    wind_kmh: float


_READ = Annotations(read_only=True, destructive=False, idempotent=True, open_world=False, trusted_output=True)


class Weather(Capability):
    """Contract of the weather capability."""

    name = "weather"
    version = "1.0.0"
    description = "Weather now and forecasts up to 15 days ahead, for towns anywhere."
    instructions = "Days are dates local to the place. When `source` is 'simulated', say so in every answer."

    @activity.defn(name="weather.forecast")
    @tool(title="Weather forecast", summary="{place}, {start} to {end}", annotations=_READ)
    @abstractmethod
    async def forecast(self, wish: ForecastRequest) -> Forecast:
        """Forecast per day: temperatures in degrees Celsius, rain in mm, wind in km/h. At most 15 days ahead."""

    @activity.defn(name="weather.current")
    @tool(title="Weather now", summary="{place}", annotations=_READ)
    @abstractmethod
    async def current(self, wish: CurrentRequest) -> CurrentWeather:
        """The weather at a place now."""
