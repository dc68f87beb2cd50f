"""Ends what a test process started and left behind: `python -P -m tests.leftovers MARK`, started by `tests/guard.py`.

It waits until its input ends, which is when the test process has ended, however it did. Processes are known by a mark
in their environment, which all of them inherit, also those in sessions of their own.
"""

from __future__ import annotations

import sys

import psutil

MARK = "STARTED_BY_TEST_PROCESS"
_ROUNDS = 5
"""What is ended may just have started more."""


def end_marked(mark: str) -> list[str]:
    """End all processes with this mark; return their command lines."""
    ended: list[str] = []
    for _ in range(_ROUNDS):
        found = [process for process in psutil.process_iter() if _mark_of(process) == mark]
        if not found:
            break
        for process in found:
            ended += _end(process)
        psutil.wait_procs(found, timeout=5)
    return ended


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def _end(process: psutil.Process) -> list[str]:
    try:
        line = " ".join(process.cmdline())
        process.kill()
    except psutil.Error:
        return []
    return [line]


def main(mark: str) -> None:
    """Wait, end them and name them on standard error."""
    sys.stdin.read()
    for line in end_marked(mark):
        sys.stderr.write(f"Left behind by a test process and ended: {line}\n")


if __name__ == "__main__":
    main(sys.argv[1])
