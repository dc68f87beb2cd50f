"""An OpenAI-compatible server that others wrote: `@copilotkit/aimock`, as a process of its own, told by its control API.

Its version is pinned in `node/`. It is installed once into pytest's cache folder, which git ignores.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

_PINNED = Path(__file__).with_name("node")
_FILES = ("package.json", "package-lock.json", ".npmrc")
_SERVER = Path("node_modules/@copilotkit/aimock/dist/cli.js")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


class Independent:
    """The running server. Its fixtures are matched in the order in which they were added."""

    def __init__(self, address: str) -> None:
        self.url = f"{address}/v1"
        self._http = httpx.Client(base_url=f"{address}/__aimock", timeout=10)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def reset(self) -> None:
        """Forget everything."""
        self._tell("POST", "/reset")
        self._tell("DELETE", "/chaos")

    def answers(self, match: Mapping[str, Any], response: Mapping[str, Any], **fixture: Any) -> None:
        """Answer requests that match."""
        self._tell("POST", "/fixtures", {"fixtures": [{"match": match, "response": response, **fixture}]})

    def chaos(self, **rates: float) -> None:
        """Whatever matches, fail in this way."""
        self._tell("POST", "/chaos", rates)

    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        journal = self._http.get("/journal").raise_for_status().json()
        return [entry["body"] for entry in journal if entry["path"].endswith("/chat/completions")]

    def _tell(self, method: str, path: str, body: Any = None) -> None:
        self._http.request(method, path, json=body).raise_for_status()


@contextmanager
def independent_model(cache: Path) -> Iterator[Independent]:
    """The server on a free port; skips the test where it cannot be had."""
    program = _installed(cache)
    nothing = cache / "nothing.json"
    nothing.write_text('{"fixtures": []}')
    command = ["node", str(program), "--port", "0", "--fixtures", str(nothing)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            server = Independent(_address(process))
            yield server
            server.close()
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if found := _ADDRESS.search(line):
            return found.group()
    raise AssertionError(f"the independent model did not start: {said}")


def _installed(cache: Path) -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the contract with an independent model server was not tested: node and npm are not installed")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pinned = {name: (_PINNED / name).read_text() for name in _FILES}
        done = cache / "installed.json"
        if not done.exists() or json.loads(done.read_text()) != pinned:
            _install(cache, pinned)
            done.write_text(json.dumps(pinned))
    return cache / _SERVER


def _install(cache: Path, pinned: Mapping[str, str]) -> None:
    for name, text in pinned.items():
        (cache / name).write_text(text)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=50, check=False)
    if done.returncode:
        pytest.skip("the contract with an independent model server was not tested: npm could not install it")
