"""The doctor's findings."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from cli import doctor
from cli.findings import Level
from retinue.network import model_servers
from tests.cli.conftest import FakeApi, Run
from tests.model_servers import OLLAMA, answering
from tests.retinue.test_store_files import immutable, small_disk

__all__ = ["small_disk"]

SECRET = "sk-canary-42"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEMPORAL_ADDRESS", "WEATHER_PROVIDER"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_stack_it_fails_and_says_how_to_start_one(retinue: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_PROVIDER", "simulated")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")

    result = retinue("--url", "http://127.0.0.1:1", "doctor", "--json")

    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 1
    assert checks["python"]["level"] == "ok"
    assert checks["temporal"]["level"] == "fail"
    assert checks["api"]["level"] == "fail"
    assert "bin/retinue up" in checks["api"]["advice"]


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "email.db") as connection:
        connection.execute("CREATE TABLE messages (id TEXT)")
    connection.close()
    (tmp_path / "tasks.db").write_bytes(b"no database at all" * 100)

    levels = {finding.check: finding.level for finding in doctor.databases()}

    assert levels == {"database email.db": Level.OK, "database tasks.db": Level.FAIL}


def test_tools_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    files = SimpleNamespace(
        name="files",
        healthy=True,
        pollers=1,
        task_queue="files",
        left_out=["files.paint: its arguments are odd"],
        problem="",
    )
    asked = SimpleNamespace(capabilities=lambda: SimpleNamespace(capabilities=[files]))
    monkeypatch.setattr(doctor, "client_of", lambda *_, **__: asked)

    found = [finding for finding in doctor.capabilities("http://127.0.0.1:1") if finding.check == "capability files"]

    assert [(finding.level, finding.found) for finding in found] == [
        (Level.OK, "1 on queue files"),
        (Level.WARN, "a tool of its server cannot be used: files.paint: its arguments are odd"),
    ]


def test_a_read_only_database_is_found(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "email.db").close()
    with immutable(tmp_path / "email.db"):
        [finding] = doctor.databases()
    assert (finding.level, finding.found) == (Level.FAIL, "its file is read-only")


def test_a_database_on_a_full_disk_is_found(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite3.connect(small_disk / "email.db").close()
    monkeypatch.setenv("RETINUE_DATA_DIR", str(small_disk))
    [finding] = doctor.databases()
    assert finding.level is Level.FAIL
    assert "its disk is full" in finding.found


def test_the_model_s_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\n")
    for base in (api.url, "http://127.0.0.1:1", "no address"):
        monkeypatch.setenv("OPENAI_BASE_URL", base)
        finding = doctor.model()
        assert finding.level is not Level.OK
        assert SECRET not in repr(finding)


def test_without_a_model_the_offline_rules_are_named() -> None:
    assert doctor.model().level is Level.OK


def test_models_on_this_machine_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_servers, "WITHIN", 20.0)
    with answering(OLLAMA) as server, answering(b"a web page") as other:
        monkeypatch.setenv("RETINUE_MODEL_SERVERS", f"{other.url},{server.url}")
        found = doctor.models_found()
    assert (found.level, found.found) == (
        Level.OK,
        f"Ollama at {server.url.removeprefix('http://')} has qwen3:4b, llama3.2, gemma3 and 1 more",
    )


@pytest.mark.parametrize(
    ("servers", "level", "words"),
    [
        ("http://127.0.0.1:1", Level.OK, "none on this machine"),
        ("off", Level.OK, "not looked for"),
        ("http://example.com", Level.FAIL, "'http://example.com' is no address on this machine"),
    ],
)
def test_without_models_on_this_machine_it_says_so(
    servers: str, level: Level, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINUE_MODEL_SERVERS", servers)
    finding = doctor.models_found()
    assert finding.level is level
    assert words in finding.found


def test_a_folder_that_will_be_created_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path / "new" / "folder"))
    assert doctor.data_folder().level is Level.OK


def test_something_else_on_the_port_is_a_failure(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_PORT", api.url.rpartition(":")[2])
    finding = next(iter(doctor.ports(api.url)))
    assert finding.level is Level.FAIL
    assert "RETINUE_PORT" in finding.advice


def test_an_api_that_is_something_else_is_a_failure(api: FakeApi) -> None:
    assert doctor.api(api.url).found == f"{api.url} answers, but is not Retinue"


def test_a_pause_of_a_model_is_told_and_cleared(retinue: Run, api: FakeApi) -> None:
    until = "2099-01-01T00:00:00Z"
    api.pauses = [{"model": "m@models.example/v1", "until": until, "since": until, "asked_seconds": 315360000}]

    [shown] = [check for check in _checks(retinue("doctor", "--json")) if check["check"] == "pauses of models"]
    assert shown["level"] == "warn"
    assert "m@models.example/v1 is not called before" in shown["found"]
    assert "since its endpoint asked for 3,650 days" in shown["found"]
    assert "--clear-pauses" in shown["advice"]

    checks = {check["check"]: check["found"] for check in _checks(retinue("doctor", "--clear-pauses", "--json"))}
    assert checks["clear pauses"] == "all model pauses are ended"
    assert checks["pauses of models"] == "none"


def test_how_models_answer_in_json_is_told(retinue: Run, api: FakeApi) -> None:
    assert "when it first plans" in _answers(retinue)[0]["found"]
    at = "2026-11-30T12:00:00Z"
    api.forms = [
        {"model": "m@h/v1", "form": "json_schema", "words": "keeps to JSON schemas", "at": at},
        {"model": "n@h/v1", "form": "prompt", "words": "ignores in which form it is asked to answer", "at": at},
    ]
    good, weak = _answers(retinue)
    assert (good["level"], good["found"]) == ("ok", "m@h/v1 keeps to JSON schemas")
    assert (weak["level"], weak["found"]) == ("warn", "n@h/v1 ignores in which form it is asked to answer")
    assert "docs/models.md" in weak["advice"]


def _answers(retinue: Run) -> list[dict[str, Any]]:
    return [check for check in _checks(retinue("doctor", "--json")) if check["check"] == "answers in JSON"]


def _checks(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["checks"]
    return found
