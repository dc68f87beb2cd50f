"""A reference may stand wherever a value may: over the argument schemas of all built-in tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from activities.reasoning.contract import Reasoning
from activities.tasks.contract import Tasks
from activities.weather.contract import Weather
from activities.web.contract import Web
from retinue.capability import Manifest, ToolSpec
from retinue.plan import check, check_args, parse, resolve_args

TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
SOURCE = Manifest(
    name="source",
    version="1",
    description="Gives one value of each type.",
    task_queue="source",
    tools=[
        ToolSpec(
            name="source.look",
            title="Look",
            description="",
            args_schema={"type": "object"},
            result_schema={"type": "object", "properties": {name: {"type": name} for name in TYPES}},
        )
    ],
)
BUILT_IN = [capability.manifest() for capability in (Calendar, Contacts, Email, Reasoning, Tasks, Weather, Web)]
TOOLS = {spec.name: spec for manifest in BUILT_IN for spec in manifest.tools if spec.plannable}
EXAMPLES = {"date": "2027-02-03", "date-time": "2027-02-03T09:00:00+00:00", "email": "ana@example.com"}


@dataclass
class Place:
    """A place in some arguments, and the types that may stand there; None where any may."""

    path: tuple[str | int, ...]
    types: frozenset[str] | None


@dataclass
class Writer:
    """Writes valid arguments for a schema and notes every place in them."""

    draw: st.DrawFn
    root: Mapping[str, Any]
    places: list[Place] = field(default_factory=list)

    def value(self, node: Mapping[str, Any], path: tuple[str | int, ...]) -> Any:
        """A value of this schema."""
        node = self._resolved(node)
        if path:
            self.places.append(Place(path, self._types(node)))
        return self._plain(self.draw(st.sampled_from(self._branches(node))), path)

    def _branches(self, node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """All schemas of a union, those of unions in it too; else the schema alone."""
        plain = self._resolved(node)
        return [one for branch in plain["anyOf"] for one in self._branches(branch)] if "anyOf" in plain else [plain]

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.root["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    def _types(self, node: Mapping[str, Any]) -> frozenset[str] | None:
        branches = self._branches(node)
        return frozenset(branch["type"] for branch in branches) if all("type" in b for b in branches) else None

    def _plain(self, node: Mapping[str, Any], path: tuple[str | int, ...]) -> Any:
        if "enum" in node or "const" in node:
            return self.draw(st.sampled_from(node.get("enum") or [node["const"]]))
        match node.get("type"):
            case "object":
                names = [
                    n for n in node.get("properties", {}) if n in node.get("required", []) or self.draw(st.booleans())
                ]
                return {name: self.value(node["properties"][name], (*path, name)) for name in names}
            case "array":
                least = node.get("minItems", 0)
                count = self.draw(st.integers(least, min(least + 2, node.get("maxItems", least + 2))))
                return [self.value(node["items"], (*path, index)) for index in range(count)]
            case "integer":
                return self.draw(st.integers(node.get("minimum", 0), node.get("maximum", 100)))
            case "boolean":
                return self.draw(st.booleans())
            case "null":
                return None
            case "string":
                return self._text(node)
            case _:
                return self.draw(st.sampled_from(["words", 7, None, [], {"a": 1}]))

    def _text(self, node: Mapping[str, Any]) -> str:
        if node.get("format") in EXAMPLES:
            return EXAMPLES[str(node["format"])]
        if "pattern" in node:
            most = node.get("maxLength", 100)
            matching = st.from_regex(str(node["pattern"]))
            return self.draw(matching.filter(lambda text: 1 <= len(text) <= most))
        return self.draw(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20))


@dataclass
class Written:
    """Valid arguments of a tool and one place in them."""

    spec: ToolSpec
    args: dict[str, Any]
    place: Place

    def with_a(self, type_name: str) -> dict[str, Any]:
        """The arguments with a reference to a value of this type at the place."""
        found = json.loads(json.dumps(self.args))
        *way, last = self.place.path
        around: Any = found
        for part in way:
            around = around[part]
        around[last] = {"$from": "s1", "path": f"/{type_name}"}
        return dict(found)

    def problems(self, type_name: str) -> list[str]:
        """What is wrong with a plan of the two steps."""
        look = {"id": "s1", "tool": "source.look", "args": {}}
        use = {"id": "s2", "tool": self.spec.name, "args": self.with_a(type_name)}
        return check(parse(json.dumps({"steps": [look, use]})), [SOURCE, *BUILT_IN])


@st.composite
def written(draw: st.DrawFn) -> Written:
    """Valid arguments of any built-in tool."""
    spec = TOOLS[draw(st.sampled_from(sorted(TOOLS)))]
    writer = Writer(draw, spec.args_schema)
    args = writer.value(spec.args_schema, ())
    assume(writer.places)
    return Written(spec, args, draw(st.sampled_from(writer.places)))


def fits(type_name: str, place: Place) -> bool:
    numbers = {"integer", "number"}
    return place.types is None or type_name in place.types or (type_name in numbers and bool(numbers & place.types))


@settings(max_examples=300, deadline=None)
@given(written(), st.sampled_from(TYPES))
def test_a_reference_passes_where_its_type_fits_and_is_refused_in_words_where_not(case: Written, brings: str) -> None:
    assert list(check_args(case.args, case.spec.args_schema)) == []
    found = case.problems(brings)
    where = "/".join(map(str, case.place.path))
    expected = [] if fits(brings, case.place) else [f"step s2: {where}: "]
    assert len(found) == len(expected)
    assert all(told.startswith(begin) for told, begin in zip(found, expected, strict=True))
    assert all(f"wanted here, and /{brings} of s1 is" in told for told in found)


PEOPLE: dict[str, Any] = {"event_id": "e1", "attendees": [{"$from": "s1", "path": "/string"}, "bo@example.com"]}


def test_somebody_is_added_to_the_participants() -> None:
    """`attendees` is a list or nothing, and the reference stands inside of the list."""
    case = Written(TOOLS["calendar.update_event"], PEOPLE, Place(("attendees", 0), frozenset({"string"})))
    assert case.problems("string") == []
    assert case.problems("array") == ["step s2: attendees/0: text is wanted here, and /array of s1 is a list"]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}, None),
        ({"oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}, None),
        ({"allOf": [{"type": "string"}, {"minLength": 3}]}, None),
        ({"allOf": [{"$ref": "#/$defs/text"}]}, None),
        ({"type": "string", "enum": ["a", "b"]}, None),
        ({"not": {"type": "string"}}, None),
        ({"if": {"type": "string"}, "then": {"minLength": 3}, "else": False}, None),
        ({"allOf": [{"type": "array"}]}, "x: a list is wanted here, and /string of s1 is text"),
        ({"oneOf": [{"type": "number"}, {"type": "null"}]}, "x: a number is wanted here, and /string of s1 is text"),
    ],
)
def test_references_pass_through_every_way_of_writing_a_schema(schema: dict[str, Any], problem: str | None) -> None:
    """A union of which both branches fit a text fits a reference as well, although not exactly one of them does."""
    whole = {"type": "object", "properties": {"x": schema}, "$defs": {"text": {"type": "string"}}}
    args = {"x": {"$from": "s1", "path": "/string"}}
    assert list(check_args(args, whole, lambda _: frozenset({"string"}))) == ([problem] if problem else [])


def test_what_came_in_for_a_reference_is_checked_as_any_value() -> None:
    schema = TOOLS["calendar.update_event"].args_schema
    given_back = resolve_args(PEOPLE, {"s1": {"string": ["not", "a", "text"]}})
    assert list(check_args(given_back, schema)) == ["attendees/0: ['not', 'a', 'text'] is not of type 'string'"]
    assert list(check_args(resolve_args(PEOPLE, {"s1": {"string": "ana@example.com"}}), schema)) == []
