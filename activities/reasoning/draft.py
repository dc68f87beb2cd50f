"""Reports a model's unfinished text in the activity's heartbeats, which do not enter the history.

Each heartbeat is a row that Temporal writes, and there may be no reader. So a fast answer is not reported, a long one a few
times a second, and only its beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity

from activities.reasoning.contract import Draft
from retinue.activity_adapter import tell_progress
from retinue.text import whole

MAX_CHARS = 16 * 1024
"""The most characters of an unfinished text that are reported."""
EVERY = 0.3
"""Seconds between two heartbeats that tell of it, and before the first."""
THROTTLE = timedelta(seconds=0.2)
"""The SDK's own pause between heartbeats, which by default is most of their time-out. Below `EVERY`, or both add up."""


class Writing:
    """A text while it is written."""

    def __init__(self) -> None:
        self._number = 0
        self._pieces: list[str] = []
        self._length = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was written since the last model began."""
        return self._length > 0

    def begin(self) -> None:
        """A model begins; what another one wrote before is void."""
        self.stop()
        self._number += 1
        self._pieces, self._length = [], 0

    def add(self, piece: str) -> None:
        """It goes on."""
        if not piece or self._length >= MAX_CHARS:
            return
        self._pieces.append(piece[: MAX_CHARS - self._length])
        self._length += len(self._pieces[-1])
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self._tell)

    def stop(self) -> None:
        """Stop reporting, since the whole text follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._timer = None
        attempt = activity.info().attempt
        tell_progress(Draft(attempt=attempt, number=self._number, text=whole("".join(self._pieces))))


@contextmanager
def writing() -> Iterator[Writing | None]:
    """Return the draft of the running activity; None outside of one."""
    if not activity.in_activity():
        yield None
        return
    text = Writing()
    try:
        yield text
    finally:
        text.stop()
