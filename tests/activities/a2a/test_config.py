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
from activities.a2a import config
from retinue.remote_capability import RemoteSettings
from retinue.settings import ROOT

AGENT = {"url": "https://agents.example/travel"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("RETINUE_A2A_CONFIG", raising=False)
    return tmp_path / "a2a.json"


def write(file: Path, **agents: Any) -> None:
    file.write_text(json.dumps({"agents": agents}))


def test_configured_agents_are_capabilities_beside_the_folders(file: Path) -> None:
    assert activities.names() == activities.folders()
    write(file, travel=AGENT, away={**AGENT, "disabled": True})
    assert set(activities.names()) - set(activities.folders()) == {"travel"}
    contract = activities.load("travel").CONTRACT
    assert (contract.name, contract.task_queue()) == ("travel", "travel")
    assert "a2a" not in activities.folders()


def test_a_name_that_an_mcp_server_has_is_taken(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file.parent / "mcp.json").write_text(json.dumps({"mcpServers": {"travel": {"command": "serve"}}}))
    write(file, travel=AGENT, trains=AGENT)
    assert set(activities.names()) - set(activities.folders()) == {"travel", "trains"}
    assert "the name 'travel' is taken" in caplog.text
    assert activities.load("travel").__name__ == "mcp.travel"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        "canary",
        {"url": "file:///canary"},
        {**AGENT, "readOnly": "canary"},
        {**AGENT, "headers": {"Authorization": ["canary"]}},
        {**AGENT, "timeout_seconds": 100_000},
        {**AGENT, "wait_seconds": 100_000},
    ],
    ids=str,
)
def test_a_wrong_entry_is_told_without_repeating_it_and_holds_nobody_up(
    file: Path, entry: object, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, wrong=entry, fine=AGENT)
    assert set(activities.names()) - set(activities.folders()) == {"fine"}
    assert "the A2A agent wrong: " in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("content", ["", "{", '{"key": "canary', "[]", '{"agents": 7}', "[" * 100_000])
def test_a_broken_file_leaves_the_folders_alone(file: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(content)
    assert activities.names() == activities.folders()
    assert "no A2A agent is served" in caplog.text
    assert "canary" not in caplog.text


def test_variables_are_filled_in_and_known_as_secrets(file: Path) -> None:
    write(file, travel={"url": "${BASE}/travel", "headers": {"Authorization": "Bearer ${KEY}", "X-Team": "${T:-b}"}})
    agent = config.agent("travel", [])
    environment = {"KEY": "canary-key", "BASE": "https://agents.example"}
    expanded = agent.expanded(environment)
    assert expanded.url.get_secret_value() == "https://agents.example/travel"
    assert expanded.headers["X-Team"].get_secret_value() == "b"
    assert {"canary-key", "Bearer canary-key"} <= agent.secrets(environment)
    assert "canary" not in repr(expanded)
    with pytest.raises(LookupError, match="KEY is not set"):
        activities.load("travel")


def test_each_agent_has_a_database_of_its_own(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert RemoteSettings.of("my-travel", kind="a2a").database_url == f"sqlite+aiosqlite:///{tmp_path}/a2a-my-travel.db"
    monkeypatch.setenv("MY_TRAVEL_DATABASE_URL", "postgresql+asyncpg://somewhere/travel")
    assert RemoteSettings.of("my-travel", kind="a2a").database_url == "postgresql+asyncpg://somewhere/travel"


def test_reading_the_names_imports_nothing_heavy(file: Path) -> None:
    write(file, travel=AGENT)
    heavy = ["a2a", "google.protobuf", "mcp", "httpx", "sqlmodel", "sqlalchemy"]
    program = f"import sys, activities; print(activities.names(), [name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "'travel'" in done.stdout
    assert done.stdout.strip().endswith(" []")
