"""Who signed in at a provider: the ID token, its signature and its claims checked (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from accounts.oauth.endpoint import text
from accounts.oauth.metadata import Directory, Metadata
from accounts.oauth.providers import OAuthProvider
from retinue.errors import ServiceRefused

_LEEWAY = 600
"""Seconds by which two clocks may differ."""
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]


@dataclass(frozen=True)
class Identity:
    """A person at a provider."""

    subject: str
    """Never changes."""
    address: str
    """The mail address or login at the moment."""


async def identity(
    directory: Directory,
    provider: OAuthProvider,
    metadata: Metadata,
    id_token: str,
    *,
    nonce: str | None,
    now: datetime,
) -> Identity:
    """Return whom an ID token names.

    Args:
        directory: Brings the provider's keys.
        provider: Must have issued it.
        metadata: The provider's.
        id_token: As it came.
        nonce: Of the request; None: not checked, as after a refresh.
        now: This machine's time.

    Raises:
        ServiceRefused: It is not this provider's, not for this client, not for this request, or too old.
        ServiceUnavailable: The provider's keys cannot be read.
    """
    if metadata.jwks_uri is None:
        raise ServiceRefused(f"{provider.title} does not say by which keys it signs")
    try:
        token = await _decoded(directory, provider, metadata.jwks_uri, id_token)
        claims = token.claims
        rules = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=_LEEWAY,
            sub={"essential": True},
            exp={"essential": True},
            iss={"essential": True},
            aud={"essential": True, "value": provider.client_id or ""},
            nonce={"essential": True, "value": nonce} if nonce is not None else {},
        )
        rules.validate(claims)
    except (JoseError, ValueError, TypeError):
        raise ServiceRefused(f"what {provider.title} says about the person is not valid") from None
    if not metadata.names(text(claims, "iss"), tenant=text(claims, "tid")):
        raise ServiceRefused(f"another provider than {provider.title} says who the person is")
    address = text(claims, "email") or text(claims, "preferred_username")
    return Identity(text(claims, "sub")[:255], address[:320])


async def _decoded(directory: Directory, provider: OAuthProvider, address: str, id_token: str) -> jwt.Token:
    try:
        return jwt.decode(id_token, KeySet.import_key_set(await directory.keys(provider, address)), _ALGORITHMS)  # type: ignore[arg-type]  # checked by joserfc
    except (InvalidKeyIdError, ValueError):  # the provider signs with a key that is newer than those kept
        keys = await directory.keys(provider, address, again=True)
        return jwt.decode(id_token, KeySet.import_key_set(keys), _ALGORITHMS)  # type: ignore[arg-type]  # as above
