"""The client against the OpenAPI document: every route, parameter and field, so that the two cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, JsonValue, SecretStr

import retinue.client
from api.app import create_app
from deploy import unasync
from retinue.client import calls
from retinue.client.calls import Call, OneDecision

Schema = Mapping[str, Any]
DOCUMENT: dict[str, Any] = create_app().openapi()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
FOR_OTHERS = (
    *("/v1/session", "/v1/chat/", "/v1/responses", "/v1/models", "/v1/codec", "/v1/webhooks"),
    "/v1/accounts/oauth/callback",
)
"""Doors of their own: a browser's cookie, the protocols of other clients, the codec of the Web UI, ways back to the console."""
ONE = OneDecision(
    assistant_id="a", approval_id="b", decision="edit", args_hash="c", args={}, comment="d", grant={"uses": 1}
)


def sample(hint: Any) -> Any:
    """A value of a parameter's type; every parameter is given, so that every field is sent."""
    options = [option for option in _options(hint) if option is not NoneType]
    first = options[0]
    made: dict[Any, Any] = {str: "x", SecretStr: SecretStr("x"), int: 1, float: 1.0, bool: True}
    made[datetime] = datetime(2027, 1, 1)  # noqa: DTZ001  # a time without a zone is what is tried
    if get_origin(first) is Literal:
        return get_args(first)[0]
    if first in made:
        return made[first]
    return [ONE] if OneDecision in get_args(first) else ["x"] if "Sequence" in str(first)[:30] else {}


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _made() -> Iterator[tuple[str, Call[Any]]]:
    for name, function in inspect.getmembers(calls, inspect.isfunction):
        if function.__module__ == calls.__name__ and not name.startswith("_"):
            hints = get_type_hints(function)
            hints.pop("return")
            yield name, function(**{parameter: sample(hint) for parameter, hint in hints.items()})


CALLS = dict(_made())


def operation(call: Call[Any]) -> Schema:
    found: Schema = DOCUMENT["paths"][call.route][call.method.lower()]
    return found


def resolved(schema: Schema) -> Schema:
    """A schema without references, and without the null that it also allows."""
    if "$ref" in schema:
        return resolved(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "properties" in schema:  # an `anyOf` beside them says which belong together
        return schema
    others = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    return resolved(others[0]) if others else schema


def test_every_route_is_served_by_the_client() -> None:
    documented = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if path != "/metrics" and not path.startswith(FOR_OTHERS)
    }
    assert {(call.method, call.route) for call in CALLS.values()} == documented


@pytest.mark.parametrize("name", CALLS)
def test_a_call_sends_just_the_documented_parameters(name: str) -> None:
    call = CALLS[name]
    places: dict[str, set[str]] = {"path": set(), "query": set(), "header": set()}
    for parameter in operation(call).get("parameters", []):
        places[parameter["in"]].add(parameter["name"])
    assert set(call.path) == places["path"]
    assert set(call.query) == places["query"]
    assert (call.key is not None) == ("Idempotency-Key" in places["header"])


@pytest.mark.parametrize("name", CALLS)
def test_a_call_sends_just_the_documented_fields(name: str) -> None:
    call = CALLS[name]
    content = operation(call).get("requestBody", {}).get("content", {})
    assert _sent(call.body) == _documented(content.get("application/json", {}).get("schema", {}))


def _documented(schema: Schema) -> set[str]:
    """Names of all fields, those of what stands in a list included."""
    properties = resolved(schema).get("properties", {})
    inner = [resolved(item["items"]) for item in map(resolved, properties.values()) if "items" in item]
    return set(properties) | {f"[].{name}" for one in inner for name in one.get("properties", {})}


def _sent(body: Mapping[str, Any] | None) -> set[str]:
    lists = [value for value in (body or {}).values() if isinstance(value, list)]
    return set(body or {}) | {f"[].{name}" for one in lists for item in one if isinstance(item, dict) for name in item}


def _shown() -> Iterator[tuple[str, type[BaseModel], Schema]]:
    """Every model of an answer with its schema, and the models inside it."""
    for name, call in CALLS.items():
        if call.route in DOCUMENT["paths"] and isinstance(call.answer, type) and issubclass(call.answer, BaseModel):
            successes = [
                answer for code, answer in operation(call)["responses"].items() if code in {"200", "201", "202"}
            ]
            schemas = [success["content"]["application/json"]["schema"] for success in successes]
            assert schemas == schemas[:1] * len(schemas), name
            yield from _inside(name, call.answer, schemas[0])


def _inside(path: str, model: type[BaseModel], schema: Schema) -> Iterator[tuple[str, type[BaseModel], Schema]]:
    plain = resolved(schema)
    yield path, model, plain
    for name, field in model.model_fields.items():
        below = resolved(plain.get("properties", {}).get(name, {}))
        below = below.get("items") or below.get("additionalProperties") or below
        for inner in _models(field.annotation):
            yield from _inside(f"{path}.{name}", inner, below)


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in get_args(hint):
        yield from _models(inner)


ANSWERS = {f"{model.__name__} as {schema.get('title')}": (model, schema) for _, model, schema in _shown()}


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_has_just_the_documented_fields(path: str) -> None:
    model, schema = ANSWERS[path]
    assert set(model.model_fields) == set(schema.get("properties", {}))


KINDS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "string"}


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_s_fields_are_of_the_documented_types(path: str) -> None:
    model, schema = ANSWERS[path]
    for name, field in model.model_fields.items():
        documented = schema["properties"][name]
        options = [option for option in _options(field.annotation) if option is not NoneType]
        assert _nullable(documented) == (NoneType in _options(field.annotation)), f"{path}.{name}"
        assert _kind(options[0]) == resolved(documented).get("type", "anything"), f"{path}.{name}"
        assert name not in schema.get("required", []) or field.is_required(), f"{path}.{name}"


def _nullable(schema: Schema) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", []))


def _kind(hint: Any) -> str:
    if hint is JsonValue:
        return "anything"
    origin = get_origin(hint) or hint
    named = {list: "array", dict: "object", **KINDS}
    return "object" if isinstance(origin, type) and issubclass(origin, BaseModel) else named[origin]


@pytest.mark.parametrize(
    ("words", "schema"),
    [(calls.Decision, "DecisionKind"), (calls.Mode, "Mode"), (calls.Choice, "WorkerChoice")],
)
def test_the_words_that_may_be_sent_are_the_documented_ones(words: Any, schema: str) -> None:
    assert set(get_args(words)) == set(SCHEMAS[schema]["enum"])


def test_the_sync_client_is_written_from_the_async_one() -> None:
    assert unasync.SYNC.read_text(encoding="utf-8") == unasync.generated(), "run `make format`"


@pytest.mark.parametrize("file", sorted(Path(retinue.client.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_the_client_imports_no_other_part_of_retinue(file: Path) -> None:
    found = set(_imported(ast.parse(file.read_text(encoding="utf-8"))))
    strange = {name for name in found if name.partition(".")[0] not in {*sys.stdlib_module_names, "httpx", "pydantic"}}
    assert {name for name in strange if not name.startswith("retinue.client")} == set()


def _imported(tree: ast.Module) -> Iterator[str]:
    visit: dict[type, Callable[[Any], list[str]]] = {
        ast.Import: lambda node: [alias.name for alias in node.names],
        ast.ImportFrom: lambda node: [node.module or ""],
    }
    for node in ast.walk(tree):
        yield from visit.get(type(node), lambda _: [])(node)
