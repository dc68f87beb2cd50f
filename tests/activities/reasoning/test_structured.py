"""Plans from endpoints of every kind: JSON by schema, JSON without one, and JSON that is only asked for in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import ReasoningSettings, Structured
from activities.reasoning.structured import asked_less, json_in
from activities.reasoning.tools import ReasoningTools
from retinue.errors import MalformedAnswer, ServiceRefused
from retinue.testing import Answer, plan_answer
from tests.activities.reasoning.conftest import fixed_manifests, planning, store_at
from tests.activities.reasoning.endpoints import Endpoints, many_models

GOOD = plan_answer(reply="Hello!")
FENCED = Answer(f"Here it is:\n```json\n{GOOD.text}\n```")


def refused(text: str, status: int = 400) -> Answer:
    return Answer(status=status, raw=json.dumps({"error": {"message": text}}).encode())


NO_SCHEMA = refused("response_format.type `json_schema` is not supported by this model")
NO_OBJECT = refused("response_format of type json_object is not available")


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        yield running


@pytest.fixture
async def tools(endpoints: Endpoints, tmp_path: Path) -> AsyncIterator[Any]:
    made: list[LanguageModel] = []

    def one(**settings: Any) -> ReasoningTools:
        model = LanguageModel(ReasoningSettings(api_key="k", base_url=endpoints.url, model="m", timeout=5, **settings))
        made.append(model)
        return ReasoningTools(model, fixed_manifests, store_at(tmp_path / "reasoning.db"))

    yield one
    for model in made:
        await model.close()


def forms(endpoints: Endpoints) -> list[str]:
    """In which form JSON was asked for, request by request."""
    return [body.get("response_format", {"type": "words alone"})["type"] for body in endpoints.requests]


@pytest.mark.parametrize(
    ("structured", "form", "in_words"),
    [
        ("json_schema", "json_schema", False),
        ("strict", "json_schema", False),
        ("json_object", "json_object", True),
        ("prompt", "words alone", True),
    ],
)
async def test_each_form_gives_a_plan(
    endpoints: Endpoints, tools: Any, structured: str, form: str, in_words: bool
) -> None:
    endpoints.says("m", GOOD)
    result = await tools(structured=structured).plan(planning("hi"))
    assert result.plan.reply == "Hello!"
    assert forms(endpoints) == [form]
    assert ("Its JSON schema:" in endpoints.requests[0]["messages"][0]["content"]) is in_words
    assert [message["role"] for message in endpoints.requests[0]["messages"]] == ["system", "system", "user"]


async def test_an_endpoint_that_refuses_a_form_is_asked_by_the_next_one_and_that_is_kept(
    endpoints: Endpoints, tools: Any
) -> None:
    endpoints.says("m", NO_SCHEMA, NO_OBJECT, FENCED)
    one = tools()
    assert (await one.plan(planning("hi"))).plan.reply == "Hello!"
    assert (await one.plan(planning("hi"))).plan.reply == "Hello!"
    assert forms(endpoints) == ["json_schema", "json_object", "words alone", "words alone"]


async def test_the_last_form_is_followed_by_none(endpoints: Endpoints, tools: Any) -> None:
    endpoints.says("m", NO_SCHEMA)
    with pytest.raises(ServiceRefused):
        await tools().plan(planning("hi"))
    assert forms(endpoints) == ["json_schema", "json_object", "words alone"]


async def test_strict_comes_down_through_every_form_within_four_requests(endpoints: Endpoints, tools: Any) -> None:
    endpoints.says("m", NO_SCHEMA, NO_SCHEMA, NO_OBJECT, FENCED)
    assert (await tools(structured="strict").plan(planning("hi"))).plan.reply == "Hello!"
    assert len(endpoints.requests) == 4


@pytest.mark.parametrize(
    "text", ["Unknown parameter: max_completion_tokens", "This model's maximum context length is 8"]
)
async def test_another_refusal_lowers_no_form(endpoints: Endpoints, tools: Any, text: str) -> None:
    endpoints.says("m", refused(text))
    with pytest.raises(ServiceRefused) as caught:
        await tools().plan(planning("hi"))
    assert set(forms(endpoints)) == {"json_schema"}
    assert len(forms(endpoints)) <= 2, "what is too long is planned once more with fewer tools"
    assert text not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_the_bound_of_an_answer_has_the_name_that_the_endpoint_knows(
    endpoints: Endpoints, tools: Any, limit: str
) -> None:
    endpoints.says("m", GOOD)
    await tools(token_limit=limit, max_output_tokens=77).plan(planning("hi"))
    body = endpoints.requests[0]
    assert {name: body.get(name) for name in ("max_tokens", "max_completion_tokens") if name in body} == {limit: 77}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        'Sure:\n```json\n{"a": 1}\n```\nAnything else?',
        '```\n{"a": 1}\n```',
        'Here is the plan: {"a": 1} I hope that it helps.',
        '<think>first {"b": 2}, then ...</think>\n{"a": 1}',
        '<think>{"b": 2}</think>\n```json\n{"a": 1}\n```',
    ],
)
def test_the_one_object_of_an_answer_is_found(text: str) -> None:
    assert json.loads(json_in(text)) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no object",
        'either {"a": 1} or {"a": 2}',
        '```json\n{"a": 1}\n```\nor\n```json\n{"a": 2}\n```',
        'cut off: {"a": [1, 2',
        "x " + '{"a":' * 50_000,
    ],
)
def test_what_is_not_one_object_is_refused(text: str) -> None:
    with pytest.raises(MalformedAnswer):
        json_in(text)


async def test_two_objects_go_back_to_the_model_with_the_reason(endpoints: Endpoints, tools: Any) -> None:
    endpoints.says("m", Answer(f"{GOOD.text}\n{GOOD.text}"))
    result = await tools(structured="prompt").plan(planning("hi"))
    assert (result.plan, bool(result.refused.problems)) == (None, True)


def test_each_form_asks_less_than_the_one_before() -> None:
    less = {form: asked_less(form) for form in Structured}
    assert less == {
        Structured.STRICT: Structured.JSON_SCHEMA,
        Structured.JSON_SCHEMA: Structured.JSON_OBJECT,
        Structured.OBJECT_SCHEMA: Structured.JSON_OBJECT,
        Structured.JSON_OBJECT: Structured.PROMPT,
        Structured.PROMPT: None,
        Structured.AUTO: None,
    }
