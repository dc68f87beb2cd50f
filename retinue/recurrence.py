"""Recurring times: RFC 5545 rules, checked strictly and never followed further than asked.

Rules are evaluated in the event's own zone on the wall clock and only then turned into moments, so that a weekly nine
o'clock stays nine o'clock when summer time begins. What cannot be followed cheaply is refused when the event is made:
an occurrence a day at most, and no rule that searches whole centuries.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import islice, takewhile

from dateutil.rrule import rrule, rrulestr

from retinue.errors import InvalidArguments

LONGEST = timedelta(days=31)
"""A recurring event lasts no longer, which bounds how many of its occurrences can overlap one moment."""

LAST_YEAR = 2200
MOST_STEPS = 100_000
"""How many times of an imported rule are walked through, from its start to the end of a window. About a second."""

MOST_TIMES = 2500
"""How many times of it are shown in a window: somewhat more than two a day in the longest one."""

_MOST_COUNTED = 9999
"""Times of a series that are counted to split it; COUNT goes no further."""

_WEEK = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_IN_EVERY_MONTH = 28
_EXAMPLE = "a rule looks like FREQ=WEEKLY;BYDAY=MO;COUNT=10"
_DAY = "(?:MO|TU|WE|TH|FR|SA|SU)"
_IN_YEAR = r"(?:[1-9]|[1-9]\d|[12]\d\d|3[0-5]\d|36[0-6])"
_DAYS_OF_STEP = {"DAILY": 1, "WEEKLY": 7}


def _list_of(item: str) -> str:
    return f"(?:{item})(?:,(?:{item}))*"


_PARTS = {
    "FREQ": "DAILY|WEEKLY|MONTHLY|YEARLY",
    "INTERVAL": r"[1-9]\d{0,3}",
    "COUNT": r"[1-9]\d{0,3}",
    "UNTIL": r"\d{8}(?:T\d{6}Z?)?",
    "WKST": _DAY,
    "BYDAY": _list_of(rf"(?:[+-]?(?:[1-9]|[1-4]\d|5[0-3]))?{_DAY}"),
    "BYMONTH": _list_of("(?:0?[1-9]|1[0-2])"),
    "BYMONTHDAY": _list_of("[+-]?(?:0?[1-9]|[12][0-9]|3[01])"),
    "BYYEARDAY": _list_of(f"[+-]?{_IN_YEAR}"),
    "BYWEEKNO": _list_of(r"[+-]?(?:0?[1-9]|[1-4][0-9]|5[0-3])"),
    "BYSETPOS": _list_of(f"[+-]?{_IN_YEAR}"),
    # One value each: more would make several occurrences a day.
    "BYHOUR": "[01]?[0-9]|2[0-3]",
    "BYMINUTE": "[0-5]?[0-9]",
    "BYSECOND": "[0-5]?[0-9]",
}
# What the RFC rules out for a frequency, and what makes a daily rule slow: days of the month are better said with
# MONTHLY, and a position in a set of one day (BYSETPOS) is always the first or none.
_NOT_WITH = {
    "DAILY": {"BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"},
    "WEEKLY": {"BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"},
    "MONTHLY": {"BYYEARDAY", "BYWEEKNO"},
    "YEARLY": set[str](),
}


# What other calendars may write: as often as they like, several times a day.
_FOREIGN_PARTS = {
    **_PARTS,
    "FREQ": "SECONDLY|MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY",
    "INTERVAL": r"[1-9]\d{0,8}",
    "COUNT": r"[1-9]\d{0,8}",
    **{name: _list_of(_PARTS[name]) for name in ("BYHOUR", "BYMINUTE", "BYSECOND")},
}
_SEARCHES = {"BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS", "BYMINUTE", "BYSECOND"}
# With these a search for the next time may never end.
_NOT_FOLLOWED_WITH = {
    "WEEKLY": {"BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"},
    "DAILY": {"BYYEARDAY", "BYWEEKNO", "BYSETPOS"},
    "HOURLY": _SEARCHES,
    "MINUTELY": _SEARCHES,
    "SECONDLY": _SEARCHES,
}
_SECONDS_OF_STEP = {
    "SECONDLY": 1,
    "MINUTELY": 60,
    "HOURLY": 3600,
    "DAILY": 86_400,
    "WEEKLY": 7 * 86_400,
    "MONTHLY": 28 * 86_400,
    "YEARLY": 365 * 86_400,
}


@dataclass(frozen=True)
class Series:
    """A recurring event as this module needs it: its first occurrence, its zone and its rule."""

    start: datetime
    end: datetime
    zone: tzinfo
    rule: str
    excluded: frozenset[datetime] = frozenset()
    days: int = 0
    """How much of its length is whole days by the calendar; the rest is exact time."""

    @property
    def local_start(self) -> datetime:
        """The wall clock at the start."""
        return _local(self.start, self.zone)


def normalised(text: str) -> str:
    """Return the rule in capitals, without the `RRULE:` in front.

    Raises:
        InvalidArguments: It is no rule, or one that this calendar does not follow; the message says what is right.
    """
    parts = _parse(text)
    _check_together(parts)
    return _written(parts)


def check_series(series: Series) -> None:
    """Insist that the rule holds its own start, since a person who says both means both.

    Raises:
        InvalidArguments: It does not, or one occurrence lasts too long.
    """
    if series.end - series.start > LONGEST:
        raise InvalidArguments(f"a recurring event may last {LONGEST.days} days at most")
    first = first_by_rule(series)
    if first is None:
        raise InvalidArguments(f"the rule {series.rule} never holds from {series.local_start:%Y-%m-%dT%H:%M} on")
    if first != series.local_start:
        raise InvalidArguments(
            f"the rule {series.rule} does not hold {series.local_start:%A %Y-%m-%dT%H:%M}, where it starts",
            hint=f"it first holds {first:%A %Y-%m-%dT%H:%M}; start there, or begin again with another rule",
        )


def check_followable(rule: str, start: datetime, window: tuple[datetime, datetime]) -> None:
    """Check that an imported rule, which starts at `start`, can be followed through a window without endless work.

    Raises:
        InvalidArguments: It cannot.
    """
    parts = _parse(rule, _FOREIGN_PARTS)
    frequency = parts.get("FREQ", "")
    searches = _NOT_FOLLOWED_WITH.get(frequency, set()) & parts.keys()
    if not frequency or searches or (frequency == "DAILY" and {"BYMONTH", "BYMONTHDAY"} <= parts.keys()):
        raise InvalidArguments("its recurrence rule is none that this calendar follows")
    after, before = window
    if _steps(parts, start, before) > MOST_STEPS or _steps(parts, max(start, after), before) > MOST_TIMES:
        raise InvalidArguments("it recurs too often")


def _steps(parts: dict[str, str], start: datetime, before: datetime) -> float:
    """About how many times there are to walk through."""
    steps = (before - start).total_seconds() / (_SECONDS_OF_STEP[parts["FREQ"]] * int(parts.get("INTERVAL", 1)))
    lists = [value.count(",") + 1 for name, value in parts.items() if name.startswith("BY") and name != "BYSETPOS"]
    if "COUNT" in parts and not lists:
        steps = min(steps, int(parts["COUNT"]))
    return steps * math.prod(lists)


def for_others(series: Series) -> str:
    """The rule with its last moment in UTC, as RFC 5545 wants it beside a start in a zone, and within years they know."""
    parts = _parse(series.rule)
    until = _local_until(parts.pop("UNTIL", None), series.zone)
    if until is not None:
        parts["UNTIL"] = f"{_moment(until, series.zone):%Y%m%dT%H%M%SZ}"
    return _written(parts)


def first_by_rule(series: Series) -> datetime | None:
    """Return the first time (wall clock) at which the rule itself holds, or None if it never does."""
    return next(iter(_rule(series, series.local_start)), None)


def occurrences(series: Series, after: datetime, before: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Start and end (UTC) of every occurrence that overlaps the time from `after` to `before`, in order."""
    # A day earlier than needed, since wall clocks jump; the exact comparison follows on moments.
    earliest = _local(after - (series.end - series.start), series.zone) - timedelta(days=1)
    for local in _local_times(series, earliest):
        start = series.start if local == series.local_start else _moment(local, series.zone)
        if start >= before:
            return
        end = _end(series, start)
        if end > after and start not in series.excluded:
            yield start, end


def next_start(series: Series, after: datetime) -> datetime | None:
    """Return the first start (UTC) later than `after`, or None if the series is over."""
    starts = (start for start, _ in occurrences(series, after, datetime(LAST_YEAR, 1, 1, tzinfo=UTC)))
    return next((start for start in starts if start > after), None)


def excluded_after_move(series: Series, start: datetime) -> list[datetime]:
    """What the series leaves out once it starts at `start`: the same occurrences, moved along on the wall clock."""
    return sorted(moved_along(moment, series.zone, (series.start, start)) for moment in series.excluded)


def moved_along(moment: datetime, zone: tzinfo, way: tuple[datetime, datetime]) -> datetime:
    """Return the moment that lies as far from `moment` on the wall clock as `way` goes."""
    return _moment(_local(moment, zone) + (_local(way[1], zone) - _local(way[0], zone)), zone)


def rule_before(series: Series, at: datetime) -> str | None:
    """Return the rule of a series' times before `at`; None if there are none.

    Raises:
        InvalidArguments: There are too many to count.
    """
    before = _count(each for each in takewhile(lambda each: each < _local(at, series.zone), _times_by_rule(series)))
    parts = {name: value for name, value in _parse(series.rule).items() if name != "UNTIL"}
    return _written(parts | {"COUNT": str(before)}) if before else None


def rule_after(series: Series, at: datetime, start: datetime) -> str:
    """The rule of a series' times from `at` on, when each is moved along with that one, which now begins at `start`.

    Raises:
        InvalidArguments: They follow no rule of their own, or are too many to count.
    """
    parts = _parse(series.rule)
    local_at, local_start = _local(at, series.zone), _local(start, series.zone)
    if parts.keys() & {"BYHOUR", "BYMINUTE", "BYSECOND"} and local_start.time() != local_at.time():
        raise InvalidArguments("it moves all later times to another time of day, which its rule states")
    later = parts | _shifted(parts, local_at, (local_start.date() - local_at.date()).days)
    if later.pop("UNTIL", None) or "COUNT" in parts:
        later["COUNT"] = str(_count(each for each in _times_by_rule(series) if each >= local_at))
    if later.get("COUNT") == "0":
        raise InvalidArguments("it changes later times of a series that has none")
    return _written(later)


def _times_by_rule(series: Series) -> Iterator[datetime]:
    return iter(_rule(series, series.local_start))


def _count(times: Iterator[datetime]) -> int:
    counted = sum(1 for _ in islice(times, _MOST_COUNTED + 1))
    if counted > _MOST_COUNTED:
        raise InvalidArguments("it changes later times of a series that has too many")
    return counted


def _shifted(parts: dict[str, str], at: datetime, days: int) -> dict[str, str]:
    """What changes in a rule when its times move by whole days."""
    fixed = {name for name in parts if name.startswith("BY")}
    if not days or (not fixed and parts["FREQ"] in _DAYS_OF_STEP):
        return {}
    if parts["FREQ"] == "WEEKLY" and fixed == {"BYDAY"}:
        names = parts["BYDAY"].split(",")
        week = {"WKST": _later_day(parts.get("WKST", "MO"), days)}
        return {"BYDAY": ",".join(_later_day(name, days) for name in names)} | week
    if not fixed and at.day <= _IN_EVERY_MONTH and (at + timedelta(days=days)).day <= _IN_EVERY_MONTH:
        return {}
    raise InvalidArguments("it moves all later times to other days, for which its rule has no form")


def _later_day(name: str, days: int) -> str:
    return _WEEK[(_WEEK.index(name) + days) % len(_WEEK)]


def _written(parts: Mapping[str, str]) -> str:
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _local_times(series: Series, earliest: datetime) -> Iterator[datetime]:
    """The wall clock of each occurrence. The start counts as the first one even where an imported rule omits it."""
    if series.local_start >= earliest:
        yield series.local_start
    near = _start_near(series, earliest)
    for local in _rule(series, near).xafter(earliest, inc=True):
        if local > series.local_start:
            yield local


def _start_near(series: Series, earliest: datetime) -> datetime:
    """Where to begin counting: for most rules whole periods can be jumped over instead of walked through."""
    parts = _parse(series.rule)
    days = _DAYS_OF_STEP.get(parts["FREQ"])
    if days is None or "COUNT" in parts:
        return series.local_start
    period = timedelta(days=days * int(parts.get("INTERVAL", 1)))
    # One period less, because dateutil takes the week in which it begins for a shorter one (BYSETPOS).
    periods = (earliest - series.local_start) // period - 1
    return series.local_start + period * max(0, periods)


def _rule(series: Series, local_start: datetime) -> rrule:
    parts = _parse(series.rule)
    until = _local_until(parts.pop("UNTIL", None), series.zone)
    if until is not None:
        parts["UNTIL"] = f"{until:%Y%m%dT%H%M%S}"
    rule = rrulestr(_written(parts), dtstart=local_start)
    if not isinstance(rule, rrule):
        raise TypeError("dateutil made a set out of one rule")
    return rule


def _local_until(value: str | None, zone: tzinfo) -> datetime | None:
    """UNTIL on the wall clock. A date alone includes that whole day; beyond this calendar's last year is for ever."""
    if value is None or int(value[:4]) > LAST_YEAR:
        return None
    until = datetime.fromisoformat(value)
    if until.tzinfo is not None:
        return _local(until, zone)
    return until if "T" in value else datetime.combine(until, time(23, 59, 59))


def _end(series: Series, start: datetime) -> datetime:
    """Return the same length as the first occurrence; whole days stay whole days when a day has 23 or 25 hours."""
    first, last = series.local_start, _local(series.end, series.zone)
    if first.time() == last.time() == time():
        return _moment(_local(start, series.zone) + (last - first), series.zone)
    days = timedelta(days=series.days)
    exact = series.end - _moment(first + days, series.zone)
    return _moment(_local(start, series.zone) + days, series.zone) + exact if days else start + exact


def _local(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _moment(local: datetime, zone: tzinfo) -> datetime:
    """What a wall clock means: of an hour that comes twice the first, of an hour that is left out the one after."""
    return local.replace(tzinfo=zone).astimezone(UTC)


def _parse(text: str, grammar: Mapping[str, str] = _PARTS) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in "".join(text.split()).upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, _, value = part.partition("=")
        if name not in grammar or name in parts:
            raise InvalidArguments(f"a recurrence rule cannot hold {part[:40]!r} here", hint=_EXAMPLE)
        if not re.fullmatch(grammar[name], value):
            raise InvalidArguments(f"{value[:40]!r} is not a {name} that this calendar follows", hint=_right(name))
        parts[name] = value
    return parts


def _right(name: str) -> str:
    if name == "FREQ":
        return "FREQ is DAILY, WEEKLY, MONTHLY or YEARLY; what happens more often needs several events"
    if name in {"BYHOUR", "BYMINUTE", "BYSECOND"}:
        return "the time of day comes from the event's start; what happens twice a day needs two events"
    return _EXAMPLE


def _most_of_a_weekday(parts: dict[str, str]) -> int:
    """How high BYDAY may number a weekday: in a month, in a year, or not at all."""
    if parts["FREQ"] in _DAYS_OF_STEP or "BYWEEKNO" in parts:
        return 0
    return 5 if parts["FREQ"] == "MONTHLY" or "BYMONTH" in parts else 53


def _check_together(parts: dict[str, str]) -> None:
    """Refuse combinations that the RFC forbids or that can be said more simply."""
    frequency = parts.get("FREQ")
    if frequency is None:
        raise InvalidArguments("a recurrence rule needs FREQ", hint=_EXAMPLE)
    if wrong := sorted(_NOT_WITH[frequency] & parts.keys()):
        raise InvalidArguments(
            f"{wrong[0]} does not go with FREQ={frequency}", hint=f"days of a month go with FREQ=MONTHLY; {_EXAMPLE}"
        )
    highest = max(map(int, re.findall(r"\d+", parts.get("BYDAY", ""))), default=0)
    if highest > _most_of_a_weekday(parts):
        raise InvalidArguments(
            f"BYDAY with the number {highest} does not go with the rest of this rule",
            hint="the first Monday of a month is FREQ=MONTHLY;BYDAY=1MO",
        )
    if "COUNT" in parts and "UNTIL" in parts:
        raise InvalidArguments("a recurrence rule holds COUNT or UNTIL, not both", hint=_EXAMPLE)
    try:
        _local_until(parts.get("UNTIL"), UTC)
    except ValueError:
        raise InvalidArguments(
            f"{parts['UNTIL']!r} is no date for UNTIL", hint="write 20271231 or 20271231T225959Z"
        ) from None
