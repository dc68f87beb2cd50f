"""The stdio transport: a server as a child process, one JSON message a line.

The SDK's own transport reads lines of any length. This one bounds them, tells when the process ends, and keeps the
process' standard error out of our log, where strangers' words and secrets have no place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from activities.mcp.config import Server

MAX_LINE_BYTES = 12 * 1024 * 1024
"""An answer of 3 MiB often takes 6: once as text and once as structured content."""
_GRACE = 2.0
"""Seconds that the process may take to end after its input closes, and again after a signal."""

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


@contextlib.asynccontextmanager
async def stdio_transport(
    server: Server, over: asyncio.Event, started: Callable[[Process], None]
) -> AsyncIterator[Streams]:
    """Start the server's command and speak with it; it and its children are gone at the end.

    Args:
        server: With `command`, its variables replaced.
        over: Set when the process no longer speaks or listens.
        started: Called with the process before anything is said to it.

    Raises:
        OSError: The command cannot be started.
    """
    process = await _started(server)
    started(process)
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, process, incoming, over)
            tasks.start_soon(_speak, process, outgoing, over)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)
                tasks.cancel_scope.cancel()
    finally:
        for stream in (incoming, read, write, outgoing):
            stream.close()


def has_exited(process: Process) -> bool:
    """Whether the process ended, also where the event loop has not heard of it yet."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # reaped, and about to be told
        return True


async def _started(server: Server) -> Process:
    assert server.command is not None
    with contextlib.ExitStack() as opened:
        errors = opened.enter_context(server.stderr_file.open("ab")) if server.stderr_file else DEVNULL
        return await asyncio.create_subprocess_exec(
            server.command.get_secret_value(),
            *(argument.get_secret_value() for argument in server.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            env=get_default_environment() | {name: value.get_secret_value() for name, value in server.env.items()},
            cwd=server.cwd.get_secret_value() if server.cwd else None,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
        )


async def _listen(process: Process, incoming: Incoming, over: asyncio.Event) -> None:
    """Pass messages on until the process closes its output, or says more in one line than anybody may."""
    assert process.stdout is not None
    async with incoming:
        with contextlib.suppress(ValueError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while line := await process.stdout.readline():
                with contextlib.suppress(ValueError):  # what is no message, programs print to their log
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await incoming.send(SessionMessage(message))
        over.set()


async def _speak(process: Process, outgoing: MemoryObjectReceiveStream[SessionMessage], over: asyncio.Event) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        async with outgoing:
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(f"{text}\n".encode())
                await process.stdin.drain()
    over.set()


async def _end(process: Process) -> None:
    """Close its input, wait, then end it and whatever it started."""
    assert process.stdin is not None
    process.stdin.close()
    if not await _ended(process):
        _signal(process, signal.SIGTERM)
        await _ended(process)
    _signal(process, signal.SIGKILL)
    await _ended(process)


async def _ended(process: Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await process.wait()
    return process.returncode is not None


def _signal(process: Process, number: signal.Signals) -> None:
    """To its whole group, whose number is that of its first process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
