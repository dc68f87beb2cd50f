"""Invitations through the front door: who gets an answer and what an invitation changes is shown before it is decided."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activities.email.worker import import_file
from retinue.testing import plan_answer
from tests.activities.email.test_invitations import calendar, inviting
from tests.conftest import Stack, View, pending, steps
from tests.test_main_job import sent_mails

Fresh = Callable[[str], str]


@pytest.fixture
def uid() -> str:
    """Of an event that only this test knows."""
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture
def invited(stack: Stack, tmp_path: Path, uid: str) -> Callable[..., Any]:
    """Deliver an invitation to this test's event; returns the mail's id."""

    async def deliver(*lines: str, method: str = "REQUEST") -> str:
        name = f"<{uuid.uuid4().hex}@example.com>"
        content = inviting(calendar(f"UID:{uid}", *lines, method=method)).replace(b"<m@example.com>", name.encode())
        (tmp_path / "mail.eml").write_bytes(content)
        await import_file(tmp_path / "mail.eml", person="local")
        return name

    return deliver


def step(step_id: str, tool: str, **args: Any) -> dict[str, Any]:
    return {"id": step_id, "tool": tool, "args": args}


def icalendar_of(step_id: str) -> dict[str, str]:
    return {"$from": step_id, "path": "/invitation/icalendar"}


async def ran(stack: Stack, message: str, *plan: dict[str, Any]) -> View:
    """A plan run to its end, with everything approved that is asked."""
    stack.model.script(message, plan_answer(list(plan)))
    started = await stack.start(message)
    view = await stack.until(
        started["id"], lambda seen: bool(pending(seen)) or seen["status"] in ("completed", "failed")
    )
    while pending(view):
        await stack.decide(view)
        view = await stack.until(
            started["id"], lambda seen: bool(pending(seen)) or seen["status"] in ("completed", "failed")
        )
    return view


async def test_an_answer_is_shown_with_whom_it_reaches_and_the_event_is_entered(
    stack: Stack, fresh: Fresh, invited: Callable[..., Any]
) -> None:
    name = await invited("ORGANIZER:mailto:office@example.com")
    message = fresh("Accept Clara's invitation and enter it")
    plan = [
        step("s1", "email.read", message_id=name),
        step("s2", "email.answer_invitation", message_id=name, answer="accept"),
        step("s3", "calendar.add_invitation", icalendar=icalendar_of("s1")),
    ]
    stack.model.script(message, plan_answer(plan))
    view = await stack.asked((await stack.start(message))["id"])
    [approval] = pending(view)
    origins = {origin["path"]: origin["source"] for origin in approval["origins"]}

    assert approval["args"]["to"] == ["office@example.com"]
    assert origins["/to"] == "strangers"
    assert approval["preview"].splitlines()[:2] == ["Answer an invitation", "to: office@example.com"]
    assert "event: Sprint review, Mon 2026-12-07 10:00 UTC to Mon 2026-12-07 11:00 UTC" in approval["preview"]
    assert "from clara@example.com" in approval["preview"]

    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert (done["status"], steps(done)["s3"]["result"]["title"]) == ("completed", "Sprint review")
    assert [recipients for recipients, _ in sent_mails(stack, view["id"])] == ['["office@example.com"]']


async def test_a_change_is_shown_with_the_event_that_it_changes(
    stack: Stack, fresh: Fresh, invited: Callable[..., Any]
) -> None:
    first = await invited()
    read = step("s1", "email.read", message_id=first)
    entered = await ran(
        stack, fresh("Enter it"), read, step("s2", "calendar.add_invitation", icalendar=icalendar_of("s1"))
    )
    event_id = steps(entered)["s2"]["result"]["event_id"]
    assert entered["approvals"] == []

    later = await invited("SEQUENCE:1", "DTSTART:20261209T150000Z", "DTEND:20261209T160000Z", "SUMMARY:Moved review")
    message = fresh("Move it as the new invitation says")
    change = step("s2", "calendar.update_from_invitation", icalendar=icalendar_of("s1"))
    stack.model.script(message, plan_answer([step("s1", "email.read", message_id=later), change]))
    view = await stack.asked((await stack.start(message))["id"])
    [approval] = pending(view)
    [thing] = approval["card"]["things"]
    facts = {fact["label"]: fact["value"] for fact in thing["facts"]}

    assert (thing["id"], facts["title"], facts["start"]) == (event_id, "Sprint review", "Mon 2026-12-07 10:00 +00:00")
    assert "clara@example.com sets the event to 'Moved review', 2026-12-09 15:00 to" in approval["preview"]
    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert steps(done)["s2"]["result"] == {"event_id": event_id, "title": "Moved review", "status": "changed"}


async def test_an_invitation_is_written_by_the_calendar_and_sent_by_mail(stack: Stack, fresh: Fresh) -> None:
    title = fresh("Board meeting")
    times = {"start": "2026-12-07T10:00:00+01:00", "end": "2026-12-07T11:00:00+01:00"}
    message = fresh("Enter the board meeting and invite ana@example.com")
    plan = [
        step("s1", "calendar.create_event", title=title, attendees=["ana@example.com"], **times),
        step("s2", "calendar.write_invitation", event_id={"$from": "s1", "path": "/event_id"}),
        step("s3", "email.invite", to=["ana@example.com"], invitation={"$from": "s2", "path": "/icalendar"}),
    ]
    stack.model.script(message, plan_answer(plan))
    view = await stack.asked((await stack.start(message))["id"])
    [approval] = pending(view)
    assert approval["preview"].splitlines()[:2] == ["Invite people to an event", "to: ana@example.com"]
    assert f"subject: Invitation: {title}, Mon 2026-12-07 10:00" in approval["preview"]

    await stack.decide(view)
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    mail = steps(done)["s3"]["result"]["message_id"]
    read = await ran(stack, fresh("Read it"), step("s1", "email.read", message_id=mail))
    found = steps(read)["s1"]["result"]["invitation"]
    assert (found["method"], found["title"], found["organizer"], found["attendees"]) == (
        "REQUEST",
        title,
        "me@retinue.example",
        ["ana@example.com"],
    )
