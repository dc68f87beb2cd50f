"""What failed calls of models use is counted like all other use: exactly where the endpoint counts, else estimated; never twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.reasoning.contract import ComposeRequest, ReplyRequest, UsedSoFar
from retinue.activity_adapter import build_activities
from retinue.conversation import Usage
from retinue.testing import Answer, activities_by_name, plan_answer
from tests.activities.reasoning.conftest import NOW, Bench, Make, planning
from tests.activities.reasoning.endpoints import Endpoints, many_models
from tests.activities.reasoning.test_turns import turn
from tests.conftest import Stack

LONG = {"prompt_tokens": 15_000, "completion_tokens": 560, "total_tokens": 15_560}
PLAN = planning("Hi").model_dump(mode="json")
COMPOSE = ComposeRequest(instruction="x" * 300).model_dump(mode="json")


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        yield running


@pytest.fixture
def alone(make: Make, endpoints: Endpoints) -> Bench:
    """The tools with one model, `one`, that costs a unit per thousand tokens read."""
    return make(base_url=endpoints.url, model="one", timeout=2, price_input=1000)


def completion(text: str, usage: Any = None, finish_reason: str = "stop") -> Answer:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Answer(raw=json.dumps(body).encode())


async def run(bench: Bench, tool: str, arguments: dict[str, Any], before: Usage | None = None) -> dict[str, Any]:
    """The activity as a worker runs it, after attempts that used so much."""
    environment = ActivityEnvironment()
    if before:
        details = [UsedSoFar(used_so_far=before).model_dump(mode="json")]
        environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    result: dict[str, Any] = await environment.run(activities_by_name(build_activities(bench.tools))[tool], arguments)
    return result


async def lost(bench: Bench, tool: str, arguments: dict[str, Any], before: Usage | None = None) -> Usage:
    """What a failed attempt says that was used."""
    with pytest.raises(ApplicationError) as caught:
        await run(bench, tool, arguments, before)
    [detail] = caught.value.details
    return UsedSoFar.model_validate(detail).used_so_far


async def test_a_cut_plan_costs_what_the_endpoint_says(alone: Bench, endpoints: Endpoints) -> None:
    endpoints.says("one", completion("{", LONG, "length"))
    used = await lost(alone, "reasoning.plan", PLAN)
    assert (used.requests, used.input_tokens, used.output_tokens, used.cost) == (1, 15_000, 560, 15)
    assert (used.estimated_tokens, used.models["one"].input_tokens) == (0, 15_000)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "?"}, {"prompt_tokens": 0, "completion_tokens": 0}])
async def test_what_an_endpoint_does_not_count_is_estimated_and_marked(
    alone: Bench, endpoints: Endpoints, usage: Any
) -> None:
    endpoints.says("one", completion("y" * 90, usage))
    used = Usage.model_validate((await run(alone, "reasoning.compose", COMPOSE))["usage"])
    assert used.output_tokens == 30
    assert 100 < used.input_tokens < 2000
    assert used.estimated_tokens == used.input_tokens + used.output_tokens
    assert used.cost == pytest.approx(used.input_tokens / 1000)


async def test_a_count_of_the_endpoint_is_not_estimated_beside_it(alone: Bench, endpoints: Endpoints) -> None:
    endpoints.says("one", completion("y" * 90, {"prompt_tokens": 7}))
    used = Usage.model_validate((await run(alone, "reasoning.compose", COMPOSE))["usage"])
    assert (used.input_tokens, used.output_tokens, used.estimated_tokens) == (7, 30, 30)


@pytest.mark.parametrize(
    ("answer", "estimated"),
    [
        (Answer("late", delay=4), True),
        (Answer(status=504), True),
        (Answer(raw=b"<html>", headers={"Content-Type": "text/html"}), True),
        (Answer(status=500), False),
        (Answer(status=401), False),
        (Answer(status=429), False),
    ],
)
async def test_a_request_without_an_answer_counts_and_what_was_sent_where_it_may_have_been_read(
    alone: Bench, endpoints: Endpoints, answer: Answer, estimated: bool
) -> None:
    endpoints.says("one", answer)
    used = await lost(alone, "reasoning.plan", PLAN)
    assert used.requests == 1
    assert (used.input_tokens > 500) is estimated
    assert used.estimated_tokens == used.input_tokens


async def test_a_model_that_is_not_there_uses_nothing(make: Make) -> None:
    used = await lost(make(base_url="http://127.0.0.1:9/v1", timeout=2), "reasoning.plan", PLAN)
    assert (used.requests, used.input_tokens) == (1, 0)


async def test_what_was_streamed_before_it_broke_off_counts(
    make: Make, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request is the one in which all of it is asked for at once."""

    async def pieces() -> AsyncIterator[str]:
        yield "x" * 300

    endpoints.says(
        "one",
        Answer(pieces=pieces, finish_reason=""),
        completion("Hello", {"prompt_tokens": 10, "completion_tokens": 5}),
    )
    request = ReplyRequest(messages=[], timezone="UTC", now=NOW, steps=[]).model_dump(mode="json")
    used = Usage.model_validate(
        (await run(make(base_url=endpoints.url, model="one"), "reasoning.reply", request))["usage"]
    )
    assert (used.requests, used.output_tokens) == (2, 105)
    assert used.estimated_tokens == used.input_tokens - 10 + 100


async def test_the_attempts_before_count_once(alone: Bench, endpoints: Endpoints) -> None:
    before = Usage(requests=2, input_tokens=100, output_tokens=10)
    endpoints.says("one", completion("{", LONG, "length"))
    used = await lost(alone, "reasoning.plan", PLAN, before)
    assert (used.requests, used.input_tokens, used.output_tokens) == (3, 15_100, 570)
    endpoints.says("one", completion("Hello", {"prompt_tokens": 10, "completion_tokens": 5}))
    told = Usage.model_validate((await run(alone, "reasoning.compose", COMPOSE, before))["usage"])
    assert (told.requests, told.input_tokens, told.output_tokens) == (3, 110, 15)


async def test_a_turn_that_an_earlier_attempt_answered_is_not_paid_again(bench: Bench, word: str) -> None:
    bench.model.agent(word, "ok")
    request = turn(word).model_dump(mode="json")
    first = Usage.model_validate((await run(bench, "reasoning.converse", request))["usage"])
    again = Usage.model_validate((await run(bench, "reasoning.converse", request, first))["usage"])
    assert (first.requests, first.input_tokens) == (again.requests, again.input_tokens) == (1, 10)


async def test_calls_that_stay_unusable_count_both_requests(bench: Bench, word: str) -> None:
    broken = [{"tool": "calendar.list_events", "args": "[]"}]
    bench.model.agent(word, broken, broken)
    used = await lost(bench, "reasoning.converse", turn(word).model_dump(mode="json"))
    assert (used.requests, used.input_tokens, used.output_tokens) == (2, 20, 10)


# --- through the front door, where Temporal makes the attempts


@pytest.mark.parametrize(
    ("answers", "status", "requests", "tokens"),
    [
        ([Answer("{", finish_reason="length")], "failed", 1, 15),
        ([Answer(""), Answer(""), plan_answer(reply="Hello!")], "completed", 3, 45),
        ([Answer("")] * 4, "failed", 4, 60),
        (
            [
                Answer(
                    "",
                ),
                Answer("{"),
                Answer(""),
                Answer("{", finish_reason="length"),
            ],
            "failed",
            4,
            60,
        ),
    ],
)
async def test_the_view_counts_every_attempt_once(
    stack: Stack, fresh: Any, answers: list[Answer], status: str, requests: int, tokens: int
) -> None:
    message = fresh("Hi")
    stack.model.script(message, *answers)
    view = await stack.ended((await stack.start(message, budget={"tokens": 1000, "requests": 20}))["id"])
    used = view["usage"]
    assert (view["status"], used["requests"], used["input_tokens"] + used["output_tokens"]) == (
        status,
        requests,
        tokens,
    )
    assert (view["budget"]["used"]["requests"], view["budget"]["used"]["tokens"]) == (requests, tokens)


async def test_a_failed_step_of_writing_counts(stack: Stack, fresh: Any) -> None:
    message, instruction = fresh("Write"), fresh("a poem")
    stack.model.script(
        message, plan_answer([{"id": "s1", "tool": "reasoning.compose", "args": {"instruction": instruction}}])
    )
    stack.model.composed[instruction] = Answer("Ro", finish_reason="length")
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["usage"]["requests"], view["usage"]["input_tokens"]) == (4, 40)  # plan, poem, plan, answer


async def test_a_failed_turn_of_an_agent_counts(stack: Stack, fresh: Any) -> None:
    message, goal = fresh("Find out"), fresh("look it up")
    stack.model.script(message, plan_answer([{"id": "s1", "agent": "calendar", "goal": goal}]))
    stack.model.agent(goal, Answer("Ro", finish_reason="length"))
    view = await stack.ended((await stack.start(message))["id"])
    assert (view["usage"]["requests"], view["usage"]["input_tokens"]) == (4, 40)  # plan, turn, plan, answer
