"""Plain schemas (`plain_schema`) by the rules of OpenAI's strict mode, and answers by them read back.

The rules: all properties are required, and none are added, so what is optional may be null; no lengths, bounds or patterns, which
tuned models and other makers of this mode refuse; the objects of a union begin with different properties, or with different
constants; and there are limits on the size. An object with any names cannot be said: it is written as JSON text.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from activities.reasoning.plain_schema import ANY, FREE, REF, Schema, either, schemas
from retinue.json_values import whole_values

IN_WORDS = (
    "In a text that is described as JSON write an object or a list as JSON text. Write null for what you leave out."
)
MOST_PROPERTIES = 5000
MOST_VALUES = 1000
MOST_CHARS = 120_000
DEEPEST = 10
_MOST_OPTIONAL = 24
"""Of one object; with more of them JSON text is shorter than the list of all that is left out."""
_FIRST = ("tool", "agent")
_AS_TEXT: Schema = {"type": "string", "description": "JSON: an object, written as text"}
_TEXT_OR_JSON: Schema = {"type": "string", "description": "a text, or JSON: an object or a list, written as text"}
_NULL: Schema = {"type": "null"}
_SIMPLE: list[Schema] = [_TEXT_OR_JSON, {"type": "number"}, {"type": "boolean"}, _NULL]


def strict(schema: Schema) -> Schema | None:
    """Return a plain schema as strict mode takes it; None where it is too large for it.

    Args:
        schema: An object, with the definitions that it uses.
    """
    definitions = schema.get("$defs", {})
    if schema.get("type") != "object" or "properties" not in schema:
        return None
    written = _strict({name: value for name, value in schema.items() if name != "$defs"}, definitions)
    if "properties" not in written:
        return None
    used = {name: value for name, value in _strict_definitions(definitions).items() if _mentions(written, name)}
    found = {**written, "$defs": used} if used else written
    return found if _fits(found) else None


def read_back(value: Any, schema: Schema) -> Any:
    """Return an answer by the strict form of a plain schema as an answer by the plain schema itself.

    What is null is left out where it is optional, and JSON text becomes what it says. What does not fit stays as it is, for
    the check that follows.
    """
    return _read(value, schema, schema.get("$defs", {}))


def _strict(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if node in (ANY, REF):
        return node
    if node == FREE or (node.get("type") == "object" and "properties" not in node):
        return _AS_TEXT
    if "$ref" in node:
        return _strict(definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:
        return _union([_strict(branch, definitions) for branch in node["anyOf"]])
    if node["type"] == "object":
        return _object(node, definitions)
    if node["type"] == "array":
        return {"type": "array", "items": _strict(node["items"], definitions)}
    return {name: value for name, value in node.items() if name in ("type", "enum")}


def _object(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    fields, required = node["properties"], node["required"]
    if len(fields) - len(required) > _MOST_OPTIONAL:
        return _AS_TEXT
    names = sorted(fields, key=lambda name: name not in _FIRST)
    written = {name: _strict(fields[name], definitions) for name in names}
    properties = {name: one if name in required else either([one, _NULL]) for name, one in written.items()}
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _union(branches: list[Schema]) -> Schema:
    """Return a union whose objects can be told apart by how they begin; others are written as text."""
    objects = [branch for branch in branches if "properties" in branch]
    if len({_beginning(branch) for branch in objects}) < len(objects):
        branches = [*(branch for branch in branches if "properties" not in branch), _AS_TEXT]
    return either(branches)


def _beginning(branch: Schema) -> tuple[str, ...]:
    for name, field in branch["properties"].items():
        return (name, *map(str, field.get("enum", ())))
    return ()


def _strict_definitions(definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    ref = [REF] if "ref" in definitions else []
    listed = {"type": "array", "items": {"anyOf": [*ref, *_SIMPLE]}}
    known = {"any": {"anyOf": [*ref, *_SIMPLE, listed]}}
    return {**known, "ref": _strict(definitions["ref"], definitions)} if ref else known


def _mentions(written: Schema, name: str) -> bool:
    """Any value holds references too."""
    said = json.dumps(written)
    return f'"#/$defs/{name}"' in said or (name == "ref" and '"#/$defs/any"' in said)


def _fits(schema: Schema) -> bool:
    definitions = schema.get("$defs", {})
    nodes = [node for one in (schema, *definitions.values()) for node in schemas(one)]
    fields = [name for node in nodes for name in node.get("properties", ())]
    values = [value for node in nodes for value in node.get("enum", ())]
    said = [*fields, *definitions, *map(str, values)]
    return (
        len(fields) <= MOST_PROPERTIES
        and len(values) <= MOST_VALUES
        and sum(map(len, said)) <= MOST_CHARS
        and _depth(schema, definitions) <= DEEPEST
    )


def _depth(node: Schema, definitions: Mapping[str, Schema]) -> int:
    """Return how many objects and lists of a schema are inside each other."""
    node = _named(node, definitions)
    inner = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else ())]
    own = node.get("type") in ("object", "array")
    depth = own + max((_depth(one, definitions) for one in inner), default=0)
    return max([depth, *(_depth(one, definitions) for one in node.get("anyOf", ()))])


def _read(value: Any, node: Schema, definitions: Mapping[str, Schema]) -> Any:
    if node == REF:
        return value
    if node == ANY:
        return _any(value)
    if node == FREE or ("properties" not in node and node.get("type") == "object"):
        return _parsed(value)
    if "$ref" in node:
        return _read(value, definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:
        return _of_union(value, node["anyOf"], definitions)
    if node["type"] == "object":
        return _of_object(value, node, definitions)
    if node["type"] == "array" and isinstance(value, list):
        return [_read(item, node["items"], definitions) for item in value]
    return value


def _of_object(value: Any, node: Schema, definitions: Mapping[str, Schema]) -> Any:
    value = _parsed(value)
    if not isinstance(value, dict) or "$from" in value:
        return value
    fields = node["properties"]
    kept = {name: one for name, one in value.items() if one is not None or name in node["required"]}
    return {name: _read(one, fields[name], definitions) if name in fields else one for name, one in kept.items()}


def _of_union(value: Any, branches: Sequence[Schema], definitions: Mapping[str, Schema]) -> Any:
    known = [_named(branch, definitions) for branch in branches if branch != REF]
    kinds = {one.get("type") for one in known}
    read = _parsed(value) if "object" in kinds and "string" not in kinds else value
    if isinstance(read, dict) and "$from" not in read:
        fitting = next((one for one in known if _may_be(read, one)), None)
    else:
        fitting = next((one for one in known if isinstance(read, list) and one.get("type") == "array"), None)
    return _read(read, fitting, definitions) if fitting else read


def _named(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    return definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _may_be(value: Mapping[str, Any], node: Schema) -> bool:
    """Whether an object may be of a schema, by the constants in it and the names of its properties."""
    if node.get("type") != "object":
        return False
    fields = node.get("properties")
    if fields is None:
        return True
    constants = all(value.get(name) in field["enum"] for name, field in fields.items() if "enum" in field)
    return constants and value.keys() <= fields.keys()


def _any(value: Any) -> Any:
    if isinstance(value, list):
        return [_any(item) for item in value]
    return _parsed(value)


def _parsed(value: Any) -> Any:
    """Return what a JSON text says, if it is an object or a list."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return whole_values(json.loads(value))
    except (ValueError, RecursionError):
        return value
