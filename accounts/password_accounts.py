"""What the service needs to connect accounts by app passwords; `accounts/discovery` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import SecretStr

from retinue.accounts.connection import Connection, Provider
from retinue.accounts.wire import FoundServers


class Discovery(Protocol):
    """Finds servers by an address alone, and tests whether a connection works."""

    async def endpoints(
        self, provider: Provider, address: str, *, username: str, password: SecretStr
    ) -> dict[str, str]:
        """Return the endpoints of an account: `caldav`, `carddav`, or `imap` and `smtp`.

        Raises:
            NotFound: None was found at the address's own domain; the person gives them.
        """

    async def discover(self, address: str) -> Sequence[FoundServers]:
        """Return the ways to connect an address, best first; no password is sent.

        Raises:
            InvalidArguments: It is no address.
        """

    async def test(self, connection: Connection) -> None:
        """Sign in and out.

        Raises:
            AccountDisconnected: The service refuses the secret.
            ServiceRefused: The server cannot be used.
            ServiceUnavailable: It does not answer.
        """

    async def close(self) -> None:
        """Close its HTTP client."""
