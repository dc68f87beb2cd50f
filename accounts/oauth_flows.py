"""What the service needs of OAuth; `accounts/oauth` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, Field, SecretStr, field_serializer

from retinue.accounts.wire import ProviderInfo


class Tokens(BaseModel):
    """What a provider gave; stored sealed, as JSON."""

    access_token: SecretStr
    refresh_token: SecretStr | None = None
    expires_at: datetime | None = None
    scopes: list[str] = Field(default_factory=list)
    subject: str = Field("", description="never changes at the provider, unlike the address")
    address: str = Field("", description="the mail address or login")

    @field_serializer("access_token", "refresh_token", when_used="json")
    def _shown(self, secret: SecretStr | None) -> str | None:
        return secret.get_secret_value() if secret else None


@dataclass(frozen=True)
class Flow:
    """A consent that has begun."""

    authorize_url: str
    memory: dict[str, str] = field(default_factory=dict, repr=False)
    """Needed to finish: the PKCE verifier, a nonce. Stored sealed."""


class OAuthFlows(Protocol):
    """Providers with OAuth. Errors are those of `retinue.errors`; no text contains a token, a code or a provider's words."""

    def providers(self) -> Sequence[ProviderInfo]:
        """Return the providers with OAuth, those without a client id included (`ready` false)."""

    def endpoints(self, provider_id: str) -> dict[str, str]:
        """Return the `Connection.endpoints` of its accounts: `api`, `imap`, `smtp`."""

    async def begin(
        self, provider_id: str, *, capabilities: Sequence[str], redirect_uri: str, state: str, address: str = ""
    ) -> Flow:
        """Return where the browser goes; `address` is a hint for whom to sign in.

        Raises:
            InvalidArguments: No such provider, it is not ready, or does not serve a capability.
        """

    async def finish(
        self, provider_id: str, *, code: SecretStr, iss: str | None, redirect_uri: str, memory: dict[str, str]
    ) -> Tokens:
        """Exchange a code.

        Raises:
            InvalidArguments: The provider does not accept the code, or another provider answered.
            ServiceUnavailable: It does not answer.
        """

    async def refresh(self, provider_id: str, tokens: Tokens) -> Tokens:
        """Return new tokens; the service calls it for one account at a time over all processes.

        Raises:
            AccountDisconnected: Consent was withdrawn, or there is no refresh token.
            ServiceUnavailable: The provider does not answer.
            ServiceBusy: It asks for a pause.
        """

    async def revoke(self, provider_id: str, tokens: Tokens) -> None:
        """Withdraw the consent at the provider, as far as it offers that.

        Raises:
            ServiceUnavailable: It does not answer.
        """

    async def close(self) -> None:
        """Close its HTTP client."""
