"""Accounts in a browser, before the real accounts service and the emulators' own consent pages.

`RETINUE_PICTURES=docs/images` writes the pictures of docs/accounts.md while these run.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from accounts.app import create_app as accounts_service
from accounts.settings import AccountsServiceSettings
from api.app import create_app
from api.services.accounts import CALLBACK
from api.settings import ApiSettings
from retinue.accounts import caller_keys
from retinue.testing import serving
from tests.accounts.emulators import Emulators, emulators_running
from tests.accounts.oauth_clients import flows_over
from tests.accounts.service import ScriptedServers
from tests.conftest import Stack
from tests.console.conftest import ONE_BROWSER, PERSON, Desk, sitting
from tests.console.test_accessibility import SCHEMES, SIZES, problems
from workers.temporal_server import free_port

pytestmark = ONE_BROWSER
PASSWORD = "canary-password"  # what the scripted servers take
ANA = "ana@example.com"


@dataclass
class Place:
    """A console with the accounts service, and the providers where people have accounts."""

    site: str
    emulators: Emulators
    settings: ApiSettings


@pytest.fixture(scope="module")
async def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """One for all tests here: in each of them it is another person who sits there."""
    folder, port = tmp_path_factory.mktemp("accounts"), free_port()
    public, other = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    with (
        emulators_running(redirects=[public + CALLBACK, other + CALLBACK]) as emulators,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RETINUE_DATA_DIR", str(folder))
        own = AccountsServiceSettings(accounts_private_hosts=True)
        service = accounts_service(own, oauth=flows_over(emulators, folder), discovery=ScriptedServers())
        async with AsyncExitStack() as open_things:
            patch.setenv("RETINUE_ACCOUNTS_URL", await open_things.enter_async_context(serving(service)))
            patch.setenv("RETINUE_ACCOUNTS_KEY", caller_keys.bearer_of_people(own.root_keys()))
            patch.setenv("RETINUE_USER_HEADER", PERSON)
            settings = ApiSettings(retinue_public_url=public)
            front = create_app(settings, client=stack.temporal)
            site = await open_things.enter_async_context(serving(front, port=port))
            yield Place(site, emulators, settings)


@pytest.fixture
async def desk(chromium: Browser, place: Place, stack: Stack) -> AsyncIterator[Desk]:
    """Somebody new at a browser there, who leaves the site for the providers' pages alone."""
    async with sitting(chromium, place.site, stack) as sat:
        providers = (place.emulators.google, place.emulators.microsoft, place.emulators.authority)
        sat.expected += [f"foreign request: {provider}/" for provider in providers]
        yield sat


async def picture(page: Page, name: str) -> None:
    """Keep what is seen now, where pictures are wanted."""
    if folder := os.environ.get("RETINUE_PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def agree(page: Page, at: str, address: str) -> None:
    """Go on to the provider, and agree there as this person."""
    await page.get_by_role("link", name="Continue at 127.0.0.1").click()
    await expect(page).to_have_url(re.compile(f"^{re.escape(at)}/"))
    await page.get_by_role("button", name=address).click()


async def test_a_google_account_is_connected_breaks_is_connected_again_and_removed(desk: Desk, place: Place) -> None:
    page = await desk.open(name="ana")
    await picture(page, "accounts-first-run")
    await page.get_by_role("link", name="Connect accounts").click()
    await page.get_by_role("link", name="Connect Google").click()
    await page.get_by_label("contacts").uncheck()
    await page.get_by_label("What to call it").fill("work")
    await picture(page, "accounts-connecting")
    await page.get_by_role("button", name="Continue").click()
    await agree(page, place.emulators.google, ANA)
    await expect(page.get_by_text("Connected.", exact=True)).to_be_visible()
    card = page.locator(".card", has=page.get_by_role("heading", name="work"))
    await expect(card).to_contain_text(ANA)
    await expect(card).to_contain_text(
        "Your assistants may read and change your calendar; read, send and file your mail."
    )
    await picture(page, "accounts-connected")

    place.emulators.withdraw("google", "ana")
    await card.get_by_role("button", name="Test it").click()
    await expect(card.get_by_text("It does not work")).to_be_visible()
    await expect(card.locator(".state")).to_have_text("Must be connected again")
    await picture(page, "accounts-broken")

    await card.get_by_role("button", name="Connect it again").click()
    await agree(page, place.emulators.google, ANA)
    await expect(card.locator(".state")).to_have_text("Connected")
    await expect(page.locator(".card[data-key]")).to_have_count(1)

    await card.get_by_role("link", name="Remove").click()
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.get_by_text("No account is connected.")).to_be_visible()


async def test_another_account_does_not_take_the_place_of_a_broken_one(desk: Desk, place: Place) -> None:
    page = await desk.open("/accounts/connect/microsoft")
    await page.get_by_role("button", name="Continue").click()
    await agree(page, place.emulators.microsoft, "ana@example.org")
    await expect(page.get_by_role("heading", name="ana@example.org")).to_be_visible()
    place.emulators.withdraw("microsoft", "ana")
    await page.get_by_role("button", name="Test it").click()
    await page.get_by_role("button", name="Connect it again").click()
    await agree(page, place.emulators.microsoft, "ben@example.org")
    await expect(page.get_by_text("you signed in there with another account than this one")).to_be_visible()
    await expect(page.locator(".card .state")).to_have_text("Must be connected again")


async def test_a_way_back_that_somebody_else_began_connects_nothing(desk: Desk, place: Place) -> None:
    page = await desk.open("/accounts/connect/google")
    await page.get_by_role("button", name="Continue").click()
    began = await page.get_by_role("link", name="Continue at 127.0.0.1").get_attribute("href")
    back = place.emulators.consent(str(began), "ana")
    other = await desk.open("/accounts", name="somebody-else")
    await other.goto(back)
    await expect(other.get_by_text("Nothing was connected")).to_be_visible()
    await expect(other.get_by_text("No account is connected.")).to_be_visible()
    await page.goto(back)
    await expect(page.get_by_text("Connected.", exact=True)).to_be_visible()
    await page.goto(back)
    await expect(page.get_by_text("was finished or has expired")).to_be_visible()


async def test_who_signed_in_with_a_key_is_still_signed_in_when_another_site_leads_back(
    desk: Desk, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a browser localhost and 127.0.0.1 are two sites, so the cookie must be one that comes along."""
    key = (await desk.http.post("/v1/keys", json={"name": "browser"})).json()["key"]
    here = place.site.replace("127.0.0.1", "localhost")
    monkeypatch.setattr(place.settings, "retinue_public_url", here)
    context = await desk.browser.new_context()
    page = await context.new_page()
    await page.goto(f"{here}/signin?to=/accounts/connect/google")
    await page.get_by_label("Key or token").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Continue").click()
    await agree(page, place.emulators.google, ANA)
    await expect(page.get_by_text("Connected.", exact=True)).to_be_visible()
    await context.close()
    (account,) = (await desk.http.get("/v1/accounts")).json()["accounts"]
    assert account["address"] == ANA


async def test_without_scripts_an_app_password_connects_after_the_servers_were_shown(desk: Desk) -> None:
    desk.expected.append("422 (Unprocessable Entity)")
    page = await desk.open("/accounts", name="ben", java_script_enabled=False)
    await page.get_by_label("Your address there, or the address of the server").fill("ana@nextcloud.example")
    await page.get_by_role("button", name="Look up the servers").click()
    await expect(page.get_by_text("Nothing was sent yet.")).to_be_visible()
    form = page.locator("form", has=page.get_by_label("Calendar server"))
    await expect(form.get_by_label("Calendar server")).to_have_value("https://127.0.0.1:1/dav")
    await form.get_by_label("App password").fill("canary-wrong")
    await form.get_by_label("What to call it").fill("home")
    await picture(page, "accounts-servers")
    await form.get_by_role("button", name="Sign in and connect").click()
    await expect(page.get_by_role("alert")).to_contain_text("does not accept the user name or password")
    await expect(form.get_by_label("What to call it")).to_have_value("home")
    await expect(form.get_by_label("App password")).to_have_value("")
    assert "canary" not in await page.content()
    await form.get_by_label("App password").fill(PASSWORD)
    await form.get_by_role("button", name="Sign in and connect").click()
    await expect(page.get_by_role("heading", name="home")).to_be_visible()
    await page.get_by_role("link", name="Remove").click()
    await page.get_by_role("link", name="Keep it").click()
    await expect(page.get_by_role("heading", name="home")).to_be_visible()


async def test_an_account_gets_another_name_and_is_no_longer_the_default(desk: Desk) -> None:
    body = {"provider": "caldav", "address": "ana@nextcloud.example", "password": PASSWORD, "name": "home"}
    assert (await desk.http.post("/v1/accounts", json=body)).status_code == 201
    page = await desk.open("/accounts")
    await page.get_by_text("Change", exact=True).click()
    await page.get_by_label("Name", exact=True).fill("private")
    await page.get_by_label("for calendar").uncheck()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", name="private")).to_be_visible()
    await expect(page.get_by_text("Used only when you name it")).to_be_visible()


async def test_who_goes_on_with_the_built_in_ones_is_not_asked_again(desk: Desk) -> None:
    page = await desk.open()
    await page.get_by_role("button", name="Go on with the built-in ones").click()
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await expect(page.get_by_text("Connect your calendar and mail")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_text("Connect your calendar and mail")).to_be_hidden()


async def test_an_operator_decides_what_may_be_connected_and_sees_who_is(desk: Desk) -> None:
    body = {"provider": "caldav", "address": "ana@nextcloud.example", "password": PASSWORD, "name": "secret name"}
    await desk.http.post("/v1/accounts", json=body)
    page = await desk.open("/accounts/organisation")
    row = page.get_by_role("row", name=desk.name)
    await expect(row).to_contain_text("caldav")
    await picture(page, "accounts-organisation")
    assert "nextcloud.example" not in await page.content()
    await page.get_by_label("Google").uncheck()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("Google")).not_to_be_checked()
    await expect(page.get_by_text("changed what is allowed")).to_be_visible()
    await page.get_by_role("link", name="Your accounts").click()
    await expect(page.get_by_text("Google: your organisation does not allow it")).to_be_visible()
    await desk.http.put("/v1/accounts/organisation/rules", json={})


async def test_the_pages_can_be_used_by_everybody(desk: Desk) -> None:
    body = {"provider": "caldav", "address": "ana@nextcloud.example", "password": PASSWORD}
    made = (await desk.http.post("/v1/accounts", json=body)).json()["account_id"]
    paths = ("", "/connect/google", "/organisation", f"/{made}/remove", f"/{made}/connect")
    found: list[str] = []
    for scheme in SCHEMES:
        for size, viewport in SIZES.items():
            page = await desk.open("/accounts", color_scheme=scheme, viewport=viewport)
            for path in paths:
                await page.goto(f"{desk.site}/accounts{path}")
                found += await problems(page, f"{path} {scheme} {size}")
            await page.goto(f"{desk.site}/accounts")
            await page.get_by_label("Your address there, or the address of the server").fill("ana@nextcloud.example")
            await page.get_by_role("button", name="Look up the servers").click()
            found += await problems(page, f"servers {scheme} {size}")
            await page.goto(f"{desk.site}/accounts/connect/google")
            await page.get_by_role("button", name="Continue").click()
            found += await problems(page, f"leave {scheme} {size}")
    assert found == []
