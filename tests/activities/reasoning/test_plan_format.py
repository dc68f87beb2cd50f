"""The form in which plans are asked for: it takes every plan that may run, and it keeps to what the engines know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import activities
from activities.reasoning.plain_schema import LENGTHS, plain, shared
from activities.reasoning.plan_format import LARGEST, MOST_TOOLS, AnswerFormat, plan_format, planned
from activities.reasoning.settings import Structured
from activities.reasoning.strict_schema import DEEPEST, MOST_CHARS, MOST_PROPERTIES, MOST_VALUES, read_back, strict
from activities.reasoning.structured import asked, read_as_asked
from retinue.capability import Manifest, ToolSpec
from retinue.plan import check, parse

MANIFESTS: list[Manifest] = [activities.load(name).CONTRACT.manifest() for name in activities.folders()]
TOOLS = [
    spec.model_copy(update={"args_schema": planned(spec.args_schema)})
    for manifest in MANIFESTS
    for spec in manifest.tools
    if spec.plannable
]
"""Without the arguments that no plan has: what is filled in later."""
AGENTS = [manifest.name for manifest in MANIFESTS]
FORMAT = plan_format(TOOLS, AGENTS)
BY_STRICT_RULES: dict[str, Any] = strict(FORMAT.schema) or {}
PLAIN_FORMS = [
    jsonschema.Draft202012Validator(one) for one in (FORMAT.schema, shared(FORMAT.schema), FORMAT.loose or {})
]
STRICT_FORMS = [jsonschema.Draft202012Validator(one) for one in (BY_STRICT_RULES, shared(BY_STRICT_RULES))]
PLAIN_WORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "anyOf"),
    *("$ref", "$defs", "maxLength", "pattern", "maxProperties"),
}
STRICT_WORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"),
    "description",
}


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas inside a schema."""
    if isinstance(schema, dict):
        yield schema
        for word, value in schema.items():
            inner = value.values() if word in ("properties", "$defs") else value if word == "anyOf" else [value]
            for one in inner if word in ("properties", "$defs", "anyOf", "items", "additionalProperties") else ():
                yield from nodes(one)


def depth(node: dict[str, Any], definitions: dict[str, Any]) -> int:
    """How many objects and lists are inside each other."""
    if "$ref" in node:
        return depth(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    inner = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else ())]
    own = max((depth(one, definitions) for one in inner), default=0) + (node.get("type") in ("object", "array"))
    return max([own, *(depth(one, definitions) for one in node.get("anyOf", ()))])


def obeys_strict_rules(schema: dict[str, Any]) -> None:
    """OpenAI's documented rules for `strict: true`, and what its service says where the documents are silent."""
    definitions = schema.get("$defs", {})
    assert schema["type"] == "object"
    assert "anyOf" not in schema
    found = list(nodes(schema))
    for node in found:
        assert node.keys() <= STRICT_WORDS, node
        assert "$ref" not in node or node.keys() == {"$ref"}, "a reference has nothing beside it"
        assert node.keys() & {"type", "anyOf", "$ref"}, "each schema says a type"
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        for branch in node.get("anyOf", ()):
            assert "anyOf" not in branch
        assert len(beginnings(node, definitions)) == len(set(beginnings(node, definitions)))
    names = [name for node in found for name in node.get("properties", ())]
    values = [value for node in found for value in node.get("enum", ())]
    assert len(names) <= MOST_PROPERTIES
    assert len(values) <= MOST_VALUES
    assert sum(map(len, [*names, *definitions, *map(str, values)])) <= MOST_CHARS
    assert depth(schema, definitions) <= DEEPEST


def beginnings(node: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """How the objects of a union begin: the first property, and its constants."""
    branches = [definitions[one["$ref"][8:]] if "$ref" in one else one for one in node.get("anyOf", ())]
    firsts: list[tuple[str, dict[str, Any]]] = [
        next(iter(one["properties"].items()), ("", {})) for one in branches if "properties" in one
    ]
    return [f"{name} {definitions.get(field.get('$ref', '')[8:], field).get('enum')}" for name, field in firsts]


def obeys_plain_rules(schema: dict[str, Any]) -> None:
    """What llama.cpp, xgrammar, outlines and llguidance all know, in sizes that all of them take."""
    for node in nodes(schema):
        assert node.keys() <= PLAIN_WORDS, node
        assert "$ref" not in node or node.keys() <= {"$ref"}
        assert node.get("maxLength", 0) <= max(LENGTHS) < 2000
        assert node.get("maxItems", 0) <= 100
        if "pattern" in node:
            assert node["pattern"][0] + node["pattern"][-1] == "^$"
            assert "(?" not in node["pattern"]
    assert len(json.dumps(schema)) <= LARGEST + 2000


# --- plans that may run


short = st.text(st.characters(codec="utf-8"), max_size=30)
step_ids = st.sampled_from([f"s{number}" for number in range(1, 9)])
scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-10, 10, allow_nan=False) | short
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3), max_leaves=4
)
flat = (
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(short.filter(lambda name: name != "$from"), scalars, max_size=3)
)
EXAMPLES = {"date-time": "2026-11-27T09:00:00+00:00", "date": "2026-11-27"}
PATTERNS = {
    r"^[0-9+() ./-]+$": "+351 21 000",
    r"^[^@\s<>,;]+@[^@\s<>,;]+$": "ana@example.com",
    r"^[^\r\n]*$": "Hello",
    r"\S": "x",
    r"^[a-z][a-z0-9_]{0,39}$": "start",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": "09:00",
    r"^(MO|TU|WE|TH|FR|SA|SU)$": "MO",
}


def values(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a tool's schema."""
    if "$ref" in schema:
        return values(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([values(branch, root) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    makers = {
        "object": lambda: objects(schema, root),
        "array": lambda: st.lists(references(schema["items"], root), min_size=schema.get("minItems", 0), max_size=3),
        "string": lambda: texts(schema),
        "integer": lambda: st.integers(schema.get("minimum", 0), schema.get("maximum", 100)),
        "boolean": st.booleans,
        "null": st.none,
    }
    return makers[schema["type"]]() if "type" in schema else flat


def texts(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if known := EXAMPLES.get(schema.get("format", "")) or PATTERNS.get(schema.get("pattern", "")):
        return st.just(known)
    assert "pattern" not in schema, "a pattern of a built-in tool that this test does not know"
    return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=40)


def references(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A value, or a reference to the first step, whose values may be of any type."""
    return values(schema, root) | st.just({"$from": "s0", "path": "/values/x"})


def objects(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields, required = schema.get("properties", {}), schema.get("required", [])
    return st.fixed_dictionaries(
        {name: references(field, root) for name, field in fields.items() if name in required},
        optional={name: references(field, root) for name, field in fields.items() if name not in required},
    )


def calls() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(TOOLS).flatmap(
        lambda spec: st.fixed_dictionaries(
            {"tool": st.just(spec.name), "args": objects(spec.args_schema, spec.args_schema), "why": short}
        )
    )


def goals() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"agent": st.sampled_from(AGENTS), "goal": st.text(min_size=1, max_size=50), "why": short},
        optional={"args": st.dictionaries(short.filter(lambda name: name != "$from"), flat, max_size=3)},
    )


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Plans that may run: values read out of a text, and steps that may use them."""
    args = {"instruction": "x", "inputs": "y", "fields": [{"name": "x", "kind": "text"}]}
    first = {"id": "s0", "tool": "reasoning.extract", "args": args, "depends_on": [], "why": ""}
    steps = draw(st.lists(calls() | goals(), max_size=4))
    numbered = [
        {"id": f"s{at}", "depends_on": draw(st.sampled_from([[], ["s0"]])), **step} for at, step in enumerate(steps, 1)
    ]
    outline = {"question": None, "reply": draw(st.none() | short), "final": True}
    offered = draw(st.fixed_dictionaries({}, optional={"options": st.lists(short.filter(bool), max_size=5)}))
    return {"steps": [first, *numbered], **outline, **offered}


def tightened(value: Any, node: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """What a model writes in strict mode for a value of the plain form."""
    if node == {"$ref": "#/$defs/any"}:
        return json.dumps(value) if isinstance(value, dict) and "$from" not in value else listed(value)
    if "$ref" in node:
        return tightened(value, definitions[node["$ref"][8:]], definitions)
    if "anyOf" in node:
        checker = [one for one in node["anyOf"] if fits(value, one, definitions)]
        return tightened(value, checker[0], definitions)
    if node["type"] == "object" and "properties" not in node:
        return json.dumps(value)
    if node["type"] == "object":
        return {
            name: tightened(value[name], one, definitions) if name in value else None
            for name, one in node["properties"].items()
        }
    return [tightened(item, node["items"], definitions) for item in value] if node["type"] == "array" else value


def listed(value: Any) -> Any:
    if isinstance(value, list):
        return [json.dumps(item) if isinstance(item, dict | list) and "$from" not in item else item for item in value]
    return value


def fits(value: Any, node: dict[str, Any], definitions: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator({**node, "$defs": definitions}).is_valid(value)


def without_nulls(value: Any) -> Any:
    """An argument that is null is one that is left out."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@settings(
    max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(plans())
def test_each_form_takes_a_plan_that_may_run_and_reads_back_what_it_says(plan: dict[str, Any]) -> None:
    assert check(parse(json.dumps(plan)), MANIFESTS) == []
    assert [form.is_valid(plan) for form in PLAIN_FORMS] == [True, True, True]
    written = tightened(plan, FORMAT.schema, FORMAT.schema["$defs"])
    assert [form.is_valid(written) for form in STRICT_FORMS] == [True, True]
    back = read_back(written, FORMAT.schema)
    assert check(parse(json.dumps(back)), MANIFESTS) == []
    assert without_nulls(back) == without_nulls(plan)


def test_a_model_that_fills_every_list_comes_to_an_end_of_its_plan() -> None:
    """A real one of 135 million parameters does so: it wrote 40 steps to wait for, of 40 characters each."""
    steps = FORMAT.schema["properties"]["steps"]
    assert steps["maxItems"] <= 20
    for step in steps["items"]["anyOf"]:
        assert step["properties"]["depends_on"]["maxItems"] <= 8
        assert step["properties"]["id"]["pattern"].endswith("{0,15}$")


# --- the rules of the engines


def spec(name: str, schema: dict[str, Any]) -> ToolSpec:
    return ToolSpec(name=name, title="x", description="x", args_schema=schema)


TREE = {
    "$defs": {"T": {"type": "object", "properties": {"v": {}, "of": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}}
}
ODD: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "any object": {"type": "object"},
    "a tree": {**TREE, "type": "object", "properties": {"root": {"$ref": "#/$defs/T"}}, "required": ["root"]},
    "a circle": {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}},
    "a union of itself": {
        "type": "object",
        "properties": {"x": {"anyOf": [{"$ref": "#/properties/x"}, {"type": "null"}]}},
    },
    "nothing there": {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/none"}, "y": {"$ref": "https://e.com/s"}},
    },
    "old definitions": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"C": {"type": "string", "enum": ["a", None, 1, True, 2.5]}},
        "type": "object",
        "properties": {
            "c": {"$ref": "#/definitions/C"},
            "d": {"const": {"x": 1}},
            "e": {"const": 7},
            "f": {"enum": []},
        },
    },
    "all kinds of union": {
        "type": "object",
        "properties": {
            "u": {
                "oneOf": [
                    {"type": "object", "properties": {"k": {"type": "string"}}},
                    {"type": "object", "properties": {"k": {"type": "integer"}}},
                ]
            },
            "v": {"allOf": [{"type": "object", "properties": {"a": {}}}, {"required": ["a"]}]},
            "w": {"type": ["string", "integer", "array", "object", "null"], "items": {"type": "string"}},
            "x": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"const": c}, "v": {"type": "string"}},
                        "required": ["kind"],
                    }
                    for c in "ab"
                ]
            },
            "y": {"not": {"type": "string"}, "if": {}, "then": {}},
            "z": True,
        },
    },
    "words of all kinds": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {"^x": {"type": "string"}},
        "propertyNames": {"pattern": "^[a-z]+$"},
        "dependentRequired": {"a": ["b"]},
        "properties": {
            "a": {
                "type": "string",
                "format": "uri",
                "pattern": "^(?=.*x)(?!y).*$",
                "minLength": 2,
                "maxLength": 10**6,
                "default": "x",
            },
            "b": {
                "type": "array",
                "uniqueItems": True,
                "contains": {"type": "string"},
                "minItems": 3,
                "maxItems": 10**6,
                "prefixItems": [{}],
            },
            "c": {"type": "number", "multipleOf": 0.1, "exclusiveMinimum": 0, "maximum": 5},
            "d": {"type": "array", "minItems": 500},
            "e": {"type": "array", "maxItems": -1, "items": False},
        },
        "required": ["a", "b", "zzz"],
    },
    "names of all kinds": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("", "$from", "a b", "ü", "x" * 300, '"')},
    },
    "far too many names": {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(400)}},
    "many optional names": {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(60)}},
    "a long list of values": {"type": "object", "properties": {"x": {"enum": [f"v{at}" for at in range(5000)]}}},
    "very deep": json.loads('{"type":"object","properties":{"x":' * 60 + '{"type":"string"}' + "}}" * 60),
    "no object": {"type": "array", "items": {"type": "string"}},
    "wrong throughout": {"type": 7, "properties": [], "required": "x", "anyOf": {}, "enum": 3},
    "wrong inside": {
        "type": "object",
        "properties": {"x": 3, "y": {"type": []}, "z": {"anyOf": []}},
        "required": [1, None],
    },
}


@pytest.mark.parametrize("name", ODD)
def test_tools_of_others_obey_the_rules_whatever_their_schemas_say(name: str) -> None:
    offered = [*TOOLS, spec("odd.tool", ODD[name])]
    made = plan_format(offered, [*AGENTS, "odd"])
    for schema in (made.schema, made.loose):
        assert schema is not None
        for one in (schema, shared(schema)):
            jsonschema.Draft202012Validator.check_schema(one)
            obeys_plain_rules(one)
        obeys_strict_rules(shared(strict(schema) or {}))


keywords = st.sampled_from(
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "items",
        "properties",
        "required",
        "maxLength",
        "format",
    ]
)
garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 300)
    | st.sampled_from(["string", "object", "array", "#/x", "#", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(keywords, garbage, max_size=5), st.dictionaries(st.sampled_from("abc"), garbage, max_size=3))
def test_no_schema_breaks_the_rules(root: dict[str, Any], fields: dict[str, Any]) -> None:
    made = plan_format([spec("odd.tool", {**root, "type": "object", "properties": fields})], ["odd"])
    obeys_plain_rules(shared(made.schema))
    obeys_strict_rules(shared(strict(made.schema) or {}))


def test_all_built_in_tools_obey_the_rules_and_are_named_before_their_arguments() -> None:
    obeys_plain_rules(FORMAT.schema)
    obeys_plain_rules(shared(FORMAT.schema))
    obeys_strict_rules(shared(strict(FORMAT.schema) or {}))
    steps = FORMAT.schema["properties"]["steps"]["items"]["anyOf"]
    tools = [step["properties"]["tool"]["enum"] for step in steps if "tool" in step["properties"]]
    assert tools == [[tool.name] for tool in TOOLS]
    orders = [list(step["properties"]) for step in steps]
    assert [order.index("args") > order.index("tool" if "tool" in order else "agent") for order in orders] == [
        True
    ] * len(orders)


UNBOUNDED = {
    *("body", "description", "instruction", "notes", "url", "icalendar", "invitation"),
}
"""Arguments that may be longer than any engine bounds."""


def test_only_long_texts_of_built_in_tools_have_no_bound() -> None:
    steps = FORMAT.schema["properties"]["steps"]["items"]["anyOf"]
    args = {
        step["properties"]["tool"]["enum"][0]: step["properties"]["args"]
        for step in steps
        if "goal" not in step["properties"]
    }
    found = {f"{tool} {name}" for tool, schema in args.items() for name in unbounded(schema, "")}
    assert {name for name in found if name.rpartition(" ")[2] not in UNBOUNDED} == set()


def unbounded(node: dict[str, Any], name: str) -> Iterator[str]:
    """The names of texts without a bound."""
    if node.get("type") == "string" and not node.keys() & {"enum", "maxLength", "pattern"}:
        yield name
    for inner, field in node.get("properties", {}).items():
        yield from unbounded(field, inner)
    for branch in [*node.get("anyOf", ()), *([node["items"]] if "items" in node else ())]:
        yield from unbounded(branch, name)


@pytest.mark.parametrize(
    ("pattern", "longest"),
    [
        (r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", 40),
        ("^[a-z][a-z0-9_]{0,39}$", 1000),
        ("^(a{3}b{2}){9}$", 1000),
        ("^[a-z]+$", None),
        ("^[a-z]{2,}$", None),
        ("x", None),
    ],
)
def test_a_text_of_a_pattern_is_as_long_as_it_can_be(pattern: str, longest: int | None) -> None:
    made = plain({"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}})
    bounds = [one["maxLength"] for one in made.get("$defs", {}).values()]
    assert bounds == [one for one in [longest] if one]


@pytest.mark.parametrize("count", [MOST_TOOLS + 1, 500])
def test_many_tools_are_named_in_one_step_with_closed_arguments(count: int) -> None:
    many = [spec(f"odd.tool_{at}", {"type": "object", "properties": {f"a{at % 50}": {}}}) for at in range(count)]
    made = plan_format(many, ["odd"])
    call = made.schema["properties"]["steps"]["items"]["anyOf"][0]
    assert call["properties"]["tool"]["enum"] == [tool.name for tool in many]
    assert call["properties"]["args"]["additionalProperties"] is False
    obeys_plain_rules(made.schema)
    obeys_strict_rules(strict(made.schema) or {})
    plan = {"steps": [{"id": "s1", "tool": "odd.tool_7", "args": {"a7": {"x": 1}}, "depends_on": [], "why": ""}]}
    written = {**plan, "steps": [{**plan["steps"][0], "args": '{"a7": {"x": 1}}'}]}
    assert read_back(written, made.schema) == plan


def test_without_capabilities_there_are_no_steps() -> None:
    made = plan_format([], [])
    jsonschema.validate({"steps": [], "question": None, "reply": "No.", "final": True}, made.schema)
    obeys_strict_rules(strict(made.schema) or {})


# --- what is sent, and how an answer is read


@pytest.mark.parametrize("form", [Structured.JSON_OBJECT, Structured.PROMPT])
def test_words_do_not_repeat_the_tools(form: Structured) -> None:
    """The prompt lists them already."""
    said, _ = asked([{"role": "system", "content": "x"}], FORMAT, form)
    assert len(said[0]["content"]) < 1500
    assert said[0]["content"].index('"tool": {') < said[0]["content"].index('"args": {')


def test_an_answer_in_strict_mode_is_read_through_fences_and_thoughts() -> None:
    written = '<think>{"steps": 1}</think>\n```json\n{"steps": [], "question": null, "reply": "Hi", "final": true}\n```'
    assert json.loads(read_as_asked(written, FORMAT, Structured.STRICT))["reply"] == "Hi"


@pytest.mark.parametrize("answer", ["no JSON", "{} {}", '{"steps": 7}', '{"steps": [{"tool": 3, "args": "{"}]}', "[]"])
def test_an_answer_that_breaks_the_form_is_left_to_the_check(answer: str) -> None:
    assert isinstance(read_as_asked(answer, FORMAT, Structured.STRICT), str)


def test_the_schema_of_a_program_is_asked_strictly_and_read_back() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1},
            "more": {"type": "object"},
            "wind": {"type": "number"},
        },
        "required": ["city"],
    }
    wanted = AnswerFormat("answer", schema)
    _, extra = asked([], wanted, Structured.STRICT)
    sent = extra["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("answer", True)
    obeys_strict_rules(sent["schema"])
    written = '{"city": "Porto", "more": "{\\"a\\": 1}", "wind": null}'
    assert json.loads(read_as_asked(written, wanted, Structured.STRICT)) == {"city": "Porto", "more": {"a": 1}}


def test_the_schema_of_a_program_that_strict_mode_does_not_take_is_asked_as_it_is() -> None:
    schema = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(60)}}
    wanted = AnswerFormat("answer", schema)
    _, extra = asked([], wanted, Structured.STRICT)
    assert extra["response_format"]["json_schema"] == {"name": "answer", "schema": schema}
    assert read_as_asked('{"p1": null}', wanted, Structured.STRICT) == '{"p1": null}'
