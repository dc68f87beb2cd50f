"""In which form a model answers in JSON is found out once, by a tiny request, when it first plans."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.contract import ModelsRequest, ReplyRequest
from activities.reasoning.known_forms import KnownForms
from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import OnDemand
from activities.reasoning.tools import ReasoningTools
from retinue.conversation import Message, Role
from retinue.errors import RetinueError
from retinue.store import Store
from retinue.testing import Answer, plan_answer
from tests.activities.reasoning.conftest import NOW, fixed_manifests, planning, store_at
from tests.activities.reasoning.endpoints import Endpoints, many_models
from tests.activities.reasoning.test_structured import FENCED, GOOD, NO_OBJECT, NO_SCHEMA, refused

KEPT = Answer('{"fruit": "kiwi"}')
OPENAI = refused(
    "Invalid schema for response_format 'probe': In context=(), 'required' is required to be supplied and to be an array "
    "including every key in properties. Missing 'note'."
)
LLAMA_CPP_PYTHON = refused(
    "body.response_format.type: Input should be 'text' or 'json_object', input 'json_schema'", 422
)
WORDS = Answer("A carrot.")
Make = Callable[..., ReasoningTools]


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        yield running


@pytest.fixture
async def make(endpoints: Endpoints, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes workers that share one database."""
    made: list[tuple[LanguageModel, OnDemand]] = []

    def one(folder: Path = tmp_path, **settings: Any) -> ReasoningTools:
        said = {"api_key": "k", "base_url": endpoints.url, "model": "m", "timeout": 5, "structured": "auto", **settings}
        address = f"sqlite+aiosqlite:///{folder}/reasoning.db"
        shared = OnDemand(Store(address, ReasoningBase.metadata, owner="reasoning", with_ledger=False).shared())
        made.append((LanguageModel(ReasoningSettings(**said), None, KnownForms(shared)), shared))
        return ReasoningTools(made[-1][0], fixed_manifests, store_at(tmp_path / "transcripts.db"))

    yield one
    for model, shared in made:
        await model.close()
        await shared.close()


def sent(endpoints: Endpoints) -> list[str]:
    """What was sent, request by request: a probe, or the form in which a plan was asked for."""
    return [_form(body) for body in endpoints.requests]


def _form(body: dict[str, Any]) -> str:
    asked = body.get("response_format", {})
    schema = asked.get("json_schema", {})
    if "vegetable" in body["messages"][-1]["content"]:
        return "probe"
    if schema:
        return "strict" if schema.get("strict") else "json_schema"
    return "json_object_schema" if "schema" in asked else str(asked.get("type", "prompt"))


FOUND: dict[str, tuple[list[Answer], list[str], str]] = {
    "a grammar": ([KEPT], ["probe", "json_schema"], "keeps to JSON schemas"),
    "strict mode": ([OPENAI], ["probe", "strict"], "strict mode"),
    "thoughts that were cut": ([Answer("", finish_reason="length")], ["probe", "json_schema"], "is not known"),
    "llama-cpp-python": ([LLAMA_CPP_PYTHON, KEPT], ["probe", "probe", "json_object_schema"], "beside the form"),
    "words, then a grammar": ([WORDS, KEPT], ["probe", "probe", "json_object_schema"], "beside the form"),
    "JSON of its own": ([WORDS, Answer('{"a": 1}')], ["probe", "probe", "json_object"], "but to JSON"),
    "no schemas": ([NO_SCHEMA, NO_OBJECT], ["probe", "probe", "json_object"], "takes no JSON schemas"),
    "words alone": ([WORDS, WORDS], ["probe", "probe", "prompt"], "ignores in which form"),
}


@pytest.mark.parametrize("name", FOUND)
async def test_a_plan_is_asked_for_as_the_model_can(endpoints: Endpoints, make: Make, name: str) -> None:
    answers, requests, words = FOUND[name]
    endpoints.says("m", *answers, GOOD)
    one = make()
    result = await one.plan(planning("hi"))
    assert result.plan is not None
    assert result.usage.requests == len(requests)
    assert sent(endpoints) == requests
    await one.plan(planning("hi"))
    await make().plan(planning("hi"))
    assert sent(endpoints) == [*requests, requests[-1], requests[-1]]
    [known] = (await one.models(ModelsRequest())).forms
    assert known.form == requests[-1]
    assert known.model.startswith("m@127.0.0.1")
    assert words in known.words


async def test_the_request_is_tiny_and_holds_nothing_of_the_person(endpoints: Endpoints, make: Make) -> None:
    endpoints.says("m", KEPT, GOOD)
    await make().plan(planning("my secret"))
    probe = json.dumps(endpoints.requests[0])
    assert "secret" not in probe
    assert len(probe) < 600
    assert endpoints.requests[0]["max_completion_tokens"] <= 300


@pytest.mark.parametrize(
    "answer",
    [Answer(status=401), Answer(status=500), Answer(status=429), refused("Unknown parameter: max_completion_tokens")],
)
async def test_what_says_nothing_about_the_form_is_not_kept(endpoints: Endpoints, make: Make, answer: Answer) -> None:
    endpoints.says("m", answer)
    with pytest.raises(RetinueError):
        await make().plan(planning("hi"))
    assert set(sent(endpoints)) == {"probe"}
    endpoints.says("m", KEPT, GOOD)
    assert (await make().plan(planning("hi"))).plan is not None
    assert sent(endpoints)[-2:] == ["probe", "json_schema"]


async def test_the_next_model_steps_in_where_the_first_does_not_answer_the_probe(
    endpoints: Endpoints, make: Make
) -> None:
    endpoints.says("m", Answer(status=500))
    endpoints.says("n", KEPT, GOOD)
    result = await make(model="m, n").plan(planning("hi"))
    assert result.plan is not None
    assert endpoints.order() == ["m", "n", "n"]
    assert "n answered instead of m" in result.usage.instead[0]


async def test_many_plans_at_once_ask_once(endpoints: Endpoints, make: Make) -> None:
    endpoints.says("m", KEPT, GOOD)
    one = make()
    await asyncio.gather(*[one.plan(planning(f"hi {number}")) for number in range(5)])
    assert sorted(sent(endpoints)) == ["json_schema"] * 5 + ["probe"]


async def test_after_a_week_it_is_asked_again(endpoints: Endpoints, make: Make, tmp_path: Path) -> None:
    endpoints.says("m", WORDS, WORDS, FENCED, KEPT, GOOD)
    await make().plan(planning("hi"))
    with sqlite3.connect(tmp_path / "reasoning.db") as database:
        database.execute("UPDATE answer_forms SET at = '2020-01-01 00:00:00.000000'")
    database.close()
    await make().plan(planning("hi"))
    assert sent(endpoints) == ["probe", "probe", "prompt", "probe", "json_schema"]


async def test_without_a_database_each_worker_asks_once(endpoints: Endpoints, make: Make) -> None:
    endpoints.says("m", KEPT, GOOD)
    one = make(Path("/dev/null"))
    await one.plan(planning("hi"))
    await one.plan(planning("hi"))
    assert sent(endpoints) == ["probe", "json_schema", "json_schema"]


async def test_a_text_needs_no_form(endpoints: Endpoints, make: Make) -> None:
    endpoints.says("m", Answer("Hello!"))
    said = [Message(role=Role.USER, text="hi")]
    await make().reply(ReplyRequest(messages=said, timezone="UTC", now=NOW, steps=[]))
    assert len(endpoints.requests) == 1


@pytest.mark.parametrize("form", ["strict", "json_schema", "json_object_schema", "json_object", "prompt"])
async def test_a_form_that_is_set_is_not_looked_for(endpoints: Endpoints, make: Make, form: str) -> None:
    endpoints.says("m", GOOD)
    assert (await make(structured=form).plan(planning("hi"))).plan is not None
    assert sent(endpoints) == [form]


async def test_a_refusal_of_what_was_found_out_is_learnt_by_all_workers(endpoints: Endpoints, make: Make) -> None:
    endpoints.says("m", KEPT, refused("json_schema: the grammar is too large"), FENCED)
    one = make()
    assert (await one.plan(planning("hi"))).plan is not None
    await make().plan(planning("hi"))
    assert sent(endpoints) == ["probe", "json_schema", "json_object", "json_object"]
    [known] = (await one.models(ModelsRequest())).forms
    assert known.words == "refuses JSON schemas"


async def test_a_strict_plan_that_leaves_arguments_out_by_null_runs(endpoints: Endpoints, make: Make) -> None:
    args = {"start": "2026-11-27T00:00:00+00:00", "end": "2026-11-28T00:00:00+00:00", "query": None, "starting": None}
    step = {"tool": "calendar.list_events", "id": "s1", "args": args, "depends_on": [], "why": ""}
    endpoints.says("m", OPENAI, plan_answer([step]))
    result = await make().plan(planning("hi"))
    assert result.plan is not None, result.refused
    assert result.plan.steps[0].args == {name: value for name, value in args.items() if value}
