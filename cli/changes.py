"""Detects changes of a run: by its events if available, otherwise by polling."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from retinue.client import Client, ClientError

POLL = 0.3
"""Seconds between two polls without events."""
_LOOK = 2.0
"""Seconds between two polls with events: attempts of a step have no event."""
_STOP = 2.0


class Changes:
    """Listens to the events of a run in a separate thread; the run itself is read afterwards.

    Args:
        client: The client.
        assistant_id: The run.

    Attributes:
        by_events: Whether events are received at the moment.
    """

    def __init__(self, client: Client, assistant_id: str) -> None:
        self._client = client
        self._run_id = assistant_id
        self._changed = threading.Event()
        self.by_events = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._listen, name="events", daemon=True)
        self._started = False

    def wait(self) -> None:
        """Return when the run may have changed."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._changed.wait(_LOOK if self.by_events else POLL)
        self._changed.clear()

    def close(self) -> None:
        """Stop listening."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the events ended at the same moment
                loop.call_soon_threadsafe(task.cancel)
            self._thread.join(_STOP)

    def _listen(self) -> None:
        asyncio.run(self._guarded())

    async def _guarded(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(self._follow())
        await asyncio.wait([self._task])
        self.by_events = False
        self._changed.set()

    async def _follow(self) -> None:
        async with self._client.as_async() as client:
            try:
                async for _ in client.assistants.events(self._run_id):
                    self.by_events = True
                    self._changed.set()
            except ClientError:
                return  # an API without events, or with too many streams: polling is enough
