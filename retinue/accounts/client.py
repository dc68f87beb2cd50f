"""By which a capability's worker gets the connection of the step that it runs."""

from __future__ import annotations

import hashlib

from pydantic import SecretStr

from retinue.accounts.connection import Connection
from retinue.accounts.service import AccountsService, AccountsSettings
from retinue.accounts.wire import AskConnection, StepConnection
from retinue.temporal.step_pass import current_pass

PATH = "/steps/connection"


def fingerprint(secret: SecretStr) -> str:
    """Return what names a token without showing it."""
    return hashlib.sha256(b"retinue/accounts/" + secret.get_secret_value().encode()).hexdigest()


class AccountsClient:
    """`retinue.accounts.connection.Accounts` over HTTP. Nothing is kept: each call asks the service."""

    def __init__(self, service: AccountsService) -> None:
        self._service = service

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        """See `Accounts.connection`. A step without a pass has no account."""
        passed = current_pass()
        if not passed:
            return None
        asked = AskConnection(
            step_pass=SecretStr(passed), account=account, rejected=fingerprint(rejected.secret) if rejected else None
        )
        answer = await self._service.ask(StepConnection, "POST", PATH, body=asked)
        given = answer.connection
        return Connection(**{name: getattr(given, name) for name in type(given).model_fields}) if given else None

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._service.close()

    async def __aenter__(self) -> AccountsClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class NoAccounts:
    """`Accounts` of an installation without the accounts service: nobody has one."""

    async def connection(self, *, account: str | None = None, rejected: Connection | None = None) -> Connection | None:
        """Return None."""
        del account, rejected
        return None

    async def __aenter__(self) -> NoAccounts:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


def accounts_of(settings: AccountsSettings | None = None) -> AccountsClient | NoAccounts:
    """Return the accounts as a worker's environment says; enter it with the worker's other resources (`keep_open`)."""
    service = (settings or AccountsSettings()).service()
    return AccountsClient(service) if service is not None else NoAccounts()
