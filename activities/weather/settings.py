"""Settings of the weather capability: `WEATHER_*`."""

from typing import Literal

from pydantic import AnyHttpUrl, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WeatherSettings(BaseSettings):
    """Whom to ask for the weather. Built at the entry point and passed down."""

    model_config = SettingsConfigDict(env_prefix="WEATHER_", env_ignore_empty=True)

    provider: Literal["open-meteo", "simulated"] = Field(
        "open-meteo", description="'simulated' makes values up and says so: for machines without internet"
    )
    url: AnyHttpUrl = Field(
        AnyHttpUrl("https://api.open-meteo.com/v1/forecast"), description="Open-Meteo's forecast API, or one like it"
    )
    geocoding_url: AnyHttpUrl = Field(
        AnyHttpUrl("https://geocoding-api.open-meteo.com/v1/search"), description="Open-Meteo's geocoding API"
    )
    timeout: float = Field(10, gt=0, le=12, description="seconds of silence; connecting may take half of it")
