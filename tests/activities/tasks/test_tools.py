"""The to-do list's tools, through their activities."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from .conftest import Clock

Call = Callable[..., Awaitable[dict[str, Any]]]
Count = Callable[[], int]


async def _titles(call: Call, **wish: Any) -> list[str]:
    return [task["title"] for task in (await call("list", **wish))["tasks"]]


async def test_an_added_task_is_on_the_list(call: Call) -> None:
    added = await call("add", title="Buy milk", due="2026-11-27", notes="oat")

    assert added == {
        "task_id": added["task_id"],
        "title": "Buy milk",
        "due": "2026-11-27",
        "done": False,
        "notes": "oat",
        "remind_at": None,
        "reminded_at": None,
        "reminder_problem": None,
        "list": None,
        "repeats": None,
    }
    assert await call("list") == {
        "tasks": [added],
        "task_ids": [added["task_id"]],
        "match": added,
        "truncated": False,
    }


@pytest.mark.parametrize(
    ("due", "shown"),
    [
        ("2026-11-27", "2026-11-27"),
        ("2026-11-27T09:00:00+01:00", "2026-11-27T09:00:00+01:00"),
        ("2026-11-27T00:00:00-05:30", "2026-11-27T00:00:00-05:30"),
        ("2026-11-27T09:00:00Z", "2026-11-27T09:00:00Z"),
        (None, None),
    ],
)
async def test_a_due_time_comes_back_as_it_was_given(call: Call, due: str | None, shown: str | None) -> None:
    """Also from the database: a person reads a time on their own clock."""
    assert (await call("add", title="Buy milk", due=due))["due"] == shown
    assert (await call("list"))["match"]["due"] == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"due": "2026-11-27T09:00:00"},
        {"due": "2026-11-27T00:00:00"},
        {"due": "2026-02-30"},
        {"due": "tomorrow"},
        {"title": ""},
        {"title": " \n"},
        {"title": "x" * 301},
        {"notes": "x" * 4001},
    ],
)
async def test_wrong_tasks_are_refused(call: Call, count: Count, wrong: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError, match=next(iter(wrong))) as refused:
        await call("add", **{"title": "Buy milk", **wrong})

    assert (refused.value.type, refused.value.non_retryable) == ("InvalidArguments", True)
    assert count() == 0


async def test_two_attempts_of_one_step_add_one_task(call: Call, count: Count) -> None:
    first = await call("add", step="s1", title="Buy milk")
    second = await call("add", step="s1", title="Buy milk")

    assert first == second
    assert count() == 1


async def test_twenty_attempts_at_once_add_one_task(call: Call, count: Count) -> None:
    results = await asyncio.gather(*(call("add", step="s1", title="Buy milk") for _ in range(20)))

    assert results == [results[0]] * 20
    assert count() == 1


async def test_two_steps_add_two_tasks_of_one_title(call: Call, count: Count) -> None:
    await call("add", title="Buy milk")
    await call("add", title="Buy milk")

    assert count() == 2


async def test_the_same_step_with_other_arguments_is_a_conflict(call: Call, count: Count) -> None:
    await call("add", step="s1", title="Buy milk")

    with pytest.raises(ApplicationError) as refused:
        await call("add", step="s1", title="Buy bread")

    assert (refused.value.type, refused.value.non_retryable) == ("Conflict", True)
    assert count() == 1


async def test_the_list_is_by_due_time_and_what_has_none_comes_last(call: Call, clock: Clock) -> None:
    for title, due in [
        ("whenever", None),
        ("noon", "2026-11-27T12:00:00Z"),
        ("friday", "2026-11-27"),
        ("thursday night", "2026-11-26T23:00:00Z"),
        ("later", None),
    ]:
        clock.wait(seconds=1)
        await call("add", title=title, due=due)
    await call("remind", title="reminded", at="2026-11-27T13:00:00+02:00")

    assert await _titles(call) == ["thursday night", "friday", "reminded", "noon", "whenever", "later"]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("2026-11-27T00:00:00+01:00", []),
        ("2026-11-27T00:00:01+01:00", ["day"]),
        ("2026-11-27T12:00:00+01:00", ["day"]),
        ("2026-11-27T12:00:01+01:00", ["day", "moment"]),
        ("2026-11-27T00:00:00-12:00", ["moment"]),
    ],
)
async def test_due_before_counts_a_day_from_its_beginning(call: Call, before: str, expected: list[str]) -> None:
    await call("add", title="day", due="2026-11-27")
    await call("add", title="moment", due="2026-11-27T11:00:00Z")
    await call("add", title="whenever")

    assert await _titles(call, due_before=before) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [("milk", ["Buy ÄLPLER milk"]), ("älpler BUY", ["Buy ÄLPLER milk"]), ("buy bread", []), ("%", [])],
)
async def test_a_query_finds_titles_that_hold_all_its_words(call: Call, query: str, expected: list[str]) -> None:
    await call("add", title="Buy ÄLPLER milk")

    assert await _titles(call, query=query) == expected


async def test_match_is_the_task_when_exactly_one_fits(call: Call) -> None:
    milk = await call("add", title="Buy milk")
    await call("add", title="Buy bread")

    assert (await call("list", query="milk"))["match"] == milk
    assert (await call("list", query="buy"))["match"] is None
    assert (await call("list", query="gym"))["match"] is None


async def test_a_whole_title_beats_titles_that_only_contain_it(call: Call) -> None:
    await call("add", title="Buy milk for Ana")
    milk = await call("add", title="Buy Milk")

    assert (await call("list", query="buy milk"))["match"] == milk


async def test_two_tasks_of_one_title_are_no_match(call: Call) -> None:
    await call("add", title="Buy milk")
    await call("add", title="Buy milk")

    assert (await call("list", query="buy milk"))["match"] is None


async def test_a_list_ends_after_two_hundred(call: Call) -> None:
    for number in range(201):
        await call("add", title=f"Task {number}")

    listed = await call("list")

    assert (len(listed["tasks"]), listed["truncated"], listed["match"]) == (200, True, None)


async def test_a_list_of_large_tasks_is_cut_before_the_edge_refuses_it(call: Call) -> None:
    for number in range(20):
        await call("add", title=f"Task {number}", notes="ü" * 4000)

    listed = await call("list")

    assert listed["truncated"]
    assert 150 * 1024 < len(json.dumps(listed)) < 256 * 1024


async def test_a_completed_task_leaves_the_list_and_can_be_shown(call: Call) -> None:
    milk = await call("add", title="Buy milk")

    done = await call("complete", task_id=milk["task_id"])

    assert done == {**milk, "done": True, "changed": True, "next": None}
    assert await _titles(call) == []
    assert (await call("list", include_done=True))["tasks"] == [{**milk, "done": True}]


async def test_a_reopened_task_is_as_it_was(call: Call) -> None:
    milk = await call("add", title="Buy milk")
    done = await call("complete", task_id=milk["task_id"])

    reopened = await call("reopen", task_id=done["task_id"], changed=done["changed"])

    assert reopened == {**milk, "changed": True, "next": None}
    assert (await call("list"))["tasks"] == [milk]


async def test_undoing_a_completion_that_changed_nothing_leaves_the_task_done(call: Call) -> None:
    milk = await call("add", title="Buy milk")
    await call("complete", task_id=milk["task_id"])
    again = await call("complete", task_id=milk["task_id"])

    undone = await call("reopen", task_id=again["task_id"], changed=again["changed"])

    assert (again["changed"], undone["changed"], undone["done"]) == (False, False, True)


async def test_a_second_attempt_of_a_completion_reports_the_same(call: Call) -> None:
    """Else the undo would believe that nothing was changed."""
    milk = await call("add", title="Buy milk")
    first = await call("complete", step="s2", task_id=milk["task_id"])

    assert await call("complete", step="s2", task_id=milk["task_id"]) == first
    assert first["changed"]


async def test_a_deleted_task_is_gone_and_a_second_attempt_reports_the_same(call: Call, count: Count) -> None:
    milk = await call("add", title="Buy milk")

    first = await call("delete", step="s2", task_id=milk["task_id"])
    second = await call("delete", step="s2", task_id=milk["task_id"])

    assert first == second
    assert first == {**first, "task_id": milk["task_id"], "title": "Buy milk", "deleted": True, "remind_at": None}
    assert count() == 0


@pytest.mark.parametrize("tool", ["complete", "reopen", "delete", "cancel_reminder"])
async def test_an_unknown_task_is_not_found_with_a_hint(call: Call, tool: str) -> None:
    with pytest.raises(ApplicationError, match=r"tasks\.list gives the ids") as missing:
        await call(tool, task_id="nobody")

    assert (missing.value.type, missing.value.non_retryable) == ("NotFound", True)


async def test_an_id_is_looked_up_as_it_stands_and_one_of_no_task_says_so(call: Call) -> None:
    added = await call("add", title="Buy milk")
    await call("complete", task_id=added["task_id"])

    found = await call("look_up", task_id=added["task_id"])
    assert found == {"task_id": added["task_id"], "title": "Buy milk", "done": True}
    with pytest.raises(ApplicationError, match="there is no such task"):
        await call("look_up", task_id="none-such")
