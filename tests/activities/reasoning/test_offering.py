"""Which tools a plan's request offers where there are many: those that fit, those that were used, those asked for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import activities
from activities.reasoning import prompts
from activities.reasoning.contract import PlanRequest, Progress, RefusedPlan
from activities.reasoning.endpoint import tokens_of
from activities.reasoning.offering import Catalog, Offer
from activities.reasoning.settings import DEFAULT_TOOL_TOKENS
from activities.reasoning.signatures import section
from bench.many_tools import manifests, requests
from offline.signatures import tools_in
from retinue.bm25 import words
from retinue.capability import Manifest
from retinue.conversation import Message, Role
from retinue.errors import ServiceRefused
from retinue.testing import Answer, plan_answer

from .conftest import Bench, Make, planning
from .test_signatures import BUILT_IN

MANY = manifests()
CATALOG = Catalog(MANY)
EVERYTHING = Catalog([*MANY, *BUILT_IN])
TIGHT = 1500


def names(offer: Offer) -> set[str]:
    return {spec.name for spec in offer.tools}


def offer(text: str, *, budget: int = TIGHT, catalog: Catalog = CATALOG, **fields: Any) -> Offer:
    return catalog.offer(planning(text, **fields), budget=budget)


def prompt(request: PlanRequest, found: Offer) -> str:
    return "\n\n".join(message["content"] for message in prompts.for_plan(request, found))


def test_needed_tools_are_among_those_that_are_offered() -> None:
    """Of five hundred, for requests in people's own words, within the default budget: at least 98 of a hundred."""
    wanted = requests(MANY)
    needed = [(one.text, tool) for one in wanted for tool in one.tools]
    found = {one.text: names(offer(one.text, budget=DEFAULT_TOOL_TOKENS)) for one in wanted}
    missing = [(text, tool) for text, tool in needed if tool not in found[text]]
    assert (len(MANY), len(CATALOG.offer(planning("x")).tools), len(needed)) == (50, 500, 178)
    assert len(missing) <= len(needed) * 0.02, missing


@pytest.mark.parametrize("budget", [600, 1500, 6000])
def test_the_prompt_keeps_to_its_budget(budget: int) -> None:
    bare = tokens_of(prompts.for_plan(planning("Put on some jazz"), Offer([], [])))
    request = planning("Put on some jazz", needed=["banking", "invoices", "flights", "hotels"])
    told = tokens_of([{"content": prompt(request, CATALOG.offer(request, budget=budget))}])
    assert told - bare <= budget * 1.5 + 150  # half as many again for what was asked for; the words about it


def test_the_built_in_tools_are_all_listed_by_default() -> None:
    known = [activities.load(name).CONTRACT.manifest() for name in activities.folders()]
    assert Catalog(known).tokens <= DEFAULT_TOOL_TOKENS


def test_below_the_budget_all_tools_are_offered_in_one_order() -> None:
    found = Catalog(BUILT_IN).offer(planning("x"), budget=100_000)
    assert found.overview == ()
    assert names(found) == {spec.name for one in BUILT_IN for spec in one.tools if spec.plannable}
    assert prompts.MORE not in prompt(planning("x"), found)


def test_above_it_each_capability_has_a_line_and_some_tools_are_listed() -> None:
    found = offer("Put on some jazz")
    told = prompt(planning("Put on some jazz"), found)
    assert [line.partition(":")[0] for line in found.overview] == [one.name for one in MANY]
    assert prompts.MORE in told
    assert "\n- music.play_here(what) -> " in told
    assert "\n- taxes.add_declaration(" not in told


def test_what_fits_less_is_listed_in_brief() -> None:
    """The model without a key reads those lines too: their arguments, and no result."""
    found = offer("Put on some jazz")
    told = prompt(planning("Put on some jazz"), found)
    lines = {line for line in told.splitlines() if line.partition("(")[0].removeprefix("- ") in found.brief}
    assert len(lines) == len(found.brief) > 5
    assert [
        line for line in lines if not re.fullmatch(r"- [a-z_]+\.[a-z_]+\(.*\) # (reads|writes|destroys|sends)", line)
    ] == []
    assert set(tools_in(told)) == names(found)


def renamed(manifest: Manifest, number: int) -> Manifest:
    name = f"{manifest.name}{number}"
    tools = [spec.model_copy(update={"name": f"{name}.{spec.name.partition('.')[2]}"}) for spec in manifest.tools]
    return manifest.model_copy(update={"name": name, "tools": tools})


def test_with_very_many_capabilities_the_lines_are_bounded() -> None:
    many = [renamed(one, n) for n in range(20) for one in MANY]
    found = Catalog(many).offer(planning("Put on some jazz"), budget=TIGHT)
    assert tokens_of([{"content": "\n".join(found.overview)}]) <= TIGHT // 4 + 10
    assert found.overview[-1] == f"and {len(many) - len(found.overview) + 1} more"


def test_tools_of_steps_so_far_and_of_refused_plans_are_offered() -> None:
    progress = [Progress(id="s1", tool="taxes.get_declaration", status="completed")]
    answer = json.dumps({"steps": [{"id": "s1", "tool": "leave.days_left", "args": {}}]})
    refused = [RefusedPlan(answer=answer, problems=["step s1: what: missing"])]
    assert {"taxes.get_declaration", "leave.days_left"} <= names(
        offer("Put on some jazz", progress=progress, refused=refused)
    )


def test_writing_is_always_offered() -> None:
    assert {"reasoning.compose", "reasoning.extract"} <= names(offer("Put on some jazz", catalog=EVERYTHING))


def test_what_was_said_before_counts_too() -> None:
    before = Message(role=Role.USER, text="Where did I leave the car?")
    found = CATALOG.offer(planning("And how long may it stay there?"), [before], budget=TIGHT)
    assert "parking.find_car" in names(found)


@pytest.mark.parametrize(
    ("asked", "tools"),
    [
        ("taxes", {"taxes.find_declarations", "taxes.estimate_tax"}),
        ("leave.days_left", {"leave.days_left"}),
        ("compute how much food an animal gets", {"pets.feeding_plan"}),
        ("qqq", set()),
    ],
)
def test_what_the_model_asked_for_is_offered_behind_the_conversation(asked: str, tools: set[str]) -> None:
    request = planning("Put on some jazz", needed=[asked])
    found = CATALOG.offer(request, budget=TIGHT)
    first, *_, last = prompts.for_plan(request, found)
    assert tools <= names(found)
    assert tools <= {spec.name for spec in found.asked}
    assert last["content"].startswith(f"You asked for {json.dumps([asked])}.")
    assert ("No other tool fits." in last["content"]) == (not tools)
    assert first == prompts.for_plan(planning("Put on some jazz"), offer("Put on some jazz"))[0]


def test_words_lose_endings_and_accents() -> None:
    assert set(words("Scheduling scheduled Schedules")) == {"schedul"}
    assert list(words("Café listEvents 予定表")) == ["caf", "list", "event", "予定", "定表"]


async def many(max_age: float) -> list[Manifest]:
    return MANY


@pytest.fixture
def crowded(make: Make) -> Bench:
    """The reasoning tools with five hundred tools to plan with."""
    return make(many, tool_tokens=TIGHT)


STEP = {"id": "s1", "tool": "taxes.estimate_tax", "args": {"what": "this year"}}


async def test_a_model_asks_for_tools_and_gets_them(crowded: Bench, word: str) -> None:
    crowded.model.script(word, plan_answer(need=["taxes"]), plan_answer([STEP]))
    first = await crowded.tools.plan(planning(word, may_need=True))
    assert (first.plan, first.refused, first.need, first.lists_all) == (None, None, ["taxes"], False)
    second = await crowded.tools.plan(planning(word, needed=first.need, may_need=True))
    assert second.plan is not None
    told = crowded.model.requests_for(word)[-1]["messages"]
    assert "- taxes.estimate_tax(what) -> " in told[-1]["content"]


@pytest.mark.parametrize(
    ("fields", "answer", "problem"),
    [
        ({}, {"need": ["taxes"]}, "no further tools are listed"),
        ({"may_need": True, "needed": ["taxes"]}, {"need": ["taxes"]}, "no further tools are listed"),
        ({"may_need": True}, {"need": ["taxes"], "reply": "No."}, "not both"),
    ],
)
async def test_asking_for_tools_is_bounded(
    crowded: Bench, word: str, fields: dict[str, Any], answer: dict[str, Any], problem: str
) -> None:
    crowded.model.script(word, plan_answer(**answer))
    result = await crowded.tools.plan(planning(word, **fields))
    assert result.refused is not None
    assert problem in result.refused.problems[0]


async def test_where_all_tools_are_listed_no_others_are_asked_for(make: Make, word: str) -> None:
    async def few(max_age: float) -> list[Manifest]:
        return MANY[:1]

    bench = make(few)
    bench.model.script(word, plan_answer(need=["taxes"]))
    result = await bench.tools.plan(planning(word, may_need=True))
    assert result.refused is not None
    form = bench.model.requests_for(word)[-1]["response_format"]["json_schema"]["schema"]
    assert "need" not in form["properties"]


# --- rare tools, where everything fits

WHOLE = Catalog(BUILT_IN)


def test_the_seven_capabilities_that_every_installation_has_take_few_tokens() -> None:
    """2,495 of o200k_base on 2026-12-01, in 9,862 characters; their number is what a test can count without its package."""
    found = WHOLE.offer(planning("Hello"), budget=DEFAULT_TOOL_TOKENS)
    sections = (section(one, found.first(one), (), found.names(one)) for one in BUILT_IN if one.name != "memory")
    assert len("\n\n".join(sections)) <= 9_880


def test_what_is_the_same_for_every_request_stands_first() -> None:
    """Caches of prefixes hit, whatever was said, and whatever the model asked for."""
    said = ["Hello", "Save the attachment of Ana's mail", "When does the sun rise in Porto?"]
    found = [(planning(text), WHOLE.offer(planning(text), budget=DEFAULT_TOOL_TOKENS)) for text in said]
    asked = planning("Hello", needed=["tasks.skip"])
    found.append((asked, WHOLE.offer(asked, budget=DEFAULT_TOOL_TOKENS)))
    assert len({prompts.for_plan(request, one)[0]["content"] for request, one in found}) == 1


@pytest.mark.parametrize(
    ("text", "tool"),
    [(text, spec.name) for one in BUILT_IN for spec in one.tools if spec.rare for text in spec.examples[:3]],
)
def test_a_rare_tool_is_listed_in_full_for_what_it_serves(text: str, tool: str) -> None:
    found = WHOLE.offer(planning(text), budget=DEFAULT_TOOL_TOKENS)
    assert tool in {spec.name for spec in found.fitting}
    assert f"- {tool}(" in prompts.for_plan(planning(text), found)[1]["content"]


async def test_a_rare_tool_that_fits_nothing_said_is_named_and_asked_for(make: Make, word: str) -> None:
    async def built_in(max_age: float) -> list[Manifest]:
        return BUILT_IN

    bench = make(built_in)
    step = {"id": "s1", "tool": "weather.sun", "args": {"place": "Porto", "date": "2026-12-01"}}
    bench.model.script(word, plan_answer(need=["weather.sun"]), plan_answer([step]))
    first = await bench.tools.plan(planning(word, may_need=True))
    assert (first.need, first.lists_all) == (["weather.sun"], False)
    second = await bench.tools.plan(planning(word, needed=first.need, may_need=True))
    assert second.plan is not None
    before, after = ["\n".join(m["content"] for m in r["messages"]) for r in bench.model.requests_for(word)]
    assert ("Also: weather.sun" in before, "- weather.sun(" in before, "- weather.sun(" in after) == (True, False, True)


def test_a_rare_tool_that_was_used_stays_listed() -> None:
    done = Progress(id="s1", tool="tasks.skip", args={}, status="completed", result={})
    found = WHOLE.offer(planning("Thanks", progress=[done]), budget=DEFAULT_TOOL_TOKENS)
    assert "tasks.skip" in {spec.name for spec in found.fitting}


async def test_the_form_of_the_answer_names_what_is_offered(crowded: Bench, word: str) -> None:
    crowded.model.script(word, plan_answer(reply="x"))
    await crowded.tools.plan(planning(word, may_need=True))
    form = json.dumps(crowded.model.requests_for(word)[-1]["response_format"])
    shown = names(CATALOG.offer(planning(word), budget=TIGHT))
    assert {name for one in MANY for spec in one.tools if f'"{(name := spec.name)}"' in form} == shown
    assert '"need"' in form


async def test_a_tool_that_was_not_listed_is_taken_if_its_arguments_fit(crowded: Bench, word: str) -> None:
    wrong = {**STEP, "args": {"what": 7}}
    crowded.model.script(word, plan_answer([STEP]), plan_answer([wrong]), plan_answer([STEP]))
    assert (await crowded.tools.plan(planning(word))).plan is not None
    refused = (await crowded.tools.plan(planning(word))).refused
    assert refused is not None
    await crowded.tools.plan(planning(word, refused=[refused]))
    told = crowded.model.requests_for(word)[-1]["messages"]
    assert "- taxes.estimate_tax(what) -> " in told[0]["content"]
    assert '"taxes.estimate_tax": {"args": {"type": "object"' in told[-1]["content"]


SMALL = {"error": {"type": "exceed_context_size_error", "message": "exceeds the available context size", "n_ctx": 4096}}


async def test_a_model_that_reads_little_is_asked_with_fewer_tools_and_the_person_is_told(
    make: Make, word: str
) -> None:
    bench = make(many, max_input_tokens=4096)
    bench.model.script(word, plan_answer(reply="x"))
    result = await bench.tools.plan(planning(word))
    assert tokens_of(bench.model.requests_for(word)[-1]["messages"]) <= 4096 * 3 // 4
    assert result.notice.startswith("the language model reads 4096 tokens at once, so it planned without the tools of ")
    assert result.notice.endswith(" more")


async def test_a_model_that_refuses_the_length_is_asked_again_with_fewer_tools(make: Make, word: str) -> None:
    bench = make(many)
    bench.model.script(
        word, Answer(raw=json.dumps(SMALL).encode(), status=400), plan_answer(reply="x"), plan_answer(reply="y")
    )
    first = await bench.tools.plan(planning(word))
    second = await bench.tools.plan(planning(word))
    sizes = [tokens_of(request["messages"]) for request in bench.model.requests_for(word)]
    assert first.plan is not None
    assert first.usage.requests == 2
    assert sizes[0] > 4096 * 3 // 4 >= sizes[1] == sizes[2]
    assert first.notice == second.notice != ""


async def test_a_conversation_that_is_too_long_by_itself_is_refused_once(make: Make, word: str) -> None:
    bench = make(many)
    bench.model.script(word, Answer(raw=json.dumps(SMALL).encode(), status=400), plan_answer(reply="x"))
    with pytest.raises(ServiceRefused):
        await bench.tools.plan(planning(f"{word} {'x' * 20_000}"))
    assert len(bench.model.requests_for(word)) <= 1
