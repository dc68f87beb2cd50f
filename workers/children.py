"""Child processes of the supervisor: forked from one server that has the heavy imports done, restarted when they die.

Forking before any Temporal client or runtime exists shares the imports of all workers: a third of the memory and a
fifth of the start-up time of separate interpreters.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from retinue.process import DATABASE_LOST

_LONGEST_PAUSE = 10.0
_STABLE_AFTER = 30.0
_log = logging.getLogger("retinue.up")


def prepare() -> None:
    """Start the process that children are forked from. What it imports takes a second; it does so meanwhile."""
    # glibc gives each thread a heap of its own, and each worker's runtime has many threads: 1 to 2 MB a process
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    multiprocessing.set_start_method("forkserver" if sys.platform == "linux" else "spawn", force=True)
    if sys.platform == "linux":
        multiprocessing.set_forkserver_preload(["workers.preload"])
        forkserver.ensure_running()


@dataclass
class Child:
    """One supervised process: `python -m module *arguments`, with variables of its own."""

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: BaseProcess | None = None
    _started_at: float = 0.0
    _next_start: float = 0.0
    _pause: float = field(default=0.5)

    def start(self) -> None:
        """Start it."""
        self.process = multiprocessing.Process(
            target=_run, args=(self.module, list(self.arguments), dict(self.environment), str(self.log)), name=self.name
        )
        self.process.start()
        self._started_at = time.monotonic()

    def keep_alive(self) -> None:
        """Start it again if it died, after a pause that grows while it keeps dying."""
        if self.process is not None and self.process.is_alive():
            return
        now = time.monotonic()
        if self.process is not None:
            self._mourn(now)
        if now >= self._next_start:
            self.start()

    def _mourn(self, now: float) -> None:
        assert self.process is not None
        if now - self._started_at > _STABLE_AFTER:
            self._pause = 0.5
        print(f"{self.name} ended ({self._why()}); starting it again in {self._pause:g} s", flush=True)
        self.process = None
        self._next_start = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _why(self) -> str:
        assert self.process is not None
        if self.process.exitcode == DATABASE_LOST:
            return f"its database was deleted, replaced or damaged while it ran; see {self.log}"
        return f"exit code {self.process.exitcode}"

    def ask_to_stop(self) -> None:
        """Ask it to drain and end."""
        if self.process is not None and self.process.is_alive():
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic seconds), then kill it."""
        if self.process is None:
            return
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            print(f"{self.name} did not stop in time; killing it", flush=True)
            self.process.kill()
            self.process.join(5)


def _run(module: str, arguments: list[str], environment: dict[str, str], log: str) -> None:
    """In the child: own environment, own log, end with the parent, then be `python -m module`."""
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=False)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
