"""Reminders through the whole product: a plan sets them, Temporal waits, the worker of the tasks is called back."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from sqlite3 import connect
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from retinue.testing import plan_answer
from retinue.times import present
from tests.conftest import Stack, steps

AHEAD = timedelta(seconds=4)
"""Long enough for a busy machine to plan and run the step before the reminder's time has come."""


async def _run(stack: Stack, message: str, *plan: dict[str, Any]) -> dict[str, Any]:
    stack.model.script(message, plan_answer(plan))
    view = await stack.ended((await stack.start(message))["id"])
    assert view["status"] == "completed", view
    return steps(view)


def _remind() -> dict[str, Any]:
    at = present() + AHEAD
    return {"id": "s1", "tool": "tasks.remind", "args": {"title": "Call mum", "at": at.isoformat()}}


def _rows(stack: Stack, query: str, *values: str) -> list[tuple[Any, ...]]:
    with closing(connect(f"file:{stack.data}/tasks.db?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


async def test_a_reminder_comes_once_and_not_before_its_time(stack: Stack, fresh: Callable[[str], str]) -> None:
    done = await _run(stack, fresh("Remind me to call mum"), _remind())
    task_id = done["s1"]["result"]["task_id"]

    waiting = stack.temporal.get_workflow_handle(f"reminder-{task_id}")
    assert _rows(stack, "SELECT reminded_at FROM task WHERE task_id = ?", task_id) == [(None,)]
    await waiting.result()

    ((remind_at, reminded_at),) = _rows(stack, "SELECT remind_at, reminded_at FROM task WHERE task_id = ?", task_id)
    assert reminded_at >= remind_at
    assert _rows(stack, "SELECT tool FROM ledger WHERE key LIKE ?", f"reminder-{task_id}/%") == [("tasks.notify",)]


async def test_a_cancelled_reminder_never_comes(stack: Stack, fresh: Callable[[str], str]) -> None:
    cancel = {"id": "s2", "tool": "tasks.cancel_reminder", "args": {"task_id": {"$from": "s1", "path": "/task_id"}}}
    done = await _run(stack, fresh("Remind me after all not"), _remind(), cancel | {"depends_on": ["s1"]})
    task_id = done["s1"]["result"]["task_id"]
    assert done["s2"]["result"]["status"] == "cancelled"

    await asyncio.sleep(AHEAD.total_seconds() + 1)

    described = await stack.temporal.get_workflow_handle(f"reminder-{task_id}").describe()
    assert described.status is WorkflowExecutionStatus.CANCELED
    assert _rows(stack, "SELECT reminded_at FROM task WHERE task_id = ?", task_id) == [(None,)]
    assert _rows(stack, "SELECT tool FROM ledger WHERE key LIKE ?", f"reminder-{task_id}/%") == []
