"""JSON schemas in which a client wants an answer: which ones are taken, and whether an answer fits. Pure.

They come from callers, so their cost is bounded: texts are not matched against `pattern`, since some patterns take ages,
and a schema that grows large when its references are followed is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend

from retinue.json_values import json_size

MAX_BYTES = 16 * 1024
_MAX_PARTS = 5_000
_SHOWN = 200


def _ignored(*_: Any) -> Iterator[Any]:
    yield from ()


_VALIDATOR = extend(Draft202012Validator, {"pattern": _ignored, "patternProperties": _ignored})  # type: ignore[no-untyped-call]  # the library leaves it untyped


def problem(schema: Mapping[str, Any]) -> str | None:
    """Why answers cannot be written in this schema; None if they can."""
    if json_size(dict(schema)) > MAX_BYTES:
        return f"the schema has more than {MAX_BYTES // 1024} KiB"
    if schema.get("type") != "object":
        return "the schema must be of an object: its `type` must be 'object'"
    try:
        Draft202012Validator.check_schema(schema)
        if _parts(schema, schema, {}) > _MAX_PARTS:
            return "the schema is too large where its references are followed"
    except SchemaError as error:
        return f"the schema is no JSON schema (draft 2020-12): {error.message[:_SHOWN]}"
    except RecursionError:
        return "the schema is nested too deeply"
    except KeyError as error:
        return f"the schema refers to {str(error)[:_SHOWN]}, which is not in it"
    return None


def misfit(value: Any, schema: Mapping[str, Any]) -> str | None:
    """How a value differs from a schema that `problem` takes; None if it fits."""
    try:
        error = next(
            iter(_VALIDATOR({name: part for name, part in schema.items() if name != "$schema"}).iter_errors(value)),
            None,
        )
    except RecursionError:
        return "it is nested too deeply"
    return None if error is None else f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:_SHOWN]}"


def _parts(part: Any, root: Mapping[str, Any], known: dict[str, int]) -> int:
    """How many parts a schema has where each reference is followed; one that leads back to itself counts once.

    Raises:
        KeyError: A reference leads nowhere, or out of the schema.
    """
    if isinstance(part, list):
        return 1 + sum(_parts(member, root, known) for member in part)
    if not isinstance(part, Mapping):
        return 1
    followed = _followed(part["$ref"], root, known) if isinstance(part.get("$ref"), str) else 0
    return 1 + followed + sum(_parts(member, root, known) for name, member in part.items() if name != "$defs")


def _followed(reference: str, root: Mapping[str, Any], known: dict[str, int]) -> int:
    if reference not in known:
        known[reference] = 1
        target: Any = root
        if not reference.startswith("#"):
            raise KeyError(reference)
        for name in reference.removeprefix("#").split("/")[1:]:
            if not isinstance(target, Mapping) or name not in target:
                raise KeyError(reference)
            target = target[name]
        known[reference] = _parts(target, root, known)
    return known[reference]
