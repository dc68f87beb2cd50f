"""`python -m bench.inbox`: how long the first view of the inbox takes with hundreds of decisions in it, beside an empty one.

Starts a private stack with two people: one has asked for mails and has their inbox full, the other has asked for nothing. Both
open the page in turn. Where there is a Chromium, it is the browser's time until all that the page needs has come; otherwise
the time of the document alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cli.private_stack import PrivateStack, private_stack

GOAL = 1.5
_AT_ONCE = 10
_PERSON = "X-Person"
_FULL, _EMPTY = "ana", "ben"
Look = Callable[[str], Awaitable[float]]
"""Opens the page as that person; gives how many milliseconds that took."""


@asynccontextmanager
async def _looking(url: str) -> AsyncIterator[tuple[str, Look]]:
    chromium = shutil.which("chromium")
    if chromium is None:
        async with httpx.AsyncClient(timeout=60) as http:
            yield "document", lambda person: _document(http, url, person)
        return
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield "browser", lambda person: _view(browser, url, person)
        await browser.close()


async def _document(http: httpx.AsyncClient, url: str, person: str) -> float:
    began = time.perf_counter()
    (await http.get(url, headers={_PERSON: person})).raise_for_status()
    return 1000 * (time.perf_counter() - began)


async def _view(browser: Any, url: str, person: str) -> float:
    """A first view: in a context of its own, so that nothing is there yet."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, extra_http_headers={_PERSON: person})
    page = await context.new_page()
    await page.goto(url)
    took: float = await page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    await context.close()
    return took


async def _fill(stack: PrivateStack, count: int) -> None:
    async with httpx.AsyncClient(base_url=stack.url, headers={_PERSON: _FULL}, timeout=60) as http:
        for first in range(0, count, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, count))
            await asyncio.gather(*(_ask(http, number) for number in numbers))
        while (await http.get("/v1/approvals", params={"limit": 0})).json()["waiting"] < count:  # noqa: ASYNC110  # no event
            await asyncio.sleep(1)


async def _ask(http: httpx.AsyncClient, number: int) -> None:
    message = f"Email person{number}@example.com that lunch number {number} is at noon"
    answer = await http.post("/v1/assistants", json={"message": message})
    if answer.is_error:
        raise SystemExit(f"a run was refused: {answer.text}")


async def _measured(stack: PrivateStack, *, count: int, looks: int) -> dict[str, Any]:
    async with _looking(f"{stack.url}/approvals") as (what, look):
        await _fill(stack, count)
        for person in (_EMPTY, _FULL) * 2:
            await look(person)  # the first ones warm everything up
        turns = [(await look(_EMPTY), await look(_FULL)) for _ in range(looks)]
    empty, full = zip(*turns, strict=True)
    return {
        "waiting": count,
        "measured": what,
        "empty_ms": round(statistics.median(empty), 1),
        "full_ms": round(statistics.median(full), 1),
        "ratio": round(statistics.median(full) / statistics.median(empty), 2),
        "goal": GOAL,
    }


def main(arguments: list[str]) -> int:
    """Measure and print; returns 1 where the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.inbox", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=200, help="decisions in the inbox")
    parser.add_argument("--looks", type=int, default=15, help="views of each")
    chosen = parser.parse_args(arguments)
    with private_stack(
        keep=False, prefix="retinue-inbox-", WEATHER_PROVIDER="simulated", RETINUE_USER_HEADER=_PERSON
    ) as stack:
        stack.await_ready()
        found = asyncio.run(_measured(stack, count=chosen.waiting, looks=chosen.looks))
    print(json.dumps(found, indent=2))
    return 0 if found["ratio"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
