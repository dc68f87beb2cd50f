"""Accounts over the front door, before the real accounts service: one's own alone, secrets only in, bad input in words."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.app import create_app
from api.auth.principals import Role
from api.deps import caller
from api.settings import ApiSettings
from retinue.accounts import caller_keys
from tests.accounts.service import Service, service
from tests.api.conftest import refused
from tests.api.tenancy.conftest import AUDITOR, OWNER, As, _from_headers
from tests.conftest import Stack

PASSWORD = "canary-password"  # what the scripted servers take
CALENDAR = {"provider": "caldav", "address": "anna@nextcloud.example", "password": PASSWORD, "name": "home"}
OPERATOR = frozenset({Role.OPERATOR})
Json = dict[str, Any]


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Service]:
    """The accounts service, with a scripted provider and scripted servers."""
    (tmp_path / "accounts").mkdir()
    async with service(tmp_path / "accounts") as running:
        yield running


@pytest.fixture
async def people(
    stack: Stack, elsewhere: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[As]:
    """A front door before it; give a name, an organisation and roles."""
    monkeypatch.setenv("RETINUE_ACCOUNTS_URL", elsewhere.url)
    monkeypatch.setenv("RETINUE_ACCOUNTS_KEY", caller_keys.bearer_of_people(elsewhere.root))
    settings = ApiSettings(
        api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_public_url="https://retinue.example"
    )
    app = create_app(settings, client=stack.temporal)
    app.dependency_overrides[caller] = _from_headers
    async with AsyncExitStack() as open_things:
        await open_things.enter_async_context(app.router.lifespan_context(app))

        def person(name: str, tenant: str = "", roles: frozenset[Role] = OWNER) -> Stack:
            headers = {"X-Name": name, "X-Tenant": tenant, "X-Roles": " ".join(roles)}
            transport = httpx.ASGITransport(app)
            http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60, headers=headers)
            return dataclasses.replace(stack, http=http)

        yield person


async def connected(person: Stack, **changes: Any) -> Json:
    answer = await person.http.post("/v1/accounts", json=CALENDAR | changes)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def begun(person: Stack, **changes: Any) -> str:
    """The state of a consent that this person has begun."""
    body = {"provider_id": "google", "capabilities": ["calendar", "email"], **changes}
    answer = await person.http.post("/v1/accounts/oauth", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


async def test_an_account_is_connected_shown_changed_tested_and_removed(people: As) -> None:
    anna = people("anna", "acme")
    made = await connected(anna)
    assert made["may"] == ["read and change your calendar"]
    assert (made["state"], made["default_for"], made["last_used_at"]) == ("connected", ["calendar"], None)
    account = f"/v1/accounts/mine/{made['account_id']}"
    renamed = (await anna.http.patch(account, json={"name": "Nextcloud", "default_for": []})).json()
    assert (renamed["name"], renamed["default_for"]) == ("Nextcloud", [])
    assert (await anna.http.get(account)).json() == renamed
    assert (await anna.http.post(f"{account}/test")).json() == {"works": True, "problem": ""}
    assert (await anna.http.delete(account)).status_code == 204
    assert (await anna.http.get("/v1/accounts")).json() == {"accounts": []}
    kinds = [event["kind"] for event in (await anna.http.get("/v1/accounts/events")).json()["events"]]
    assert kinds == ["revoked", "changed", "connected"]


async def test_an_account_is_tested_once_a_minute(people: As, elsewhere: Service) -> None:
    """Each test signs in at an outer service, which locks accounts that are signed in to too often."""
    anna = people("anna", "acme")
    one, other = [(await connected(anna, name=name))["account_id"] for name in ("one", "other")]
    before = len(elsewhere.servers.tested)
    answers = [await anna.http.post(f"/v1/accounts/mine/{name}/test") for name in (one, one, other)]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert 0 < int(answers[1].headers["Retry-After"]) <= 60
    assert "tested a moment ago" in answers[1].json()["detail"]
    assert len(elsewhere.servers.tested) - before == 2
    assert (await people("ben", "acme").http.post(f"/v1/accounts/mine/{one}/test")).status_code == 404


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        ("POST", "/test", None),
    ],
)
@pytest.mark.parametrize(("name", "tenant"), [("ben", "acme"), ("anna", "globex"), ("anna", "")])
async def test_an_account_of_somebody_else_answers_like_one_that_does_not_exist(
    people: As, method: str, rest: str, body: Json | None, name: str, tenant: str
) -> None:
    anna, other = people("anna", "acme"), people(name, tenant)
    made = await connected(anna)
    there, nowhere = [
        await other.http.request(method, f"/v1/accounts/mine/{account_id}{rest}", json=body)
        for account_id in (made["account_id"], "0" * 32)
    ]
    refused(there, 404, "there is no such account")
    assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text)
    assert (await other.http.get("/v1/accounts")).json() == {"accounts": []}
    assert (await anna.http.get(f"/v1/accounts/mine/{made['account_id']}")).json() == made


async def test_nobody_connects_an_account_of_somebody_else_again(people: As) -> None:
    made = await connected(people("anna", "acme"))
    ben = people("ben", "acme")
    answer = await ben.http.post("/v1/accounts", json=CALENDAR | {"account_id": made["account_id"]})
    refused(answer, 404, "there is no such account")


async def test_the_way_back_connects_and_leads_to_the_console(people: As) -> None:
    anna = people("anna")
    answer = await anna.http.post("/v1/accounts/oauth", json={"provider_id": "google", "capabilities": ["calendar"]})
    assert urlsplit(answer.json()["authorize_url"]).hostname == "google.example.com"
    state = parse_qs(urlsplit(answer.json()["authorize_url"]).query)["state"][0]
    back = await anna.http.get("/v1/accounts/oauth/callback", params={"state": state, "code": "code-anna"})
    assert (back.status_code, back.headers["location"]) == (303, "/accounts?said=connected")
    (account,) = (await anna.http.get("/v1/accounts")).json()["accounts"]
    assert (account["provider_id"], account["address"]) == ("google", "anna@google.example")
    assert account["may"] == ["read your calendar"]


async def test_a_consent_belongs_to_who_began_it(people: As) -> None:
    anna, ben = people("anna", "acme"), people("ben", "acme")
    state = await begun(anna)
    for other in (ben, people("anna", "globex")):
        answer = await other.http.get("/v1/accounts/oauth/callback", params={"state": state, "code": "code-x"})
        refused(answer, 422, "begin again")
        assert (await other.http.get("/v1/accounts")).json() == {"accounts": []}
    finished = await anna.http.post("/v1/accounts/oauth/finish", json={"state": state, "code": "code-anna"})
    assert finished.status_code == 201, finished.text


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({"code": "code-anna", "state": "wrong"}, 422, "stale-consent"),
        ({"code": "not-a-code"}, 422, "stale-consent"),
        ({"error": "access_denied"}, 403, "declined"),
        ({}, 403, "declined"),
    ],
    ids=["wrong state", "wrong code", "declined", "nothing"],
)
async def test_a_wrong_way_back_connects_nothing_and_is_said(people: As, params: Json, status: int, said: str) -> None:
    anna = people("anna")
    wanted = {"state": await begun(anna)} | params
    refused(await anna.http.get("/v1/accounts/oauth/callback", params=wanted), status)
    wanted = {"state": await begun(anna)} | params
    page = await anna.http.get("/v1/accounts/oauth/callback", params=wanted, headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, f"/accounts?said={said}")
    assert (await anna.http.get("/v1/accounts")).json() == {"accounts": []}


async def test_a_state_counts_once(people: As) -> None:
    anna = people("anna")
    state = await begun(anna)
    answers = [
        await anna.http.post("/v1/accounts/oauth/finish", json={"state": state, "code": "code-anna"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 422]


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example:1/callback",
        "http://127.0.0.1:1/callback?x=1",
        "http://localhost:1/elsewhere",
    ],
)
async def test_the_provider_sends_nobody_to_another_host(people: As, redirect_uri: str) -> None:
    body = {"provider_id": "google", "capabilities": ["email"], "redirect_uri": redirect_uri}
    refused(await people("anna").http.post("/v1/accounts/oauth", json=body), 422, "/redirect_uri")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": "canary-wrong"}, "does not accept the user name or password"),
        ({"provider": "google"}, "/provider"),
        ({"password": ""}, "/password"),
        ({"address": "a\nb"}, "/address"),
        ({"name": "x" * 61}, "/name"),
        ({"endpoints": {"ftp": "ftp://x"}}, "/endpoints"),
        ({"endpoints": {"caldav": "file:///etc/passwd"}}, "caldav"),
        ({"token": "x"}, "/token"),
    ],
)
async def test_bad_input_is_said_and_stores_nothing(people: As, changes: Json, says: str) -> None:
    anna = people("anna")
    answer = await anna.http.post("/v1/accounts", json=CALENDAR | changes)
    refused(answer, 422, says)
    assert "canary" not in answer.text
    assert (await anna.http.get("/v1/accounts")).json() == {"accounts": []}


async def test_the_same_key_connects_once_and_its_password_is_kept_nowhere(
    people: As, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    anna = people("anna")
    key = {"Idempotency-Key": "connect-once"}
    first, second = [await anna.http.post("/v1/accounts", json=CALENDAR, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len((await anna.http.get("/v1/accounts")).json()["accounts"]) == 1
    other = await anna.http.post("/v1/accounts", json=CALENDAR | {"name": "other"}, headers=key)
    refused(other, 422, "was used for another request")
    assert PASSWORD not in f"{first.text}{second.text}{caplog.text}"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.name for file in files if PASSWORD.encode() in file.read_bytes()] == []


async def test_a_fingerprint_of_a_request_is_not_made_of_its_password(people: As, tmp_path: Path) -> None:
    """Else who reads the database could try passwords against it."""
    anna, ben = people("anna"), people("ben")
    for person, password in ((anna, PASSWORD), (ben, "canary-wrong")):
        await person.http.post("/v1/accounts", json=CALENDAR | {"password": password}, headers={"Idempotency-Key": "k"})
    with sqlite3.connect(tmp_path / "api.db") as database:
        rows = database.execute("SELECT body_hash FROM idempotency_keys").fetchall()
    database.close()
    assert len(rows) == 2
    assert len(set(rows)) == 1


async def test_operators_see_who_is_connected_and_never_the_content(people: As) -> None:
    anna, operator = people("anna", "acme"), people("olga", "acme", OPERATOR)
    await connected(anna)
    await connected(people("carl", "globex"))
    for watcher in (operator, people("aud", "acme", AUDITOR)):
        (one,) = (await watcher.http.get("/v1/accounts/organisation/connections")).json()["connections"]
        assert (one["person"], one["provider_id"], one["state"]) == ("acme:anna", "caldav", "connected")
        assert "nextcloud" not in json.dumps(one)
        events = (await watcher.http.get("/v1/accounts/organisation/events")).json()["events"]
        assert [event["person"] for event in events] == ["acme:anna"]
    refused(await anna.http.get("/v1/accounts/organisation/connections"), 403, "only operators and auditors")


async def test_an_operator_says_what_the_people_of_their_organisation_may_connect(people: As) -> None:
    anna, operator = people("anna", "acme"), people("olga", "acme", OPERATOR)
    rules = {"allowed_providers": ["caldav", "google"], "roles": {"email": "approver"}}
    refused(await anna.http.put("/v1/accounts/organisation/rules", json=rules), 403, "'operate'")
    assert (await operator.http.put("/v1/accounts/organisation/rules", json=rules)).json() == rules
    assert (await anna.http.get("/v1/accounts/organisation/rules")).json() == rules
    allowed = {one["id"]: one["allowed"] for one in (await anna.http.get("/v1/accounts/providers")).json()["providers"]}
    assert (allowed["caldav"], allowed["imap"]) == (True, False)
    await connected(anna)
    mailbox = {"provider": "imap", "address": "anna@example.com", "password": PASSWORD}
    refused(await anna.http.post("/v1/accounts", json=mailbox), 403, "does not allow accounts of imap")
    consent = {"provider_id": "google", "capabilities": ["email"]}
    refused(await anna.http.post("/v1/accounts/oauth", json=consent), 403, "only to the role approver")
    approver = people("anna", "acme", OWNER | {Role.APPROVER})
    assert (await approver.http.post("/v1/accounts/oauth", json=consent)).status_code == 200
    assert (await people("carl", "globex").http.get("/v1/accounts/organisation/rules")).json()["roles"] == {}


@pytest.mark.parametrize(
    "rules", [{"roles": {"email": "king"}}, {"roles": {"weather": "owner"}}, {"allowed_providers": ["x" * 61]}]
)
async def test_rules_that_mean_nothing_are_refused(people: As, rules: Json) -> None:
    operator = people("olga", "acme", OPERATOR)
    refused(await operator.http.put("/v1/accounts/organisation/rules", json=rules), 422, "/")


async def test_servers_are_found_without_a_password(people: As) -> None:
    answer = await people("anna").http.post("/v1/accounts/discover", json={"address": "anna@nextcloud.example"})
    assert answer.json()["found"][0]["endpoints"] == {"caldav": "https://127.0.0.1:1/dav"}


async def test_a_service_that_does_not_answer_is_said(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINUE_ACCOUNTS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("RETINUE_ACCOUNTS_KEY", "canary-key")
    app = create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db"), client=stack.temporal)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        answer = await http.get("/v1/accounts")
    refused(answer, 503, "the accounts service does not answer")
    assert "canary" not in answer.text
