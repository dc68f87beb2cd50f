"""The shapes of Open-Meteo's answers, checked before anything is believed.

Only fields that we ask for are listed; see https://open-meteo.com/en/docs and /en/docs/geocoding-api.
"""

import datetime as dt
from typing import Annotated, Self

from pydantic import BaseModel, Field, FiniteFloat, model_validator

Words = Annotated[str, Field(max_length=200)]


class Place(BaseModel):
    """One place as the geocoding API knows it."""

    name: Words
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    country: Words | None = None
    country_code: Words | None = None
    admin1: Words | None = None
    admin2: Words | None = None
    timezone: Words | None = None

    @property
    def label(self) -> str:
        """Town, region where it is called otherwise, and country: 'Porto Alegre, Rio Grande do Sul, Brazil'."""
        parts = (self.name, self.admin1, self.country)
        return ", ".join(dict.fromkeys(part for part in parts if part))


class GeocodingAnswer(BaseModel):
    """The places of a name, the most populous first; the field is absent where there is none."""

    results: list[Place] = Field(default_factory=list)


class Daily(BaseModel):
    """Columns of equal length; a value that the weather model has not computed yet is null."""

    time: list[dt.date]
    weather_code: list[int | None]
    temperature_2m_min: list[FiniteFloat | None]
    temperature_2m_max: list[FiniteFloat | None]
    precipitation_sum: list[FiniteFloat | None]
    wind_speed_10m_max: list[FiniteFloat | None]

    @model_validator(mode="after")
    def _all_equally_long(self) -> Self:
        if len({len(column) for _, column in self}) != 1:
            raise ValueError("columns of different lengths")
        return self


class ForecastAnswer(BaseModel):
    """The answer to a question with `daily=`."""

    daily: Daily


class Current(BaseModel):
    """The values of this quarter of an hour."""

    time: dt.datetime
    weather_code: int
    temperature_2m: FiniteFloat
    precipitation: FiniteFloat
    wind_speed_10m: FiniteFloat


class CurrentAnswer(BaseModel):
    """The answer to a question with `current=`; its time is local, and this is the offset."""

    current: Current
    utc_offset_seconds: int = Field(gt=-86_400, lt=86_400)
