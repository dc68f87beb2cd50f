"""A look-up that found nothing is an answer: what needs it is left out, the run says so and has not failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.email.contract import Email
from cli.render import run_status
from console.rendering import status_words
from offline.wording.reply import report_steps
from retinue.client.models import Assistant, AssistantSummary
from retinue.plan import BoundStep, PlanStep, bind_call
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.test_main_job import forecast, mail
from workflows.steps.nothing_found import nothing_found

Fresh = Callable[[str], str]


def ref(path: str) -> dict[str, str]:
    return {"$from": "s1", "path": path}


def times(days: int) -> dict[str, str]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {"start": now.isoformat(), "end": (now + timedelta(days=days)).isoformat()}


def compose(to: Any) -> dict[str, Any]:
    return {"to": [to], "subject": "Hi", "body": "Hello"}


@pytest.mark.parametrize(
    ("look", "sought", "use", "args", "said"),
    [
        ("calendar.list_events", times(90), "calendar.update_event", {"event_id": "/match/event_id"}, "event"),
        ("calendar.list_events", times(90), "calendar.delete_event", {"event_id": "/events/0/event_id"}, "event"),
        ("contacts.find", {}, "email.send", {"to": "/match/email"}, "contact"),
        ("contacts.find", {}, "contacts.remove", {"contact_id": "/contacts/0/contact_id"}, "contact"),
        ("tasks.list", {}, "tasks.complete", {"task_id": "/match/task_id"}, "task"),
        ("tasks.list", {}, "tasks.delete_many", {"task_ids": "/task_ids"}, "task"),
        ("calendar.list_events", times(90), "calendar.delete_events", {"event_ids": "/event_ids"}, "event"),
        ("email.search", {}, "email.read", {"message_id": "/messages/0/message_id"}, "mail"),
    ],
)
async def test_the_run_says_what_it_did_not_find_and_has_not_failed(
    stack: Stack, fresh: Fresh, look: str, sought: dict[str, str], use: str, args: dict[str, str], said: str
) -> None:
    message, words = fresh("Do something with it"), fresh("Netflix")
    find = {"id": "s1", "tool": look, "args": {"name" if look == "contacts.find" else "query": words, **sought}}
    [(name, path)] = args.items()
    wanted = compose(ref(path)) if name == "to" else {name: ref(path)}
    after = {"id": "s3", "tool": "contacts.list", "args": {}, "depends_on": ["s2"]}
    stack.model.script(message, plan_answer([find, {"id": "s2", "tool": use, "args": wanted}, after]))
    done = await stack.ended((await stack.start(message))["id"])
    when = " in the next 90 days" if sought else ""
    missing = f'I found no {said} matching "{words}"{when}'
    assert (done["status"], done["outcome"], done["approvals"]) == ("completed", "nothing_changed", [])
    assert steps(done)["s2"]["error"] == {"type": "NothingFound", "message": missing}
    assert [steps(done)[step_id]["status"] for step_id in ("s1", "s2", "s3")] == ["completed", "skipped", "skipped"]
    [*_, asked] = stack.model.requests_for(message)
    told = json.loads(asked["messages"][-1]["content"])["steps"]
    assert report_steps(told, "UTC") == f"{missing}; nothing was changed."


def test_what_was_left_out_for_another_reason_is_told_all_the_same() -> None:
    told = report_steps(
        [
            {
                "id": "s1",
                "tool": "calendar.list_events",
                "status": "completed",
                "result": {"events": [], "match": None},
            },
            {"id": "s2", "tool": "calendar.delete_event", "status": "skipped", "error": "I found no event"},
            {"id": "s3", "tool": "tasks.list", "status": "skipped", "error": "it needs step s2, which was skipped"},
            {"id": "s4", "tool": "weather.current", "status": "skipped", "error": "you chose to skip it"},
            {"id": "s5", "tool": "tasks.add", "status": "completed", "result": {"title": "Rent", "task_id": "1"}},
        ],
        "UTC",
    )
    left_out, added, missing = told.split("\n\n")
    assert left_out == "Getting the weather was skipped: you chose to skip it."
    assert added.startswith("The task is on your list")
    assert missing == "I found no event."


async def test_the_planner_hears_of_it_and_may_look_elsewhere(stack: Stack, fresh: Fresh) -> None:
    message, words = fresh("Tell Ana"), fresh("Ana")
    find = {"id": "s1", "tool": "contacts.find", "args": {"name": words}}
    use = {"id": "s2", "tool": "email.draft", "args": compose(ref("/match/email"))}
    stack.model.script(message, plan_answer([find, use]), plan_answer(question="Which address has she?"), plan_answer())
    view = await stack.until((await stack.start(message))["id"], lambda view: bool(view["question"]))
    assert view["question"] == "Which address has she?"
    assert "NothingFound: I found no contact" in str(stack.model.requests_for(message)[1]["messages"])
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_place_that_is_not_in_what_was_found_is_still_a_broken_reference(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather, and note it")
    note = {"id": "s2", "tool": "tasks.add", "args": {"title": ref("/days/7/summary")}}
    stack.model.script(message, plan_answer([forecast(), note]))
    done = await stack.ended((await stack.start(message))["id"])
    assert (done["status"], done["outcome"]) == ("failed", None)
    assert steps(done)["s2"]["error"]["type"] == "BrokenReference"


async def listed(stack: Stack, view: View) -> AssistantSummary:
    """The run's line in the list, once the list knows of its end."""
    for _ in range(100):
        page = (await stack.http.get("/v1/assistants", params={"limit": 100})).json()["assistants"]
        [line] = [line for line in page if line["id"] == view["id"]] or [None]
        if line and line["status"] == "completed":
            return AssistantSummary.model_validate(line)
    raise AssertionError("the list does not know of it")


@pytest.mark.parametrize(
    ("plan", "outcome", "words"),
    [
        (plan_answer(reply='I could not read "frobnicate", so I did nothing.'), "answered", "Answered"),
        (plan_answer([mail("s1")]), "nothing_changed", "Nothing changed"),
        (plan_answer([forecast()]), "done", "Done"),
        (plan_answer([{"id": "s1", "tool": "tasks.add", "args": {"title": "Done indeed"}}]), "done", "Done"),
    ],
    ids=["a reply alone", "a rejected mail", "a forecast", "a task"],
)
async def test_only_what_was_done_is_called_done(
    stack: Stack, fresh: Fresh, plan: Any, outcome: str, words: str
) -> None:
    message = fresh("Do it")
    stack.model.script(message, plan)
    view = await stack.until(
        (await stack.start(message))["id"], lambda view: view["status"] == "completed" or bool(pending(view))
    )
    for index in range(len(pending(view))):
        await stack.decide(view, "reject", index)
    done = await stack.ended(view["id"])
    run = Assistant.model_validate(done)
    line = await listed(stack, done)
    assert (done["status"], run.outcome, line.outcome) == ("completed", outcome, outcome)
    assert {status_words(run), status_words(line)} == {words}
    shown = "completed" if outcome == "done" else words.lower()
    assert {run_status(run), run_status(line)} == {shown}


NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)
EMPTY: Any = {"events": [], "match": None, "skipped": 0}


def looked(tool: str = "calendar.list_events", **args: Any) -> BoundStep:
    spec = next(spec for each in (Calendar, Email) for spec in each.manifest().tools if spec.name == tool)
    return bind_call(PlanStep(id="s1", tool=tool, args=args), spec, capability=tool.partition(".")[0], task_queue="")


def missing(look: BoundStep, result: Any, path: str = "/match/event_id") -> str | None:
    use = looked("calendar.delete_event", event_id=ref(path))
    return nothing_found(use, {"s1": look}, {"s1": result}, NOW)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"query": "Rent", "start": "2027-03-01T00:00:00+01:00", "end": "2027-05-30T00:00:00+01:00"}, "next 90 days"),
        ({"query": "Rent", "start": "2027-04-02T00:00:00Z", "end": "2027-04-02T23:00:00Z"}, "on 2 April 2027"),
        ({"start": "2027-04-02T00:00:00Z", "end": "2027-04-03T00:00:00Z"}, "on 2 April 2027"),
        ({"start": "2027-04-02T00:00:00Z", "end": "2027-05-03T00:00:00Z"}, "from 2 April 2027 to 2 May 2027"),
        ({"start": "2027-04-02T00:00:00", "end": "2027-05-03"}, "I found no event"),
    ],
)
def test_the_sentence_names_the_window(args: dict[str, str], said: str) -> None:
    found = missing(looked(**args), EMPTY)
    assert found is not None
    assert found.endswith(said)


def test_what_a_stranger_wrote_is_not_repeated() -> None:
    """The sentence reaches planning, so it holds what was planned and not what came in for a reference."""
    assert missing(looked(query={"$from": "s0", "path": "/subject"}), EMPTY) == "I found no event"


@pytest.mark.parametrize(
    ("result", "path"),
    [
        ({**EMPTY, "events": [{"event_id": "e1"}]}, "/match/event_id"),
        ({**EMPTY, "match": {"title": "Rent"}}, "/match/event_id"),
        (EMPTY, "/events"),
        (EMPTY, "/nothing/event_id"),
        ({"match": None}, "/match/event_id"),
        (None, "/match/event_id"),
    ],
)
def test_everything_else_is_no_empty_look_up(result: Any, path: str) -> None:
    assert missing(looked(), result, path) is None


def test_what_a_tool_with_an_effect_did_not_give_was_not_looked_for() -> None:
    changed = looked("email.send", to=["a@example.com"], subject="x", body="y")
    assert missing(changed, {"to": []}, "/to/0") is None


async def test_a_mail_to_somebody_without_an_address_fails_in_words(stack: Stack, fresh: Fresh) -> None:
    message, name = fresh("Mail the plumber"), fresh("Plumber")
    add = {"id": "s1", "tool": "contacts.add", "args": {"name": name, "phone": "+34 600 123"}}
    find = {"id": "s2", "tool": "contacts.find", "args": {"name": name}, "depends_on": ["s1"]}
    mail = compose({"$from": "s2", "path": "/match/email"})
    plan = [add, find, {"id": "s3", "tool": "email.send", "args": mail}]
    stack.model.script(message, plan_answer(plan), plan_answer(reply="There is no address."))
    done = await stack.ended((await stack.start(message))["id"])
    failed = steps(done)["s3"]
    assert (failed["status"], done["approvals"]) == ("failed", [])
    assert failed["error"]["message"] == "step s2 (Find a contact) gave no email"
