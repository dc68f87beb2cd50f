"""An A2A agent in a plan through the front door: its worker is a process of its own, started by configuration alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from retinue.settings import ROOT
from retinue.testing import plan_answer, serving
from tests.activities.a2a.agent_server import POISON, Travel, card, lives_at, served
from tests.activities.mcp.web_server import TOKEN, Door
from tests.conftest import Stack, pending, steps

Fresh = Callable[[str], str]


@dataclass
class Served:
    """An agent that `python -m workers NAME` serves."""

    name: str
    travel: Travel
    door: Door

    def ask(self, message: str, step_id: str = "s1", **args: Any) -> dict[str, Any]:
        return {"id": step_id, "tool": f"{self.name}.ask", "args": {"message": message, **args}}


@pytest.fixture(scope="module")
async def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    name, folder = f"travel-{uuid.uuid4().hex[:6]}", tmp_path_factory.mktemp("travel")
    travel, shown = Travel(secret=TOKEN), card()
    door = Door(served(travel, shown), to=b"SendMessage")
    async with serving(door) as url:
        lives_at(shown, url)
        entry = {"url": url, "headers": {"Authorization": "Bearer ${TRAVEL_TOKEN}"}, "timeout_seconds": 5}
        (folder / "a2a.json").write_text(json.dumps({"agents": {name: entry}}))
        environment = {
            "RETINUE_A2A_CONFIG": str(folder / "a2a.json"),
            "TRAVEL_TOKEN": TOKEN,
            f"{name.upper().replace('-', '_')}_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/travel.db",
        }
        with (folder / "worker.log").open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220  # it is to outlive this line, and starting takes no time
                [sys.executable, "-P", "-m", "workers", name],
                cwd=ROOT,
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )
        try:
            async with asyncio.timeout(50):
                while name not in (await stack.http.get("/v1/capabilities")).text:  # noqa: ASYNC110  # it has no event
                    await asyncio.sleep(0.1)
            yield Served(name, travel, door)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)
            for handler in travel.handlers:
                await handler.aclose()
    log = (folder / "worker.log").read_text()
    assert TOKEN not in log
    assert "evil.example" not in log


@pytest.fixture
def agent(shared: Served) -> Served:
    shared.travel.received.clear()
    return shared


async def test_a_message_leaves_the_house_after_a_yes_and_a_question_comes_back(
    stack: Stack, fresh: Fresh, agent: Served
) -> None:
    message = fresh("Book a train")
    plan = [agent.ask("ask me"), agent.ask("book Monday", "s2", task_id={"$from": "s1", "path": "/task_id"})]
    stack.model.script(message, plan_answer(plan))
    view = await stack.asked((await stack.start(message))["id"])
    assert agent.travel.received == []
    [asked] = pending(view)
    assert (asked["tool"], asked["args"]) == (f"{agent.name}.ask", {"message": "ask me"})
    assert {"it reaches other people or systems", "it cannot be undone"} <= set(asked["reasons"])
    await stack.decide(view)
    view = await stack.until(view["id"], lambda v: [one["step_id"] for one in pending(v)] == ["s2"])
    assert (steps(view)["s1"]["result"]["state"], agent.travel.received) == ("input-required", ["ask me"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert (view["status"], steps(view)["s2"]["result"]["text"]) == ("completed", "booked Monday")
    assert agent.travel.received == ["ask me", "book Monday"]


async def test_what_is_refused_is_not_sent(stack: Stack, fresh: Fresh, agent: Served) -> None:
    message = fresh("Book a train")
    stack.model.script(message, plan_answer([agent.ask("book Ghent")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view, "reject")
    view = await stack.ended(view["id"])
    assert (steps(view)["s1"]["status"], agent.travel.received) == ("rejected", [])


async def test_what_nobody_can_tell_is_asked_and_only_a_yes_repeats_it(
    stack: Stack, fresh: Fresh, agent: Served
) -> None:
    """An agent that answers without a task lists nothing that could be found."""
    message = fresh("Say hello")
    agent.door.misbehave(swallow=True)
    stack.model.script(message, plan_answer([agent.ask("hello")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.until(view["id"], lambda v: [asked["kind"] for asked in pending(v)] == ["repeat"])
    assert agent.travel.received == ["hello"]
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert (view["status"], steps(view)["s1"]["result"]["text"]) == ("completed", "hello yourself")
    assert agent.travel.received == ["hello"] * 2


async def test_a_run_that_is_stopped_stops_the_agents_task(stack: Stack, fresh: Fresh, agent: Served) -> None:
    message = fresh("Wait for it")
    stack.model.script(message, plan_answer([agent.ask("wait")]))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    async with asyncio.timeout(30):
        while not agent.travel.received:  # noqa: ASYNC110  # the agent is another program
            await asyncio.sleep(0.05)
        await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})
        while not agent.travel.stopped:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.05)
    view = await stack.ended(view["id"])
    assert (view["status"], agent.travel.received) == ("cancelled", ["wait"])


async def test_what_the_agent_says_never_enters_planning(stack: Stack, fresh: Fresh, agent: Served) -> None:
    message = fresh("Ask it")
    stack.model.script(message, plan_answer([agent.ask("lie")], final=False), plan_answer([], reply="It answered."))
    view = await stack.asked((await stack.start(message))["id"])
    await stack.decide(view)
    view = await stack.ended(view["id"])
    assert steps(view)["s1"]["result"]["text"] == f"{POISON} [secret]"
    planned = [request for request in stack.model.requests_for(message) if "response_format" in request]
    assert len(planned) == 2
    assert POISON not in json.dumps(planned)
