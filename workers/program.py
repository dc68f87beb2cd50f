"""Runs a program that is not Python as a process of the stack: `python -m workers.program /usr/bin/prometheus ...`.

It ends with this process, and this process ends with its exit code.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    with subprocess.Popen(arguments) as program:

        def stop(_number: int, _frame: FrameType | None) -> None:
            program.terminate()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the supervisor stops us in its order
        return program.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
