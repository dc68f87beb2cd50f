"""Named lists, and several tasks deleted at once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from .conftest import Clock, Timers

Call = Callable[..., Awaitable[dict[str, Any]]]
Count = Callable[[], int]
AT = "2026-11-23T09:00:00+01:00"


async def _titles(call: Call, **wish: Any) -> list[str]:
    return [task["title"] for task in (await call("list", **wish))["tasks"]]


async def _lists(call: Call) -> dict[str, tuple[int, int]]:
    return {each["name"]: (each["open"], each["done"]) for each in (await call("lists"))["lists"]}


async def test_a_named_list_begins_with_its_first_task_and_the_to_do_list_stays(call: Call) -> None:
    plain = await call("add", title="Call mum")
    milk = await call("add", title="Milk", list="Groceries")

    assert (plain["list"], milk["list"]) == (None, "Groceries")
    assert sorted(await _titles(call)) == ["Call mum", "Milk"]
    assert await _titles(call, list="groceries") == ["Milk"]
    assert await _titles(call, list="To-Do") == ["Call mum"]
    assert await _lists(call) == {"to-do": (1, 0), "Groceries": (1, 0)}


@pytest.mark.parametrize("spelled", ["groceries", " GROCERIES ", "Gro\u200bceries", "ｇroceries", "groceries\n"])
async def test_one_name_in_several_spellings_is_one_list(call: Call, spelled: str) -> None:
    await call("add", title="Milk", list="Groceries")
    eggs = await call("add", title="Eggs", list=spelled)

    assert eggs["list"] == "Groceries"
    assert await _lists(call) == {"to-do": (0, 0), "Groceries": (2, 0)}


@pytest.mark.parametrize("name", ["gr\u043eceries", "\u200b", ""])
async def test_a_name_that_imitates_another_begins_no_list(call: Call, count: Count, name: str) -> None:
    await call("add", title="Milk", list="groceries")

    with pytest.raises(ApplicationError, match="list") as refused:
        await call("add", title="Eggs", list=name)

    assert (refused.value.type, count()) == ("InvalidArguments", 1)


async def test_a_reminder_may_be_on_a_list(call: Call) -> None:
    await call("remind", title="Buy cake", at=AT, list="party")

    assert await _titles(call, list="party") == ["Buy cake"]


async def test_a_moved_task_goes_back_when_that_is_undone(call: Call) -> None:
    task = await call("add", title="Batteries")
    moved = await call("move", task_id=task["task_id"], list="hardware")
    assert (moved["list"], await _titles(call, list="hardware")) == (None, ["Batteries"])

    await call("move", task_id=moved["task_id"], list=moved["list"])

    assert await _lists(call) == {"to-do": (1, 0)}


async def test_a_renamed_list_keeps_its_tasks_and_gets_its_name_back(call: Call) -> None:
    await call("add", title="Milk", list="Shopping")
    done = await call("add", title="Eggs", list="shopping")
    await call("complete", task_id=done["task_id"])

    renamed = await call("rename_list", list="shopping", to="Groceries")
    assert renamed == {"list": "Groceries", "to": "Shopping", "tasks": 2}
    assert await _lists(call) == {"to-do": (0, 0), "Groceries": (1, 1)}

    await call("rename_list", list=renamed["list"], to=renamed["to"])
    assert await _lists(call) == {"to-do": (0, 0), "Shopping": (1, 1)}


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ({"list": "a", "to": "B"}, "InvalidArguments"),
        ({"list": "a", "to": "to do"}, "InvalidArguments"),
        ({"list": "to-do", "to": "c"}, "InvalidArguments"),
        ({"list": "nothing", "to": "c"}, "NotFound"),
    ],
)
async def test_no_list_takes_the_name_of_another(call: Call, wish: dict[str, str], kind: str) -> None:
    await call("add", title="One", list="a")
    await call("add", title="Two", list="b")
    await call("add", title="Three")

    with pytest.raises(ApplicationError) as refused:
        await call("rename_list", **wish)

    assert refused.value.type == kind
    assert await _lists(call) == {"to-do": (1, 0), "a": (1, 0), "b": (1, 0)}


async def test_a_list_can_be_spelled_in_another_way(call: Call) -> None:
    await call("add", title="One", list="groceries")

    assert (await call("rename_list", list="groceries", to="GROCERIES"))["list"] == "GROCERIES"
    assert await _titles(call, list="groceries") == ["One"]


async def test_a_deleted_list_comes_back_whole(call: Call, count: Count, timers: Timers, clock: Clock) -> None:
    done = await call("add", title="Milk", list="party", notes="oat", due="2026-11-27")
    await call("complete", task_id=done["task_id"])
    clock.wait(seconds=1)
    await call("remind", title="Cake", at=AT, list="party")
    await call("add", title="Else")
    before = await call("list", include_done=True)
    assert (await call("look_up_list", list="Party")) == {"name": "party", "open": 1, "done": 1, "titles": ["Cake"]}

    deleted = await call("delete_list", list="party")
    assert ([task["title"] for task in deleted["deleted"]], count()) == (["Milk", "Cake"], 1)
    cake = deleted["deleted"][1]["task_id"]
    assert timers.cancelled == [f"reminder-{cake}"]

    restored = await call("restore", kept=deleted["kept"])
    assert [task["title"] for task in restored["tasks"]] == ["Milk", "Cake"]
    assert await call("list", include_done=True) == before
    assert list(timers.started) == [f"reminder-{cake}", f"reminder-{cake}-1"]


async def test_several_tasks_are_deleted_at_once_and_come_back(call: Call, count: Count) -> None:
    for title in ("Milk", "Eggs", "Bread"):
        await call("add", title=title, list="groceries")
    await call("add", title="Call mum")
    found = await call("list", list="groceries")

    deleted = await call("delete_many", step="s1", task_ids=found["task_ids"])
    again = await call("delete_many", step="s1", task_ids=found["task_ids"])
    assert (again, await _titles(call), count()) == (deleted, ["Call mum"], 1)

    await call("restore", kept=deleted["kept"])
    assert await call("list", list="groceries") == found


async def test_several_are_deleted_all_or_none(call: Call, count: Count) -> None:
    task = await call("add", title="Milk")

    with pytest.raises(ApplicationError, match="no such task") as refused:
        await call("delete_many", task_ids=[task["task_id"], "f" * 32])

    assert (refused.value.type, count()) == ("NotFound", 1)


async def test_a_deleted_task_comes_back_with_its_reminder(call: Call, timers: Timers) -> None:
    planned = await call("remind", title="Call mum", at=AT)
    deleted = await call("delete", task_id=planned["task_id"])

    await call("restore", step="u1", kept=deleted["kept"])
    await call("restore", step="u1", kept=deleted["kept"])

    came = await call("notify", task_id=planned["task_id"], title="Call mum", at=AT)
    assert (came["status"], list(timers.started)[1:]) == ("reminded", [f"reminder-{planned['task_id']}-1"])


async def test_what_is_not_kept_any_more_is_said(call: Call) -> None:
    with pytest.raises(ApplicationError, match="not kept") as refused:
        await call("restore", kept="0" * 32)

    assert refused.value.type == "NotFound"
