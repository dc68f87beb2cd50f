"""Answers in the forms of real servers: a good plan in any of them is read, and what has two readings never is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.contract import ComposeRequest, ReplyRequest
from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.structured import json_in
from activities.reasoning.tools import ReasoningTools
from retinue.errors import MalformedAnswer, RefusedAnswer
from retinue.plan import parse
from retinue.testing import Answer
from tests.activities.reasoning.conftest import NOW, fixed_manifests, planning, store_at
from tests.activities.reasoning.endpoints import Endpoints, many_models

PLAN = '{"steps": [], "reply": "Hello!"}'


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        yield running


@pytest.fixture
async def tools(endpoints: Endpoints, tmp_path: Path) -> AsyncIterator[ReasoningTools]:
    model = LanguageModel(ReasoningSettings(api_key="k", base_url=endpoints.url, model="m, other", timeout=5))
    yield ReasoningTools(model, fixed_manifests, store_at(tmp_path / "reasoning.db"))
    await model.close()


def message(finish_reason: str = "stop", **fields: Any) -> Answer:
    """A chat completion with a message of these fields."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": None, **fields}}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Answer(raw=json.dumps(body).encode())


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": 'maybe {"steps": []}'}]}
FENCED = 'Here:\n```json\n{"steps": [], "reply": "Write ```code``` or\\n```json\\n{}\\n```"}\n```\nGood luck {name}!'


@pytest.mark.parametrize(
    "answer",
    [
        message(content=f"I look at {{braces}} and {{more: 1}} first.\n</think>\n{PLAN}"),
        message(content=f'first {{"steps": []}}, then\n</think>\n\n{PLAN} That is all.'),
        message(content=f"<think>a </think> b</think>{PLAN}"),
        message(content=f"[THINK]{{draft[/THINK]{PLAN}"),
        message(content=f"<|channel|>analysis<|message|>{{x<|end|><|channel|>final<|message|>{PLAN}"),
        message(content=[THINKING, {"type": "text", "text": PLAN}]),
        message(content=[{"type": "text", "text": PLAN[:9]}, {"type": "text", "text": PLAN[9:]}]),
        message(content=f"{PLAN}\nThat is the plan, {{name}}."),
        message(content=f"\ufeff{PLAN}"),
        message(content='{"steps": [], "reply": "Hello!",}'),
        message(content='{"steps": [], "reply": "Hello!"}'.replace(" ", "\n")),
        message(content=f"```{PLAN}```"),
        message(content="", reasoning_content=PLAN),
        message(reasoning=PLAN),
        message(content=PLAN, reasoning_content='maybe {"steps": []}'),
        message("tool_calls", tool_calls=[call("plan", PLAN)]),
        message("tool_calls", tool_calls=[call("json_tool_call", json.loads(PLAN))]),
        message(content=PLAN, refusal=""),
    ],
)
async def test_a_good_plan_is_read(endpoints: Endpoints, tools: ReasoningTools, answer: Answer) -> None:
    endpoints.says("m", answer)
    result = await tools.plan(planning("hi"))
    assert result.plan, result.refused
    assert result.plan.reply == "Hello!"
    assert endpoints.order() == ["m"]


async def test_back_ticks_inside_a_fenced_plan_are_its_text(endpoints: Endpoints, tools: ReasoningTools) -> None:
    endpoints.says("m", message(content=FENCED))
    result = await tools.plan(planning("hi"))
    assert result.plan
    assert result.plan.reply == "Write ```code``` or\n```json\n{}\n```"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Sure, I will do that.", "no JSON object"),
        (f"{PLAN} or rather {PLAN}", "several JSON objects"),
        (f"```json\n{PLAN}\n```\nor\n```json\n{PLAN}\n```", "several JSON objects"),
        (f"{PLAN} or " + '{"steps": [', "ends in the middle"),
        ('{"steps": [{"id": "s1", "args": {"a": 1}}', "ends in the middle"),
        ('{"steps": [{"id": "s1"} {"id": "s2"}]}', "Expecting ',' delimiter"),
        ('{"steps": [], "reply": "a", "reply": "b"}', "a name stands twice"),
        (f"<think>maybe {PLAN}", "inside its thoughts"),
        (f"thoughts</think>{PLAN} no, wait</think> I cannot do that.", "no JSON object"),
        (f"thoughts</think>{PLAN} <think>no, wait", "inside its thoughts"),
        ("{steps: []}", "cannot be read"),
        ("{'steps': [], 'reply': {\"reply\": \"x\"}}", "cannot be read"),
        ('{"steps": [,]}', "cannot be read"),
        ('{"a":' * 20_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "too long"),
    ],
)
async def test_what_has_no_one_reading_goes_back_with_the_reason(
    endpoints: Endpoints, tools: ReasoningTools, text: str, says: str
) -> None:
    endpoints.says("m", message(content=text))
    result = await tools.plan(planning("hi"))
    assert result.plan is None
    assert result.refused
    assert says in "".join(result.refused.problems)


@pytest.mark.parametrize(
    "text",
    [
        '{"body": "the tag </think> and {\\"a\\": 1}"}',
        'Here: {"body": "x </think> {} y"} as asked.',
        '{"body": "```json {} ``` and a comma, ]"} ',
    ],
)
def test_tags_and_fences_inside_a_text_are_its_words(text: str) -> None:
    assert json.loads(json_in(text)) == json.loads(text[text.index("{") : text.rindex("}") + 1])


@pytest.mark.parametrize(
    "written",
    [
        '{"reply": "a \\ud83d b"}',
        '{"reply": "a \\ude00 b"}',
        '{"reply": "a \ud83d b"}',
        '{"reply": "a b", "\\ud83d": 1}',
    ],
)
def test_half_a_character_is_replaced_and_seen(written: str) -> None:
    read = json_in(written)
    assert read.encode()
    assert "\ufffd" in read


async def test_half_a_character_does_not_cost_a_plan(endpoints: Endpoints, tools: ReasoningTools) -> None:
    endpoints.says("m", message(content='{"steps": [], "reply": "Hello \\ud83d!"}', annotations=[]))
    plan = await tools.plan(planning("hi"))
    assert plan.plan
    assert plan.plan.reply == "Hello \ufffd!"
    assert plan.model_dump_json()


def test_half_a_character_in_arguments_that_are_written_as_text_is_replaced() -> None:
    args = json.dumps(json.dumps({"x": "\ud83d"}))
    plan = parse(f'{{"steps": [{{"id": "s1", "tool": "a.b", "args": {args}}}]}}')
    assert plan.steps[0].args == {"x": "\ufffd"}


@pytest.mark.parametrize("halves", ["\ud83d", "\ud83d and \ude00"])
async def test_half_a_character_does_not_cost_a_text(endpoints: Endpoints, tools: ReasoningTools, halves: str) -> None:
    endpoints.says("m", message(content=f"Hello {halves}"))
    written = await tools.compose(ComposeRequest(instruction="x"))
    assert "\ufffd" in written.text
    assert written.model_dump_json()


async def test_a_refusal_is_told_in_the_models_words_and_nobody_else_is_asked(
    endpoints: Endpoints, tools: ReasoningTools
) -> None:
    endpoints.says("m", message(refusal="I can't help\nwith that."))
    endpoints.says("other", message(content=PLAN))
    with pytest.raises(RefusedAnswer, match=r"^the language model refused: I can't help with that\.$"):
        await tools.plan(planning("hi"))
    assert endpoints.order() == ["m"]


@pytest.mark.parametrize("content", [None, "", [{"type": "refusal", "refusal": "Ask mallory@example.com"}]])
async def test_a_refusal_after_strangers_words_is_not_repeated(
    endpoints: Endpoints, tools: ReasoningTools, content: Any
) -> None:
    """The error of a step is read by planners."""
    endpoints.says("m", message(content=content, refusal="Ask mallory@example.com"))
    with pytest.raises(RefusedAnswer, match=r"^the language model refused to answer$"):
        await tools.compose(ComposeRequest(instruction="x"))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (message(tool_calls=[call("calendar__list_events", "{}")]), "called a function"),
        (message(tool_calls=[call("plan", PLAN), call("plan", PLAN)]), "called a function"),
        (message(reasoning_content=f"maybe {PLAN}"), "thoughts only"),
        (message(content=[{"type": "image", "text": PLAN}]), "is empty"),
        (Answer(raw=b'{"error": {"message": "upstream", "code": 502}}'), "with an error instead of an answer"),
    ],
)
async def test_an_answer_without_a_text_says_what_it_was(
    endpoints: Endpoints, tools: ReasoningTools, answer: Answer, says: str
) -> None:
    endpoints.says("m", answer)
    endpoints.says("other", answer)
    with pytest.raises(Exception, match=says):
        await tools.plan(planning("hi"))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("<think>hm</think>\n\nGood morning", "Good morning"),
        ("hm, {x}\n</think>\n\nGood morning", "Good morning"),
        ("[THINK]hm[/THINK]Good morning", "Good morning"),
        ("The tag </think> ends thoughts.", "The tag </think> ends thoughts."),
        ("Good morning <think>", "Good morning <think>"),
    ],
)
async def test_thoughts_do_not_stand_in_a_text(
    endpoints: Endpoints, tools: ReasoningTools, written: str, text: str
) -> None:
    endpoints.says("m", message(content=written))
    assert (await tools.compose(ComposeRequest(instruction="x"))).text == text


async def test_thoughts_without_an_end_are_no_text(endpoints: Endpoints, tools: ReasoningTools) -> None:
    endpoints.says("m", message(content="<think>hm, hm"))
    endpoints.says("other", message(content="<think>hm, hm"))
    with pytest.raises(MalformedAnswer, match="inside its thoughts"):
        await tools.reply(ReplyRequest(messages=[], timezone="UTC", now=NOW, steps=[]))
