"""`CALENDAR_*`: where the events are kept and how times without a zone are read."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.calendar.zones import zone_of
from retinue.errors import InvalidArguments
from retinue.settings import RetinueSettings


def _known_zone(name: str) -> str:
    try:
        zone_of(name)
    except InvalidArguments as error:
        raise ValueError(f"{error.message} ({error.hint})") from None
    return name


class CalendarSettings(BaseSettings):
    """Read from the environment once, by whoever starts the worker or an import."""

    model_config = SettingsConfigDict(env_prefix="CALENDAR_", env_ignore_empty=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("calendar"), description="an SQLAlchemy asyncio address"
    )
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="UTC", description="zone of imported times that carry none, all-day events above all"
    )
