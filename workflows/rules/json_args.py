"""Values inside JSON arguments by JSON pointer. Pure.

Arguments may contain references (`{"$from": step, "path": pointer}`) with unknown values. Origins leave keys in a pointer
unescaped and annotations escape them, so pointers are compared unescaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from retinue.plan import pointer


def at(args: Mapping[str, JsonValue], path: str) -> JsonValue:
    """Return the value at a pointer, or None."""
    try:
        return pointer(dict(args), path)
    except LookupError:
        return None


def is_reference(value: JsonValue) -> bool:
    """Whether a value is a reference to an earlier step's result."""
    return isinstance(value, dict) and "$from" in value


def leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Yield every plain value inside a value with its pointer, without references and null."""
    return ((place, leaf) for place, leaf in leaves_and_references(path, value) if not is_reference(leaf))


def leaves_and_references(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Yield every plain value and every reference inside a value with its pointer, without null."""
    if isinstance(value, dict) and not is_reference(value):
        for key, item in value.items():
            yield from leaves_and_references(f"{path}/{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves_and_references(f"{path}/{index}", item)
    elif value is not None:
        yield path, value


def touches(path: str, other: str) -> bool:
    """Whether one of two pointers contains the other."""
    return holds(path, other) or holds(other, path)


def holds(outer: str, inner: str) -> bool:
    """Whether a pointer is, or lies inside, another."""
    return f"{_unescaped(inner)}/".startswith(f"{_unescaped(outer)}/")


def _unescaped(path: str) -> str:
    return path.replace("~1", "/").replace("~0", "~")


@dataclass(frozen=True)
class Values:
    """The values at one pointer. If a reference leaves some of them unknown, `guess` is the result for those."""

    known: list[JsonValue]
    unknown: bool

    @classmethod
    def of(cls, args: Mapping[str, JsonValue], path: str) -> Values:
        """Return the values of arguments at a pointer. A reference on the path makes them unknown."""
        found = [value for _, value in leaves_and_references(path, at_or_reference(args, path))]
        known = [value for value in found if not is_reference(value)]
        return cls(known, unknown=len(known) < len(found))

    def every(self, fits: Callable[[JsonValue], bool], guess: bool) -> bool:
        """Whether there is a value and all values fit."""
        return all(map(fits, self.known)) and (guess if self.unknown else bool(self.known))

    def some(self, fits: Callable[[JsonValue], bool], guess: bool) -> bool:
        """Whether a value fits."""
        return any(map(fits, self.known)) or (guess and self.unknown)

    def none(self, guess: bool) -> bool:
        """Whether there is no value."""
        return not self.known and (guess or not self.unknown)


def at_or_reference(args: Mapping[str, JsonValue], path: str) -> JsonValue:
    """Return the value at a pointer, or the reference that is on the path."""
    value: JsonValue = dict(args)
    for part in path.split("/")[1:]:
        if is_reference(value):
            break
        try:
            value = pointer(value, f"/{part}")
        except LookupError:
            return None
    return value
