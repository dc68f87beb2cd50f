"""Sessions of browsers: a cookie that stands for a key, for as long as the key is good, and that no other page can use."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from api.app import create_app
from api.auth.principals import Person, Role
from api.auth.sessions import session_credential
from api.deps import caller
from api.settings import ApiSettings
from api.storage.idempotency import IdempotencyKeys
from tests.api.conftest import browsing, refused
from tests.conftest import Stack

SESSION = "/v1/session"
LISTED = "/v1/assistants"
KEY = "rtn_anna-0123456789"
OURS = {"Origin": "http://localhost"}


class Keyring:
    """Recognises people by keys that can be taken away."""

    def __init__(self) -> None:
        self.good = {KEY}

    async def caller(self, request: Request) -> Person:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        credential = given if scheme == "Bearer" else await session_credential(request)
        if credential not in self.good:
            raise HTTPException(401, "not signed in")
        return Person("anna", frozenset({Role.OWNER}))


@pytest.fixture
def keyring() -> Keyring:
    return Keyring()


@pytest.fixture
def app(stack: Stack, tmp_path: Path, keyring: Keyring) -> FastAPI:
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_failed_logins="5/600")
    made = create_app(settings, client=stack.temporal)
    made.dependency_overrides[caller] = keyring.caller
    return made


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(app) as client:
        yield client


async def signed_in(http: httpx.AsyncClient) -> httpx.Response:
    response = await http.post(SESSION, headers={"Authorization": f"Bearer {KEY}", **OURS})
    assert response.status_code == 201, response.text
    return response


async def test_the_cookie_stands_for_the_key_and_no_script_can_read_it(http: httpx.AsyncClient) -> None:
    assert (await http.get(LISTED)).status_code == 401
    response = await signed_in(http)
    assert response.json()["name"] == "anna"
    assert datetime.fromisoformat(response.json()["expires_at"]) > datetime.now(UTC)
    [cookie] = SimpleCookie(response.headers["set-cookie"]).values()
    assert (cookie.key, cookie["path"], cookie["samesite"].lower()) == ("retinue_session", "/", "lax")
    assert cookie["httponly"]
    assert not cookie["domain"]
    assert len(cookie.value) >= 43
    assert KEY not in response.headers["set-cookie"]
    assert (await http.get(LISTED)).status_code == 200


async def test_over_tls_the_cookie_stays_on_tls(app: FastAPI) -> None:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://localhost") as http,
    ):
        headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://localhost"}
        response = await http.post(SESSION, headers=headers)
        assert "secure" in response.headers["set-cookie"].lower()


async def test_a_change_needs_the_browsers_word_that_the_page_is_ours(http: httpx.AsyncClient) -> None:
    await signed_in(http)
    url = f"{LISTED}/a-unknown/cancel"
    refused(await http.post(url), 403, "another site's page")
    refused(await http.post(url, headers={"Origin": "https://evil.example"}), 403, "another site's page")
    for ours in (OURS, {"Sec-Fetch-Site": "same-origin"}, {**OURS, "Sec-Fetch-Site": "same-origin"}):
        refused(await http.post(url, headers=ours), 404)


async def test_a_session_ends_with_the_key_that_began_it(http: httpx.AsyncClient, keyring: Keyring) -> None:
    await signed_in(http)
    keyring.good.clear()
    assert (await http.get(LISTED)).status_code == 401


async def test_who_signs_out_is_out_wherever_the_cookie_was_copied(http: httpx.AsyncClient) -> None:
    await signed_in(http)
    copied = {"Cookie": f"retinue_session={http.cookies['retinue_session']}"}
    assert (await http.delete(SESSION, headers=OURS)).status_code == 204
    assert "retinue_session" not in http.cookies
    assert (await http.get(LISTED, headers=copied)).status_code == 401


async def test_each_sign_in_is_a_new_session(http: httpx.AsyncClient) -> None:
    """So that nobody can be made to use one that somebody else knows."""
    planted = {"Cookie": f"retinue_session={'x' * 43}"}
    first = await http.post(SESSION, headers={"Authorization": f"Bearer {KEY}", **OURS, **planted})
    second = await signed_in(http)
    values = {SimpleCookie(answer.headers["set-cookie"])["retinue_session"].value for answer in (first, second)}
    assert len(values | {"x" * 43}) == 3


async def test_the_table_of_sessions_opens_nothing(http: httpx.AsyncClient, tmp_path: Path) -> None:
    await signed_in(http)
    with sqlite3.connect(tmp_path / "api.db") as database:
        rows = str(database.execute("SELECT * FROM sessions").fetchall())
    assert http.cookies["retinue_session"] not in rows
    assert KEY not in rows


async def test_a_session_is_over_after_its_time_and_then_forgotten(http: httpx.AsyncClient, tmp_path: Path) -> None:
    await signed_in(http)
    with sqlite3.connect(tmp_path / "api.db") as database:
        database.execute("UPDATE sessions SET expires_at = '2020-01-01 00:00:00.000000'")
    assert (await http.get(LISTED)).status_code == 401
    keys = IdempotencyKeys(f"sqlite+aiosqlite:///{tmp_path}/api.db")
    await keys.open()
    assert [await keys.prune(), await keys.prune()] == [1, 0]
    await keys.close()


@pytest.mark.parametrize(
    "cookie", ["", "x", "x" * 5000, '"', "a=b; retinue_session", "\\0;;==", "ü".encode().decode("latin-1")]
)
async def test_a_broken_cookie_is_none(http: httpx.AsyncClient, cookie: str) -> None:
    headers = [(b"Cookie", f"retinue_session={cookie}".encode("latin-1"))]
    assert (await http.get(LISTED, headers=headers)).status_code == 401


async def test_an_address_that_fails_to_sign_in_again_and_again_is_stopped_before_anybody_looks(
    http: httpx.AsyncClient,
) -> None:
    """Even with a good key then; requests without credentials go on as before."""
    bad = {"Authorization": "Bearer rtn_guessed"}
    statuses = [(await http.get(LISTED, headers=bad)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    answer = await http.get(LISTED, headers={"Authorization": f"Bearer {KEY}"})
    refused(answer, 429, "failed sign-ins")
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get(LISTED)).status_code == 401


async def test_good_keys_never_count_as_failures(http: httpx.AsyncClient) -> None:
    good = {"Authorization": f"Bearer {KEY}"}
    assert {(await http.get(LISTED, headers=good)).status_code for _ in range(12)} == {200}
