"""A real CalDAV and CardDAV server for tests: Radicale as a process of its own, on a free port, with one user."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from workers import temporal_server

USER = "ana"
PASSWORD = "canary-7d1c"


@dataclass(frozen=True)
class Radicale:
    """A running server and the folder in which it keeps everything."""

    address: str
    folder: Path

    def calendar(self, name: str) -> str:
        """Make a calendar; returns its address."""
        url = f"{self.address}/{USER}/{name}/"
        httpx.request("MKCALENDAR", url, auth=(USER, PASSWORD), timeout=20).raise_for_status()
        return url

    def content(self, url: str) -> str:
        """Everything in a collection as one file."""
        return httpx.get(url, auth=(USER, PASSWORD), timeout=20).raise_for_status().text


@contextlib.contextmanager
def radicale(folder: Path) -> Iterator[Radicale]:
    """A server while the block runs."""
    (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
    port = temporal_server.free_port()
    options = [
        *("--config", "", "--server-hosts", f"127.0.0.1:{port}"),
        *("--storage-filesystem-folder", str(folder / "data"), "--logging-level", "critical"),
        *("--auth-type", "htpasswd", "--auth-htpasswd-filename", str(folder / "users")),
        *("--auth-htpasswd-encryption", "plain", "--auth-delay", "0"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "radicale", *options], stdout=log, stderr=log, cwd=folder
        )
    try:
        deadline = time.monotonic() + 30
        while not temporal_server.answers("127.0.0.1", port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield Radicale(f"http://127.0.0.1:{port}", folder / "data" / "collection-root")
    finally:
        process.terminate()
        process.wait(10)
