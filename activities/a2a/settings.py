"""`<AGENT>_DATABASE_URL`: where the worker of one A2A agent keeps its ledger and what it remembers of the agent."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings
from retinue.tenancy import HOME


class A2aSettings(BaseSettings):
    """Read once for each worker. Who the agent is stands in the configuration file, see `config.py`."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    database_url: str = Field("", description="an SQLAlchemy asyncio address; by default an SQLite file of its own")

    organisation: str = Field(HOME, description="whose the agent is ('*': everybody's); by default those of none")

    @classmethod
    def of(cls, agent: str) -> A2aSettings:
        """The settings of one agent: for `my-travel`, `MY_TRAVEL_DATABASE_URL`."""
        settings = cls(_env_prefix=f"{agent.replace('-', '_').upper()}_")
        if settings.database_url:
            return settings
        return settings.model_copy(update={"database_url": RetinueSettings().sqlite_url(f"a2a-{agent}")})
