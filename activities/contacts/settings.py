"""`CONTACTS_*`: where the address book is kept."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings


class ContactsSettings(BaseSettings):
    """Read from the environment once, by whoever starts the worker or an import."""

    model_config = SettingsConfigDict(env_prefix="CONTACTS_", env_ignore_empty=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("contacts"), description="an SQLAlchemy asyncio address"
    )
