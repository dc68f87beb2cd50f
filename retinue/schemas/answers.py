"""JSON schemas that a client requests for an answer: which are accepted, and whether an answer fits. Pure.

They come from callers, so their cost is bounded: `pattern` is not checked, since some patterns take very long, and a schema
that becomes large when its references are followed is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from retinue.json_values import json_size
from retinue.schemas.validator import Checker

MAX_BYTES = 16 * 1024
_MAX_PARTS = 5_000
_SHOWN = 200
_REFERRING = ("$ref", "$dynamicRef")
_NAMING = ("$id", "$schema", "$anchor", "$dynamicAnchor")
"""Keywords that, inside a schema, change what references mean or which validator is used."""
_PLAIN_REFERENCE = re.compile(r"#(/[^%~]*)?")
"""A place in the schema, without escapes: `_followed` and the validator must find the same part."""


class _NamesItself(Exception):
    """A part of a schema has a name or a kind of schema of its own; the argument is the keyword."""


def _ignored(*_: Any) -> Iterator[Any]:
    yield from ()


_ANSWERS = Checker({"pattern": _ignored, "patternProperties": _ignored})


def problem(schema: Mapping[str, Any]) -> str | None:
    """Return why a schema is refused; None if it is accepted."""
    if json_size(dict(schema)) > MAX_BYTES:
        return f"the schema has more than {MAX_BYTES // 1024} KiB"
    if schema.get("type") != "object":
        return "the schema must describe an object: its `type` must be 'object'"
    try:
        Draft202012Validator.check_schema(schema)
        if _parts(schema, schema, {}) > _MAX_PARTS:
            return "the schema is too large where its references are followed"
    except SchemaError as error:
        return f"the schema is not a valid JSON schema (draft 2020-12): {error.message[:_SHOWN]}"
    except RecursionError:
        return "the schema is nested too deeply"
    except _NamesItself as error:
        return f"a part of the schema has a {error} of its own"
    except KeyError as error:
        return f"the schema refers to {str(error)[:_SHOWN]}, which is not in it"
    return None


def misfit(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return how a value differs from a schema that `problem` accepts; None if it fits."""
    try:
        error = next(_ANSWERS.errors(value, schema), None)
    except RecursionError:
        return "it is nested too deeply"
    return None if error is None else f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:_SHOWN]}"


def _parts(part: Any, root: Mapping[str, Any], known: dict[str, int]) -> int:
    """Return the number of nodes of a schema with references followed; a recursive one counts once.

    Raises:
        KeyError: A reference leads nowhere, or out of the schema.
        _NamesItself: A part has a name of its own, or names its own kind of schema.
    """
    if isinstance(part, list):
        return 1 + sum(_parts(member, root, known) for member in part)
    if not isinstance(part, Mapping):
        return 1
    if part is not root and (named := [word for word in _NAMING if isinstance(part.get(word), str)]):
        raise _NamesItself(named[0])
    followed = [_followed(part[word], root, known) for word in _REFERRING if isinstance(part.get(word), str)]
    return 1 + sum(followed) + sum(_parts(member, root, known) for member in part.values())


def _followed(reference: str, root: Mapping[str, Any], known: dict[str, int]) -> int:
    if reference not in known:
        known[reference] = 1
        target: Any = root
        if not _PLAIN_REFERENCE.fullmatch(reference):
            raise KeyError(reference)
        for name in reference.removeprefix("#").split("/")[1:]:
            if not isinstance(target, Mapping) or name not in target:
                raise KeyError(reference)
            target = target[name]
        known[reference] = _parts(target, root, known)
    return known[reference]
