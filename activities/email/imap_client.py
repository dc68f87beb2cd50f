"""Connections to a mailbox server: bounded in time and size, each used from one thread at a time.

What the server says is not believed to be short, quick or well-formed. Its words never get into our errors.
"""

from __future__ import annotations

import asyncio
import imaplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from imap_tools import BaseMailBox
from imap_tools.errors import ImapToolsError, MailboxLoginError, UnexpectedCommandStatusError

from activities.email.incoming import MAX_BYTES
from activities.email.mailboxes import Mailboxes
from activities.email.servers import MailServer, Security
from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable

Result = TypeVar("Result")
_MOST_AT_ONCE = MAX_BYTES + 64 * 1024
_MOST_IN_ALL = 3 * MAX_BYTES
_PASSING = (b"[UNAVAILABLE]", b"[INUSE]", b"[SERVERBUG]", b"[LIMIT]", b"[CONTACTADMIN]")
_PRIVACY = b"[PRIVACYREQUIRED]"
_NO_ROOM = b"[OVERQUOTA]"

# What imaplib and imap-tools are known to raise for answers that break the grammar.
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, AssertionError)


class _Bounded(imaplib.IMAP4):
    """The standard library's client, which would read whatever length a server announces."""

    def __init__(self, known: list[imaplib.IMAP4], **where: Any) -> None:
        self._left = _MOST_IN_ALL
        known.append(self)  # before the greeting, which a server may dribble for ever
        super().__init__(**where)

    def read(self, size: int) -> bytes:
        """Read a literal of `size` bytes."""
        if size > _MOST_AT_ONCE:
            raise self.abort("literal too long")
        return self._counted(super().read(size))

    def readline(self) -> bytes:
        """Read one line; imap-tools bounds it at 20 MiB."""
        return self._counted(super().readline())

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise self.abort("answers too long")
        return content


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """The same over TLS from the first byte."""


class _Box(BaseMailBox):
    """imap-tools over a bounded client."""

    def __init__(self, server: MailServer, tls: ssl.SSLContext, known: list[imaplib.IMAP4], *, timeout: float) -> None:
        self._server, self._tls, self._known, self._timeout = server, tls, known, timeout
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        where = {"host": self._server.host, "port": self._server.port, "timeout": self._timeout}
        if self._server.security is Security.TLS:
            return _BoundedTls(self._known, ssl_context=self._tls, **where)
        client = _Bounded(self._known, **where)
        if self._server.security is Security.STARTTLS:
            self._encrypt(client)
        return client

    def _encrypt(self, client: imaplib.IMAP4) -> None:
        """Go on over TLS.

        Raises:
            ServiceRefused: The server does not offer it.
        """
        if "STARTTLS" not in client.capabilities:
            raise self._server.no_encryption()
        try:
            client.starttls(self._tls)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error:  # it offers it, and says no
            raise self._server.no_encryption() from None

    def log_in(self) -> None:
        """Log in, and query the server's capabilities again, since most reveal few before."""
        name, password = self._server.username, self._server.password
        (self.login if (name + password).isascii() else self.login_utf8)(name, password, initial_folder=None)
        _, answer = self.client.capability()
        words = answer[-1].decode("ascii", "replace").upper().split() if answer and answer[-1] else []
        self.client.capabilities = tuple(words)


class ImapSession:
    """One connection, logged in."""

    def __init__(self, threads: ThreadPoolExecutor, server: MailServer, tls: ssl.SSLContext, *, deadline: float):
        self._threads = threads
        self._server = server
        self._tls = tls
        self._deadline = deadline
        self._clients: list[imaplib.IMAP4] = []
        self._box: _Box | None = None
        self._closed = False

    async def do(self, work: Callable[[Mailboxes], Result]) -> Result:
        """Run blocking work on the connection in its thread.

        Raises:
            ServiceUnavailable: No answer in time, or one that makes no sense.
            ServiceRefused: Wrong password, no room, or it will not.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(running)
        except TimeoutError as error:
            raise self._server.unreachable(error) from None
        finally:
            if not running.done():
                # the thread cannot be cancelled, but it ends without its socket
                self.cut()
                running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def connect(self) -> None:
        """Log in, if that is not done yet. Errors as in `do`."""
        await self.do(lambda _: None)

    def cut(self) -> None:
        """Close the connection's socket, also during use."""
        self._closed = True
        for client in self._clients:
            with suppress(OSError, AttributeError):  # no socket yet: its making is bounded by itself
                client.sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Log out; blocking. A server that does not say goodbye is left without it."""
        if self._box is not None and not self._closed:
            with suppress(OSError, imaplib.IMAP4.error, ImapToolsError, *_NONSENSE):
                self._box.client.sock.settimeout(1)
                self._box.logout()

    def _run(self, work: Callable[[Mailboxes], Result]) -> Result:
        try:
            if self._closed:
                raise TimeoutError
            if self._box is None:
                self._box = self._connect()
            return work(Mailboxes(self._box))
        except RetinueError:
            raise
        except (ImapToolsError, imaplib.IMAP4.error, OSError, *_NONSENSE) as error:
            raise self._translated(error) from None

    def _connect(self) -> _Box:
        box = _Box(self._server, self._tls, self._clients, timeout=self._deadline)
        box.log_in()
        return box

    def _translated(self, error: Exception) -> RetinueError:
        name = self._server.name
        if isinstance(error, UnexpectedCommandStatusError):
            return self._refusal(error)
        if isinstance(error, OSError):
            return self._server.unreachable(error)
        if isinstance(error, imaplib.IMAP4.error) and not any(hasattr(one, "welcome") for one in self._clients):
            return self._server.silent_at_first()
        if any("BYE" in one.untagged_responses for one in self._clients):
            return ServiceUnavailable(f"{name} ended the connection")
        if isinstance(error, imaplib.IMAP4.abort):
            return ServiceUnavailable(f"{name} broke off in the middle of its answer")
        return ServiceUnavailable(f"{name} gave an answer that makes no sense: {type(error).__name__}")

    def _refusal(self, error: UnexpectedCommandStatusError) -> RetinueError:
        name, said = self._server.name, _said(error)
        if any(code in said for code in _PASSING):
            return ServiceUnavailable(f"{name} cannot do it at the moment")
        if _NO_ROOM in said:
            return ServiceRefused(f"{name} has no room left: the mailbox is full", hint="free some space there")
        if isinstance(error, MailboxLoginError):
            if _PRIVACY in said:
                return self._server.wants_encryption()
            return self._server.wrong_password()
        return ServiceRefused(f"{name} refused it")


class ImapServer:
    """The mailbox server: sessions on its own small pool of threads."""

    def __init__(self, server: MailServer, tls: ssl.SSLContext, *, deadline: float = 25, threads: int = 4) -> None:
        """Keep where it is; connections are made when they are needed.

        Args:
            server: Where, and as whom.
            tls: The certificates that count.
            deadline: Seconds that one piece of work in a session may take.
            threads: Connections that work at the same time.
        """
        self._server = server
        self._tls = tls
        self._deadline = deadline
        self._threads = ThreadPoolExecutor(threads, "imap")

    @asynccontextmanager
    async def session(self, *, deadline: float | None = None) -> AsyncIterator[ImapSession]:
        """Yield one connection, made by the first work and closed at the end."""
        session = ImapSession(self._threads, self._server, self._tls, deadline=deadline or self._deadline)
        try:
            yield session
        finally:
            self._threads.submit(session.leave)

    async def do(self, work: Callable[[Mailboxes], Result], *, deadline: float | None = None) -> Result:
        """Run one piece of work in a new session. Errors as in `ImapSession.do`."""
        async with self.session(deadline=deadline) as session:
            return await session.do(work)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _said(error: UnexpectedCommandStatusError) -> bytes:
    """Return the server's words, for their codes only."""
    data = error.command_result[1] if len(error.command_result) > 1 else []
    return b" ".join(piece for piece in data or [] if isinstance(piece, bytes)).upper()
