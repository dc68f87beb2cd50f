"""`<SERVER>_DATABASE_URL`: where the worker of one MCP server keeps its ledger and what it remembers of the tools."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings
from retinue.tenancy import HOME


class McpSettings(BaseSettings):
    """Read once for each worker. What the server is stands in the configuration file, see `config.py`."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    database_url: str = Field("", description="an SQLAlchemy asyncio address; by default an SQLite file of its own")

    organisation: str = Field(HOME, description="whose the server is ('*': everybody's); by default those of none")

    @classmethod
    def of(cls, server: str) -> McpSettings:
        """The settings of one server: for `my-files`, `MY_FILES_DATABASE_URL`."""
        settings = cls(_env_prefix=f"{server.replace('-', '_').upper()}_")
        if settings.database_url:
            return settings
        return settings.model_copy(update={"database_url": RetinueSettings().sqlite_url(f"mcp-{server}")})
