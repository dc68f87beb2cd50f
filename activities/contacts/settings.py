"""`CONTACTS_*`: where the address book is kept."""

from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings, in_the_clear
from retinue.tenancy import HOME


class ContactsSettings(BaseSettings):
    """Read from the environment once, when a worker or an import starts."""

    model_config = SettingsConfigDict(env_prefix="CONTACTS_", env_ignore_empty=True, hide_input_in_errors=True)

    provider: Literal["own", "carddav"] = Field(
        "own", description="'own': in the capability's own database; 'carddav': on a server, which other devices share"
    )
    url: AnyHttpUrl | None = Field(None, description="of one address book on the CardDAV server")
    username: str = ""
    password: SecretStr = SecretStr("")
    organisation: str = Field(
        HOME,
        description="organisation of the address book on the server ('*': all), and of the one that files are imported into",
    )
    timeout: float = Field(10, gt=0, le=12, description="seconds that one request to the server may take")
    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("contacts"), description="an SQLAlchemy asyncio address"
    )

    @model_validator(mode="after")
    def _check_server(self) -> Self:
        if self.provider == "own":
            return self
        if self.url is None:
            raise ValueError("CONTACTS_PROVIDER=carddav needs CONTACTS_URL, the address of one address book")
        if self.url.username or self.url.password:
            raise ValueError("CONTACTS_URL must hold no name or password; use CONTACTS_USERNAME and CONTACTS_PASSWORD")
        if in_the_clear(self.url.scheme, self.url.host, self.password):
            raise ValueError("CONTACTS_URL must be https: a password would cross the network in the clear")
        return self
