"""Our client against a server that others wrote (`node/`): the four requests, its faults, and changing the endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.contract import (
    CallOutcome,
    ComposeRequest,
    ConverseRequest,
    ConverseResult,
    ReplyRequest,
    StepReport,
)
from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.tools import ReasoningTools
from retinue.conversation import Message, Role, Transcript
from retinue.errors import CutAnswer, MalformedAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable
from tests.activities.reasoning.conftest import NOW, fixed_manifests, planning, store_at
from tests.activities.reasoning.independent import Independent, independent_model
from tests.days import NEXT, SOON

PLAN: dict[str, Any] = {
    "steps": [
        {
            "id": "s1",
            "tool": "calendar.list_events",
            "args": {"start": f"{SOON}T00:00:00+00:00", "end": f"{NEXT}T00:00:00+00:00"},
            "depends_on": [],
            "why": "to see the day",
        }
    ],
    "question": None,
    "reply": None,
    "final": True,
}
KEY = "sk-canary-0123456789"


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Independent]:
    assert request.config.cache
    with independent_model(request.config.cache.mkdir("independent-model")) as running:
        yield running


@pytest.fixture
def independent(server: Independent) -> Independent:
    server.reset()
    return server


Tools = Callable[..., ReasoningTools]


@pytest.fixture
async def tools(independent: Independent, tmp_path: Path) -> AsyncIterator[Tools]:
    made: list[tuple[LanguageModel, Any]] = []

    def one(**settings: Any) -> ReasoningTools:
        said = {"api_key": KEY, "base_url": independent.url, "model": "m", "timeout": 2, **settings}
        model, transcripts = LanguageModel(ReasoningSettings(**said)), store_at(tmp_path / "reasoning.db")
        made.append((model, transcripts))
        return ReasoningTools(model, fixed_manifests, transcripts)

    yield one
    for model, transcripts in made:
        await model.close()
        await transcripts.close()


def turn(key: str, after: ConverseResult | None = None, *outcomes: Any) -> ConverseRequest:
    calls = after.calls if after else []
    return ConverseRequest(
        agent="calendar",
        goal="What is on Friday?",
        timezone="Europe/Lisbon",
        now=NOW,
        transcript=Transcript(key=key, length=after.length if after else 0),
        outcomes=[CallOutcome(call_id=call.call_id, content=said) for call, said in zip(calls, outcomes, strict=True)],
    )


async def plan(tools: ReasoningTools) -> Any:
    return await tools.plan(planning("What is on Friday?"))


async def reply(tools: ReasoningTools) -> Any:
    return await tools.reply(
        ReplyRequest(
            messages=[Message(role=Role.USER, text="What is on Friday?")],
            timezone="Europe/Lisbon",
            now=NOW,
            steps=[StepReport(id="s1", tool="calendar.list_events", status="completed", result={"events": []})],
        )
    )


async def compose(tools: ReasoningTools) -> Any:
    return await tools.compose(ComposeRequest(instruction="Write a greeting"))


async def converse(tools: ReasoningTools) -> Any:
    return await tools.converse(turn("loop"))


REQUESTS: list[Callable[[ReasoningTools], Awaitable[Any]]] = [plan, reply, compose, converse]


async def test_a_plan(independent: Independent, tools: Tools) -> None:
    independent.answers({"responseFormat": "json_schema"}, {"content": json.dumps(PLAN)})
    result = await plan(tools(price_input=1))
    assert [step.tool for step in result.plan.steps] == ["calendar.list_events"]
    assert (result.usage.requests, result.usage.input_tokens > 0, result.usage.cost > 0) == (1, True, True)
    (body,) = independent.requests()
    assert body["response_format"]["json_schema"]["name"] == "plan"


@pytest.mark.parametrize("ask", [reply, compose])
async def test_a_text(independent: Independent, tools: Tools, ask: Any) -> None:
    independent.answers({"userMessage": f'"task": "{ask.__name__}"'}, {"content": "Nothing is on Friday."})
    result = await ask(tools())
    assert (result.text, result.usage.output_tokens > 0) == ("Nothing is on Friday.", True)


async def test_a_loop_of_an_agent(independent: Independent, tools: Tools) -> None:
    args = PLAN["steps"][0]["args"]
    calls = [{"name": "calendar__list_events", "arguments": json.dumps(args)}]
    independent.answers({"hasToolResult": False, "toolName": "calendar__list_events"}, {"toolCalls": calls})
    independent.answers({"hasToolResult": True, "toolCallId": "t1c1"}, {"content": "Nothing is on Friday."})
    one = tools()
    first = await one.converse(turn("loop"))
    assert [(call.tool, call.args) for call in first.calls] == [("calendar.list_events", args)]
    second = await one.converse(turn("loop", first, {"events": []}))
    assert (second.text, second.calls) == ("Nothing is on Friday.", [])


async def test_calls_that_cannot_be_read_go_back_once(independent: Independent, tools: Tools) -> None:
    broken = {"toolCalls": [{"name": "calendar__list_events", "arguments": "[1]"}]}
    independent.answers({"hasToolResult": False}, broken)
    independent.answers({"hasToolResult": True}, {"content": "Then without."})
    result = await converse(tools())
    assert (result.text, result.usage.requests) == ("Then without.", 2)


@pytest.mark.parametrize("ask", REQUESTS)
@pytest.mark.parametrize(
    ("chaos", "kind", "retryable"),
    [
        ({"rateLimitRate": 1}, ServiceBusy, True),
        ({"dropRate": 1}, ServiceUnavailable, True),
        ({"malformedRate": 1}, MalformedAnswer, True),
        ({"disconnectRate": 1}, ServiceUnavailable, True),
        ({"latencyMs": 5000}, ServiceUnavailable, True),
    ],
    ids=["429", "drop", "malformed", "disconnect", "slow"],
)
async def test_each_fault_of_each_request_is_typed_and_made_once(
    independent: Independent, tools: Tools, ask: Any, chaos: Any, kind: type[RetinueError], retryable: bool
) -> None:
    independent.answers({}, {"content": json.dumps(PLAN)})
    independent.chaos(**chaos)
    began = time.monotonic()
    with pytest.raises(RetinueError) as caught:
        await ask(tools())
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert time.monotonic() - began < 4
    assert "haos" not in caught.value.message
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("response", "kind", "outcome"),
    [
        (
            {"error": {"message": f"bad key {KEY}", "type": "authentication_error"}, "status": 401},
            ServiceRefused,
            "from second",
        ),
        ({"error": {"message": "no such model"}, "status": 404}, ServiceRefused, "from second"),
        ({"error": {"message": "x", "code": "context_length_exceeded"}, "status": 400}, ServiceRefused, "from second"),
        ({"error": {"message": "x", "code": "insufficient_quota"}, "status": 429}, ServiceRefused, "from second"),
        ({"error": {"message": "x"}, "status": 500}, ServiceUnavailable, "from second"),
        ({"error": {"message": "x"}, "status": 503}, ServiceUnavailable, "from second"),
        ({"content": "half a th", "finishReason": "length"}, CutAnswer, "CutAnswer"),
        ({"content": "withheld", "finishReason": "content_filter"}, CutAnswer, "CutAnswer"),
        ({"content": " "}, MalformedAnswer, "from second"),
    ],
)
async def test_each_refusal_is_typed_and_the_next_model_answers_where_it_may(
    independent: Independent, tools: Tools, response: Any, kind: type[RetinueError], outcome: str
) -> None:
    independent.answers({"model": "first"}, response)
    independent.answers({"model": "second"}, {"content": "from second"})
    with pytest.raises(kind) as caught:
        await compose(tools(model="first"))
    assert KEY not in repr(caught.value)
    assert await outcome_of(compose(tools(model="first, second"))) == outcome


async def outcome_of(asked: Awaitable[Any]) -> str:
    """The text, or the name of the error."""
    try:
        text: str = (await asked).text
    except RetinueError as error:
        return type(error).__name__
    return text


async def test_retry_after_is_read(independent: Independent, tools: Tools) -> None:
    independent.answers({}, {"error": {"message": "slow down"}, "status": 429, "retryAfter": 7})
    with pytest.raises(ServiceBusy) as caught:
        await compose(tools())
    assert caught.value.retry_after == 7


async def test_a_plan_from_an_endpoint_without_json_schema(independent: Independent, tools: Tools) -> None:
    refusal = {"error": {"message": "response_format is not supported", "code": "bad"}, "status": 400}
    independent.answers({"responseFormat": "json_schema"}, refusal)
    independent.answers({"responseFormat": "json_object"}, refusal)
    independent.answers({}, {"content": f"```json\n{json.dumps(PLAN)}\n```"})
    result = await plan(tools())
    assert ([step.id for step in result.plan.steps], result.usage.requests) == (["s1"], 3)


@pytest.mark.parametrize(
    "section",
    [
        'base_url = "{url}"\nmodel = "openai/gpt"',
        'base_url = "{url}"\nmodel = "meta/llama"\ntoken_limit = "max_tokens"',
        'base_url = "{url}"\nmodel = "Qwen/Qwen3"\napi_key_env = "SOME_MODEL_KEY"',
        'base_url = "{url}"\nmodel = "qwen3"\ntoken_limit = "max_tokens"\nstructured = "json_object"',
    ],
    ids=["openai", "nim", "vllm", "ollama"],
)
async def test_one_switch_changes_the_endpoint(
    independent: Independent, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    """The sections of docs/models.md, with this server's address: plan, answer and agent work with each."""
    monkeypatch.setenv("SOME_MODEL_KEY", KEY)
    file = tmp_path / "models.toml"
    file.write_text("[models.it]\n" + section.replace("{url}", independent.url))
    independent.answers({"userMessage": "reply"}, {"content": "Nothing."})
    independent.answers({}, {"content": json.dumps(PLAN)})
    one = tools(model="it", models=file)
    assert (await plan(one)).plan.steps[0].id == "s1"
    assert (await reply(one)).text == "Nothing."
    assert (await converse(one)).text == json.dumps(PLAN)
    assert len({body["model"] for body in independent.requests()}) == 1
