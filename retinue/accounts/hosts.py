"""Where the servers of people's accounts may be, checked at each connection: a name may lead elsewhere since it was connected."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from retinue.accounts.connection import Connection
from retinue.errors import NotFound, ServiceUnavailable
from retinue.network.egress import Egress, Resolver

_HINT = "the account's server is on a private address; the operator can set ACCOUNTS_PRIVATE_HOSTS"


def guard(connection: Connection, url: str, resolve: Resolver) -> Egress | None:
    """Return what checks each request to an account's server at `url`; None if its private addresses are allowed."""
    if connection.private_hosts:
        return None
    parts = urlsplit(url)
    return _egress(parts.port or (80 if parts.scheme == "http" else 443), resolve)


async def public_addresses(host: str, port: int, resolve: Resolver) -> list[str]:
    """Return the addresses of an account's server, looked up once; all are public.

    Raises:
        NotAllowed: One of them is private.
        ServiceUnavailable: The name cannot be looked up.
    """
    return await _egress(port, resolve).addresses(httpx.URL(scheme="https", host=host, port=port))


def _egress(port: int, resolve: Resolver) -> Egress:
    async def known(host: str, port: int) -> Sequence[str]:
        try:
            found = await resolve(host, port)
        except NotFound:  # of the server; tools would take it for an entry that is not there
            found = []
        if not found:
            raise ServiceUnavailable("the host name of the account's server is not known")
        return found

    return Egress(ports={port}, resolve=known, hint=_HINT)
