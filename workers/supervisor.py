"""The supervisor behind `make up`: starts the whole local stack, watches it, and drains it on Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import activities
from retinue.accounts import caller_keys
from retinue.network import model_choice, model_servers
from retinue.network.model_choice import ModelChoice
from retinue.settings import RESTORED_AT, ROOT, RetinueSettings, encrypts, name_only_person, temporal_address
from workers import children, temporal_server
from workers.children import Child, Silence
from workers.code_version import code_version
from workers.companions import Companion, StartFailed, companion

_TEMPORAL_WAIT = 600.0
"""Seconds until Temporal listens; on a busy machine it takes long."""
_IMPATIENT = 10.0
"""Seconds until the stack is ready on an idle machine."""
_TOLD_EACH = 60.0
"""Seconds between two messages about what the start waits for."""
_LOOK = 10.0
"""Seconds between two requests of `/readyz` once the stack was ready."""
_HEALTH_TIMEOUT = 8.0
_REGISTRY_WAIT = 120.0
"""Seconds without an answer of the registry, while Temporal answers, after which its worker is replaced; doubled by each
replacement, so that a slow machine does not replace it again and again."""
_REGISTRY_WAIT_AT_MOST = 16 * _REGISTRY_WAIT
_DRAIN = 12.0
_COMPANION_DRAIN = 5.0
_NAMESPACE = "default"
_LONG_LOG = 5 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WEATHER_PROBE = "https://api.open-meteo.com/v1/forecast"
_WEATHER_WAIT = 2.5
"""Seconds that the start waits for the weather service. Values are simulated until it answers."""
_WEATHER_TIMEOUT = 10.0
_WEATHER_AGAIN = 30.0


class Supervisor:
    """One local stack, with its state in the data folder; stacks with different folders and ports are independent."""

    def __init__(self, settings: RetinueSettings, companions: Sequence[str] = ()) -> None:
        """Configure the stack.

        Raises:
            StartFailed: A companion server is not installed, or a variable is invalid.
        """
        self._settings = settings
        self._data = settings.data_dir.resolve()
        self._logs = self._data / "logs"
        self._temporal: subprocess.Popen[bytes] | None = None
        self._temporal_command: list[str] = []
        self._retention: subprocess.Popen[bytes] | None = None
        self._children: list[Child] = []
        self._companions: list[Companion] = [
            companion(name, host=settings.host, data=self._data, settings=settings)
            for name in dict.fromkeys(companions)
        ]
        self._beside: list[Child] = []
        self._weather: _WeatherProbe | None = None
        self._model_servers = _model_servers(settings)
        self._stop = threading.Event()
        self._looked_at = 0.0
        self._registry_wait = _REGISTRY_WAIT
        self._unanswered_since: float | None = None

    def run(self) -> int:
        """Run until SIGINT or SIGTERM. Returns the exit code."""
        if self._settings.host not in _LOOPBACK:
            raise StartFailed(
                f"RETINUE_HOST={self._settings.host} would open a stack without login to the network; "
                "use 127.0.0.1, or the containers behind your own reverse proxy"
            )
        self._logs.mkdir(parents=True, exist_ok=True)
        _put_long_logs_aside(self._logs)
        with _only_one(self._data):
            self._check_ports()
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, self._on_signal)
            try:
                self._start()
                self._watch()
            finally:
                self._shut_down()
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _check_ports(self) -> None:
        wanted = {"RETINUE_PORT": self._settings.port}
        if temporal_address() is None:
            wanted["RETINUE_TEMPORAL_PORT"] = self._settings.temporal_port
            wanted["RETINUE_TEMPORAL_UI_PORT"] = self._settings.temporal_ui_port
            if self._settings.temporal_http_port:
                wanted["RETINUE_TEMPORAL_HTTP_PORT"] = self._settings.temporal_http_port
        wanted |= {companion.port_variable: companion.port for companion in self._companions}
        for variable, port in wanted.items():
            if temporal_server.answers(self._settings.host, port):
                raise StartFailed(f"port {port} is in use; end what uses it or set {variable} to another one")

    def _start(self) -> None:
        os.chdir(ROOT)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ["RETINUE_DATA_DIR"] = str(self._data)
        name_only_person()
        _note_restored(self._data)
        os.environ["RETINUE_BUILD_ID"] = self._settings.build_id or code_version(ROOT)
        os.environ["RETINUE_MAKE_CURRENT"] = "true"
        embedded = temporal_address() is None
        if embedded:
            self._start_temporal()
        self._weather = _WeatherProbe()
        children.prepare()
        self._start_companions()
        if embedded:
            self._await_temporal()
        if self._stop.is_set():
            return
        weather = self._weather.variables()
        self._children = [*self._plan_children(weather)]
        for child in self._children:
            child.start()
        print(self._table(embedded=embedded, weather=weather), flush=True)
        if found := self._models_found():
            print(found, flush=True)
        self._await_ready()
        if embedded:
            self._retention = temporal_server.keep_finished_runs(
                os.environ["TEMPORAL_ADDRESS"], log=self._logs / "temporal.log"
            )

    def _start_companions(self) -> None:
        """Start the companion servers before the workers, which use them at once."""
        for one in self._companions:
            if child := one.child(self._logs):
                self._beside.append(child)
                child.start()
        for one in self._companions:
            one.furnish(self._stop.is_set)

    def _start_temporal(self) -> None:
        host, port = self._settings.host, self._settings.temporal_port
        os.environ["TEMPORAL_ADDRESS"] = f"{host}:{port}"
        self._temporal_command = temporal_server.command(
            host=host,
            port=port,
            ui_port=self._settings.temporal_ui_port,
            http_port=self._settings.temporal_http_port or temporal_server.free_port(host),
            database=self._data / "temporal.db",
            codec=f"http://{host}:{self._settings.port}/codec/{_NAMESPACE}" if _encrypts() else None,
        )
        self._temporal = temporal_server.start(self._temporal_command, log=self._logs / "temporal.log")

    def _await_temporal(self) -> None:
        deadline = time.monotonic() + _TEMPORAL_WAIT  # after that another problem is likely
        while not temporal_server.answers(self._settings.host, self._settings.temporal_port):
            assert self._temporal is not None
            if self._temporal.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(f"Temporal did not start; see {self._logs / 'temporal.log'}")
            if self._stop.wait(0.05):
                return

    def _plan_children(self, weather: dict[str, str]) -> Iterator[Child]:
        """Create the processes of the stack, one per capability folder."""
        model: dict[str, str] = {}
        if not _has_model():
            port = temporal_server.free_port()
            model = _offline_model(port)
            offline = self._child("offline", "offline", ["--host", "127.0.0.1", "--port", str(port)])
            offline.address = f"http://127.0.0.1:{port}/healthz"
            yield offline
        capabilities = activities.names()
        keys: dict[str, dict[str, str]] = {}
        if not os.environ.get("RETINUE_ACCOUNTS_URL"):
            port = temporal_server.free_port()
            keys = _account_keys(self._data, f"http://127.0.0.1:{port}")
            yield self._accounts(port)
        waits_for = {"RETINUE_WAIT_FOR": ",".join(activities.folders())}
        yield self._child("api", "api", [], {**waits_for, **self._codec(), **keys.get("api", {})})
        beside = self._of_companions("workflows")
        yield self._child("workflows", "workers", ["workflows"], {**keys.get("workflows", {}), **beside})
        own = {"weather": weather, "reasoning": model}
        for name in capabilities:
            variables = {**own.get(name, {}), **keys.get(name, {}), **self._of_companions(name)}
            yield self._child(name, "workers", [name], variables)

    def _of_companions(self, name: str) -> dict[str, str]:
        """Return the variables by which a worker uses the companion servers."""
        return {variable: value for one in self._companions for variable, value in one.variables(name).items()}

    def _accounts(self, port: int) -> Child:
        """Create the accounts service, which knows people's accounts elsewhere; it sees nothing of Temporal."""
        base = f"http://{self._settings.host}:{self._settings.port}"
        variables = {"ACCOUNTS_HOST": "127.0.0.1", "ACCOUNTS_PORT": str(port), "ACCOUNTS_PRIVATE_HOSTS": "true"}
        variables |= {"RETINUE_PUBLIC_URL": os.environ.get("RETINUE_PUBLIC_URL") or base}
        child = self._child("accounts", "accounts", [], variables)
        child.address = f"http://127.0.0.1:{port}/healthz"
        return child

    def _codec(self) -> dict[str, str]:
        """Return the address at which the Web UI decodes encrypted payloads; None without encryption."""
        if not _encrypts() or os.environ.get("RETINUE_CODEC_ORIGIN") or not self._temporal_command:
            return {}
        return {"RETINUE_CODEC_ORIGIN": f"http://{self._settings.host}:{self._settings.temporal_ui_port}"}

    def _child(self, name: str, module: str, arguments: list[str], environment: dict[str, str] | None = None) -> Child:
        silence = Silence(self._data / "alive" / name)
        return Child(name, module, arguments, environment or {}, self._logs / f"{name}.log", silence)

    def _table(self, *, embedded: bool, weather: dict[str, str]) -> str:
        base = f"http://{self._settings.host}"
        rows = [
            ("Console", f"{base}:{self._settings.port}", "talk, watch, decide"),
            ("API", f"{base}:{self._settings.port}/v1", "documentation at /docs"),
            ("Temporal", os.environ["TEMPORAL_ADDRESS"], "embedded" if embedded else "from TEMPORAL_ADDRESS"),
        ]
        if embedded:
            rows.append(("Temporal Web UI", f"{base}:{self._settings.temporal_ui_port}", "every run, step by step"))
        rows += [
            ("Model", *self._model_row()),
            ("Weather", "simulated" if weather else "Open-Meteo", "until the service answers" if weather else ""),
            *(one.row() for one in self._companions),
            ("Data and logs", str(self._data), "kept for the next start"),
        ]
        width = max(len(row[1]) for row in rows)
        return "\n".join(["Retinue", *(f"  {name:<16} {value:<{width}}  {note}" for name, value, note in rows)])

    def _model_row(self) -> tuple[str, str]:
        if os.environ.get("OPENAI_BASE_URL"):
            return os.environ["OPENAI_BASE_URL"], "from OPENAI_BASE_URL"
        if os.environ.get("OPENAI_API_KEY"):
            return "OpenAI", "from OPENAI_API_KEY"
        if chosen := self._chosen():
            return chosen.model, f"of {chosen.server} at {chosen.base_url}, chosen with `bin/retinue model use`"
        return "offline", "rule-based; set OPENAI_API_KEY for a real one"

    def _chosen(self) -> ModelChoice | None:
        """Return the model that a person chose; None without one, or with one that cannot be read, as `doctor` says."""
        with contextlib.suppress(ValueError):
            return model_choice.read(model_choice.choice_file(self._data))
        return None

    def _models_found(self) -> str:
        """Return one line about servers of language models on this machine; empty without them, or if one is set up."""
        if _has_model() or self._chosen():
            return ""
        found = model_servers.in_words(model_servers.find(self._model_servers))
        return f"Found: {found}. Nothing is sent there unless you {model_servers.HOW_TO_USE}." if found else ""

    def _await_ready(self) -> None:
        """Wait until the stack is ready; print meanwhile what it waits for."""
        started = told_at = time.monotonic()
        while not self._stop.is_set():
            health = self._look()
            if health is not None and health.get("status") == "ok":
                print('Ready. Try: bin/retinue ask "What is on my calendar tomorrow?"   (Ctrl-C stops)', flush=True)
                return
            if time.monotonic() - told_at > _TOLD_EACH:
                told_at = time.monotonic()
                print(f"Not ready after {told_at - started:.0f} s: {_what_waits(health)}; see {self._logs}", flush=True)
            self._keep_alive()
            # a request costs CPU that the others need to get ready
            self._stop.wait(0.1 if time.monotonic() - started < _IMPATIENT else 1)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._keep_alive()
            if time.monotonic() - self._looked_at > _LOOK:
                self._look()

    def _look(self) -> dict[str, Any] | None:
        """Return the API's health, None without an answer; replace a workflow worker that does not serve the registry."""
        health = _health(f"http://{self._settings.host}:{self._settings.port}/readyz")
        now = self._looked_at = time.monotonic()
        if health is None or health.get("waiting_for") != ["registry"]:
            self._unanswered_since = None
            return health
        self._unanswered_since = self._unanswered_since or now
        if now - self._unanswered_since > self._registry_wait:
            for child in self._children:
                if child.name == "workflows":
                    child.replace(f"leaves the registry without an answer for {self._registry_wait:.0f} s")
            self._registry_wait = min(self._registry_wait * 2, _REGISTRY_WAIT_AT_MOST)
            self._unanswered_since = None
        return health

    def _use_real_weather(self) -> None:
        """Restart a weather worker that simulates once the service can be reached."""
        for child in self._children:
            if child.name == "weather" and child.environment.get("WEATHER_PROVIDER") and self._has_weather():
                print("The weather service answers: weather is not simulated any more", flush=True)
                child.environment = {k: v for k, v in child.environment.items() if k != "WEATHER_PROVIDER"}
                child.ask_to_stop()

    def _has_weather(self) -> bool:
        return self._weather is not None and self._weather.chooses and not self._weather.variables(wait=0)

    def _keep_alive(self) -> None:
        self._use_real_weather()
        for child in [*self._beside, *self._children]:
            child.keep_alive()
        if self._retention is not None and self._retention.poll() is not None:
            if self._retention.returncode:
                print(f"Ended runs are kept for one day only; see {self._logs / 'temporal.log'}", flush=True)
            self._retention = None
        if self._temporal is not None and self._temporal.poll() is not None:
            print(f"Temporal ended (exit code {self._temporal.returncode}); starting it again", flush=True)
            self._temporal = temporal_server.start(self._temporal_command, log=self._logs / "temporal.log")
            self._stop.wait(1)

    def _shut_down(self) -> None:
        """Drain the API and the workers first, then what they use, and Temporal last, so that it records the end."""
        print("Stopping after running steps have finished.", flush=True)
        for child in self._children:
            child.ask_to_stop()
        deadline = time.monotonic() + _DRAIN
        for child in self._children:
            child.wait(deadline)
        for child in self._beside:
            child.ask_to_stop()
            child.wait(time.monotonic() + _COMPANION_DRAIN)
        if self._temporal is not None:
            _stop_process(self._temporal)
        print("Stopped. All state is kept.", flush=True)


def _account_keys(data: Path, url: str) -> dict[str, dict[str, str]]:
    """Return the variables by which each process reaches the accounts service: each gets exactly its own key.

    Raises:
        StartFailed: The root key is invalid.
    """
    try:
        root = caller_keys.local_root(data)
    except ValueError as error:
        raise StartFailed(str(error)) from None
    keys = {name: caller_keys.bearer_of(name, root) for name in caller_keys.CAPABILITIES}
    keys["api"] = caller_keys.bearer_of_people(root)
    variables = {name: {"RETINUE_ACCOUNTS_URL": url, "RETINUE_ACCOUNTS_KEY": key} for name, key in keys.items()}
    return variables | {"workflows": {"RETINUE_ACCOUNTS_PASS_KEYS": caller_keys.pass_keys(root)}}


def _encrypts() -> bool:
    """Whether encryption keys are set for this stack.

    Raises:
        StartFailed: The keys are invalid.
    """
    if not encrypts():
        return False
    # imported here, since it costs 20 MB that only encryption needs
    from retinue.temporal.codec import EncryptionSettings

    try:
        return EncryptionSettings().codec().keyring is not None
    except ValueError as error:
        raise StartFailed(str(error)) from None


class _WeatherProbe:
    """Asks in the background whether the weather service can be reached, until it answers once."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self.chooses = not os.environ.get("WEATHER_PROVIDER")
        """Whether the provider follows from the answer, since the person chose none."""
        if self.chooses:
            threading.Thread(target=self._probe, daemon=True).start()

    def variables(self, *, wait: float = _WEATHER_WAIT) -> dict[str, str]:
        """Return the weather worker's variables; empty once the service has answered, or if the person chose a provider."""
        return {} if not self.chooses or self._answered.wait(wait) else {"WEATHER_PROVIDER": "simulated"}

    def _probe(self) -> None:
        while not self._answered.is_set():
            try:
                urllib.request.urlopen(
                    os.environ.get("WEATHER_URL") or _WEATHER_PROBE, timeout=_WEATHER_TIMEOUT
                ).close()
                self._answered.set()
            except urllib.error.HTTPError:
                self._answered.set()  # any answer will do
            except (OSError, ValueError):
                time.sleep(_WEATHER_AGAIN)


@contextlib.contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Lock the data folder, since two stacks on the same files would damage them."""
    with (data / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartFailed(f"Retinue already runs on {data}; stop it or set RETINUE_DATA_DIR") from None
        yield


def _note_restored(data: Path) -> None:
    """Note the first start after `retinue restore`, for `retinue.temporal.restored`."""
    file = data / RESTORED_AT
    if file.exists() and not file.read_text(encoding="ascii").strip():
        file.write_text(f"{datetime.now(UTC).isoformat()}\n", encoding="ascii")


def _put_long_logs_aside(folder: Path) -> None:
    for log in folder.glob("*.log"):
        if log.stat().st_size > _LONG_LOG:
            log.replace(log.with_suffix(".log.1"))


def _offline_model(port: int) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": "offline",
        "RETINUE_MODEL": "offline",
    }


def _has_model() -> bool:
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


def _model_servers(settings: RetinueSettings) -> list[str]:
    try:
        return model_servers.addresses(settings.model_servers)
    except ValueError as error:
        raise StartFailed(f"RETINUE_MODEL_SERVERS: {error}") from None


def _health(url: str) -> dict[str, Any] | None:
    """Return the answer of `/readyz`; None without an answer."""
    try:
        with urllib.request.urlopen(url, timeout=_HEALTH_TIMEOUT) as response:
            found = json.load(response)
    except urllib.error.HTTPError as error:
        with error, contextlib.suppress(OSError, ValueError):
            found = json.load(error)
            return found if isinstance(found, dict) else None
        return None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return found if isinstance(found, dict) else None


def _what_waits(health: dict[str, Any] | None) -> str:
    return "the API does not answer" if health is None else str(health.get("detail") or health.get("waiting_for"))


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def main(companions: Sequence[str] = ()) -> int:
    """Run `python -m workers up` with these companion servers."""
    try:
        return Supervisor(RetinueSettings(), companions).run()
    except StartFailed as error:
        print(f"retinue: {error}", file=sys.stderr)
        return 1
