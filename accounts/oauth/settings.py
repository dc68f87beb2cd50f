"""`ACCOUNTS_GOOGLE_*`, `ACCOUNTS_MICROSOFT_*`, `ACCOUNTS_OAUTH_PROVIDERS`: by which clients people connect accounts."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Address = Annotated[str, Field(pattern=r"^https?://[^?#\s]+[^/?#\s]$")]


class OAuthSettings(BaseSettings):
    """Read from the environment once, when the service starts. What has no client id cannot be connected."""

    model_config = SettingsConfigDict(env_prefix="ACCOUNTS_", env_ignore_empty=True, hide_input_in_errors=True)

    google_client_id: str | None = Field(None, description="of a client of type 'Web application'")
    google_client_secret: SecretStr | None = None
    google_url: Address | None = Field(None, description="another server in Google's place, for OAuth and all APIs")
    microsoft_client_id: str | None = Field(None, description="application (client) id of an app registration")
    microsoft_client_secret: SecretStr | None = None
    microsoft_tenant: str = Field(
        "common",
        pattern=r"^[A-Za-z0-9.-]{1,100}$",
        description="a tenant's id or domain; 'common': all; 'organizations': work and school; 'consumers': private",
    )
    microsoft_url: Address | None = Field(None, description="another server in the place of Microsoft's sign-in")
    microsoft_api_url: Address | None = Field(None, description="another server in the place of Microsoft Graph")
    microsoft_imap: str = "imaps://outlook.office365.com:993"
    microsoft_smtp: str = "smtp://smtp.office365.com:587"
    oauth_providers: Path | None = Field(None, description="a JSON file of further providers, see docs/accounts.md")
