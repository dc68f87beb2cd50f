"""Checking arguments against a JSON schema (draft 2020-12) while references still stand in for some values.

A reference (`{"$from": step, "path": pointer}`) is right wherever a value may stand: as an argument, in a list, in an
object, and in every branch of `anyOf`, `oneOf` and `allOf`. What it will bring is not known yet, so only its type is
compared, where the result schema of its step tells one. Once references are replaced the same check sees the values.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jsonschema import FormatChecker, ValidationError

from retinue.schemas.validator import KEYWORDS, Checker, Keyword

FORMATS = FormatChecker(formats=("date",))
MOST_CHECKS = 30_000
"""Keywords that are applied to the parts of one set of arguments; a tenth of a second of CPU and more. Ten thousand numbers
against a union of a hundred schemas would take ten seconds, and this is called in workflow code."""
JsonTypes = frozenset[str]
TypesOf = Callable[[Mapping[str, Any]], JsonTypes | None]
"""The JSON types that a reference may bring, None where nobody can tell."""
_NOTHING_CERTAIN = frozenset({"not", "if", "contains", "uniqueItems", "enum", "const"})
"""Keywords that say nothing certain of a value in which a reference still stands."""
_LEAD_ON = frozenset({"anyOf", "oneOf", "allOf", "$ref", "$dynamicRef"})
"""Keywords that lead to other schemas of the same value."""
_WORDS = {"string": "text", "array": "a list", "object": "an object", "null": "nothing", "boolean": "true or false"}


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@dataclass(frozen=True)
class _Reference:
    """Stands in the arguments for a reference, with what is known of its value."""

    told: str
    types: JsonTypes | None

    def __repr__(self) -> str:
        return f"<{self.told}>"


class _TooMuch(Exception):
    """The arguments take more than `MOST_CHECKS`."""


class _Counting(FormatChecker):
    """Goes along with all validators of one check, and counts what they do."""

    def __init__(self) -> None:
        super().__init__(formats=())
        self.checkers = FORMATS.checkers
        self._left = MOST_CHECKS

    def count(self, word: str, instance: object) -> None:
        """Count one keyword.

        Raises:
            _TooMuch: These were too many.
        """
        pairs = len(instance) ** 2 // 1000 if word == "uniqueItems" and isinstance(instance, list) else 0
        self._left -= 1 + pairs
        if self._left < 0:
            raise _TooMuch


def problems(
    args: Mapping[str, Any], schema: Mapping[str, Any], types_of: TypesOf = lambda _: None
) -> Iterator[ValidationError]:
    """Everything that is wrong with arguments, in messages for a model; `place` says where.

    Arguments that would take too long to check are wrong, too.

    Args:
        args: The arguments, in which references may stand.
        schema: Their JSON schema.
        types_of: Tells what a reference may bring.
    """
    marked = {name: _marked(value, types_of) for name, value in args.items()}
    try:
        yield from map(_telling, _ARGUMENTS.errors(marked, schema, _Counting()))
    except _TooMuch:
        yield ValidationError("these are too many values to be checked; use fewer")


def place(error: ValidationError) -> str:
    """Where an error is: `attendees/0`, or `args` for all of them."""
    return "/".join(map(str, error.absolute_path)) or "args"


def _marked(value: Any, types_of: TypesOf) -> Any:
    if isinstance(value, Mapping):
        if "$from" in value:
            told = f"{value.get('path') or 'the whole result'} of {value['$from']}"
            return _Reference(told, types_of(value))
        return {name: _marked(item, types_of) for name, item in value.items()}
    return [_marked(item, types_of) for item in value] if isinstance(value, list) else value


def _holds_reference(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_reference, value.values()))
    return isinstance(value, _Reference) or (isinstance(value, list) and any(map(_holds_reference, value)))


def _tolerant(word: str, check: Keyword) -> Keyword:
    """A keyword's check that knows references. Those that lead to other schemas are followed for references too."""

    def tolerant(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
        validator.format_checker.count(word, instance)
        if isinstance(instance, _Reference):
            if word == "type":
                return _of_another_type(_as_types(value), instance)
            if word not in _LEAD_ON:
                return ()
        elif word in _NOTHING_CERTAIN and _holds_reference(instance):
            return ()
        return check(validator, value, instance, schema) or ()

    return tolerant


def _one_of(validator: Any, branches: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
    """Exactly one branch; at least one while a reference stands there, since its value may fit only one of them."""
    word = "anyOf" if _holds_reference(instance) else "oneOf"
    return KEYWORDS[word](validator, branches, instance, schema) or ()


_ARGUMENTS = Checker({word: _tolerant(word, check) for word, check in KEYWORDS.items()} | {"oneOf": _one_of})


def _as_types(value: Any) -> JsonTypes:
    names = frozenset([value] if isinstance(value, str) else value)
    return names | {"integer"} if "number" in names else names


def _of_another_type(wanted: JsonTypes, reference: _Reference) -> Iterator[ValidationError]:
    brings = reference.types
    if brings is not None and not brings & wanted:
        yield ValidationError(f"{_told(wanted)} is wanted here, and {reference.told} is {_told(brings)}")


def _told(types: JsonTypes) -> str:
    plain = types - {"integer"} if "number" in types else types
    named = sorted(_WORDS.get(name, f"a {name}".replace("a integer", "a whole number")) for name in plain)
    return " or ".join(named)


def _telling(error: ValidationError) -> ValidationError:
    """The error inside a union that says most: the one that got furthest into the value."""
    while error.context:
        deepest = max(error.context, key=lambda inner: (len(inner.absolute_path), not _only_says_null(inner)))
        if len(deepest.absolute_path) == len(error.absolute_path) and not isinstance(error.instance, _Reference):
            return error
        error = deepest
    return error


def _only_says_null(error: ValidationError) -> bool:
    return error.validator == "type" and error.validator_value == "null"


def types_at(schema: Mapping[str, Any], parts: list[str]) -> JsonTypes | None:
    """The JSON types that a value of this schema can have at a place, None where the schema leaves it open."""
    return _types(schema, schema, parts, depth=0)


_DEEPEST = 40


def _types(node: object, root: Mapping[str, Any], parts: list[str], depth: int) -> JsonTypes | None:
    if not isinstance(node, Mapping) or depth > _DEEPEST:
        return None
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[-1]
        return _types(root.get("$defs", {}).get(name), root, parts, depth + 1)
    branches = node.get("anyOf") or node.get("oneOf")
    if branches:
        return _united(_types(branch, root, parts, depth + 1) for branch in branches if _may_hold(branch, parts))
    if not parts:
        return _as_types(node["type"]) if "type" in node else None
    return _types(_inside(node, parts[0]), root, parts[1:], depth + 1)


def _may_hold(branch: object, parts: list[str]) -> bool:
    """Whether there can be anything inside; a plain value holds nothing."""
    return not parts or not isinstance(branch, Mapping) or branch.get("type") not in _PLAIN


_PLAIN = ("null", "string", "number", "integer", "boolean")


def _inside(node: Mapping[str, Any], part: str) -> object:
    if part in node.get("properties", {}):
        return node["properties"][part]
    return node.get("items") if part.isascii() and part.isdigit() else None


def _united(branches: Iterable[JsonTypes | None]) -> JsonTypes | None:
    """All of them together; None as soon as one is open, and where there is none."""
    found: JsonTypes = frozenset()
    for types in branches:
        if types is None:
            return None
        found |= types
    return found or None
