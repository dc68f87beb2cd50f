"""Reminders: the row and the timer, whatever happens between them."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError

from activities.tasks.contract import StartReminder

from .conftest import Clock, Timers

Call = Callable[..., Awaitable[dict[str, Any]]]
Count = Callable[[], int]
WISH = {"title": "Call mum", "at": "2026-11-23T09:00:00+01:00"}


async def _comes(call: Call, planned: dict[str, Any], **step: str) -> dict[str, Any]:
    return await call("notify", task_id=planned["task_id"], title=planned["title"], at=planned["at"], **step)


async def _listed(call: Call) -> list[tuple[str, str, str | None]]:
    return [
        (task["title"], task["remind_at"], task["reminded_at"])
        for task in (await call("list", include_done=True))["tasks"]
    ]


async def test_a_reminder_is_a_task_with_a_timer(call: Call, timers: Timers) -> None:
    planned = await call("remind", **WISH)

    assert planned == {**WISH, "task_id": planned["task_id"], "status": "planned", "repeats": None}
    assert await _listed(call) == [("Call mum", WISH["at"], None)]
    (timer,) = timers.started.values()
    at = datetime.fromisoformat(WISH["at"])
    assert timer["id"] == f"reminder-{planned['task_id']}"
    assert (timer["type"], timer["task_queue"]) == ("ReminderWorkflow", "workflows")
    assert timer["start_delay"] == timedelta(hours=20)
    assert timer["reminder"] == StartReminder(task_id=planned["task_id"], title="Call mum", at=at, owner="local")
    assert timer["id_reuse_policy"] is WorkflowIDReusePolicy.REJECT_DUPLICATE


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("2026-11-22T13:00:00+01:00", "is past"),
        ("2026-11-22T11:59:59Z", "is past"),
        ("2031-12-01T00:00:00Z", "five years"),
        ("2026-11-23T09:00:00", "offset"),
        ("2026-11-23", "offset"),
    ],
)
async def test_a_reminder_needs_a_moment_ahead(call: Call, timers: Timers, count: Count, at: str, says: str) -> None:
    with pytest.raises(ApplicationError, match=says) as refused:
        await call("remind", title="Call mum", at=at)

    assert (refused.value.type, refused.value.non_retryable) == ("InvalidArguments", True)
    assert (count(), timers.started) == (0, {})


async def test_two_attempts_of_one_step_are_one_reminder(call: Call, timers: Timers, count: Count) -> None:
    first = await call("remind", step="s1", **WISH)
    second = await call("remind", step="s1", **WISH)

    assert first == second
    assert (count(), len(timers.started)) == (1, 1)


async def test_a_timer_that_could_not_be_started_is_started_by_the_next_attempt(
    call: Call, timers: Timers, count: Count
) -> None:
    timers.away = True
    with pytest.raises(ApplicationError, match="timer") as failed:
        await call("remind", step="s1", **WISH)
    assert (failed.value.type, failed.value.non_retryable) == ("ServiceUnavailable", False)

    timers.away = False
    planned = await call("remind", step="s1", **WISH)

    assert list(timers.started) == [f"reminder-{planned['task_id']}"]
    assert count() == 1


async def test_an_attempt_after_the_reminders_time_starts_its_timer_at_once(
    call: Call, timers: Timers, clock: Clock
) -> None:
    """The row was committed in time; that no timer could be started for a day is not the person's fault."""
    timers.away = True
    with pytest.raises(ApplicationError):
        await call("remind", step="s1", **WISH)

    timers.away = False
    clock.wait(days=2)
    await call("remind", step="s1", **WISH)

    (timer,) = timers.started.values()
    assert timer["start_delay"] == timedelta()


async def test_a_reminder_that_came_is_marked_once(call: Call, clock: Clock) -> None:
    planned = await call("remind", **WISH)
    clock.wait(hours=20)
    first = await _comes(call, planned, step="notify")
    clock.wait(hours=1)
    second = await _comes(call, planned, step="notify")

    assert first == second == {"task_id": planned["task_id"], "status": "reminded"}
    assert await _listed(call) == [("Call mum", WISH["at"], "2026-11-23T09:00:00+01:00")]


async def test_the_log_of_a_reminder_says_nothing_about_its_subject(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    planned = await call("remind", **WISH)
    with caplog.at_level(logging.INFO):
        await _comes(call, planned)

    assert [vars(record)["task_id"] for record in caplog.records if "reminder came" in record.message] == [
        planned["task_id"]
    ]
    assert "mum" not in caplog.text


async def test_a_cancelled_reminder_is_off_the_list_and_never_comes(call: Call, timers: Timers) -> None:
    planned = await call("remind", **WISH)

    cancelled = await call("cancel_reminder", task_id=planned["task_id"])
    came = await _comes(call, planned)

    assert cancelled == {**planned, "status": "cancelled"}
    assert timers.cancelled == [f"reminder-{planned['task_id']}"]
    assert came["status"] == "cancelled"
    assert await _listed(call) == []


async def test_cancelling_is_tried_again_until_the_timer_is_gone(call: Call, timers: Timers) -> None:
    planned = await call("remind", **WISH)
    timers.away = True
    with pytest.raises(ApplicationError) as failed:
        await call("cancel_reminder", step="s2", task_id=planned["task_id"])
    assert failed.value.type == "ServiceUnavailable"

    timers.away = False
    await call("cancel_reminder", step="s2", task_id=planned["task_id"])

    assert timers.cancelled == [f"reminder-{planned['task_id']}"]


async def test_a_missing_timer_does_not_hinder_cancelling(call: Call, timers: Timers) -> None:
    planned = await call("remind", **WISH)
    timers.started.clear()

    assert (await call("cancel_reminder", task_id=planned["task_id"]))["status"] == "cancelled"


async def test_cancelling_too_late_says_so_and_keeps_the_task(call: Call) -> None:
    planned = await call("remind", **WISH)
    await _comes(call, planned)

    late = await call("cancel_reminder", task_id=planned["task_id"])

    assert late["status"] == "reminded"
    assert [title for title, _, _ in await _listed(call)] == ["Call mum"]


async def test_a_task_without_a_reminder_has_none_to_cancel(call: Call) -> None:
    task = await call("add", title="Buy milk")

    with pytest.raises(ApplicationError, match="no reminder") as refused:
        await call("cancel_reminder", task_id=task["task_id"])

    assert refused.value.type == "InvalidArguments"


async def test_the_reminder_of_a_done_task_stays_silent_and_of_a_reopened_one_comes(call: Call) -> None:
    silent, loud = await call("remind", **WISH), await call("remind", **WISH)
    for planned in (silent, loud):
        await call("complete", task_id=planned["task_id"])
    await call("reopen", task_id=loud["task_id"])

    assert (await _comes(call, silent))["status"] == "done"
    assert (await _comes(call, loud))["status"] == "reminded"


async def test_a_deleted_task_takes_its_reminder_with_it(call: Call, timers: Timers, count: Count) -> None:
    planned = await call("remind", **WISH)

    deleted = await call("delete", task_id=planned["task_id"])

    assert (deleted["remind_at"], timers.cancelled) == (WISH["at"], [f"reminder-{planned['task_id']}"])
    assert (await _comes(call, planned))["status"] == "deleted"
    assert count() == 0


async def test_deleting_a_plain_task_needs_no_temporal(call: Call, timers: Timers, count: Count) -> None:
    task = await call("add", title="Buy milk")
    timers.away = True

    await call("delete", task_id=task["task_id"])

    assert count() == 0
