"""Real mail servers for tests, on loopback: Debian's Dovecot as the mailbox, and an SMTP sink that does as it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import grp
import imaplib
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.temporal_server import free_port

_DOVECOT = shutil.which("dovecot") or next(iter(map(str, Path("/usr/sbin").glob("dovecot"))), None)
DOVECOT = _DOVECOT if Path("/usr/lib/dovecot/imap").exists() else None
"""The server's program; none where only the core package is there, which serves no IMAP."""
NO_DOVECOT = "Debian package dovecot-imapd is not installed: apt-get install dovecot-imapd"
PASSWORD = "canary-5f2e"  # of accounts that live as long as a test

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {user}
mail_gid = {group}
mail_home = {folder}/homes/%u
mail_location = maildir:{folder}/mail/%u
mail_plugins = quota
mail_max_userip_connections = 100
disable_plaintext_auth = no
ssl = {ssl}
ssl_cert = <{cert}
ssl_key = <{key}
auth_failure_delay = 0
auth_mechanisms = plain login {mechanisms}
{token_passdb}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = home={folder}/homes/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Entwürfe {{
    special_use = \\Drafts
    auto = create
  }}
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage={quota}
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  process_min_avail = 1
  service_count = 0
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 100
}}
imap_capability = {capability}
"""


_TOKEN_PASSDB = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf.ext
}}
"""
_TOKENS = """\
introspection_mode = post
introspection_url = {introspection}
force_introspection = yes
username_attribute = sub
active_attribute = active
active_value = true
"""


def certificates(folder: Path, *, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate for this machine that is its own authority, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName("mail.test")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@contextlib.contextmanager
def dovecot(**fields: Any) -> Iterator[Dovecot]:
    """A Dovecot while the block runs, in a folder of its own: pytest's are closed to other accounts."""
    with tempfile.TemporaryDirectory(prefix="dovecot-") as folder:
        running = Dovecot(Path(folder), **fields)
        running.start()
        try:
            yield running
        finally:
            running.stop()


@dataclass
class Dovecot:
    """One Dovecot with every user there is: each test takes a name of its own."""

    folder: Path
    quota: str = "1G"
    ssl: str = "yes"
    capability: str = ""
    """Empty: Dovecot's own; else what it says instead."""
    introspection: str = ""
    """Where an authority says whose access token it is; empty: passwords only."""
    mechanisms: str = "xoauth2 oauthbearer"
    """Those for tokens."""
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)

    def start(self) -> None:
        assert DOVECOT is not None
        self.cert, key = certificates(self.folder)
        user, group = _account()
        for path in (self.folder, self.cert, key):
            shutil.chown(path, user, group)
        (self.folder / "oauth2.conf.ext").write_text(_TOKENS.format(introspection=self.introspection))
        config = self.folder / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                folder=self.folder,
                user=user,
                group=group,
                ssl=self.ssl,
                cert=self.cert,
                key=key,
                password=PASSWORD,
                mechanisms=self.mechanisms if self.introspection else "",
                token_passdb=_TOKEN_PASSDB.format(folder=self.folder) if self.introspection else "",
                quota=self.quota,
                capability=self.capability,
                port=self.port,
                tls_port=self.tls_port,
            ).replace("imap_capability = \n", "")
        )
        with (self.folder / "stderr").open("wb") as output:
            self.process = subprocess.Popen(
                [DOVECOT, "-F", "-c", str(config)], stdout=output, stderr=output, **_as(user, group)
            )
        deadline = time.monotonic() + 20
        while not _answers(self.port):
            assert self.process.poll() is None, self._says()
            assert time.monotonic() < deadline, self._says()
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def url(self, user: str, *, password: str = PASSWORD, tls: bool = False) -> str:
        if tls:
            return f"imaps://{user}:{password}@127.0.0.1:{self.tls_port}"
        return f"imap://{user}:{password}@127.0.0.1:{self.port}?starttls=false"

    @contextlib.contextmanager
    def account(self, user: str) -> Iterator[imaplib.IMAP4]:
        """A connection of a test's own, to put mails there and to look."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        try:
            client.login(user, PASSWORD)
            yield client
        finally:
            client.logout()

    def deliver(self, user: str, content: bytes, *, mailbox: str = "INBOX", seen: bool = False) -> None:
        """Put a mail there; it arrived when its Date says, or now."""
        written = message_from_bytes(content).get("Date")
        arrived = f'"{_internal_date(written)}"' if written else None
        with self.account(user) as client:
            client.create(mailbox)
            answer = client.append(mailbox, r"(\Seen)" if seen else None, arrived, content)
            assert answer[0] == "OK", answer

    def mails(self, user: str, mailbox: str) -> list[bytes]:
        """The mails of one mailbox, whole."""
        with self.account(user) as client:
            if client.select(mailbox, readonly=True)[0] != "OK":
                return []
            answer = client.fetch("1:*", "(BODY.PEEK[])")[1] if int(client.response("EXISTS")[1][0] or 0) else []
            return [piece[1] for piece in answer if isinstance(piece, tuple)]

    def _says(self) -> str:
        log = self.folder / "dovecot.log"
        return (self.folder / "stderr").read_text()[-2000:] + (log.read_text()[-2000:] if log.exists() else "")


def _account() -> tuple[str, str]:
    """Whom Dovecot runs as. It keeps no mail for root, so root's tests use the account that its package made."""
    if os.geteuid() == 0:
        return "dovecot", "dovecot"
    return pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name


def _as(user: str, group: str) -> dict[str, Any]:
    return {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 else {}


def _internal_date(written: str) -> str:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(written).strftime("%d-%b-%Y %H:%M:%S %z")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.settimeout(1)
        return connection.recv(20).startswith(b"* OK")
    return False


class HangUpError(Exception):
    """A sink's hook closes the connection at this point."""


@dataclass
class Conversation:
    """One SMTP connection as the sink sees it."""

    user: str = ""
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""


Hook = Callable[[str, Conversation], Awaitable[str | None]]


async def _agree(point: str, conversation: Conversation) -> str | None:
    return None


@dataclass
class Sink:
    """An SMTP server that keeps what it takes. At every point a hook may wait, answer otherwise or hang up.

    Points: `greeting`, `EHLO`, `AUTH`, `MAIL`, `RCPT`, `DATA`, `body` (some of the mail is here, its end is not), `dot`
    (the whole mail is here; it counts as taken unless the hook answers a refusal), `replied` (the answer is out).
    """

    hook: Hook = _agree
    password: str = PASSWORD
    extensions: tuple[str, ...] = ("SIZE 20000000", "8BITMIME", "AUTH PLAIN")
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    port: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self.port, limit=32 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()

    def url(self, user: str = "me", *, password: str = PASSWORD) -> str:
        return f"smtp://{user}:{password}@127.0.0.1:{self.port}?starttls=false"

    def ids(self) -> list[str]:
        """The Message-IDs of what was taken, in order."""
        return [message_from_bytes(content)["Message-ID"] for _, content in self.taken]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation()
        with contextlib.suppress(HangUpError, OSError, asyncio.IncompleteReadError):
            await self._say(writer, await self.hook("greeting", conversation) or "220 sink")
            while line := await reader.readline():
                verb = line.split()[0].decode().upper().partition(":")[0] if line.split() else ""
                if verb == "QUIT":
                    break
                await self._answer(verb, line.decode().strip(), conversation, reader, writer)
        writer.close()

    async def _answer(
        self,
        verb: str,
        line: str,
        conversation: Conversation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if verb == "AUTH":
            _, conversation.user, password = base64.b64decode(line.split()[-1]).decode().split("\0")
        if verb == "RCPT":
            conversation.recipients.append(line.partition("<")[2].partition(">")[0])
        said = await self.hook(verb, conversation)
        if verb == "EHLO":
            said = said or "250-sink\r\n" + "\r\n".join(f"250-{name}" for name in self.extensions) + "\r\n250 HELP"
        elif verb == "AUTH":
            said = said or ("235 welcome" if password == self.password else "535 no")
        elif verb == "DATA" and said is None:
            await self._say(writer, "354 go on")
            await self._take(conversation, reader, writer)
            return
        await self._say(writer, said or "250 fine")

    async def _take(
        self, conversation: Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        told = False
        lines = []
        while (line := await reader.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
            if not told:
                told = True
                await self.hook("body", conversation)
        if not line:
            raise HangUpError
        conversation.content = b"".join(lines)
        said = await self._at_dot(conversation)
        await self._say(writer, said)
        await self.hook("replied", conversation)

    async def _at_dot(self, conversation: Conversation) -> str:
        """What is refused was not taken; what is met by silence was."""
        try:
            said = await self.hook("dot", conversation)
        except HangUpError:
            self.taken.append((conversation.recipients, conversation.content))
            raise
        if said is None:
            self.taken.append((conversation.recipients, conversation.content))
        return said or "250 taken"

    async def _say(self, writer: asyncio.StreamWriter, words: str) -> None:
        writer.write(words.encode() + b"\r\n")
        await writer.drain()


@contextlib.asynccontextmanager
async def sink(**fields: Any) -> AsyncIterator[Sink]:
    """A sink while the block runs."""
    running = Sink(**fields)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
