"""A person's account at emulate's Google, as the accounts service would give it to a worker."""

from __future__ import annotations

from pydantic import SecretStr

from retinue.accounts.connection import Connection, Provider, SecretKind
from tests.accounts.emulators import Emulators


def google_connection(emulators: Emulators, name: str = "ana", *, base: str = "") -> Connection:
    """Return a connection with a real token.

    Args:
        emulators: The running servers.
        name: One of `PEOPLE`.
        base: Where the REST APIs are asked instead.
    """
    return connection(base or emulators.google, emulators.tokens("google", name)["access_token"], name)


def connection(base: str, token: str, name: str = "ana") -> Connection:
    """Return a connection whose REST APIs are at an address of this machine."""
    return Connection(
        account_id=f"account-{name}",
        name="work",
        address=f"{name}@example.com",
        provider=Provider.GOOGLE,
        endpoints={"api": base},
        secret=SecretStr(token),
        kind=SecretKind.BEARER,
    )
