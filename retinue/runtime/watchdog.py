"""The liveness check of a process: a thread that ends a stuck process, so that it is restarted.

The thread checks once a second. It counts its own checks, not time: on a busy machine it runs as rarely as what it watches,
and not at all while the process is stopped. So it never mistakes a slow process for a stuck one.

While all is well it touches a file every few seconds, so that the supervisor and a container's health check notice a
process that is frozen as a whole.
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
    """A check of one activity that must not get stuck."""

    def __call__(self) -> str | None:
        """Return what is stuck, or None; called once per interval."""


class LoopCheck:
    """Checks that an event loop still runs callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waits = 0
        self._asked = False

    def __call__(self) -> str | None:
        """Schedule a callback, and count the checks until it runs."""
        if self._asked:
            self._waits += 1
        elif not self._loop.is_closed():
            self._asked = True
            self._loop.call_soon_threadsafe(self._answer)
        return "its event loop does not answer" if self._waits >= PATIENCE else None

    def _answer(self) -> None:
        self._asked, self._waits = False, 0


class Watchdog:
    """Checks until it is stopped; if a check reports, ends the process with the code `STUCK`.

    Args:
        checks: To run.
        file: Touched while all is well.
        end: Ends the process.
    """

    def __init__(self, checks: Sequence[Check], file: Path | None, *, end: Callable[[int], object] = leave) -> None:
        self._checks = checks
        self._file = file
        self._end = end
        self._stop = threading.Event()
        self._looks = 0

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop checking, since a slow shutdown is not stuck."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(_LOOK)

    def look(self) -> None:
        """Run the checks once."""
        stuck = [problem for check in self._checks if (problem := check())]
        if stuck and not self._stop.is_set():
            _log.critical("stuck, so this process ends: %s", "; ".join(stuck))
            faulthandler.dump_traceback(sys.stderr)
            self._end(STUCK)
        elif self._file is not None and self._looks % _LOOKS_PER_TOUCH == 0:
            self._file.touch()
        self._looks += 1
