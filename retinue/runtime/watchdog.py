"""The liveness check of a process: it notices from inside that the process is stuck, and ends it, so that it is replaced.

A thread looks once a second. What it counts is its own looks, not time: on a busy machine it runs as seldom as what it
watches, and while the process is stopped it does not look at all. A slow process is therefore never taken for a stuck one.

While all is well it touches a file every few seconds. From that the supervisor, and the health check of a container,
learn that the process is not frozen as a whole.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from retinue.runtime.process import STUCK, leave

_LOOK = 1.0
_LOOKS_PER_TOUCH = 5
PATIENCE = 60
"""Looks."""
_log = logging.getLogger("retinue.runtime.watchdog")


class Check(Protocol):
    """One thing that must go on."""

    def __call__(self) -> str | None:
        """Called once per look. Says what is stuck, or None."""


class LoopCheck:
    """Whether an event loop still runs what it is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waits = 0
        self._asked = False

    def __call__(self) -> str | None:
        """Ask the loop, and count the looks until it answers."""
        if self._asked:
            self._waits += 1
        elif not self._loop.is_closed():
            self._asked = True
            self._loop.call_soon_threadsafe(self._answer)
        return "its event loop does not answer" if self._waits >= PATIENCE else None

    def _answer(self) -> None:
        self._asked, self._waits = False, 0


class Watchdog:
    """Looks until it is stopped; when something is stuck, ends the process with the code `STUCK`.

    Args:
        checks: What must go on.
        file: Touched while it does.
        end: Ends the process.
    """

    def __init__(self, checks: Sequence[Check], file: Path | None, *, end: Callable[[int], object] = leave) -> None:
        self._checks = checks
        self._file = file
        self._end = end
        self._stop = threading.Event()
        self._looks = 0

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more: what takes long while a process ends is not stuck."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(_LOOK)

    def look(self) -> None:
        """Look once."""
        stuck = [problem for check in self._checks if (problem := check())]
        if stuck and not self._stop.is_set():
            _log.critical("stuck, so this process ends: %s", "; ".join(stuck))
            faulthandler.dump_traceback(sys.stderr)
            self._end(STUCK)
        elif self._file is not None and self._looks % _LOOKS_PER_TOUCH == 0:
            self._file.touch()
        self._looks += 1
