"""A decision at the page: a mail looks like a mail and an event like an event, and no destination is out of sight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from playwright.async_api import Page, expect

from tests.conftest import steps
from tests.console.conftest import ONE_BROWSER, Desk
from tests.console.test_flows import asked, ended, waiting
from tests.days import SOON
from tests.scenarios.test_plans import event
from tests.test_main_job import mail

pytestmark = ONE_BROWSER
Fresh = Callable[[str], str]
LONG = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.attacker.example"


async def rows(page: Page) -> list[tuple[str, str]]:
    """Label and value of each row of the first card, in their order."""
    found = waiting(page).first.locator(".picture dl > div")
    names = await found.locator("dt").all_inner_texts()
    return list(zip(names, await found.locator("dd").all_inner_texts(), strict=True))


def long_mail() -> dict[str, Any]:
    step = mail("s1", LONG, body="Dear all,\n" + "hello " * 3000)
    return {**step, "args": dict(reversed(step["args"].items())) | {"cc": ["ben@example.com"]}}


async def test_a_mail_looks_like_a_mail(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), long_mail())
    page = await desk.open(f"/assistants/{assistant_id}")
    assert await rows(page) == [
        ("From", "your mailbox"),
        ("To", LONG),
        ("Cc", "ben@example.com"),
        ("Subject", "Lisbon"),
    ]
    card = waiting(page)
    await expect(card.locator(".letter")).to_contain_text("Dear all,\nhello", use_inner_text=True)
    await expect(card.locator(".letter .note")).to_contain_text("characters in all")
    await expect(card.locator(".origins")).to_contain_text(f"to {LONG}: chosen by the model")
    await expect(card.locator(".exact pre")).not_to_be_visible()
    await card.get_by_text("Exact values", exact=True).click()
    await expect(card.locator(".exact pre")).to_contain_text(f'"{LONG}"')


async def test_the_whole_address_is_in_sight_on_a_narrow_screen(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), long_mail())
    page = await desk.open(f"/approvals/{assistant_id}/ap-s1", viewport={"width": 360, "height": 740})
    address = waiting(page).locator(".address").first
    box = await address.bounding_box()
    assert box is not None
    assert (box["x"] >= 0, box["x"] + box["width"] <= 360, box["y"] + box["height"] <= 740) == (True, True, True)
    assert await address.evaluate(
        "one => one.scrollWidth <= one.clientWidth || getComputedStyle(one).display === 'inline'"
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_an_event_looks_like_an_event(desk: Desk, fresh: Fresh) -> None:
    meeting = event("s1", "Board meeting")
    strangers = {"attendees": ["eve@example.com"], "location": "Room 2"}
    assistant_id = await asked(desk, fresh("Invite them"), {**meeting, "args": meeting["args"] | strangers})
    page = await desk.open(f"/assistants/{assistant_id}")
    day = datetime.fromisoformat(SOON)
    await expect(waiting(page).locator(".leaf .day")).to_have_text(str(day.day))
    await expect(waiting(page).locator(".leaf .weekday")).to_have_text(f"{day:%A}")
    await expect(waiting(page).locator(".leaf .hours")).to_have_text("10:00–11:00 (UTC+00:00)")
    assert (await rows(page))[:2] == [("Attendees", "eve@example.com"), ("Title", "Board meeting")]


async def test_what_is_deleted_is_named(desk: Desk, fresh: Fresh) -> None:
    made = await desk.ask(fresh("Enter it"), event("s1", "Board <b>meeting</b>"))
    there = steps(await ended(desk, made["id"]))["s1"]["result"]
    gone = {"id": "s1", "tool": "calendar.delete_event", "args": {"event_id": there["event_id"]}}
    assistant_id = await asked(desk, fresh("Delete it"), gone)
    page = await desk.open(f"/assistants/{assistant_id}")
    thing = waiting(page).locator(".thing")
    await expect(thing).to_contain_text("Board <b>meeting</b>")
    await expect(thing).to_contain_text("Others may have written this.")
    await expect(waiting(page)).to_contain_text("It can be undone (calendar.restore_event).")
