"""Tasks and reminders that repeat: by the wall clock, one time after the other, each once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from .conftest import Clock, Timers

Call = Callable[..., Awaitable[dict[str, Any]]]
DAILY = {"title": "Pills", "at": "2026-11-23T08:00:00+01:00", "repeats": "FREQ=DAILY", "timezone": "Europe/Berlin"}
WEEKLY = {"title": "Bins", "due": "2026-11-23", "repeats": "FREQ=WEEKLY;BYDAY=MO"}


async def _comes(call: Call, clock: Clock, task_id: str, *, step: str | None = None, late: float = 1) -> dict[str, Any]:
    """The reminder's time comes."""
    at = (await call("look_up", task_id=task_id))["remind_at"]
    clock.now = max(clock.now, datetime.fromisoformat(at))
    clock.wait(seconds=late)
    return await call("notify", step=step, task_id=task_id, title="Pills", at=at)


async def _next(call: Call, task_id: str) -> str | None:
    next_at: str | None = (await call("look_up", task_id=task_id))["remind_at"]
    return next_at


async def test_each_time_of_a_reminder_starts_the_timer_of_the_next(call: Call, clock: Clock, timers: Timers) -> None:
    planned = await call("remind", **DAILY)
    assert planned["repeats"] == "FREQ=DAILY"
    task_id = planned["task_id"]

    assert (await _comes(call, clock, task_id))["status"] == "reminded"
    assert (await _comes(call, clock, task_id))["status"] == "reminded"

    assert await _next(call, task_id) == "2026-11-25T08:00:00+01:00"
    assert list(timers.started) == [f"reminder-{task_id}", f"reminder-{task_id}-1", f"reminder-{task_id}-2"]
    assert timers.started[f"reminder-{task_id}-2"]["reminder"].at == datetime.fromisoformat("2026-11-25T08:00:00+01:00")
    assert timers.cancelled == []  # the one that came is delivering
    listed = (await call("list"))["match"]
    assert (listed["repeats"], listed["reminded_at"]) == ("FREQ=DAILY", "2026-11-24T08:00:01+01:00")


@pytest.mark.parametrize(
    ("at", "following"),
    [
        ("2027-03-27T08:00:00+01:00", "2027-03-28T08:00:00+02:00"),
        ("2027-10-30T08:00:00+02:00", "2027-10-31T08:00:00+01:00"),
        ("2027-03-27T02:30:00+01:00", "2027-03-28T03:30:00+02:00"),
    ],
)
async def test_a_daily_reminder_keeps_its_hour_when_the_clocks_change(
    call: Call, clock: Clock, at: str, following: str
) -> None:
    planned = await call("remind", **{**DAILY, "at": at})

    await _comes(call, clock, planned["task_id"])

    assert await _next(call, planned["task_id"]) == following


async def test_an_attempt_that_is_repeated_moves_it_on_once(call: Call, clock: Clock, timers: Timers) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]
    at = DAILY["at"]
    clock.wait(days=1)
    timers.away = True
    with pytest.raises(ApplicationError, match="timer"):
        await call("notify", step="n", task_id=task_id, title="Pills", at=at)
    timers.away = False

    await call("notify", step="n", task_id=task_id, title="Pills", at=at)

    assert await _next(call, task_id) == "2026-11-24T08:00:00+01:00"
    assert list(timers.started) == [f"reminder-{task_id}", f"reminder-{task_id}-1"]


async def test_times_that_were_missed_come_once(call: Call, clock: Clock) -> None:
    """The machine was off for three days."""
    task_id = (await call("remind", **DAILY))["task_id"]

    await _comes(call, clock, task_id, late=3 * 24 * 3600)

    assert await _next(call, task_id) == "2026-11-27T08:00:00+01:00"


async def test_a_timer_of_another_time_says_nothing(call: Call, clock: Clock) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]
    await _comes(call, clock, task_id)

    stale = await call("notify", task_id=task_id, title="Pills", at=DAILY["at"])

    assert stale["status"] == "cancelled"
    assert await _next(call, task_id) == "2026-11-24T08:00:00+01:00"


@pytest.mark.parametrize("rule", ["FREQ=DAILY;COUNT=2", "FREQ=DAILY;UNTIL=20261124"])
async def test_a_series_ends_with_its_last_time(call: Call, clock: Clock, timers: Timers, rule: str) -> None:
    task_id = (await call("remind", **{**DAILY, "repeats": rule}))["task_id"]

    for _ in range(2):
        assert (await _comes(call, clock, task_id))["status"] == "reminded"

    ended = await call("look_up", task_id=task_id)
    assert ("repeats" in ended, ended["remind_at"]) == (False, "2026-11-24T08:00:00+01:00")
    assert len(timers.started) == 2


async def test_one_time_is_skipped_and_comes_back_when_that_is_undone(call: Call, clock: Clock, timers: Timers) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]

    skipped = await call("skip", step="s", task_id=task_id)
    assert await call("skip", step="s", task_id=task_id) == skipped
    assert (skipped["skipped"], skipped["remind_at"]) == (DAILY["at"], "2026-11-24T08:00:00+01:00")
    assert (list(timers.started)[1:], timers.cancelled[:1]) == ([f"reminder-{task_id}-1"], [f"reminder-{task_id}"])

    await call("restore", kept=skipped["kept"])

    assert await _next(call, task_id) == DAILY["at"]
    assert (list(timers.started)[2:], timers.cancelled[-1]) == ([f"reminder-{task_id}-2"], f"reminder-{task_id}-1")


@pytest.mark.parametrize("task", [{"title": "Once", "due": "2026-11-23"}, {**WEEKLY, "repeats": "FREQ=DAILY;COUNT=1"}])
async def test_only_what_comes_again_can_be_skipped(call: Call, task: dict[str, str]) -> None:
    added = await call("add", **task)

    with pytest.raises(ApplicationError, match="no later time") as refused:
        await call("skip", task_id=added["task_id"])

    assert refused.value.type == "InvalidArguments"


async def test_a_cancelled_series_never_comes_again(call: Call, clock: Clock, timers: Timers) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]
    await _comes(call, clock, task_id)

    cancelled = await call("cancel_reminder", task_id=task_id)

    assert (cancelled["status"], timers.cancelled) == ("cancelled", [f"reminder-{task_id}-1"])
    came = await call("notify", task_id=task_id, title="Pills", at=cancelled["at"])
    assert (came["status"], (await call("list"))["tasks"]) == ("cancelled", [])


async def test_a_completed_task_that_repeats_is_followed_by_the_next(call: Call) -> None:
    bins = await call("add", **WEEKLY, list="home")

    done = await call("complete", step="c", task_id=bins["task_id"])
    assert await call("complete", step="c", task_id=bins["task_id"]) == done

    listed = (await call("list", include_done=True))["tasks"]
    assert [(task["due"], task["done"], task["repeats"], task["list"]) for task in listed] == [
        ("2026-11-23", True, None, "home"),
        ("2026-11-30", False, "FREQ=WEEKLY;BYDAY=MO", "home"),
    ]
    assert done["next"]["task_id"] == listed[1]["task_id"]


async def test_a_task_that_is_overdue_goes_on_after_today(call: Call, clock: Clock) -> None:
    bins = await call("add", **WEEKLY)
    clock.wait(days=17)

    assert (await call("complete", task_id=bins["task_id"]))["next"]["due"] == "2026-12-14"


async def test_undoing_a_completion_takes_the_next_back(call: Call) -> None:
    bins = await call("add", **WEEKLY)
    before = await call("list")
    done = await call("complete", task_id=bins["task_id"])

    await call("reopen", task_id=bins["task_id"], changed=done["changed"])

    assert await call("list", include_done=True) == before


async def test_the_last_of_a_series_is_followed_by_none(call: Call) -> None:
    bins = await call("add", **{**WEEKLY, "repeats": "FREQ=WEEKLY;COUNT=1"})

    assert (await call("complete", task_id=bins["task_id"]))["next"] is None
    assert (await call("list"))["tasks"] == []


async def test_completing_what_one_was_reminded_of_keeps_the_next_reminder(
    call: Call, clock: Clock, timers: Timers
) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]
    await _comes(call, clock, task_id)

    following = (await call("complete", task_id=task_id))["next"]

    assert following["remind_at"] == "2026-11-24T08:00:00+01:00"
    assert f"reminder-{following['task_id']}" in timers.started
    stale = await call("notify", task_id=task_id, title="Pills", at="2026-11-24T08:00:00+01:00")
    assert stale["status"] == "cancelled"
    assert (await _comes(call, clock, following["task_id"]))["status"] == "reminded"


async def test_completing_it_before_its_time_leaves_that_time_out(call: Call, clock: Clock) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]

    following = (await call("complete", task_id=task_id))["next"]
    silent = await call("notify", task_id=task_id, title="Pills", at=DAILY["at"])

    assert (following["remind_at"], silent["status"]) == ("2026-11-24T08:00:00+01:00", "done")


async def test_a_reopened_reminder_goes_on_with_its_series(call: Call, clock: Clock, timers: Timers) -> None:
    task_id = (await call("remind", **DAILY))["task_id"]
    await _comes(call, clock, task_id)
    following = (await call("complete", task_id=task_id))["next"]

    reopened = await call("reopen", task_id=task_id)

    assert (reopened["remind_at"], reopened["repeats"]) == ("2026-11-24T08:00:00+01:00", "FREQ=DAILY")
    assert (await _comes(call, clock, task_id))["status"] == "reminded"
    gone = await call("notify", task_id=following["task_id"], title="Pills", at="2026-11-24T08:00:00+01:00")
    assert gone["status"] == "deleted"


async def test_a_rule_knows_whole_seconds_only(call: Call) -> None:
    task = await call("add", title="Report", due="2026-11-23T08:00:00.25Z", repeats="FREQ=DAILY")
    planned = await call("remind", **{**DAILY, "at": "2026-11-23T08:00:00.25Z"})

    assert (task["due"], planned["at"]) == ("2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z")


@pytest.mark.parametrize(
    ("tool", "wish", "says"),
    [
        ("add", {"title": "Bins", "repeats": "FREQ=WEEKLY"}, "due"),
        ("add", {**WEEKLY, "due": "2026-11-24"}, "does not hold"),
        ("add", {**WEEKLY, "repeats": "FREQ=HOURLY"}, "FREQ"),
        ("remind", {**DAILY, "timezone": "Nowhere/At_All"}, "time zone"),
        ("remind", {**DAILY, "repeats": "FREQ=WEEKLY;BYDAY=TU"}, "does not hold"),
    ],
)
async def test_wrong_repetitions_are_refused(
    call: Call, count: Callable[[], int], tool: str, wish: dict[str, str], says: str
) -> None:
    with pytest.raises(ApplicationError, match=says) as refused:
        await call(tool, **wish)

    assert (refused.value.type, count()) == ("InvalidArguments", 0)
