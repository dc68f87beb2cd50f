"""Settings of the mail capability: `EMAIL_*`."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.email.contract import Address
from retinue.settings import RetinueSettings


class EmailSettings(BaseSettings):
    """Where the mailbox is kept and whose it is. Built at the entry point and passed down."""

    model_config = SettingsConfigDict(env_prefix="EMAIL_", env_ignore_empty=True, populate_by_name=True)

    provider: Literal["own"] = Field("own", description="'own': the mailbox lives in this capability's database")
    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("email"),
        description="the capability's own database, as an SQLAlchemy address with an asyncio driver",
    )
    from_: Address = Field(
        "me@retinue.example", validation_alias="EMAIL_FROM", description="the person's own address: sender of all mail"
    )
