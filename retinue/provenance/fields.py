"""Origins of a result's texts, field by field: data, the capability's own text, or strangers' text.

A text is *data* if its schema names an enumeration, a date or time format, or an id (`x-origin: id`), and the value is
valid: a stranger's sentence in a field of format `date` is not data. A text is the capability's *own* if the schema says
`x-origin: own`, or the tool `trusted_output`. All other texts, and those that no schema names, are strangers'.

`field_origins` reads a result schema once, when a plan is bound; a run stores only its result. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

KEYWORD = "x-origin"
"""The keyword in a JSON schema for a text's origin: `own` or `id`."""
_OWN = "own"
_ID = "id"
_EACH = "*"
"""The key in `FieldOrigins` for every item of a list."""
_MOST_PARTS = 200
"""The most nodes that are read of one schema."""
_FORMATS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "date": r"\d{4}-\d\d-\d\d",
        "time": r"\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?",
        "date-time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?",
        "duration": r"-?P[\dTYMWDHS.,]{1,40}",
        "uuid": r"[\da-fA-F-]{32,36}",
        # more letters than a to f would suffice to write a sentence
        "id": r"[\da-fA-F-]{1,64}(\.(ics|vcf))?",
    }.items()
}

FieldOrigins = dict[str, Any]
"""By field: a nested `FieldOrigins` for objects and lists, else a list of what its text may be: `own`, a format's name,
`id`, or `=` and a value of an enumeration. A field without text has an empty list; one with any text has no entry."""


class Whose(StrEnum):
    """The origin of a text."""

    DATA = "data"
    OWN = "own"
    STRANGERS = "strangers"


def field_origins(schema: Mapping[str, Any]) -> FieldOrigins:
    """Return the origins of the fields of a result schema; of a very large schema only its first part is read."""
    found = _Reader(schema).read(schema, ())
    return found if isinstance(found, dict) else {}


class _Reader:
    """Reads one untrusted schema, within limits, since it may refer to itself."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions = root.get("$defs", {})
        self._left = _MOST_PARTS

    def read(self, node: Any, above: tuple[str, ...]) -> FieldOrigins | list[str] | None:
        """Return the origins of one node; None if it allows any text. `above` are the references that led here."""
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
    """Return the origins that hold in every branch of a union; branches without text do not count."""
    telling = [branch for branch in branches if branch != []]
    if not telling:
        return []
    if len(telling) == 1 or all(branch == telling[0] for branch in telling):
        return telling[0]
    if all(isinstance(branch, list) for branch in telling):
        # a value identifies its kind, except own text
        return [name for branch in telling for name in branch or () if name != _OWN]
    return None


def texts(value: JsonValue, fields: FieldOrigins | list[str] | None, *, other: Whose) -> Iterator[Whose]:
    """Yield the origin of every text inside a value, including names of undeclared fields.

    Args:
        value: A result, or a part of it.
        fields: The origins of this part.
        other: The origin of texts without an entry.
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
    """Return the origins of the part of a result at a JSON pointer, given by its parts."""
    found: FieldOrigins | list[str] | None = fields
    for part in parts:
        if found == [_OWN]:
            return found
        if not isinstance(found, dict):
            return None
        found = found.get(_EACH if part.isascii() and part.isdigit() and _EACH in found else part)
    return found


def kept(value: JsonValue, fields: FieldOrigins | list[str] | None, *, allowed: frozenset[Whose]) -> JsonValue:
    """Return a value with only the texts of `allowed` origins and only declared fields; others become null.

    Args:
        value: A result, or a part of it.
        fields: The origins of this part.
        allowed: Origins of the texts to keep.
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
