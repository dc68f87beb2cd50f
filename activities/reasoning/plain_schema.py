"""JSON schemas in the few keywords that every engine of constrained answers knows.

Engines (llama.cpp, xgrammar, outlines, llguidance, Ollama, NIM) build a grammar from a schema. They differ in keywords, so a
schema of a tool is written again with those that all of them take: `type`, `properties`, `required`,
`additionalProperties`, `items`, `minItems`, `maxItems`, `enum`, `anyOf`, `$ref` to `$defs`, and few lengths and patterns. What
these cannot say is left out, so a plain schema takes at least what the first one takes; the check of a plan decides.

Pure.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

Schema = dict[str, Any]
LENGTHS = (40, 200, 500, 1000, 1900)
"""The bounds of texts in characters; llama.cpp takes no more than 2,000 repetitions. A longer text has no bound."""
MOST_ITEMS = 100
"""Of any list."""
_MOST_INNER = 20
"""Of a list or an object that no schema describes."""
_DEEPEST = 4
"""Objects, lists and unions inside each other; what is deeper is any value."""
_MOST_VALUES = 200
"""Of an enumeration."""
_LARGEST = 6000
"""Characters of one tool's arguments."""
_FORMATS = frozenset({"date-time", "date", "time", "uuid", "duration"})
_PLACES = "#/$defs/"
_ENDLESS = re.compile(r"[*+]|,\}")
_TIMES = re.compile(r"(\d{1,6})\}")
_SHORT = 40
"""Characters of a schema that is not worth a definition."""
_PLAIN = frozenset({"string", "number", "integer", "boolean", "null"})

REF: Schema = {"$ref": f"{_PLACES}ref"}
"""A value that is taken from an earlier step."""
ANY: Schema = {"$ref": f"{_PLACES}any"}
FREE: Schema = {"$ref": f"{_PLACES}free"}
"""An object with any names."""
STEP_ID = "^[A-Za-z0-9][A-Za-z0-9_-]{0,15}$"
"""Shorter than a plan's check takes: a small model writes until a grammar stops it."""
_OTHER_STEP = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,19}$"
_POINTER = "^(/[A-Za-z0-9_~./ $@:-]{0,200})?$"


def text(longest: int | None) -> Schema:
    """Return the schema of a text of at most so many characters, rounded up; shared, so that grammars stay small."""
    bound = next((length for length in LENGTHS if longest is not None and longest <= length), None)
    return {"$ref": f"{_PLACES}text{bound}"} if bound else {"type": "string"}


def other_step() -> Schema:
    """Return the schema of an earlier step's id."""
    return {"$ref": f"{_PLACES}step"}


def closed(properties: Mapping[str, Schema], required: Iterable[str] | None = None) -> Schema:
    """Return the schema of an object with these properties alone; all are required unless it is said which."""
    needed = list(properties) if required is None else [name for name in properties if name in set(required)]
    return {"type": "object", "properties": dict(properties), "required": needed, "additionalProperties": False}


def either(branches: Iterable[Schema]) -> Schema:
    """Return the union of schemas, without those that are said twice."""
    found: list[Schema] = []
    for branch in branches:
        found.extend(one for one in branch.get("anyOf", [branch]) if one not in found)
    return found[0] if len(found) == 1 else {"anyOf": found}


def with_definitions(schema: Schema, *, references: bool = True) -> Schema:
    """Return a schema together with the definitions that it uses.

    Args:
        schema: Plain.
        references: Whether a value may be taken from an earlier step.
    """
    known, used = _definitions(references=references), dict[str, Schema]()
    waiting = list(_names(schema))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = known[name]
            waiting.extend(_names(known[name]))
    return {**schema, "$defs": {name: used[name] for name in known if name in used}} if used else schema


def arguments(schema: Mapping[str, Any]) -> Schema:
    """Return a tool's arguments as a plain schema, in which each value may also be taken from an earlier step."""
    plain = _Plain(schema, references=True).arguments()
    return plain if len(json.dumps(plain)) <= _LARGEST else FREE


def plain(schema: Mapping[str, Any]) -> Schema:
    """Return any schema as a plain one, without references to steps."""
    return with_definitions(_Plain(schema, references=False).schema(schema, 0), references=False)


def shared(schema: Schema) -> Schema:
    """Return a schema in which what stands there more than once is a definition: a smaller grammar, fewer tokens."""
    bare = {name: value for name, value in schema.items() if name != "$defs"}
    definitions: dict[str, Schema] = schema.get("$defs", {})
    found = Counter(json.dumps(node) for one in (bare, *definitions.values()) for node in schemas(one))
    repeated = [said for said, times in found.items() if times > 1 and len(said) > _SHORT]
    names = {said: f"s{number}" for number, said in enumerate(repeated, 1)}
    kept = {name: _sharing(value, names, own=True) for name, value in definitions.items()}
    made = {name: _sharing(json.loads(said), names, own=True) for said, name in names.items()}
    written = _sharing(bare, names, own=True)
    return {**written, "$defs": {**kept, **made}} if kept or made else written


def schemas(node: Schema) -> Iterator[Schema]:
    """Yield a schema and all inside it."""
    yield node
    more = node.get("additionalProperties")
    inner = [*node.get("properties", {}).values(), *node.get("anyOf", ())]
    for one in (*inner, *([node["items"]] if "items" in node else ()), *([more] if isinstance(more, dict) else ())):
        yield from schemas(one)


def _sharing(node: Schema, names: Mapping[str, str], *, own: bool = False) -> Schema:
    if not own and (name := names.get(json.dumps(node))):
        return {"$ref": f"{_PLACES}{name}"}
    changed = dict(node)
    if "properties" in node:
        changed["properties"] = {name: _sharing(one, names) for name, one in node["properties"].items()}
    if "anyOf" in node:
        changed["anyOf"] = [_sharing(one, names) for one in node["anyOf"]]
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), dict):
            changed[word] = _sharing(node[word], names)
    return changed


def _definitions(*, references: bool) -> dict[str, Schema]:
    step = {"type": "string", "pattern": _OTHER_STEP}
    texts = {f"text{length}": {"type": "string", "maxLength": length} for length in LENGTHS}
    simple = [text(LENGTHS[-1]), {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
    if references:
        simple.insert(0, REF)
    inner = {"$ref": f"{_PLACES}inner"}
    return {
        "ref": closed({"$from": other_step(), "path": {"type": "string", "pattern": _POINTER}}),
        "any": {"anyOf": [*simple, *_holding(inner)]},
        "free": _named(inner),
        "inner": {"anyOf": [*simple, *_holding({"anyOf": simple})]},
        "step": step,
        **texts,
    }


def _holding(value: Schema) -> list[Schema]:
    return [{"type": "array", "items": value, "maxItems": _MOST_INNER}, _named(value)]


def _named(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value, "maxProperties": _MOST_INNER}


def _names(node: Any) -> Iterable[str]:
    if isinstance(node, Mapping):
        if isinstance(place := node.get("$ref"), str):
            yield place.removeprefix(_PLACES)
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names(value)


class _Plain:
    """Writes one schema again."""

    def __init__(self, root: Mapping[str, Any], *, references: bool) -> None:
        self._root = root
        self._references = references

    def arguments(self) -> Schema:
        """The arguments themselves are an object: only what stands in it may be a reference."""
        found = self.schema(self._root, 0)
        return found if found.get("type") == "object" else FREE

    def value(self, node: Any, depth: int) -> Schema:
        """Return what may stand at a place: the value, or a reference to it."""
        found = self.schema(node, depth)
        return either([found, REF]) if self._references and found != ANY else found

    def schema(self, node: Any, depth: int) -> Schema:
        """Return one schema."""
        node, turns = self._followed(node)
        if not isinstance(node, Mapping) or turns or depth > _DEEPEST:
            return ANY
        if values := _values(node):
            return _enumerated(values)
        types = node.get("type")
        if types is None and (branches := node.get("anyOf") or node.get("oneOf")):
            return self._union(branches, depth)
        if types is None:
            types = next((name for name, mark in (("object", "properties"), ("array", "items")) if mark in node), None)
        if isinstance(types, list):
            return either(self._typed(name, node, depth) for name in types) if types else ANY
        return self._typed(types, node, depth)

    def _union(self, branches: object, depth: int) -> Schema:
        if not isinstance(branches, list) or len(branches) > MOST_ITEMS:
            return ANY
        found = either(self.schema(branch, depth + 1) for branch in branches)
        return ANY if ANY in found.get("anyOf", ()) else found

    def _typed(self, name: object, node: Mapping[str, Any], depth: int) -> Schema:
        if name == "object":
            return self._object(node, depth)
        if name == "array":
            return self._list(node, depth)
        if name == "string":
            return text(LENGTHS[0] if node.get("format") in _FORMATS else _longest(node))
        return {"type": name} if isinstance(name, str) and name in _PLAIN else ANY

    def _object(self, node: Mapping[str, Any], depth: int) -> Schema:
        fields = node.get("properties", {})
        if not isinstance(fields, Mapping) or len(fields) > MOST_ITEMS or (not fields and _open(node)):
            return FREE
        needed = node.get("required")
        required = [name for name in fields if isinstance(needed, list) and name in needed]
        return closed({name: self.value(field, depth + 1) for name, field in fields.items()}, required)

    def _list(self, node: Mapping[str, Any], depth: int) -> Schema:
        least, most = _whole(node.get("minItems")) or 0, _whole(node.get("maxItems"))
        bounds = {"maxItems": min(MOST_ITEMS, MOST_ITEMS if most is None else max(most, 0))}
        if 0 < least <= bounds["maxItems"]:
            bounds["minItems"] = least
        return {"type": "array", "items": self.value(node.get("items"), depth + 1), **bounds}

    def _followed(self, node: Any) -> tuple[Any, bool]:
        """Return what a schema refers to, inside its own document; and whether that leads nowhere."""
        for _ in range(_DEEPEST):
            if not isinstance(node, Mapping) or "$ref" not in node:
                return node, False
            node = _at(self._root, node["$ref"])
        return node, True


def _at(root: Any, place: object) -> Any:
    if not isinstance(place, str) or not place.startswith("#/"):
        return None
    for part in place[2:].split("/"):
        root = root.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(root, Mapping) else None
    return root


def _values(node: Mapping[str, Any]) -> Sequence[Any]:
    values = [node["const"]] if "const" in node else node.get("enum")
    if not isinstance(values, list) or len(values) > _MOST_VALUES:
        return ()
    return values if all(value is None or isinstance(value, str | int | float) for value in values) else ()


def _enumerated(values: Sequence[Any]) -> Schema:
    """Return an enumeration, one branch for each type, since engines want a type beside the values."""
    branches: dict[str, list[Any]] = {"string": [], "boolean": [], "number": [], "null": []}
    for _, value in dict.fromkeys((type(value), value) for value in values):
        branches[_kind(value)].append(value)
    return either(
        {"type": name} if name == "null" else {"type": name, "enum": found} for name, found in branches.items() if found
    )


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    return "boolean" if isinstance(value, bool) else "number"


def _longest(node: Mapping[str, Any]) -> int | None:
    """Return how long a text can be at most; of a pattern without endless repetition each character counts once a time."""
    if (bound := _whole(node.get("maxLength"))) is not None:
        return bound
    pattern = node.get("pattern")
    if (
        not isinstance(pattern, str)
        or not pattern.startswith("^")
        or not pattern.endswith("$")
        or _ENDLESS.search(pattern)
    ):
        return None
    return len(pattern) * prod(max(1, int(times)) for times in _TIMES.findall(pattern))


def _open(node: Mapping[str, Any]) -> bool:
    return node.get("additionalProperties", "properties" not in node) is not False


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
