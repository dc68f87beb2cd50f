"""Authenticates callers of all protocols. A presented credential is accepted or refused, never ignored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from starlette.datastructures import Headers

from api.auth.api_keys import PREFIX, ApiKeys
from api.auth.oidc_tokens import BAD, Tokens
from api.auth.principal_names import NAME, RESERVED
from api.auth.principals import HOME, LOCAL, Permission, Person, Role
from api.auth.settings import IdentitySettings
from retinue.errors import NotAllowed, NotAuthenticated
from retinue.provenance.credential import Credential, CredentialKind, decides
from retinue.store import Store

BY_PROXY = frozenset(Role) - {Role.AUDITOR}
"""Roles of people named by the authenticating proxy."""


class AuthMethod(StrEnum):
    """The kind of a caller's credential."""

    SINGLE_USER = "single-user"
    PROXY = "proxy"
    TOKEN = "token"  # noqa: S105  # the name of a way, not a secret
    KEY = "key"


@dataclass(frozen=True)
class Authentication:
    """An authenticated person, how they were authenticated, and the expiry of their key."""

    person: Person
    how: AuthMethod
    until: datetime | None = None


class Authenticator:
    """Authenticates callers as this installation is configured."""

    def __init__(self, settings: IdentitySettings, store: Store, *, user_header: str | None) -> None:
        expected = settings.expected()
        self._tokens = None if expected is None else Tokens(settings, *expected)
        self._keys, self._header = ApiKeys(store), user_header

    async def caller(self, headers: Headers, session: str | None) -> Authentication:
        """Authenticate a request by its headers and the credential of its session cookie, if any.

        Raises:
            NotAuthenticated: The credential is missing or invalid.
            NotAllowed: The proxy's header has no name.
            ServiceUnavailable: The identity provider does not answer.
        """
        found = _bearer(headers)
        credential = session if found is None else found
        if credential is not None and (credential.startswith(PREFIX) or self._tokens or not self._header):
            return await self._by(credential)
        if self._header is not None:
            return Authentication(self._proxied(headers.getlist(self._header)), AuthMethod.PROXY)
        if self._tokens is not None:
            raise NotAuthenticated("sign in first", hint="send the header Authorization: Bearer <key or token>")
        return Authentication(LOCAL, AuthMethod.SINGLE_USER)

    def _proxied(self, names: list[str]) -> Person:
        """Return the person named by the proxy. Two headers are refused: one may be the caller's own."""
        if len(names) != 1 or not NAME.fullmatch(names[0]) or names[0] in RESERVED:
            raise NotAllowed(f"the header {self._header} has no name", hint="an authenticating proxy must set it")
        return Person(names[0], BY_PROXY, recognised_by=(CredentialKind.PROXY, "", ""))

    async def _by(self, credential: str) -> Authentication:
        if credential.startswith(PREFIX):
            return await self._by_key(credential)
        if self._tokens is None:
            raise NotAuthenticated(BAD)
        person = await self._tokens.person(credential)
        await self._keys.note_roles(person)
        return Authentication(replace(person, recognised_by=(CredentialKind.TOKEN, "", "")), AuthMethod.TOKEN)

    async def _by_key(self, credential: str) -> Authentication:
        held = await self._keys.held(credential)
        roles = None if held is None else await self._roles(held.name, held.tenant)
        if held is None or roles is None:
            raise NotAuthenticated(BAD)
        by = (CredentialKind.KEY, held.key.id, held.key.name)
        person = Person(held.name, roles, held.tenant, held.key.scopes, by)
        return Authentication(person, AuthMethod.KEY, held.key.expires_at)

    async def still_decides(self, credential: Credential | None, owner: str) -> bool:
        """Return whether `owner` could still decide today with a credential that could decide before.

        A revoked or expired key can do nothing, so what was allowed with it no longer applies.
        """
        tenant, _, name = owner.rpartition(":")
        roles = await self._roles(name, tenant)
        if roles is None or not decides(credential):
            return False
        scopes = None
        if credential is not None and credential.kind is CredentialKind.KEY:
            key = await self._keys.live(credential.id, owner)
            if key is None:
                return False
            scopes = key.scopes
        return Person(name, roles, tenant, scopes).may(Permission.DECIDE)

    async def _roles(self, name: str, tenant: str) -> frozenset[Role] | None:
        """Return the current state of a key's owner; None if this installation does not know them."""
        if self._tokens is not None:
            found = await self._keys.roles(Person(name, frozenset(), tenant).owner)
            if found is not None or self._header is None:
                return found
        if tenant != HOME:
            return None
        if self._header is not None:
            return BY_PROXY
        return LOCAL.roles if name == LOCAL.name else None


def _bearer(headers: Headers) -> str | None:
    """Return the value after `Bearer`. An empty one is a failed sign-in; two headers are ambiguous and refused."""
    given = headers.getlist("authorization")
    scheme, _, credential = given[0].partition(" ") if len(given) == 1 else ("bearer" if given else "", "", "")
    return credential.strip() if scheme.lower() == "bearer" else None
