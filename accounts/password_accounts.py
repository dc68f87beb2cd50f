"""What the service needs to connect accounts by app passwords; `accounts/discovery` implements it."""

from __future__ import annotations

from typing import Protocol

from pydantic import SecretStr

from retinue.accounts.connection import Connection, Provider


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

    async def test(self, connection: Connection) -> None:
        """Sign in and out.

        Raises:
            AccountDisconnected: The service refuses the secret.
            ServiceUnavailable: It does not answer.
        """
