"""The person of a case decides as the case says, speaks when it is their turn, and gives up in time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.evaluation.cases import Case
from cli.evaluation.dates import Clock
from cli.evaluation.person import Person, Seen
from retinue.client import Client
from tests.cli.conftest import FakeApi, approval, done, step, view, waiting

CLOCK = Clock(datetime(2027, 3, 1, 8, tzinfo=UTC), "Europe/Berlin")
CANCELLED = view("cancelled")


def carried_out(api: FakeApi, *, limit: float = 30, stopped: bool = False, **case: Any) -> Seen:
    """What the person of this case saw."""
    about = {"id": "one", "area": "email", "request": "Write to {web} on {iso thursday}", "expect": {}, **case}
    stopping = threading.Event()
    if stopped:
        stopping.set()
    with Client(api.url, "", retries=0) as client:
        person = Person(client, Case.model_validate(about), CLOCK, "http://pages", limit=limit, stopping=stopping)
        return person.carry_out()


def said(text: str, **more: Any) -> dict[str, Any]:
    """A view in which the person has said this much."""
    return {"messages": [{"role": "user", "text": word} for word in text.split()], **more}


def test_a_request_names_days_and_pages(api: FakeApi) -> None:
    seen = carried_out(api)
    [(_, body)] = api.sent
    assert body == {"message": "Write to http://pages on 2027-03-04", "timezone": "Europe/Berlin", "mode": "task"}
    assert (seen.outcome.status, seen.outcome.reply, seen.outcome.asked) == ("completed", "All is done.", [])


@pytest.mark.parametrize(("decisions", "sent"), [([], "approve"), (["reject"], "reject")])
def test_approvals_are_decided_as_the_case_says(api: FakeApi, decisions: list[str], sent: str) -> None:
    api.views = [waiting(), waiting(), done()]
    seen = carried_out(api, decisions=decisions)
    [(_, _), (route, body)] = api.sent
    assert (route, body["decision"], body["args_hash"]) == ("approvals/ap-s1", sent, "a" * 64)
    assert seen.outcome.asked == ['email.send {"to": ["ana@example.com"], "subject": "Hello", "body": "Hi"}']


def test_the_next_message_waits_until_the_last_one_was_read(api: FakeApi) -> None:
    asks = {"question": "Which?", "question_id": "q1", "mode": "chat"}
    api.views = [
        view("running", **said("a")),
        view("awaiting_input", **said("a", **asks)),
        view("awaiting_input", **said("a", **asks)),  # the answer to the message
        view("awaiting_input", **said("a", **asks)),  # it has not been read yet
        view("awaiting_input", reply="Fine", **said("a b", mode="chat")),
        CANCELLED,
    ]
    seen = carried_out(api, then=["Tom Reed"])
    assert [(route, body.get("message")) for route, body in api.sent[1:]] == [
        ("messages", "Tom Reed"),
        ("cancel", None),
    ]
    assert api.sent[0][1]["mode"] == "chat"
    assert api.sent[1][1]["question_id"] == "q1"
    assert (seen.outcome.questions, seen.outcome.reply) == (["Which?"], "Fine")


def test_what_had_an_effect_is_kept_though_a_later_plan_replaces_it(api: FakeApi) -> None:
    effect = step("s1", "tasks.add", "completed", effect=True, args={"title": "Milk"})
    api.views = [view("running", plan={"steps": [effect]})] * 2 + [view("completed", plan={"steps": []}, reply="Done")]
    seen = carried_out(api)
    assert (seen.outcome.acted, seen.tools) == (['tasks.add {"title": "Milk"}'], ["tasks.add"])


def test_who_waits_too_long_cancels_and_says_so(api: FakeApi) -> None:
    api.views = [view("running")] * 12 + [CANCELLED]
    seen = carried_out(api, limit=0.3)
    assert seen.outcome.out_of_time
    assert api.sent[-1][0] == "cancel"


def test_who_is_interrupted_gives_up_at_once(api: FakeApi) -> None:
    api.views = [view("running"), view("running"), CANCELLED]
    began = time.monotonic()
    seen = carried_out(api, stopped=True)
    assert time.monotonic() - began < 20
    assert not seen.outcome.out_of_time
    assert api.sent[-1][0] == "cancel"


def test_a_refusal_is_an_error_of_the_attempt(api: FakeApi) -> None:
    api.refusal = (422, "the message is too long")
    assert "too long" in carried_out(api).outcome.error


def test_an_approval_that_someone_else_decided_is_no_error(api: FakeApi) -> None:
    api.views = [waiting(), done()]
    api.refused_decision = (409, "it was decided")
    assert carried_out(api).outcome.error == ""
    assert approval()["status"] == "pending"
