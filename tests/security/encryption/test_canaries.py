"""S19, S20: what people, models and strangers write stands nowhere in Temporal, in logs or in metrics when runs are encrypted."""

from __future__ import annotations

import base64
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, pending, steps
from tests.days import in_days
from tests.security.encryption.installation import Installation

pytestmark = pytest.mark.xdist_group("encryption")
PLACES = (
    *("message", "argument", "result", "failure", "comment", "edit", "answer", "chat", "goal", "agent", "title"),
    *("schedule", "name", "note", "question", "why"),
)


@dataclass
class Canaries:
    """A word of its own for each place that somebody writes to, in capitals since some places have only those."""

    mark: str = field(default_factory=lambda: f"CANARY{uuid.uuid4().hex[:12].upper()}")
    views: list[View] = field(default_factory=list)

    def __getattr__(self, place: str) -> str:
        assert place in PLACES, place
        return f"{self.mark}-{place.upper()}"


def event(canaries: Canaries) -> dict[str, Any]:
    """A step with an effect, whose arguments and result say what was given."""
    args = {"title": canaries.argument, "start": "2027-03-01T10:00:00+00:00", "end": "2027-03-01T11:00:00+00:00"}
    return {"id": "s1", "tool": "calendar.create_event", "args": args, "why": canaries.why}


async def mailed(stack: Stack, canaries: Canaries) -> None:
    """A run that asks, is decided with words, and answers."""
    mail = {"to": ["ana@example.com"], "subject": canaries.argument, "body": canaries.argument}
    look = {"start": "2027-03-01T00:00:00+00:00", "end": "2027-03-02T00:00:00+00:00"}
    plan = plan_answer(
        [
            event(canaries),
            {"id": "s2", "tool": "calendar.list_events", "args": look, "depends_on": ["s1"]},
            {"id": "s3", "tool": "email.send", "args": mail, "depends_on": ["s2"]},
        ]
    )
    stack.model.script(canaries.message, plan, replies=[Answer(canaries.answer)])
    view = await stack.asked((await stack.start(canaries.message))["id"])
    edited = {**pending(view)[0]["args"], "body": canaries.edit}
    assert (await stack.decide(view, "edit", args=edited, comment=canaries.comment)).status_code == 200
    view = await stack.ended(view["id"])
    assert (view["status"], view["reply"]) == ("completed", canaries.answer)
    assert canaries.argument in str(steps(view)["s2"]["result"])
    canaries.views.append(view)


async def failed(stack: Stack, canaries: Canaries) -> None:
    """A run whose step fails with what it was given in the text."""
    message = f"{canaries.message} fails"
    step = event(canaries)
    step["args"] |= {"recurrence": f"FREQ={canaries.failure}"}
    stack.model.script(message, plan_answer([step]))
    view = await stack.ended((await stack.start(message))["id"])
    assert canaries.failure in steps(view)["s1"]["error"]["message"]
    canaries.views.append(view)


async def chatted(stack: Stack, canaries: Canaries) -> None:
    """A chat with a question, and an agent that works."""
    first, second = f"{canaries.chat} first", f"{canaries.chat} second"
    stack.model.script(first, plan_answer(question=canaries.question))
    goal = {"id": "s1", "agent": "calendar", "goal": canaries.goal}
    stack.model.script(second, plan_answer([goal]), replies=[Answer(canaries.answer)])
    stack.model.agent(canaries.goal, canaries.agent)
    view = await stack.start(first, mode="chat")
    await stack.until(view["id"], lambda v: v["status"] == "awaiting_input")
    said = await stack.http.post(f"/v1/assistants/{view['id']}/messages", json={"message": second})
    assert said.status_code == 202, said.text
    view = await stack.until(view["id"], lambda v: len(v["messages"]) >= 4, seconds=20)
    assert canaries.agent in str(steps(view)["s1"]["result"])
    canaries.views.append(view)


async def reminded(stack: Stack, canaries: Canaries) -> None:
    """A reminder, whose workflow is started by a worker."""
    message = f"{canaries.message} remind"
    args = {"title": canaries.title, "at": f"{in_days(300)}T09:00:00+00:00"}
    stack.model.script(message, plan_answer([{"id": "s1", "tool": "tasks.remind", "args": args}]))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["status"] == "completed"
    canaries.views.append(view)


async def scheduled(stack: Stack, canaries: Canaries) -> None:
    """A schedule, whose memo, action and note say what it is for, and a run of it."""
    body = {"message": canaries.schedule, "name": canaries.name, "cron": "0 8 * * *"}
    stack.model.script(canaries.schedule, plan_answer(reply=canaries.answer))
    made = (await stack.http.post("/v1/schedules", json=body)).json()
    paused = (await stack.http.post(f"/v1/schedules/{made['id']}/pause", json={"note": canaries.note})).json()
    assert (paused["message"], paused["name"], paused["note"]) == (canaries.schedule, canaries.name, canaries.note)
    ran = (await stack.http.post(f"/v1/schedules/{made['id']}/run")).json()
    view = await stack.ended(ran["recent_runs"][0]["assistant_id"])
    assert (view["message"], view["reply"]) == (canaries.schedule, canaries.answer)
    listed = (await stack.http.get("/v1/schedules")).json()["schedules"]
    assert (listed[0]["name"], listed[0]["note"]) == (canaries.name, canaries.note)
    canaries.views.append(view)


@dataclass
class Traces:
    """What a day of the product left behind."""

    canaries: Canaries
    installation: Installation
    said: dict[str, str]


@pytest.fixture(scope="module")
async def traces(installation: Installation, key: str) -> AsyncIterator[Traces]:
    """Everything that people do, once, with encryption on."""
    canaries = Canaries()
    log = logging.FileHandler(installation.data / "processes.log")
    logging.getLogger().addHandler(log)
    try:
        async with installation.running(key) as stack:
            for happened in (mailed, failed, chatted, reminded, scheduled):
                await happened(stack, canaries)
            said = {path: (await stack.http.get(path)).text for path in ("/metrics", "/readyz", "/healthz")}
            said["lists"] = (await stack.http.get("/v1/assistants")).text
        yield Traces(canaries, installation, said)
    finally:
        logging.getLogger().removeHandler(log)
        log.close()


def forms(word: str) -> list[str]:
    """A word as it is, and as it stands inside of base64, at any offset."""
    coded = [base64.b64encode(b" " * shift + word.encode()).decode() for shift in range(3)]
    return [word, *(text[4:-4] for text in coded)]


@pytest.mark.parametrize("files", ["temporal.db*", "*.log"])
async def test_nothing_that_somebody_wrote_is_readable(traces: Traces, files: str) -> None:
    found = {word: list(traces.installation.files_with(word, files)) for word in forms(traces.canaries.mark)}
    assert not any(found.values()), found


async def test_ids_are_readable_where_the_canaries_are_not(traces: Traces) -> None:
    """The search looks at the right files: what is meant to be opaque and readable is found by it."""
    assert len(traces.canaries.views) == 5
    for view in traces.canaries.views:
        assert list(traces.installation.files_with(view["id"], "temporal.db*"))


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz"])
async def test_no_probe_says_what_runs_are_about(traces: Traces, path: str) -> None:
    assert traces.canaries.mark not in traces.said[path]


async def test_the_front_door_shows_everything_to_its_person(traces: Traces) -> None:
    assert traces.canaries.message in traces.said["lists"]
