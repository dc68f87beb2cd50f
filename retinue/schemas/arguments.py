"""Checks arguments against a JSON schema (draft 2020-12) while they still contain references.

A reference (`{"$from": step, "path": pointer}`) is valid wherever a value is: as an argument, in a list, in an object, and
in every branch of `anyOf`, `oneOf` and `allOf`. Its value is not known yet, so only its type is compared, if the result
schema of its step names one. The same check applies to resolved arguments.

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
"""The most keywords applied in one check, at least a tenth of a second of CPU. Workflow code calls it, and ten thousand
numbers against a union of a hundred schemas would take ten seconds."""
JsonTypes = frozenset[str]
TypesOf = Callable[[Mapping[str, Any]], JsonTypes | None]
"""Returns the JSON types that a reference may have, None if unknown."""
_NOTHING_CERTAIN = frozenset({"not", "if", "contains", "uniqueItems", "enum", "const"})
"""Keywords that cannot be decided for a value that contains a reference."""
_LEAD_ON = frozenset({"anyOf", "oneOf", "allOf", "$ref", "$dynamicRef"})
"""Keywords that apply other schemas to the same value."""
_WORDS = {"string": "text", "array": "a list", "object": "an object", "null": "nothing", "boolean": "true or false"}


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@dataclass(frozen=True)
class _Reference:
    """Replaces a reference in the arguments, with the known types of its value."""

    told: str
    types: JsonTypes | None

    def __repr__(self) -> str:
        return f"<{self.told}>"


class _TooMuch(Exception):
    """The check takes more than `MOST_CHECKS` keywords."""


class _Counting(FormatChecker):
    """Counts the keywords that all validators of one check apply."""

    def __init__(self) -> None:
        super().__init__(formats=())
        self.checkers = FORMATS.checkers
        self._left = MOST_CHECKS

    def count(self, word: str, instance: object) -> None:
        """Count one keyword.

        Raises:
            _TooMuch: The limit is reached.
        """
        pairs = len(instance) ** 2 // 1000 if word == "uniqueItems" and isinstance(instance, list) else 0
        self._left -= 1 + pairs
        if self._left < 0:
            raise _TooMuch


def problems(
    args: Mapping[str, Any], schema: Mapping[str, Any], types_of: TypesOf = lambda _: None
) -> Iterator[ValidationError]:
    """Yield all errors in arguments, with messages for a model; `place` returns where.

    Arguments that would take too long to check are an error too.

    Args:
        args: The arguments, which may contain references.
        schema: Their JSON schema.
        types_of: Returns the types that a reference may have.
    """
    marked = {name: _marked(value, types_of) for name, value in args.items()}
    try:
        yield from map(_telling, _ARGUMENTS.errors(marked, schema, _Counting()))
    except _TooMuch:
        yield ValidationError("there are too many values to check; use fewer")


def place(error: ValidationError) -> str:
    """Return where an error is: `attendees/0`, or `args` for all arguments."""
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
    """Return a keyword's check that accepts references."""

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
    """Check that exactly one branch fits; with references at least one, since a value may fit only one of them."""
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
    """Return the most informative error inside a union: the deepest one."""
    while error.context:
        deepest = max(error.context, key=lambda inner: (len(inner.absolute_path), not _only_says_null(inner)))
        if len(deepest.absolute_path) == len(error.absolute_path) and not isinstance(error.instance, _Reference):
            return error
        error = deepest
    return error


def _only_says_null(error: ValidationError) -> bool:
    return error.validator == "type" and error.validator_value == "null"


def types_at(schema: Mapping[str, Any], parts: list[str]) -> JsonTypes | None:
    """Return the JSON types that a value of this schema can have at a pointer; None if the schema allows any."""
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
    """Whether the value can contain others; a plain value cannot."""
    return not parts or not isinstance(branch, Mapping) or branch.get("type") not in _PLAIN


_PLAIN = ("null", "string", "number", "integer", "boolean")


def _inside(node: Mapping[str, Any], part: str) -> object:
    if part in node.get("properties", {}):
        return node["properties"][part]
    return node.get("items") if part.isascii() and part.isdigit() else None


def _united(branches: Iterable[JsonTypes | None]) -> JsonTypes | None:
    """Return the union; None if one is None or there are none."""
    found: JsonTypes = frozenset()
    for types in branches:
        if types is None:
            return None
        found |= types
    return found or None
