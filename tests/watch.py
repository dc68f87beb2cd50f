"""Run a test again whenever a Python file changes: `python -P -m tests.watch tests/test_main_job.py -k approval`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("activities", "api", "cli", "console", "offline", "retinue", "tests", "workers", "workflows")
PAUSE = 0.5


def newest() -> float:
    """When a Python file of the project changed last."""
    return max(file.stat().st_mtime for room in ROOMS for file in (ROOT / room).rglob("*.py") if file.exists())


def main(arguments: list[str]) -> None:
    """Run pytest with these arguments, then again after each change, until Ctrl-C."""
    while True:
        seen = newest()
        subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", "-x", *arguments], cwd=ROOT, check=False)
        while newest() == seen:
            time.sleep(PAUSE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)
