"""The JSON-schema validator (draft 2020-12) that all checks share. A schema may refer only to its own parts.

Left alone, the library fetches a reference by HTTP or from a file. Schemas come from callers and from remote servers, so
nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]
KEYWORDS: Mapping[str, Keyword] = Draft202012Validator.VALIDATORS
_NOTHING_ELSE: Registry[Any] = Registry()
_NAMES_ANOTHER = frozenset({"$schema", "$id"})


class Checker:
    """Check values against schemas.

    Args:
        keywords: Checks that replace those of the library.
    """

    def __init__(self, keywords: Mapping[str, Keyword] | None = None) -> None:
        self._type = extend(Draft202012Validator, keywords or {})  # type: ignore[no-untyped-call]  # the library leaves it untyped

    def errors(
        self, value: Any, schema: Mapping[str, Any], formats: FormatChecker | None = None
    ) -> Iterator[ValidationError]:
        """Return what is wrong with a value.

        Raises:
            RecursionError: One of them is nested too deeply.
        """
        plain = {word: part for word, part in schema.items() if word not in _NAMES_ANOTHER}
        try:
            yield from self._type(plain, registry=_NOTHING_ELSE, format_checker=formats).iter_errors(value)
        except Unresolvable:
            yield ValidationError("the schema refers to something that is not in it", validator="$ref")
