"""What models were used for, phase by phase: in the view, in the receipt, on the page and in the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from cli.render import phase_words
from retinue.client.models import Usage
from retinue.conversation import ModelUse, Phase
from retinue.conversation import Usage as Used
from retinue.testing import plan_answer
from tests.conftest import Stack

READ = {"instruction": "", "inputs": "at ten", "fields": [{"name": "start", "kind": "text"}]}
USED = ("requests", "input_tokens", "output_tokens", "cost", "seconds")


@pytest.fixture
async def done(stack: Stack, fresh: Any) -> dict[str, Any]:
    """A run that plans, reads a value, delegates, composes and answers."""
    message, goal, reading = fresh("Do it all"), fresh("Find a day"), fresh("the time")
    plan = [
        {"id": "s1", "tool": "reasoning.extract", "args": {**READ, "instruction": reading}},
        {"id": "s2", "agent": "calendar", "goal": goal},
        {"id": "s3", "tool": "reasoning.compose", "args": {"instruction": "Write", "inputs": 1}, "depends_on": ["s2"]},
    ]
    stack.model.script(message, plan_answer([{"id": "s9", "tool": "no.tool"}]), plan_answer(plan))
    stack.model.extraction(reading, {"start": "ten"})
    stack.model.agent(goal, "Friday is free.")
    return await stack.ended((await stack.start(message))["id"])


async def test_the_view_says_what_each_phase_used(done: dict[str, Any]) -> None:
    usage = done["usage"]
    requests = {name: use["requests"] for name, use in usage["phases"].items()}
    assert requests == {"planning": 2, "extraction": 1, "agents": 1, "composing": 1, "reply": 1}
    for name in USED:
        assert sum(use[name] for use in usage["phases"].values()) == pytest.approx(usage[name], abs=0.01)
        assert sum(use[name] for use in usage["models"].values()) == pytest.approx(usage[name], abs=0.01)
    assert min(use["seconds"] for use in usage["phases"].values()) > 0


async def test_what_was_used_stays_out_of_what_models_read(stack: Stack, done: dict[str, Any]) -> None:
    reply = stack.model.requests_for(done["message"])[-1]
    assert "composed: 1" in str(reply["messages"])
    assert "input_tokens" not in str(reply["messages"])


async def test_receipt_page_and_terminal_say_it_in_words(stack: Stack, done: dict[str, Any]) -> None:
    place = f"/v1/assistants/{done['id']}/receipt"
    receipt = (await stack.http.get(place)).json()
    assert receipt["usage"]["phases"] == done["usage"]["phases"]
    text = (await stack.http.get(place, headers={"Accept": "text/plain"})).text
    assert "  - planning: 2 requests, 30 tokens, " in text
    phases = Usage.model_validate(done["usage"]).phases
    assert phase_words(phases).startswith("planning 2 requests, 30 tokens, ")
    assert "; reply 1 request, 15 tokens, " in phase_words(phases)


def test_usage_of_an_older_run_has_no_phases_and_adds_up() -> None:
    old = Used.model_validate({"requests": 1, "input_tokens": 3})
    new = Used.of({"m": ModelUse(requests=1, cost=0.5, seconds=1.5)}, phase=Phase.REPLY)
    both = old + new
    assert (both.requests, both.seconds, both.phases) == (2, 1.5, {"reply": new.models["m"]})
