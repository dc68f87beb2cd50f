"""Connections to a mailbox server: bounded in time and size, each used from one thread at a time.

What the server says is not believed to be short, quick or well-formed. Its words never get into our errors.
"""

from __future__ import annotations

import asyncio
import imaplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from imap_tools import BaseMailBox
from imap_tools.errors import ImapToolsError, MailboxLoginError, UnexpectedCommandStatusError

from activities.email.bearer import mechanism
from activities.email.incoming import MAX_BYTES
from activities.email.mailboxes import Mailboxes
from activities.email.servers import MailServer, Renew, Security, SignInRefused, instead_of
from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable
from retinue.runtime import telemetry

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

    def __init__(self, known: list[imaplib.IMAP4], addresses: Sequence[str], **where: Any) -> None:
        self._addresses = addresses
        self._left = _MOST_IN_ALL
        known.append(self)  # before the greeting, which a server may dribble for ever
        super().__init__(**where)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if self._addresses:
            return _connected(self._addresses, self.port, timeout)
        return super()._create_socket(timeout)  # type: ignore[misc,no-any-return]  # typeshed does not know this method of imaplib

    def read(self, size: int) -> bytes:
        """Read a literal of `size` bytes."""
        if size > _MOST_AT_ONCE:
            raise self.abort("literal too long")
        return self._counted(super().read(size))

    def readline(self) -> bytes:
        """Read one line; imap-tools bounds it at 20 MiB."""
        return self._counted(super().readline())

    def refill(self) -> None:
        """Count from nothing again: another piece of work begins."""
        self._left = _MOST_IN_ALL

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise self.abort("answers too long")
        return content


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """The same over TLS from the first byte."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if self._addresses:
            plain = _connected(self._addresses, self.port, timeout)
            wrapped: socket.socket = self.ssl_context.wrap_socket(plain, server_hostname=self.host)
            return wrapped
        return super()._create_socket(timeout)


def _connected(addresses: Sequence[str], port: int, timeout: float | None) -> socket.socket:
    """Return a connection to the first of some addresses that accepts one."""
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


class _Box(BaseMailBox):
    """imap-tools over a bounded client."""

    def __init__(
        self,
        server: MailServer,
        tls: ssl.SSLContext,
        known: list[imaplib.IMAP4],
        *,
        addresses: Sequence[str],
        timeout: float,
    ) -> None:
        self._addresses = addresses
        self._server, self._tls, self._known, self._timeout = server, tls, known, timeout
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        where = {"host": self._server.host, "port": self._server.port, "timeout": self._timeout}
        if self._server.security is Security.TLS:
            return _BoundedTls(self._known, self._addresses, ssl_context=self._tls, **where)
        client = _Bounded(self._known, self._addresses, **where)
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
        if self._server.bearer:
            self._show_token()
        else:
            self._show_password()
        _, answer = self.client.capability()
        words = answer[-1].decode("ascii", "replace").upper().split() if answer and answer[-1] else []
        self.client.capabilities = tuple(words)

    def answers(self) -> bool:
        """Whether the server still answers on this connection, which gets the whole limit of bytes again."""
        with suppress(OSError, imaplib.IMAP4.error, *_NONSENSE):
            if isinstance(self.client, _Bounded):
                self.client.refill()
            return bool(self.client.noop()[0] == "OK")
        return False

    def _show_password(self) -> None:
        name, password = self._server.username, self._server.password
        (self.login if (name + password).isascii() else self.login_utf8)(name, password, initial_folder=None)

    def _show_token(self) -> None:
        offered = {each.removeprefix("AUTH=") for each in self.client.capabilities if each.startswith("AUTH=")}
        way = mechanism(self._server, offered)
        said = iter((way.initial, way.farewell))  # the second answers the challenge that describes an error
        try:
            self.client.authenticate(way.name, lambda _: next(said, None))
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            refused = ("NO", [str(error).encode("ascii", "replace")])
            raise MailboxLoginError(command_result=refused, expected="OK") from None


class ImapSession:
    """One connection, logged in."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        server: MailServer,
        tls: ssl.SSLContext,
        *,
        deadline: float,
        renew: Renew | None = None,
    ) -> None:
        self.server = server
        self._threads = threads
        self._tls = tls
        self._deadline = deadline
        self._renew = renew
        self._clients: list[imaplib.IMAP4] = []
        self._box: _Box | None = None
        self._addresses: list[str] = []
        self._closed = False
        self._doubtful = False

    @property
    def lasts(self) -> bool:
        """Whether the connection can be used for other work afterwards."""
        return self._box is not None and not self._closed

    async def do(self, work: Callable[[Mailboxes], Result]) -> Result:
        """Run blocking work on the connection in its thread.

        Raises:
            ServiceUnavailable: No answer in time, or one that makes no sense.
            ServiceRefused: Wrong password, no room, or it will not.
            AccountDisconnected: The server refuses the account, and another token too.
        """
        while True:  # ends, since nobody gets more than one other token
            try:
                return await self._do(work)
            except SignInRefused as refused:
                self.server = await instead_of(self.server, refused, self._renew)

    async def connect(self) -> None:
        """Log in, if that is not done yet. Errors as in `do`."""
        await self.do(lambda _: None)

    def resume(self, *, deadline: float, renew: Renew | None) -> None:
        """Prepare for other work: the server may have ended the connection meanwhile."""
        self._deadline, self._renew, self._doubtful = deadline, renew, True

    def cut(self) -> None:
        """Close the connection's socket, also during use."""
        self._closed = True
        self._shut()

    def leave(self) -> None:
        """Log out; blocking. A server that does not say goodbye is left without it."""
        if self._box is not None and not self._closed:
            with suppress(OSError, imaplib.IMAP4.error, ImapToolsError, *_NONSENSE):
                self._box.client.sock.settimeout(1)
                self._box.logout()

    async def _do(self, work: Callable[[Mailboxes], Result]) -> Result:
        if self._box is None or self._doubtful:
            await self._look_up()
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)
        try:
            with telemetry.span("IMAP", outgoing=True, peer__service="the mailbox's server"):
                async with asyncio.timeout(self._deadline):
                    return await asyncio.shield(running)
        except TimeoutError as error:
            raise self.server.unreachable(error) from None
        finally:
            if not running.done():
                # the thread cannot be cancelled, but it ends without its socket
                self.cut()
                running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def _look_up(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                self._addresses = await self.server.addresses()
        except TimeoutError as error:
            raise self.server.unreachable(error) from None

    def _run(self, work: Callable[[Mailboxes], Result]) -> Result:
        try:
            if self._closed:
                raise TimeoutError
            if self._doubtful:
                self._drop_if_dead()
            if self._box is None:
                self._box = self._connect()
            return work(Mailboxes(self._box))
        except RetinueError:
            raise
        except (ImapToolsError, imaplib.IMAP4.error, OSError, *_NONSENSE) as error:
            refusal = self._translated(error)
            if not isinstance(refusal, ServiceRefused):
                self.cut()
            raise refusal from None

    def _connect(self) -> _Box:
        self._shut()  # what an earlier try to sign in has left
        self._clients.clear()
        box = _Box(self.server, self._tls, self._clients, addresses=self._addresses, timeout=self._deadline)
        box.log_in()
        return box

    def _drop_if_dead(self) -> None:
        self._doubtful = False
        if isinstance(self._box, _Box) and not self._box.answers():
            self._box = None

    def _shut(self) -> None:
        for client in self._clients:
            with suppress(OSError, AttributeError):  # no socket yet: its making is bounded by itself
                client.sock.shutdown(socket.SHUT_RDWR)

    def _translated(self, error: Exception) -> RetinueError:
        name = self.server.name
        if isinstance(error, UnexpectedCommandStatusError):
            return self._refusal(error)
        if isinstance(error, OSError):
            return self.server.unreachable(error)
        if isinstance(error, imaplib.IMAP4.error) and not any(hasattr(one, "welcome") for one in self._clients):
            return self.server.silent_at_first()
        if any("BYE" in one.untagged_responses for one in self._clients):
            return ServiceUnavailable(f"{name} ended the connection")
        if isinstance(error, imaplib.IMAP4.abort):
            return ServiceUnavailable(f"{name} broke off in the middle of its answer")
        return ServiceUnavailable(f"{name} gave an answer that makes no sense: {type(error).__name__}")

    def _refusal(self, error: UnexpectedCommandStatusError) -> RetinueError:
        name, said = self.server.name, _said(error)
        if any(code in said for code in _PASSING):
            return ServiceUnavailable(f"{name} cannot do it at the moment")
        if _NO_ROOM in said:
            return ServiceRefused(f"{name} has no room left: the mailbox is full", hint="free some space there")
        if isinstance(error, MailboxLoginError):
            if _PRIVACY in said:
                return self.server.wants_encryption()
            return self.server.wrong_password()
        return ServiceRefused(f"{name} refused it")


class ImapPool:
    """The threads of connections, and connections that stay logged in for a short while after their work.

    One per process: it bounds what all accounts together use. A connection is used again for the same account, server and
    secret only.
    """

    def __init__(self, *, threads: int = 4, idle: int = 0, idle_seconds: float = 60) -> None:
        """Open nothing yet.

        Args:
            threads: Connections that work at the same time.
            idle: Connections that may wait for other work.
            idle_seconds: How long they wait.
        """
        self.threads = ThreadPoolExecutor(threads, "imap")
        self._most = idle
        self._seconds = idle_seconds
        self._waiting: dict[ImapSession, asyncio.TimerHandle] = {}

    def take(self, server: MailServer) -> ImapSession | None:
        """Return a connection of that account that waits, or None."""
        session = next((each for each in self._waiting if each.server == server), None)
        if session is not None:
            self._waiting.pop(session).cancel()
        return session

    def put(self, session: ImapSession) -> None:
        """Let a connection wait for other work, or end it; the one that waits longest goes first."""
        if not self._most or not session.lasts:
            self.threads.submit(session.leave)
            return
        if len(self._waiting) >= self._most:
            self._end(next(iter(self._waiting)))
        self._waiting[session] = asyncio.get_running_loop().call_later(self._seconds, self._end, session)

    def close(self) -> None:
        """Take no more work, and cut what waits."""
        for session, handle in self._waiting.items():
            handle.cancel()
            session.cut()
        self._waiting.clear()
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _end(self, session: ImapSession) -> None:
        self._waiting.pop(session).cancel()
        self.threads.submit(session.leave)


class ImapServer:
    """The mailbox server, for one account."""

    def __init__(
        self,
        server: MailServer,
        tls: ssl.SSLContext,
        *,
        deadline: float = 25,
        pool: ImapPool | None = None,
        renew: Renew | None = None,
    ) -> None:
        """Keep where it is; connections are made when they are needed.

        Args:
            server: Where, and as whom.
            tls: The certificates that count.
            deadline: Seconds that one piece of work in a session may take.
            pool: Of the process, which closes it; None: threads for this account alone, and no connection waits.
            renew: Gives another secret where the server refuses one.
        """
        self._server = server
        self._tls = tls
        self._deadline = deadline
        self._pool = pool or ImapPool()
        self._renew = renew

    @asynccontextmanager
    async def session(self, *, deadline: float | None = None) -> AsyncIterator[ImapSession]:
        """Yield one connection, made by the first work or used before."""
        seconds = deadline or self._deadline
        session = self._pool.take(self._server)
        if session is None:
            session = ImapSession(self._pool.threads, self._server, self._tls, deadline=seconds, renew=self._renew)
        else:
            session.resume(deadline=seconds, renew=self._renew)
        try:
            yield session
        finally:
            self._server = session.server  # with another secret, if that was refused
            self._pool.put(session)

    async def do(self, work: Callable[[Mailboxes], Result], *, deadline: float | None = None) -> Result:
        """Run one piece of work in a session. Errors as in `ImapSession.do`."""
        async with self.session(deadline=deadline) as session:
            return await session.do(work)

    def close(self) -> None:
        """Take no more work."""
        self._pool.close()


def _said(error: UnexpectedCommandStatusError) -> bytes:
    """Return the server's words, for their codes only."""
    data = error.command_result[1] if len(error.command_result) > 1 else []
    return b" ".join(piece for piece in data or [] if isinstance(piece, bytes)).upper()
