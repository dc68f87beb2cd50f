"""What a person is shown before they decide, and what they are not even asked."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.conftest import Stack, pending, steps
from tests.days import SOON, day_of
from tests.scenarios.test_agents import call, delegated
from tests.scenarios.test_plans import event
from tests.test_main_job import mail

Fresh = Callable[[str], str]
GUESTS = ["ana@example.com", "ben@example.com", "cleo@example.com", "dora@example.com"]
IMITATED = "ana@ex\u0430mple.com"
"""With one Cyrillic letter."""


def guests(*attendees: str) -> dict[str, Any]:
    """A meeting that only notes who comes."""
    meeting = event()
    return {**meeting, "args": meeting["args"] | {"attendees": list(attendees)}}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (mail("s1", IMITATED), "mixes Cyrillic and Latin letters"),
        (mail("s1", "ana@xn--exmple-4nf.com"), "mixes Cyrillic and Latin letters in one word (ex\u0430<U+0430>mple)"),
        (mail("s1", "ana@xn--80ak6aa92e.com"), "letters that look like Latin ones"),
        (guests("ben@example.com", IMITATED), "mixes Cyrillic and Latin letters"),
        (guests("ben@example.com\u200b"), "an invisible character (<U+200B>)"),
    ],
    ids=["letters", "encoded", "whole word", "guest", "invisible"],
)
async def test_an_address_that_imitates_another_is_refused_before_anybody_is_asked(
    stack: Stack, fresh: Fresh, step: dict[str, Any], said: str
) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([step]), plan_answer([step]))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["approvals"] == []
    assert steps(view)["s1"]["status"] == "failed"
    assert said in steps(view)["s1"]["error"]["message"]


async def test_an_agent_cannot_bring_such_an_address_to_a_person_either(stack: Stack, fresh: Fresh) -> None:
    message, goal = fresh("Tell them"), fresh("tell them")
    stack.model.script(message, plan_answer([delegated("email", goal)]))
    stack.model.agent(goal, [call("email.send", to=[IMITATED], subject="Hi", body="Hello")], "I could not.")
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["approvals"], steps(view)["s1.1"]["status"]) == ([], "failed")


async def test_an_edit_cannot_bring_it_in(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    args = pending(view)[0]["args"] | {"to": [IMITATED]}
    refused = await stack.decide(view, "edit", args=args)
    assert refused.status_code == 422
    assert "imitate another address" in refused.json()["detail"]
    await stack.decide(view, "reject")


async def test_a_plan_that_is_shown_first_says_which_step_will_not_run(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Tell them")
    stack.model.script(message, plan_answer([mail("s1", IMITATED)]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    shown = pending(view)[0]["preview"]
    assert "IT WILL NOT RUN: to: 'ana@ex\u0430<U+0430>mple.com' mixes Cyrillic and Latin letters" in shown
    await stack.decide(view, "reject")


# --- what an id stands for, read when a person is asked


async def made(stack: Stack, fresh: Fresh) -> dict[str, Any]:
    """An event that stands in the calendar. Whoever comes was typed, so nobody is asked."""
    step = event("s1", fresh("Board meeting"))
    message = fresh(f"Enter it with {' '.join(GUESTS)}")
    stack.model.script(message, plan_answer([{**step, "args": step["args"] | {"attendees": GUESTS}}]))
    result: dict[str, Any] = steps(await stack.ended((await stack.start(message))["id"]))["s1"]["result"]
    return result


def one(tool: str, **args: Any) -> dict[str, Any]:
    return {"id": "s1", "tool": tool, "args": args}


async def test_a_literal_id_is_shown_as_what_it_stands_for_now(stack: Stack, fresh: Fresh) -> None:
    """No step of the run read it: the model wrote the id out."""
    there = await made(stack, fresh)
    message = fresh("Delete it")
    stack.model.script(message, plan_answer([one("calendar.delete_event", event_id=there["event_id"])]))
    view = await stack.asked((await stack.start(message))["id"])
    [asked] = pending(view)
    [thing] = asked["card"]["things"]
    facts = {fact["label"]: fact["value"] for fact in thing["facts"]}
    assert (thing["id"], facts["title"]) == (there["event_id"], there["title"])
    assert f"which is title {there['title']}; start {day_of(SOON)} 10:00 +00:00" in asked["preview"]
    await stack.decide(view, "reject")


async def test_an_agent_s_id_is_shown_as_what_it_stands_for_too(stack: Stack, fresh: Fresh) -> None:
    there = await made(stack, fresh)
    message, goal = fresh("Delete it"), fresh("delete it")
    stack.model.script(message, plan_answer([delegated("calendar", goal)]))
    stack.model.agent(goal, [call("calendar.delete_event", event_id=there["event_id"])], "I could not.")
    view = await stack.asked((await stack.start(message))["id"])
    assert there["title"] in pending(view)[0]["preview"]
    await stack.decide(view, "reject")


async def test_who_is_removed_is_said_by_name(stack: Stack, fresh: Fresh) -> None:
    there = await made(stack, fresh)
    message = fresh("Nobody comes")
    change = {"event_id": there["event_id"], "attendees": [], "location": "Room 3"}
    stack.model.script(message, plan_answer([one("calendar.update_event", **change)]))
    view = await stack.asked((await stack.start(message, preview=True))["id"])
    assert f"attendees: (removes all 4: {', '.join(GUESTS)})" in pending(view)[0]["preview"]
    assert there["title"] in pending(view)[0]["preview"]
    await stack.decide(view, "reject")


@pytest.mark.parametrize("tool", ["email.delete", "tasks.delete", "contacts.remove", "calendar.delete_event"])
async def test_an_id_that_stands_for_nothing_is_asked_about_all_the_same_and_said(
    stack: Stack, fresh: Fresh, tool: str
) -> None:
    name = {"email": "message_id", "tasks": "task_id", "contacts": "contact_id", "calendar": "event_id"}
    message = fresh("Delete it")
    stack.model.script(message, plan_answer([one(tool, **{name[tool.partition(".")[0]]: "none-such"})]))
    view = await stack.asked((await stack.start(message))["id"])
    assert "what it refers to could not be read: there is no " in pending(view)[0]["preview"]
    await stack.decide(view, "reject")


async def test_a_capability_that_is_away_holds_up_no_question(stack: Stack, fresh: Fresh) -> None:
    name = f"away-{uuid.uuid4().hex[:8]}"
    by_id = {"type": "object", "properties": {"thing_id": {"type": "string"}}, "required": ["thing_id"]}
    reads = Annotations(read_only=True, destructive=False, idempotent=True, open_world=False)
    manifest = Manifest(
        name=name,
        version="1",
        description="Nobody works here.",
        task_queue=name,
        tools=[
            ToolSpec(
                name=f"{name}.drop",
                title="Drop it",
                description="Drops it.",
                args_schema=by_id,
                annotations=Annotations(lookups={"thing_id": f"{name}.look_up"}),
            ),
            ToolSpec(
                name=f"{name}.look_up",
                title="Look up",
                description="Reads it.",
                args_schema=by_id,
                annotations=reads,
                plannable=False,
            ),
        ],
    )
    await announce(stack.temporal, manifest)
    message = fresh("Drop it")
    stack.model.script(message, plan_answer([one(f"{name}.drop", thing_id="t-1")]))
    view = await stack.asked((await stack.start(message))["id"])
    assert f"could not be read: no worker of {name} answered in time" in pending(view)[0]["preview"]
    await stack.decide(view, "reject")
    assert (await stack.ended(view["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("make", "of", "look", "delete"),
    [
        ("calendar.create_event", "event_id", "calendar.list_events", "calendar.delete_events"),
        ("tasks.add", "task_id", "tasks.list", "tasks.delete_many"),
    ],
)
async def test_several_are_deleted_after_one_question_that_names_each_and_come_back(
    stack: Stack, fresh: Fresh, make: str, of: str, look: str, delete: str
) -> None:
    mark = uuid.uuid4().hex[:8]
    times = [{"start": f"2031-05-05T{hour:02}:00:00Z", "end": f"2031-05-05T{hour:02}:30:00Z"} for hour in (9, 11)]
    more = times if make.startswith("calendar") else [{"due": "2031-05-05"}, {"due": "2031-05-06"}]
    message = fresh("Make two")
    plan = [one(make, title=f"{title} {mark}", **each) for title, each in zip(("First", "Second"), more, strict=True)]
    stack.model.script(message, plan_answer([step | {"id": f"s{n}"} for n, step in enumerate(plan, start=1)]))
    await stack.ended((await stack.start(message))["id"])

    window = {"start": "2031-05-05T00:00:00Z", "end": "2031-05-06T00:00:00Z"} if make.startswith("calendar") else {}
    ids = {f"{of}s": {"$from": "s1", "path": f"/{of}s"}}
    clear = [one(look, query=mark, **window), one(delete, **ids) | {"id": "s2", "depends_on": ["s1"]}]
    message = fresh("Delete both")
    stack.model.script(message, plan_answer(clear))
    view = await stack.asked((await stack.start(message))["id"])
    [approval] = pending(view)
    lines = approval["preview"].splitlines()
    assert [line.split(":")[0] for line in lines if " of 2" in line] == ["1 of 2", "2 of 2"]
    assert [title for title in ("First", "Second") if f"title {title} {mark}" in approval["preview"]] == [
        "First",
        "Second",
    ]
    assert approval["preview"].count("2031-05-05") >= 1
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert (done["status"], len(steps(done)["s2"]["result"]["deleted"])) == ("completed", 2)

    undone = await stack.http.post(f"/v1/assistants/{view['id']}/undo", json={"wait_seconds": 20})
    assert [step["status"] for step in undone.json()["undo"]] == ["undone"]
    message = fresh("What is there?")
    stack.model.script(message, plan_answer([one(look, query=mark, **window)]))
    found = steps(await stack.ended((await stack.start(message))["id"]))["s1"]["result"]
    assert len(found[f"{of}s"]) == 2


async def test_what_an_event_overlaps_is_said_before_it_is_decided_and_afterwards(stack: Stack, fresh: Fresh) -> None:
    mark = uuid.uuid4().hex[:8]
    there = {"start": "2031-06-02T10:00:00Z", "end": "2031-06-02T11:00:00Z", "title": f"Dentist {mark}"}
    message = fresh("Make one")
    stack.model.script(message, plan_answer([one("calendar.create_event", **there)]))
    await stack.ended((await stack.start(message))["id"])
    message = fresh("Make another")
    new = one(
        "calendar.create_event", **{**there, "title": "Tea", "start": "2031-06-02T10:30:00Z", "attendees": GUESTS}
    )
    stack.model.script(message, plan_answer([new]))
    view = await stack.asked((await stack.start(message))["id"])
    said = f"Dentist {mark}, Mon 2031-06-02 10:00 to 11:00"
    assert f"Note: it overlaps with {said} (others may have written this)" in pending(view)[0]["preview"]
    assert said in pending(view)[0]["card"]["notes"][0]
    await stack.decide(view)
    assert said in steps(await stack.ended(view["id"]))["s1"]["result"]["overlaps"]
