"""A browser before the real console: Debian's Chromium, the whole stack behind it, a person of their own for each test.

Every page that a test opens is watched: what the browser calls a violation of the page's policy, an error of a script, or
a request that leaves the page for anywhere but its own site fails the test.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import plan_answer, serving
from tests.conftest import Stack, View

CHROMIUM = shutil.which("chromium")
NO_CHROMIUM = "needs Debian's chromium (apt-get install chromium)"
PERSON = "X-Person"
"""The header by which the console of the tests knows who somebody is."""
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));
"""


ONE_BROWSER = [pytest.mark.xdist_group("console"), pytest.mark.timeout(90)]
"""The marks of every module with a browser: one of them is enough."""


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a front door with the console, that knows people by a header."""
    database = tmp_path_factory.mktemp("console") / "api.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETINUE_USER_HEADER", PERSON)
        settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{database}")
        app = create_app(settings, client=stack.temporal)
    async with serving(app) as address:
        yield address


async def _violations(page: Page) -> list[str]:
    try:
        found = await page.evaluate("window.violations || []")
    except PlaywrightError:  # it was on its way to another page
        await page.wait_for_load_state()
        found = await page.evaluate("window.violations || []")
    return list(found)


@dataclass
class Desk:
    """A person at a browser, and the same person's way around it."""

    name: str
    site: str
    stack: Stack
    browser: Browser
    http: httpx.AsyncClient
    contexts: list[BrowserContext] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of trouble that a test brings about itself."""

    async def open(self, path: str = "/", *, name: str | None = None, **options: Any) -> Page:
        """A page in a browser context of its own, watched. Options are Playwright's, such as `java_script_enabled`."""
        settings = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "Europe/Berlin", **options}
        context = await self.browser.new_context(extra_http_headers={PERSON: name or self.name}, **settings)
        await context.add_init_script(_VIOLATIONS)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        page.on("console", lambda said: self.trouble.append(f"console: {said.text}") if said.type == "error" else None)
        context.on("request", lambda request: self._note(request.url))
        page.set_default_timeout(20_000)
        await page.goto(self.site + path)
        return page

    def _note(self, url: str) -> None:
        if not url.startswith((f"{self.site}/", "data:", "blob:", "about:")):
            self.trouble.append(f"foreign request: {url}")

    async def violations(self) -> list[str]:
        """What the browsers say broke the policy of the pages that are open."""
        found: list[str] = []
        for context in self.contexts:
            for page in context.pages:
                found += await _violations(page)
        return found

    async def ask(self, message: str, *plan: dict[str, Any], **body: Any) -> View:
        """A run of this person, with that plan for its message."""
        self.stack.model.script(message, plan_answer(plan))
        answer = await self.http.post("/v1/assistants", json={"message": message, **body})
        assert answer.status_code == 202, answer.text
        view: View = answer.json()
        return view

    async def view(self, assistant_id: str) -> View:
        """As the API shows it to them."""
        return await replace(self.stack, http=self.http).view(assistant_id)


@pytest.fixture
async def desk(chromium: Browser, site: str, stack: Stack) -> AsyncIterator[Desk]:
    """Somebody new at a browser; afterwards nothing may have gone wrong on any of their pages."""
    async with sitting(chromium, site, stack) as sat:
        yield sat


@asynccontextmanager
async def sitting(chromium: Browser, site: str, stack: Stack) -> AsyncIterator[Desk]:
    """The same, before a front door of the test's own."""
    name = f"person-{uuid.uuid4().hex[:8]}"
    async with httpx.AsyncClient(base_url=site, headers={PERSON: name}, timeout=60) as http:
        sat = Desk(name, site, stack, chromium, http)
        try:
            yield sat
            violations = await sat.violations()
        finally:
            for context in sat.contexts:
                await context.close()
    trouble = [one for one in sat.trouble if not any(part in one for part in sat.expected)]
    assert (trouble, violations) == ([], [])
