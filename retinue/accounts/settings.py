"""How a process reaches the accounts service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from retinue.accounts.service import AccountsService


class AccountsSettings(BaseSettings):
    """`RETINUE_ACCOUNTS_URL` and the caller's own `RETINUE_ACCOUNTS_KEY`; without them there are no accounts."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retinue_accounts_url: str | None = Field(None, pattern=r"^https?://[^/?#\s]+$")
    retinue_accounts_key: SecretStr | None = Field(None, description="as `python -P -m accounts keys` prints it")

    @property
    def is_set(self) -> bool:
        """Whether there is an accounts service for this process."""
        return self.retinue_accounts_url is not None and self.retinue_accounts_key is not None

    def service(self) -> AccountsService | None:
        """Return the service; None if it is not set up."""
        if self.retinue_accounts_url is None or self.retinue_accounts_key is None:
            return None
        from retinue.accounts.service import AccountsService  # a worker without accounts needs no HTTP client

        return AccountsService(self.retinue_accounts_url, self.retinue_accounts_key)
