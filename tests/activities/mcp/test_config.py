"""The configuration: what is read from it, what is refused, and that no message repeats what stands in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import activities
from activities.mcp import config
from retinue.errors import InvalidArguments
from retinue.remote_capability import RemoteSettings
from retinue.settings import ROOT

COMMAND = {"command": "serve", "args": ["--key", "canary-argument"]}
CANARY = "canary"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("RETINUE_MCP_CONFIG", raising=False)
    return tmp_path / "mcp.json"


def write(file: Path, **servers: Any) -> None:
    file.write_text(json.dumps({"mcpServers": servers}))


def test_without_a_configuration_there_are_the_folders_alone(file: Path) -> None:
    assert activities.names() == activities.folders()


def test_configured_servers_are_capabilities_beside_the_folders(file: Path) -> None:
    write(file, files=COMMAND, tracker={"url": "https://tracker.example/mcp", "type": "http"})
    assert set(activities.names()) - set(activities.folders()) == {"files", "tracker"}
    contract = activities.load("files").CONTRACT
    assert (contract.name, contract.task_queue()) == ("files", "files")


def test_the_file_may_be_somewhere_else(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_MCP_CONFIG", str(tmp_path / "other.json"))
    write(tmp_path / "other.json", wiki=COMMAND)
    write(file, files=COMMAND)
    assert set(activities.names()) - set(activities.folders()) == {"wiki"}


def test_this_folder_is_no_capability() -> None:
    assert "mcp" not in activities.folders()


@pytest.mark.parametrize("name", ["email", "workflows", "api", "Files", "1files", "a b", "a.b", "x" * 41, ""])
def test_names_that_others_have_or_nobody_may_have_are_refused(
    file: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, **{name: COMMAND, "fine": COMMAND})
    assert set(activities.names()) - set(activities.folders()) == {"fine"}
    assert "an MCP server is not served" in caplog.text
    with pytest.raises(InvalidArguments):
        config.server(name, activities.folders())


@pytest.mark.parametrize(
    "entry",
    [
        {},
        "canary",
        {"command": "canary", "url": "https://canary.example"},
        {"command": "canary", "type": "http"},
        {"url": "file:///canary"},
        {"url": "https://canary.example", "type": "sse"},
        {"command": "x", "env": {"KEY": ["canary"]}},
        {"command": "x", "tools": {"t": {"readonly": "canary"}}},
        {"command": "x", "timeout_seconds": 100_000},
    ],
    ids=str,
)
def test_a_wrong_entry_is_told_without_repeating_it_and_holds_nobody_up(
    file: Path, entry: object, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, wrong=entry, fine=COMMAND)
    assert set(activities.names()) - set(activities.folders()) == {"fine"}
    assert "the MCP server wrong: " in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("content", ["", "{", '{"key": "canary', "[]", '{"mcpServers": 7}', "[" * 100_000, "\x00"])
def test_a_broken_file_leaves_the_folders_alone(file: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(content)
    assert activities.names() == activities.folders()
    assert "no MCP server is served" in caplog.text
    assert CANARY not in caplog.text


def test_what_is_disabled_is_not_served(file: Path) -> None:
    write(file, files={**COMMAND, "disabled": True})
    assert activities.names() == activities.folders()


def test_fields_of_other_hosts_are_named_and_passed_over(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One of them would make tools automatic; it must not look as if it did."""
    write(file, files={**COMMAND, "autoApprove": ["*"]})
    config.server("files", [])
    assert "mean nothing here: autoApprove" in caplog.text


def test_variables_are_filled_in(file: Path) -> None:
    headers = {"Authorization": "Bearer ${TOKEN}", "X-Team": "${TEAM:-blue}"}
    write(file, tracker={"url": "${BASE}/mcp", "headers": headers})
    environment = {"TOKEN": "canary-token", "BASE": "https://tracker.example"}
    server = config.server("tracker", []).expanded(environment)
    assert server.url is not None
    assert server.url.get_secret_value() == "https://tracker.example/mcp"
    assert {name: value.get_secret_value() for name, value in server.headers.items()} == {
        "Authorization": "Bearer canary-token",
        "X-Team": "blue",
    }
    assert CANARY not in repr(server)


def test_what_looks_like_a_secret_is_known_as_one(file: Path) -> None:
    env = {"API_KEY": "literal-key", "NODE_ENV": "production", "HOME_DIR": "${SECRET_PLACE}"}
    write(file, files={"command": "serve", "env": env, "args": ["--token=${TOKEN}"]})
    found = config.server("files", []).secrets({"TOKEN": "from-variable", "SECRET_PLACE": "/somewhere"})
    assert found == {"literal-key", "from-variable", "/somewhere"}


def test_each_server_has_a_database_of_its_own(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert RemoteSettings.of("my-files", kind="mcp").database_url == f"sqlite+aiosqlite:///{tmp_path}/mcp-my-files.db"
    monkeypatch.setenv("MY_FILES_DATABASE_URL", "postgresql+asyncpg://somewhere/files")
    assert RemoteSettings.of("my-files", kind="mcp").database_url == "postgresql+asyncpg://somewhere/files"


def test_reading_the_names_imports_nothing_heavy(file: Path) -> None:
    write(file, files=COMMAND)
    heavy = ["mcp", "httpx", "httpx2", "sqlmodel", "sqlalchemy"]
    program = f"import sys, activities; print(activities.names(), [name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "'files'" in done.stdout
    assert done.stdout.strip().endswith(" []")
