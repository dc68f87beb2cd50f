"""`MEMORY_*`: where memory is kept."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings


class MemorySettings(BaseSettings):
    """Read from the environment once, when the worker starts."""

    model_config = SettingsConfigDict(env_prefix="MEMORY_", env_ignore_empty=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("memory"), description="an SQLAlchemy asyncio address"
    )
