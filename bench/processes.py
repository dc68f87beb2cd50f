"""The processes of a run, in groups: started by us, measured by their ids, ended by us and nobody else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.private_stack import isolated
from retinue.settings import ROOT

HOST = "127.0.0.1"
_STOP_WAIT = 15.0
_PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A process ended or did not get ready; the message holds the end of its log."""


@dataclass
class Processes:
    """All processes that one measurement started, by group (`server`, `floor workers`, ...)."""

    folder: Path
    groups: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)

    def start(
        self, group: str, command: Sequence[str], *, name: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one process in a session of its own, so that Ctrl-C reaches it through us; it dies with us anyway."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment(), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.groups.setdefault(group, []).append(process)
        return process

    def python(self, group: str, *arguments: str, name: str, variables: Mapping[str, str] | None = None) -> None:
        """Start `python -m arguments...`."""
        self.start(group, [*module_command(*arguments)], name=name, variables=variables)

    def check(self) -> None:
        """See that all still live.

        Raises:
            StartFailed: One does not.
        """
        for process in self._all():
            if process.poll() is not None:
                raise StartFailed(f"a process ended with code {process.returncode}\n{self.end_of_logs()}")

    def cpu_seconds(self, group: str) -> float:
        """CPU time that a group has used so far, with the children of its processes."""
        return sum(cpu_seconds(process.pid) for process in self.groups[group])

    def end_of_logs(self) -> str:
        """The last lines of every log."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{_tail(file)}" for file in files if file.stat().st_size)

    def stop(self) -> None:
        """Ask all to end, the server last; kill what is left after a while."""
        servers = self.groups.get("server", [])
        for batch in ([process for process in self._all() if process not in servers], servers):
            stop_all(batch)

    def _all(self) -> list[subprocess.Popen[bytes]]:
        return [process for group in self.groups.values() for process in group]


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    """Processes with a folder of their own; at the end they are stopped and the folder is removed."""
    folder = Path(tempfile.mkdtemp(prefix="retinue-bench-"))
    started = Processes(folder)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def module_command(*arguments: str) -> list[str]:
    """`python -m` with the rooms on the path but never the current folder."""
    return [sys.executable, "-P", "-m", *arguments]


def environment() -> dict[str, str]:
    """The environment without anything that configures Retinue."""
    return {**isolated(os.environ), "PYTHONPATH": str(ROOT)}


def stop_all(batch: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask processes of ours to end together, and kill those that do not."""
    batch = list(batch)
    for process in batch:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _STOP_WAIT
    for process in batch:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the session that was made for it
            process.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all its children, living and gone."""
    times = psutil.Process(pid).cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(cpu_seconds(child.pid) for child in psutil.Process(pid).children())


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process tree: what is shared among its processes counts once."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(_pss(process.pid) for process in tree)


def _pss(pid: int) -> int:
    """0 for a process that has ended, waited for or not."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return 0


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
