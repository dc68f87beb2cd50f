"""Events as server-sent events over one HTTP answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.events.broker import Reader
from api.events.model import Event

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = 15.0
"""Seconds between keep-alive comments."""
LIFE = 15 * 60.0
"""Longest duration of a stream in seconds. The reader then reconnects and authenticates again."""
SEND = 30.0
"""Seconds without reading after which the connection is dropped; the reader may resume."""
_RETRY = 2000
"""Milliseconds after which a browser reconnects."""
_HELLO = format_sse_event(retry=_RETRY)
_ALIVE = format_sse_event(comment="alive")
_AWAY = format_sse_event(comment="Temporal does not answer; the stream continues when it does", retry=_RETRY)
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

OpenReader = Callable[[], AbstractAsyncContextManager[Reader]]


class EventStream(Response):
    """The HTTP answer. It buffers nothing, and ends when the reader leaves or the run ends."""

    media_type = MEDIA_TYPE

    def __init__(self, opened: OpenReader) -> None:
        super().__init__(headers=_HEADERS, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the run has ended, or the reader leaves or stops reading."""
        writing = asyncio.create_task(self._write(send))
        going = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({writing, going}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, going):
                task.cancel()
            await asyncio.gather(writing, going, return_exceptions=True)
        if not writing.cancelled():
            writing.result()

    async def _write(self, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with self._opened() as reader:
                async for chunk in _chunks(reader):
                    async with asyncio.timeout(SEND):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, TimeoutError):
            return  # the reader left


async def _chunks(reader: Reader) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    until = now() + LIFE
    yield _HELLO
    while now() < until:
        events = await reader.read(HEARTBEAT)
        for event in events:
            yield encoded(event)
        if reader.over:
            return
        if not events:
            yield _ALIVE if reader.reachable else _AWAY


def encoded(event: Event) -> bytes:
    """Return one event in wire format: its kind, its data as one line of JSON, and its id."""
    data = event.model_dump_json(include={"data"})
    return format_sse_event(event=event.kind, data_str=data.removeprefix('{"data":').removesuffix("}"), id=event.id)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
