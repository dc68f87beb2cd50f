"""Signed out, signing in, signing out: before a front door that tells people apart."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import serving
from tests.api.auth.issuer import bearer, issuing
from tests.conftest import Stack
from tests.console.conftest import ONE_BROWSER

pytestmark = ONE_BROWSER


@dataclass
class Gate:
    """The front door, and a key of somebody that it knows."""

    url: str
    key: str
    context: BrowserContext

    async def open(self, path: str) -> Page:
        page = await self.context.new_page()
        await page.goto(f"{self.url}{path}")
        return page


@pytest.fixture
async def gate(stack: Stack, chromium: Browser, tmp_path: Path) -> AsyncIterator[Gate]:
    async with issuing() as issuer:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in issuer.settings().items():
                patch.setenv(name, value)
            app = create_app(
                ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db"), client=stack.temporal
            )
        async with serving(app) as url:
            async with httpx.AsyncClient(base_url=url, headers=bearer(issuer.token())) as http:
                answer = await http.post("/v1/keys", json={"name": "browser"})
            context = await chromium.new_context()
            yield Gate(url, answer.json()["key"], context)
            await context.close()


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("Key or token").fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def test_who_is_signed_out_is_led_to_sign_in_and_back(gate: Gate) -> None:
    page = await gate.open("/schedules")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await sign_in(page, "rtn_wrong")
    await expect(page.get_by_role("alert")).to_contain_text("not valid here")
    await sign_in(page, gate.key)
    await expect(page).to_have_url(re.compile("/schedules$"))
    await expect(page.get_by_role("heading", name="Schedules", exact=True)).to_be_visible()
    [cookie] = [one for one in await gate.context.cookies() if one["name"] == "retinue_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert gate.key not in await page.content()

    await page.goto(f"{gate.url}/account")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.goto(f"{gate.url}/approvals")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_key_is_made_shown_once_and_revoked(gate: Gate) -> None:
    page = await gate.open("/account")
    await sign_in(page, gate.key)
    await page.get_by_label("Name").fill("laptop")
    await page.get_by_role("button", name="Create key").click()
    key = await page.locator(".secret").inner_text()
    assert key.startswith("rtn_")
    await page.goto(f"{gate.url}/account")
    assert key not in await page.content()
    page.on("dialog", lambda dialog: dialog.accept())
    await page.locator(".card", has_text="laptop").get_by_role("button", name="Revoke").click()
    await expect(page.locator("article.card", has_text="laptop")).to_have_count(0)


@pytest.mark.parametrize(
    "to",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/%0d%0aSet-Cookie:x=1"],
)
async def test_signing_in_leads_to_no_other_site(gate: Gate, to: str) -> None:
    page = await gate.open("/signin")
    await page.goto(f"{gate.url}/signin?to={httpx.QueryParams({'to': to})['to']}")
    await sign_in(page, gate.key)
    await expect(page.get_by_role("link", name="Talk")).to_be_visible()
    assert page.url.startswith(f"{gate.url}/")


async def test_an_address_that_does_not_exist_is_a_page_for_people_and_a_problem_for_programs(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=gate.url) as http:
        people = await http.get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
        assert (people.status_code, people.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "There is no such page" in people.text
        for path, accept in (("/nowhere", "*/*"), ("/v1/nowhere", "text/html")):
            programs = await http.get(path, headers={"Accept": accept})
            assert (programs.status_code, programs.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/oauth/callback?state=s&code=c%2Bd",
        "/v1/accounts/mine/0123",
        "/accounts",
        "/accounts/0123",
        "/accounts/0123/connect",
    ],
)
async def test_a_page_of_accounts_leads_who_is_signed_out_to_sign_in_and_back(gate: Gate, path: str) -> None:
    async with httpx.AsyncClient(base_url=gate.url) as http:
        people = await http.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
        if path.startswith("/v1/"):  # failed sign-ins are counted by this status
            assert (people.status_code, people.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert f'name="to" value="{escape(path)}"' in people.text
            programs = await http.get(path)
            assert (programs.status_code, programs.headers["content-type"]) == (401, "application/problem+json")
        else:
            back = httpx.URL(people.headers["Location"])
            assert (people.status_code, back.path, back.params["to"]) == (303, "/signin", path)
