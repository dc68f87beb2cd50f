"""What the service needs of OAuth; `accounts/oauth` implements it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from retinue.accounts.wire import ProviderInfo


class AccessToken(BaseModel):
    """One access token."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: SecretStr
    obtained_at: datetime | None = None
    expires_at: datetime | None = None

    @field_serializer("token", when_used="json")
    def _shown(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class Tokens(BaseModel):
    """What a provider gave; stored sealed, as JSON."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: SecretStr
    refresh_token: SecretStr | None = None
    obtained_at: datetime | None = None
    expires_at: datetime | None = None
    resource: str = Field("", description="the API that the access token is for, where a provider issues one for each")
    more: dict[str, AccessToken] = Field(default_factory=dict, description="those for its other APIs")
    scopes: list[str] = Field(default_factory=list)
    subject: str = Field("", description="never changes at the provider, unlike the address")
    address: str = Field("", description="the mail address or login")
    capabilities: list[str] | None = Field(None, description="which the granted scopes allow; None: all requested")

    def of(self, resource: str) -> AccessToken | None:
        """Return the access token for one API."""
        if resource != self.resource:
            return self.more.get(resource)
        return AccessToken(token=self.access_token, obtained_at=self.obtained_at, expires_at=self.expires_at)

    @field_serializer("access_token", "refresh_token", when_used="json")
    def _shown(self, secret: SecretStr | None) -> str | None:
        return secret.get_secret_value() if secret else None


@dataclass(frozen=True)
class Flow:
    """A consent that has begun."""

    authorize_url: str
    memory: dict[str, str] = field(default_factory=dict, repr=False)
    """Needed to finish: the PKCE verifier, a nonce. Stored sealed."""


@dataclass(frozen=True)
class DeviceFlow:
    """A consent that has begun and that the person gives on another device."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    """The same with the code in it; empty if the provider has none."""
    interval: int
    """Seconds between two questions whether the person has agreed."""
    expires_in: int
    """Seconds."""
    memory: dict[str, str] = field(default_factory=dict, repr=False)
    """Needed to finish; stored sealed."""


class OAuthFlows(Protocol):
    """Providers with OAuth. Errors are those of `retinue.errors`; no text contains a token, a code or a provider's words."""

    def providers(self) -> Sequence[ProviderInfo]:
        """Return the providers with OAuth, those without a client id included (`ready` false)."""

    def endpoints(self, provider_id: str) -> dict[str, str]:
        """Return the `Connection.endpoints` of its accounts: `api`, `imap`, `smtp`."""

    async def begin(
        self,
        provider_id: str,
        *,
        capabilities: Sequence[str],
        redirect_uri: str,
        state: str,
        address: str = "",
        read_only: Collection[str] = (),
    ) -> Flow:
        """Return where the browser goes; see `accounts.oauth.flows`, which implements this.

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

    async def begin_device(
        self, provider_id: str, *, capabilities: Sequence[str], read_only: Collection[str] = ()
    ) -> DeviceFlow:
        """Return the code that the person types at the provider.

        Raises:
            InvalidArguments: The provider has no such flow.
        """

    async def poll_device(self, provider_id: str, *, memory: dict[str, str]) -> Tokens | None:
        """Return the tokens once the person has agreed; None while they have not.

        Raises:
            InvalidArguments: The person said no, or the code has expired.
        """

    def token(self, provider_id: str, tokens: Tokens, *, capability: str) -> AccessToken | None:
        """Return the access token for a capability; None if it must be refreshed first.

        Raises:
            AccountDisconnected: The person has not allowed this capability.
        """

    async def refresh(self, provider_id: str, tokens: Tokens, *, capability: str | None = None) -> Tokens:
        """Return the tokens with a new access token; the service calls it for one account at a time over all processes.

        Args:
            provider_id: Of the account.
            tokens: As they are stored.
            capability: For which a token is needed; None: the first one.

        Raises:
            AccountDisconnected: Consent was withdrawn, or there is no refresh token.
            ServiceUnavailable: The provider does not answer.
            ServiceBusy: It asks for a pause.
        """

    async def revoke(self, provider_id: str, tokens: Tokens) -> bool:
        """Withdraw the consent at the provider; returns whether it offers that.

        Raises:
            ServiceUnavailable: It does not answer.
        """

    def allowed(self, provider_id: str, scopes: Collection[str]) -> dict[str, str]:
        """Return what each capability may do with these scopes: `read` or `write`."""

    async def close(self) -> None:
        """Close its HTTP client."""
