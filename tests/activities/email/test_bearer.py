"""Mail over a person's account: tokens of a real authority, which Dovecot and the SMTP server ask about each of them."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from activities.email.bearer import mechanism
from activities.email.imap_client import ImapPool
from activities.email.mail_server import over_connection
from activities.email.servers import MailServer, Security, trusted
from activities.email.store import MailStore
from retinue.accounts.access import Access
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.errors import ServiceRefused
from tests.accounts.emulators import CLIENT_ID, CLIENT_SECRET, Emulators
from tests.accounts.fake_accounts import FakeAccounts
from tests.activities.email.conftest import Call, Taking, caller
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, PASSWORD, Dovecot, dovecot
from workers.temporal_server import free_port

LETTER = {"to": ["bo@example.com"], "subject": "Hello", "body": "Hi"}
STALE = "canary-91c7-stale"


class Bearing(Taking):
    """An SMTP server's handler that asks the authority about tokens, as both mechanisms want it."""

    def __init__(self, introspection: str) -> None:
        super().__init__()
        self._introspection = introspection
        self.tried: list[tuple[str, str, bool]] = []
        self.refusal = ""

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802  # aiosmtpd's name
        user, bearer = base64.b64decode(args[1]).decode().removesuffix("\1\1").split("\1")
        return await self._judge(server, "XOAUTH2", user.removeprefix("user="), bearer, farewell=b"")

    async def auth_OAUTHBEARER(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802  # aiosmtpd's name
        head, *pairs = base64.b64decode(args[1]).decode().removesuffix("\1\1").split("\1")
        user = head.removeprefix("n,a=").removesuffix(",")
        assert pairs[0] == "host=127.0.0.1"
        return await self._judge(server, "OAUTHBEARER", user, pairs[-1], farewell=b"\1")

    async def _judge(self, server: SMTP, name: str, user: str, bearer: str, *, farewell: bytes) -> AuthResult:
        token = bearer.removeprefix("auth=Bearer ")
        async with httpx.AsyncClient(trust_env=False, auth=(CLIENT_ID, CLIENT_SECRET)) as http:
            found = (await http.post(self._introspection, data={"token": token})).json()
        fine = found.get("sub") == user and not self.refusal
        self.tried.append((name, user, fine))
        if not fine:
            answer = await server.challenge_auth(json.dumps({"status": "401"}))
            assert answer == farewell
            await server.push(self.refusal or "535 5.7.8 no")
        return AuthResult(success=fine, handled=not fine)


@dataclass
class Post:
    """The mail servers of one authority, and the addresses of an account there."""

    mailboxes: Dovecot
    smtp: Bearing
    port: int

    def connection(self, token: str, *, kind: SecretKind = SecretKind.BEARER, **fields: Any) -> Connection:
        values: dict[str, Any] = {
            "account_id": "a1",
            "name": "work",
            "address": "ana@example.net",
            "username": "ana",
            "provider": Provider.IMAP,
            "endpoints": {
                "imap": f"imap://127.0.0.1:{self.mailboxes.port}?starttls=false",
                "smtp": f"smtp://127.0.0.1:{self.port}?starttls=false",
            },
        }
        return Connection(private_hosts=True, **values | fields, secret=SecretStr(token), kind=kind)

    def logins(self) -> list[str]:
        """By which mechanism somebody logged in, in order."""
        log = (self.mailboxes.folder / "dovecot.log").read_text()
        return [line.partition("method=")[2].partition(",")[0] for line in log.splitlines() if "Info: Login:" in line]


@pytest.fixture(params=["xoauth2 oauthbearer", "xoauth2"])
def post(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[Post]:
    """Servers that offer both mechanisms, or Microsoft's alone."""
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    introspection = f"{emulators.authority}/token/introspection"
    handler = Bearing(introspection)
    excluded = [] if "oauthbearer" in request.param else ["OAUTHBEARER"]
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        auth_required=True,
        auth_require_tls=False,
        auth_exclude_mechanism=excluded,
    )
    controller.start()
    known = introspection.replace("http://", f"http://{CLIENT_ID}:{CLIENT_SECRET}@")
    try:
        with dovecot(introspection=known, mechanisms=request.param) as running:
            yield Post(running, handler, controller.port)
    finally:
        controller.stop()


@dataclass
class Mail:
    """The tools of one worker, which gets a connection for each step."""

    store: MailStore
    pool: ImapPool
    accounts: FakeAccounts = field(default_factory=FakeAccounts)

    def over(self, connection: Connection, *then: Connection) -> Call:
        """The tools of a step; `then`: what the accounts service gives where the connection is rejected."""
        self.accounts = FakeAccounts([connection], after_rejection=dict.fromkeys(["work"], *then) if then else {})
        access = Access(connection, self.accounts)
        return caller(over_connection(self.store.database, access, pool=self.pool, certificates=trusted(None)))


@asynccontextmanager
async def worker(folder: Path, **pool: Any) -> AsyncIterator[Mail]:
    store = MailStore(f"sqlite+aiosqlite:///{folder / 'email.db'}")
    await store.open()
    mail = Mail(store, ImapPool(**pool))
    try:
        yield mail
    finally:
        mail.pool.close()
        await store.close()


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[Mail]:
    async with worker(tmp_path, idle=4) as found:
        yield found


@pytest.fixture
def token(emulators: Emulators) -> str:
    return emulators.tokens("authority", "ana", "openid email mail.read mail.send")["access_token"]


async def test_a_token_reads_and_sends_by_the_best_mechanism_that_there_is(post: Post, mail: Mail, token: str) -> None:
    call = mail.over(post.connection(token))
    sent = await call("send", LETTER)
    found = await call("search", {"folder": "sent"})
    best = "OAUTHBEARER" if "oauthbearer" in post.mailboxes.mechanisms else "XOAUTH2"

    assert (sent["status"], sent["sent_copy"]) == ("sent", "kept")
    assert [each["message_id"] for each in found["messages"]] == [sent["message_id"]]
    assert post.smtp.tried == [(best, "ana", True)]
    assert set(post.logins()) == {best}
    assert b"From: ana@example.net" in (post.smtp.taken[0].original_content or b"")


async def test_a_refused_token_is_replaced_and_nothing_is_sent_twice(post: Post, mail: Mail, token: str) -> None:
    call = mail.over(post.connection(STALE), post.connection(token))
    sent = await call("send", LETTER)

    assert (sent["status"], sent["sent_copy"], len(post.smtp.taken)) == ("sent", "kept", 1)
    assert [fine for _, _, fine in post.smtp.tried] == [False, True]
    assert [rejected and rejected.secret.get_secret_value() for _, rejected in mail.accounts.asked] == [STALE]


@pytest.mark.parametrize("tool", ["send", "search"])
async def test_an_account_whose_other_token_is_refused_too_must_be_connected_again(
    post: Post, mail: Mail, tool: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    call = mail.over(post.connection(STALE), post.connection(f"{STALE}-too"))
    with pytest.raises(ApplicationError) as refused:
        await call(tool, LETTER if tool == "send" else {})

    assert refused.value.type == "AccountDisconnected"
    assert "'work'" in str(refused.value)
    shown = f"{refused.value!r} {refused.value.__cause__!r} {caplog.text}"
    assert STALE not in shown
    assert base64.b64encode(STALE.encode()).decode()[:16] not in shown
    assert (len(mail.accounts.asked), post.smtp.taken) == (1, [])


async def test_connections_wait_for_the_same_account_and_token_only(
    post: Post, mail: Mail, token: str, emulators: Emulators
) -> None:
    other = emulators.tokens("authority", "ana")["access_token"]
    bens = emulators.tokens("authority", "ben")["access_token"]
    await mail.over(post.connection(token))("search", {})
    await mail.over(post.connection(token))("search", {}, step="s2")
    assert len(post.logins()) == 1

    await mail.over(post.connection(other))("search", {}, step="s3")
    await mail.over(post.connection(bens, account_id="a2", username="ben"))("search", {}, step="s4")
    await mail.over(post.connection(token, account_id="a3"))("search", {}, step="s5")
    assert len(post.logins()) == 4


async def test_a_connection_that_died_while_it_waited_is_made_again(post: Post, mail: Mail, token: str) -> None:
    call = mail.over(post.connection(token))
    await call("search", {})
    log = (post.mailboxes.folder / "dovecot.log").read_text()
    os.kill(int(log.partition("mpid=")[2].partition(",")[0]), signal.SIGKILL)
    assert await call("search", {}, step="s2") == {"messages": []}
    assert len(post.logins()) == 2


async def test_no_more_connections_wait_than_may(post: Post, token: str, tmp_path: Path) -> None:
    async with worker(tmp_path, idle=1) as mail:
        for number in (1, 2, 1):
            await mail.over(post.connection(token, account_id=f"a{number}"))("search", {}, step=f"s{number}")
    assert len(post.logins()) == 3


async def test_an_app_password_works_as_before_and_a_wrong_one_disconnects_the_account(post: Post, mail: Mail) -> None:
    right = post.connection(PASSWORD, kind=SecretKind.PASSWORD)
    wrong = post.connection("wrong-canary", kind=SecretKind.PASSWORD)
    assert await mail.over(right)("search", {}) == {"messages": []}
    with pytest.raises(ApplicationError) as refused:
        await mail.over(wrong)("search", {}, step="s2")

    assert (refused.value.type, "canary" in str(refused.value)) == ("AccountDisconnected", False)
    assert mail.accounts.asked == [(wrong.account_id, wrong)]


async def test_a_mailbox_that_may_not_be_used_by_smtp_is_said(post: Post, mail: Mail, token: str) -> None:
    post.smtp.refusal = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox"
    with pytest.raises(ApplicationError) as refused:
        await mail.over(post.connection(token))("send", LETTER)
    assert refused.value.type == "ServiceRefused"
    assert "administrator can allow it" in str(refused.value)
    assert mail.accounts.asked == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"endpoints": {}}, "the IMAP server of the account 'work' must look like"),
        ({"endpoints": {"imap": "imap://mail.test?starttls=false"}}, "the IMAP server of the account 'work'"),
        ({"address": "Ana <ana@example.net>"}, "the account 'work' has no address to send from"),
    ],
)
async def test_an_account_that_is_not_complete_is_said(mail: Mail, fields: dict[str, Any], told: str) -> None:
    post = Post(Dovecot(Path()), Bearing(""), 1)
    with pytest.raises(ServiceRefused, match=told):
        mail.over(post.connection("secret", **fields))


async def test_a_server_that_takes_no_tokens_is_said(mailbox_server: Dovecot, mail: Mail) -> None:
    call = mail.over(Post(mailbox_server, Bearing(""), 1).connection("secret-canary"))
    with pytest.raises(ApplicationError, match="offers no way to sign in with a token") as refused:
        await call("search", {})
    assert (refused.value.type, "canary" in str(refused.value)) == ("ServiceRefused", False)


def test_microsofts_servers_need_not_be_named(mail: Mail) -> None:
    post = Post(Dovecot(Path()), Bearing(""), 1)
    mail.over(post.connection("secret", provider=Provider.MICROSOFT, endpoints={}))


SERVER = MailServer(
    "the mailbox server (IMAP)", "server.example.com", 143, Security.TLS, "user@example.com", "vF9dft", bearer=True
)


def test_the_messages_are_those_of_the_standards() -> None:
    """RFC 7628, 4.1, and what Google and Microsoft document for XOAUTH2."""
    assert mechanism(SERVER, {"XOAUTH2", "OAUTHBEARER"}).initial == (
        b"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9dft\1\1"
    )
    assert mechanism(SERVER, {"PLAIN", "XOAUTH2"}).initial == b"user=user@example.com\1auth=Bearer vF9dft\1\1"


@pytest.mark.parametrize("secret", ["vF9\1auth=Bearer x", "vF9\r\nA1 DELETE INBOX", "vF9é"])
def test_no_token_can_say_something_else(secret: str) -> None:
    with pytest.raises(ServiceRefused, match="name or token"):
        mechanism(MailServer("s", "h", 1, Security.TLS, "u", secret, bearer=True), {"XOAUTH2"})


def test_a_comma_in_a_name_ends_no_field() -> None:
    named = MailServer("s", "h", 1, Security.TLS, "a,b=c", "t", bearer=True)
    assert mechanism(named, {"OAUTHBEARER"}).initial.startswith(b"n,a=a=2Cb=3Dc,\1")
