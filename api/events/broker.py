"""Broadcasts runs: all readers of one run share one follower, and each gets what is new to it.

A reader has no queue. It gets the difference between the run's current state and its last one, so a slow reader skips
states in between, uses no memory, and never misses the current state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus

from api.events.cursor import EventCursor, beginning, parse_event_id
from api.events.drafts import DraftCursor, RunDraft
from api.events.model import Event
from api.events.run_source import AWAY, RunSource
from api.events.snapshot import RunSnapshot, diff_events
from api.services.runs import Runs
from api.storage.idempotency import IdempotencyKeys
from retinue.errors import NotFound, TooMany

MAX_STREAMS = 50
"""Maximum streams of one person in one process."""
_QUIET = (1.0, 15.0)
"""First and longest interval in seconds between reads of a run that works without new history."""
_WRITING = 0.3
"""Seconds between reads of a text while a model writes it."""
_RECONNECT = (0.5, 5.0)
IDLE_TTL = 5.0
"""Seconds for which a run is followed after its last reader left: most lost connections return."""
_log = logging.getLogger("retinue.events")


class RunBroadcaster:
    """Follows one run for all its readers.

    Attributes:
        picture: The run's last state; None before the first read.
        reachable: False while Temporal does not answer.
        gone: Whether the run is no longer stored.
    """

    def __init__(self, source: RunSource) -> None:
        self.snapshot: RunSnapshot | None = None
        self.reachable = True
        self.gone = False
        self.readers = 0
        self._looks = 0
        self._shown = 0
        self._source = source
        self._news = asyncio.Event()

        self._task = asyncio.create_task(self._follow(), name=f"follow {source.assistant_id}")

    @property
    def texts(self) -> list[RunDraft]:
        """Return the texts that models are writing at the moment."""
        return self._source.texts

    @property
    def done(self) -> bool:
        """Return whether the follower has stopped: the run has ended, or an internal error occurred."""
        return self._task.done()

    @property
    def stopped(self) -> bool:
        """Return whether there is nothing more to read: the run is no longer stored, or the process shuts down."""
        return self.gone or self._task.cancelled()

    def stop(self) -> asyncio.Task[None]:
        """Stop following. The task ends a little later."""
        self._task.cancel()
        return self._task

    def request_refresh(self) -> int:
        """Request a read that has not started yet; return its number for `shows`.

        The first read needs no request: it follows the history, so that an ended run is not queried.
        """
        if self._looks:
            self._source.moved.set()
        return self._looks + 1

    def shows(self, look: int) -> bool:
        """Return whether the current state is of that read, or of a later one."""
        return self._shown >= look

    async def news(self) -> None:
        """Return at the next change.

        Raises:
            BaseException: An internal error stopped the follower; its readers stop, too.
        """
        if self._task.done():
            self._task.cancelled() or self._task.result()
            return
        waiting = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def _follow(self) -> None:
        """Follow until the run has ended, over all outages of Temporal."""
        pause = _RECONNECT[0]
        while not (self.gone or (self.snapshot and self.snapshot.ended)):
            try:
                await self._follow_connected()
            except NotFound:
                self.gone = True
                self._notify()
            except AWAY as error:
                pause = pause * 2 if not self.reachable else _RECONNECT[0]
                self._lost(error)
                await asyncio.sleep(min(pause, _RECONNECT[1]))

    def _lost(self, error: BaseException) -> None:
        if self.reachable:
            _log.warning("a run cannot be followed for now: %s", type(error).__name__)
        self.reachable = False
        self._notify()

    async def _follow_connected(self) -> None:
        history = asyncio.create_task(self._source.follow())
        try:
            await self._look_on(history)
        finally:
            history.cancel()
            await asyncio.gather(history, return_exceptions=True)

    async def _look_on(self, history: asyncio.Task[None]) -> None:
        """Read whenever the history has moved, and at intervals while the run works without new history."""
        pause = _QUIET[0]
        while not (self.snapshot and self.snapshot.ended):
            moved = await self._moved(history, pause)
            self._looks += 1
            changed = self._show(await (self._source.look() if moved else self._source.look_again()))
            pause = _QUIET[0] if changed else min(pause * 2, _QUIET[1])

    async def _moved(self, history: asyncio.Task[None], pause: float) -> bool:
        """Return whether the run must be queried again; False after an interval without new history.

        Raises:
            RPCError: Temporal does not answer.
        """
        moved = asyncio.ensure_future(self._source.moved.wait())
        try:
            await self._first_of({moved, history}, pause)
        finally:
            moved.cancel()
        if history.done():
            history.result()
        return moved.done() or history.done() or not self._is_whole or self.snapshot is None

    async def _first_of(self, tasks: set[asyncio.Future[Any]], pause: float) -> None:
        """Wait for one of them, reading drafts meanwhile; return after the pause at the latest."""
        now = asyncio.get_running_loop().time
        until = now() + pause
        while self._source.writing and now() < until:
            done, _ = await asyncio.wait(tasks, timeout=_WRITING, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            if await self._source.look_at_texts():
                self._notify()
        counts = self._source.may_change_without_history or not self._is_whole
        timeout = max(0.0, until - now()) if counts else None
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    @property
    def _is_whole(self) -> bool:
        return self.snapshot is None or self.snapshot.whole

    def _show(self, snapshot: RunSnapshot) -> bool:
        changed = not self.reachable or not snapshot.same_as(self.snapshot)
        self.reachable, self.snapshot, self._shown = True, snapshot, self._looks
        self._notify()
        return changed

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Reader:
    """One reader of one run."""

    def __init__(self, broadcaster: RunBroadcaster, cursor: EventCursor) -> None:
        self._broadcaster = broadcaster
        self._cursor = cursor
        self._drafts = DraftCursor()
        self._since = (cursor.run, cursor.event)
        self._look: int | None = None

    @property
    def over(self) -> bool:
        """Return whether everything was delivered and the run has ended."""
        snapshot = self._broadcaster.snapshot
        return self._broadcaster.stopped or (snapshot is not None and snapshot.ended)

    @property
    def fully_delivered(self) -> bool:
        """Return whether the run has ended and everything was delivered; False during shutdown."""
        return self._broadcaster.snapshot is not None and self._broadcaster.snapshot.ended

    @property
    def reachable(self) -> bool:
        """Return False while Temporal does not answer; missed changes are delivered afterwards."""
        return self._broadcaster.reachable

    async def read(self, within: float | None = None) -> list[Event]:
        """Return new events; none after a timeout, or when Temporal stops or resumes answering."""
        reachable = self.reachable
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._catch_up()
                while not (new := self._new()) and not self.over and self.reachable is reachable:
                    await self._broadcaster.news()
                return new
        return []

    async def _catch_up(self) -> None:
        """Wait until the follower has reached the reader's position: another process may have been ahead.

        The history alone does not show that: the reader's state may include events not yet read here. So the follower
        reads once more, at once and for all concurrent readers.
        """
        if self._look is None and not self._is_caught_up():
            self._look = self._broadcaster.request_refresh()
        while not self._is_caught_up() and not self.over:
            await self._broadcaster.news()

    def _is_caught_up(self) -> bool:
        run, event = self._since
        snapshot = self._broadcaster.snapshot
        if not run or (snapshot and snapshot.ended) or (self._look and self._broadcaster.shows(self._look)):
            return True
        return snapshot is not None and beginning(snapshot.run) == run and snapshot.confirmed_event >= event

    def _new(self) -> list[Event]:
        snapshot = self._broadcaster.snapshot
        if snapshot is None or not self._is_caught_up():
            return []
        self._since = ("", 0)
        return [*diff_events(snapshot, self._cursor), *self._drafts.new(self._broadcaster.texts)]


class RunBroadcasters:
    """The followers of a process, by run, while there are readers."""

    def __init__(self, client: Client, keys: IdempotencyKeys) -> None:
        self._client = client
        self._keys = keys
        self._broadcasters: dict[str, RunBroadcaster] = {}
        self._streams: Counter[str] = Counter()
        self._closed = False

    def has_room(self, owner: str) -> bool:
        """Return whether that person may open another stream."""
        return self._streams[owner] < MAX_STREAMS

    def readers_by_run(self) -> dict[str, int]:
        """Return the current number of readers by run."""
        return {
            assistant_id: broadcaster.readers
            for assistant_id, broadcaster in self._broadcasters.items()
            if broadcaster.readers
        }

    @contextlib.asynccontextmanager
    async def reader(self, assistant_id: str, cursor: EventCursor, *, owner: str) -> AsyncIterator[Reader]:
        """Open a reader for the duration of the context."""
        broadcaster = self._following(assistant_id)
        broadcaster.readers += 1
        self._streams[owner] += 1
        try:
            yield Reader(broadcaster, cursor)
        finally:
            broadcaster.readers -= 1
            self._left(owner)
            asyncio.get_running_loop().call_later(IDLE_TTL, self._rest, assistant_id)

    def _following(self, assistant_id: str) -> RunBroadcaster:
        broadcaster = self._broadcasters.get(assistant_id)
        if broadcaster is None or broadcaster.done:
            broadcaster = RunBroadcaster(RunSource(self._client, self._keys, assistant_id))
            self._broadcasters[assistant_id] = broadcaster
        if self._closed:
            broadcaster.stop()
        return broadcaster

    def _left(self, owner: str) -> None:
        self._streams[owner] -= 1
        if not self._streams[owner]:
            del self._streams[owner]

    def _rest(self, assistant_id: str) -> None:
        """Stop following if no reader has returned; a later reader has its own call of this."""
        broadcaster = self._broadcasters.get(assistant_id)
        if broadcaster is not None and not broadcaster.readers:
            del self._broadcasters[assistant_id]
            broadcaster.stop()

    async def close(self) -> None:
        """Stop all followers: streams end at once, and their readers resume elsewhere."""
        self._closed = True
        stopped = [broadcaster.stop() for broadcaster in self._broadcasters.values()]
        self._broadcasters.clear()
        await asyncio.gather(*stopped, return_exceptions=True)


class RunEvents:
    """The events of one caller's runs. Another person's run looks like one that does not exist."""

    def __init__(self, runs: Runs, broadcasters: RunBroadcasters, *, owner: str) -> None:
        self._runs = runs
        self._broadcasters = broadcasters
        self._owner = owner

    async def ended(self, assistant_id: str) -> bool:
        """Return whether the run has ended, after checking access.

        Raises:
            NotFound: It does not exist, or belongs to another person.
            TooMany: The caller already reads too many runs.
        """
        description = await self._runs.readable(assistant_id)
        if not self._broadcasters.has_room(self._owner):
            raise TooMany(f"you already have {MAX_STREAMS} open event streams; close some", retry_after=30)
        return description.status is not WorkflowExecutionStatus.RUNNING

    def reader(self, assistant_id: str, after: str | None = None) -> contextlib.AbstractAsyncContextManager[Reader]:
        """Open a reader of a run that was checked by `ended`."""
        return self._broadcasters.reader(assistant_id, parse_event_id(after), owner=self._owner)

    async def follow(self, assistant_id: str, after: str | None = None) -> AsyncIterator[Event]:
        """Yield all events of a run until its end: first its current state, then each change.

        Args:
            assistant_id: The assistant.
            after: The id of the last event that was read; then only later changes.

        Raises:
            NotFound: It does not exist, or belongs to another person.
            TooMany: The caller already reads too many runs.
        """
        await self.ended(assistant_id)
        async with self.reader(assistant_id, after) as reader:
            while True:
                for event in await reader.read():
                    yield event
                if reader.over:
                    return
