"""`python -P -m tests.console.pictures`: the pictures of README and docs/console.md, from a real run of a private stack."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from cli.private_stack import private_stack
from retinue.settings import ROOT

IMAGES = ROOT / "docs" / "images"
REQUEST = "What's the weather in Lisbon on Friday? Email the forecast to team@example.com"
VIEWS = ("", "schedules", "grants", "budget", "capabilities", "account")


async def _page(browser: Browser, url: str, *, phone: bool = False, dark: bool = False) -> Page:
    context = await browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1200, "height": 800},
        color_scheme="dark" if dark else "light",
        timezone_id="Europe/Lisbon",
    )
    page = await context.new_page()
    await page.goto(url)
    return page


async def _ask(page: Page, request: str = REQUEST) -> None:
    await page.get_by_label("What you want").fill(request)
    await page.keyboard.press("Enter")
    await page.locator(".decision:not(.settled)").wait_for(timeout=60_000)
    await page.wait_for_timeout(800)


async def _for_the_docs(browser: Browser, url: str) -> None:
    desk = await _page(browser, url)
    await _ask(desk)
    await desk.screenshot(path=IMAGES / "console-decision.png", full_page=True)
    link = await desk.get_by_role("link", name="Open in Temporal").get_attribute("href")
    web_ui = await _page(browser, str(link))
    await web_ui.set_viewport_size({"width": 1800, "height": 1200})
    await web_ui.get_by_text("User Metadata").first.click()
    await web_ui.wait_for_timeout(4000)  # what a workflow says of itself stands in frames, which load later
    await web_ui.screenshot(path=IMAGES / "waiting-run.png")
    phone = await _page(browser, f"{url}/approvals", phone=True, dark=True)
    await phone.wait_for_timeout(500)
    await phone.screenshot(path=IMAGES / "console-phone.png")


async def _everything(browser: Browser, url: str, folder: Path) -> None:
    """Every view, on desktop and phone, light and dark: to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    for phone in (False, True):
        for dark in (False, True):
            name = f"{'phone' if phone else 'desktop'}-{'dark' if dark else 'light'}"
            page = await _page(browser, url, phone=phone, dark=dark)
            await page.screenshot(path=folder / f"{name}-talk.png", full_page=True)
            await _ask(page)
            run = page.url
            await page.screenshot(path=folder / f"{name}-run.png", full_page=True)
            await page.goto(f"{url}/approvals")
            await page.screenshot(path=folder / f"{name}-approvals.png", full_page=True)
            await page.locator(".decision .button").first.click()
            await page.get_by_role("heading", name="Edit").wait_for()
            await page.screenshot(path=folder / f"{name}-edit.png", full_page=True)
            await page.goto(run)
            await page.locator(".decision:not(.settled)").get_by_role("button", name="Approve").click()
            await page.locator(".messages .assistant:not(.writing)").wait_for()
            await page.wait_for_timeout(800)
            await page.screenshot(path=folder / f"{name}-done.png", full_page=True)
            await page.get_by_role("link", name="Receipt").click()
            await page.get_by_role("heading", name="Receipt").wait_for()
            await page.screenshot(path=folder / f"{name}-receipt.png", full_page=True)
            for view in VIEWS[1:]:
                await page.goto(f"{url}/{view}")
                await page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
            await page.context.close()


async def _taken(url: str, folder: Path | None) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        await (_everything(browser, url, folder) if folder else _for_the_docs(browser, url))
        await browser.close()


def main(arguments: list[str]) -> int:
    """Take them."""
    parser = argparse.ArgumentParser(prog="python -P -m tests.console.pictures", description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every view, to be looked at, into this folder")
    chosen = parser.parse_args(arguments)
    with private_stack(keep=False, prefix="retinue-pictures-", WEATHER_PROVIDER="simulated") as stack:
        stack.await_ready()
        asyncio.run(_taken(stack.url, chosen.all))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
