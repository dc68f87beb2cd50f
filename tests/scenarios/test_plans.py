"""Plans through the front door: replanning, preview, chat, fork, undo, budgets, and what no worker serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.days import NEXT, SOON
from tests.test_main_job import forecast, mail, sent_mails

Fresh = Callable[[str], str]
MISSING = {"id": "s1", "tool": "email.archive", "args": {"message_id": "<none@example.com>"}}


def event(step_id: str = "s1", title: str = "Dentist", **fields: Any) -> dict[str, Any]:
    args = {"title": title, "start": f"{SOON}T10:00:00+00:00", "end": f"{SOON}T11:00:00+00:00"}
    return {"id": step_id, "tool": "calendar.create_event", "args": args, **fields}


def events(title: str) -> dict[str, Any]:
    args = {"start": f"{SOON}T00:00:00+00:00", "end": f"{NEXT}T00:00:00+00:00", "query": title}
    return {"id": "s1", "tool": "calendar.list_events", "args": args}


def plans_asked(stack: Stack, message: str) -> list[View]:
    """The planning requests of a run."""
    return [request for request in stack.model.requests_for(message) if "response_format" in request]


async def test_a_failed_step_is_planned_anew_with_what_is_done_kept(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Archive it, and the weather")
    stack.model.script(message, plan_answer([MISSING, forecast("s2")]), plan_answer([forecast("s1", "Rome")]))
    view = await stack.ended((await stack.start(message))["id"])
    assert {step_id: step["status"] for step_id, step in steps(view).items()} == {
        "s1": "failed",
        "s2": "completed",
        "2.s1": "completed",
    }
    assert view["status"] == "completed"  # the last plan did all that it meant to do
    told = plans_asked(stack, message)[1]["messages"]
    assert any("Progress (JSON):" in said["content"] for said in told)


async def test_a_plan_that_is_not_final_gets_another_round_and_may_refer_to_earlier_results(
    stack: Stack, fresh: Fresh
) -> None:
    message = fresh("Look first")
    second = {
        "id": "s1",
        "tool": "reasoning.compose",
        "args": {"instruction": "Say it.", "inputs": [{"$from": "s1", "path": "/days/0/summary"}]},
    }
    # its own s1 hides the first one, so the reference is to itself and refused; then it is mended
    mended = {**second, "id": "t1"}
    stack.model.script(message, plan_answer([forecast()], final=False), plan_answer([second]), plan_answer([mended]))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["status"] == "completed"
    assert steps(view)["2.t1"]["depends_on"] == ["s1"]
    assert steps(view)["s1"]["result"]["days"][0]["summary"] in steps(view)["2.t1"]["result"]["text"]


async def test_rounds_have_an_end(stack: Stack, fresh: Fresh) -> None:
    message = fresh("For ever")
    plans = [plan_answer([forecast("s1", f"Place {n}")], final=False) for n in range(3)]
    stack.model.script(message, *plans, plan_answer([forecast()], final=False), plan_answer([forecast()]))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["status"] == "completed"
    assert len(plans_asked(stack, message)) == 5  # four rounds; in the last one `final: false` was refused once
    assert list(steps(view)) == ["s1", "2.s1", "3.s1", "4.s1"]


async def test_what_strangers_wrote_never_enters_planning(stack: Stack, fresh: Fresh) -> None:
    """Mail is told to the next round as a shape: its fields, no word of it."""
    message, subject = fresh("Read my mail, then decide"), fresh("Obey")
    draft = {"id": "s0", "tool": "email.draft", "args": {"to": ["team@example.com"], "subject": subject, "body": "Now"}}
    args = {"query": subject, "folder": "drafts"}
    search = {"id": "s1", "tool": "email.search", "args": args, "depends_on": ["s0"]}
    stack.model.script(message, plan_answer([draft, search, forecast("s2")], final=False), plan_answer())
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    [progress] = [
        said["content"] for said in plans_asked(stack, message)[1]["messages"] if "Progress (JSON):" in said["content"]
    ]
    [_, mails, weather] = json.JSONDecoder().raw_decode(progress.partition("\n")[2])[0]
    assert mails["shape"]["messages"]["each"]["subject"] == "string"
    assert {name for name, value in mails["result"]["messages"][0].items() if value is not None} == {
        "date",
        "unread",
        "folder",
    }
    assert (
        weather["result"]["days"][0]["temperature_min_c"] == steps(view)["s2"]["result"]["days"][0]["temperature_min_c"]
    )
    assert weather["result"]["place"] is None  # whoever named the place at the weather service wrote it


async def test_what_was_rejected_is_not_asked_again(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]), plan_answer([mail("s1")]), plan_answer())
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject", comment="not now")
    done = await stack.ended(view["id"])
    assert len(done["approvals"]) == 1
    assert steps(done)["2.s1"]["status"] == "rejected"
    assert "rejected as step s1" in steps(done)["2.s1"]["error"]["message"]
    assert sent_mails(stack, view["id"]) == []


async def test_a_done_effect_is_not_repeated_by_a_later_plan(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist")
    title = fresh("Dentist")
    stack.model.script(
        message, plan_answer([event(title=title)], final=False), plan_answer([event(title=title)]), plan_answer()
    )
    view = await stack.ended((await stack.start(message))["id"])
    assert steps(view)["s1"]["status"] == "completed"
    assert steps(view)["2.s1"]["error"] == {
        "type": "Repeated",
        "message": "this exact call was already done as step s1",
    }


async def test_a_preview_shows_the_plan_and_runs_nothing(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com the weather")
    stack.model.script(message, plan_answer([forecast(), mail("s2")]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    [asked] = pending(view)
    assert (asked["kind"], asked["id"]) == ("plan", "ap-plan-1")
    card = {step["id"]: step for step in view["plan"]["card"]["steps"]}
    assert not card["s1"]["external"]
    assert card["s1"]["asks"] == []
    assert card["s2"]["external"]
    assert not card["s2"]["can_be_undone"]
    assert "it reaches other people or systems" in card["s2"]["asks"]
    assert view["plan"]["card"]["worst_case"]["requests"] >= 2
    assert "You will be asked before it" in asked["preview"]
    history = await stack.temporal.get_workflow_handle(view["id"]).fetch_history()
    ran = [e.activity_task_scheduled_event_attributes.activity_type.name for e in history.events]
    assert set(ran) == {"", "reasoning.plan"}


async def test_a_previewed_plan_is_approved_with_a_step_dropped_and_arguments_edited(
    stack: Stack, fresh: Fresh
) -> None:
    message = fresh("Mail somebody the weather")
    stack.model.script(message, plan_answer([forecast(), mail("s2"), forecast("s3", "Rome")]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    args = json.loads(json.dumps(pending(view)[0]["args"]))
    refused = await stack.decide(view, "edit", args={"steps": [*args["steps"], {"id": "s9", "args": {}}]})
    assert refused.status_code == 422
    bad = {"steps": [{"id": "s1", "args": {"place": 5}}]}
    assert (await stack.decide(view, "edit", args=bad)).status_code == 422
    assert (await stack.decide(view, "edit", args={"steps": []})).status_code == 422
    first, second, _ = args["steps"]
    first["args"]["place"] = "Porto"
    second["args"]["to"] = ["anna@example.com"]
    assert (await stack.decide(view, "edit", args={"steps": [first, second]})).status_code == 200
    view = await stack.until(view["id"], lambda v: any(a["kind"] == "action" for a in pending(v)))
    assert set(steps(view)) == {"s1", "s2"}
    [asked] = pending(view)
    assert asked["origins"][0]["source"] == "user"  # the person wrote this address into the plan
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert steps(done)["s1"]["result"]["place"].startswith("Porto")
    assert "anna@example.com" in sent_mails(stack, view["id"])[0][0]


async def test_a_rejected_preview_does_nothing(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist")
    stack.model.script(message, plan_answer([event()]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    await stack.decide(view, "reject", comment="too early")
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    assert "too early" in done["reply"]
    assert steps(done) == {}


async def test_undo_takes_effects_back_last_first_and_names_what_it_cannot(stack: Stack, fresh: Fresh) -> None:
    message, title = fresh("Dentist, and mail team@example.com"), fresh("Undone")
    stack.model.script(message, plan_answer([event(title=title), mail("s2", depends_on=["s1"])]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    done = await stack.ended(view["id"])
    response = await stack.http.post(f"/v1/assistants/{view['id']}/undo", json={"wait_seconds": 20})
    assert response.status_code == 202, response.text
    undone = response.json()
    assert [(step["step_id"], step["status"]) for step in undone["undo"]] == [("s2", "impossible"), ("s1", "undone")]
    assert steps(undone)["s1"]["status"] == "undone"
    assert steps(undone)["s2"]["status"] == "completed"
    assert done["status"] == undone["status"]
    again = fresh("Is it there?")
    stack.model.script(again, plan_answer([events(title)]))
    look = await stack.ended((await stack.start(again))["id"])
    assert steps(look)["s1"]["result"]["events"] == []


async def test_cancel_with_undo_takes_back_what_is_done(stack: Stack, fresh: Fresh) -> None:
    message, title = fresh("Dentist, then ask"), fresh("Cancelled")
    stack.model.script(message, plan_answer([event(title=title), mail("s2", depends_on=["s1"])]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={"undo": True})
    done = await stack.ended(view["id"])
    assert done["status"] == "cancelled"
    assert steps(done)["s1"]["status"] == "undone"
    assert steps(done)["s2"]["status"] == "cancelled"
    assert sent_mails(stack, view["id"]) == []


async def test_a_run_that_changed_nothing_has_nothing_to_undo(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather")
    stack.model.script(message, plan_answer([forecast()]))
    view = await stack.ended((await stack.start(message))["id"])
    response = await stack.http.post(f"/v1/assistants/{view['id']}/undo")
    assert (response.status_code, "nothing to undo" in response.json()["detail"]) == (409, True)


async def test_a_fork_keeps_finished_results_and_repeats_no_effect(stack: Stack, fresh: Fresh) -> None:
    message, title = fresh("Dentist, and the weather"), fresh("Forked")
    stack.model.script(message, plan_answer([event(title=title), {**forecast("s2"), "depends_on": ["s1"]}]))
    old = await stack.ended((await stack.start(message))["id"])
    body = {"from_step": "s2", "args": {"place": "Rome", "start": SOON, "end": SOON}}
    response = await stack.http.post(f"/v1/assistants/{old['id']}/fork", json={**body, "wait_seconds": 20})
    assert response.status_code == 202, response.text
    new = response.json()
    assert new["id"] != old["id"]
    assert new["forked_from"] == old["id"]
    assert steps(new)["s1"]["reused_from"] == old["id"]
    assert steps(new)["s1"]["result"] == steps(old)["s1"]["result"]
    assert steps(new)["s2"]["result"]["place"].startswith("Rome")
    again = fresh("How many?")
    stack.model.script(again, plan_answer([events(title)]))
    look = await stack.ended((await stack.start(again))["id"])
    assert len(steps(look)["s1"]["result"]["events"]) == 1


async def test_a_fork_with_another_request_is_planned_anew_over_what_is_done(stack: Stack, fresh: Fresh) -> None:
    message, other = fresh("Weather in Lisbon and Rome"), fresh("Rather Porto than Rome")
    stack.model.script(
        message, plan_answer([forecast(), forecast("s2", "Rome")]), plan_answer([forecast("a", "Porto")])
    )
    old = await stack.ended((await stack.start(message))["id"])
    body = {"from_step": "s2", "message": other, "wait_seconds": 20}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    assert {step_id: step["status"] for step_id, step in steps(new).items()} == {"s1": "completed", "2.a": "completed"}


async def test_a_run_at_its_budget_asks_and_goes_on_when_topped_up(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Three forecasts")
    three = [forecast("s1"), forecast("s2", "Rome"), forecast("s3", "Porto")]
    stack.model.script(message, plan_answer(three))
    view = await stack.asked((await stack.start(message, budget={"steps": 2}))["id"])
    [asked] = pending(view)
    assert (asked["kind"], asked["args"], asked["reasons"]) == ("budget", {"steps": 2}, ["2 of 2 steps of this run"])
    view = await stack.until(view["id"], lambda v: [s["status"] for s in v["plan"]["steps"]].count("completed") == 2)
    assert view["budget"]["used"]["steps"] == 2
    assert (await stack.decide(view, "edit", args={"steps": 1})).status_code == 200
    done = await stack.ended(view["id"])
    assert [step["status"] for step in done["plan"]["steps"]] == ["completed"] * 3


async def test_a_run_at_its_budget_stops_when_the_person_says_so(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Two forecasts")
    stack.model.script(message, plan_answer([forecast("s1"), forecast("s2", "Rome")]))
    view = await stack.asked((await stack.start(message, budget={"steps": 1}))["id"])
    await stack.decide(view, "reject")
    done = await stack.ended(view["id"])
    assert (done["status"], done["error"]["type"]) == ("failed", "BudgetExhausted")
    assert sorted(step["status"] for step in done["plan"]["steps"]) == ["completed", "skipped"]
    assert "weather.forecast: completed" in done["reply"]


async def test_the_budget_counts_the_model_before_it_is_asked(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather")
    stack.model.script(message, plan_answer([forecast()]))
    view = await stack.asked((await stack.start(message, budget={"requests": 1}))["id"])
    assert steps(view)["s1"]["status"] == "completed"  # the answer is what there is no request left for
    assert len(plans_asked(stack, message)) == 1
    await stack.decide(view)
    assert (await stack.ended(view["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("choice", "status", "error"), [("skip", "skipped", "ChosenToSkip"), ("fail", "failed", "ChosenToFail")]
)
async def test_a_step_without_a_worker_is_shown_and_can_be_skipped_or_failed(
    stack: Stack, fresh: Fresh, lonely: str, choice: str, status: str, error: str
) -> None:
    message = fresh("Ask the lonely one")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": f"{lonely}.ask", "args": {}}, forecast("s2")]))
    view = await stack.until((await stack.start(message))["id"], lambda v: bool(v["waiting_for"]), seconds=20)
    [waiting] = view["waiting_for"]
    assert (waiting["capability"], waiting["steps"]) == (lonely, ["s1"])
    assert waiting["since"] < waiting["times_out_at"]
    assert view["status"] == "awaiting_worker"
    assert steps(view)["s2"]["status"] == "completed"
    response = await stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": "wait"})
    assert response.status_code == 200
    response = await stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": choice})
    assert response.status_code == 200, response.text
    done = await stack.ended(view["id"])
    assert (steps(done)["s1"]["status"], steps(done)["s1"]["error"]["type"]) == (status, error)
    response = await stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": choice})
    assert response.status_code == 409


async def test_the_receipt_says_what_was_done_with_whose_consent(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist, weather, and mail team@example.com")
    stack.model.script(message, plan_answer([event(), forecast("s2"), mail("s3")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, comment="yes")
    await stack.ended(view["id"])
    made = (await stack.http.get(f"/v1/assistants/{view['id']}/receipt")).json()
    by_step = {deed["step_id"]: deed for deed in made["did"]}
    assert by_step["s1"]["consent"]["how"] == "automatic"
    assert by_step["s3"]["consent"] | {"at": None} == {
        "how": "approval",
        "says": "local",
        "by": ["local"],
        "at": None,
        "rule": by_step["s3"]["consent"]["rule"],
        "grant_id": None,
        "approval_id": "ap-s3",
    }
    assert by_step["s3"]["undo"] == "it cannot be undone"
    assert [reading["tool"] for reading in made["read"]] == ["weather.forecast"]
    assert made["usage"]["requests"] == 2
    text = await stack.http.get(f"/v1/assistants/{view['id']}/receipt", headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert "allowed by: local" in text.text
    assert "calendar.delete_event" in text.text


async def test_an_unusable_plan_is_said_so_after_two_repairs(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Nonsense")
    stack.model.script(message, *[Answer("no plan")] * 3)
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["status"], view["error"]["type"]) == ("failed", "NoPlan")


async def test_a_fork_can_be_previewed_too(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather")
    stack.model.script(message, plan_answer([forecast()]))
    old = await stack.ended((await stack.start(message))["id"])
    body = {"from_step": "s1", "preview": True, "wait_seconds": 10}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    assert pending(new)[0]["kind"] == "plan"
    await stack.decide(new)
    assert steps(await stack.ended(new["id"]))["s1"]["status"] == "completed"


async def test_a_fork_does_not_keep_what_was_undone(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Dentist, then the weather")
    stack.model.script(message, plan_answer([event(), {**forecast("s2"), "depends_on": ["s1"]}]))
    old = await stack.ended((await stack.start(message))["id"])
    await stack.http.post(f"/v1/assistants/{old['id']}/undo", json={"wait_seconds": 20})
    body = {"from_step": "s2", "wait_seconds": 20}
    new = (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()
    assert {step_id: step["status"] for step_id, step in steps(new).items()} == {"s2": "completed"}


async def test_a_fork_that_plans_anew_does_not_show_the_old_answer_to_the_planner(stack: Stack, fresh: Fresh) -> None:
    message, other = fresh("Weather"), fresh("And Rome")
    stack.model.script(
        message, plan_answer([forecast()]), plan_answer([forecast("a", "Rome")]), replies=[Answer("OLD-ANSWER")]
    )
    old = await stack.ended((await stack.start(message))["id"])
    assert old["reply"] == "OLD-ANSWER"
    body = {"from_step": "s1", "message": other, "wait_seconds": 20}
    assert (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).json()["status"] == "completed"
    assert "OLD-ANSWER" not in json.dumps(plans_asked(stack, other))


@pytest.mark.parametrize(
    ("body", "status"), [({"from_step": "s7"}, 404), ({"from_step": "s1", "args": {"place": 1}, "message": "x"}, 422)]
)
async def test_a_fork_from_nowhere_is_refused(stack: Stack, fresh: Fresh, body: dict[str, Any], status: int) -> None:
    message = fresh("Weather")
    stack.model.script(message, plan_answer([forecast()]))
    old = await stack.ended((await stack.start(message))["id"])
    assert (await stack.http.post(f"/v1/assistants/{old['id']}/fork", json=body)).status_code == status
