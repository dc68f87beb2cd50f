"""What people do at the page, judged by the page and by what the capabilities' own stores hold."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer, serving
from tests.conftest import Stack, pending, steps
from tests.console.conftest import ONE_BROWSER, PERSON, Desk, sitting
from tests.scenarios.test_people import QUORUM, rule
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail, sent_mails

pytestmark = ONE_BROWSER
Fresh = Callable[[str], str]
TEAM = '["team@example.com"]'


def waiting(page: Page) -> Locator:
    """The cards that wait for a decision."""
    return page.locator(".decision:not(.settled)")


async def asked(desk: Desk, message: str, *plan: dict[str, Any], **body: Any) -> str:
    """A run that waits for a decision."""
    assistant_id = str((await desk.ask(message, *plan, **body))["id"])
    while not pending(await desk.view(assistant_id)):  # noqa: ASYNC110  # a view has no event
        await asyncio.sleep(0.1)
    return assistant_id


async def ended(desk: Desk, assistant_id: str) -> dict[str, Any]:
    while True:
        view = await desk.view(assistant_id)
        if view["status"] in ("completed", "failed", "cancelled"):
            return view
        await asyncio.sleep(0.1)


# --- deciding


async def test_an_edit_in_the_form_is_what_is_sent(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open(f"/assistants/{assistant_id}")
    await waiting(page).get_by_role("link", name="Edit").click()
    await page.get_by_label("Body").fill("Lunch is at one.\nBring cake.")
    await page.get_by_role("button", name="Approve with these changes").click()
    await expect(page).to_have_url(re.compile(f"/assistants/{assistant_id}"))
    await ended(desk, assistant_id)
    assert sent_mails(desk.stack, assistant_id) == [(TEAM, "Lunch is at one.\nBring cake.")]


async def test_a_wrong_value_is_said_beside_its_field_and_nothing_typed_is_lost(desk: Desk, fresh: Fresh) -> None:
    desk.expected.append("422")
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open(f"/approvals/{assistant_id}/ap-s1?edit=1")
    await page.get_by_label("To", exact=True).fill("nobody at all")
    await page.get_by_label("Body").fill("A long text that took a while.")
    await page.get_by_role("button", name="Approve with these changes").click()
    await expect(page.get_by_label("Body")).to_have_value("A long text that took a while.")
    await expect(page.locator(".field.wrong, .banner.bad")).not_to_have_count(0)
    assert sent_mails(desk.stack, assistant_id) == []
    assert len(pending(await desk.view(assistant_id))) == 1


async def test_a_rejection_with_its_reason_sends_nothing(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open("/approvals")
    await waiting(page).get_by_text("Comment or grant").click()
    await waiting(page).get_by_label("Comment").fill("They know already.")
    await waiting(page).get_by_role("button", name="Reject").click()
    await expect(page.locator(".empty")).to_be_visible()
    view = await ended(desk, assistant_id)
    assert view["approvals"][0]["comment"] == "They know already."
    assert sent_mails(desk.stack, assistant_id) == []


async def test_what_a_grant_allows_is_not_asked_again_until_revoked(desk: Desk, fresh: Fresh) -> None:
    await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open("/approvals")
    await waiting(page).get_by_text("Comment or grant").click()
    await waiting(page).get_by_label("Allow similar actions without asking").check()
    await waiting(page).get_by_label("How often").fill("3")
    await waiting(page).get_by_role("button", name="Approve").click()
    await expect(page.locator(".empty")).to_be_visible()

    again = str((await desk.ask(fresh("Mail them again"), mail("s1")))["id"])
    assert (await ended(desk, again))["status"] == "completed"
    assert len(sent_mails(desk.stack, again)) == 1

    await page.goto(f"{desk.site}/grants")
    card = page.locator(".card")
    await expect(card).to_contain_text("used 1 time")
    await expect(card).to_contain_text("2 left")
    await card.get_by_role("button", name="Revoke").click()
    await expect(page.locator(".empty")).to_be_visible()
    await asked(desk, fresh("Mail them a third time"), mail("s1"))


async def test_what_is_remembered_is_added_corrected_exported_and_forgotten(desk: Desk, fresh: Fresh) -> None:
    page = await desk.open("/memory")
    await page.get_by_label("In your words").fill("Lisbon")
    await page.get_by_label("Kind").select_option("home_place")
    await page.get_by_role("button", name="Remember").click()
    card = page.locator("article.card")
    await expect(card).to_contain_text("home place · typed by you")
    answered = await desk.ask(fresh("Enter the dentist"), event("s1"))
    await ended(desk, str(answered["id"]))
    await page.goto(f"{desk.site}/assistants/{answered['id']}")
    await expect(page.get_by_text("Used from memory: home place")).to_be_visible()

    await page.goto(f"{desk.site}/memory")
    await card.get_by_text("Correct").click()
    await card.get_by_label("Text").fill("Porto")
    await card.get_by_role("button", name="Save").click()
    await expect(card.locator("h3")).to_have_text("Porto")
    export = (await desk.http.get("/memory/export")).json()
    assert [fact["text"] for fact in export["facts"]] == ["Porto"]
    page.on("dialog", lambda dialog: dialog.accept())
    await card.get_by_role("button", name="Forget").click()
    await expect(page.locator(".empty")).to_be_visible()


async def test_equal_actions_are_decided_at_once(desk: Desk, fresh: Fresh) -> None:
    ids = [await asked(desk, fresh(f"Mail {number}"), mail("s1")) for number in range(3)]
    page = await desk.open("/approvals")
    await expect(waiting(page)).to_have_count(3)
    await page.get_by_role("button", name="Select all 3: Send a mail").click()
    await page.locator("#batch").get_by_role("button", name="Approve").click()
    await expect(waiting(page)).to_have_count(0)
    for assistant_id in ids:
        await ended(desk, assistant_id)
        assert len(sent_mails(desk.stack, assistant_id)) == 1


async def test_keys_move_and_decide(desk: Desk, fresh: Fresh) -> None:
    first = await asked(desk, fresh("Mail one"), mail("s1"))
    second = await asked(desk, fresh("Mail two"), mail("s1"))
    page = await desk.open("/approvals")
    await expect(waiting(page)).to_have_count(2)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("r")
    await expect(waiting(page)).to_have_count(1)
    await page.keyboard.press("k")
    await page.keyboard.press("a")
    await expect(waiting(page)).to_have_count(0)
    assert (await ended(desk, first))["approvals"][0]["status"] == "approved"
    assert (await ended(desk, second))["approvals"][0]["status"] == "rejected"


async def test_a_decision_somewhere_else_appears_by_itself(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    one, other = await desk.open(f"/assistants/{assistant_id}"), await desk.open("/approvals")
    await expect(waiting(one)).to_have_count(1)
    await waiting(other).get_by_role("button", name="Approve").click()
    await expect(waiting(one)).to_have_count(0)
    await expect(one.locator(".decided")).to_contain_text("1 earlier decision")


async def unaware(desk: Desk, path: str) -> Page:
    """A page that hears nothing of what happens meanwhile."""
    page = await desk.open("/account")
    await page.route("**/events*", lambda _: asyncio.sleep(0))
    await page.goto(desk.site + path)
    return page


async def test_of_two_browsers_that_decide_at_once_one_counts(desk: Desk, fresh: Fresh) -> None:
    desk.expected.append("409")
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    pages = [await unaware(desk, f"/approvals/{assistant_id}/ap-s1") for _ in range(2)]
    buttons = [
        waiting(page).get_by_role("button", name=name) for page, name in zip(pages, ("Approve", "Reject"), strict=True)
    ]
    await asyncio.gather(*(button.click() for button in buttons))
    view = await ended(desk, assistant_id)
    approved = view["approvals"][0]["status"] == "approved"
    assert len(sent_mails(desk.stack, assistant_id)) == int(approved)
    await expect(pages[int(approved)].locator(".problem")).to_be_visible()  # the other one is told
    await expect(waiting(pages[int(not approved)])).to_have_count(0)


async def test_without_scripts_people_read_approve_reject_and_edit(desk: Desk, fresh: Fresh) -> None:
    ids = [await asked(desk, fresh(f"Mail {number}"), mail("s1")) for number in range(3)]
    page = await desk.open("/approvals", java_script_enabled=False)
    await expect(waiting(page)).to_have_count(3)
    await waiting(page).first.get_by_role("button", name="Approve").click()
    await expect(page.get_by_text("Your approval is recorded.")).to_be_visible()
    await waiting(page).first.get_by_role("button", name="Reject").click()
    await expect(page.get_by_text("Your rejection is recorded.")).to_be_visible()
    await waiting(page).first.get_by_role("link", name="Edit").click()
    await page.get_by_label("Body").fill("Without a script")
    await page.get_by_role("button", name="Approve with these changes").click()
    outcomes = [(await ended(desk, assistant_id))["approvals"][0]["status"] for assistant_id in ids]
    assert outcomes == ["approved", "rejected", "approved"]
    assert sent_mails(desk.stack, ids[2]) == [(TEAM, "Without a script")]


async def test_a_plan_that_was_to_be_seen_first_loses_a_step_and_gets_another_value(desk: Desk, fresh: Fresh) -> None:
    message = fresh("Enter it and mail it")
    assistant_id = await asked(desk, message, event("s1", title="Dentist"), mail("s2"), preview=True)
    page = await desk.open(f"/assistants/{assistant_id}")
    await waiting(page).get_by_role("link", name="Change the plan").click()
    await page.get_by_label("Run this step").nth(1).uncheck()
    await page.get_by_label("Title").fill("Dentist, second floor")
    await page.get_by_role("button", name="Run this plan with these changes").click()
    view = await ended(desk, assistant_id)
    assert [step["id"] for step in view["plan"]["steps"]] == ["s1"]
    assert steps(view)["s1"]["args"]["title"] == "Dentist, second floor"
    assert sent_mails(desk.stack, assistant_id) == []


# --- talking


async def test_a_question_is_answered_where_it_stands_and_the_talk_goes_on(desk: Desk, fresh: Fresh) -> None:
    message, answer = fresh("Email them"), fresh("The team")
    model = desk.stack.model
    model.script(message, plan_answer(question="Whom do you mean?"))
    model.script(answer, plan_answer([mail("s1")]))
    page = await desk.open("/")
    await page.get_by_label("What you want").fill(message)
    await page.get_by_role("button", name="Ask", exact=True).click()
    await expect(page.locator(".question")).to_contain_text("Whom do you mean?")
    await expect(page.locator(".messages .bubble").get_by_text("Whom do you mean?")).to_have_count(1)
    await page.get_by_label("Your answer").fill(answer)
    await page.keyboard.press("Enter")
    await expect(waiting(page)).to_contain_text("team@example.com")


async def test_an_offered_answer_is_given_by_its_button(desk: Desk, fresh: Fresh) -> None:
    message, answer = fresh("Email them"), fresh("The team")
    model = desk.stack.model
    model.script(message, plan_answer(question="Whom do you mean?", options=[answer, "<b>Ana</b>"]))
    model.script(answer, plan_answer(reply="All right."))
    page = await desk.open("/")
    await page.get_by_label("What you want").fill(message)
    await page.get_by_role("button", name="Ask", exact=True).click()
    await expect(page.get_by_role("button", name="<b>Ana</b>")).to_be_visible()
    await page.get_by_role("button", name=answer).click()
    await expect(page.locator(".messages")).to_contain_text("All right.")
    await expect(page.locator(".options")).to_have_count(0)


async def test_one_says_more_without_leaving_the_field_and_each_message_counts_once(desk: Desk, fresh: Fresh) -> None:
    """Also when the answer to a message is lost on its way and the person sends it again."""
    said = [fresh(f"Say {number}") for number in range(4)]
    for one in said:
        desk.stack.model.script(one, plan_answer(reply=f"You said: {one}"))
    page = await desk.open("/")
    await page.get_by_label("What you want").fill(said[0])
    await page.keyboard.press("Enter")
    field = page.get_by_label("Your message")
    await field.focus()
    for number, one in enumerate(said[1:3], start=2):
        await page.keyboard.type(one)
        await page.keyboard.press("Enter")
        await expect(field).to_have_value("")
        await expect(page.locator(".messages .assistant:not(.writing)")).to_have_count(number)
        await expect(field).to_be_focused()

    async def lost(route: Route) -> None:
        await route.fetch()
        await route.abort()

    desk.expected.append("ERR_FAILED")
    await page.route("**/say", lost, times=1)
    await page.keyboard.type(said[3])
    await page.keyboard.press("Enter")
    await expect(page.locator(".messages")).to_contain_text(f"You said: {said[3]}")
    await expect(field).to_have_value(said[3])
    await page.keyboard.press("Enter")
    await expect(field).to_have_value("")
    view = await desk.view(page.url.rpartition("/")[2])
    assert [one["text"] for one in view["messages"] if one["role"] == "user"] == said


async def test_the_field_that_one_writes_in_stays_in_view_below_the_answer(desk: Desk, fresh: Fresh) -> None:
    """Also in a long chat, of which only the last messages are shown; and a decision comes into view."""
    said = [fresh(f"Say {number}") for number in range(7)]
    for one in said[:-1]:
        desk.stack.model.script(one, plan_answer(reply="\n".join(f"{one}, line {number}" for number in range(12))))
    desk.stack.model.script(said[-1], plan_answer([mail("s1"), mail("s2")]))
    page = await desk.open("/", viewport={"width": 1280, "height": 800})
    await page.get_by_label("What you want").fill(said[0])
    await page.keyboard.press("Enter")
    field = page.get_by_label("Your message")
    for one in said[1:-1]:
        await field.fill(one)
        await page.keyboard.press("Enter")
        await expect(page.locator(".messages .assistant:not(.writing)").last).to_contain_text(f"{one}, line 11")
        await expect(field).to_be_in_viewport(ratio=1)
    await field.fill(said[-1])
    await page.keyboard.press("Enter")
    await expect(waiting(page)).to_have_count(2)
    await expect(waiting(page).first.get_by_role("heading").first).to_be_in_viewport()
    await expect(field).to_be_focused()


async def test_what_goes_away_before_a_field_leaves_it_the_focus(desk: Desk) -> None:
    page = await desk.open("/")
    focused = await page.evaluate("""async () => {
      const { morph } = await import(new URL("morph.js", document.querySelector("script[src$='console.js']").src).href);
      const old = document.body.appendChild(document.createElement("div"));
      old.innerHTML = "<p>Gone</p><section data-key='a'><input></section>";
      const next = document.createElement("div");
      next.innerHTML = "<section data-key='a'><input></section>";
      old.querySelector("input").focus();
      morph(old, next);
      return [document.activeElement.nodeName, old.innerHTML === next.innerHTML];
    }""")
    assert focused == ["INPUT", True]


async def test_a_form_that_is_sent_twice_begins_one_conversation(desk: Desk, fresh: Fresh) -> None:
    page = await desk.open("/")
    key = await page.locator("form[action='/talk'] [name=key]").first.input_value()
    form = {"message": fresh("Once only"), "key": key}
    answers = [await desk.http.post("/talk", data=form, headers={"Origin": desk.site}) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]


async def test_an_answer_is_read_while_it_is_written(desk: Desk, fresh: Fresh) -> None:
    message, more = fresh("Tell me a story"), asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield "Once upon a time <b>😀</b> "
        await asyncio.sleep(1)
        yield "there was a tide"
        await more.wait()
        yield ", and it went out."

    desk.stack.model.script(message, plan_answer([forecast()]), replies=[Answer(pieces=pieces)])
    page = await desk.open("/")
    await page.get_by_label("What you want").fill(message)
    await page.keyboard.press("Enter")
    await expect(page.locator("#writing")).to_contain_text("Once upon a time <b>😀</b> there was a tide")
    async with page.expect_response(page.url) as looked:
        await page.evaluate("dispatchEvent(new Event('online'))")
    await (await looked.value).finished()
    await page.wait_for_timeout(200)
    await expect(page.locator("#writing")).to_contain_text("there was a tide")
    more.set()
    await expect(page.locator(".messages .assistant:not(.writing)")).to_contain_text(
        "there was a tide, and it went out."
    )


async def test_conversations_are_listed_and_found(desk: Desk, fresh: Fresh) -> None:
    await ended(desk, str((await desk.ask(fresh("About the lighthouse")))["id"]))
    await ended(desk, str((await desk.ask(fresh("About the ferry")))["id"]))
    page = await desk.open("/")
    await expect(page.locator(".runs li")).to_have_count(2)
    await page.get_by_label("Search assistants").fill("LIGHTHOUSE")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator(".runs li")).to_have_count(1)
    await expect(page.locator(".runs")).to_contain_text("lighthouse")
    await page.goto(f"{desk.site}/?q=nothing-like-it")
    await expect(page.locator(".history .empty")).to_contain_text("nothing-like-it")


async def test_a_conversation_at_its_limit_goes_on_when_it_is_topped_up(desk: Desk, fresh: Fresh) -> None:
    plan = [forecast("s1"), forecast("s2", "Rome"), forecast("s3", "Porto")]
    assistant_id = await asked(desk, fresh("Three forecasts"), *plan, budget={"steps": 1})
    page = await desk.open("/approvals")
    await expect(waiting(page)).to_contain_text("1 of 1 steps of this run")
    await waiting(page).get_by_role("button", name="Raise the limit").click()
    await page.goto(f"{desk.site}/assistants/{assistant_id}")
    await expect(waiting(page)).to_contain_text("2 of 2 steps of this run")
    await waiting(page).get_by_role("link", name="Other amounts").click()
    await page.get_by_label("Steps").fill("5")
    await page.get_by_role("button", name="Raise the limit with these changes").click()
    view = await ended(desk, assistant_id)
    assert [step["status"] for step in view["plan"]["steps"]] == ["completed"] * 3
    assert view["budget"]["limits"]["steps"] == 2 + 5


# --- afterwards


async def test_what_was_done_is_undone(desk: Desk, fresh: Fresh) -> None:
    assistant_id = str((await desk.ask(fresh("Enter the dentist"), event("s1")))["id"])
    await ended(desk, assistant_id)
    page = await desk.open(f"/assistants/{assistant_id}")
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator(".undo")).to_contain_text("undone")
    await expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert (await desk.view(assistant_id))["undo"][0]["status"] == "undone"


async def test_a_step_is_tried_again_with_another_value_and_nothing_before_it_is_repeated(
    desk: Desk, fresh: Fresh
) -> None:
    assistant_id = str(
        (await desk.ask(fresh("Two entries"), event("s1"), event("s2", "Bank", depends_on=["s1"])))["id"]
    )
    await ended(desk, assistant_id)
    page = await desk.open(f"/assistants/{assistant_id}")
    await page.locator("#step-s2 summary").click()
    await page.locator("#step-s2").get_by_role("link", name="Try again from here").click()
    await page.get_by_label("Title").fill("Bank, upstairs")
    await page.get_by_role("button", name="Start").click()
    await expect(page).to_have_url(re.compile(rf"/assistants/(?!{assistant_id})a-"))
    await expect(page.locator("#step-s2 .meta")).to_contain_text("done")
    await expect(page.locator("#step-s1 .meta")).to_contain_text("kept from")
    forked = await desk.view(page.url.rpartition("/")[2])
    assert steps(forked)["s2"]["args"]["title"] == "Bank, upstairs"
    assert steps(forked)["s1"]["reused_from"] == assistant_id


async def test_receipt_and_export_hold_what_was_done(desk: Desk, fresh: Fresh) -> None:
    assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
    page = await desk.open(f"/assistants/{assistant_id}")
    await waiting(page).get_by_role("button", name="Approve").click()
    await ended(desk, assistant_id)
    await page.get_by_role("link", name="Receipt").click()
    await expect(page.locator(".receipt .card")).to_contain_text("team@example.com")
    await expect(page.locator(".receipt .card")).to_contain_text(f"Approved by {desk.name}")
    await expect(page.locator(".receipt .phases")).to_contain_text(re.compile(r"Planning\s*1\s*15\s*\d+\.\d s"))
    await page.get_by_role("link", name="The assistant").click()
    await expect(page.get_by_role("heading", name="Steps")).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export").click()
    content = json.loads(Path(await (await download.value).path()).read_text())
    assert content["assistant"]["id"] == assistant_id
    assert content["receipt"]["did"][0]["args"]["to"] == ["team@example.com"]


# --- standing things


async def test_a_schedule_is_made_paused_run_and_deleted(desk: Desk, fresh: Fresh) -> None:
    message = fresh("What is on today?")
    desk.stack.model.script(message, plan_answer(reply="Nothing."))
    page = await desk.open("/schedules")
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    await page.get_by_label("Name").fill("Morning")
    await page.get_by_label("Message to send each time").fill(message)
    await page.get_by_label("How often").select_option(label="Monday to Friday")
    await page.get_by_label("At", exact=True).fill("07:30")
    await page.get_by_role("button", name="Schedule it").click()
    card = page.locator(".card", has_text="Monday to Friday at 07:30")
    await expect(card).to_contain_text("in Europe/Berlin")
    await expect(card).to_contain_text(re.compile(r"Next: .*07:30"))
    await card.get_by_role("button", name="Run now").click()
    await expect(card).to_contain_text("Last:")
    await card.get_by_role("button", name="Pause").click()
    await expect(card).to_contain_text("Paused")
    await card.get_by_role("button", name="Resume").click()
    await expect(card.get_by_role("button", name="Pause")).to_be_visible()
    await card.get_by_role("button", name="Delete").click()
    await expect(card).to_have_count(0)


# --- rules of their own


@pytest.fixture
async def house(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A front door with the policy that the test names."""
    policy = tmp_path / "policy.toml"
    policy.write_text(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETINUE_USER_HEADER", PERSON)
        settings = ApiSettings(retinue_policy=policy, api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
        app = create_app(settings, client=stack.temporal)
    async with serving(app) as address:
        yield address


EXPIRES = rule('tools = ["email.send"]\ndecide = "ask"\nexpires_after = 12')


@pytest.mark.parametrize("house", [EXPIRES], ids=["expires"], indirect=True)
async def test_a_decision_expires_before_the_eyes_of_whoever_looks(
    house: str, chromium: Browser, stack: Stack, fresh: Fresh
) -> None:
    async with sitting(chromium, house, stack) as desk:
        assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
        page = await desk.open(f"/approvals/{assistant_id}/ap-s1")
        await expect(page.locator(".left")).to_contain_text("expires in")
        await expect(page.get_by_role("heading", name="Already decided")).to_be_visible(timeout=30_000)
        await expect(page.locator(".outcome")).to_contain_text("Expired")
        assert sent_mails(stack, assistant_id) == []


@pytest.mark.parametrize("house", [QUORUM], ids=["quorum"], indirect=True)
async def test_two_people_decide_and_each_sees_the_other(
    house: str, chromium: Browser, stack: Stack, fresh: Fresh
) -> None:
    async with sitting(chromium, house, stack) as desk:
        assistant_id = await asked(desk, fresh("Mail the team"), mail("s1"))
        by = (await desk.view(assistant_id))["approvals"][0]["by"]
        pages = [await desk.open(f"/assistants/{assistant_id}", name=name) for name in by[:2]]
        await waiting(pages[0]).get_by_role("button", name="Approve").click()
        await expect(waiting(pages[1])).to_contain_text("1 approved so far")
        await waiting(pages[1]).get_by_role("button", name="Approve").click()
        await expect(waiting(pages[0])).to_have_count(0)
        await ended(desk, assistant_id)
        assert len(sent_mails(stack, assistant_id)) == 1
