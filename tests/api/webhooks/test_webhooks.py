"""What people's programs are told, and that it is ours, whole, and no more than they need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer
from tests.api.conftest import Json, refused
from tests.api.webhooks.conftest import PUBLIC, Answers, Door, Opens, Program
from tests.conftest import Stack, pending
from tests.test_main_job import forecast


@pytest.fixture(scope="module")
async def door(opened: Opens) -> AsyncIterator[Door]:
    async with opened() as made:
        yield made


def tenant_of(door: Door) -> str:
    return str(door.stack.http.headers["X-Tenant"])


async def test_a_waiting_approval_and_the_end_are_told_signed(anna: Door, message: str) -> None:
    _, program = await anna.program()
    view = await anna.asked(message)
    told = await program.heard("approval.needed")
    [approval] = pending(view)
    data = told["data"]
    assert datetime.fromisoformat(told["timestamp"]).utcoffset() is not None
    assert (data["assistant_id"], data["approval_id"], data["tool"]) == (view["id"], approval["id"], "email.send")
    assert data["owner"] == f"{tenant_of(anna)}:anna"
    assert data["link"] == f"{PUBLIC}/approvals/{view['id']}/{approval['id']}"
    assert (await anna.stack.decide(view)).status_code == 200
    ended = await program.heard("run.completed")
    assert ended["data"] == {
        "owner": data["owner"],
        "assistant_id": view["id"],
        "link": f"{PUBLIC}/assistants/{view['id']}",
    }
    assert (program.types(), program.forged) == (["approval.needed", "run.completed"], 0)
    assert len(set(program.ids)) == 2


async def test_no_message_holds_what_people_models_or_strangers_wrote(anna: Door, message: str) -> None:
    _, program = await anna.program()
    view = await anna.asked(message)
    await program.heard("approval.needed")
    [approval] = pending(view)
    told = json.dumps(program.messages)
    for word in ("canary", "team@example.com", approval["args_hash"], approval["args"]["subject"]):
        assert word not in told


async def test_a_link_approves_nothing(anna: Door, message: str) -> None:
    """Whoever opens it, in whichever way a browser or a mail scanner does: the approval goes on waiting."""
    _, program = await anna.program()
    view = await anna.asked(message)
    link = (await program.heard("approval.needed"))["data"]["link"].removeprefix(PUBLIC)
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = await anna.stack.http.request(method, link)
        assert answer.status_code in (200, 401, 404, 405)
    assert pending(await anna.stack.view(view["id"])) == pending(view)
    await anna.stack.http.post(f"/v1/assistants/{view['id']}/cancel")


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ([plan_answer([forecast()])], "run.completed"),
        ([Answer(status=401)], "run.failed"),
        ([plan_answer(question="Where?")], "question.asked"),
    ],
)
async def test_ends_and_questions_are_told(anna: Door, message: str, answers: list[Answer], last: str) -> None:
    _, program = await anna.program()
    anna.stack.model.script(message, *answers)
    assistant_id = (await anna.stack.start(message))["id"]
    assert (await program.heard(last))["data"]["assistant_id"] == assistant_id
    assert program.types() == [last]


async def test_a_cancelled_run_is_told_as_cancelled(anna: Door, message: str) -> None:
    _, program = await anna.program(events=["run.cancelled"])
    view = await anna.asked(message)
    await anna.stack.http.post(f"/v1/assistants/{view['id']}/cancel")
    await program.heard("run.cancelled")
    assert program.types() == ["run.cancelled"]
    assert (await anna.stack.ended(view["id"]))["status"] == "cancelled"


async def test_reminders_and_escalations_are_told_to_whoever_may_decide_then(anna: Door, message: str) -> None:
    ben = anna.person("ben", tenant_of(anna))
    (_, hers), (_, his) = await anna.program(), await ben.program()
    view = await anna.asked(message, policy="urgent")
    await hers.heard("approval.escalated")
    told = await his.heard("approval.escalated")
    assert told["data"]["assistant_id"] == view["id"]
    assert hers.types() == ["approval.needed", "approval.reminded", "approval.escalated"]
    assert his.types() == ["approval.escalated"]
    assert (await ben.stack.decide(view, "reject")).status_code == 200


@pytest.mark.parametrize("policy", ["ben", "anybody"])
async def test_a_named_approver_is_told_and_nobody_of_another_organisation(
    anna: Door, message: str, policy: str
) -> None:
    ours = tenant_of(anna)
    ben, other, at_home = anna.person("ben", ours), anna.person("ben", f"{ours}-2"), anna.person("ben")
    (_, his), (_, foreign), (_, home) = await ben.program(), await other.program(), await at_home.program()
    view = await anna.asked(message, policy=policy)
    told = await his.heard("approval.needed")
    assert (told["data"]["assistant_id"], his.forged) == (view["id"], 0)
    assert (await ben.stack.decide(view, "reject")).status_code == 200
    await anna.stack.ended(view["id"])
    assert (foreign.messages, home.messages) == ([], [])
    assert his.types() == ["approval.needed"]


async def test_what_failed_is_sent_again_under_the_same_id(anna: Door) -> None:
    webhook_id, program = await anna.program()
    program.answers = [Answers(500), Answers(404)]
    found = await anna.tested(webhook_id, lambda last: last.get("state") == "delivered")
    assert (len(program.ids), len(set(program.ids)), program.forged) == (3, 1, 0)
    assert (found["failures"], found["last_delivery"]["attempt"], found["disabled_at"]) == (0, 3, None)


async def test_what_is_never_taken_is_given_up_and_said(anna: Door) -> None:
    webhook_id, program = await anna.program()
    program.always = Answers(500)
    found = await anna.tested(webhook_id, lambda last: last.get("state") == "failed")
    assert (found["failures"], len(program.ids)) == (3, 3)
    assert "HTTP 500" in found["last_delivery"]["problem"]
    assert found["disabled_at"] is None


async def test_410_ends_a_webhook(anna: Door, message: str) -> None:
    (webhook_id, gone), (_, other) = await anna.program(), await anna.program()
    gone.always = Answers(410)
    found = await anna.tested(webhook_id, lambda last: last.get("state") == "gone")
    assert found["disabled_at"]
    anna.stack.model.script(message, plan_answer([forecast()]))
    await anna.stack.start(message)
    await other.heard("run.completed")
    assert gone.types() == ["test"]


async def test_a_receiver_that_asks_for_a_pause_gets_it(anna: Door) -> None:
    webhook_id, program = await anna.program()
    program.answers = [Answers(429, {"Retry-After": "1"})]
    await anna.tested(webhook_id, lambda last: last.get("state") == "delivered")
    first, second = program.at
    assert second - first >= 0.9


async def test_a_redirect_is_not_followed(anna: Door) -> None:
    (webhook_id, program), (_, elsewhere) = await anna.program(), await anna.program()
    program.always = Answers(307, {"Location": elsewhere.url})
    found = await anna.tested(webhook_id, lambda last: last.get("state") == "failed")
    assert "HTTP 307" in found["last_delivery"]["problem"]
    assert elsewhere.messages == []


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:8000/v1/assistants", 403),
        ("https://127.0.0.1/", 403),
        ("https://10.1.2.3/", 403),
        ("https://[::1]/", 403),
        ("https://localhost/", 403),
        ("https://printer.local/", 403),
        ("https://example.com:22/", 403),
        ("http://example.com/", 422),
        ("https://anna:secret@example.com/", 422),
        ("ftp://example.com/", 422),
        ("https://0x7f000001/", 422),
        ("no address", 422),
    ],
)
async def test_an_address_that_is_not_public_or_not_https_is_refused(anna: Door, url: str, status: int) -> None:
    refused(await anna.stack.http.post("/v1/webhooks", json={"url": url}), status)
    assert (await anna.stack.http.get("/v1/webhooks")).json() == {"webhooks": []}


async def test_a_foreign_webhook_answers_like_an_unknown_one(anna: Door) -> None:
    webhook_id, program = await anna.program()
    for stranger in (anna.person("ben", tenant_of(anna)), anna.person("anna"), anna.person("anna", "other")):
        http = stranger.stack.http
        assert webhook_id not in (await http.get("/v1/webhooks")).text
        answers = [
            ((await http.delete(path)).json(), (await http.post(f"{path}/test")).json())
            for path in (f"/v1/webhooks/{webhook_id}", "/v1/webhooks/w-0000000000000000")
        ]
        assert answers[0] == answers[1]
        assert [problem["status"] for problem in answers[0]] == [404, 404]
    assert (await anna.webhook(webhook_id))["id"] == webhook_id
    assert program.messages == []


async def test_secrets_are_shown_once_and_the_rest_of_an_address_never(anna: Door) -> None:
    webhook_id, program = await anna.program(name="my pager")
    shown = await anna.webhook(webhook_id)
    assert (shown["name"], shown["host"]) == ("my pager", anna.programs.address.removeprefix("http://"))
    assert program.secret.startswith("whsec_")
    assert program.secret not in json.dumps(shown)
    assert "canary-url" not in json.dumps(shown)


async def test_a_deleted_webhook_hears_no_more(anna: Door, message: str) -> None:
    (webhook_id, gone), (_, other) = await anna.program(), await anna.program()
    assert (await anna.stack.http.delete(f"/v1/webhooks/{webhook_id}")).status_code == 204
    anna.stack.model.script(message, plan_answer([forecast()]))
    await anna.stack.start(message)
    await other.heard("run.completed")
    assert gone.messages == []


@pytest.mark.parametrize(
    ("more", "status"),
    [({"Scopes": "keys"}, 403), ({"Scopes": "read"}, 403), ({"Scopes": "keys read"}, 201), ({"Roles": "auditor"}, 201)],
)
async def test_who_may_not_read_runs_cannot_have_them_told(anna: Door, more: dict[str, str], status: int) -> None:
    url = Program(f"{anna.programs.address}/x").url
    someone = anna.person("carl", tenant_of(anna), **more)
    assert (await someone.stack.http.post("/v1/webhooks", json={"url": url})).status_code == status


@pytest.mark.parametrize("body", [{}, {"url": "https://example.com", "events": ["approval"]}, {"uri": "x"}])
async def test_a_wrong_body_is_refused(anna: Door, body: Json) -> None:
    refused(await anna.stack.http.post("/v1/webhooks", json=body), 422)


@pytest.mark.parametrize(
    "settings",
    [{"retinue_webhook_retries": "soon"}, {"retinue_webhook_retries": ""}, {"retinue_public_url": "example.com"}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="retinue_"):
        ApiSettings(**settings)


async def test_by_default_there_are_none_and_a_run_pays_nothing(stack: Stack, message: str) -> None:
    refused(await stack.http.post("/v1/webhooks", json={"url": "https://example.com"}), 404, "switched off")
    stack.model.script(message, plan_answer([forecast()]))
    view = await stack.ended((await stack.start(message))["id"])
    history = await stack.temporal.get_workflow_handle(view["id"]).fetch_history()
    assert not [
        event
        for event in history.events
        if "CHILD_WORKFLOW" in str(event.event_type)
        or event.HasField("start_child_workflow_execution_initiated_event_attributes")
    ]
    start = history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data
    assert b"notify" not in start
