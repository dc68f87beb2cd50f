"""The supervisor's look at what the API says: it waits in words, and replaces a workflow worker that leaves the registry mute."""

from __future__ import annotations

import http.server
import io
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from retinue.accounts import caller_keys
from retinue.network import model_servers
from retinue.settings import RetinueSettings
from tests.model_servers import OLLAMA, answering
from workers import supervisor
from workers.companions import StartFailed
from workers.supervisor import Supervisor

Health = dict[str, Any] | None
OK: Health = {"status": "ok"}
MUTE: Health = {
    "status": "waiting",
    "waiting_for": ["registry"],
    "detail": "the registry does not answer; workflow worker restarted 09:41 UTC",
}


@dataclass
class Clock:
    """Seconds go by only by waiting."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Worker:
    """A child that only remembers why it was replaced."""

    name: str = "workflows"
    replaced: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stopped: int = 0

    def ask_to_stop(self) -> None:
        self.stopped += 1

    def replace(self, reason: str) -> None:
        self.replaced.append(reason)

    def keep_alive(self) -> None:
        """Nothing to do."""


@dataclass
class House:
    """A supervisor whose API says what a test wants."""

    supervisor: Supervisor
    clock: Clock
    worker: Worker
    says: Callable[[], Health] = lambda: OK

    def look(self, seconds: int) -> None:
        """Look every ten seconds for so long."""
        for _ in range(seconds // 10):
            self.supervisor._look()
            self.clock.now += 10


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    clock, worker = Clock(), Worker()
    made = House(Supervisor(RetinueSettings(data_dir=tmp_path)), clock, worker)
    made.supervisor._children = [worker]  # type: ignore[list-item]  # all that is asked of a child
    monkeypatch.setattr(supervisor, "time", clock)
    monkeypatch.setattr(supervisor, "_health", lambda _url: made.says())
    return made


def test_a_workflow_worker_that_leaves_the_registry_mute_is_replaced(house: House) -> None:
    house.says = lambda: MUTE
    house.look(120)
    assert house.worker.replaced == []
    house.look(20)
    assert house.worker.replaced == ["leaves the registry without an answer for 120 s"]


def test_a_machine_that_is_merely_slow_does_not_lose_its_worker_again_and_again(house: House) -> None:
    """Each replacement doubles the patience: four in an hour, and then one in half an hour."""
    house.says = lambda: MUTE
    house.look(3600)
    assert len(house.worker.replaced) == 4


def test_one_answer_in_between_is_progress(house: House) -> None:
    for _ in range(20):
        house.says = lambda: MUTE
        house.look(110)
        house.says = lambda: OK
        house.look(10)
    assert house.worker.replaced == []


@pytest.mark.parametrize("health", [None, {"status": "waiting", "waiting_for": ["temporal"], "detail": "Temporal"}])
def test_what_is_not_the_workers_fault_does_not_cost_it_its_place(house: House, health: Health) -> None:
    house.says = lambda: health
    house.look(3600)
    assert house.worker.replaced == []


def test_who_waits_is_told_for_what_and_that_it_is_ready_however_late(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_seconds: float) -> bool:
        house.clock.now += 5
        return False

    monkeypatch.setattr(house.supervisor._stop, "wait", wait)
    late = house.clock.now + 100
    house.says = lambda: OK if house.clock.now > late else MUTE
    house.supervisor._await_ready()
    [waits, ready] = capsys.readouterr().out.splitlines()
    assert waits.startswith("Not ready after 65 s: the registry does not answer; workflow worker restarted 09:41 UTC")
    assert ready.startswith("Ready.")


class _Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(json.dumps(MUTE).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Says) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/readyz"
        server.shutdown()
        thread.join()


def test_what_waits_is_read_from_a_503(address: str) -> None:
    assert supervisor._health(address) == MUTE


def test_an_api_that_does_not_answer_says_nothing() -> None:
    assert supervisor._health("http://127.0.0.1:1/readyz") is None


def test_weather_is_simulated_only_until_its_service_answers(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy start the service may answer too late."""
    answers = threading.Event()
    monkeypatch.setattr(supervisor, "time", time)
    monkeypatch.setattr(supervisor, "_WEATHER_AGAIN", 0.05)
    monkeypatch.delenv("WEATHER_PROVIDER", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: _open(answers))
    house.supervisor._weather = probe = supervisor._WeatherProbe()
    chosen = probe.variables(wait=0.2)
    house.worker.name, house.worker.environment = "weather", dict(chosen)
    house.supervisor._keep_alive()
    assert (chosen, house.worker.stopped) == ({"WEATHER_PROVIDER": "simulated"}, 0)
    answers.set()
    probe.variables(wait=30)
    for _ in range(2):
        house.supervisor._keep_alive()
    assert (house.worker.environment, house.worker.stopped) == ({}, 1)
    assert "The weather service answers" in capsys.readouterr().out


def test_a_chosen_provider_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_PROVIDER", "simulated")
    house.supervisor._weather = probe = supervisor._WeatherProbe()
    house.worker.name, house.worker.environment = "weather", {"WEATHER_PROVIDER": "simulated"}
    house.supervisor._keep_alive()
    assert (probe.variables(), house.worker.stopped) == ({}, 0)


def _models_found(tmp_path: Path, servers: str) -> str:
    return Supervisor(RetinueSettings(data_dir=tmp_path, model_servers=servers))._models_found()


def test_a_model_on_this_machine_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(model_servers, "WITHIN", 20.0)
    with answering(OLLAMA) as server:
        line = _models_found(tmp_path, server.url)
        assert line.startswith(
            f"Found: Ollama at {server.url.removeprefix('http://')} has qwen3:4b, llama3.2, gemma3 and "
        )
        assert "Nothing is sent there unless" in line
        assert "\n" not in line
        assert _models_found(tmp_path, "off") == ""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-42")
        assert _models_found(tmp_path, server.url) == ""


def test_servers_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StartFailed, match=r"RETINUE_MODEL_SERVERS: 'http://example\.com' is no address on this machine"
    ):
        _models_found(tmp_path, "http://example.com")


def _open(answers: threading.Event) -> io.BytesIO:
    if not answers.is_set():
        raise TimeoutError
    return io.BytesIO()


def test_each_process_gets_its_own_key_of_the_accounts_service_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RETINUE_ACCOUNTS_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    children = {one.name: one for one in Supervisor(RetinueSettings(data_dir=tmp_path))._plan_children({})}
    root = caller_keys.local_root(tmp_path)
    held = {name: one.environment.get("RETINUE_ACCOUNTS_KEY", "") for name, one in children.items()}
    assert {name: caller_keys.caller(key, root) for name, key in held.items() if key} == {
        "api": "people",
        **{name: f"capability/{name}" for name in ("calendar", "contacts", "email", "reasoning")},
    }
    with_passes = [name for name, one in children.items() if "RETINUE_ACCOUNTS_PASS_KEYS" in one.environment]
    assert with_passes == ["workflows"]
    assert {one.environment.get("RETINUE_ACCOUNTS_URL") for name, one in children.items() if held[name]} == {
        f"http://127.0.0.1:{children['accounts'].environment['ACCOUNTS_PORT']}"
    }


def test_an_accounts_service_elsewhere_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_ACCOUNTS_URL", "https://accounts.example.com")
    children = list(Supervisor(RetinueSettings(data_dir=tmp_path))._plan_children({}))
    assert "accounts" not in [one.name for one in children]
    assert not any("RETINUE_ACCOUNTS_KEY" in one.environment for one in children)
