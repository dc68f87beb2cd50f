"""An account's password is tried at real servers: Radicale, Dovecot, and an SMTP server."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from accounts.discovery.sign_in import sign_in
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.errors import AccountDisconnected, ServiceRefused, ServiceUnavailable
from tests import radicale as servers
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, PASSWORD, Dovecot, dovecot
from workers.temporal_server import free_port


@pytest.fixture(scope="module")
def dav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Radicale]:
    with servers.radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture(scope="module")
def mail() -> Iterator[Dovecot]:
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot() as running:
        yield running


class Silent:
    """Takes no mail."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's
        return "554 nothing is sent in these tests"


def judged(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
    right = isinstance(given, LoginPassword) and given.password == PASSWORD.encode()
    return AuthResult(success=right, handled=right)


@pytest.fixture(scope="module")
def smtp() -> Iterator[str]:
    port = free_port()
    controller = Controller(
        Silent(), hostname="127.0.0.1", port=port, authenticator=judged, auth_require_tls=False, auth_required=True
    )
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


def connection(provider: Provider, password: str, username: str = servers.USER, **endpoints: str) -> Connection:
    return Connection(
        account_id="a1",
        name="work",
        provider=provider,
        endpoints=endpoints,
        username=username,
        secret=SecretStr(password),
        kind=SecretKind.PASSWORD,
        private_hosts=True,
    )


async def test_a_calendar_server_is_signed_in_at(dav: servers.Radicale) -> None:
    dav.calendar("work")
    await sign_in(connection(Provider.CALDAV, servers.PASSWORD, caldav=dav.address))
    with pytest.raises(AccountDisconnected, match="does not accept"):
        await sign_in(connection(Provider.CALDAV, "wrong", caldav=dav.address))


async def test_a_server_without_an_address_book_is_told_from_a_wrong_password(dav: servers.Radicale) -> None:
    with pytest.raises(ServiceRefused, match="no address book"):
        await sign_in(connection(Provider.CARDDAV, servers.PASSWORD, carddav=dav.address))


async def test_a_mailbox_is_signed_in_at_for_reading_and_for_sending(mail: Dovecot, smtp: str) -> None:
    imap = f"imap://127.0.0.1:{mail.port}"
    await sign_in(connection(Provider.IMAP, PASSWORD, "ana", imap=imap, smtp=smtp))
    with pytest.raises(AccountDisconnected, match="the IMAP server does not accept"):
        await sign_in(connection(Provider.IMAP, "wrong", "ana", imap=imap, smtp=smtp))
    with pytest.raises(AccountDisconnected, match="the SMTP server does not accept"):
        await sign_in(connection(Provider.IMAP, "wrong", "ana", smtp=smtp))


async def test_an_untrusted_certificate_gets_no_password(mail: Dovecot) -> None:
    own = connection(Provider.IMAP, PASSWORD, "ana", imap=f"imaps://127.0.0.1:{mail.tls_port}")
    with pytest.raises(ServiceRefused, match="not to be trusted"):
        await sign_in(own)
    await sign_in(own, tls=ssl.create_default_context(cafile=str(mail.cert)))


@pytest.mark.parametrize(
    ("provider", "endpoint", "url"),
    [
        (Provider.CALDAV, "caldav", "http://127.0.0.1:9/"),
        (Provider.IMAP, "imap", "imaps://127.0.0.1:9"),
        (Provider.IMAP, "smtp", "smtp://127.0.0.1:9"),
    ],
)
async def test_a_server_that_is_away_disconnects_nobody(provider: Provider, endpoint: str, url: str) -> None:
    with pytest.raises(ServiceUnavailable):
        await sign_in(connection(provider, "x", **{endpoint: url}))


async def test_no_error_repeats_the_password(mail: Dovecot) -> None:
    with pytest.raises(AccountDisconnected) as found:
        await sign_in(connection(Provider.IMAP, "canary-77aa", "ana", imap=f"imap://127.0.0.1:{mail.port}"))
    assert "canary" not in str(found.value) + str(found.value.hint)
