"""The connection of one step, and another one where the service refuses its token."""

from __future__ import annotations

import asyncio

from retinue.accounts.connection import Accounts, Connection
from retinue.errors import AccountDisconnected


class Access:
    """A step's connection. Whatever signs in with it asks here for another one when it is refused, which is given once.

    Args:
        connection: As the accounts service gave it.
        accounts: Gives another connection; None: there is no other one.
    """

    def __init__(self, connection: Connection, accounts: Accounts | None = None) -> None:
        self._connection = connection
        self._accounts = accounts
        self._renewing = asyncio.Lock()

    @property
    def connection(self) -> Connection:
        """The connection to use now."""
        return self._connection

    async def instead_of(self, refused: Connection) -> Connection:
        """Return the connection to try after a service refused to sign in with `refused`.

        Raises:
            AccountDisconnected: There is no other one, or it was given instead of a refused one.
            ServiceUnavailable: The accounts service, or the provider's token endpoint, does not answer.
        """
        async with self._renewing:
            if self._connection is not refused:  # another request of this step has obtained it
                return self._connection
            accounts, self._accounts = self._accounts, None
            if accounts is not None:
                other = await accounts.connection(account=refused.account_id, rejected=refused)
                if other is not None:
                    self._connection = other
                    return other
        raise disconnected(refused)


def disconnected(connection: Connection) -> AccountDisconnected:
    """Return the error that a service signs an account in no longer."""
    told = f"the service no longer lets the account {connection.name!r} in"
    return AccountDisconnected(told, hint="connect the account again")
