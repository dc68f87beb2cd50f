"""A TCP proxy whose connections can be refused, cut or silenced."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Literal

Fault = Literal["refuse", "silence", "reset"]
_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""Makes the kernel send RST when the socket is closed."""


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._fault: Fault | None = None
        self._heals = asyncio.Event()
        self._heals.set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        self._server.close()
        self._cut()

    def fail(self, fault: Fault) -> None:
        """Refuse new connections and cut the open ones, swallow all bytes, or reset all connections once."""
        if fault in ("refuse", "reset"):
            self._cut()
        if fault != "reset":
            self._fault = fault
            self._heals.clear()

    def heal(self) -> None:
        """Forward again. What was swallowed is lost, so its connections are cut."""
        if self._fault == "silence":
            self._cut()
        self._fault = None
        self._heals.set()

    def _cut(self) -> None:
        for writer in self._open:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault == "refuse":
            writer.transport.abort()
            return
        self._open.add(writer)
        with contextlib.suppress(OSError):
            await self._heals.wait()
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(onward)
            await asyncio.gather(self._forward(reader, onward), self._forward(onward_reader, writer))
        self._open.discard(writer)
        writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self._fault != "silence":
                    writer.write(chunk)
                    await writer.drain()
        self._open.discard(writer)
        writer.transport.abort()
