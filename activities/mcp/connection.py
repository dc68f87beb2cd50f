"""One session with an MCP server, shared by all calls of a worker; opened when needed and again after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextvars import Context
from typing import Any

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from activities.mcp.config import Server
from activities.mcp.http import FATE, MAX_BODY_BYTES, Fate, WatchedTransport, http_client
from activities.mcp.listing import LeftOut, mended
from activities.mcp.offers import MAX_NAME, MAX_TOOLS, OPENING
from activities.mcp.stdio import has_exited, stdio_transport
from retinue.errors import (
    InvalidArguments,
    OutcomeUnknown,
    RetinueError,
    ServiceRefused,
    ServiceUnavailable,
)
from retinue.network.connection_errors import unreachable
from retinue.network.service_client import wants_pause
from retinue.text import one_line

_MAX_PAGES = 20
_CLOSING = 8.0
_SENDING = 10.0
"""Seconds beyond a call's own time after which it is given up, whatever the SDK does."""
_LISTEN_AGAIN = 5.0
_WENT_WRONG = (
    *(MCPError, OSError, RuntimeError, ValueError, TimeoutError, ExceptionGroup, httpx2.HTTPError, httpx2.SSEError),
    *(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream),
)
"""What the SDK, its transports and a broken server end a session with."""
_TOO_MANY, _UNAVAILABLE = 429, 503
_log = logging.getLogger("retinue.mcp")


class SessionLost(ServiceUnavailable):
    """The server does not know our session any more. It did not act."""


class Failed(RetinueError):
    """The server answered that it failed, or answered nonsense. It may have acted; it is not asked again."""


class Session:
    """One session, held open by its own task, since the SDK's contexts must be exited by the task that entered them."""

    def __init__(self, name: str, server: Server, changed: asyncio.Event) -> None:
        self._name = name
        self._server = server
        self._changed = changed
        self.left_out = LeftOut()
        """Why tools of the last list cannot be used, by the server's own names."""
        self._over = asyncio.Event()
        self._process: Process | None = None
        self._wire = WatchedTransport()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        # its own context, not the first call's, whose outcome it would record
        self._task = asyncio.get_running_loop().create_task(self._hold(), context=Context())

    @property
    def over(self) -> bool:
        """Whether it ended, or is about to."""
        exited = self._process is not None and has_exited(self._process)
        return exited or self._over.is_set() or self._task.done()

    @property
    def version(self) -> str:
        """What the server says of its version, after a word: the registry must not take it for one of ours."""
        info = self._opened.result().server_info if self._opened.done() else None
        return one_line(f"mcp-{info.version if info and info.version else 1}", 40)

    async def ready(self) -> Client:
        """Return the client, once the server has greeted.

        Raises:
            ServiceUnavailable: It does not start, or does not answer.
        """
        try:
            async with asyncio.timeout(OPENING):
                return await asyncio.shield(self._opened)
        except TimeoutError:
            self._task.cancel()
            raise ServiceUnavailable(f"the MCP server {self._name} did not greet within {OPENING:.0f} s") from None
        except _WENT_WRONG as error:
            raise self._no_greeting(error) from None

    def _no_greeting(self, error: BaseException) -> RetinueError:
        name, wire = f"the MCP server {self._name}", self._wire
        if wire.unreachable is not None:
            return unreachable(wire.unreachable, name, hint="check `url` in its configuration")
        if wire.status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            return ServiceRefused(
                f"{name} refuses us (HTTP {wire.status})", hint="check `headers` in its configuration"
            )
        if wire.status is not None and wire.status >= httpx2.codes.BAD_REQUEST:
            hint = "check `url` in its configuration: its path, and https where the port is one of TLS"
            return ServiceUnavailable(f"{name} does not greet (HTTP {wire.status})", hint=hint)
        return ServiceUnavailable(f"{name} {_why(error)}")

    async def end(self) -> None:
        """End it, and with it a server that was started for it."""
        self._over.set()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.shield(self._task)
        self._task.cancel()

    async def _hold(self) -> None:
        try:
            async with self._client() as client:
                self._opened.set_result(client)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._listen, client)
                    await self._over.wait()
                    tasks.cancel_scope.cancel()
        except _WENT_WRONG as error:
            _log.info(
                "the session with an MCP server ended: %s", type(error).__name__, extra={"capability": self._name}
            )
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # mark it as retrieved, since there may be no waiter any more
        finally:
            self._over.set()
            self._changed.set()
            if not self._opened.done():
                self._opened.set_exception(TimeoutError())
                self._opened.exception()

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        async with contextlib.AsyncExitStack() as opened:
            if self._server.url is None:
                transport: Any = stdio_transport(self._server, self._over, self._started)
            else:
                http = await opened.enter_async_context(http_client(self._server, self._wire))
                transport = streamable_http_client(
                    self._server.url.get_secret_value(), http_client=http, max_sse_event_size=MAX_BODY_BYTES
                )
            client = Client(
                mended(transport, self.left_out),
                mode=self._server.protocol,
                cache=None,
                read_timeout_seconds=OPENING,
                client_info=Implementation(name="retinue", version="1"),
                message_handler=self._hear,
            )
            yield await opened.enter_async_context(client)

    def _started(self, process: Process) -> None:
        self._process = process

    async def _hear(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed.set()

    async def _listen(self, client: Client) -> None:
        """By the newest protocol a server tells of changes only on a stream that is asked for."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
            return
        while True:
            with contextlib.suppress(SubscriptionLost, *_WENT_WRONG):
                async with client.listen(tools_list_changed=True) as heard:
                    async for _ in heard:
                        self._changed.set()
            await asyncio.sleep(_LISTEN_AGAIN)

    async def tools(self) -> list[Tool]:
        """Return all tools, in the server's order; at most twice as many as a manifest holds.

        Raises:
            ServiceUnavailable: The server does not answer, or answers nonsense.
        """
        client = await self.ready()
        self.left_out.clear()
        found: list[Tool] = []
        cursor: str | None = None
        try:
            async with asyncio.timeout(OPENING):
                for _ in range(_MAX_PAGES):
                    page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
                    found += [tool for tool in page.tools if len(tool.name) <= MAX_NAME]
                    self.left_out.update(
                        {
                            tool.name[:MAX_NAME]: "its name is too long"
                            for tool in page.tools
                            if len(tool.name) > MAX_NAME
                        }
                    )
                    cursor = page.next_cursor
                    if cursor is None or len(found) >= 2 * MAX_TOOLS:
                        break
        except _WENT_WRONG as error:
            self._over.set()
            raise ServiceUnavailable(f"the MCP server {self._name} did not list its tools: {_why(error)}") from None
        return list({tool.name: tool for tool in found}.values())

    async def call(self, tool: str, arguments: dict[str, Any], *, changes: bool) -> CallToolResult:
        """Call one tool, once.

        Args:
            tool: The server's own name.
            arguments: Fit its schema.
            changes: Whether it changes something, so that a lost reply leaves the outcome in the dark.

        Raises:
            SessionLost: A new session is needed; nothing happened.
            Failed: The server answered that it failed.
            OutcomeUnknown: With `changes`: it was sent and no reply came.
            RetinueError: Of other types: nothing happened.
        """
        client = await self.ready()
        if self.over:
            raise SessionLost(f"the MCP server {self._name} ended")
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        fate = Fate(sent=self._server.url is None)
        noted = FATE.set(fate)
        try:
            async with asyncio.timeout(self._server.timeout_seconds + _SENDING):
                return await client.session.send_request(
                    request, CallToolResult, request_read_timeout_seconds=self._server.timeout_seconds
                )
        except MCPError as error:
            raise self._judged(error.code, fate, changes) from None
        except ValidationError:
            said = f"the answer of the MCP server {self._name} makes no sense"
            raise (OutcomeUnknown(f"{said}; nobody knows whether it was done") if changes else Failed(said)) from None
        except _WENT_WRONG:
            self._over.set()
            raise self._silent(fate, changes) from None
        finally:
            FATE.reset(noted)

    def _judged(self, code: int, fate: Fate, changes: bool) -> RetinueError:
        """What an error means for the call. The server's own words are left where they are."""
        status = fate.status
        if not fate.sent:
            name = f"the MCP server {self._name}"
            if fate.unreachable is not None:
                return unreachable(fate.unreachable, name, hint="check `url` in its configuration")
            return ServiceUnavailable(f"{name} cannot be reached")
        if status is not None and (status >= 300 or status == httpx2.codes.ACCEPTED):
            return self._judged_by_status(status, code, fate, changes)
        if code == REQUEST_TIMEOUT:
            return self._silent(fate, changes)
        if code == CONNECTION_CLOSED or (self._server.url is not None and status is None):
            return self._silent(fate, changes)
        if code in (METHOD_NOT_FOUND, INVALID_PARAMS):
            return InvalidArguments(f"the MCP server {self._name} does not take this call: no such tool, or not so")
        return Failed(f"the MCP server {self._name} failed (error {code})")

    def _judged_by_status(self, status: int, code: int, fate: Fate, changes: bool) -> RetinueError:
        name = f"the MCP server {self._name}"
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            return ServiceRefused(f"{name} refuses us (HTTP {status})", hint="check `headers` in its configuration")
        if status == _TOO_MANY or (status == _UNAVAILABLE and fate.pause is not None):
            return wants_pause(name, fate.pause or 60.0)
        if status == httpx2.codes.NOT_FOUND and code != METHOD_NOT_FOUND:
            self._over.set()
            return SessionLost(f"{name} has forgotten our session")
        if status >= 500 or status == httpx2.codes.ACCEPTED:
            return self._silent(fate, changes)
        if code == INVALID_PARAMS:
            return InvalidArguments(f"{name} does not take this call: no such tool, or not so")
        return ServiceRefused(f"{name} refuses the call (HTTP {status})")

    def _silent(self, fate: Fate, changes: bool) -> RetinueError:
        if fate.sent and changes:
            return OutcomeUnknown(f"the MCP server {self._name} gave no answer; nobody knows whether it was done")
        return ServiceUnavailable(f"the MCP server {self._name} gave no answer")


class Connection:
    """Sessions with one server, one at a time."""

    def __init__(self, name: str, server: Server) -> None:
        self._name = name
        self._server = server
        self._session: Session | None = None
        self.changed = asyncio.Event()
        """Set when the tools may be others than before."""

    async def session(self) -> Session:
        """Return the session, opened if there is none. Errors as for `Session.ready`."""
        if self._session is None or self._session.over:
            self._session = Session(self._name, self._server, self.changed)
        session = self._session
        await session.ready()
        return session

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.end()


def _why(error: BaseException) -> str:
    """Return the kind of the trouble; not its words, which may be the server's, or hold an address with a secret."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return "cannot be started: there is no such command or folder"
    if isinstance(error, MCPError):
        return f"does not greet (error {error.code})" if error.code != CONNECTION_CLOSED else "ended"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return f"cannot be reached: {type(error).__name__}"
