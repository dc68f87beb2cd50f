"""The planning request: how long it is, what comes first in it, and which schemas a repair shows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from activities.reasoning import prompts
from activities.reasoning.contract import PlanRequest, RefusedPlan
from activities.reasoning.offering import offered
from retinue.conversation import Message, Role
from retinue.testing import plan_answer

from .conftest import NOW
from .test_signatures import BUILT_IN, PLANNABLE

LONGEST_TOOL = 310
"""Characters on average, its share of what is said of the capability included; about 78 tokens."""


def request(text: str = "Hello", **fields: Any) -> PlanRequest:
    said = {"messages": [Message(role=Role.USER, text=text)], "timezone": "Europe/Lisbon", "now": NOW, **fields}
    return PlanRequest.model_validate(said)


def messages(asked: PlanRequest) -> list[dict[str, str]]:
    return prompts.for_plan(asked, offered(asked, BUILT_IN))


def test_the_built_in_tools_are_short() -> None:
    tools = messages(request())[0]["content"].partition(prompts.TOOLS)[2]
    assert len(tools) / len(PLANNABLE) <= LONGEST_TOOL
    assert "anyOf" not in tools


def test_what_never_changes_comes_first_and_what_was_said_last() -> None:
    one = messages(request("Hello"))
    other = messages(request("Good evening", now=NOW + timedelta(hours=5), timezone="Asia/Tokyo", round=2))
    assert one[0] == other[0]
    assert [message["role"] for message in one] == ["system", "system", "user"]
    assert one[-1]["content"] == "Hello"


def repair(answer: str, *problems: str) -> str:
    """The message that asks for another plan."""
    return messages(request(refused=[RefusedPlan(answer=answer, problems=list(problems))]))[-1]["content"]


LIST = {"id": "s1", "tool": "calendar.list_events", "args": {}}
DELETE = {"id": "s2", "tool": "calendar.delete_event", "args": {"event_id": {"$from": "s1", "path": "/event"}}}
PLAN = json.dumps({"steps": [LIST, DELETE], "question": None, "reply": None, "final": True})


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ("step s1: start: 'start' is a required property", {"calendar.list_events": ["args"]}),
        ("step s2: '/event' is not a field of the result of s1", {"calendar.list_events": ["result"]}),
        ("step s2: event_id: 7 is not of type 'string'", {"calendar.delete_event": ["args"]}),
        ("step s9: there is no tool 'x'", None),
        ("the steps s1, s2 wait for each other in a circle", None),
    ],
)
def test_a_repair_shows_the_schemas_of_the_tools_in_question_only(problem: str, shown: dict[str, Any] | None) -> None:
    told = repair(PLAN, problem)
    head, found, schemas = told.partition(f"\n{prompts.SCHEMAS}\n")
    assert head == f"Plan refused:\n- {problem}\n{prompts.MEND}"
    assert bool(found) == (shown is not None)
    assert {name: list(parts) for name, parts in json.loads(schemas or "{}").items()} == (shown or {})


def test_the_schema_in_a_repair_is_the_full_one() -> None:
    [spec] = [spec for spec in PLANNABLE if spec.name == "calendar.list_events"]
    schemas = repair(PLAN, "step s1: start: 7 is not of type 'string'").partition(f"{prompts.SCHEMAS}\n")[2]
    assert json.loads(schemas)["calendar.list_events"]["args"] == spec.args_schema


@pytest.mark.parametrize("answer", ["no JSON", "{", "", str(plan_answer(reply="x"))])
def test_an_answer_without_steps_is_repaired_without_schemas(answer: str) -> None:
    assert prompts.SCHEMAS not in repair(answer, "step s1: start: wrong")


def test_schemas_in_a_repair_are_bounded() -> None:
    steps = [{"id": f"s{n}", "tool": spec.name, "args": {}} for n, spec in enumerate(PLANNABLE)]
    answer = json.dumps({"steps": steps, "question": None, "reply": None, "final": True})
    told = repair(answer, *(f"step s{n}: wrong" for n in range(len(PLANNABLE))))
    assert prompts.SCHEMAS in told
    assert len(told.encode()) < 20_000
