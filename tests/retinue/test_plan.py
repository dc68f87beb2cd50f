"""What a plan must be before anything runs, and how references are followed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.reasoning.contract import Reasoning
from bench.many_tools import manifests
from retinue.errors import BrokenReference, MalformedAnswer
from retinue.json_values import cut
from retinue.plan import MAX_STEPS, bind, check, check_args, parse, pointer, references, resolve

MANIFESTS = [capability.manifest() for capability in (Calendar, Contacts, Email, Reasoning)]


def step(step_id: str = "s1", tool: str = "contacts.list", *after: str, **args: Any) -> dict[str, Any]:
    return {"id": step_id, "tool": tool, "args": args, "depends_on": list(after)}


def problems(*steps: dict[str, Any], **fields: Any) -> list[str]:
    return check(parse(json.dumps({"steps": steps, **fields})), MANIFESTS)


DAY = {"start": "2026-12-01T00:00:00+00:00", "end": "2026-12-02T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([step(tool="bank.transfer")], "there is no tool 'bank.transfer'"),
        ([step(tool="reasoning.plan")], "there is no tool 'reasoning.plan'"),
        ([step("s1", "contacts.list", "s2"), step("s2", "contacts.list", "s1")], "wait for each other in a circle"),
        ([step("s1", "contacts.list", "s1")], "wait for each other in a circle"),
        ([step("s1", "contacts.list", "s7")], "depends on s7, which is no step of this plan"),
        ([step(), step()], "two steps have the id s1"),
        ([step(tool="contacts.find")], "'name' is a required property"),
        ([step(tool="contacts.find", name="A", nickname="B")], "'nickname' was unexpected"),
        ([step(tool="contacts.find", name=7)], "7 is not of type 'string'"),
        ([step(tool="calendar.list_events", start="tomorrow", end=DAY["end"])], "is not a 'date-time'"),
        ([step(tool="calendar.list_events", start="2026-12-01T00:00:00", end=DAY["end"])], "is not a 'date-time'"),
        ([step(tool="contacts.find", name={"$from": "s9", "path": ""})], "depends on s9"),
        (
            [step(), step("s2", "contacts.find", name={"$from": "s1", "path": "/people"})],
            "is not a field of the result",
        ),
        ([{**step(), "args": {"$from": "s1"}}], "not all of them"),
        ([step(tool="email.send", to=["a@example.com"], subject="x", body="y" * 70_000)], "larger than 64 KiB"),
        ([step(f"s{number}") for number in range(MAX_STEPS + 1)], "at most 100 are allowed"),
        ([{"id": "s1", "agent": "bank", "goal": "tidy up"}], "there is no agent 'bank'"),
        ([], "no steps, no question and no reply"),
    ],
)
def test_what_may_not_run_is_told_in_words_for_the_model(steps: list[dict[str, Any]], problem: str) -> None:
    assert problem in "; ".join(problems(*steps))


def test_a_plan_that_may_run_has_no_problems() -> None:
    find = step("s1", "contacts.find", name="Ana")
    to = {"$from": "s1", "path": "/match/email"}
    send = step("s2", "email.send", to=[to], subject="Hi", body="Hello")
    assert problems(find, send) == []
    assert bind(parse(json.dumps({"steps": [find, send]})), MANIFESTS).steps[1].depends_on == ["s1"]


@pytest.mark.parametrize(
    "text", ["", "no", "[]", '{"steps": 7}', '{"steps": [{"id": "s 1"}]}', '{"steps": [], "extra": 1}', "[" * 5000]
)
def test_what_is_no_plan_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(MalformedAnswer):
        parse(text)


def test_arguments_may_be_json_text() -> None:
    """Providers with strict schemas cannot express a free object."""
    plan = parse(json.dumps({"steps": [{"id": "s1", "tool": "contacts.find", "args": '{"name": "Ana"}'}]}))
    assert plan.steps[0].args == {"name": "Ana"}


RESULT: Any = {"events": [{"start": "9:00", "a/b": 1, "c~d": 2}], "match": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [("", RESULT), ("/events/0/start", "9:00"), ("/events/0/a~1b", 1), ("/events/0/c~0d", 2), ("/match", None)],
)
def test_a_pointer_leads_to_its_value(path: str, value: Any) -> None:
    assert pointer(RESULT, path) == value


@pytest.mark.parametrize(
    "path", ["/match/email", "/events/1", "/events/-1", "/events/x", "/nothing", "events", "/events/²"]
)
def test_a_pointer_to_nothing_is_a_broken_reference(path: str) -> None:
    with pytest.raises(BrokenReference, match="s1"):
        resolve([{"deep": {"$from": "s1", "path": path}}], {"s1": RESULT})


def test_references_are_found_and_resolved_at_any_depth() -> None:
    value: Any = {"a": [{"$from": "s1", "path": "/events/0/start"}, {"b": {"$from": "s1"}}], "c": "plain"}
    assert list(references(value)) == [("s1", "/events/0/start"), ("s1", "")]
    assert resolve(value, {"s1": RESULT}) == {"a": ["9:00", {"b": RESULT}], "c": "plain"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"x": {"pattern": "("}}}, "cannot be used"),
        ({"properties": {"x": {"$ref": "#/$defs/no"}}}, "refers to something that is not in it"),
    ],
)
def test_a_schema_that_cannot_be_used_is_a_problem_not_a_crash(schema: dict[str, Any], words: str) -> None:
    assert words in "; ".join(check_args({"x": "y"}, schema))


@pytest.mark.parametrize(("multiple", "value"), [(10**400, 1.5), (0.5, 10**400)])
def test_a_number_beyond_all_measure_is_a_problem_not_a_crash(multiple: float, value: float) -> None:
    schema = {"properties": {"x": {"type": "number", "multipleOf": multiple}}}
    assert "cannot be used" in "; ".join(check_args({"x": value}, schema))


def test_what_is_cut_says_so() -> None:
    assert cut("short", 100) == "short"
    assert "[cut: 1002 characters in all]" in str(cut("x" * 1000, 100))


def test_of_many_tools_an_unknown_one_is_told_the_nearest() -> None:
    found = check(parse(json.dumps({"steps": [step(tool="garden.add_plants")]})), manifests())
    assert found == [
        "step s1: there is no tool 'garden.add_plants'; the nearest of 500 are garden.add_plant, garden.find_plants, "
        "garden.get_plant, garden.update_plant, garden.remove_plant"
    ]
