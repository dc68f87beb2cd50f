"""The mailboxes of people's accounts elsewhere, by provider. What only one of them needs is loaded at its first use."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cache
from typing import TYPE_CHECKING

from activities.email.contract import Email
from activities.email.settings import EmailSettings
from retinue.accounts.access import Access
from retinue.accounts.connection import NamedAccounts, Provider
from retinue.accounts.routing import Implementation, Routing, rest_client
from retinue.ledger import Ledger
from retinue.network.egress import Resolver, look_up
from retinue.store import Store

if TYPE_CHECKING:
    import ssl

    import httpx

    from activities.email.imap_client import ImapPool

_AT_ONCE = 16
"""Connections to mailboxes that work at the same time, of all accounts together."""
_IDLE = 8
"""Connections to mailboxes that wait for other work."""


def routing(
    settings: EmailSettings, store: Store, accounts: NamedAccounts, *, resolve: Resolver = look_up
) -> Routing[Email]:
    """Return the mailboxes of accounts. Their ledger and outbox are in the organisation's database."""
    shared = AsyncExitStack()

    @cache
    def rest() -> httpx.AsyncClient:
        client = rest_client()
        shared.push_async_callback(client.aclose)
        return client

    @cache
    def mailboxes() -> tuple[ImapPool, ssl.SSLContext]:
        from activities.email.imap_client import ImapPool
        from activities.email.servers import trusted

        pool = ImapPool(threads=_AT_ONCE, idle=_IDLE)
        shared.callback(pool.close)
        return pool, trusted(settings.ca_file)

    def imap(access: Access) -> Implementation[Email]:
        from activities.email.mail_server import over_connection

        pool, certificates = mailboxes()
        settle = settings.settle_seconds
        return Implementation(
            over_connection(store, access, pool=pool, certificates=certificates, settle=settle, resolve=resolve)
        )

    def google(access: Access) -> Implementation[Email]:
        from activities.email.gmail import over

        return Implementation(over(access, store, http=rest(), settle=settings.settle_seconds))

    builders = {Provider.IMAP: imap, Provider.MICROSOFT: imap, Provider.GOOGLE: google}
    return Routing(Email.name, accounts, builders, ledger=Ledger(store), end=shared.aclose)
