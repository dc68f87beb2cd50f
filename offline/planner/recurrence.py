"""Reads repetitions: `every Monday and Wednesday`, `daily`, `every 2 weeks`, `every weekday until 18 December`."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from offline.planner.dates import Days, count, read_day, weekday_number
from offline.planner.scan import Scan
from offline.planner.tokens import Kind

_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_ADVERBS = {"daily": "DAILY", "weekly": "WEEKLY", "monthly": "MONTHLY", "yearly": "YEARLY"}
_UNITS = {"day": "DAILY", "week": "WEEKLY", "month": "MONTHLY", "year": "YEARLY"}
_LENGTHS = {"times": None, "days": "DAILY", "weeks": "WEEKLY", "months": "MONTHLY", "years": "YEARLY"}


@dataclass(frozen=True, slots=True)
class Rule:
    """The repetition of an event, without its start and end."""

    frequency: str
    weekdays: tuple[int, ...] = ()
    month_day: int | None = None
    interval: int = 1


@dataclass(frozen=True, slots=True)
class Repeats:
    """The number or duration of repetitions: `for 10 weeks`, `5 times`."""

    amount: int
    unit: str


@dataclass(frozen=True, slots=True)
class Until:
    """The last day on which it may happen."""

    days: Days


@dataclass(frozen=True, slots=True)
class Starting:
    """The day before which it does not happen."""

    days: Days


def read_rule(scan: Scan, at: int) -> tuple[Rule, int] | None:
    """A repetition at a place."""
    if frequency := _ADVERBS.get(scan.low(at)):
        return _with_days(scan, at + 1, Rule(frequency))
    begin = scan.phrase(at, "every", "each")
    if begin is None:
        return _plural(scan, scan.skip(at, "on"))
    interval, unit_at = _interval(scan, begin)
    word = scan.low(unit_at).removesuffix("s") if interval > 1 else scan.low(unit_at)
    if word in ("weekday", "workday") and interval == 1:
        return Rule("WEEKLY", (0, 1, 2, 3, 4)), unit_at + 1
    if word in _UNITS:
        return _with_days(scan, unit_at + 1, Rule(_UNITS[word], interval=interval))
    found = _weekdays(scan, unit_at)
    return (Rule("WEEKLY", found[0], interval=interval), found[1]) if found else None


def _interval(scan: Scan, at: int) -> tuple[int, int]:
    if end := scan.phrase(at, "other", "second"):
        return 2, end
    amount = count(scan, at)
    return (amount, at + 1) if amount else (1, at)


def _plural(scan: Scan, at: int) -> tuple[Rule, int] | None:
    """Parse a plural such as `Mondays`, which is a repetition."""
    word = scan.low(at)
    number = _plural_number(word)
    if number is None:
        return None
    found = _plural_number(scan.low(at + 2)) if scan.low(at + 1) == "and" else None
    days = (number,) if found is None else tuple(sorted({number, found}))
    return Rule("WEEKLY", days), at + (1 if found is None else 3)


def _plural_number(word: str) -> int | None:
    names = ("mondays", "tuesdays", "wednesdays", "thursdays", "fridays", "saturdays", "sundays")
    return names.index(word) if word in names else None


def _weekdays(scan: Scan, at: int) -> tuple[tuple[int, ...], int] | None:
    first = weekday_number(scan, at)
    if first is None:
        return None
    numbers, end = {first}, at + 1
    while (joint := scan.phrase(end, "and", ", and", ",")) and (more := weekday_number(scan, joint)) is not None:
        numbers.add(more)
        end = joint + 1
    return tuple(sorted(numbers)), end


def _with_days(scan: Scan, at: int, rule: Rule) -> tuple[Rule, int]:
    """Parse the rest after a unit: `every week on Monday`, `monthly on the 5th`."""
    begin = scan.phrase(at, "on the", "on")
    if begin is None:
        return rule, at
    if rule.frequency == "WEEKLY" and (found := _weekdays(scan, begin)):
        return Rule("WEEKLY", found[0], interval=rule.interval), found[1]
    if rule.frequency == "MONTHLY" and scan.kind(begin) is Kind.ORDINAL:
        day = int(scan.low(begin).rstrip("stndrh"))
        return Rule("MONTHLY", month_day=day, interval=rule.interval), begin + 1
    return rule, at


def read_limit(scan: Scan, at: int) -> tuple[Repeats | Until | Starting, int] | None:
    """`for 10 weeks`, `10 times`, `until 18 December`, `starting on Monday`. Only a repetition has these."""
    begin = scan.skip(at, "for")
    amount = count(scan, begin)
    word = scan.low(begin + 1)
    unit = word if word.endswith("s") else f"{word}s"
    if amount and unit in _LENGTHS and (begin > at or unit == "times") and scan.low(begin + 2) != "from":
        return Repeats(amount, unit), begin + 2
    if (begin_day := scan.phrase(at, "until", "till", "through")) and (found := read_day(scan, begin_day)):
        return Until(found[0]), found[1]
    started = scan.phrase(at, "starting", "starting from", "beginning", "from")
    if started and (found := read_day(scan, started)) and found[0].first == found[0].last:
        return Starting(found[0]), found[1]
    return None


def first_day(rule: Rule, earliest: date, time_is_past: bool) -> date | None:
    """The first day on or after `earliest` that the rule names, the day after it when that time is past already."""
    day = earliest + timedelta(days=1 if time_is_past else 0)
    for _ in range(400):
        by_week = not rule.weekdays or day.weekday() in rule.weekdays
        if by_week and (rule.month_day is None or day.day == rule.month_day):
            return day
        day += timedelta(days=1)
    return None


def rule_text(rule: Rule, limit: Repeats | Until | None, start: datetime) -> str | None:
    """The rule as RFC 5545 writes it, or None where the limit does not fit the rule (`every day for 2 months`)."""
    parts = [f"FREQ={rule.frequency}"]
    if rule.interval > 1:
        parts.append(f"INTERVAL={rule.interval}")
    if rule.weekdays:
        parts.append("BYDAY=" + ",".join(_CODES[number] for number in rule.weekdays))
    if rule.month_day:
        parts.append(f"BYMONTHDAY={rule.month_day}")
    if isinstance(limit, Until):
        last = datetime.combine(limit.days.last, time(23, 59, 59), start.tzinfo).astimezone(UTC)
        parts.append(f"UNTIL={last:%Y%m%dT%H%M%SZ}")
    if isinstance(limit, Repeats):
        repeats = _repeats(rule, limit)
        if repeats is None:
            return None
        parts.append(f"COUNT={repeats}")
    return ";".join(parts)


def _repeats(rule: Rule, limit: Repeats) -> int | None:
    frequency = _LENGTHS[limit.unit]
    if frequency is None:
        return limit.amount
    if limit.amount % rule.interval:
        return None
    if frequency == rule.frequency:
        return limit.amount // rule.interval * max(1, len(rule.weekdays))
    return limit.amount * 7 if (frequency, rule.frequency, rule.interval) == ("WEEKLY", "DAILY", 1) else None
