"""A key that may only ask neither reads nor changes what is remembered of its person, unless it has the right."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from retinue.testing import plan_answer
from tests.api.conftest import refused
from tests.api.rights.conftest import Door
from tests.conftest import Stack, View, pending, steps

Fresh = Callable[[str], str]


@pytest.fixture
async def mind(door: Door) -> AsyncIterator[Door]:
    """A person of whom something is remembered."""
    await door.person.http.post("/v1/memory", json={"text": "my safe opens with 1234"})
    yield door
    await door.person.http.delete("/v1/memory")


async def texts(person: Stack) -> list[str]:
    return [fact["text"] for fact in (await person.http.get("/v1/memory")).json()["facts"]]


async def ended(stack: Stack, message: str, plan: list[View]) -> View:
    stack.model.script(message, plan_answer(plan))
    return await stack.ended((await stack.start(message))["id"])


async def test_the_routes_refuse_it(mind: Door) -> None:
    asks = mind.asks.http
    for answer in (
        await asks.get("/v1/memory"),
        await asks.get("/v1/memory/export"),
        await asks.post("/v1/memory", json={"text": "x"}),
        await asks.put("/v1/memory/facts/abc", json={"text": "x"}),
        await asks.delete("/v1/memory/facts/abc"),
        await asks.delete("/v1/memory"),
    ):
        refused(answer, 403, "this needs the permission 'memory'")
    assert await texts(mind.person) == ["my safe opens with 1234"]


async def test_its_assistants_are_shown_nothing_and_read_nothing(mind: Door, fresh: Fresh) -> None:
    plan = [
        {"id": "s1", "tool": "memory.list", "args": {}},
        {"id": "s2", "tool": "memory.search", "args": {"query": "safe"}},
    ]
    message = fresh("What do you remember?")
    mind.asks.model.script(message, plan_answer(plan), plan_answer(reply="Nothing."))
    view = await mind.asks.ended((await mind.asks.start(message))["id"])
    assert "1234" not in str(view)
    assert view["facts"] == []
    assert "key 'notes app' may not read what is remembered" in steps(view)["s1"]["error"]["message"]


async def test_what_it_wants_remembered_is_asked_and_kept_with_its_name(mind: Door, fresh: Fresh) -> None:
    message = fresh("Remember that I like tea")
    plan = [{"id": "s1", "tool": "memory.remember", "args": {"text": "I like tea"}}]
    mind.asks.model.script(message, plan_answer(plan))
    view = await mind.person.asked((await mind.asks.start(message))["id"])
    [origin] = pending(view)[0]["origins"]
    assert (origin["source"], origin["through"]) == ("key", "key 'notes app'")
    assert await texts(mind.person) == ["my safe opens with 1234"]
    await mind.person.decide(view)
    await mind.person.ended(view["id"])
    [_, fact] = (await mind.person.http.get("/v1/memory")).json()["facts"]
    assert fact["says"].startswith("proposed, and approved by you through key 'notes app' on ")


async def test_a_key_with_the_right_may(mind: Door, fresh: Fresh) -> None:
    made = await mind.person.http.post("/v1/keys", json={"name": "diary", "scopes": ["read", "ask", "memory"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    async with httpx.AsyncClient(base_url=mind.address, headers=headers, timeout=60) as http:
        diary = dataclasses.replace(mind.asks, http=http)
        assert await texts(diary) == ["my safe opens with 1234"]
        view = await ended(diary, fresh("What?"), [{"id": "s1", "tool": "memory.list", "args": {}}])
        assert (steps(view)["s1"]["status"], len(view["facts"])) == ("completed", 1)
        await http.post("/v1/memory", json={"text": "I like tea"})
    [_, fact] = (await mind.person.http.get("/v1/memory")).json()["facts"]
    assert fact["says"].startswith("typed by you through key 'diary' on ")
