"""Planning rounds: what the model is told of the steps so far, what their plans may say, and what a request costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.reasoning.contract import PlanRequest, Progress
from activities.reasoning.settings import ReasoningSettings
from retinue.testing import plan_answer
from tests.activities.reasoning.conftest import Bench, Make, planning
from tests.days import NEXT, SOON

LIST = {
    "id": "s1",
    "tool": "calendar.list_events",
    "args": {"start": f"{SOON}T00:00:00+00:00", "end": f"{NEXT}T00:00:00+00:00"},
}
SEEN = [
    Progress(id="s1", tool="calendar.list_events", status="completed", shape={"events": {"items": 2}}),
    Progress(id="s2", tool="email.send", status="rejected", error="not today"),
]


def later(word: str, **fields: Any) -> PlanRequest:
    return planning(word, round=2, last_round=False, may_be_empty=True, progress=SEEN, **fields)


def last_messages(bench: Bench, word: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = bench.model.requests_for(word)[-1]["messages"]
    return messages


async def test_a_first_round_holds_no_progress(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer(reply="x"))
    await bench.tools.plan(planning(word))
    assert [message["role"] for message in last_messages(bench, word)] == ["system", "system", "user"]


async def test_a_later_round_is_told_what_became_of_the_steps(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer())
    result = await bench.tools.plan(later(word))
    assert result.plan is not None
    assert (result.plan.steps, result.plan.final) == ([], True)
    message = last_messages(bench, word)[-1]
    assert message["role"] == "system"
    assert message["content"].startswith("Progress (JSON):\n[")
    steps, _ = json.JSONDecoder().raw_decode(message["content"].partition("\n")[2])
    assert steps == [
        {"id": "s1", "tool": "calendar.list_events", "status": "completed", "shape": {"events": {"items": 2}}},
        {"id": "s2", "tool": "email.send", "status": "rejected", "error": "not today"},
    ]


async def test_an_exhausted_script_ends_a_later_round(bench: Bench, word: str) -> None:
    bench.model.script(word)
    result = await bench.tools.plan(later(word))
    assert result.plan is not None
    assert result.plan.steps == []


async def test_steps_of_a_later_round_get_names_of_their_own_and_may_use_earlier_results(
    bench: Bench, word: str
) -> None:
    event = {"$from": "s1", "path": "/events/0/event_id"}
    delete = {"id": "s3", "tool": "calendar.delete_event", "args": {"event_id": event}}
    bench.model.script(word, plan_answer([delete], final=False))
    result = await bench.tools.plan(later(word))
    assert result.plan is not None, result.refused
    [step] = result.plan.steps
    assert (step.id, step.depends_on, result.plan.final) == ("2.s3", ["s1"], False)


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (plan_answer([LIST], final=False), "there is no further planning round"),
        (plan_answer([{**LIST, "depends_on": ["s9"]}]), "depends on s9"),
        (plan_answer([{"id": "s1", "agent": "bank", "goal": "get rich", "args": {}}]), "no agent 'bank'"),
    ],
)
async def test_what_a_last_round_may_not_say_is_refused(bench: Bench, word: str, plan: Any, problem: str) -> None:
    bench.model.script(word, plan)
    result = await bench.tools.plan(planning(word, round=3, progress=SEEN))
    assert result.refused is not None
    assert problem in " ".join(result.refused.problems)


async def test_refused_plans_stand_after_the_progress(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer([{**LIST, "tool": "no.tool"}]), plan_answer())
    refused = (await bench.tools.plan(later(word))).refused
    assert refused is not None
    await bench.tools.plan(later(word, refused=[refused]))
    roles = [message["role"] for message in last_messages(bench, word)]
    assert roles == ["system", "system", "user", "system", "assistant", "user"]


async def test_a_goal_is_bound_to_its_agent(bench: Bench, word: str) -> None:
    goal = {"id": "s1", "agent": "calendar", "goal": "Find a quiet day", "args": {"who": "Ana"}}
    bench.model.script(word, plan_answer([goal]))
    result = await bench.tools.plan(planning(word))
    assert result.plan is not None, result.refused
    [step] = result.plan.steps
    assert (step.agent, step.tool, step.args["goal"]) == (True, "calendar.agent", "Find a quiet day")


@pytest.mark.parametrize(("wanted", "bound"), [(True, True), (False, False)])
async def test_schemas_are_bound_when_asked_for(bench: Bench, word: str, wanted: bool, bound: bool) -> None:
    bench.model.script(word, plan_answer([LIST]))
    result = await bench.tools.plan(planning(word, with_schemas=wanted))
    assert result.plan is not None
    assert (result.plan.steps[0].args_schema is not None) is bound


async def test_usage_has_a_price(make: Make, word: str) -> None:
    """The scripted model reports ten tokens read and five written."""
    bench = make(price_input=100, price_output=1000)
    bench.model.script(word, plan_answer(reply="x"))
    assert (await bench.tools.plan(planning(word))).usage.cost == pytest.approx(0.006)


async def test_the_worst_call_is_told_when_asked_for(make: Make, word: str) -> None:
    bench = make(price_input=1, price_output=10, max_output_tokens=4000)
    bench.model.script(word, plan_answer(reply="x"), plan_answer(reply="x"))
    assert (await bench.tools.plan(planning(word))).worst_call is None
    worst = (await bench.tools.plan(planning(word, worst_case=True))).worst_call
    assert worst is not None
    size = sum(len(message["content"]) for message in last_messages(bench, word))
    assert (worst.requests, worst.output_tokens) == (1, 4000)
    assert worst.input_tokens == pytest.approx(size / 3, abs=len(last_messages(bench, word)) + 1)
    assert worst.cost == pytest.approx((worst.input_tokens + 40_000) / 1_000_000, abs=1e-6)


def test_each_agent_may_have_a_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_MODEL", "general")
    monkeypatch.setenv("CALENDAR_MODEL", "special")
    monkeypatch.setenv("MY_NOTES_MODEL", "tiny")
    monkeypatch.setenv("EMAIL_MODEL", "")
    settings = ReasoningSettings()
    models = [settings.models_of(agent)[0] for agent in ("calendar", "my-notes", "email", "weather")]
    assert models == ["special", "tiny", "general", "general"]
