"""What the service needs to connect accounts by app passwords; `accounts/discovery` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import SecretStr

from retinue.accounts.connection import Connection, Provider
from retinue.accounts.wire import FoundServers
from retinue.errors import NotFound


class Discovery(Protocol):
    """Finds servers by an address alone, and tests whether a connection works."""

    async def endpoints(
        self, provider: Provider, address: str, *, username: str, password: SecretStr
    ) -> dict[str, str]:
        """Return the endpoints of an account: `caldav`, `carddav`, or `imap` and `smtp`.

        Raises:
            NotFound: None was found; the person gives them.
            ServiceRefused: A server was found and refuses the password.
            ServiceUnavailable: It does not answer.
        """

    async def discover(self, address: str) -> Sequence[FoundServers]:
        """Return the ways to connect an address, best first; no password is sent.

        Raises:
            InvalidArguments: It is no address.
            ServiceUnavailable: Nothing could be looked up.
        """

    async def test(self, connection: Connection) -> None:
        """Sign in and out.

        Raises:
            AccountDisconnected: The service refuses the secret.
            ServiceUnavailable: It does not answer.
        """


class NoDiscovery:
    """Finds nothing and tests nothing: the person gives the addresses, and the first step shows whether they work."""

    async def endpoints(
        self, provider: Provider, address: str, *, username: str, password: SecretStr
    ) -> dict[str, str]:
        """Raise: nothing is found."""
        raise NotFound("the servers were not found by the address", hint="give their addresses")

    async def discover(self, address: str) -> Sequence[FoundServers]:
        """Return none."""
        return ()

    async def test(self, connection: Connection) -> None:
        """Do nothing."""
