"""Reads times of day, lengths and parts of the day: `3pm`, `from 2 to 4pm`, `half past nine`, `90 minutes`, `afternoon`."""

from dataclasses import dataclass, replace
from datetime import time
from enum import StrEnum

from offline.planner.dates import COUNTS, month_number
from offline.planner.outcomes import Doubt
from offline.planner.scan import Scan
from offline.planner.tokens import Kind

HALF_DAYS = {"p": "pm", "am": "am", "pm": "pm", "a.m.": "am", "p.m.": "pm", "a.m": "am", "p.m": "pm"}
_UNITS = {"minute": 1, "minutes": 1, "min": 1, "mins": 1, "hour": 60, "hours": 60, "hr": 60, "hrs": 60, "h": 60}
_HOURS = {word: number for word, number in COUNTS.items() if word not in ("a", "an")}


class Part(StrEnum):
    """A part of the day. It is a window to look in, never the start of an event."""

    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"


PART_HOURS = {Part.MORNING: (9, 12), Part.AFTERNOON: (12, 18), Part.EVENING: (18, 22)}


@dataclass(frozen=True, slots=True)
class Spoken:
    """A time of day as written; `half_day` is "am" or "pm", or empty if it is open and `exact` is false."""

    hour: int
    minute: int
    half_day: str
    exact: bool
    start: int
    end: int
    doubt: Doubt | None = None

    def likely(self) -> "Spoken":
        """The time that is meant by day, for questions that change nothing: 7 to 11 in the morning, 12 to 6 after noon."""
        return self.with_half_day("am" if 7 <= self.hour <= 11 else "pm")

    def with_half_day(self, half_day: str) -> "Spoken":
        """Return the time with the half day from another word of the sentence."""
        return self if self.exact or self.half_day else replace(self, half_day=half_day)

    def settle(self) -> time | Doubt:
        """The time of day, or the question that settles it."""
        if self.doubt:
            return self.doubt
        if self.half_day:
            return time(self.hour % 12 + (12 if self.half_day == "pm" else 0), self.minute)
        return time(self.hour, self.minute) if self.exact else self._which_half()

    def _which_half(self) -> Doubt:
        clock = f"{self.hour}:{self.minute:02}" if self.minute else str(self.hour)
        choices = ((f"{clock} am", f"{clock} am"), (f"{clock} pm", f"{clock} pm"))
        return Doubt(f"Do you mean {clock} am or {clock} pm?", self.start, self.end, choices)


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, or a stretch from one to another."""

    start: Spoken
    end: Spoken | None = None

    @property
    def close(self) -> int:
        """Where it ends in the text."""
        return (self.end or self.start).end


@dataclass(frozen=True, slots=True)
class Bound:
    """`after 3pm` or `before noon`: one side of a window."""

    clock: Spoken
    after: bool


def read_clock(scan: Scan, at: int) -> tuple[Clock, int] | None:
    """A time or a stretch of time, with `at`, `from` or `between` before it or not."""
    begin = scan.skip(at, "at", "@", "from", "between")
    led = begin > at
    first = _spoken(scan, begin, bare=True)
    if first is None:
        return None
    joiners = ("and",) if scan.low(at) == "between" else ("to", "until", "till", "-")
    joint = scan.phrase(first[1], *joiners)
    last = _spoken(scan, joint, bare=True) if joint else None
    if last is not None and (led or _timely(scan, begin, last[1])):
        return _stretch(first[0], last[0]), last[1]
    alone = _spoken(scan, begin, bare=scan.low(at) in ("at", "@"))
    return (Clock(alone[0]), alone[1]) if alone else None


def _timely(scan: Scan, start: int, end: int) -> bool:
    """Whether some token says that numbers are times: without one, `2-4` could be anything."""
    return any(scan.kind(at) is Kind.TIME or scan.low(at) in (*HALF_DAYS, "noon") for at in range(start, end))


def _stretch(first: Spoken, last: Spoken) -> Clock:
    """In `2 to 4pm` the last word counts for both, in `11 to 1pm` it cannot: then the first is the other half."""
    if first.exact or first.half_day or not last.half_day:
        if first.half_day and not last.exact and not last.half_day and last.hour > first.hour:
            last = last.with_half_day(first.half_day)
        return Clock(first, last)
    same = first.with_half_day(last.half_day)
    return Clock(same if _minutes(same) < _minutes(last) else first.with_half_day("am"), last)


def _minutes(spoken: Spoken) -> int:
    settled = spoken.settle()
    return settled.hour * 60 + settled.minute if isinstance(settled, time) else 0


def _spoken(scan: Scan, at: int, *, bare: bool) -> tuple[Spoken, int] | None:
    if found := _named(scan, at) or _half_past(scan, at):
        return found
    digits = _digits(scan, at)
    if digits is None or month_number(scan, at + 1):
        return None
    hour, minute, certain = digits
    if spoken := _spoken_minutes(scan, at):
        return _judged(scan, at, spoken[2], (hour, spoken[0], spoken[1], False)), spoken[2]
    end = scan.skip(at + 1, "o'clock", "oclock", "o clock")
    clear = end > at + 1 or certain
    half_day, end = _half_day(scan, end)
    if not bare and not half_day and not clear and scan.kind(at) is not Kind.TIME:
        return None
    return _judged(scan, at, end, (hour, minute, half_day, certain)), end


def _spoken_minutes(scan: Scan, at: int) -> tuple[int, str, int] | None:
    """`one 30 pm`, as dictation writes it: the minutes, the half of the day, and the place behind them."""
    word = scan.low(at + 1)
    half_day, end = _half_day(scan, at + 2)
    if scan.kind(at) is Kind.TIME or scan.kind(at + 1) is not Kind.NUMBER or len(word) != 2 or not half_day:
        return None
    return (int(word), half_day, end) if word.isdigit() and int(word) < 60 else None


def _judged(scan: Scan, at: int, end: int, parts: tuple[int, int, str, bool]) -> Spoken:
    hour, minute, half_day, certain = parts
    start, stop = scan.begin(at), scan.close(end)
    possible = 1 <= hour <= 12 if half_day else hour <= 23
    doubt = None
    if not possible or minute > 59:
        doubt = Doubt(f'"{scan.text[start:stop]}" is not a time of day. At what time?', start, stop)
    exact = not half_day and (certain or hour > 12 or hour == 0)
    return Spoken(hour, minute, half_day, exact, start, stop, doubt)


def _digits(scan: Scan, at: int) -> tuple[int, int, bool] | None:
    """Hour, minute, and whether two digits and minutes make it a time of the 24-hour clock."""
    word = scan.low(at)
    if scan.kind(at) is Kind.TIME:
        hour, minute = word.split(":")
        return int(hour), int(minute), len(hour) == 2
    if scan.kind(at) is Kind.NUMBER and word.isdigit() and len(word) <= 2:
        return int(word), 0, False
    return (_HOURS[word], 0, False) if word in _HOURS else None


def _half_day(scan: Scan, at: int) -> tuple[str, int]:
    if half_day := HALF_DAYS.get(scan.low(at)):
        return half_day, at + 1
    if end := scan.phrase(at, "in the morning"):
        return "am", end
    end = scan.phrase(at, "in the afternoon", "in the evening", "at night")
    return ("pm", end) if end else ("", at)


def _named(scan: Scan, at: int) -> tuple[Spoken, int] | None:
    if scan.low(at) in ("noon", "midday"):
        return Spoken(12, 0, "", True, scan.begin(at), scan.close(at + 1)), at + 1
    if scan.low(at) != "midnight":
        return None
    question = 'Is "midnight" the beginning of that day (00:00) or its end (24:00, that is 00:00 of the day after)?'
    doubt = Doubt(question, scan.begin(at), scan.close(at + 1), (("the beginning", "00:00"),))
    return Spoken(0, 0, "", True, scan.begin(at), scan.close(at + 1), doubt), at + 1


def _half_past(scan: Scan, at: int) -> tuple[Spoken, int] | None:
    """`half past nine`, `quarter to 4 pm`."""
    begin = scan.phrase(at, "half past", "quarter past", "a quarter past", "quarter to", "a quarter to")
    digits = _digits(scan, begin) if begin else None
    if begin is None or digits is None or scan.kind(begin) is Kind.TIME:
        return None
    before = scan.low(begin - 1) == "to"
    minute = 30 if "half" in scan.low(begin - 2) else 45 if before else 15
    hour = (digits[0] - 1 or 12) if before else digits[0]
    half_day, end = _half_day(scan, begin + 1)
    return _judged(scan, at, end, (hour, minute, half_day, False)), end


def read_bound(scan: Scan, at: int) -> tuple[Bound, int] | None:
    """`after 3pm`, `before 11:00`."""
    begin = scan.phrase(at, "after", "before")
    found = _spoken(scan, begin, bare=True) if begin else None
    return (Bound(found[0], scan.low(at) == "after"), found[1]) if found else None


def read_part(scan: Scan, at: int) -> tuple[Part, int] | None:
    """`in the morning`, `afternoon`, `this evening`, `tonight`."""
    if scan.low(at) == "tonight":
        return Part.EVENING, at + 1
    if end := scan.phrase(at, "at night", "in the night"):
        return Part.EVENING, end
    begin = scan.skip(at, "in the", "during the", "the")
    word = scan.low(begin)
    return (Part(word), begin + 1) if word in PART_HOURS else None


def read_length(scan: Scan, at: int) -> tuple[int, int] | None:
    """A length in minutes: `for 45 minutes`, `half an hour`, `an hour and a half`, `90-minute`, `1.5 hours`."""
    begin = scan.skip(at, "for")
    begin = scan.skip(begin, "about") if begin > at else begin
    if end := scan.phrase(begin, "half an hour", "a half hour", "half hour"):
        return 30, end
    if end := scan.phrase(begin, "an hour and a half", "one and a half hours"):
        return 90, end
    amount = _amount(scan, begin)
    unit_at = scan.skip(begin + 1, "-")
    unit = _UNITS.get(scan.low(unit_at))
    if amount is None or unit is None:
        return _joined_length(scan, begin)
    return _and_minutes(scan, unit_at + 1, round(amount * unit), hours=unit == 60)


def _and_minutes(scan: Scan, at: int, minutes: int, *, hours: bool) -> tuple[int, int]:
    begin = scan.skip(at, "and")
    more = scan.low(begin)
    if hours and more.isdigit() and len(more) <= 2 and _UNITS.get(scan.low(begin + 1)) == 1:
        return minutes + int(more), begin + 2
    return minutes, at


def _joined_length(scan: Scan, at: int) -> tuple[int, int] | None:
    """`one-hour`, which is a single word to the tokenizer."""
    amount, _, unit = scan.low(at).partition("-")
    if amount in COUNTS and unit in _UNITS:
        return COUNTS[amount] * _UNITS[unit], at + 1
    return None


def _amount(scan: Scan, at: int) -> float | None:
    word = scan.low(at)
    if scan.kind(at) is Kind.NUMBER and len(word) <= 5:
        return float(word)
    return COUNTS.get(word)
