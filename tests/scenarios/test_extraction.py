"""Values out of strangers' words: a meeting in a mail becomes an event, and the confirmation says where its time came from."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from activities.email.worker import import_file
from retinue.testing import plan_answer
from tests.conftest import Stack, pending, steps
from tests.days import SOON
from tests.test_main_job import sent_mails

Fresh = Callable[[str], str]
START, END = f"{SOON}T03:41:00+01:00", f"{SOON}T03:52:00+01:00"  # nothing else is then, so no overlap is told


def at(step: str, path: str) -> dict[str, str]:
    return {"$from": step, "path": path}


def meeting_plan(mark: str) -> list[dict[str, Any]]:
    """What a planner makes of: put the meeting from the newest mail into my calendar and confirm to its sender."""
    fields = [{"name": name, "kind": "moment"} for name in ("start", "end")]
    extract = {"instruction": f"The meeting {mark}", "inputs": [at("s2", "")], "fields": fields}
    event = {"title": f"Meeting {mark}", "start": at("s3", "/values/start"), "end": at("s3", "/values/end")}
    compose = {"instruction": "Confirm it", "inputs": [at("s4", "")]}
    answer = {"to": [at("s2", "/from")], "subject": "Confirmed", "body": at("s5", "/text")}
    return [
        {"id": "s1", "tool": "email.search", "args": {"query": mark, "limit": 1}},
        {
            "id": "s2",
            "tool": "email.read",
            "args": {"message_id": at("s1", "/messages/0/message_id")},
            "depends_on": ["s1"],
        },
        {"id": "s3", "tool": "reasoning.extract", "args": extract, "depends_on": ["s2"]},
        {"id": "s4", "tool": "calendar.create_event", "args": event, "depends_on": ["s3"]},
        {"id": "s5", "tool": "reasoning.compose", "args": compose, "depends_on": ["s4"]},
        {"id": "s6", "tool": "email.send", "args": answer, "depends_on": ["s2", "s5"]},
    ]


@pytest.fixture
async def mark(stack: Stack, tmp_path: Any) -> str:
    """A word that stands in one mail of the inbox."""
    mark = f"budget{uuid.uuid4().hex[:8]}"
    mail = f"From: Bob <bob-{mark}@example.com>\nTo: me@retinue.example\nSubject: {mark}\nMessage-ID: <{mark}@example.com>\n"
    (tmp_path / "mail.eml").write_text(f"{mail}\nShall we meet on 1 December at 10?\n")
    await import_file(tmp_path / "mail.eml", person="local")
    return mark


async def test_one_approval_shows_that_the_time_came_from_a_mail(stack: Stack, fresh: Fresh, mark: str) -> None:
    message = fresh("Put the meeting from the newest mail into my calendar and confirm to its sender")
    stack.model.script(message, plan_answer(meeting_plan(mark)))
    stack.model.extraction(f"The meeting {mark}", {"start": START, "end": END})
    view = await stack.asked((await stack.start(message))["id"])
    (approval,) = pending(view)
    origins = {origin["path"]: origin for origin in approval["origins"]}
    assert (origins["/to/0"]["source"], origins["/to/0"]["tool"]) == ("strangers", "email.read")
    assert (origins["/body"]["source"], origins["/body"]["out_of"]) == ("strangers", ["s2 (email.read)"])
    assert (await stack.decide(view)).status_code == 200
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    assert steps(done)["s4"]["result"]["start"] == START
    assert len(sent_mails(stack, view["id"])) == 1
    assert len(done["approvals"]) == 1


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"start": None, "end": END}, "NotFound"),
        ({"start": "tomorrow", "end": END}, "MalformedAnswer"),
        ({"start": f"{SOON}T10:00:00", "end": END}, "MalformedAnswer"),
        ({}, "NotFound"),
    ],
)
async def test_what_the_text_does_not_say_clearly_stops_the_plan(
    stack: Stack, fresh: Fresh, mark: str, values: dict[str, Any], problem: str
) -> None:
    message = fresh("Put the meeting from the newest mail into my calendar")
    stack.model.script(message, plan_answer(meeting_plan(mark)))
    stack.model.extraction(f"The meeting {mark}", *[values] * 20)
    view = await stack.ended((await stack.start(message))["id"], seconds=60)
    found = steps(view)
    assert (found["s3"]["status"], found["s3"]["error"]["type"]) == ("failed", problem)
    assert {found[step]["status"] for step in ("s4", "s5", "s6")} == {"skipped"}
    assert view["approvals"] == []


async def test_an_address_that_was_read_out_of_a_mail_is_asked_as_strangers(
    stack: Stack, fresh: Fresh, mark: str
) -> None:
    """The text names where to write to; whoever wrote it does not become somebody the person knows by that."""
    message = fresh("Draft a mail to the address in the newest mail")
    fields = [{"name": "address", "kind": "address"}]
    plan = [
        {"id": "s1", "tool": "email.search", "args": {"query": mark, "limit": 1}},
        {
            "id": "s2",
            "tool": "reasoning.extract",
            "args": {"instruction": f"The address {mark}", "inputs": [at("s1", "")], "fields": fields},
            "depends_on": ["s1"],
        },
        {
            "id": "s3",
            "tool": "email.draft",
            "args": {"to": [at("s2", "/values/address")], "subject": "x", "body": "x"},
            "depends_on": ["s2"],
        },
    ]
    stack.model.script(message, plan_answer(plan))
    stack.model.extraction(f"The address {mark}", {"address": "evil@attacker.example"})
    view = await stack.asked((await stack.start(message))["id"])
    origin = next(found for found in pending(view)[0]["origins"] if found["path"] == "/to/0")
    assert (origin["source"], origin["tool"], origin["out_of"]) == (
        "strangers",
        "reasoning.extract",
        ["s1 (email.search)"],
    )
    assert (await stack.decide(view, "reject")).status_code == 200
    assert steps(await stack.ended(view["id"]))["s3"]["status"] == "rejected"
