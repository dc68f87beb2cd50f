"""`TASKS_*`: where the to-do list is kept."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retinue.settings import RetinueSettings


class TasksSettings(BaseSettings):
    """Read from the environment once, by whoever starts the worker."""

    model_config = SettingsConfigDict(env_prefix="TASKS_", env_ignore_empty=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("tasks"), description="an SQLAlchemy asyncio address"
    )
