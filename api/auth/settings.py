"""Settings of authentication."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.auth.principals import Role

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class IdentitySettings(BaseSettings):
    """The identity provider whose tokens are accepted; none without an issuer."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retinue_oidc_issuer: str | None = Field(None, description="exactly the tokens' `iss`")
    retinue_oidc_audience: str | None = Field(None, description="required in the tokens' `aud`")
    retinue_oidc_jwks_url: str | None = Field(
        None, description="address of its keys; default: from its discovery document"
    )
    retinue_oidc_name_claim: str = Field(
        "sub", description="the claim with the person's name; unique and never reassigned"
    )
    retinue_oidc_tenant_claim: str | None = Field(None, description="the claim with the organisation")
    retinue_oidc_roles_claim: str | None = Field(
        None, description="the claim with the roles; unset: everyone is an owner"
    )
    retinue_oidc_roles: dict[str, Role] = Field(
        default_factory=lambda: {role.value: role for role in Role}, description="the role for each value of that claim"
    )

    @field_validator("retinue_oidc_issuer", "retinue_oidc_jwks_url")
    @classmethod
    def _encrypted(cls, value: str | None) -> str | None:
        if value is not None and not may_be_asked(value):
            raise ValueError("it must begin with https:// (http:// on this machine only)")
        return value

    def expected(self) -> tuple[str, str] | None:
        """Return issuer and audience of accepted tokens; None if there is no issuer.

        Raises:
            ValueError: The audience is missing: tokens for other applications would be accepted.
        """
        if self.retinue_oidc_issuer is None:
            return None
        if self.retinue_oidc_audience is None:
            raise ValueError("RETINUE_OIDC_ISSUER needs RETINUE_OIDC_AUDIENCE")
        return self.retinue_oidc_issuer, self.retinue_oidc_audience


def may_be_asked(url: str) -> bool:
    """Return whether keys from this address can be trusted: they are not changed on the way."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        )
    except ValueError:
        return False
