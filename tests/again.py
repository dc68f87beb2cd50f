"""Runs once more what failed or never finished in the last run, one test after the other: `make test-again`.

CI does so when a few of its thousands of tests failed. What fails again is a fault. What passes now is unsteady: it is
named, and its cause is to be found. More than a few failures are no accident and are not tried again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

MOST = 5
LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
NEVER_FINISHED = Path(".pytest_cache/v/retinue/never_finished")
"""What a run had left when it was cut short; see `tests/guard.py`."""
_XDIST_GROUP = re.compile(r"@[^\]@]*$")
"""xdist puts the group behind the id. Parameters may hold an @ too, but end with a bracket."""


def wanted(root: Path) -> list[str]:
    """The tests of the last run in this folder that failed or never finished."""
    kept = [root / path for path in (LAST_FAILED, NEVER_FINISHED)]
    return sorted(
        {_XDIST_GROUP.sub("", test) for path in kept if path.exists() for test in json.loads(path.read_text())}
    )


def main() -> int:
    """Run them; return 0 if all pass, and name them on standard output."""
    failed = wanted(Path())
    if not 0 < len(failed) <= MOST:
        sys.stdout.write(f"{len(failed)} tests failed or never finished last; only 1 to {MOST} are run again.\n")
        return 1
    # folder by folder: pytest loses the fixtures of a folder that it comes back to
    again = [sys.executable, "-P", "-m", "pytest", *failed]
    code = subprocess.run(again, check=False).returncode
    if code == 0:
        sys.stdout.write("\n  ".join(["Unsteady (failed once, passed alone), to be mended:", *failed]) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
