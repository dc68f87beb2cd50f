"""The page while processes die behind it: a whole stack of its own, whose supervisor starts them again."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest
from playwright.async_api import Browser, Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from api.services.run_list import Waiting
from api.services.runs import Runs
from cli.crash import worker_pid
from cli.private_stack import PrivateStack, private_stack
from retinue.errors import ServiceUnavailable
from tests.console.conftest import ONE_BROWSER, Desk
from tests.console.test_flows import asked
from tests.test_main_job import mail

Fresh = Callable[[str], str]
pytestmark = [pytest.mark.long, pytest.mark.timeout(180), *ONE_BROWSER]  # of two limits the first one counts
LONG = 60_000
"""Milliseconds that processes may take to come back."""


@pytest.fixture(scope="module")
def whole() -> Iterator[PrivateStack]:
    with private_stack(keep=False, prefix="retinue-console-", WEATHER_PROVIDER="simulated") as stack:
        stack.await_ready()
        yield stack


@pytest.fixture
async def page(whole: PrivateStack, chromium: Browser) -> AsyncIterator[Page]:
    context = await chromium.new_context()
    page = await context.new_page()
    page.set_default_timeout(LONG)
    yield page
    await context.close()


def kill(whole: PrivateStack, process: str) -> None:
    pid = worker_pid(whole.data / "logs" / f"{process}.log")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def ask(page: Page, whole: PrivateStack, to: str) -> None:
    await page.goto(whole.url)
    await page.get_by_label("What you want").fill(f"Email {to} saying hello")
    await page.keyboard.press("Enter")
    await expect(page.locator(".decision:not(.settled)")).to_be_visible(timeout=LONG)


def sent(whole: PrivateStack, to: str) -> int:
    with sqlite3.connect(f"file:{whole.data}/email.db?mode=ro", uri=True) as database:
        query = "SELECT count(*) FROM messages WHERE lower(folder) = 'sent' AND recipients LIKE ?"
        return int(database.execute(query, (f"%{to}%",)).fetchone()[0])


async def test_a_worker_that_dies_while_the_page_is_open_is_waited_for(whole: PrivateStack, page: Page) -> None:
    await ask(page, whole, "one@example.com")
    kill(whole, "workflows")
    kill(whole, "email")
    approve = page.locator(".decision:not(.settled)").get_by_role("button", name="Approve")
    while sent(whole, "one@example.com") == 0:  # who is refused since nobody listens presses again, as people do
        with suppress(PlaywrightTimeout):  # the card may be settled by now
            await approve.click(timeout=1000)
    await expect(page.locator(".messages .assistant:not(.writing)")).to_contain_text("one@example.com", timeout=LONG)
    assert sent(whole, "one@example.com") == 1


async def test_a_server_that_starts_again_is_found_again_and_nothing_is_lost(whole: PrivateStack, page: Page) -> None:
    await ask(page, whole, "two@example.com")
    comment = page.get_by_label("Your message")
    await comment.fill("half a sentence")
    kill(whole, "api")
    await expect(page.locator("#offline")).to_be_visible(timeout=LONG)
    await expect(page.locator("#offline")).to_be_hidden(timeout=LONG)
    await expect(comment).to_have_value("half a sentence")
    await page.locator(".decision:not(.settled)").get_by_role("button", name="Approve").click()
    await expect(page.locator(".messages .assistant:not(.writing)")).to_contain_text("two@example.com", timeout=LONG)
    assert sent(whole, "two@example.com") == 1


async def test_a_service_that_nobody_serves_is_named_and_its_step_may_be_skipped(
    desk: Desk, fresh: Fresh, lonely: str
) -> None:
    assistant_id = (await desk.ask(fresh("Ask the lonely one"), {"id": "s1", "tool": f"{lonely}.ask", "args": {}}))[
        "id"
    ]
    page = await desk.open(f"/assistants/{assistant_id}")
    banner = page.locator(".banner.warn", has_text=lonely)
    await expect(banner).to_contain_text("has been available since", timeout=LONG)
    await banner.get_by_role("button", name="Skip s1").click()
    await expect(page.locator("#step-s1 .meta")).to_contain_text("skipped")
    await expect(banner).to_have_count(0)
    await page.goto(f"{desk.site}/capabilities")
    await expect(page.locator(".card", has_text=lonely)).to_contain_text("Unavailable")


async def test_an_inbox_that_cannot_be_filled_says_so_in_its_place(
    desk: Desk, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame has gone out already when the server is lost."""
    await asked(desk, fresh("Mail the team"), mail("s1"))
    really = Runs.waiting_for_decision

    async def lost(runs: Runs, *, limit: int, cursor: str | None = None) -> Waiting:
        if limit:
            raise ServiceUnavailable("Temporal cannot be reached")
        return await really(runs, limit=limit, cursor=cursor)

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "waiting_for_decision", lost)
        page = await desk.open("/approvals")
        await expect(page.get_by_role("alert")).to_contain_text("Temporal cannot be reached")
        await expect(page.locator("#inbox-count")).to_contain_text("1")
    await page.get_by_role("link", name="Try again").click()
    await expect(page.locator(".decision")).to_have_count(1)
    await page.get_by_text("Comment or grant").click()
    await page.get_by_label("Comment").fill("half a")
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "waiting_for_decision", lost)
        await page.evaluate("dispatchEvent(new Event('online'))")
        await expect(page.locator("#offline")).to_be_visible()
        await expect(page.get_by_label("Comment")).to_have_value("half a")
    await expect(page.locator("#offline")).to_be_hidden()
    await expect(page.get_by_label("Comment")).to_have_value("half a")
