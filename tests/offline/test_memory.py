"""What a person says of themselves, and what the rules do with what is remembered of them."""

import json
from datetime import time
from typing import Any

import pytest

from offline.answers import complete
from offline.planner.memory_steps import working_hours
from offline.protocol import ChatRequest
from retinue.capability import Manifest
from retinue.plan import check, parse

from .conftest import planning_messages

HOME = {"kind": "home_place", "text": "Lisbon"}
HOURS = {"kind": "working_hours", "text": "8:30 to 4"}
HOW = "The person had this remembered."


def plan(agents: list[dict[str, Any]], manifests: list[Manifest], say: str, *facts: dict[str, str]) -> dict[str, Any]:
    first, *others = planning_messages(agents, say)
    block = {"role": "system", "content": f"Remembered (JSON):\n{json.dumps(facts)}\n\n{HOW}"}
    request = {"model": "offline", "messages": [first, *([block] if facts else []), *others]}
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    text = complete(ChatRequest.model_validate({**request, "response_format": wanted})).text
    assert check(parse(text), manifests) == []
    found: dict[str, Any] = json.loads(text)
    return found


def steps(found: dict[str, Any]) -> list[list[Any]]:
    return [[step["tool"], step["args"]] for step in found["steps"]]


@pytest.mark.parametrize(
    ("say", "kind", "text"),
    [
        ("I live in Lisbon", "home_place", "Lisbon"),
        ("I live in São Paulo.", "home_place", "São Paulo"),
        ("Please remember that I live in Porto", "home_place", "Porto"),
        ("my home is Lisbon", "home_place", "Lisbon"),
        ("I work 9 to 5", "working_hours", "9 to 5"),
        ("I work from 8:30 to 16:00", "working_hours", "8:30 to 16:00"),
        ("My working hours are 9am to 5pm", "working_hours", "9am to 5pm"),
        ("By Ana I mean Ana Sousa", "alias", "By Ana I mean Ana Sousa"),
        ("I prefer window seats", "preference", "I prefer window seats"),
        ("Remember that my passport expires in May", "fact", "my passport expires in May"),
        ("Remember: no meetings before 9", "fact", "no meetings before 9"),
    ],
)
def test_what_is_said_of_oneself_is_remembered_in_the_same_words(
    agents: list[dict[str, Any]], manifests: list[Manifest], say: str, kind: str, text: str
) -> None:
    assert steps(plan(agents, manifests, say)) == [["memory.remember", {"text": text, "kind": kind}]]


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        ("What do you remember about me?", [["memory.list", {}]]),
        ("Do you remember my shoe size?", [["memory.search", {"query": "my shoe size"}]]),
        ("Forget everything you know about me", [["memory.forget_all", {}]]),
        ("Forget where I live", [["memory.forget_all", {"kind": "home_place"}]]),
        (
            "Forget my shoe size",
            [
                ["memory.search", {"query": "my shoe size"}],
                ["memory.forget", {"fact_id": {"$from": "s1", "path": "/match/fact_id"}}],
            ],
        ),
    ],
)
def test_what_is_remembered_is_listed_and_forgotten(
    agents: list[dict[str, Any]], manifests: list[Manifest], say: str, expected: list[Any]
) -> None:
    assert steps(plan(agents, manifests, say)) == expected


@pytest.mark.parametrize(
    "say", ["Remember to buy milk", "I work on the budget tomorrow at 9", "Remind me that Ana calls tomorrow at 9"]
)
def test_other_statements_are_not_remembered(agents: list[dict[str, Any]], manifests: list[Manifest], say: str) -> None:
    assert "memory.remember" not in str(steps(plan(agents, manifests, say)))


def test_the_weather_without_a_place_is_that_at_home(agents: list[dict[str, Any]], manifests: list[Manifest]) -> None:
    day = {"start": "2026-11-23", "end": "2026-11-23"}
    assert plan(agents, manifests, "What's the weather tomorrow?")["question"] == "For which place?"
    at_home = plan(agents, manifests, "What's the weather tomorrow?", HOME)
    assert steps(at_home) == [["weather.forecast", {"place": "Lisbon", **day}]]
    elsewhere = plan(agents, manifests, "What's the weather in Oslo tomorrow?", HOME)
    assert steps(elsewhere) == [["weather.forecast", {"place": "Oslo", **day}]]


def test_home_is_a_place_only_where_it_is_known(agents: list[dict[str, Any]], manifests: list[Manifest]) -> None:
    say = "What's the weather at home tomorrow?"
    assert plan(agents, manifests, say)["question"] == "For which place?"
    [[tool, args]] = steps(plan(agents, manifests, say, HOME))
    assert (tool, args["place"]) == ("weather.forecast", "Lisbon")


def test_free_time_is_sought_within_the_working_hours(agents: list[dict[str, Any]], manifests: list[Manifest]) -> None:
    [[_, usual]] = steps(plan(agents, manifests, "Find a free hour tomorrow"))
    assert (usual["start"], usual["end"]) == ("2026-11-23T09:00:00+01:00", "2026-11-23T17:00:00+01:00")
    [[_, mine]] = steps(plan(agents, manifests, "Find a free hour tomorrow", HOURS))
    assert (mine["start"], mine["end"]) == ("2026-11-23T08:30:00+01:00", "2026-11-23T16:00:00+01:00")
    [[_, named]] = steps(plan(agents, manifests, "Find a free hour tomorrow afternoon", HOURS))
    assert named["start"] == "2026-11-23T12:00:00+01:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9 to 5", (time(9), time(17))),
        ("9am-5:30pm", (time(9), time(17, 30))),
        ("from 10 until 18:00", (time(10), time(18))),
        ("9 am to 11 am", (time(9), time(11))),
        ("22 to 6", None),
        ("in the morning", None),
        ("25 to 30", None),
        ("9", None),
    ],
)
def test_hours_that_are_not_clear_are_none(text: str, expected: tuple[time, time] | None) -> None:
    assert working_hours(text) == expected


@pytest.mark.parametrize(
    "content", ["Remembered (JSON):\nnonsense", 'Remembered (JSON):\n{"a": 1}', "Remembered (JSON):"]
)
def test_a_broken_list_of_facts_is_none(agents: list[dict[str, Any]], content: str) -> None:
    messages = [*planning_messages(agents, "What's the weather tomorrow?"), {"role": "system", "content": content}]
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    request = {"model": "offline", "messages": messages, "response_format": wanted}
    assert json.loads(complete(ChatRequest.model_validate(request)).text)["question"] == "For which place?"
