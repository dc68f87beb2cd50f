"""What may not lower the checks: edits, previews, forks, names in the address book, undo, and rules about people."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.calendar.models import StoredEvent
from activities.calendar.store import CalendarStore
from api.services.runs import Runs
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.scenarios.test_people import decide, rule
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail, sent_mails
from workflows.messages import UndoStep
from workflows.undo import undo_id

Fresh = Callable[[str], str]
Opened = Callable[[str], Awaitable[Callable[[str], Stack]]]
EVIL = "evil@attacker.example"


def draft(to: Any, body: str = "Hello", step_id: str = "s1") -> dict[str, Any]:
    return {"id": step_id, "tool": "email.draft", "args": {"to": to, "subject": "x", "body": body}}


async def test_an_edited_plan_vouches_for_whole_values_only(stack: Stack, fresh: Fresh) -> None:
    """A body that quotes an address does not make that address a typed recipient."""
    message = fresh("Write a draft")
    stack.model.script(message, plan_answer([draft([EVIL])]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    args = pending(view)[0]["args"]
    args["steps"][0]["args"]["body"] = f"About {EVIL}, thanks"
    assert (await stack.decide(view, "edit", args=args)).status_code == 200
    view = await stack.until(view["id"], lambda v: any(a["kind"] == "action" for a in pending(v)))
    assert pending(view)[0]["origins"][0]["source"] == "model"
    await stack.decide(view, "reject")


async def test_a_fork_does_not_make_unchanged_values_typed(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Write a draft")
    stack.model.script(message, plan_answer([draft([EVIL])]), plan_answer())
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject")
    old = await stack.ended(view["id"])
    args = steps(old)["s1"]["args"] | {"subject": "Other words"}
    body = {"from_step": "s1", "args": args, "wait_seconds": 10}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    assert pending(new)[0]["origins"][0]["source"] == "model"
    await stack.decide(new, "reject")


async def test_a_fork_vouches_for_what_was_changed(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Write a draft")
    stack.model.script(message, plan_answer([draft([EVIL])]), plan_answer())
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject")
    old = await stack.ended(view["id"])
    args = steps(old)["s1"]["args"] | {"to": ["ana@example.com"]}
    body = {"from_step": "s1", "args": args, "wait_seconds": 10}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    assert (new["status"], steps(new)["s1"]["status"]) == ("completed", "completed")


async def test_a_name_in_the_address_book_is_no_destination_and_enters_no_plan(stack: Stack, fresh: Fresh) -> None:
    mark = uuid.uuid4().hex[:8]
    name, email = f"evil-{mark}@attacker.example", f"zoe-{mark}@example.com"
    message = fresh(f"Add {email}")
    stack.model.script(
        message, plan_answer([{"id": "s1", "tool": "contacts.add", "args": {"name": name, "email": email}}])
    )
    assert (await stack.ended((await stack.start(message))["id"]))["status"] == "completed"
    again = fresh("Write to them")
    find = {"id": "s1", "tool": "contacts.find", "args": {"name": f"evil-{mark}"}}
    to = {"$from": "s1", "path": "/match/email"}
    stack.model.script(
        again,
        plan_answer([find], final=False),
        plan_answer([{**draft([name]), "id": "a"}, {**draft([to], step_id="b")}, {**draft([email]), "id": "c"}]),
    )
    view = await stack.asked((await stack.start(again))["id"])
    assert [approval["step_id"] for approval in pending(view)] == ["2.a"]  # both forms of the address are known
    planned = [r for r in stack.model.requests_for(again) if "response_format" in r]
    assert name not in str(planned[1])
    await stack.decide(view, "reject")
    done = await stack.ended(view["id"])
    assert [steps(done)[step_id]["status"] for step_id in ("2.b", "2.c")] == ["completed", "completed"]


async def test_an_edit_never_lowers_how_many_must_approve(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people(
        rule('origins = ["model"]\ntools = ["email.send"]\ndecide = "ask"\napprovers = 2\nby = ["anna", "ben"]')
    )
    anna, ben = person("anna"), person("ben")
    message = fresh("Send a mail")
    stack.model.script(message, plan_answer([mail("s1", to=EVIL)]))
    view = await anna.asked((await anna.start(message))["id"])
    args = pending(view)[0]["args"] | {"to": [EVIL, "anna@example.com"]}
    assert (await decide(anna, view, "edit", args=args))[0] == 200
    edited = await anna.view(view["id"])
    assert (pending(edited)[0]["approvers"], pending(edited)[0]["by"]) == (2, ["anna", "ben"])
    assert sent_mails(stack, view["id"]) == []
    assert (await decide(ben, edited, "reject"))[0] == 200
    await anna.ended(view["id"])


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("o'brien@example.com", "brien@example.com"),
        ("x/ana@example.com", "ana@example.com"),
        ("a!b@example.com", "b@example.com"),
    ],
)
async def test_a_part_of_a_typed_address_was_not_typed(stack: Stack, fresh: Fresh, typed: str, wanted: str) -> None:
    message = fresh(f"Draft a mail to {typed} please")
    stack.model.script(message, plan_answer([draft([wanted])]))
    view = await stack.asked((await stack.start(message))["id"])
    assert pending(view)[0]["origins"][0]["source"] == "model"
    await stack.decide(view, "reject")


@pytest.mark.parametrize(
    "written", ["ana@example.com.", "<ana@example.com>", "'ana@example.com'", "to:ana@example.com, and"]
)
async def test_a_typed_address_is_known_as_people_write_it(stack: Stack, fresh: Fresh, written: str) -> None:
    message = fresh(f"Draft a mail to {written}")
    stack.model.script(message, plan_answer([draft(["ana@example.com"])]))
    assert (await stack.ended((await stack.start(message))["id"]))["status"] == "completed"


async def test_undo_does_nothing_that_the_policy_forbids(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["calendar.delete_event"]\ndecide = "deny"')))("anna")
    message = fresh("Dentist")
    stack.model.script(message, plan_answer([event()]))
    done = await anna.ended((await anna.start(message))["id"])
    undone = (await anna.http.post(f"/v1/assistants/{done['id']}/undo", json={"wait_seconds": 20})).json()
    assert [(step["status"], step["error"]) for step in undone["undo"]] == [("impossible", "the policy forbids it")]
    assert steps(undone)["s1"]["status"] == "completed"


async def test_an_undoing_that_ends_while_it_is_asked_for_again_is_not_repeated(
    stack: Stack, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = fresh("Dentist")
    stack.model.script(message, plan_answer([event(title=fresh("Once"))]))
    done = await stack.ended((await stack.start(message))["id"])
    path = f"/v1/assistants/{done['id']}/undo"
    read, delete, go_on = Runs._undo_steps, CalendarStore.delete, asyncio.Event()

    async def held(calendar: CalendarStore, session: AsyncSession, event_id: str) -> StoredEvent:
        await go_on.wait()
        return await delete(calendar, session, event_id)

    async def read_before_it_ends(runs: Runs, assistant_id: str) -> list[UndoStep]:
        steps_then = await read(runs, assistant_id)
        go_on.set()
        await stack.temporal.get_workflow_handle(undo_id(assistant_id, 1)).result()
        return steps_then

    with monkeypatch.context() as patch:
        patch.setattr(CalendarStore, "delete", held)
        assert (await stack.http.post(path, json={"wait_seconds": 0})).status_code == 202
        patch.setattr(Runs, "_undo_steps", read_before_it_ends)
        await stack.http.post(path, json={"wait_seconds": 20})
    last = await stack.view(done["id"])
    assert [step["status"] for step in last["undo"]] == ["undone"]


async def test_undo_goes_on_with_what_the_first_try_could_not_do(stack: Stack, fresh: Fresh) -> None:
    message, title = fresh("Dentist"), fresh("Twice")
    stack.model.script(message, plan_answer([event(title=title)]))
    done = await stack.ended((await stack.start(message))["id"])
    path = f"/v1/assistants/{done['id']}/undo"
    first = (await stack.http.post(path, json={"wait_seconds": 0})).json()
    assert first["status"] == "completed"
    for _ in range(3):
        last = (await stack.http.post(path, json={"wait_seconds": 20})).json()
    assert [step["status"] for step in last["undo"]] == ["undone"]


async def test_a_grant_is_refused_where_others_decide(stack: Stack, fresh: Fresh, people: Opened) -> None:
    anna = (await people(rule('tools = ["email.send"]\ndecide = "ask"\nby = ["anna", "ben"]')))("anna")
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await anna.asked((await anna.start(message))["id"])
    assert (await decide(anna, view, grant={}))[0] == 403
    assert (await decide(anna, view, wait_seconds=5))[0] == 200
    await anna.ended(view["id"])


@pytest.mark.parametrize("more", [{"steps": 20_000}, {"steps": {"$from": "s1"}}, {"steps": 0}, {}])
async def test_an_unusable_top_up_is_refused_and_the_run_lives_on(stack: Stack, fresh: Fresh, more: View) -> None:
    message = fresh("Two forecasts")
    stack.model.script(message, plan_answer([forecast(), forecast("s2", "Rome")]))
    view = await stack.asked((await stack.start(message, budget={"steps": 1}))["id"])
    assert (await stack.decide(view, "edit", args=more)).status_code == 422
    assert (await stack.decide(view)).status_code == 200
    assert (await stack.ended(view["id"]))["status"] == "completed"


async def test_a_previewed_goal_without_arguments_keeps_its_own(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Look"), fresh("look around")
    stack.model.script(message, plan_answer([{"id": "x" * 40, "agent": "weather", "goal": goal}]))
    stack.model.agent(goal, [{"tool": "weather.current", "args": {"place": "Lisbon"}}], "Fine.")
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    assert (await stack.decide(view, "edit", args={"steps": [{"id": "x" * 40, "args": {}}]})).status_code == 422
    assert (await stack.decide(view, "edit", args={"steps": [{"id": "x" * 40}]})).status_code == 200
    done = await stack.ended(view["id"])
    assert [step["status"] for step in done["plan"]["steps"]] == ["completed", "completed"]


async def test_a_long_chain_with_many_references_does_not_stop_the_run(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Chain")
    first = {"id": "c0", "tool": "reasoning.compose", "args": {"instruction": "x"}}
    chain = [
        {
            "id": f"c{n}",
            "tool": "weather.current",
            "args": {"place": {"$from": f"c{n - 1}", "path": "/place" if n > 1 else "/text"}},
            "depends_on": [f"c{n - 1}"],
        }
        for n in range(1, 15)
    ]
    stack.model.script(message, plan_answer([first, *chain]), plan_answer())
    done = await stack.ended((await stack.start(message))["id"], seconds=50)
    assert done["status"] in ("completed", "failed")


async def test_a_rule_with_more_names_than_fit_is_refused_at_the_start(people: Opened) -> None:
    names = ", ".join(f'"person-number-{number:03d}-of-many"' for number in range(100))
    with pytest.raises(ValueError, match="characters of names"):
        await people(rule(f'decide = "ask"\nby = [{names}]'))


async def test_the_budget_of_a_run_holds_beside_that_of_the_day(stack: Stack, fresh: Fresh, people: Opened) -> None:
    person = await people('[policies.default]\nextends = "default"\nday_budget = { tool_calls = 100 }')
    anna = person(f"anna-{uuid.uuid4().hex[:8]}")
    message = fresh("Many")
    stack.model.script(message, plan_answer([forecast(f"s{n}", f"Place {n}") for n in range(8)]))
    view = await anna.asked((await anna.start(message, budget={"steps": 3}))["id"])
    view = await anna.until(view["id"], lambda v: [s["status"] for s in v["plan"]["steps"]].count("completed") == 3)
    await anna.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_the_same_key_with_other_words_is_refused(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hi")] * 3)
    view = await stack.start(message, mode="chat", wait_seconds=20)
    path, key = f"/v1/assistants/{view['id']}/messages", {"Idempotency-Key": uuid.uuid4().hex}
    assert (await stack.http.post(path, json={"message": "One"}, headers=key)).status_code == 202
    assert (await stack.http.post(path, json={"message": "Two"}, headers=key)).status_code == 422
    assert (await stack.http.post(path, json={"message": "x", "question_id": "q1"})).status_code == 409
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_running_assistant_is_not_forked(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    response = await stack.http.post(f"/v1/assistants/{view['id']}/fork", json={"from_step": "s1"})
    assert (response.status_code, "still running" in response.json()["detail"]) == (409, True)
    await stack.decide(view, "reject")
