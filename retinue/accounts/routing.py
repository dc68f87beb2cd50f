"""Which implementation of a capability serves a step: the one of the person's account, or the capability's own.

A step names an account, or the person's default one for the capability is used. Implementations are kept for a while, each
for exactly one connection: another password or token of the same account gets another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

import httpx
from pydantic import SecretStr

from retinue.accounts.access import Access, disconnected
from retinue.accounts.choice import choose
from retinue.accounts.connection import Connection, NamedAccounts, Provider, SecretKind
from retinue.capability import OWN, Capability
from retinue.database.resource_pool import ResourcePool
from retinue.effect_status import EffectLedger
from retinue.errors import NotFound, RetinueError, ServiceRefused
from retinue.settings import in_the_clear
from retinue.temporal import person_header

MOST_KEPT = 32
"""Unused implementations that a worker keeps."""
LIFETIME = 600.0
"""Seconds for which an unused implementation, and its secret in memory, is kept."""
Tools = TypeVar("Tools", bound=Capability)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Implementation(Generic[Tools]):
    """A capability's tools over one account, and what ends their connections."""

    tools: Tools
    end: Callable[[], Awaitable[None]] | None = None

    async def close(self) -> None:
        """End the connections."""
        if self.end is not None:
            await self.end()


Build = Callable[[Access], Implementation[Tools]]
"""Makes the tools over one account.

Raises:
    RetinueError: The connection lacks something, such as an address.
"""


class Routing(Generic[Tools]):
    """The tools of one capability over the accounts of people.

    Args:
        capability: Its name.
        accounts: Gives the connection of the running step.
        builders: By provider, how its tools are made.
        ledger: Of the effects at all accounts.
        end: Ends what the builders share.
        lifetime: See `LIFETIME`.
    """

    def __init__(
        self,
        capability: str,
        accounts: NamedAccounts,
        builders: Mapping[Provider, Build[Tools]],
        *,
        ledger: EffectLedger,
        end: Callable[[], Awaitable[None]] | None = None,
        lifetime: float = LIFETIME,
    ) -> None:
        self.ledger = ledger
        self._end = end
        self._capability = capability
        self._accounts = accounts
        self._builders = builders
        self._pool: ResourcePool[Implementation[Tools]] = ResourcePool(self._unknown, most=MOST_KEPT, lifetime=lifetime)

    async def run(
        self,
        account: str | None,
        work: Callable[[Tools], Awaitable[Result]],
        *,
        own: Callable[[], Awaitable[Result]],
    ) -> tuple[Result, str]:
        """Run a tool on the account of the running step. A refused token is replaced once, and the tool run again.

        Args:
            account: Name or id, as the step's arguments say; None: the person's default one.
            work: Runs the tool on an account.
            own: Runs it on the capability's own data, for a person without an account.

        Returns:
            Its result, and the id of the account, or `own`.

        Raises:
            NotFound: There is no such account; the message names those that there are.
            Ambiguous: There are several, and none is the default.
            AccountDisconnected: The person must connect the account again.
            RetinueError: What the tool raises.
        """
        connection = await self._connection(account)
        if connection is None:
            return await own(), OWN
        try:
            return await self._on(connection, work), connection.account_id
        except ServiceRefused as error:
            if not error.sign_in:
                raise
        other = await self._accounts.connection(account=connection.account_id, rejected=connection)
        if other is None:
            raise disconnected(connection)
        try:
            return await self._on(other, work), connection.account_id
        except ServiceRefused as error:
            if not error.sign_in:
                raise
        await self._accounts.connection(account=connection.account_id, rejected=other)
        raise disconnected(connection)

    async def which(self, account: str | None) -> tuple[str, str]:
        """Return the account that `run` would use: its id, and how people know it. No secret is asked for.

        For the capability's own data that is `own`, and nothing.

        Raises:
            NotFound: There is no such account; the message names those that there are.
            Ambiguous: There are several, and none is the default.
            ServiceUnavailable: The accounts service does not answer.
        """
        wanted = _bound() or account
        if wanted == OWN:
            return OWN, ""
        known = await self._accounts.names()
        try:
            found = choose(known, wanted, self._capability)
        except NotFound:
            if _bound() is None:
                raise
            raise _gone() from None
        return (found.account_id, found.words) if found else (OWN, "")

    async def close(self) -> None:
        """End all connections."""
        await self._pool.close()
        if self._end is not None:
            await self._end()

    async def __aenter__(self) -> Routing[Tools]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connection(self, account: str | None) -> Connection | None:
        bound = _bound()
        if OWN in (bound or account,):
            return None
        try:
            connection = await self._accounts.connection(account=bound or account)
        except NotFound:
            if bound is None:
                raise
            connection = None
        if connection is None and bound is not None:
            raise _gone()
        return connection

    async def _on(self, connection: Connection, work: Callable[[Tools], Awaitable[Result]]) -> Result:
        build = self._builders.get(connection.provider)
        if build is None:
            raise ServiceRefused(
                f"{self._capability} cannot use the account {connection.name!r} of {connection.provider.value}",
                hint="choose another account for it",
            )

        async def open_() -> Implementation[Tools]:
            return build(Access(connection, self._accounts))

        async with self._pool.use(_key(connection), open_) as implementation:
            return await work(implementation.tools)

    async def _unknown(self, name: str) -> Implementation[Tools]:
        raise RuntimeError(f"nobody says how to open {name}")


def _gone() -> RetinueError:
    return NotFound("the account that this was for is not connected any more", hint="ask again")


def address_of(connection: Connection, protocol: str) -> str:
    """Return where an account is reached by a protocol.

    Raises:
        ServiceRefused: The connection has no address for it, or one that would show the secret to the network.
    """
    address = connection.endpoints.get(protocol, "")
    if not address:
        raise ServiceRefused(f"the account {connection.name!r} has no address for {protocol}", hint="connect it again")
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2].rpartition(":")[0] or rest.partition("/")[0]
    if in_the_clear(scheme, host.strip("[]"), connection.secret):
        raise ServiceRefused(f"the address of the account {connection.name!r} must be https")
    return address


class SignIn(TypedDict):
    """By what `retinue.network.dav.client` signs in."""

    username: str
    password: SecretStr
    token: SecretStr | None


def sign_in(connection: Connection) -> SignIn:
    """Return by what a WebDAV client signs in to an account."""
    token = connection.secret if connection.kind is SecretKind.BEARER else None
    return SignIn(username=connection.login, password=connection.secret, token=token)


def rest_client(timeout: float = 25) -> httpx.AsyncClient:
    """Return an HTTP client for the REST APIs of providers: without credentials, and following no redirects."""
    return httpx.AsyncClient(timeout=httpx.Timeout(timeout, connect=min(10, timeout)), follow_redirects=False)


def _bound() -> str | None:
    """Return the account that was shown to the person before they decided, or that an earlier step used; else None."""
    asked_by = person_header.current()
    return asked_by.account if asked_by else None


def _key(connection: Connection) -> str:
    """Return what is the same for connections that are used in the same way; it shows no secret."""
    parts = connection.model_dump(mode="json", exclude={"name", "expires_at", "secret"})
    secret = connection.secret.get_secret_value()
    return hashlib.sha256(repr((sorted(parts.items(), key=str), secret)).encode()).hexdigest()
