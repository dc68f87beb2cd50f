"""Settings of the accounts service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from accounts.sealing import KeySource
from retinue.accounts import caller_keys
from retinue.settings import RetinueSettings
from retinue.temporal.keyring import Keyring, read_keys


class AccountsServiceSettings(BaseSettings):
    """The service's environment variables; `.env.example` explains each."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    accounts_database_url: str = Field(default_factory=lambda: RetinueSettings().sqlite_url("accounts"))
    accounts_host: str = "127.0.0.1"
    accounts_port: int = Field(8010, ge=1, le=65535)
    retinue_accounts_seal_keys: SecretStr | None = Field(None, description="`id:key`, by comma; the first one seals")
    retinue_accounts_seal_key_file: Path | None = Field(None, description="a file with one `id:key` a line")
    retinue_accounts_root_keys: SecretStr | None = Field(None, description="`id:key`, by comma; keys of callers")
    retinue_accounts_root_key_file: Path | None = Field(None, description="a file with one `id:key` a line")
    accounts_private_hosts: bool = Field(
        False, description="accounts may be on servers with private addresses or other ports"
    )
    accounts_ispdb: bool = Field(
        False, description="whether Mozilla's list of mail providers may be asked for a domain"
    )
    retinue_public_url: str | None = Field(None, description="the console's public address, for links")

    def seal_keys(self) -> KeySource:
        """Return the keys that seal secrets: those that are set, else a file in the data folder.

        Raises:
            ValueError: Both variables are set, or a key is malformed. The message contains no part of a key.
        """
        if self.retinue_accounts_seal_keys is not None:
            ring = read_keys(self.retinue_accounts_seal_keys, self.retinue_accounts_seal_key_file, kind="accounts_seal")
            assert ring is not None
            return KeySource.fixed(ring)
        own = RetinueSettings().data_dir.resolve() / caller_keys.SEAL_FILE
        return KeySource(self.retinue_accounts_seal_key_file or own, own=self.retinue_accounts_seal_key_file is None)

    def root_keys(self) -> Keyring:
        """Return the root keys from which the keys of callers are derived.

        Raises:
            ValueError: Both variables are set, or a key is malformed. The message contains no part of a key.
        """
        found = read_keys(self.retinue_accounts_root_keys, self.retinue_accounts_root_key_file, kind="accounts_root")
        return found or caller_keys.local_root(RetinueSettings().data_dir)

    def connect_hint(self) -> str:
        """Return where a person connects an account again."""
        if self.retinue_public_url:
            return f"{self.retinue_public_url.rstrip('/')}/accounts"
        return "on the console's page Accounts"
