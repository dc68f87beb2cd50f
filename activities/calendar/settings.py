"""`CALENDAR_*`: where the events are kept and how times without a zone are read."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.errors import InvalidArguments
from retinue.settings import RetinueSettings, in_the_clear
from retinue.tenancy import HOME
from retinue.zones import zone_of


def _known_zone(name: str) -> str:
    try:
        zone_of(name)
    except InvalidArguments as error:
        raise ValueError(f"{error.message} ({error.hint})") from None
    return name


class CalendarSettings(BaseSettings):
    """Read from the environment once, when a worker or an import starts."""

    model_config = SettingsConfigDict(env_prefix="CALENDAR_", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("calendar"), description="an SQLAlchemy asyncio address"
    )
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="UTC", description="zone of imported times that carry none, all-day events above all"
    )
    provider: Literal["own", "caldav"] = Field(
        default="own", description="'own' keeps events in the database, 'caldav' on a CalDAV server"
    )
    url: str = Field(
        default="", description="https address of one calendar, or of the server, whose first calendar is taken"
    )
    username: str = Field(default="", description="for the CalDAV server")
    password: SecretStr = Field(default=SecretStr(""), description="for the CalDAV server; best one for this app alone")
    organisation: str = Field(
        default=HOME,
        description="organisation of the calendar on the server ('*': all), and of the one that files are imported into",
    )
    timeout: float = Field(
        default=25, gt=0, le=25, description="seconds that one request to the CalDAV server may take"
    )

    @model_validator(mode="after")
    def _says_which_server(self) -> Self:
        if self.provider == "own":
            return self
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("CALENDAR_URL is the https address of a calendar or of its server")
        if address.username or address.password:
            raise ValueError("the user name and password belong into CALENDAR_USERNAME and CALENDAR_PASSWORD")
        if in_the_clear(address.scheme, address.hostname, self.password):
            raise ValueError("CALENDAR_URL must be https: a password would cross the network in the clear")
        return self
