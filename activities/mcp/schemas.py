"""JSON schemas by strangers, made fit to be used in planning and in workflows.

They are read by code that may not hang and may not fetch anything. So what could do either is left to the server, which
checks its arguments itself: only keywords that this module knows are kept, references stay inside the schema, and one
value is never checked against more than a bounded number of parts. What remains allows more than the original, not less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from retinue.text import clip, without_invisible

MAX_BYTES = 16 * 1024
_MAX_DEPTH = 24
_MAX_PARTS = 400
"""Subschemas against which one and the same value is checked."""
_LONGEST_CHAIN = 10
"""References that lead to references."""
_MAX_WORDS = 500
_NAME = re.compile(r"[\w.$@:+-][\w .$@:+\[\]-]{0,63}")
_SCHEMAS = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf"})
_TABLES = frozenset({"properties", "$defs", "definitions"})
_VALUES = frozenset(
    {"type", "enum", "const", "default", "required", "format", "minimum", "maximum", "exclusiveMinimum"}
    | {"exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties"}
    | {"maxProperties", "$ref"}
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_LOOSENED = frozenset({"patternProperties", "dependentSchemas", "if", "$dynamicRef"})
"""Where these are left out, `additionalProperties` would forbid what they allow."""


class Unusable(Exception):
    """A schema that cannot be used; the text says why, in words of our own."""


def fit(schema: object) -> dict[str, Any]:
    """Return the part of an object's schema that can be used.

    Raises:
        Unusable: It is no schema of an object (draft 2020-12), too large, too deep, or refers to the outside.
    """
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise Unusable("it does not describe an object")
    _check_identities(schema)
    kept = {**_kept(schema, 0), "type": "object"}
    kept.setdefault("properties", {})
    size = len(json.dumps(kept))
    if size > MAX_BYTES:
        raise Unusable(f"it has {size // 1024} KiB; at most {MAX_BYTES // 1024} KiB are taken")
    try:
        Draft202012Validator.check_schema(kept)
    except SchemaError:
        raise Unusable("it is no JSON schema of draft 2020-12") from None
    _check_cost(kept)
    return kept


def _check_identities(schema: Mapping[str, Any]) -> None:
    """An `$id` inside would change what references mean."""
    if any("$id" in node for node in _nodes(schema, 0) if node is not schema):
        raise Unusable("parts of it have identities of their own")


def _nodes(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > 4 * _MAX_DEPTH:
        raise Unusable("it is nested too deeply")
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item, depth + 1)


def _kept(node: object, depth: int) -> Any:
    """Return one schema with what is known of it."""
    if isinstance(node, bool):
        return node
    if not isinstance(node, dict):
        raise Unusable("a part of it is no schema")
    if depth > _MAX_DEPTH:
        raise Unusable("it is nested too deeply")
    kept = {word: part for word, value in node.items() if (part := _part(word, value, depth)) is not None}
    if _LOOSENED & node.keys():
        kept.pop("additionalProperties", None)
    if node.get("nullable") is True and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    return kept


def _part(word: str, value: Any, depth: int) -> Any:
    """Return a keyword's value, made fit; None where the keyword is left out."""
    if word in _VALUES:
        return None if _is_of_another_draft(word, value) else _value(word, value)
    if word == "description" and isinstance(value, str):
        return clip(without_invisible(value), _MAX_WORDS)
    if word in _SCHEMAS:
        return None if isinstance(value, list) else _kept(value, depth + 1)
    if word in _LISTS and isinstance(value, list):
        return [_kept(item, depth + 1) for item in value]
    if word in _TABLES and isinstance(value, dict):
        return {_name(name): _kept(item, depth + 1) for name, item in value.items()}
    return None


def _is_of_another_draft(word: str, value: Any) -> bool:
    """Whether a keyword means something in another draft, or in no draft: then the server alone checks it."""
    if word == "type":
        types = value if isinstance(value, list) and value else [value]
        return not all(isinstance(each, str) and each in _TYPES for each in types)
    if word == "required":
        return not isinstance(value, list)
    return word in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Unusable("a name in it is too long or has characters that names do not have")
    return name


def _value(word: str, value: Any) -> Any:
    """A keyword's value. Texts stay as they are, since they are compared: one that hides something is refused."""
    if word == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        raise Unusable("it refers to something outside")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise Unusable("it has numbers that are none in JSON") from None
    if without_invisible(text) != text:
        raise Unusable("it has invisible characters")
    return value


def _check_cost(schema: Mapping[str, Any]) -> None:
    """Refuse circles that consume nothing, and references that double again and again."""
    costs: dict[int, int] = {}
    for node in _nodes(schema, 0):
        if _cost(node, schema, costs, set()) > _MAX_PARTS:
            raise Unusable("it needs too much work to be checked")


def _cost(node: object, root: Mapping[str, Any], costs: dict[int, int], above: set[int]) -> int:
    """How many subschemas are applied to a value that `node` is applied to, without going into the value."""
    if not isinstance(node, dict):
        return 1
    key = id(node)
    if key in above:
        raise Unusable("it goes in a circle")
    if len(above) > _LONGEST_CHAIN:
        raise Unusable("its references lead too far")
    if key not in costs:
        above.add(key)
        parts = [part for word in _LISTS for part in node.get(word, []) if isinstance(node.get(word), list)]
        if isinstance(node.get("$ref"), str):
            parts.append(_target(node["$ref"], root))
        costs[key] = 1 + sum(_cost(part, root, costs, above) for part in parts)
        above.discard(key)
    return costs[key]


def _target(reference: str, root: Mapping[str, Any]) -> object:
    """Where a reference leads: only to schemas. A default or a table of names is none and was never made fit as one."""
    start, *parts = [part.replace("~1", "/").replace("~0", "~") for part in reference.split("/")]
    if start != "#":
        raise Unusable("it refers to something that is not there")
    found: Any = root
    while parts:
        word, *parts = parts
        found = _inside(found, word, _SCHEMAS | _TABLES)
        if word in _TABLES:
            name, *parts = parts or [""]
            found = _inside(found, name, found)
    return found


def _inside(found: Any, name: str, allowed: Collection[str]) -> Any:
    if not isinstance(found, dict) or name not in allowed or name not in found:
        raise Unusable("it refers to something that is not there")
    return found[name]
