"""The name of an account's server may later lead to a private address: nothing is connected to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

import accounts.discovery.sign_in as signing_in
from accounts.discovery.service import ServerDiscovery
from activities.email.imap_client import ImapServer
from activities.email.servers import MailServer, Security
from activities.email.smtp import Submission
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.accounts.hosts import guard
from retinue.errors import NotAllowed, RetinueError
from retinue.network import dav, egress
from retinue.network.service_client import ExternalService

_PUBLIC = "93.184.216.34"


class Rebinding:
    """Answers a public address first, and one of this machine afterwards."""

    def __init__(self) -> None:
        self.answers = [_PUBLIC]

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        return [self.answers.pop() if self.answers else "127.0.0.1"]


@pytest.fixture
def inner() -> Iterator[socket.socket]:
    """A server of the inner network, which nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
async def resolve() -> Rebinding:
    """What is asked at a use, after the account was connected to a public address."""
    names = Rebinding()
    assert egress.public((await names("server.example.com", 443))[0])
    return names


@pytest.mark.parametrize(
    ("provider", "protocol", "scheme"),
    [
        (Provider.CALDAV, "caldav", "https"),
        (Provider.IMAP, "imap", "imaps"),
        (Provider.IMAP, "imap", "imap"),
        (Provider.IMAP, "smtp", "smtps"),
        (Provider.IMAP, "smtp", "smtp"),
    ],
)
@pytest.mark.parametrize("way", ["to the inner network", "as it was checked"])
async def test_the_sign_in_that_tries_a_password(
    inner: socket.socket, monkeypatch: pytest.MonkeyPatch, provider: Provider, protocol: str, scheme: str, way: str
) -> None:
    """It looks the name up once, and goes nowhere else; when the account was checked it led to a public address."""
    asked = []
    real = socket.getaddrinfo

    def leading_inside(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "server.example.com":
            return real(host, port, *rest, **more)
        asked.append(host)
        return real("127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", leading_inside)
    monkeypatch.setattr(signing_in, "_SILENCE", 2.0)
    if way == "as it was checked":
        monkeypatch.setattr(egress, "public", lambda _: True)
    connection = Connection(
        account_id="a",
        name="work",
        provider=provider,
        endpoints={protocol: f"{scheme}://server.example.com:{inner.getsockname()[1]}"},
        username="ana",
        secret=SecretStr("canary"),
        kind=SecretKind.PASSWORD,
    )
    with pytest.raises(RetinueError) as caught:
        await ServerDiscovery().test(connection)
    assert refused(caught.value) is untouched(inner) is (way == "to the inner network")
    assert asked == ["server.example.com"]


async def nothing(*_: object) -> None:
    """Nothing is committed."""


def untouched(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


def refused(error: RetinueError) -> bool:
    return isinstance(error, NotAllowed) and "ACCOUNTS_PRIVATE_HOSTS" in (error.hint or "")


async def test_a_dav_server(inner: socket.socket, resolve: Rebinding) -> None:
    url = f"http://server.example.com:{inner.getsockname()[1]}/calendar/"
    connection = Connection(
        account_id="a", name="work", provider=Provider.CALDAV, secret=SecretStr("canary"), kind=SecretKind.PASSWORD
    )
    client = dav.client(
        url, username="ana", password=SecretStr("canary"), timeout=2, egress=guard(connection, url, resolve)
    )
    async with client:
        collection = dav.Collection(ExternalService(client, name="the server", deadline=2), url, content_type="text")
        with pytest.raises(NotAllowed) as caught:
            await collection.get("/calendar/one.ics")
    assert refused(caught.value)
    assert untouched(inner)


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_an_imap_server(inner: socket.socket, resolve: Rebinding, security: Security) -> None:
    port = inner.getsockname()[1]
    server = MailServer("the mailbox server (IMAP)", "server.example.com", port, security, resolve=resolve)
    mailbox = ImapServer(server, ssl.create_default_context(), deadline=2)
    with pytest.raises(NotAllowed) as caught:
        await mailbox.do(lambda _: None)
    mailbox.close()
    assert refused(caught.value)
    assert untouched(inner)


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_an_smtp_server(inner: socket.socket, resolve: Rebinding, security: Security) -> None:
    port = inner.getsockname()[1]
    server = MailServer("the outgoing mail server (SMTP)", "server.example.com", port, security, resolve=resolve)
    with pytest.raises(NotAllowed) as caught:
        await Submission(server, ssl.create_default_context(), before=2).hand_over(
            b"Hi\r\n", sender="a@example.com", recipients=["b@example.com"], commit=nothing
        )
    assert refused(caught.value)
    assert untouched(inner)


@pytest.mark.parametrize("first", ["imap", "smtp"])
async def test_a_checked_address_is_the_one_connected_to(
    inner: socket.socket, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(egress, "public", lambda _: True)
    names = Rebinding()
    names.answers = ["127.0.0.1"]
    port = inner.getsockname()[1]
    server = MailServer(
        f"the server ({first.upper()})", "server.invalid-name.example", port, Security.TLS, resolve=names
    )
    context = ssl.create_default_context()
    if first == "imap":
        work = ImapServer(server, context, deadline=2).do(lambda _: None)
    else:
        work = Submission(server, context, before=2).hand_over(
            b"Hi\r\n", sender="a@example.com", recipients=["b@example.com"], commit=nothing
        )
    running = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        connected, _ = await asyncio.get_running_loop().sock_accept(inner)
    with connected:
        connected.setblocking(False)
        hello = await asyncio.get_running_loop().sock_recv(connected, 4096)
    assert b"server.invalid-name.example" in hello  # TLS asks for the name
    with pytest.raises(RetinueError):
        await running
