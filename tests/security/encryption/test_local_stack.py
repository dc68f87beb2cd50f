"""What `make up` makes of the keys: its Web UI knows where to ask, and keys that cannot be used start nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from retinue.settings import ROOT
from tests.local_stack import environment
from workers import temporal_server


def test_the_web_ui_is_told_where_payloads_are_decoded(tmp_path: Path) -> None:
    ui, codec = temporal_server.free_port(), "http://127.0.0.1:8000/codec/default"
    ports = {"port": temporal_server.free_port(), "ui_port": ui, "http_port": temporal_server.free_port()}
    command = temporal_server.command(host="127.0.0.1", **ports, database=tmp_path / "temporal.db", codec=codec)
    server = temporal_server.start(command, log=tmp_path / "temporal.log")
    try:
        deadline = time.monotonic() + 30
        while not temporal_server.answers("127.0.0.1", ui) and time.monotonic() < deadline:
            time.sleep(0.05)
        settings = httpx.get(f"http://127.0.0.1:{ui}/api/v1/settings", timeout=10).json()
    finally:
        server.kill()
        server.wait()
    assert settings["Codec"]["Endpoint"] == codec


def test_a_stack_with_keys_that_cannot_be_used_does_not_start(tmp_path: Path) -> None:
    """At once and with one sentence, instead of processes that start again and again."""
    variables = environment(tmp_path) | {"RETINUE_ENCRYPTION_KEYS": "mine:not-a-key-at-all"}
    command = [sys.executable, "-P", "-m", "workers", "up"]
    ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=50)
    assert (ended.returncode, "encryption key 1 is not 32 bytes" in ended.stderr) == (1, True), ended.stderr
    assert "not-a-key" not in ended.stderr + ended.stdout
