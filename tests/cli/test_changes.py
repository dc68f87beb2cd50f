"""Watching by events: a look when something happened, by the clock where there are no events to be had."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse

from cli import changes
from cli.changes import Changes
from retinue.client import Client
from retinue.testing import serving

EVENT = 'id: 1\nevent: step\ndata: {"id": "s1"}\n\n'


@dataclass
class Door:
    """An API whose stream tells an event whenever `happens` is set."""

    url: str = ""
    has_events: bool = True
    happens: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0

    async def stream(self) -> AsyncIterator[str]:
        self.readers += 1
        try:
            while True:
                await self.happens.wait()
                self.happens.clear()
                yield EVENT
        finally:
            self.readers -= 1


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    app, kept = FastAPI(), Door()
    monkeypatch.setattr(changes, "_LOOK", 30.0)

    @app.get("/v1/assistants/a-1/events")
    async def events() -> Response:
        return StreamingResponse(kept.stream()) if kept.has_events else JSONResponse({"detail": "none"}, 404)

    async with serving(app) as kept.url:
        yield kept


@pytest.fixture
def watched(door: Door) -> Iterator[Changes]:
    with Client(door.url, "", retries=0) as client:
        listening = Changes(client, "a-1")
        yield listening
        listening.close()


async def _waited(watched: Changes) -> float:
    began = time.monotonic()
    await asyncio.to_thread(watched.wait)
    return time.monotonic() - began


async def test_an_event_ends_the_wait_and_nothing_else_does(door: Door, watched: Changes) -> None:
    door.happens.set()
    while not watched.by_events:
        await _waited(watched)
    waiting = asyncio.create_task(_waited(watched))
    assert await asyncio.wait([waiting], timeout=3 * changes.POLL) == (set(), {waiting})
    door.happens.set()
    assert await waiting < 20


async def test_without_events_the_clock_ends_the_wait(door: Door, watched: Changes) -> None:
    door.has_events = False
    assert sum([await _waited(watched) for _ in range(3)]) < 20
    assert not watched.by_events


async def test_nobody_listens_after_the_end(door: Door, watched: Changes) -> None:
    door.happens.set()
    while not watched.by_events:
        await _waited(watched)
    await asyncio.to_thread(watched.close)
    assert "events" not in {thread.name for thread in threading.enumerate()}
    while door.readers:  # noqa: ASYNC110  # the server is told by a closed connection
        await asyncio.sleep(0.01)
