"""Forms, words and pictures, without a browser."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import activities
from console import words
from console.forms import Kind, Unreadable, arguments, fields
from console.graph import HEIGHT, WIDTH, layout
from console.rendering import with_links
from retinue.capability import ToolSpec
from retinue.text import clip, safe

TOOLS = {spec.name: spec for name in activities.folders() for spec in activities.load(name).CONTRACT.manifest().tools}
NESTED: dict[str, Any] = {
    "type": "object",
    "required": ["who", "count"],
    "$defs": {"Person": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    "properties": {
        "who": {"$ref": "#/$defs/Person"},
        "count": {"type": "integer"},
        "share": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "loud": {"type": "boolean"},
        "size": {"enum": ["small", "large"]},
        "to": {"type": "array", "items": {"type": "string"}},
        "rows": {"type": "array", "items": {"type": "object"}},
        "a/b~c": {"type": "string"},
    },
}
ARGS: dict[str, Any] = {
    "who": {"name": "Ana"},
    "count": 3,
    "share": 0.5,
    "loud": True,
    "size": "small",
    "to": ["a@example.com", "b@example.com"],
    "rows": [{"x": 1}],
    "a/b~c": "odd",
}


def sent(schema: dict[str, Any], args: dict[str, Any], **changed: str | None) -> dict[str, str]:
    """What a browser sends of the form; boxes that are not ticked are left out."""
    filled = {one.name: one.value for one in fields(schema, args) if one.kind is not Kind.YES_NO or one.value}
    filled |= {name: value for name, value in changed.items() if value is not None}
    return {name: value for name, value in filled.items() if changed.get(name, "") is not None}


def test_every_kind_of_value_has_its_field() -> None:
    kinds = {one.name: one.kind for one in fields(NESTED, ARGS)}
    assert kinds == {
        "/who/name": Kind.TEXT,
        "/count": Kind.WHOLE,
        "/share": Kind.NUMBER,
        "/loud": Kind.YES_NO,
        "/size": Kind.CHOICE,
        "/to": Kind.LINES,
        "/rows": Kind.JSON,
        "/a~1b~0c": Kind.TEXT,
    }


def test_a_form_that_is_sent_as_it_came_changes_nothing() -> None:
    assert arguments(NESTED, ARGS, sent(NESTED, ARGS)) == ARGS


@pytest.mark.parametrize("spec", TOOLS.values(), ids=TOOLS)
def test_the_form_of_each_tool_that_is_sent_as_it_came_changes_nothing(spec: ToolSpec) -> None:
    args = {name: _value(spec.args_schema, own) for name, own in spec.args_schema.get("properties", {}).items()}
    assert arguments(spec.args_schema, args, sent(dict(spec.args_schema), args)) == args
    assert arguments(spec.args_schema, {}, sent(dict(spec.args_schema), {})) in ({}, _unticked(spec))


def _unticked(spec: ToolSpec) -> dict[str, Any]:
    return {one.name[1:]: False for one in fields(spec.args_schema, {}) if one.kind is Kind.YES_NO}


def _value(root: Any, schema: Any) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _value(root, schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _value(root, own) for name, own in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_value(root, schema.get("items", {}))]
    return {"integer": 2, "number": 1.5, "boolean": True}.get(schema.get("type"), "a line\nand another")


def test_what_was_changed_is_what_comes_out() -> None:
    changed = {"/who/name": "Ben", "/count": "4", "/loud": None, "/to": " c@example.com \n\n", "/rows": '[{"x": 2}]'}
    assert arguments(NESTED, ARGS, sent(NESTED, ARGS, **changed)) == ARGS | {
        "who": {"name": "Ben"},
        "count": 4,
        "loud": False,
        "to": ["c@example.com"],
        "rows": [{"x": 2}],
    }


def test_what_need_not_be_there_goes_when_it_is_emptied() -> None:
    assert "share" not in arguments(NESTED, ARGS, sent(NESTED, ARGS, **{"/share": " "}))


@pytest.mark.parametrize(("name", "text"), [("/count", "many"), ("/count", "1.5"), ("/share", "x"), ("/rows", "[{")])
def test_what_cannot_be_read_is_said_beside_its_field(name: str, text: str) -> None:
    with pytest.raises(Unreadable) as raised:
        arguments(NESTED, ARGS, sent(NESTED, ARGS, **{name: text}))
    assert list(raised.value.errors) == [name]


def test_several_forms_in_one_keep_apart() -> None:
    form = {one.name: one.value for at in ("/s1", "/s2") for one in fields(NESTED, ARGS, at=at)}
    form["/s2/count"] = "9"
    assert arguments(NESTED, ARGS, form, at="/s1")["count"] == 3
    assert arguments(NESTED, ARGS, form, at="/s2")["count"] == 9
    assert {one.label for one in fields(NESTED, ARGS, at="/s1")} == {one.label for one in fields(NESTED, ARGS)}


@pytest.mark.parametrize(
    ("often", "at", "cron", "said"),
    [
        ("*", "07:30", "30 7 * * *", "Every day at 07:30"),
        ("1-5", "00:05", "5 0 * * 1-5", "Monday to Friday at 00:05"),
        ("0", "23:59", "59 23 * * 0", "Every Sunday at 23:59"),
        ("month", "09:00", "0 9 1 * *", "On the first of each month at 09:00"),
        ("cron", "09:00", "*/5 * * * *", "*/5 * * * *"),
        ("cron", "09:00", "0 9 2 1 *", "0 9 2 1 *"),
    ],
)
def test_when_something_runs_is_said_in_words(often: str, at: str, cron: str, said: str) -> None:
    assert words.cron(often, at, other=cron) == cron
    assert words.when_runs(cron) == said


def test_moments_are_on_the_persons_clock_also_over_a_change_of_it() -> None:
    berlin, now = words.zone("Europe%2FBerlin"), datetime(2026, 10, 25, 12, tzinfo=UTC)
    assert words.moment(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), berlin, now=now) == "02:30"
    assert words.moment(datetime(2026, 10, 25, 1, 30, tzinfo=UTC), berlin, now=now) == "02:30"
    assert words.moment(now + timedelta(days=1), berlin, now=now) == "Mon 13:00"
    assert words.moment(now + timedelta(days=40), berlin, now=now) == "4 Dec 13:00"
    assert words.moment(now + timedelta(days=400), berlin, now=now) == "29 Nov 2027 13:00"
    assert str(words.zone("../../etc/passwd")) == "UTC"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.5, "9.5 s"), (12, "12 s"), (185, "3 min 5 s"), (7200, "2 h"), (90000, "1 d 1 h")],
)
def test_lengths_of_time_are_short(seconds: float, said: str) -> None:
    assert words.lasting(seconds) == said


def test_links_are_made_of_web_addresses_alone() -> None:
    text = "See https://a.example/x. Or javascript:alert(1), https://user:pw@b.example/, http://[::1/ and https://c.example"
    assert [(part.url, part.host) for part in with_links(text) if part.url] == [
        ("https://a.example/x", "a.example"),
        ("https://c.example", "c.example"),
    ]
    assert "".join(part.text for part in with_links(text)) == text


def test_characters_that_turn_or_hide_text_are_seen() -> None:
    assert safe("a\u202eb\u200bc\x07d\ne") == "a<U+202E>b<U+200B>c\u2407d\ne"
    assert clip("one two", 6) == "one t…"


@dataclass
class Step:
    """A step of a plan."""

    id: str
    depends_on: list[str] = field(default_factory=list)
    parent: str | None = None


def overlap(steps: list[Step]) -> bool:
    nodes = layout(steps).nodes
    return any(
        abs(one.x - other.x) < WIDTH and abs(one.y - other.y) < HEIGHT
        for index, one in enumerate(nodes)
        for other in nodes[index + 1 :]
    )


def test_what_can_run_at_the_same_time_stands_one_below_the_other() -> None:
    drawn = layout([Step("a"), Step("b"), Step("c", ["a", "b"]), Step("d", ["c"]), Step("e", parent="a")])
    columns = {node.id: node.x for node in drawn.nodes}
    assert columns["a"] == columns["b"] < columns["c"] == columns["e"] < columns["d"]
    assert {(line.start, line.end) for line in drawn.lines} == {("a", "c"), ("b", "c"), ("c", "d"), ("a", "e")}


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Step("a")],
        [Step(f"s{number}") for number in range(60)],
        [Step(f"s{number}", [f"s{number - 1}"] if number else []) for number in range(60)],
        [Step("a", ["b"]), Step("b", ["a"]), Step("c", ["c", "nobody"])],
        [Step(f"s{number}", [f"s{other}" for other in range(number)]) for number in range(40)],
    ],
    ids=["none", "one", "wide", "long", "circles", "dense"],
)
def test_no_step_hides_another(steps: list[Step]) -> None:
    drawn = layout(steps)
    assert len(drawn.nodes) == len(steps)
    assert not overlap(steps)
    assert all(node.x + WIDTH <= drawn.width and node.y + HEIGHT <= drawn.height for node in drawn.nodes)


def test_a_very_large_plan_is_drawn_in_part_and_says_so() -> None:
    drawn = layout([Step(f"s{number}") for number in range(250)])
    assert (len(drawn.nodes), drawn.left_out) == (200, 50)


def test_numbers_are_grouped() -> None:
    assert words.amount(1234567) == "1\u202f234\u202f567"
    assert words.amount(0.25) == "0.25"
    assert json.dumps(words.took(None, None)) == '""'
