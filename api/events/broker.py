"""Following runs: many readers of one run share one follower, and each is told what it does not know yet.

A reader holds no queue. It is told the difference between the run as it stands and what it was told last, so a slow one
hears of fewer states in between, costs no memory, and never misses where things stand.
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
"""Of one person in one process."""
_QUIET = (1.0, 15.0)
"""Seconds until the server is asked again about a run whose history stands still while work goes on; and at most."""
_WRITING = 0.3
"""Seconds between looks at a text while a model writes it, however many read."""
_RECONNECT = (0.5, 5.0)
IDLE_TTL = 5.0
"""Seconds for which a run is still followed when its last reader has gone: most who lose a connection come back."""
_log = logging.getLogger("retinue.events")


class RunBroadcaster:
    """Follows one run for all its readers.

    Attributes:
        picture: The run as it stood last; None before the first look.
        reachable: False while Temporal does not answer.
        gone: Whether it is no longer kept.
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
        """What models are writing at the moment."""
        return self._source.texts

    @property
    def done(self) -> bool:
        """Whether it follows no longer: the run has ended as far as it knows, or it met a bug of ours."""
        return self._task.done()

    @property
    def stopped(self) -> bool:
        """Whether nothing more can be known: it is no longer kept, or the process goes down."""
        return self.gone or self._task.cancelled()

    def stop(self) -> asyncio.Task[None]:
        """Follow no longer. The task is done a little later."""
        self._task.cancel()
        return self._task

    def request_refresh(self) -> int:
        """Ask for a look that has not begun yet; gives its number for `shows`.

        The first one comes by itself, once the history was read: without it, a run that has ended would be asked too.
        """
        if self._looks:
            self._source.moved.set()
        return self._looks + 1

    def shows(self, look: int) -> bool:
        """Whether the picture is of that look, or of a later one."""
        return self._shown >= look

    async def news(self) -> None:
        """Return at the next change.

        Raises:
            BaseException: A bug of ours ended the follower; its readers end with it.
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
        """Until the run has ended; over all outages of Temporal."""
        pause = _RECONNECT[0]
        while not (self.gone or (self.snapshot and self.snapshot.ended)):
            try:
                await self._follow_connected()
            except NotFound:
                self.gone = True
                self._tell()
            except AWAY as error:
                pause = pause * 2 if not self.reachable else _RECONNECT[0]
                self._lost(error)
                await asyncio.sleep(min(pause, _RECONNECT[1]))

    def _lost(self, error: BaseException) -> None:
        if self.reachable:
            _log.warning("a run cannot be followed for now: %s", type(error).__name__)
        self.reachable = False
        self._tell()

    async def _follow_connected(self) -> None:
        history = asyncio.create_task(self._source.follow())
        try:
            await self._look_on(history)
        finally:
            history.cancel()
            await asyncio.gather(history, return_exceptions=True)

    async def _look_on(self, history: asyncio.Task[None]) -> None:
        """Look whenever the history has moved, and now and then while it stands still and work goes on."""
        pause = _QUIET[0]
        while not (self.snapshot and self.snapshot.ended):
            moved = await self._moved(history, pause)
            self._looks += 1
            changed = self._show(await (self._source.look() if moved else self._source.look_again()))
            pause = _QUIET[0] if changed else min(pause * 2, _QUIET[1])

    async def _moved(self, history: asyncio.Task[None], pause: float) -> bool:
        """Whether the run itself is to be asked again; False after a pause in which its history stood still.

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
        """Wait for one of them, and tell meanwhile what models are writing; after the pause, if it counts, go on."""
        now = asyncio.get_running_loop().time
        until = now() + pause
        while self._source.writing and now() < until:
            done, _ = await asyncio.wait(tasks, timeout=_WRITING, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            if await self._source.look_at_texts():
                self._tell()
        counts = self._source.restless or not self._is_whole
        timeout = max(0.0, until - now()) if counts else None
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    @property
    def _is_whole(self) -> bool:
        return self.snapshot is None or self.snapshot.whole

    def _show(self, snapshot: RunSnapshot) -> bool:
        changed = not self.reachable or not snapshot.same_as(self.snapshot)
        self.reachable, self.snapshot, self._shown = True, snapshot, self._looks
        self._tell()
        return changed

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Reader:
    """One reader of one run."""

    def __init__(self, broadcaster: RunBroadcaster, cursor: EventCursor) -> None:
        self._broadcaster = broadcaster
        self._told = cursor
        self._heard = DraftCursor()
        self._since = (cursor.run, cursor.event)
        self._look: int | None = None

    @property
    def over(self) -> bool:
        """Whether everything was told and nothing follows."""
        snapshot = self._broadcaster.snapshot
        return self._broadcaster.stopped or (snapshot is not None and snapshot.ended)

    @property
    def fully_delivered(self) -> bool:
        """Whether the run has ended, and all of it was told. A process that goes down is over, and has not told all."""
        return self._broadcaster.snapshot is not None and self._broadcaster.snapshot.ended

    @property
    def reachable(self) -> bool:
        """False while Temporal does not answer; what is missed meanwhile is told afterwards."""
        return self._broadcaster.reachable

    async def read(self, within: float | None = None) -> list[Event]:
        """What is new; nothing, if nothing came within so many seconds, or Temporal went away or came back."""
        reachable = self.reachable
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._catch_up()
                while not (new := self._new()) and not self.over and self.reachable is reachable:
                    await self._broadcaster.news()
                return new
        return []

    async def _catch_up(self) -> None:
        """Wait until the follower is where the reader was: another process, which told it, may have been ahead.

        The history alone does not say so: what was told may count events that were not yet noted here. So the follower
        looks once more, at once and for all who come at the same time.
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
        return snapshot is not None and beginning(snapshot.run) == run and snapshot.surely >= event

    def _new(self) -> list[Event]:
        snapshot = self._broadcaster.snapshot
        if snapshot is None or not self._is_caught_up():
            return []
        self._since = ("", 0)
        return [*diff_events(snapshot, self._told), *self._heard.new(self._broadcaster.texts)]


class RunBroadcasters:
    """All followers of a process, by run, while somebody reads."""

    def __init__(self, client: Client, keys: IdempotencyKeys) -> None:
        self._client = client
        self._keys = keys
        self._broadcasters: dict[str, RunBroadcaster] = {}
        self._streams: Counter[str] = Counter()
        self._closed = False

    def has_room(self, owner: str) -> bool:
        """Whether that person may open another stream."""
        return self._streams[owner] < MAX_STREAMS

    def readers_by_run(self) -> dict[str, int]:
        """How many read which run at the moment."""
        return {
            assistant_id: broadcaster.readers
            for assistant_id, broadcaster in self._broadcasters.items()
            if broadcaster.readers
        }

    @contextlib.asynccontextmanager
    async def reader(self, assistant_id: str, cursor: EventCursor, *, owner: str) -> AsyncIterator[Reader]:
        """A reader, for as long as it reads."""
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
        """Follow no longer, if nobody came back; one who came and went again has a later call of this."""
        broadcaster = self._broadcasters.get(assistant_id)
        if broadcaster is not None and not broadcaster.readers:
            del self._broadcasters[assistant_id]
            broadcaster.stop()

    async def close(self) -> None:
        """Follow nothing any more: all streams end at once, and their readers go on elsewhere."""
        self._closed = True
        stopped = [broadcaster.stop() for broadcaster in self._broadcasters.values()]
        self._broadcasters.clear()
        await asyncio.gather(*stopped, return_exceptions=True)


class RunEvents:
    """The events of one caller's runs. A run of somebody else looks like one that does not exist."""

    def __init__(self, runs: Runs, broadcasters: RunBroadcasters, *, owner: str) -> None:
        self._runs = runs
        self._broadcasters = broadcasters
        self._owner = owner

    async def ended(self, assistant_id: str) -> bool:
        """Whether the run has ended; asks whose it is.

        Raises:
            NotFound: There is none, or it is somebody else's.
            TooMany: The caller reads too many runs already.
        """
        description = await self._runs.readable(assistant_id)
        if not self._broadcasters.has_room(self._owner):
            raise TooMany(f"you read {MAX_STREAMS} streams of events already; close some", retry_after=30)
        return description.status is not WorkflowExecutionStatus.RUNNING

    def reader(self, assistant_id: str, after: str | None = None) -> contextlib.AbstractAsyncContextManager[Reader]:
        """A reader of a run that `ended` was asked about."""
        return self._broadcasters.reader(assistant_id, parse_event_id(after), owner=self._owner)

    async def follow(self, assistant_id: str, after: str | None = None) -> AsyncIterator[Event]:
        """All events of a run from now to its end: first where it stands, then what changes.

        Args:
            assistant_id: The assistant.
            after: The id of the last event that was read; then only what changed since.

        Raises:
            NotFound: There is none, or it is somebody else's.
            TooMany: The caller reads too many runs already.
        """
        await self.ended(assistant_id)
        async with self.reader(assistant_id, after) as reader:
            while True:
                for event in await reader.read():
                    yield event
                if reader.over:
                    return
