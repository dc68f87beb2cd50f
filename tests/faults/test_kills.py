"""Crashes: workers killed between effect and report, and the Temporal server killed in the middle of runs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from activities.email.settings import EmailSettings
from activities.email.worker import import_file
from retinue.testing import plan_answer
from retinue.times import present
from tests.conftest import View, pending, steps
from tests.faults.conftest import FaultStack, respawn
from workers.children import Child

pytestmark = pytest.mark.xdist_group("heavy")  # not beside the other suite that fills the machine
RUNS = 20
KILLED_RUNS = 10
"""Each uses at least two tools with effects of every capability, so that each capability is killed 20 times or more."""
TOOLS_WITH_EFFECTS = {
    "calendar": {
        "calendar.create_event",
        "calendar.update_event",
        "calendar.move_event",
        "calendar.delete_event",
        "calendar.delete_events",
        "calendar.add_invitation",
        "calendar.update_from_invitation",
    },
    "email": {
        "email.draft",
        "email.send",
        "email.reply",
        "email.forward",
        "email.invite",
        "email.answer_invitation",
        "email.save_attachment",
        "email.delete_file",
        "email.archive",
        "email.move",
        "email.delete",
    },
    "contacts": {"contacts.add", "contacts.remove"},
    "memory": {"memory.remember", "memory.correct", "memory.forget", "memory.forget_all"},
    "tasks": {
        "tasks.add",
        "tasks.complete",
        "tasks.reopen",
        "tasks.delete",
        "tasks.remind",
        "tasks.cancel_reminder",
        "tasks.move",
        "tasks.rename_list",
        "tasks.skip",
        "tasks.delete_many",
        "tasks.delete_list",
    },
}


def every_effect(number: int) -> list[dict[str, Any]]:
    """One plan that uses every tool with effects, as chains that run at the same time. `post_in` brings its mail."""
    day = "2026-12-01T{:02}:00:00+00:00"
    written = {"to": [f"p{number}@example.com"], "subject": f"Run {number}", "body": "Hello"}
    event = {"$from": "c1", "path": "/event_id"}
    draft = {"$from": "e1", "path": "/message_id"}
    person = {"$from": "k1", "path": "/contact_id"}
    fact = {"$from": "m1", "path": "/fact_id"}
    task = {"$from": "t1", "path": "/task_id"}
    reminder = {"$from": "r1", "path": "/task_id"}
    tomorrow = present() + timedelta(days=1)
    return [
        _step("c1", "calendar.create_event", title=f"Run {number}", start=day.format(9), end=day.format(10)),
        _step("c2", "calendar.update_event", event_id=event, title=f"Moved {number}"),
        _step("c3", "calendar.write_invitation", "c2", event_id=event),
        _step("c4", "calendar.move_event", "c3", event_id=event, minutes=30),
        _step("c5", "calendar.delete_event", "c4", event_id=event),
        _step("c6", "calendar.add_invitation", icalendar=invitation(number)),
        _step("c7", "calendar.update_from_invitation", "c6", icalendar=invitation(number, method="CANCEL")),
        _step("c8", "calendar.create_event", title=f"Other {number}", start=day.format(11), end=day.format(12)),
        _step("c9", "calendar.delete_events", event_ids=[{"$from": "c8", "path": "/event_id"}]),
        _step("e1", "email.draft", **written),
        _step("e2", "email.send", **written),
        _step("e3", "email.archive", message_id=draft),
        _step("e4", "email.move", "e3", message_id=draft, folder="drafts"),
        _step("e5", "email.delete", "e4", message_id=draft),
        _step("e6", "email.reply", message_id=f"<in-{number}@example.com>", body="Gladly"),
        _step("e7", "email.forward", message_id=f"<in-{number}@example.com>", to=written["to"]),
        _step("e10", "email.invite", invitation={"$from": "c3", "path": "/icalendar"}, to=written["to"]),
        _step("e11", "email.answer_invitation", message_id=f"<invited-{number}@example.com>", answer="accept"),
        _step("e8", "email.save_attachment", message_id=f"<in-{number}@example.com>"),
        _step("e9", "email.delete_file", file_id={"$from": "e8", "path": "/file_id"}),
        _step("k1", "contacts.add", name=f"Person {number}", email=f"p{number}@example.com"),
        _step("k2", "contacts.remove", contact_id=person),
        _step("m1", "memory.remember", text=f"Note {number}"),
        _step("m2", "memory.correct", fact_id=fact, text=f"Other note {number}"),
        _step("m3", "memory.forget", "m2", fact_id=fact),
        _step("m4", "memory.forget_all", kind="alias"),
        _step("t1", "tasks.add", title=f"Task {number}"),
        _step("t2", "tasks.complete", task_id=task),
        _step("t3", "tasks.reopen", "t2", task_id=task),
        _step("t4", "tasks.delete", "t3", task_id=task),
        _step("l1", "tasks.add", title=f"First {number}", list=f"list {number}"),
        _step("l2", "tasks.rename_list", "l1", list=f"list {number}", to=f"renamed {number}"),
        _step("l3", "tasks.move", "l2", task_id={"$from": "l1", "path": "/task_id"}, list=f"renamed {number}"),
        _step("l4", "tasks.delete_list", "l3", list=f"renamed {number}"),
        _step("w1", "tasks.add", title=f"Weekly {number}", due=tomorrow.date().isoformat(), repeats="FREQ=WEEKLY"),
        _step("w2", "tasks.skip", task_id={"$from": "w1", "path": "/task_id"}),
        _step("w3", "tasks.delete_many", "w2", task_ids=[{"$from": "w1", "path": "/task_id"}]),
        _step("r1", "tasks.remind", title=f"Reminder {number}", at=tomorrow.isoformat()),
        _step("r2", "tasks.cancel_reminder", task_id=reminder),
    ]


def effects_of_one_run() -> Counter[str]:
    """How often one plan uses each tool with effects."""
    of_interest = {tool for tools in TOOLS_WITH_EFFECTS.values() for tool in tools}
    return Counter(step["tool"] for step in every_effect(0) if step["tool"] in of_interest)


def invitation(number: int, *, method: str = "REQUEST") -> str:
    """An invitation of this run, as iCalendar."""
    event = (
        f"UID:u-{number}\r\nDTSTART:20261207T100000Z\r\nSUMMARY:Run {number}\r\nORGANIZER:mailto:p{number}@example.com"
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:{method}\r\nBEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


async def post_in(folder: Path, number: int, settings: EmailSettings | None = None) -> None:
    """Deliver the mails that `every_effect` answers; their attachments are their own."""
    for name, text, kind in (("in", f"Plan {number}", "plain"), ("invited", invitation(number), "calendar")):
        mail = EmailMessage()
        mail["From"], mail["Message-ID"] = f"p{number}@example.com", f"<{name}-{number}@example.com>"
        mail.set_content("Hello")
        mail.add_attachment(text, subtype=kind, filename=f"plan-{number}.txt")
        (folder / "in.eml").write_bytes(mail.as_bytes())
        await import_file(folder / "in.eml", settings, person="local")


def _step(step_id: str, tool: str, *after: str, **args: Any) -> dict[str, Any]:
    return {"id": step_id, "tool": tool, "args": args, "depends_on": list(after)}


async def start_runs(stack: FaultStack, plans: list[list[dict[str, Any]]]) -> list[str]:
    ids = []
    for number, plan in enumerate(plans):
        await post_in(stack.data, number)
        message = f"Run number {number} to p{number}@example.com"
        stack.model.script(message, *[plan_answer(plan)] * 4)  # a lost attempt asks again
        ids.append((await stack.start(message))["id"])
    return ids


async def approve_all_until_ended(
    stack: FaultStack, ids: list[str], workers: list[Child], *, seconds: float
) -> tuple[list[View], int]:
    """Approve whatever is asked and start dead workers again until all runs have ended; the views and the deaths."""
    deadline = time.monotonic() + seconds
    views: dict[str, View] = {}
    deaths: list[int] = []
    raising = asyncio.create_task(_raise_the_dead(workers, deaths))
    try:
        while len(views) < len(ids) and time.monotonic() < deadline:
            for assistant_id in [assistant_id for assistant_id in ids if assistant_id not in views]:
                await _advance(stack, assistant_id, views)
            await asyncio.sleep(0.5)
    finally:
        raising.cancel()
    return list(views.values()), sum(deaths) + respawn(workers)


async def _raise_the_dead(workers: list[Child], deaths: list[int]) -> None:
    while True:
        deaths.append(respawn(workers))
        await asyncio.sleep(0.1)


async def _advance(stack: FaultStack, assistant_id: str, views: dict[str, View]) -> None:
    view = await stack.view(assistant_id)
    for index in range(len(pending(view))):
        await stack.decide(view, index=index)
    if view["status"] in {"completed", "failed", "cancelled"}:
        views[assistant_id] = view


def outcomes(views: list[View]) -> list[tuple[str, list[Any]]]:
    """How each run ended, with the steps that did not complete and why."""
    return [
        (
            view["status"],
            [view["error"]] * bool(view["error"])
            + [(step["id"], step["status"], step["error"]) for step in _undone(view)],
        )
        for view in views
    ]


def _undone(view: View) -> list[View]:
    return [step for step in (view["plan"] or {"steps": []})["steps"] if step["status"] != "completed"]


def rows(stack: FaultStack, capability: str, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{stack.data}/{capability}.db?mode=ro", uri=True) as database:
        return database.execute(query).fetchall()


async def timers(stack: FaultStack) -> list[WorkflowExecutionStatus | None]:
    """What became of the workflows that wait for reminders, once the last of them has ended."""
    query = "WorkflowType = 'ReminderWorkflow'"
    for _ in range(100):
        found = [run.status async for run in stack.temporal.list_workflows(query)]
        if WorkflowExecutionStatus.RUNNING not in found:
            break
        await asyncio.sleep(0.1)
    return found


@pytest.mark.long
@pytest.mark.timeout(420)
@pytest.mark.usefixtures("planner")
async def test_a_worker_killed_after_each_effect_repeats_none(faulty: FaultStack) -> None:
    """10 kills for each tool with effects, 20 or more for each capability: every step completes, and every effect stands once."""
    workers = [faulty.worker(name, RETINUE_FAULT=f"after_effect:{name}") for name in TOOLS_WITH_EFFECTS]
    with faulty.workers(*workers):
        ids = await start_runs(faulty, [every_effect(number) for number in range(KILLED_RUNS)])
        views, deaths = await approve_all_until_ended(faulty, ids, workers, seconds=400)
    assert outcomes(views) == [("completed", [])] * KILLED_RUNS
    effects = effects_of_one_run()
    assert deaths >= KILLED_RUNS * effects.total() - len(workers)
    for capability, tools in TOOLS_WITH_EFFECTS.items():
        done = dict(rows(faulty, capability, "SELECT tool, count(*) FROM ledger GROUP BY tool"))
        assert done == {tool: KILLED_RUNS * effects[tool] for tool in tools}
    assert rows(faulty, "calendar", "SELECT count(*) FROM event") == [(0,)]
    assert rows(faulty, "email", "SELECT lower(folder), count(*) FROM messages GROUP BY 1") == [
        ("inbox", 2 * KILLED_RUNS),
        ("sent", 5 * KILLED_RUNS),
    ]
    assert rows(faulty, "email", "SELECT count(*) FROM files") == [(0,)]
    assert rows(faulty, "contacts", "SELECT count(*) FROM contact") == [(0,)]
    assert rows(faulty, "memory", "SELECT count(*) FROM fact") == [(0,)]
    assert rows(faulty, "tasks", "SELECT count(*), count(cancelled_at) FROM task") == [(KILLED_RUNS, KILLED_RUNS)]
    assert await timers(faulty) == [WorkflowExecutionStatus.CANCELED] * KILLED_RUNS
    previous = [steps(view)["c2"]["result"]["previous"]["title"] for view in views]
    assert sorted(previous) == sorted(f"Run {number}" for number in range(KILLED_RUNS))


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("planner")
async def test_without_the_ledger_the_same_kill_duplicates(faulty: FaultStack) -> None:
    """The kill test's own test: when the ledger forgets, one kill makes a second event."""
    worker = faulty.worker("calendar", module="tests.faults.unledgered", RETINUE_FAULT="after_effect:calendar")
    with faulty.workers(worker):
        await start_runs(faulty, [every_effect(0)[:1]])
        deadline = time.monotonic() + 60
        while not _events(faulty) > 1 and time.monotonic() < deadline:
            respawn([worker])
            await asyncio.sleep(0.2)
    assert _events(faulty) > 1


def _events(stack: FaultStack) -> int:
    try:
        return int(rows(stack, "calendar", "SELECT count(*) FROM event")[0][0])
    except sqlite3.OperationalError:
        return 0  # the worker has not made its database yet


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("planner")
async def test_runs_survive_the_death_of_the_temporal_server(faulty: FaultStack) -> None:
    """20 runs under way, `kill -9` of the server, restart on the same file: all finish, each effect once."""
    workers = [faulty.worker(name, RETINUE_WORKER_CONCURRENCY="4") for name in TOOLS_WITH_EFFECTS]
    with faulty.workers(*workers):
        ids = await start_runs(faulty, [every_effect(number) for number in range(RUNS)])
        faulty.server.kill()
        refused = await faulty.http.get(f"/v1/assistants/{ids[0]}")
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        faulty.server.start()
        await asyncio.sleep(1)
        views, _ = await approve_all_until_ended(faulty, ids, workers, seconds=150)
    assert outcomes(views) == [("completed", [])] * RUNS
    assert rows(faulty, "email", "SELECT lower(folder), count(*) FROM messages GROUP BY 1") == [
        ("inbox", 2 * RUNS),
        ("sent", 5 * RUNS),
    ]
    assert rows(faulty, "contacts", "SELECT count(*) FROM contact") == [(0,)]
    assert await timers(faulty) == [WorkflowExecutionStatus.CANCELED] * RUNS


@pytest.mark.timeout(60)
async def test_a_missing_planner_is_seen_and_waited_for(faulty: FaultStack) -> None:
    """Nobody polls `reasoning`: within ten seconds the view says so, and the run goes on when the worker comes."""
    message = "Hello there"
    faulty.model.script(message, plan_answer(reply="Hello!"))
    started = time.monotonic()
    assistant_id = (await faulty.start(message))["id"]
    await faulty.until(assistant_id, lambda view: view["status"] == "awaiting_worker")
    assert time.monotonic() - started < 10
    with faulty.workers(faulty.worker("reasoning")):
        done = await faulty.ended(assistant_id)
    assert (done["status"], done["reply"]) == ("completed", "Hello!")


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("planner")
async def test_histories_hold_no_secret(faulty: FaultStack) -> None:
    """The model's key is nowhere in the server's database after a run."""
    message = "Hello again"
    faulty.model.script(message, plan_answer(reply="Hello!"))
    await faulty.ended((await faulty.start(message))["id"])
    files = [path.read_bytes() for path in faulty.data.glob("temporal.db*")]
    assert any(b"Hello again" in content for content in files)
    assert not any(b"sk-canary" in content for content in files)
    assert "sk-canary" not in json.dumps(faulty.model.requests)
