"""Tests whether an account works: signs in at its servers, and out again. Nothing is read or changed."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from retinue.accounts.connection import Connection, Provider
from retinue.errors import AccountDisconnected, ServiceRefused, ServiceUnavailable
from retinue.network import dav
from retinue.network.connection_errors import unreachable
from retinue.network.dav_discovery import ADDRESS_BOOKS, CALENDARS, collection_url
from retinue.network.service_client import ExternalService

_SILENCE = 10.0
_DEADLINE = 25.0
_CHECK = "check the address of the server"
_LOCAL = ("127.0.0.1", "localhost", "::1")
_PORTS = {"imaps": 993, "imap": 143, "smtps": 465, "smtp": 587}
_REFUSED = "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "[AUTH]"


async def sign_in(connection: Connection, *, tls: ssl.SSLContext | None = None) -> None:
    """Sign in with an app password at all servers of an account; for DAV a collection must be there.

    Args:
        connection: The account's.
        tls: Trusted certificates, by default the usual authorities'.

    Raises:
        AccountDisconnected: A server refuses the password.
        ServiceRefused: There is no such collection, or the server cannot be trusted.
        ServiceUnavailable: A server does not answer.
    """
    if connection.provider is Provider.IMAP:
        await _mail(connection, tls or ssl.create_default_context())
        return
    kind, name = (CALENDARS, "caldav") if connection.provider is Provider.CALDAV else (ADDRESS_BOOKS, "carddav")
    url = connection.endpoints[name]
    password = connection.secret
    async with dav.client(url, username=connection.login, password=password, timeout=_SILENCE) as client:
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


async def _mail(connection: Connection, tls: ssl.SSLContext) -> None:
    for name, ask in (("imap", _imap), ("smtp", _smtp)):
        if url := connection.endpoints.get(name):
            try:
                async with asyncio.timeout(_DEADLINE):
                    await asyncio.to_thread(ask, url, connection, tls)
            except TimeoutError:
                raise ServiceUnavailable(f"the {name.upper()} server did not answer in time") from None


def _imap(url: str, connection: Connection, tls: ssl.SSLContext) -> None:
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or _PORTS[place.scheme]
    try:
        if place.scheme == "imaps":
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(host, port, ssl_context=tls, timeout=_SILENCE)
        else:
            client = imaplib.IMAP4(host, port, timeout=_SILENCE)
        try:
            if place.scheme == "imap" and host not in _LOCAL:
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


def _smtp(url: str, connection: Connection, tls: ssl.SSLContext) -> None:
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or _PORTS[place.scheme]
    try:
        if place.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_SILENCE, context=tls)
        else:
            client = smtplib.SMTP(host, port, timeout=_SILENCE)
        with client:
            if place.scheme == "smtp" and host not in _LOCAL:
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
