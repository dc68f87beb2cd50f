"""Settings of who is recognised at the front door."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.auth.principals import Role

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class IdentitySettings(BaseSettings):
    """The identity provider whose tokens are taken; without an issuer none are."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retinue_oidc_issuer: str | None = Field(None, description="exactly as the tokens' `iss` has it")
    retinue_oidc_audience: str | None = Field(None, description="what the tokens' `aud` must name")
    retinue_oidc_jwks_url: str | None = Field(None, description="where its keys are; by default as its discovery says")
    retinue_oidc_name_claim: str = Field(
        "sub", description="the claim that names the person, unique and for ever theirs"
    )
    retinue_oidc_tenant_claim: str | None = Field(None, description="the claim that names the organisation")
    retinue_oidc_roles_claim: str | None = Field(None, description="the claim that lists roles; unset: all are owners")
    retinue_oidc_roles: dict[str, Role] = Field(
        default_factory=lambda: {role.value: role for role in Role}, description="our role for each value of that claim"
    )

    @field_validator("retinue_oidc_issuer", "retinue_oidc_jwks_url")
    @classmethod
    def _encrypted(cls, value: str | None) -> str | None:
        if value is not None and not may_be_asked(value):
            raise ValueError("it must begin with https:// (http:// on this machine only)")
        return value

    def expected(self) -> tuple[str, str] | None:
        """Issuer and audience of the tokens that are taken; None where none are.

        Raises:
            ValueError: There is an issuer and no audience: tokens for other applications would be taken.
        """
        if self.retinue_oidc_issuer is None:
            return None
        if self.retinue_oidc_audience is None:
            raise ValueError("RETINUE_OIDC_ISSUER needs RETINUE_OIDC_AUDIENCE")
        return self.retinue_oidc_issuer, self.retinue_oidc_audience


def may_be_asked(url: str) -> bool:
    """Whether keys from this address can be believed: nobody on the way could have changed them."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        )
    except ValueError:
        return False
