"""Tokens of an identity provider (OIDC): validates a JWT and returns its person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.jwks import Jwks
from api.auth.principal_names import encoded
from api.auth.principals import HOME, Person, Role
from api.auth.settings import IdentitySettings
from retinue.errors import NotAuthenticated

BAD = "the key or token is not valid here: it is unknown, expired, revoked or meant for another service"
"""The same sentence for every invalid credential, so that attempts reveal nothing."""
_ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
_LEEWAY = 30
"""Tolerated clock difference in seconds."""
_LONGEST = 8192


class Tokens:
    """Authenticates people by tokens of one issuer for one audience."""

    def __init__(self, settings: IdentitySettings, issuer: str, audience: str) -> None:
        self._settings, self._issuer, self._audience = settings, issuer, audience
        self._jwks = Jwks(issuer, settings.retinue_oidc_jwks_url)

    async def person(self, token: str) -> Person:
        """Return the token's person.

        Raises:
            NotAuthenticated: It is not a valid token of the issuer for this audience, is expired, or has no name.
            ServiceUnavailable: The issuer's keys cannot be fetched.
        """
        return self._named(await self._claims(token))

    async def _claims(self, token: str) -> dict[str, Any]:
        # imported here: only installations with an identity provider need it
        import jwt

        unreadable = (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)

        if len(token) > _LONGEST:
            raise NotAuthenticated(BAD)
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
                raise NotAuthenticated(BAD)
            if not isinstance(kid, str | None):
                raise NotAuthenticated(BAD)
            key = await self._jwks.key(kid)
            if key is None:
                raise NotAuthenticated(BAD)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except unreadable:  # the library assumes the types of some values
            raise NotAuthenticated(BAD) from None
        return claims

    def _named(self, claims: Mapping[str, Any]) -> Person:
        name = _text(claims, self._settings.retinue_oidc_name_claim)
        tenant_claim = self._settings.retinue_oidc_tenant_claim
        tenant = HOME if tenant_claim is None else _text(claims, tenant_claim)
        return Person(name, self._roles(claims), tenant)

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        claim = self._settings.retinue_oidc_roles_claim
        if claim is None:
            return frozenset({Role.OWNER})
        claimed = claims.get(claim, [])
        values = claimed.split() if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
        known = self._settings.retinue_oidc_roles
        return frozenset(known[value] for value in values if isinstance(value, str) and value in known)


def _text(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    name = encoded(value) if isinstance(value, str) else None
    if name is None:
        raise NotAuthenticated(BAD)
    return name
