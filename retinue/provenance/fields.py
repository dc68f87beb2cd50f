"""Whose words stand in a result, field by field: data, the capability's own text, or text by strangers.

Only texts can carry somebody's words. A text is *data* where its schema names an enumeration, a date or time format, or
an id (`x-origin: id`), and where the value really is one: a stranger's sentence in a field of format `date` is a
sentence. It is the capability's *own* where the schema says `x-origin: own`, or where the whole tool says
`trusted_output`. Everything else, and what no schema names, is strangers' text.

`field_origins` reads a result schema once, when a plan is bound; a run carries only what came of it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

KEYWORD = "x-origin"
"""The keyword in a JSON schema by which a capability says whose a text is: `own` or `id`."""
_OWN = "own"
_ID = "id"
_EACH = "*"
"""Stands in `FieldOrigins` for every item of a list."""
_MOST_PARTS = 200
"""Of one schema."""
_FORMATS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "date": r"\d{4}-\d\d-\d\d",
        "time": r"\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?",
        "date-time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?",
        "duration": r"-?P[\dTYMWDHS.,]{1,40}",
        "uuid": r"[\da-fA-F-]{32,36}",
        # letters beyond f would be enough to write a sentence in
        "id": r"[\da-fA-F-]{1,64}(\.(ics|vcf))?",
    }.items()
}

FieldOrigins = dict[str, Any]
"""By field of an object what its value may be: the same again for objects and lists, else a list of what a text there may
be: `own`, the name of a format, `id`, or `=` and a value of an enumeration. A field that holds no text has an empty list, one whose text may be anybody's has none."""


class Whose(StrEnum):
    """Whose words a text is."""

    DATA = "data"
    OWN = "own"
    STRANGERS = "strangers"


def field_origins(schema: Mapping[str, Any]) -> FieldOrigins:
    """What a result schema says about its fields. Of a very large schema only the first part is read."""
    found = _Reader(schema).read(schema, ())
    return found if isinstance(found, dict) else {}


class _Reader:
    """Reads one schema, within bounds: it may come from outside, and refer to itself."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions = root.get("$defs", {})
        self._left = _MOST_PARTS

    def read(self, node: Any, above: tuple[str, ...]) -> FieldOrigins | list[str] | None:
        """What one part says; None where it leaves open what a text may be. `above` are the references that led here."""
        self._left -= 1
        if not isinstance(node, Mapping) or self._left < 0:
            return None
        if node.get(KEYWORD) in (_OWN, _ID):
            return [str(node[KEYWORD])]
        if "$ref" in node:
            name = str(node["$ref"]).rsplit("/", 1)[-1]
            return None if name in above else self.read(self._definitions.get(name), (*above, name))
        if branches := node.get("anyOf") or node.get("oneOf"):
            return _united([self.read(branch, above) for branch in branches])
        if "enum" in node or "const" in node:
            return [f"={value}" for value in node.get("enum", [node.get("const")]) if isinstance(value, str)]
        if "properties" in node or "items" in node:
            return self._inside(node, above)
        return _of_plain(node)

    def _inside(self, node: Mapping[str, Any], above: tuple[str, ...]) -> FieldOrigins:
        inside = {**node.get("properties", {}), **({_EACH: node["items"]} if "items" in node else {})}
        return {name: self.read(part, above) for name, part in inside.items()}


def _of_plain(node: Mapping[str, Any]) -> list[str] | None:
    if node.get("format") in _FORMATS and node["format"] != _ID:
        return [str(node["format"])]
    types = node.get("type")
    without_text = {types} if isinstance(types, str) else set(types or ())
    return [] if without_text and without_text <= {"number", "integer", "boolean", "null"} else None


def _united(branches: list[FieldOrigins | list[str] | None]) -> FieldOrigins | list[str] | None:
    """What holds in every branch of a union. Branches without text say nothing about texts."""
    telling = [branch for branch in branches if branch != []]
    if not telling:
        return []
    if len(telling) == 1 or all(branch == telling[0] for branch in telling):
        return telling[0]
    if all(isinstance(branch, list) for branch in telling):
        # each can be told by its value, but for our own words
        return [name for branch in telling for name in branch or () if name != _OWN]
    return None


def texts(value: JsonValue, fields: FieldOrigins | list[str] | None, *, other: Whose) -> Iterator[Whose]:
    """Whose every text inside a value is, names of undeclared fields included.

    Args:
        value: A result, or a part of it.
        fields: What is known of exactly this part.
        other: Whose a text is of which nothing is known.
    """
    if isinstance(value, str):
        if value:
            yield _whose(value, fields if isinstance(fields, list) else (), other)
    elif isinstance(value, dict | list):
        if fields == [_OWN]:
            yield from [Whose.OWN] if value else []
            return
        known = fields if isinstance(fields, dict) else {}
        for name, item in _items(value):
            if name not in known and isinstance(value, dict):
                yield other
            yield from texts(item, known.get(name), other=other)


def _whose(text: str, kinds: list[str] | tuple[()], other: Whose) -> Whose:
    for kind in kinds:
        if kind == f"={text}" or (kind in _FORMATS and _FORMATS[kind].fullmatch(text)):
            return Whose.DATA
    return Whose.OWN if _OWN in kinds else other


def _items(value: dict[str, JsonValue] | list[JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    else:
        yield from ((_EACH, item) for item in value)


def at(fields: FieldOrigins, parts: list[str]) -> FieldOrigins | list[str] | None:
    """What is known of the part of a result at a JSON pointer, given by its parts."""
    found: FieldOrigins | list[str] | None = fields
    for part in parts:
        if found == [_OWN]:
            return found
        if not isinstance(found, dict):
            return None
        found = found.get(_EACH if part.isascii() and part.isdigit() and _EACH in found else part)
    return found


def kept(value: JsonValue, fields: FieldOrigins | list[str] | None, *, allowed: frozenset[Whose]) -> JsonValue:
    """A value with those texts alone that are `allowed`, and with declared fields alone; null stands for what is left out.

    Args:
        value: A result, or a part of it.
        fields: What is known of exactly this part.
        allowed: Whose texts stay.
    """
    if isinstance(value, str):
        whose = _whose(value, fields if isinstance(fields, list) else (), Whose.STRANGERS)
        return value if whose in allowed else None
    if isinstance(value, dict | list) and fields == [_OWN]:
        return value if Whose.OWN in allowed else None
    known = fields if isinstance(fields, dict) else {}
    if isinstance(value, dict):
        return {name: kept(item, known[name], allowed=allowed) for name, item in value.items() if name in known}
    if isinstance(value, list):
        items = [kept(item, known.get(_EACH), allowed=allowed) for item in value]
        return items if not items or any(item is not None for item in items) else None
    return value
