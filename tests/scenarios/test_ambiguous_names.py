"""A name that fits several people is asked about by code, whatever the model planned, and the answer goes on with one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending, steps

Fresh = Callable[[str], str]


async def _person(stack: Stack, name: str, email: str) -> None:
    message = f"Add {name} {uuid.uuid4().hex}"
    add = {"id": "s1", "tool": "contacts.add", "args": {"name": name, "email": email}}
    stack.model.script(message, plan_answer([add]))
    view = await stack.start(message, wait_seconds=20)
    if pending(view):
        await stack.decide(view)
    assert (await stack.ended(view["id"]))["status"] == "completed"


@pytest.fixture
async def anas(stack: Stack) -> list[str]:
    """Two people of one name that nobody else has; returns the name and both addresses."""
    name = f"Ana{uuid.uuid4().hex[:8]}"
    addresses = [f"{name}.ruiz@example.com".lower(), f"{name}.bo@example.com".lower()]
    await _person(stack, f"{name} Ruiz", addresses[0])
    await _person(stack, f"{name} Bo", addresses[1])
    return [name, *addresses]


def _mail(name: str, path: str = "/match/email") -> list[dict[str, Any]]:
    to = [{"$from": "s1", "path": path}]
    return [
        {"id": "s1", "tool": "contacts.find", "args": {"name": name}},
        {"id": "s2", "tool": "email.send", "args": {"to": to, "subject": "Hi", "body": "Hello"}, "depends_on": ["s1"]},
    ]


async def _asked(stack: Stack, message: str) -> View:
    assistant_id = (await stack.start(message))["id"]
    return await stack.until(assistant_id, lambda view: view["status"] == "awaiting_input")


async def _answer(stack: Stack, view: View, text: str) -> None:
    body = {"message": text, "question_id": view["question_id"]}
    response = await stack.http.post(f"/v1/assistants/{view['id']}/messages", json=body)
    assert response.is_success, response.text


@pytest.mark.parametrize("path", ["/match/email", "/contacts/0/email"])
@pytest.mark.parametrize(("answer", "index"), [("Bo", 2), ("the one at {ruiz}", 1), ("1", None)])
async def test_the_question_names_both_and_the_answer_goes_on_with_one(
    stack: Stack, fresh: Fresh, anas: list[str], path: str, answer: str, index: int | None
) -> None:
    name, ruiz, bo = anas
    message = fresh(f"Write a mail to {name}")
    stack.model.script(message, plan_answer(_mail(name, path)))

    view = await _asked(stack, message)
    assert all(text in view["question"] for text in (f"{name} Ruiz", ruiz, f"{name} Bo", bo))
    assert (steps(view)["s2"]["status"], view["approvals"]) == ("pending", [])
    first = min((ruiz, bo), key=view["question"].index)
    expected = first if index is None else anas[index]

    await _answer(stack, view, answer.format(ruiz=ruiz))
    asked = await stack.asked(view["id"])
    [approval] = pending(asked)
    assert approval["args"]["to"] == [expected]
    assert [origin["source"] for origin in approval["origins"] if origin["path"] == "/to/0"] == ["contacts"]
    await stack.decide(asked)

    done = await stack.ended(view["id"])
    assert (done["status"], steps(done)["s1"]["result"]["match"]["email"]) == ("completed", expected)
    assert (steps(done)["s1"]["picked"], steps(done)["s2"]["args"]["to"]) == (True, [expected])


async def test_an_answer_that_fits_both_is_asked_again_and_nothing_goes_out(
    stack: Stack, fresh: Fresh, anas: list[str]
) -> None:
    name = anas[0]
    message = fresh(f"Write a mail to {name}")
    stack.model.script(message, plan_answer(_mail(name)), plan_answer([]))
    view = await _asked(stack, message)

    await _answer(stack, view, name)
    again = await stack.until(view["id"], lambda view: view["question_id"] == "q2")
    assert again["question"].startswith("I could not tell from that. Which")
    await _answer(stack, again, "never mind")

    done = await stack.ended(view["id"])
    assert steps(done)["s2"]["error"] == {
        "type": "Ambiguous",
        "message": "several matches, and none was chosen",
    }
    assert done["approvals"] == []


async def test_planners_never_read_the_names(stack: Stack, fresh: Fresh, anas: list[str]) -> None:
    """A name in an address book may be a stranger's words; the question is for the person alone."""
    name, ruiz, bo = anas
    message = fresh("Write a mail to her")
    stack.model.script(message, plan_answer(_mail(name)), plan_answer([]))
    view = await _asked(stack, message)
    await _answer(stack, view, "never mind")
    await stack.ended(view["id"])

    told = [str(request) for request in stack.model.requests_for(message) if "response_format" in request]
    assert len(told) == 2
    assert not any(text in request for request in told for text in (ruiz, bo, f"{name} Bo"))


async def test_two_steps_that_mean_the_same_person_ask_once(stack: Stack, fresh: Fresh, anas: list[str]) -> None:
    name, ruiz, _ = anas
    message = fresh(f"Write two mails to {name}")
    find, first = _mail(name)
    stack.model.script(message, plan_answer([find, first, {**first, "id": "s3"}]))
    view = await _asked(stack, message)

    await _answer(stack, view, "Ruiz")

    asked = await stack.asked(view["id"], count=2)
    assert [approval["args"]["to"] for approval in pending(asked)] == [[ruiz], [ruiz]]
    assert asked["messages"][-1]["text"] == "Ruiz"
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def test_a_cancelled_run_leaves_no_question_open(stack: Stack, fresh: Fresh, anas: list[str]) -> None:
    message = fresh(f"Write a mail to {anas[0]}")
    stack.model.script(message, plan_answer(_mail(anas[0])))
    view = await _asked(stack, message)

    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")

    done = await stack.ended(view["id"])
    assert (done["status"], done["question"], steps(done)["s2"]["status"]) == ("cancelled", None, "cancelled")


# --- events, whose list has an order


@pytest.fixture
async def rehearsals(stack: Stack, fresh: Fresh) -> str:
    """Two events of one title that nobody else has; returns the title."""
    title = f"Rehearsal {uuid.uuid4().hex[:8]}"
    times = [("2030-03-05T10:00:00+00:00", "2030-03-05T11:00:00+00:00")] * 2
    times[1] = ("2030-03-07T10:00:00+00:00", "2030-03-07T11:00:00+00:00")
    made = [
        {"id": f"s{at}", "tool": "calendar.create_event", "args": {"title": title, "start": start, "end": end}}
        for at, (start, end) in enumerate(times)
    ]
    message = fresh("Plan the rehearsals")
    stack.model.script(message, plan_answer(made))
    assert (await stack.ended((await stack.start(message))["id"]))["status"] == "completed"
    return title


def _and_then(title: str, tool: str, path: str) -> list[dict[str, Any]]:
    window = {"start": "2030-03-01T00:00:00+00:00", "end": "2030-04-01T00:00:00+00:00", "query": title}
    event = {"event_id": {"$from": "s1", "path": path}}
    return [
        {"id": "s1", "tool": "calendar.list_events", "args": window},
        {"id": "s2", "tool": tool, "args": event, "depends_on": ["s1"]},
    ]


async def test_which_of_two_events_is_meant_is_asked_with_their_times_as_buttons(
    stack: Stack, fresh: Fresh, rehearsals: str
) -> None:
    message = fresh("Cancel the rehearsal")
    stack.model.script(message, plan_answer(_and_then(rehearsals, "calendar.delete_event", "/match/event_id")))
    view = await _asked(stack, message)
    labels = [f"{rehearsals} (2030-03-05 10:00)", f"{rehearsals} (2030-03-07 10:00)"]
    assert [option["label"] for option in view["options"]] == labels
    await _answer(stack, view, view["options"][1]["text"])
    view = await stack.asked(view["id"])
    found = steps(view)["s1"]["result"]["events"]
    assert pending(view)[0]["args"] == {
        "event_id": next(event["event_id"] for event in found if event["start"].startswith("2030-03-07"))
    }
    await stack.decide(view, "reject")


async def test_the_first_of_a_list_in_order_is_no_ambiguity(stack: Stack, fresh: Fresh, rehearsals: str) -> None:
    message = fresh("Cancel the next rehearsal")
    stack.model.script(message, plan_answer(_and_then(rehearsals, "calendar.delete_event", "/events/0/event_id")))
    view = await stack.asked((await stack.start(message))["id"])
    assert view["question"] is None
    await stack.decide(view, "reject")
