"""Tests whether an account works: signs in at its servers, and out again. Nothing is read or changed."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from retinue.accounts.connection import Connection, Provider
from retinue.accounts.hosts import guard, public_addresses
from retinue.errors import AccountDisconnected, ServiceRefused, ServiceUnavailable
from retinue.network import dav
from retinue.network.connection_errors import unreachable
from retinue.network.dav_discovery import ADDRESS_BOOKS, CALENDARS, collection_url
from retinue.network.egress import Resolver, look_up
from retinue.network.service_client import ExternalService

_SILENCE = 10.0
_DEADLINE = 25.0
_CHECK = "check the address of the server"
_LOCAL = ("127.0.0.1", "localhost", "::1")
_PORTS = {"imaps": 993, "imap": 143, "smtps": 465, "smtp": 587}
_REFUSED = "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "[AUTH]"


async def sign_in(connection: Connection, *, tls: ssl.SSLContext | None = None, resolve: Resolver = look_up) -> None:
    """Sign in with an app password at all servers of an account; for DAV a collection must be there.

    Each name is looked up once, and the password goes to an address that was checked then.

    Args:
        connection: The account's.
        tls: Trusted certificates, by default the usual authorities'.
        resolve: Resolves names.

    Raises:
        AccountDisconnected: A server refuses the password.
        NotAllowed: A server is on a private address.
        ServiceRefused: There is no such collection, or the server cannot be trusted.
        ServiceUnavailable: A server does not answer.
    """
    if connection.provider is Provider.IMAP:
        await _mail(connection, tls or ssl.create_default_context(), resolve)
        return
    kind, name = (CALENDARS, "caldav") if connection.provider is Provider.CALDAV else (ADDRESS_BOOKS, "carddav")
    url = connection.endpoints[name]
    password = connection.secret
    egress = guard(connection, url, resolve)
    async with dav.client(url, username=connection.login, password=password, timeout=_SILENCE, egress=egress) as client:
        outside = ExternalService(client, name=f"the {kind.noun} server", deadline=_SILENCE)
        try:
            async with asyncio.timeout(_DEADLINE):
                await collection_url(outside, url, kind)
        except TimeoutError:
            raise ServiceUnavailable(f"the {kind.noun} server did not answer in time") from None
        except ServiceRefused as error:
            if "user name or password" in error.message:
                raise refused(f"the {kind.noun} server") from None
            raise


def refused(name: str) -> AccountDisconnected:
    """Return the error that a server does not accept the password."""
    return AccountDisconnected(
        f"{name} does not accept the user name or password",
        hint="many providers want an app password, made in their settings",
    )


async def _mail(connection: Connection, tls: ssl.SSLContext, resolve: Resolver) -> None:
    for name, ask in (("imap", _imap), ("smtp", _smtp)):
        if url := connection.endpoints.get(name):
            try:
                async with asyncio.timeout(_DEADLINE):
                    addresses = await _addresses(url, connection, resolve)
                    await asyncio.to_thread(ask, url, addresses, connection, tls)
            except TimeoutError:
                raise ServiceUnavailable(f"the {name.upper()} server did not answer in time") from None


async def _addresses(url: str, connection: Connection, resolve: Resolver) -> Sequence[str]:
    host, port = _place(url)
    return [host] if connection.private_hosts else await public_addresses(host, port, resolve)


def _place(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    return place.hostname or "", place.port or _PORTS[place.scheme]


def _imap(url: str, addresses: Sequence[str], connection: Connection, tls: ssl.SSLContext) -> None:
    (host, port), scheme = _place(url), urlsplit(url).scheme
    try:
        if scheme == "imaps":
            client: imaplib.IMAP4 = _ImapTls(addresses, host, port, ssl_context=tls, timeout=_SILENCE)
        else:
            client = _Imap(addresses, host, port, timeout=_SILENCE)
        try:
            if scheme == "imap" and host not in _LOCAL:
                client.starttls(tls)
            client.login(connection.login, connection.secret.get_secret_value())
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                client.logout()
    except imaplib.IMAP4.abort:
        raise ServiceUnavailable("the IMAP server broke off") from None
    except imaplib.IMAP4.error as error:
        if any(word in str(error).upper() for word in (*_REFUSED, "LOGIN FAILED", "INVALID CREDENTIALS")):
            raise refused("the IMAP server") from None
        raise ServiceRefused("the IMAP server does not let this account in") from None
    except (OSError, ValueError) as error:  # ValueError: a login that no command can hold
        raise unreachable(error, "the IMAP server", hint=_CHECK) from None


def _smtp(url: str, addresses: Sequence[str], connection: Connection, tls: ssl.SSLContext) -> None:
    (host, port), scheme = _place(url), urlsplit(url).scheme
    try:
        if scheme == "smtps":
            client: smtplib.SMTP = _SmtpTls(addresses, host, port, timeout=_SILENCE, context=tls)
        else:
            client = _Smtp(addresses, host, port, timeout=_SILENCE)
        with client:
            if scheme == "smtp" and host not in _LOCAL:
                client.starttls(context=tls)
            client.login(connection.login, connection.secret.get_secret_value())
    except smtplib.SMTPAuthenticationError:
        raise refused("the SMTP server") from None
    except smtplib.SMTPNotSupportedError:
        raise ServiceRefused("the SMTP server has no way to sign in with a password, or no encryption") from None
    except smtplib.SMTPException:
        raise ServiceUnavailable("the SMTP server does not answer as it should") from None
    except (OSError, ValueError) as error:
        raise unreachable(error, "the SMTP server", hint=_CHECK) from None


class _Imap(imaplib.IMAP4):
    """Connects to one of some addresses."""

    def __init__(self, addresses: Sequence[str], *args: Any, **options: Any) -> None:
        self._addresses = addresses
        super().__init__(*args, **options)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return _connected(self._addresses, self.port, timeout)


class _ImapTls(_Imap, imaplib.IMAP4_SSL):
    """The same over TLS, which asks for the name."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        wrapped: socket.socket = self.ssl_context.wrap_socket(
            super()._create_socket(timeout), server_hostname=self.host
        )
        return wrapped


class _Smtp(smtplib.SMTP):
    """Connects to one of some addresses."""

    def __init__(self, addresses: Sequence[str], *args: Any, **options: Any) -> None:
        self._addresses = addresses
        super().__init__(*args, **options)

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        del host
        return _connected(self._addresses, port, timeout)


class _SmtpTls(smtplib.SMTP_SSL, _Smtp):
    """The same over TLS, which asks for the name."""

    def __init__(self, addresses: Sequence[str], *args: Any, **options: Any) -> None:
        self._addresses = addresses
        smtplib.SMTP_SSL.__init__(self, *args, **options)


def _connected(addresses: Sequence[str], port: int, timeout: float | None) -> socket.socket:
    """Return a connection to the first of some addresses that accepts one."""
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")
