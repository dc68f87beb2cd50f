"""`TASKS_*`: where the to-do list is stored, and how reminders are delivered."""

from typing import Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.tasks.contract import Channel
from retinue.network.webhooks import key_of
from retinue.settings import RetinueSettings
from retinue.tenancy import HOME


class TasksSettings(BaseSettings):
    """Read from the environment once, when the worker starts."""

    model_config = SettingsConfigDict(env_prefix="TASKS_", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: str = Field(
        default_factory=lambda: RetinueSettings().sqlite_url("tasks"), description="an SQLAlchemy asyncio address"
    )
    notify: Channel = Field(
        Channel.CONSOLE,
        description="'console': the list and the reminder's run alone; 'mail': also a mail to yourself; 'webhook': also "
        "a POST to webhook_url",
    )
    webhook_url: AnyHttpUrl | None = None
    organisation: str = Field(
        HOME, description="organisation whose reminders go to the webhook; '*': all; others only appear in their lists"
    )
    webhook_secret: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _check_webhook(self) -> Self:
        if self.notify is not Channel.WEBHOOK:
            return self
        if self.webhook_url is None:
            raise ValueError("TASKS_NOTIFY=webhook needs TASKS_WEBHOOK_URL")
        if not self.webhook_secret.get_secret_value():
            raise ValueError("TASKS_NOTIFY=webhook needs TASKS_WEBHOOK_SECRET, by which the receiver knows us")
        key_of(self.webhook_secret.get_secret_value())
        return self
