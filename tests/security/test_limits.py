"""A model that never has enough is stopped by its person before it costs more than a few requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from retinue.testing import Answer, TurnMaker, plan_answer
from tests.conftest import ENDED, Stack, View, pending
from tests.security.attempts import Scene, delegated, step
from tests.security.worst_case import call

pytestmark = pytest.mark.xdist_group("heavy")
MOST_REQUESTS, MOST_STEPS = 15, 30
PLANS = 12


def days(scene: Scene, count: int) -> list[dict[str, Any]]:
    """Every day, a read of its own."""
    return [
        step(
            f"d{number}",
            "calendar.list_events",
            start=f"{1970 + number}-01-01T00:00:00+00:00",
            end=f"{1970 + number}-01-02T00:00:00+00:00",
            query=scene.mark,
        )
        for number in range(count)
    ]


def looks(count: int) -> TurnMaker:
    """An agent that never ends."""
    return lambda body: (
        "Enough." if body.get("tool_choice") == "none" else [call("weather.current", place="Lisbon")] * count
    )


def never_ready(scene: Scene) -> Iterator[Answer]:
    """Plans that are never final, each after two that no plan may be."""
    bad = plan_answer([step("a", "bank.pay", mark=scene.mark)])
    for number in range(PLANS):
        yield from (bad, bad, plan_answer([step(f"s{number}", "weather.current", place="Lisbon")], final=False))


GREED: Mapping[str, Callable[[Scene], list[Answer]]] = {
    "plans that are never final": lambda s: [
        plan_answer([step("s1", "weather.current", place=f"Lisbon {n}")], final=False) for n in range(PLANS)
    ],
    "plans that are never final, nor valid at first": lambda s: list(never_ready(s)),
    "plans that are never valid": lambda s: [plan_answer([step("a", "bank.pay", mark=s.mark)])] * PLANS,
    "answers that are no plans": lambda s: [Answer(f"I will do it, {s.mark}.")] * PLANS,
    "a hundred steps": lambda s: [plan_answer(days(s, 100))] * PLANS,
    "a hundred steps in every round": lambda s: [plan_answer(days(s, 100), final=False)] * PLANS,
    "more steps than a plan may have": lambda s: [plan_answer(days(s, 400))] * PLANS,
    "an agent that never answers": lambda s: [plan_answer([delegated("s1", "weather", f"one of {s.mark}")])] * PLANS,
    "many agents that never answer": lambda s: (
        [plan_answer([delegated(f"s{n}", "weather", f"one of {s.mark}") for n in range(20)])] * PLANS
    ),
    "agents that call eight tools at a time": lambda s: (
        [plan_answer([delegated(f"s{n}", "weather", f"eight of {s.mark}") for n in range(5)])] * PLANS
    ),
    "thirty texts": lambda s: [
        plan_answer([step(f"c{n}", "reasoning.compose", instruction=f"Write {n} {s.mark}") for n in range(30)])
    ],
    "calls that can never be read": lambda s: (
        [plan_answer([delegated(f"s{n}", "weather", f"bad of {s.mark}") for n in range(14)])] * PLANS
    ),
}


async def asked_or_ended(stack: Stack, assistant_id: str) -> View:
    """The view when a person is asked for the first time, or at the end."""
    return await stack.until(assistant_id, lambda view: bool(pending(view)) or view["status"] in ENDED, seconds=45)


async def test_nobody_pays_for_a_model_that_never_has_enough(stack: Stack, scene: Callable[..., Scene]) -> None:
    """At most 15 requests to the model and 30 calls of tools, in every way of wanting more."""

    async def used(name: str) -> tuple[str, str, int]:
        s = scene()
        message = f"Check every day since 1970 #{s.mark}"
        stack.model.agent(f"one of {s.mark}", looks(1))
        stack.model.agent(f"eight of {s.mark}", looks(8))
        stack.model.agent(f"bad of {s.mark}", lambda body: [{"tool": "weather.current", "args": "{"}])
        stack.model.script(message, *GREED[name](s))
        assistant_id = (await stack.start(message))["id"]
        view = await asked_or_ended(stack, assistant_id)
        calls = [shown for shown in (view["plan"] or {"steps": []})["steps"] if shown["started_at"]]
        assert [approval["kind"] for approval in view["approvals"]] in ([], ["budget"])
        return name, s.mark, len(calls)

    before = len(stack.model.requests)
    found = await asyncio.gather(*map(used, GREED))
    # nobody has decided anything so far, so these are all the requests there were
    requests = [json.dumps(request["messages"]) for request in stack.model.requests[before:]]
    sent = {name: sum(mark in request for request in requests) for name, mark, _ in found}
    assert {name: count for name, count in sent.items() if not 0 < count <= MOST_REQUESTS} == {}
    assert [(name, calls) for name, _, calls in found if calls > MOST_STEPS] == []
    await asyncio.gather(*[stopped(stack, mark) for _, mark, _ in found])


async def stopped(stack: Stack, mark: str) -> None:
    """The person wants no more."""
    listed = (await stack.http.get("/v1/assistants", params={"limit": 50})).json()["assistants"]
    for run in listed:
        if mark in run["message"] and run["status"] not in ENDED:
            await stack.http.post(f"/v1/assistants/{run['id']}/cancel")
