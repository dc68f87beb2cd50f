"""One contract, three providers: the own mailbox on SQLite, Dovecot with an SMTP server beside it, and emulate's Gmail.

Tests that ask for `box` and `call` run over all. Those that ask for `mailbox`, `imap_box` or `gmail_box` are about one of them.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.email import gmail
from activities.email.contract import Folder
from activities.email.incoming import parse
from activities.email.mail_server import over_mail_server
from activities.email.models import Message
from activities.email.outbox import Outbox
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from activities.email.tools import EmailTools
from retinue.accounts.access import Access
from retinue.accounts.connection import Connection
from retinue.activity_adapter import build_activities
from retinue.capability import Capability
from retinue.store import Store
from retinue.testing import activities_by_name
from tests.accounts.emulators import Emulators, emulators
from tests.accounts.google_account import google_connection
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, Dovecot, dovecot
from workers.temporal_server import free_port

__all__ = ["emulators"]
Call = Callable[..., Awaitable[dict[str, Any]]]
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> EmailSettings:
    return EmailSettings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'email.db'}", from_="me@retinue.example")


@pytest.fixture
async def mailbox(settings: EmailSettings) -> AsyncIterator[MailStore]:
    mailbox = MailStore(settings.database_url)
    await mailbox.open()
    yield mailbox
    await mailbox.close()


@dataclass
class Box(ABC):
    """A mailbox as the contract's tests see it, whoever keeps it."""

    sender: str
    delivery: dict[str, str]
    snippet: ClassVar[int] = 160
    """Characters of a mail's text that a list shows."""
    never_leaves: ClassVar[frozenset[Folder]] = frozenset()
    """Folders in which an archived mail stays."""
    shows_all_headers: ClassVar[bool] = True

    @abstractmethod
    def tools(self) -> Capability:
        """The provider."""

    @abstractmethod
    async def deliver(self, name: str, **fields: Any) -> None:
        """A mail comes in: `<name@example.com>`."""

    @abstractmethod
    async def deliver_file(self, content: bytes) -> None:
        """A mail comes in, as this file."""

    @abstractmethod
    async def gone_out(self, message_id: str) -> bytes:
        """The mail with that id as it went out, or as it is kept."""

    @abstractmethod
    async def count(self) -> int:
        """How many mails there are in all folders."""


@dataclass
class OwnBox(Box):
    """The own mailbox."""

    store: MailStore

    def tools(self) -> Capability:
        return EmailTools(self.store, sender=self.sender)

    async def deliver(self, name: str, **fields: Any) -> None:
        await self.store.deliver(Message(**described(name, **fields)))

    async def deliver_file(self, content: bytes) -> None:
        await self.store.deliver(parse(content, now=NOON), content)

    async def gone_out(self, message_id: str) -> bytes:
        return await self.store.source(message_id)

    async def count(self) -> int:
        return await self.store.count()


@dataclass
class ImapBox(Box):
    """An account at Dovecot, whose mails go out over aiosmtpd."""

    server: Dovecot
    user: str
    provider: Capability
    outbox: Outbox
    sent: list[Envelope] = field(default_factory=list)

    def tools(self) -> Capability:
        return self.provider

    async def deliver(self, name: str, **fields: Any) -> None:
        values = described(name, **fields)
        self.server.deliver(self.user, as_file(values), mailbox=FOLDERS[values["folder"]], seen=not values["unread"])

    async def deliver_file(self, content: bytes) -> None:
        self.server.deliver(self.user, content)

    async def gone_out(self, message_id: str) -> bytes:
        [content] = [each for each in self.server.mails(self.user, "Sent") if message_id.encode() in each]
        return content

    async def count(self) -> int:
        return sum(len(self.server.mails(self.user, mailbox)) for mailbox in FOLDERS.values())


@dataclass
class GmailBox(Box):
    """An account at emulate's Google."""

    snippet: ClassVar[int] = 140
    shows_all_headers: ClassVar[bool] = False
    never_leaves: ClassVar[frozenset[Folder]] = frozenset({Folder.SENT, Folder.DRAFTS})
    base: str
    token: str
    store: Store
    http: httpx.AsyncClient
    provider: Capability

    def tools(self) -> Capability:
        return self.provider

    async def deliver(self, name: str, **fields: Any) -> None:
        values = described(name, **fields)
        labels = [*LABELS[values["folder"]], *["UNREAD"] * values["unread"]]
        await self._import(as_file(values), labels)

    async def deliver_file(self, content: bytes) -> None:
        await self._import(content, ["INBOX", "UNREAD"])

    async def gone_out(self, message_id: str) -> bytes:
        [content] = [each for each in await self.mails("SENT") if message_id.encode() in each]
        return content

    async def count(self) -> int:
        return len(await self.listed())

    async def mails(self, *labels: str) -> list[bytes]:
        found = [await self.ask("GET", f"messages/{each}", format="raw") for each in await self.listed(*labels)]
        return [base64.urlsafe_b64decode(each["raw"] + "==") for each in found]

    async def listed(self, *labels: str) -> list[str]:
        found = await self.ask("GET", "messages", labelIds=list(labels), maxResults=500)
        return [each["id"] for each in found["messages"]]

    async def clear(self) -> None:
        found = await self.ask("GET", "messages", includeSpamTrash="true", maxResults=500)
        await self.ask("POST", "messages/batchDelete", {"ids": [each["id"] for each in found["messages"]]})

    async def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        url = f"{self.base}/gmail/v1/users/me/{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self.http.request(method, url, json=body, params=params, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    async def _import(self, content: bytes, labels: list[str]) -> None:
        raw = base64.urlsafe_b64encode(content).decode()
        await self.ask("POST", "messages", {"raw": raw, "labelIds": labels})


LABELS = {Folder.INBOX: ["INBOX"], Folder.SENT: ["SENT"], Folder.DRAFTS: ["DRAFT"], Folder.ARCHIVE: ["IMPORTANT"]}
FOLDERS = {
    Folder.INBOX: "INBOX",
    Folder.SENT: "Sent",
    Folder.DRAFTS: '"Entw&APw-rfe"',
    Folder.ARCHIVE: "Archive",
}


def described(name: str, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "message_id": f"<{name}@example.com>",
        "folder": Folder.INBOX,
        "sender": "clara@example.com",
        "sender_name": "Clara Mendes",
        "recipients": ["me@retinue.example"],
        "subject": name,
        "date": NOON,
        "text": "Hello",
        "unread": True,
    }
    return values | fields


def as_file(values: dict[str, Any]) -> bytes:
    """The same mail as it comes from outside, in bare UTF-8."""
    headers = {
        "From": f'"{values["sender_name"]}" <{values["sender"]}>',
        "To": ", ".join(values["recipients"]),
        "Subject": values["subject"],
        "Date": format_datetime(values["date"]),
        "Message-ID": values["message_id"],
        "In-Reply-To": values.get("in_reply_to"),
        "References": values.get("in_reply_to"),
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"{head}\r\n{values['text']}\r\n".encode()


@pytest.fixture(scope="session")
def mailbox_server() -> Iterator[Dovecot]:
    """One Dovecot for all tests of this process."""
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot() as running:
        yield running


class Taking:
    """What aiosmtpd does with a mail: it is kept."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        self.taken.append(envelope)
        return "250 taken"


@asynccontextmanager
async def account(server: Dovecot, folder: Path, *, smtp_url: str, **settings: Any) -> AsyncIterator[ImapBox]:
    """The provider over an account of its own at Dovecot."""
    user = f"u{uuid.uuid4().hex[:10]}"
    values: dict[str, Any] = {
        "provider": "imap",
        "database_url": f"sqlite+aiosqlite:///{folder / user}.db",
        "from_": "me@retinue.test",
        "smtp_url": smtp_url,
        "imap_url": server.url(user),
    }
    chosen = EmailSettings(**values | settings)
    store = MailStore(chosen.database_url)
    await store.open()
    provider, shut = over_mail_server(store.database, chosen)
    try:
        yield ImapBox(
            sender=chosen.from_,
            delivery={"send": "smtp", "draft": "imap"},
            server=server,
            user=user,
            provider=provider,
            outbox=Outbox(store.database),
        )
    finally:
        shut()
        await store.close()


@pytest.fixture
async def imap_box(mailbox_server: Dovecot, tmp_path: Path) -> AsyncIterator[ImapBox]:
    """An account at Dovecot, whose mails aiosmtpd takes."""
    handler = Taking()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    url = f"smtp://127.0.0.1:{controller.port}?starttls=false"
    async with account(mailbox_server, tmp_path, smtp_url=url) as box:
        box.sent = handler.taken
        yield box
    controller.stop()


@pytest.fixture
def own_box(mailbox: MailStore) -> OwnBox:
    return OwnBox(sender="me@retinue.example", delivery={"send": "own-store", "draft": "own-store"}, store=mailbox)


@pytest.fixture
def gmail_connection(emulators: Emulators) -> Connection:
    """An account at Google."""
    return google_connection(emulators)


@pytest.fixture
async def gmail_box(gmail_connection: Connection, tmp_path: Path) -> AsyncIterator[GmailBox]:
    """That account, emptied."""
    store = MailStore(f"sqlite+aiosqlite:///{tmp_path / 'gmail.db'}")
    await store.open()
    async with httpx.AsyncClient(timeout=20) as http:
        box = GmailBox(
            sender=gmail_connection.address,
            delivery={"send": "gmail", "draft": "gmail"},
            base=gmail_connection.endpoints["api"],
            token=gmail_connection.secret.get_secret_value(),
            store=store.database,
            http=http,
            provider=gmail.over(Access(gmail_connection), store.database, http=http),
        )
        await box.clear()
        yield box
    await store.close()


@pytest.fixture(params=["own", "imap", "gmail"])
def box(request: pytest.FixtureRequest) -> Box:
    """Each provider in turn."""
    found: Box = request.getfixturevalue(f"{request.param}_box")
    return found


def caller(tools: Capability) -> Call:
    """Run one tool as the activity of one step: `await call("send", {...}, step="s1")`."""
    by_name = activities_by_name(build_activities(tools))

    async def run(tool: str, arguments: dict[str, Any], *, step: str = "s1", workflow: str = "w1") -> dict[str, Any]:
        name = f"email.{tool}"
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, workflow_id=workflow, activity_id=step, activity_type=name)
        return await environment.run(by_name[name], arguments)

    return run


def filled(call: Call) -> Call:
    """Call a tool as a run does: first its reader fills in what is shown to a person, then it acts with that."""
    readers = {"reply": "prepare_reply", "forward": "prepare_forward", "send": "describe_attachments"}

    async def run(tool: str, arguments: dict[str, Any], **step: str) -> dict[str, Any]:
        known = {"message_id", "all", "with_attachments", "attachments"}
        found = await call(readers[tool], {name: arguments[name] for name in known & arguments.keys()})
        return await call(tool, found | arguments, **step)

    return run


def insisting(call: Call) -> Call:
    """Try a tool again as Temporal does: while what it says may pass."""

    async def run(tool: str, arguments: dict[str, Any], **step: str) -> dict[str, Any]:
        for _ in range(200):
            try:
                return await call(tool, arguments, **step)
            except ApplicationError as error:
                if error.non_retryable:
                    raise
            await asyncio.sleep(0.05)
        raise TimeoutError

    return run


@pytest.fixture
def call(box: Box) -> Call:
    return caller(box.tools())
