"""The commands of accounts elsewhere, against a stand-in for the API."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cli import accounts as commands
from cli import doctor
from cli.findings import Level
from retinue.accounts.caller_keys import SEAL_FILE
from tests.cli.conftest import Run

PASSWORD = "canary-3c1d-app-password"
AT = "2027-03-01T07:00:00Z"
Json = dict[str, Any]


def account(name: str = "work", **more: Any) -> Json:
    return {
        "account_id": f"id-{name}",
        "name": name,
        "address": "ana@example.com",
        "provider": "google",
        "provider_id": "google",
        "kind": "bearer",
        "capabilities": ["calendar", "email"],
        "endpoints": {},
        "default_for": ["calendar"],
        "may": ["read your calendar", "read, send and file your mail"],
        "state": "connected",
        "problem": "",
        "connected_at": AT,
        "last_used_at": None,
        "last_used_for": "",
    } | more


MAILBOX = account(
    "mailbox",
    provider="imap",
    provider_id="imap",
    kind="password",
    capabilities=["email"],
    endpoints={"imap": "imaps://imap.example.com:993"},
    state="disconnected",
    problem="the server refused the password",
)
PROVIDERS = [
    {"id": "google", "provider": "google", "title": "Google", "kind": "bearer", "capabilities": ["calendar", "email"]},
    {
        "id": "microsoft",
        "provider": "microsoft",
        "title": "Microsoft",
        "kind": "bearer",
        "capabilities": [],
        "ready": False,
    },
    {"id": "imap", "provider": "imap", "title": "Mailbox", "kind": "password", "capabilities": ["email"]},
]


CODE = {
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://accounts.example.com/device",
    "interval": 0,
    "expires_in": 60,
    "state": "s-2",
}


@dataclass
class Api:
    """What the stand-in has, and what it was sent."""

    url: str = ""
    accounts: list[Json] = field(default_factory=list)
    sent: list[tuple[str, Json]] = field(default_factory=list)
    found: list[Json] = field(default_factory=list)
    agrees: bool = True
    off: bool = False

    def looked(self) -> bool:
        """Whether it was asked for a second time whether the person has agreed."""
        return [path for path, _ in self.sent].count("POST /oauth/device/poll") > 1

    def begin(self, body: Json) -> Json:
        """A consent, to which the person agrees at once."""
        if self.agrees and "redirect_uri" not in body:
            self.accounts.append(account("new"))
        elif self.agrees:
            threading.Thread(target=_comes_back, args=(body["redirect_uri"],), daemon=True).start()
        return {"authorize_url": "https://accounts.example.com/auth?state=s-1", "state": "s-1"}


def _comes_back(redirect_uri: str) -> None:
    for query in ("?state=wrong&code=stolen", "/deeper?state=s-1&code=stolen", "?state=s-1&code=canary-code&iss=here"):
        httpx.get(redirect_uri + query, timeout=5)


def _application(api: Api) -> FastAPI:
    application = FastAPI()

    @application.api_route("/v1/accounts{rest:path}", methods=["GET", "POST", "PATCH", "DELETE"])
    async def answer(rest: str, request: Request) -> Response:
        if api.off:
            return JSONResponse({"detail": "accounts are switched off here"}, 404)
        body = await request.body()
        given: Json = json.loads(body) if body else {}
        if request.method != "GET":
            api.sent.append((f"{request.method} {rest}", given))
        if request.method == "DELETE":
            return Response(status_code=204)
        if rest.endswith("/test"):
            works = "mailbox" not in rest
            return JSONResponse({"works": works, "problem": "" if works else "the server refused the password"})
        if rest == "/oauth":
            return JSONResponse(api.begin(given))
        answers: dict[str, Any] = {
            "": {"accounts": api.accounts} if request.method == "GET" else account("mailbox"),
            "/providers": {"providers": PROVIDERS},
            "/discover": {"found": api.found},
            "/oauth/finish": account(),
            "/oauth/device": CODE,
            "/oauth/device/poll": {"account": account() if api.looked() else None},
        }
        return JSONResponse(answers.get(rest) or account() | given)

    return application


@pytest.fixture(scope="module")
def serving_api() -> Iterator[Api]:
    api = Api()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(_application(api), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        api.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield api
        server.should_exit = True
        thread.join(5)


@pytest.fixture
def stand_in(serving_api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The stand-in as new, for a person who is asked often."""
    serving_api.__dict__ |= Api(url=serving_api.url).__dict__
    monkeypatch.setenv("RETINUE_URL", serving_api.url)
    monkeypatch.setattr(commands, "_LOOK", 0.01)
    return serving_api


@pytest.fixture
def run(retinue: Run, stand_in: Api) -> Run:
    """Runs `retinue accounts ...` before it."""
    return lambda *arguments, **options: retinue("--url", stand_in.url, "accounts", *arguments, **options)


def test_accounts_are_listed_in_words(run: Run, stand_in: Api) -> None:
    stand_in.accounts = [account(), MAILBOX]
    result = run()
    assert result.exit_code == 0
    assert "work (ana@example.com)  google: works" in result.stdout
    assert "may read your calendar; read, send and file your mail" in result.stdout
    assert "imap: must be connected again" in result.stdout
    assert "bin/retinue accounts again id-mailbox" in result.stdout


def test_who_has_none_is_told_how_to_connect_one(run: Run) -> None:
    assert "`bin/retinue accounts add google`" in run("list").stdout


def test_a_consent_is_awaited(run: Run, stand_in: Api) -> None:
    stand_in.accounts = [account()]
    result = run("add", "google", "--for", "email", "--name", "new", "--no-browser")
    assert result.exit_code == 0, result.output
    assert "https://accounts.example.com/auth?state=s-1" in result.stdout
    assert "new is connected." in result.stdout
    assert stand_in.sent == [("POST /oauth", {"provider_id": "google", "capabilities": ["email"], "name": "new"})]


def test_a_consent_that_nobody_gives_ends(run: Run, stand_in: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.agrees = False
    monkeypatch.setattr(commands, "GOOD_FOR", 0.1)
    for way in ([], ["--loopback"]):
        result = run("add", "google", "--no-browser", *way)
        assert (result.exit_code, "nobody agreed in time" in result.output) == (1, True)


def test_at_the_loopback_only_the_answer_with_the_right_state_counts(run: Run, stand_in: Api) -> None:
    result = run("add", "google", "--loopback", "--no-browser", "--json")
    assert result.exit_code == 0, result.output
    assert stand_in.sent[1] == ("POST /oauth/finish", {"state": "s-1", "code": "canary-code", "iss": "here"})
    assert stand_in.sent[0][1]["redirect_uri"].startswith("http://127.0.0.1:")
    assert "canary-code" not in result.output


def test_a_code_is_typed_on_another_device(run: Run, stand_in: Api) -> None:
    result = run("add", "google", "--device", "--for", "email")
    assert result.exit_code == 0, result.output
    assert "Open https://accounts.example.com/device on any device and type ABCD-EFGH" in result.stdout
    assert "work is connected." in result.stdout
    assert [path for path, _ in stand_in.sent] == ["POST /oauth/device", *["POST /oauth/device/poll"] * 2]


def test_microsoft_knows_a_loopback_by_its_name(run: Run, stand_in: Api) -> None:
    stand_in.accounts = [account(provider="microsoft", provider_id="microsoft", state="disconnected")]
    result = run("again", "work", "--loopback", "--no-browser")
    assert result.exit_code == 0, result.output
    assert stand_in.sent[0][1]["redirect_uri"].startswith("http://localhost:")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "microsoft"], "Microsoft is not set up here"),
        (["add", "yahoo"], "there is no provider 'yahoo'"),
        (["add", "google", "--for", "weather"], "--for takes one of calendar, contacts, email"),
        (["add", "mail"], "bin/retinue accounts add mail ADDRESS"),
        (["add", "mail", "ana@example.com"], "there is no terminal to ask for the app password"),
        (["rename", "nobody", "x"], "you have no account 'nobody'"),
        (["remove", "work"], "nothing was changed; add --yes"),
    ],
)
def test_wrong_usage_is_said_and_sends_no_secret(run: Run, stand_in: Api, arguments: list[str], says: str) -> None:
    stand_in.accounts = [account()]
    result = run(*arguments)
    assert (result.exit_code, says in result.output) == (2, True), result.output
    assert [path for path, _ in stand_in.sent if path != "POST /discover"] == []


def test_servers_are_shown_before_the_password_is_sent_and_it_is_never_printed(run: Run, stand_in: Api) -> None:
    stand_in.found = [
        {"provider_id": "google"},
        {
            "provider_id": "imap",
            "endpoints": {"imap": "imaps://imap.example.com:993"},
            "source": "at Thunderbird's list",
        },
    ]
    result = run("add", "mail", "ana@example.com", "--password-stdin", input=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "imap: imaps://imap.example.com:993 (found at Thunderbird's list)" in result.stdout
    path, body = stand_in.sent[-1]
    assert path == "POST "
    assert body == {
        "provider": "imap",
        "address": "ana@example.com",
        "password": PASSWORD,
        "endpoints": {"imap": "imaps://imap.example.com:993"},
    }
    assert PASSWORD not in result.output


def test_a_server_may_be_named_by_its_url(run: Run, stand_in: Api) -> None:
    where = "https://dav.example.com/"
    result = run("add", "caldav", where, "--username", "ana", "--password-stdin", input=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    body = stand_in.sent[-1][1]
    assert (body["address"], body["username"], body["endpoints"]) == ("ana", "ana", {"caldav": where})


def test_an_account_is_connected_again(run: Run, stand_in: Api) -> None:
    stand_in.accounts = [MAILBOX]
    result = run("again", "mailbox", "--password-stdin", input=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert stand_in.sent[-1][1]["account_id"] == "id-mailbox"


def test_accounts_are_tested_renamed_chosen_and_removed(run: Run, stand_in: Api) -> None:
    stand_in.accounts = [account(), MAILBOX]
    tested = run("test")
    assert (tested.exit_code, "work: works" in tested.stdout) == (1, True)
    assert "mailbox: the server refused the password" in tested.stdout
    assert run("rename", "WORK", "office").exit_code == 0
    assert run("default", "work", "--for", "email").exit_code == 0
    assert run("remove", "work", "--yes").exit_code == 0
    assert stand_in.sent[-3:] == [
        ("PATCH /mine/id-work", {"name": "office"}),
        ("PATCH /mine/id-work", {"default_for": ["calendar", "email"]}),
        ("DELETE /mine/id-work", {}),
    ]


def test_the_doctor_tests_each_account_in_words(stand_in: Api) -> None:
    stand_in.accounts = [account(), MAILBOX]
    works, broken = list(doctor.accounts(stand_in.url))
    assert (works.check, works.level, works.found) == (
        "account work",
        Level.OK,
        "ana@example.com works, for calendar, email",
    )
    assert (broken.level, broken.found) == (Level.FAIL, "the server refused the password")
    assert "bin/retinue accounts again id-mailbox" in str(broken.advice)
    stand_in.off = True
    (off,) = doctor.accounts(stand_in.url)
    assert (off.level, off.found) == (Level.OK, "not used: accounts are switched off here")


def test_the_doctor_says_where_the_keys_of_accounts_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    assert "will be created at the first start" in doctor.account_keys().found
    (tmp_path / "accounts.db").touch()
    lost = doctor.account_keys()
    assert (lost.level, "cannot be read" in lost.found) == (Level.FAIL, True)
    file = tmp_path / SEAL_FILE
    file.touch(mode=0o644)
    file.chmod(0o644)
    assert "chmod 600" in str(doctor.account_keys().advice)
    file.chmod(0o600)
    assert (doctor.account_keys().level, "for you alone" in doctor.account_keys().found) == (Level.OK, True)
    monkeypatch.setenv("RETINUE_ACCOUNTS_SEAL_KEYS", "canary")
    assert doctor.account_keys().found == "set by RETINUE_ACCOUNTS_SEAL_KEYS"
