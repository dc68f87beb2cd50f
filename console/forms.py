"""Converts a tool's argument schema to a form, and a filled-in form to arguments. Pure.

A field is named by its JSON pointer. Values without a suitable field (a list of objects, a free object) are one field of
JSON text; usual arguments are texts, numbers, times, choices and lists of texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

Schema = Mapping[str, Any]
_LONG = 80
_DEEPEST = 4
_HELP = {"date-time": "date and time with its offset, as in 2027-01-31T09:00:00+01:00", "date": "as in 2027-01-31"}
_LONG_NAMES = frozenset({"body", "text", "description", "content", "instruction", "notes", "message"})


class Kind(StrEnum):
    """The kind of a field."""

    TEXT = "text"
    LONG = "long"
    EMAIL = "email"
    NUMBER = "number"
    WHOLE = "whole"
    YES_NO = "yes-no"
    CHOICE = "choice"
    LINES = "lines"
    JSON = "json"


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    label: str
    kind: Kind
    value: str
    required: bool
    help: str = ""
    choices: Sequence[str] = ()
    error: str = ""


class Unreadable(ValueError):
    """The form's values are not valid arguments. `errors` says why, by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = dict(errors)


@dataclass
class _Form:
    root: Schema
    fields: list[tuple[Field, Schema]] = field(default_factory=list)


def fields(
    schema: Schema,
    args: Mapping[str, JsonValue],
    *,
    at: str = "",
    filled: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> list[Field]:
    """Return the fields for the current arguments.

    Args:
        schema: JSON Schema of the arguments, an object.
        args: The current values.
        at: Prefix of the fields' names, for forms with the arguments of several steps.
        filled: Values of an earlier attempt, by field.
        errors: Errors of that attempt, by field.
    """
    before, wrong = filled or {}, errors or {}
    return [
        Field(
            name=pointer,
            label=_label(pointer.removeprefix(at), own),
            kind=kind,
            value=before.get(pointer, _shown(value, kind)),
            required=required,
            help=str(own.get("description") or _HELP.get(str(own.get("format")), "")),
            choices=[str(one) for one in own.get("enum", [])],
            error=wrong.get(pointer, ""),
        )
        for pointer, own, kind, value, required in _walk(schema, schema, args, at, 0)
    ]


def arguments(
    schema: Schema, args: Mapping[str, JsonValue], filled: Mapping[str, str], *, at: str = ""
) -> dict[str, JsonValue]:
    """Return the arguments from a form; values without a field stay unchanged. `at` is the prefix of the names.

    Raises:
        Unreadable: A field has an invalid value.
    """
    result: dict[str, JsonValue] = json.loads(json.dumps(args))
    errors: dict[str, str] = {}
    for pointer, _, kind, before, required in list(_walk(schema, schema, args, at, 0)):
        if pointer not in filled and kind is not Kind.YES_NO:
            continue
        text = filled.get(pointer, "")
        if text.replace("\r\n", "\n") == _shown(before, kind).replace("\r\n", "\n"):
            continue
        if not text.strip() and not required and kind is not Kind.YES_NO:
            _remove(result, pointer.removeprefix(at))
            continue
        try:
            _put(result, pointer.removeprefix(at), _read(text, kind))
        except ValueError as error:
            errors[pointer] = str(error)
    if errors:
        raise Unreadable(errors)
    return result


def _walk(
    root: Schema, schema: Schema, value: Any, at: str, depth: int
) -> Iterator[tuple[str, Schema, Kind, Any, bool]]:
    """Yield every field of an object: pointer, schema, kind, value, whether it is required."""
    required = set(schema.get("required", []))
    for name, raw in (schema.get("properties") or {}).items():
        own = _resolved(root, raw)
        pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        held = value.get(name) if isinstance(value, Mapping) else None
        if own.get("type") == "object" and own.get("properties") and depth < _DEEPEST:
            yield from _walk(root, own, held or {}, pointer, depth + 1)
        else:
            yield pointer, own, _kind(root, name, own, held), held, name in required


def _resolved(root: Schema, schema: Schema) -> Schema:
    """Resolve references and remove `null` alternatives of a schema."""
    for _ in range(10):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/$defs/"):
            found = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
            schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
            continue
        options = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
        if len(options) == 1 and "anyOf" in schema:
            schema = {**options[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
            continue
        break
    return schema


def _kind(root: Schema, name: str, schema: Schema, value: Any) -> Kind:
    if schema.get("enum"):
        return Kind.CHOICE
    match schema.get("type"):
        case "string":
            if schema.get("format") == "email":
                return Kind.EMAIL
            is_long = name in _LONG_NAMES or (isinstance(value, str) and ("\n" in value or len(value) > _LONG))
            return Kind.LONG if is_long else Kind.TEXT
        case "integer":
            return Kind.WHOLE
        case "number":
            return Kind.NUMBER
        case "boolean":
            return Kind.YES_NO
        case "array" if _resolved(root, schema.get("items") or {}).get("type") == "string":
            return Kind.LINES
    return Kind.JSON


def _label(pointer: str, schema: Schema) -> str:
    words = [name.replace("_", " ") for name in names(pointer)]
    title = str(schema.get("title") or "").strip()
    last = words[-1].capitalize()
    return " › ".join([*(word.capitalize() for word in words[:-1]), title if title.lower() == last.lower() else last])


def _shown(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    match kind:
        case Kind.LINES if isinstance(value, list):
            return "\n".join(str(one) for one in value)
        case Kind.YES_NO:
            return "yes" if value else ""
        case Kind.JSON:
            return json.dumps(value, ensure_ascii=False, indent=2)
    return str(value)


def _read(text: str, kind: Kind) -> JsonValue:
    match kind:
        case Kind.LINES:
            return [line.strip() for line in text.splitlines() if line.strip()]
        case Kind.YES_NO:
            return bool(text)
        case Kind.WHOLE | Kind.NUMBER:
            return _number(text.strip(), whole=kind is Kind.WHOLE)
        case Kind.JSON:
            return _json(text)
    return text.replace("\r\n", "\n")


def _number(text: str, *, whole: bool) -> JsonValue:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ValueError("write a whole number" if whole else "write a number") from None


def _json(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("this is not valid JSON") from None
    return found


def _put(args: dict[str, JsonValue], pointer: str, value: JsonValue) -> None:
    *path, last = names(pointer)
    inner: Any = args
    for name in path:
        held = inner.get(name)
        if not isinstance(held, dict):
            held = inner[name] = {}
        inner = held
    inner[last] = value


def _remove(args: dict[str, JsonValue], pointer: str) -> None:
    *path, last = names(pointer)
    inner: Any = args
    for name in path:
        inner = inner.get(name)
        if not isinstance(inner, dict):
            return
    inner.pop(last, None)


def names(pointer: str) -> list[str]:
    """Return the names in a JSON pointer, outermost first."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
