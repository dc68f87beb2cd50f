"""The inbox in pages: the others are counted, nothing is shown twice or left out, whatever is decided meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from api.services.runs import Runs
from tests.conftest import Stack, View
from tests.scenarios.test_people import Opened, rule
from tests.scenarios.test_races import asking
from tests.test_main_job import mail
from workflows.messages import AssistantView

Fresh = Callable[[str], str]
ASK = 'tools = ["email.send"]\ndecide = "ask"'


async def inbox(person: Stack, **query: object) -> View:
    answer = await person.http.get("/v1/approvals", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    view: View = answer.json()
    return view


async def counted(person: Stack, count: int) -> View:
    """The inbox without its content, once so many wait."""
    for _ in range(100):
        found = await inbox(person, limit=0)
        if found["waiting"] == count:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def someone(people: Opened) -> Stack:
    return (await people(rule(ASK)))(f"p-{uuid.uuid4().hex[:8]}")


async def test_what_waits_is_counted_without_being_read(people: Opened, fresh: Fresh) -> None:
    anna = await someone(people)
    assert await counted(anna, 0) == {"approvals": [], "unreadable": [], "waiting": 0, "next_cursor": None}
    await asking(anna, fresh("Two mails"), mail("s1"), mail("s2"))
    await asking(anna, fresh("One mail"), mail("s1"))
    assert await counted(anna, 2) == {"approvals": [], "unreadable": [], "waiting": 2, "next_cursor": None}
    whole = await inbox(anna)
    assert (len(whole["approvals"]), whole["waiting"], whole["next_cursor"]) == (3, 2, None)


async def test_pages_hold_everything_once_what_began_last_first(people: Opened, fresh: Fresh) -> None:
    anna = await someone(people)
    ids = [(await asking(anna, fresh(f"Mail {number}"), mail("s1")))["id"] for number in range(5)]
    await counted(anna, 5)

    first = await inbox(anna, limit=2)
    assert [one["assistant_id"] for one in first["approvals"]] == ids[3:]
    assert first["waiting"] == 5
    await anna.decide(await anna.view(ids[3]))  # the last of the first page goes away; the second page stays what it is
    await counted(anna, 4)
    second = await inbox(anna, limit=2, cursor=first["next_cursor"])
    third = await inbox(anna, limit=2, cursor=second["next_cursor"])
    assert [one["assistant_id"] for one in second["approvals"]] == ids[1:3]
    assert [one["assistant_id"] for one in third["approvals"]] == ids[:1]
    assert third["next_cursor"] is None
    assert third["waiting"] == 4


async def test_a_cursor_that_is_none_is_refused(people: Opened) -> None:
    anna = await someone(people)
    answer = await anna.http.get("/v1/approvals", params={"cursor": "nonsense"})
    assert answer.status_code == 422
    assert "start again without one" in answer.json()["detail"]


async def test_a_run_to_which_nothing_happened_is_not_asked_again_and_one_that_changed_is(
    people: Opened, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await someone(people)
    quiet = (await asking(anna, fresh("One mail"), mail("s1")))["id"]
    busy = await asking(anna, fresh("Two mails"), mail("s1"), mail("s2"))
    await counted(anna, 2)
    assert len((await inbox(anna))["approvals"]) == 3

    asked: list[str] = []
    really = Runs._queried

    async def ask(runs: Runs, assistant_id: str) -> AssistantView:
        asked.append(assistant_id)
        return await really(runs, assistant_id)

    monkeypatch.setattr(Runs, "_queried", ask)
    assert len((await inbox(anna))["approvals"]) == 3
    assert asked == []
    await anna.decide(busy)
    shown = (await inbox(anna))["approvals"]
    assert sorted(one["assistant_id"] for one in shown) == sorted([quiet, busy["id"]])
    assert set(asked) == {busy["id"]}
