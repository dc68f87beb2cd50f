"""Where settings, or a person's account, become the provider over real servers."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from activities.email.contract import Email
from activities.email.imap_client import ImapPool, ImapServer
from activities.email.imap_email import ImapEmail
from activities.email.servers import IMAP, SMTP, Kinds, MailServer, parse_server, trusted
from activities.email.settings import EmailSettings
from activities.email.smtp import Submission
from retinue.accounts.access import Access
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.addresses import check_address
from retinue.errors import ServiceRefused
from retinue.ledger import SETTLE
from retinue.network.egress import Resolver, look_up
from retinue.store import Store

_SERVERS: Final = {
    Provider.MICROSOFT: {"imap": "imaps://outlook.office365.com:993", "smtp": "smtp://smtp.office365.com:587"}
}
"""Of providers whose servers are the same for everybody; an account may name others."""


def over_mail_server(store: Store, settings: EmailSettings) -> tuple[Email, Callable[[], None]]:
    """Return the tools, and what ends their threads.

    Raises:
        ServiceRefused: `EMAIL_CA_FILE` cannot be used.
    """
    certificates = trusted(settings.ca_file)
    mailbox = ImapServer(settings.imap_server(), certificates)
    submission = Submission(settings.smtp_server(), certificates, settle=settings.settle_seconds)
    tools = ImapEmail(store, submission, mailbox, sender=settings.from_, settle=settings.settle_seconds)
    return tools, mailbox.close


def over_connection(
    store: Store,
    access: Access,
    *,
    pool: ImapPool,
    certificates: ssl.SSLContext,
    settle: float = SETTLE,
    resolve: Resolver = look_up,
) -> Email:
    """Return the tools over one person's account; building them opens nothing.

    Args:
        store: The capability's database.
        access: The account's connection, and another one where a server refuses its token.
        pool: The process's IMAP connections. Its owner closes it.
        certificates: Those that count, see `trusted`.
        settle: Seconds after which a sending that never reported counts as lost.
        resolve: Resolves the names of the servers, whose addresses must be public unless the connection allows others.

    Raises:
        ServiceRefused: The account names no servers, or no address to send from.
    """
    connection = access.connection

    async def renew(server: MailServer) -> MailServer:
        now = access.connection
        if now.secret.get_secret_value() == server.password:
            now = await access.instead_of(now)
        return replace(server, password=now.secret.get_secret_value())

    mailbox = ImapServer(_server(connection, "imap", IMAP, resolve), certificates, pool=pool, renew=renew)
    submission = Submission(_server(connection, "smtp", SMTP, resolve), certificates, settle=settle, renew=renew)
    return ImapEmail(store, submission, mailbox, sender=_sender(connection), settle=settle)


def _server(connection: Connection, kind: str, kinds: Kinds, resolve: Resolver) -> MailServer:
    url = connection.endpoints.get(kind) or _SERVERS.get(connection.provider, {}).get(kind, "")
    try:
        server = parse_server(url, kinds)
    except ValueError as error:
        raise ServiceRefused(f"the {kind.upper()} server of the account {connection.name!r} {error}") from None
    return replace(
        server,
        username=connection.login,
        password=connection.secret.get_secret_value(),
        bearer=connection.kind is SecretKind.BEARER,
        account=connection.name,
        account_id=connection.account_id,
        resolve=None if connection.private_hosts else resolve,
    )


def _sender(connection: Connection) -> str:
    try:
        return check_address(connection.address)
    except ValueError:
        raise ServiceRefused(f"the account {connection.name!r} has no address to send from") from None
