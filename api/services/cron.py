"""Strict parser of cron expressions with five fields: ambiguous expressions are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d{1,3}))?", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class _Field:
    """One of the five fields."""

    name: str
    low: int
    high: int
    words: dict[str, int] = field(default_factory=dict)

    def values(self, text: str) -> set[int]:
        """Return the values that the text selects."""
        return {value for part in text.split(",") for value in self._part(part)}

    def _part(self, part: str) -> range:
        found = _PART.fullmatch(part)
        if found is None or (found[1] == "*" and found[2]):
            raise self._wrong(part, "write a number, *, a-b, */n, a-b/n, or several of them with commas")
        step = int(found[3] or 1)
        first, last = (self.low, self.high) if found[1] == "*" else self._ends(part, found[1], found[2])
        if found[3] and found[1] != "*" and not found[2]:
            raise self._wrong(part, f"cron programs differ in its meaning; write {first}-{self.high}/{step}")
        if not 1 <= step <= self.high - self.low:
            raise self._wrong(part, f"a step is between 1 and {self.high - self.low}")
        return range(first, last + 1, step)

    def _ends(self, part: str, first: str, last: str | None) -> tuple[int, int]:
        ends = self._number(part, first), self._number(part, last or first)
        if ends[1] < ends[0]:
            raise self._wrong(part, "the end is before the beginning; write two parts with a comma")
        return ends

    def _number(self, part: str, text: str) -> int:
        value = self.words.get(text, int(text) if text.isdecimal() else -1)
        if not self.low <= value <= self.high:
            names = f", or a name such as {next(iter(self.words))}" if self.words else ""
            raise self._wrong(part, f"it goes from {self.low} to {self.high}{names}")
        return value

    def _wrong(self, part: str, reason: str) -> ValueError:
        return ValueError(f"the {self.name} {part[:40]!r} cannot be read: {reason}")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("weekday", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


def checked(text: str) -> str:
    """Return the expression in lower case with single blanks.

    Raises:
        ValueError: It is invalid, ambiguous, or selects no day.
    """
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"a cron expression has 5 fields, not {len(parts)}: minute, hour, day of the month, month, weekday, "
            "as in '0 8 * * mon-fri' for 08:00 on working days"
        )
    _, _, days, months, _ = (known.values(part) for known, part in zip(_FIELDS, parts, strict=True))
    if parts[2] != "*" and parts[4] != "*":
        raise ValueError(
            "name days of the month or weekdays, not both: programs differ in whether one or both must fit"
        )
    if all(day > _LENGTHS[month - 1] for day in days for month in months):
        raise ValueError("there is no such day in any of these months")
    return " ".join(parts)
