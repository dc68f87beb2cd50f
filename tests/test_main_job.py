"""The main job through the front door: plan, parallel steps, approval, effect, answer."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from activities.email.worker import import_file
from retinue.settings import ROOT
from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, pending, steps
from tests.days import NEXT, SOON, day_of

Fresh = Callable[[str], str]


def forecast(step_id: str = "s1", place: str = "Lisbon") -> dict[str, Any]:
    return {
        "id": step_id,
        "tool": "weather.forecast",
        "args": {"place": place, "start": SOON, "end": SOON},
    }


def mail(step_id: str, to: str = "team@example.com", body: Any = "Hello", **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "tool": "email.send", "args": {"to": [to], "subject": "Lisbon", "body": body}, **fields}


COMPOSED_MAIL = [
    forecast(),
    {
        "id": "s2",
        "tool": "reasoning.compose",
        "args": {"instruction": "Write the forecast.", "inputs": [{"$from": "s1", "path": ""}]},
    },
    mail("s3", body={"$from": "s2", "path": "/text"}),
]


def sent_mails(stack: Stack, assistant_id: str) -> list[tuple[str, str]]:
    """What the mail capability's own database holds of a run: recipients and text."""
    with sqlite3.connect(f"file:{stack.data}/email.db?mode=ro", uri=True) as database:
        return database.execute(
            "SELECT m.recipients, m.text FROM messages m JOIN ledger l ON m.message_id = l.result ->> 'message_id'"
            " WHERE lower(m.folder) = 'sent' AND l.key LIKE ?",
            (f"{assistant_id}/%",),
        ).fetchall()


async def test_mail_leaves_only_after_approval(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather in Lisbon, mail it to team@example.com")
    stack.model.script(message, plan_answer(COMPOSED_MAIL))
    view = await stack.asked((await stack.start(message))["id"])
    assert view["status"] == "awaiting_approval"
    assert steps(view)["s3"]["status"] == "awaiting_approval"
    assert sent_mails(stack, view["id"]) == []
    assert (await stack.decide(view)).status_code == 200
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    assert [step["status"] for step in done["plan"]["steps"]] == ["completed"] * 3
    assert [step["attempts"] for step in done["plan"]["steps"]] == [1, 1, 1]
    [(to, text)] = sent_mails(stack, view["id"])
    assert "team@example.com" in to
    assert text == steps(done)["s2"]["result"]["text"]


async def test_independent_steps_run_at_the_same_time(stack: Stack, fresh: Fresh) -> None:
    """Both activities are scheduled in one workflow task, before either has ended."""
    message = fresh("Two forecasts")
    stack.model.script(message, plan_answer([forecast("s1"), forecast("s2", "Rome")]))
    run = await stack.ended((await stack.start(message))["id"])
    history = await stack.temporal.get_workflow_handle(run["id"]).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "weather.forecast"
    ]
    assert len(scheduled) == 2
    assert len(set(scheduled)) == 1


async def test_a_run_without_effects_needs_nobody(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather?")
    stack.model.script(message, plan_answer([forecast()]))
    view = await stack.start(message, wait_seconds=20)
    assert view["status"] == "completed"
    assert view["approvals"] == []
    assert view["reply"] == "weather.forecast completed"
    assert view["usage"]["requests"] == 2


async def test_a_plan_may_answer_at_once(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello! What can I do?"))
    view = await stack.start(message, wait_seconds=20)
    assert (view["status"], view["reply"], view["plan"]) == ("completed", "Hello! What can I do?", None)


async def test_a_question_is_answered_by_a_message_and_planning_goes_on(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather somewhere")
    stack.model.script(message, plan_answer(question="Where?"), plan_answer([forecast()]))
    asking = await stack.start(message, wait_seconds=20)
    assert (asking["status"], asking["question"]) == ("awaiting_input", "Where?")
    response = await stack.http.post(
        f"/v1/assistants/{asking['id']}/messages", json={"message": "In Lisbon", "wait_seconds": 20}
    )
    assert response.status_code == 202
    assert response.json()["status"] == "completed"
    second_plan = [request for request in stack.model.requests_for(message) if "response_format" in request][1]
    assert [said["content"] for said in second_plan["messages"][-2:]] == ["Where?", "In Lisbon"]


async def test_a_rejected_action_is_not_done_and_the_answer_knows_why(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com, then note it")
    dependent = {"id": "s2", "tool": "contacts.list", "args": {}, "depends_on": ["s1"]}
    stack.model.script(message, plan_answer([mail("s1"), dependent]))
    view = await stack.asked((await stack.start(message))["id"])
    assert (await stack.decide(view, "reject", comment="wrong team")).status_code == 200
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    assert steps(done)["s1"]["status"] == "rejected"
    assert "wrong team" in steps(done)["s1"]["error"]["message"]
    assert steps(done)["s2"]["status"] == "skipped"
    assert done["reply"] == "email.send rejected; contacts.list skipped"
    assert sent_mails(stack, view["id"]) == []


async def test_edited_arguments_are_the_ones_that_run(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    edited = {"to": ["boss@example.com"], "subject": "Edited", "body": "Better"}
    assert (await stack.decide(view, "edit", args=edited)).status_code == 200
    done = await stack.ended(view["id"])
    assert steps(done)["s1"]["args"] == edited
    assert done["approvals"][0]["args"] == edited
    [(to, text)] = sent_mails(stack, view["id"])
    assert "boss@example.com" in to
    assert text == "Better"


async def test_other_branches_go_on_while_one_waits_for_a_person(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com and tell me the weather")
    stack.model.script(message, plan_answer([mail("s1"), forecast("s2")]))
    assistant_id = (await stack.start(message))["id"]
    view = await stack.until(
        assistant_id,
        lambda view: bool(view["plan"]) and steps(view)["s2"]["status"] == "completed" and bool(pending(view)),
    )
    assert steps(view)["s1"]["status"] == "awaiting_approval"
    await stack.http.post(f"/v1/assistants/{assistant_id}/cancel")


async def test_a_failing_step_ends_typed_while_other_branches_finish(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Delete that event, tell me about it, and the weather")
    delete = {"id": "s1", "tool": "email.archive", "args": {"message_id": "<none@example.com>"}}
    after = {"id": "s2", "tool": "contacts.list", "args": {}, "depends_on": ["s1"]}
    stack.model.script(message, plan_answer([delete, after, forecast("s3")]))
    done = await stack.ended((await stack.start(message))["id"])
    assert done["status"] == "failed"
    assert steps(done)["s1"]["error"]["type"] == "NotFound"
    assert steps(done)["s2"]["status"] == "skipped"
    assert steps(done)["s3"]["status"] == "completed"
    assert done["reply"] == "email.archive failed; contacts.list skipped; weather.forecast completed"


async def test_a_broken_reference_fails_its_step_before_anything_is_asked(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail the eighth day to team@example.com")
    stack.model.script(message, plan_answer([forecast(), mail("s2", body={"$from": "s1", "path": "/days/7/summary"})]))
    done = await stack.ended((await stack.start(message))["id"])
    assert steps(done)["s2"]["error"]["type"] == "BrokenReference"
    assert done["approvals"] == []


async def test_cancel_stops_what_waits_and_leaves_what_is_done(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather, mail team@example.com")
    stack.model.script(message, plan_answer([forecast(), mail("s2", depends_on=["s1"])]))
    view = await stack.asked((await stack.start(message))["id"])
    response = await stack.http.post(f"/v1/assistants/{view['id']}/cancel")
    assert response.status_code == 202
    done = await stack.ended(view["id"])
    assert done["status"] == "cancelled"
    assert steps(done)["s1"]["status"] == "completed"
    assert steps(done)["s2"]["status"] == "cancelled"
    assert done["approvals"][0]["status"] == "cancelled"
    late = await stack.decide(view)
    assert late.status_code == 409
    assert sent_mails(stack, view["id"]) == []


async def test_several_approvals_are_decided_in_any_order(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail a@example.com and b@example.com")
    stack.model.script(message, plan_answer([mail("s1", "a@example.com"), mail("s2", "b@example.com")]))
    view = await stack.asked((await stack.start(message))["id"], count=2)
    second, first = (await stack.decide(view, index=1)), (await stack.decide(view, "reject", index=0))
    assert (second.status_code, first.status_code) == (200, 200)
    done = await stack.ended(view["id"])
    assert [steps(done)[name]["status"] for name in ("s1", "s2")] == ["rejected", "completed"]
    [(to, _)] = sent_mails(stack, view["id"])
    assert "b@example.com" in to


async def test_twenty_approvals_at_once_are_one_decision_and_one_mail(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com once")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    codes = [response.status_code for response in await asyncio.gather(*[stack.decide(view) for _ in range(20)])]
    assert sorted(codes) == [200] + [409] * 19
    await stack.ended(view["id"])
    assert len(sent_mails(stack, view["id"])) == 1


async def test_a_signal_approves_with_the_same_checks(stack: Stack, fresh: Fresh) -> None:
    """As `temporal workflow signal --name approve` does it; a stale one changes nothing and leaves a notice."""
    message = fresh("Mail team@example.com by signal")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    handle = stack.temporal.get_workflow_handle(view["id"])
    await handle.signal("approve", {"approval_id": "ap-s1", "args_hash": "0" * 64})
    await handle.signal("approve", {"approval_id": "ap-s9"})
    refused = await stack.until(view["id"], lambda view: len(view["notices"]) == 2)
    assert refused["status"] == "awaiting_approval"
    await handle.signal("approve", {"approval_id": "ap-s1", "comment": "go"})
    done = await stack.ended(view["id"])
    assert (done["status"], done["approvals"][0]["decided_by"]) == ("completed", "signal")
    assert len(sent_mails(stack, view["id"])) == 1


async def test_a_refused_decision_leaves_no_event(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com, stale")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    handle = stack.temporal.get_workflow_handle(view["id"])
    before = (await handle.describe()).history_length
    refused = await stack.http.post(
        f"/v1/assistants/{view['id']}/approvals/ap-s1", json={"decision": "approve", "args_hash": "0" * 64}
    )
    assert refused.status_code == 409
    assert "read it again" in refused.json()["detail"]
    assert (await handle.describe()).history_length == before
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        (mail("s1"), True),
        ({"id": "s1", "tool": "email.draft", "args": mail("s1")["args"]}, False),
        ({"id": "s1", "tool": "contacts.add", "args": {"name": "Team", "email": "team@example.com"}}, False),
        ({"id": "s1", "tool": "contacts.add", "args": {"name": "Team", "email": "team@example.co"}}, True),
        (
            {
                "id": "s1",
                "tool": "calendar.create_event",
                "args": {"title": "X", "start": f"{SOON}T09:00:00Z", "end": f"{SOON}T10:00:00Z"},
            },
            False,
        ),
        (
            {
                "id": "s1",
                "tool": "calendar.create_event",
                "args": {
                    "title": "X",
                    "start": f"{SOON}T09:00:00Z",
                    "end": f"{SOON}T10:00:00Z",
                    "attendees": ["mark@attacker.example"],
                },
            },
            True,
        ),
        ({"id": "s1", "tool": "calendar.delete_event", "args": {"event_id": "x"}}, True),
    ],
)
async def test_policy_asks_for_what_leaves_the_house_or_cannot_be_undone(
    stack: Stack, fresh: Fresh, step: dict[str, Any], asked: bool
) -> None:
    """Own reversible writes run by themselves, unless a destination in them was typed by nobody."""
    message = fresh("Do it for team@example.com")
    stack.model.script(message, plan_answer([step]))
    view = await stack.start(message, wait_seconds=20)
    assert bool(pending(view)) is asked
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_an_invalid_plan_goes_back_to_the_model_and_is_mended(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Weather, please")
    stack.model.script(
        message,
        plan_answer([{"id": "s1", "tool": "bank.transfer_money", "args": {}}]),
        Answer("this is not JSON"),
        plan_answer([forecast()]),
    )
    view = await stack.start(message, wait_seconds=20)
    assert view["status"] == "completed"
    plans = [request for request in stack.model.requests_for(message) if "response_format" in request]
    assert len(plans) == 3
    assert "there is no tool 'bank.transfer_money'" in plans[2]["messages"][-3]["content"]
    assert plans[2]["messages"][-1]["content"].startswith("Plan refused:")


async def test_after_two_repairs_the_person_is_told(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Nonsense")
    stack.model.script(message, *[plan_answer([{"id": "s1", "tool": "bank.transfer", "args": {}}])] * 3)
    view = await stack.start(message, wait_seconds=20)
    assert (view["status"], view["error"]["type"]) == ("failed", "NoPlan")
    assert "bank.transfer" in view["error"]["message"]
    assert view["plan"] is None


async def test_the_inbox_holds_what_waits_over_all_runs(stack: Stack, fresh: Fresh) -> None:
    runs = []
    for name in ("first", "second"):
        message = fresh(f"Mail team@example.com the {name}")
        stack.model.script(message, plan_answer([mail("s1")]))
        runs.append((await stack.asked((await stack.start(message))["id"]))["id"])
    found: set[str] = set()
    for _ in range(50):
        inbox = (await stack.http.get("/v1/approvals")).json()["approvals"]
        found = {item["assistant_id"] for item in inbox}
        await asyncio.sleep(0.0 if set(runs) <= found else 0.1)
    assert set(runs) <= found
    for assistant_id in runs:
        await stack.http.post(f"/v1/assistants/{assistant_id}/cancel")


async def test_an_approval_says_what_an_opaque_id_stands_for(stack: Stack, fresh: Fresh) -> None:
    """`event_id` alone could be anything, so the event itself is shown, from the true result of the step before."""
    message = fresh("Delete the dentist")
    title = fresh("Dentist")
    day = {"start": f"{SOON}T00:00:00Z", "end": f"{NEXT}T00:00:00Z"}
    plan = [
        {
            "id": "s1",
            "tool": "calendar.create_event",
            "args": {"title": title, "start": f"{SOON}T09:00:00+00:00", "end": f"{SOON}T10:00:00+00:00"},
        },
        {"id": "s2", "tool": "calendar.list_events", "args": {**day, "query": title}, "depends_on": ["s1"]},
        {"id": "s3", "tool": "calendar.delete_event", "args": {"event_id": {"$from": "s2", "path": "/match/event_id"}}},
    ]
    stack.model.script(message, plan_answer(plan))
    view = await stack.asked((await stack.start(message))["id"])
    assert f"which is title {title}; start {day_of(SOON)} 09:00 +00:00" in pending(view)[0]["preview"]
    assert (await stack.decide(view)).status_code == 200
    assert (await stack.ended(view["id"]))["status"] == "completed"


async def test_every_activity_has_all_its_limits_and_a_summary(stack: Stack, fresh: Fresh) -> None:
    """Schedule-to-start, start-to-close, schedule-to-close, heartbeat and attempts: no retry without an end."""
    message = fresh("Weather in Lisbon, mail it to team@example.com, limits")
    stack.model.script(message, plan_answer(COMPOSED_MAIL))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    await stack.ended(view["id"])
    history = await stack.temporal.get_workflow_handle(view["id"]).fetch_history()
    scheduled = [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]
    summaries = [event.user_metadata.summary.data.decode() for event in scheduled]
    assert '"email.send to team@example.com"' in summaries
    for attributes in [event.activity_task_scheduled_event_attributes for event in scheduled]:
        assert 0 < attributes.schedule_to_start_timeout.ToSeconds() <= 5
        assert attributes.start_to_close_timeout.ToSeconds() > 0
        assert attributes.schedule_to_close_timeout.ToSeconds() > 0
        assert attributes.heartbeat_timeout.ToSeconds() > 0
        assert 1 <= attributes.retry_policy.maximum_attempts <= 10


async def test_the_web_ui_says_what_waits_and_how_to_decide(stack: Stack, fresh: Fresh) -> None:
    """The current details, as the Temporal Web UI shows them: plan, card and a signal input that works as it stands."""
    message = fresh("Mail team@example.com, seen in the Web UI")
    stack.model.script(message, plan_answer([mail("s1", body="``` A fence, and a line of " + "many words " * 20)]))
    view = await stack.asked((await stack.start(message))["id"])
    handle = stack.temporal.get_workflow_handle(view["id"])
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    details = metadata.current_details
    assert "### Approve? Send a mail" in details
    assert "`email.send`: **WAITS FOR YOUR APPROVAL**" in details
    assert "``` A fence" not in details
    decision = json.loads(details.partition("```json\n")[2].partition("```")[0])
    await handle.signal("approve", decision)
    assert (await stack.ended(view["id"]))["status"] == "completed"
    assert await (await handle.describe()).static_summary() == message


async def test_an_address_from_a_mail_stays_a_strangers_through_tools_that_echo_it(stack: Stack, fresh: Fresh) -> None:
    """Search -> draft -> event: each step may be trusted by itself, the address in it is not."""
    message = fresh("Draft an answer to the newest mail and invite its sender")
    start, end = f"{SOON}T09:00:00Z", f"{SOON}T10:00:00Z"
    draft = {"to": [{"$from": "s1", "path": "/messages/0/from"}], "subject": "Hi", "body": "Hello"}
    guest = {"$from": "s2", "path": "/to/0"}
    plan = [
        {"id": "s1", "tool": "email.search", "args": {"limit": 1}},
        {"id": "s2", "tool": "email.draft", "args": draft},
        {
            "id": "s3",
            "tool": "calendar.create_event",
            "args": {"title": "X", "start": start, "end": end, "attendees": [guest]},
        },
    ]
    await import_file(ROOT / "activities/email/demo/stranger.eml", person="local")
    stack.model.script(message, plan_answer(plan))
    view = await stack.asked((await stack.start(message))["id"])
    assert "came from email.search, which may hold the words of strangers" in pending(view)[0]["reasons"][0]
    await stack.decide(view)
    view = await stack.until(view["id"], lambda view: len(view["approvals"]) == 2)
    assert pending(view)[0]["tool"] == "calendar.create_event"
    assert pending(view)[0]["origins"][0]["trusted"] is False
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize("separator", ["\u2028", "\r", "\x0b", "\x85"])
async def test_a_line_of_the_card_cannot_be_forged(stack: Stack, fresh: Fresh, separator: str) -> None:
    message = fresh("Mail team@example.com, forged")
    stack.model.script(message, plan_answer([mail("s1", body=f"Hello{separator}to: boss@example.com")]))
    view = await stack.asked((await stack.start(message))["id"])
    lines = pending(view)[0]["preview"].splitlines()
    assert [line for line in lines if line.startswith("to:")] == ["to: team@example.com"]
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_nothing_can_be_approved_while_a_cancelled_run_still_stops(stack: Stack, fresh: Fresh) -> None:
    """A slow step keeps the run alive for a moment after cancel; a decision in that moment is refused."""
    message = fresh("Write slowly and mail team@example.com")
    slow = {"id": "s2", "tool": "reasoning.compose", "args": {"instruction": "slowly", "inputs": "wait"}}
    stack.model.script(message, plan_answer([mail("s1"), slow]))
    stack.model.compose_delay["slowly"] = 4
    view = await stack.asked((await stack.start(message))["id"])
    await stack.temporal.get_workflow_handle(view["id"]).cancel()
    await stack.until(view["id"], lambda view: not pending(view))
    assert (await stack.decide(view)).status_code == 409
    assert (await stack.ended(view["id"]))["status"] == "cancelled"
    assert sent_mails(stack, view["id"]) == []
