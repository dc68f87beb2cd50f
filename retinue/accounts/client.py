"""By which a capability's worker gets the connection of the step that it runs."""

from __future__ import annotations

import hashlib

from pydantic import SecretStr

from retinue.accounts.connection import AccountName, Connection
from retinue.accounts.service import AccountsService
from retinue.accounts.settings import AccountsSettings
from retinue.accounts.wire import AskConnection, AskNames, StepAccounts, StepConnection
from retinue.temporal.step_pass import current_pass

PATH = "/steps/connection"
NAMES_PATH = "/steps/accounts"


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

    async def names(self) -> list[AccountName]:
        """See `Accounts.names`."""
        passed = current_pass()
        if not passed:
            return []
        asked = AskNames(step_pass=SecretStr(passed))
        return (await self._service.ask(StepAccounts, "POST", NAMES_PATH, body=asked)).accounts

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._service.close()

    async def __aenter__(self) -> AccountsClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def accounts_of(settings: AccountsSettings | None = None) -> AccountsClient | None:
    """Return the accounts as a worker's environment says; enter it with the worker's other resources (`keep_open`).

    None without an accounts service: nobody has an account then.
    """
    service = (settings or AccountsSettings()).service()
    return AccountsClient(service) if service is not None else None
