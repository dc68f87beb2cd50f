"""Child processes of the supervisor: forked from a server with the heavy imports, restarted when they die.

A process that is alive and stuck is replaced too: each tells by a file that it is not (`retinue/runtime/watchdog.py`), or
answers HTTP requests.

Forking before any Temporal client or runtime exists shares the imports of all workers: a third of the memory and a
fifth of the start-up time of separate interpreters.
"""

from __future__ import annotations

import contextlib
import http.client
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
from urllib.parse import urlsplit

from retinue.runtime.process import DATABASE_LOST, STUCK

_LONGEST_PAUSE = 10.0
_STABLE_AFTER = 30.0
SILENCE = 60.0
"""Seconds without a touch after which a process counts as frozen."""
_LONGEST_SILENCE = 16 * SILENCE
_FIRST_TOUCH = 300.0
"""Seconds until the first touch: on a busy machine a process takes long to start."""
_ASK_EACH = 5.0
_ANSWER_WITHIN = 30.0
"""Seconds that a server may take for its answer: it may be busy."""
_LONGEST_LOOK = 1.0
"""The most seconds that count between two checks, since rare checks cannot tell how long a process was silent."""


def prepare() -> None:
    """Start the process that children are forked from; it imports for a second in the background."""
    # glibc gives each thread its own heap, and each worker's runtime has many threads: 1 to 2 MB per process
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    multiprocessing.set_start_method("forkserver" if sys.platform == "linux" else "spawn", force=True)
    if sys.platform == "linux":
        multiprocessing.set_forkserver_preload(["workers.preload"])
        forkserver.ensure_running()


@dataclass
class Silence:
    """How long a process has not touched its file. Its limit doubles with each replacement.

    So a very slow machine does not replace its processes again and again.
    """

    file: Path
    patience: float = SILENCE
    _touched: int = 0
    _seconds: float = 0.0
    _looked_at: float = 0.0

    def begin(self, now: float) -> None:
        """Restart the count for a new process."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        self._touched, self._seconds, self._looked_at = 0, 0.0, now

    def is_too_long(self, now: float) -> bool:
        """Check the file; True if the process counts as frozen."""
        self._seconds += min(now - self._looked_at, _LONGEST_LOOK)
        self._looked_at = now
        touched = self._read()
        if touched != self._touched:
            self._touched, self._seconds = touched, 0.0
        return self._seconds > (self.patience if self._touched else max(self.patience, _FIRST_TOUCH))

    def be_more_patient(self) -> None:
        """Double the limit, since the process is being replaced."""
        self.patience = min(self.patience * 2, _LONGEST_SILENCE)

    def _read(self) -> int:
        try:
            return self.file.stat().st_mtime_ns
        except OSError:
            return 0


@dataclass
class Child:
    """One supervised process: `python -m module *arguments`, with its own variables."""

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    silence: Silence | None = None
    """None for a process that is not watched."""
    address: str | None = None
    """Of a server that touches no file itself: `http://...`. The file is touched here whenever it answers."""
    process: BaseProcess | None = None
    _started_at: float = 0.0
    _next_start: float = 0.0
    _pause: float = field(default=0.5)
    _asking: threading.Thread | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the process."""
        environment = dict(self.environment)
        if self.silence:
            environment["RETINUE_LIVENESS_FILE"] = str(self.silence.file)
            self.silence.begin(time.monotonic())
        self.process = multiprocessing.Process(
            target=_run, args=(self.module, list(self.arguments), environment, str(self.log)), name=self.name
        )
        self.process.start()
        self._started_at = time.monotonic()
        if self.address and self.silence and self._asking is None:
            self._asking = threading.Thread(
                target=_touch_when_answered, args=(self.address, self.silence.file, self._stopping), daemon=True
            )
            self._asking.start()

    def keep_alive(self) -> None:
        """Restart the process if it died, after a growing pause; end it if it is frozen."""
        now = time.monotonic()
        if self.process is not None and self.process.is_alive():
            if self.silence and self.silence.is_too_long(now):
                self.replace(f"is frozen: no sign of life for {self.silence.patience:.0f} s")
                self.silence.be_more_patient()
            return
        if self.process is not None:
            self._mourn(now)
        if now >= self._next_start:
            self.start()

    def replace(self, reason: str) -> None:
        """End the process at once; the next `keep_alive` starts another, which gets its unfinished work from Temporal."""
        if self.process is not None and self.process.is_alive():
            print(f"{self.name} {reason}; ending it", flush=True)
            self.process.kill()
            self.process.join(5)

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
        if self.process.exitcode == STUCK:
            return f"it was stuck; see {self.log}"
        return f"exit code {self.process.exitcode}"

    def ask_to_stop(self) -> None:
        """Ask the process to drain and end."""
        self._stopping.set()
        if self.process is not None and self.process.is_alive():
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for the process to end until `deadline` (monotonic seconds), then kill it."""
        if self.process is None:
            return
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            print(f"{self.name} did not stop in time; killing it", flush=True)
            self.process.kill()
            self.process.join(5)


def _touch_when_answered(address: str, file: Path, stopping: threading.Event) -> None:
    """Touch a server's file whenever it answers, whatever it says."""
    while not stopping.wait(_ASK_EACH):
        if _answers(address):
            file.touch()


def _answers(address: str) -> bool:
    place = urlsplit(address)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=_ANSWER_WITHIN)
    with contextlib.closing(connection):
        try:
            connection.request("GET", place.path or "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
    return True


def _run(module: str, arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Run `python -m module` in the child, with its own environment and log; it ends with the parent."""
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
