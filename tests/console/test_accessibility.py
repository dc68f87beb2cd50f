"""Every view, light and dark, desk and phone: axe finds nothing serious, keys reach everything, nothing overflows or jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import product
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, ViewportSize, expect

from retinue.testing import plan_answer
from tests.conftest import pending
from tests.console.conftest import ONE_BROWSER, Desk
from tests.console.test_flows import asked, ended, waiting
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail

pytestmark = ONE_BROWSER
Fresh = Callable[[str], str]
SIZES = {"desk": ViewportSize(width=1280, height=900), "phone": ViewportSize(width=360, height=740)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SERIOUS = {"serious", "critical"}


async def problems(page: Page, where: str) -> list[str]:
    """Findings that count, and whether it has to be scrolled sideways."""
    await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = await Axe().run(page)
    serious = [
        f"{where}: {one['id']} {one['nodes'][0]['target']} {one['nodes'][0]['html'][:120]}"
        for one in found.response["violations"]
        if one["impact"] in SERIOUS
    ]
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*serious, *([f"{where} is {wide} px too wide"] if wide > 0 else [])]


async def house(desk: Desk, fresh: Fresh) -> dict[str, str]:
    """Somebody who has one of everything; gives the paths of their views."""
    waits = await asked(desk, fresh("Mail the team"), forecast(), mail("s2", depends_on=["s1"]))
    previewed = await asked(desk, fresh("Enter and mail"), event("s1"), mail("s2"), preview=True)
    done = str((await desk.ask(fresh("Enter the dentist"), event("s1")))["id"])
    await ended(desk, done)
    failed = str(
        (await desk.ask(fresh("Archive it"), {"id": "s1", "tool": "email.archive", "args": {"message_id": "x"}}))["id"]
    )
    question = fresh("Email them")
    desk.stack.model.script(question, plan_answer(question="Whom?"))
    asks = str((await desk.http.post("/v1/assistants", json={"message": question, "mode": "chat"})).json()["id"])
    await ended(desk, failed)
    await desk.http.post("/v1/schedules", json={"name": "Morning", "message": "What is on?", "cron": "0 7 * * 1-5"})
    await desk.http.post("/v1/grants", json={"tool": "email.send", "args": {"/to/*": ["a@example.com"]}})
    await desk.http.post("/v1/memory", json={"text": "I prefer window seats", "kind": "preference"})
    while (await desk.view(asks))["question"] is None:  # noqa: ASYNC110  # a view has no event
        await asyncio.sleep(0.1)
    return {
        "talk": "/",
        "nothing found": "/?q=nothing-like-it",
        "waits": f"/assistants/{waits}",
        "done": f"/assistants/{done}",
        "failed": f"/assistants/{failed}",
        "asks": f"/assistants/{asks}",
        "inbox": "/approvals",
        "decision": f"/approvals/{waits}/ap-s2",
        "edit": f"/approvals/{waits}/ap-s2?edit=1",
        "plan": f"/approvals/{previewed}/ap-plan-1?edit=1",
        "receipt": f"/assistants/{done}/receipt",
        "fork": f"/assistants/{done}/fork?step=s1",
        "schedules": "/schedules",
        "permissions": "/grants?all=1",
        "memory": "/memory",
        "usage": "/budget",
        "services": "/capabilities",
        "language model": "/model",
        "account": "/account",
        "sign in": "/signin",
        "no such conversation": "/assistants/a-none",
        "no such page": "/nowhere",
    }


@pytest.mark.timeout(240)
async def test_every_view_can_be_used_by_everybody(desk: Desk, fresh: Fresh) -> None:
    desk.expected.append("404")
    views = await house(desk, fresh)
    found: list[str] = []
    page = await desk.open("/", bypass_csp=True)  # axe is put in as a script
    for name, path in views.items():
        await page.goto(desk.site + path)
        for size, scheme in product(SIZES, SCHEMES):
            await page.set_viewport_size(SIZES[size])
            await page.emulate_media(color_scheme=scheme)
            found += await problems(page, f"{name}, {size}, {scheme}")
    assert found == []


async def test_empty_views_can_be_used_by_everybody(desk: Desk) -> None:
    page = await desk.open("/", bypass_csp=True)
    for path in ("/", "/approvals", "/schedules", "/grants", "/memory"):
        await page.goto(desk.site + path)
        assert await problems(page, f"{path}, empty") == []
        await expect(page.locator(".empty").first).to_be_visible()


async def focused(page: Page) -> str:
    """What has the focus, by its name."""
    found = await page.evaluate(
        "(e => e ? e.id || e.getAttribute('value') || e.textContent.trim() : '')(document.activeElement)"
    )
    return str(found)


async def test_a_decision_is_reached_and_made_by_keys_alone(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open("/approvals")
    await page.keyboard.press("Tab")
    assert await focused(page) == "Skip to the content"
    seen: list[str] = []
    while "reject" not in seen and len(seen) < 40:
        await page.keyboard.press("Tab")
        seen.append(await focused(page))
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"nobody sees that {seen[-1]} has the focus"
    assert "approve" in seen
    await page.keyboard.press("Enter")
    await expect(waiting(page)).to_have_count(0)
    assert (await ended(desk, assistant_id))["approvals"][0]["status"] == "rejected"


async def test_live_news_neither_take_the_focus_nor_move_what_is_read(desk: Desk, fresh: Fresh) -> None:
    first = await asked(desk, fresh("Mail one"), mail("s1"))
    page = await desk.open("/approvals")
    await page.evaluate(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(e => window.shift += e.value))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    await waiting(page).get_by_text("Comment or grant").click()
    comment = waiting(page).get_by_label("Comment")
    await comment.fill("half a")
    await asked(desk, fresh("Mail two"), mail("s1"))
    await expect(waiting(page)).to_have_count(2)
    await page.keyboard.type(" reason")
    await expect(page.locator(f"#c-{first}-ap-s1")).to_have_value("half a reason")
    await expect(page.locator(f"#c-{first}-ap-s1")).to_be_focused()
    assert await page.evaluate("window.shift") < 0.1
    assert len(pending(await desk.view(first))) == 1
