"""Reads days: `tomorrow`, `Friday`, `5 December`, `next week`, `from Monday to Wednesday`.

Strict on purpose. A text with two readings returns a `Doubt` that names both; one with none returns None, and the
caller then asks.
"""

import calendar
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from offline.planner.outcomes import Doubt
from offline.planner.scan import Scan
from offline.planner.tokens import Kind

WEEKDAYS = {name.casefold(): number for number, name in enumerate(calendar.day_name)}
_SHORT_WEEKDAYS = {"mon": 0, "tue": 1, "tues": 1, "wed": 2, "thu": 3, "thur": 3, "thurs": 3, "fri": 4}
MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
_SHORT_MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_COUNTS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
COUNTS = {word: number for number, word in enumerate(_COUNTS, 1)} | {"a": 1, "an": 1}
FAR = 366 * 5
"""A date further away than this many days is treated as a typo and asked about."""


@dataclass(frozen=True, slots=True)
class Days:
    """One day or consecutive days, their position in the text, and their doubt."""

    first: date
    last: date
    start: int
    end: int
    doubt: Doubt | None = None
    weekday: bool = False


Reading = tuple[Days, int]


def long_day(day: date) -> str:
    """A day as people write it, as in 'Friday 27 November 2026'."""
    return f"{calendar.day_name[day.weekday()]} {day.day} {calendar.month_name[day.month]} {day.year}"


def read_days(scan: Scan, at: int) -> Reading | None:
    """The day or days that are written at a place, with the place behind them."""
    begin = scan.skip(at, "on", "for", "during", "over", "from", "between", "of", "within")
    return (
        _range(scan, at) or _two_days(scan, at) or (_single(scan, begin) if begin != at else None) or _single(scan, at)
    )


def read_day(scan: Scan, at: int) -> Reading | None:
    """Parse a single day at a position, never a range of days."""
    return _single(scan, scan.skip(at, "on", "the end of") if scan.low(at) == "on" else at)


def _range(scan: Scan, at: int) -> Reading | None:
    """`from Monday to Wednesday`, `Monday - Wednesday`, `between 5 December and 8 December`, `5 to 7 December`."""
    begin = scan.skip(at, "from", "between", "on", "for")
    if found := _within_month(scan, begin):
        return found
    first = _single(scan, begin)
    if first is None or first[0].first != first[0].last:
        return None
    joiners = ("and",) if scan.low(at) == "between" else ("to", "until", "till", "through", "-", "up to")
    joint = scan.phrase(first[1], *joiners)
    last = _single(scan, joint) if joint else None
    if last is None or last[0].first != last[0].last:
        return None
    return _joined(scan, first[0], last[0], begin, last[1]), last[1]


def _two_days(scan: Scan, at: int) -> Reading | None:
    """`today and tomorrow`, `Monday and Tuesday`: two days are read together when they follow each other."""
    first = _single(scan, scan.skip(at, "on", "for"))
    last = _single(scan, scan.skip(first[1] + 1, "on", "for")) if first and scan.low(first[1]) == "and" else None
    if first is None or last is None or last[0].first != first[0].last + timedelta(days=1):
        return None
    doubt = first[0].doubt or last[0].doubt
    return Days(first[0].first, last[0].last, first[0].start, last[0].end, doubt), last[1]


def _joined(scan: Scan, first: Days, last: Days, begin: int, end: int) -> Days:
    ending = last.first
    if last.weekday:
        ending = first.first + timedelta(days=(last.first.weekday() - first.first.weekday()) % 7)
    doubt = first.doubt or (None if last.weekday else last.doubt)
    start, stop = scan.begin(begin), scan.close(end)
    if doubt is None and ending < first.first:
        doubt = Doubt(f'"{scan.text[start:stop]}" ends before it begins. Which days do you mean?', start, stop)
    return Days(first.first, max(first.first, ending), start, stop, doubt)


def _within_month(scan: Scan, at: int) -> Reading | None:
    first = _day_number(scan, at)
    joint = scan.phrase(at + 1, "to", "until", "till", "through", "-", "and") if first else None
    if first is None or joint is None or _day_number(scan, joint) is None:
        return None
    last = _day_first(scan, joint)
    if last is None or first >= last[0].first.day:
        return None
    return replace(last[0], first=last[0].first.replace(day=first), start=scan.begin(at)), last[1]


def _single(scan: Scan, at: int) -> Reading | None:
    for read in _READERS:
        if found := read(scan, at):
            return _checked(scan, found[0]), found[1]
    return None


def _checked(scan: Scan, days: Days) -> Days:
    if days.doubt or abs((days.first - scan.today).days) <= FAR:
        return days
    piece = scan.text[days.start : days.end]
    return replace(days, doubt=Doubt(f'"{piece}" is far away. Which day do you mean?', days.start, days.end))


def _days(scan: Scan, at: int, end: int, first: date, last: date | None = None, doubt: Doubt | None = None) -> Reading:
    return Days(first, last or first, scan.begin(at), scan.close(end), doubt), end


def _bare(word: str) -> str:
    return word.removesuffix("'s")


def _relative(scan: Scan, at: int) -> Reading | None:
    if end := scan.phrase(at, "the day after tomorrow", "day after tomorrow"):
        return _days(scan, at, end, scan.today + timedelta(days=2))
    shift = {"today": 0, "tomorrow": 1, "tmrw": 1, "yesterday": -1}.get(_bare(scan.low(at)))
    return None if shift is None else _days(scan, at, at + 1, scan.today + timedelta(days=shift))


def weekday_number(scan: Scan, at: int) -> int | None:
    """Return the weekday at a position, 0 for Monday. `Sat` and `Sun` are also words, so they need a capital."""
    word = _bare(scan.low(at))
    if word in ("sat", "sun") and scan.tokens[at].capital:
        return {"sat": 5, "sun": 6}[word]
    return WEEKDAYS.get(word, _SHORT_WEEKDAYS.get(word))


def _weekday(scan: Scan, at: int) -> Reading | None:
    begin = scan.skip(at, "this coming", "coming", "the coming", "this", "next", "the next")
    number = weekday_number(scan, begin)
    if number is None:
        return None
    ahead = (number - scan.today.weekday()) % 7
    if behind := scan.phrase(begin + 1, "next week"):
        monday = scan.today - timedelta(days=scan.today.weekday())
        return _days(scan, at, behind, monday + timedelta(days=7 + number))
    if "next" in scan.typed(at, begin).casefold():
        return _next_weekday(scan, at, begin + 1, number)
    doubt = None
    if ahead == 0:
        doubt = _which(scan, at, begin + 1, [scan.today, scan.today + timedelta(days=7)])
    days, end = _days(scan, at, begin + 1, scan.today + timedelta(days=ahead), doubt=doubt)
    return replace(days, weekday=True), end


def _next_weekday(scan: Scan, at: int, end: int, number: int) -> Reading:
    """Three customs: the coming one; that of the week after this one, weeks beginning on Monday; or on Sunday."""
    today = scan.today
    monday = today - timedelta(days=today.weekday())
    sunday = today - timedelta(days=(today.weekday() + 1) % 7)
    coming = today + timedelta(days=(number - today.weekday()) % 7 or 7)
    readings = {coming, monday + timedelta(days=7 + number), sunday + timedelta(days=7 + (number + 1) % 7)}
    choices = sorted(readings)
    doubt = _which(scan, at, end, choices) if len(choices) > 1 else None
    return _days(scan, at, end, choices[0], doubt=doubt)


def _which(scan: Scan, at: int, end: int, days: list[date]) -> Doubt:
    start, stop = scan.begin(at), scan.close(end)
    names = " or ".join(long_day(day) for day in days)
    choices = tuple((long_day(day), day.isoformat()) for day in days)
    return Doubt(f'Which day do you mean by "{scan.text[start:stop]}": {names}?', start, stop, choices)


def month_number(scan: Scan, at: int) -> int | None:
    """Return the month at a position."""
    word = _bare(scan.low(at))
    return MONTHS.get(word, _SHORT_MONTHS.get(word))


def _day_number(scan: Scan, at: int) -> int | None:
    if scan.kind(at) not in (Kind.NUMBER, Kind.ORDINAL):
        return None
    digits = scan.low(at).rstrip("stndrh")
    return int(digits) if digits.isdigit() and 1 <= int(digits) <= 31 else None


def _year(scan: Scan, at: int) -> tuple[int | None, int]:
    begin = scan.skip(at, ",")
    word = scan.low(begin)
    is_year = scan.kind(begin) is Kind.NUMBER and word.isdigit() and 1900 <= int(word) <= 2199
    return (int(word), begin + 1) if is_year else (None, at)


def _month_first(scan: Scan, at: int) -> Reading | None:
    """`December 5th`, `December the 5th, 2026`; a month alone is read by `_month`."""
    month, day_at = month_number(scan, at), scan.skip(scan.skip(at + 1, "."), "the")
    day = _day_number(scan, day_at) if month else None
    if month is None or day is None or scan.low(day_at + 1) in ("am", "pm", ":", "a.m.", "p.m.", "o'clock"):
        return None
    year, end = _year(scan, day_at + 1)
    return _on(scan, at, end, (year, month, day))


def _day_first(scan: Scan, at: int) -> Reading | None:
    """`5 December`, `the 5th of December 2026`, and `the 5th` alone, which is the next such day."""
    begin = scan.skip(at, "the")
    day = _day_number(scan, begin)
    if day is None:
        return None
    if end := scan.phrase(begin + 1, "of this month", "of the month", "this month"):
        return _on(scan, at, end, (scan.today.year, scan.today.month, day))
    month_at = scan.skip(begin + 1, "of")
    month = month_number(scan, month_at)
    if month is None:
        led = begin > at or scan.low(at - 1) in ("on", "for", "until", "till", "by")
        lone = led and scan.kind(begin) is Kind.ORDINAL and month_at == begin + 1
        return _next_such_day(scan, at, begin + 1, day) if lone else None
    year, end = _year(scan, month_at + 1)
    return _on(scan, at, end, (year, month, day))


def _next_such_day(scan: Scan, at: int, end: int, day: int) -> Reading | None:
    month = scan.today.replace(day=1)
    for _ in range(12):
        if day <= calendar.monthrange(month.year, month.month)[1] and month.replace(day=day) >= scan.today:
            return _days(scan, at, end, month.replace(day=day))
        month = (month + timedelta(days=32)).replace(day=1)
    return None


def _on(scan: Scan, at: int, end: int, parts: tuple[int | None, int, int]) -> Reading:
    """A calendar date; without a year the next such date."""
    year, month, day = parts
    for candidate in [year] if year else range(scan.today.year, scan.today.year + 9):
        found = _real(candidate, month, day)
        if found and (year or found >= scan.today):
            return _days(scan, at, end, found)
    piece = scan.typed(at, end)
    doubt = Doubt(f'There is no day "{piece}". Which day do you mean?', scan.begin(at), scan.close(end))
    return _days(scan, at, end, scan.today, doubt=doubt)


def _real(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _iso(scan: Scan, at: int) -> Reading | None:
    if scan.kind(at) is not Kind.ISO or "t" in scan.low(at):
        return None
    year, month, day = map(int, scan.low(at).split("-"))
    return _on(scan, at, at + 1, (year, month, day))


def _numeric(scan: Scan, at: int) -> Reading | None:
    """`5.12.2026` and `05/12/2026`: read only where one of the numbers cannot be a month, else both are offered."""
    if scan.kind(at) is not Kind.NUMERIC_DATE:
        return None
    one, two, year = map(int, scan.low(at).replace("/", ".").replace("-", ".").split("."))
    if year < 100:
        year += 2000
    readings = {found for found in (_real(year, two, one), _real(year, one, two)) if found}
    if not readings:
        return _on(scan, at, at + 1, (year, 13, 1))
    choices = sorted(readings)
    doubt = _which(scan, at, at + 1, choices) if len(choices) > 1 else None
    return _days(scan, at, at + 1, choices[0], doubt=doubt)


def count(scan: Scan, at: int) -> int | None:
    """A whole number at a place, in digits or as a word."""
    word = scan.low(at)
    if scan.kind(at) is Kind.NUMBER and word.isdigit() and len(word) <= 4:
        return int(word)
    return COUNTS.get(word)


def _in_days(scan: Scan, at: int) -> Reading | None:
    """`in 3 days`, `in two weeks`, `3 days from now`, `a week from today`."""
    begin = scan.skip(at, "in")
    amount = count(scan, begin)
    unit = {"day": 1, "days": 1, "week": 7, "weeks": 7}.get(scan.low(begin + 1))
    end: int | None = begin + 2
    if begin == at:
        end = scan.phrase(begin + 2, "from now", "from today")
    if amount is None or unit is None or end is None or amount * unit > FAR:
        return None
    return _days(scan, at, end, scan.today + timedelta(days=amount * unit))


def _week(scan: Scan, at: int) -> Reading | None:
    """Weeks begin on Monday. What is already past of this week or weekend is left out."""
    today = scan.today
    sunday = today + timedelta(days=6 - today.weekday())
    if end := scan.phrase(at, "this week", "the rest of the week", "rest of the week", "the rest of this week"):
        return _days(scan, at, end, today, sunday)
    if end := scan.phrase(at, "in the coming week", "the coming week", "coming week", "in coming week"):
        return _days(scan, at, end, today, today + timedelta(days=6))
    if end := scan.phrase(at, "next week", "the next week"):
        return _days(scan, at, end, sunday + timedelta(days=1), sunday + timedelta(days=7))
    if end := scan.phrase(at, "this weekend", "the weekend", "this coming weekend", "the coming weekend"):
        return _days(scan, at, end, max(today, sunday - timedelta(days=1)), sunday)
    if end := scan.phrase(at, "next weekend"):
        first = sunday - timedelta(days=1)
        return _days(scan, at, end, first, doubt=_which_weekend(scan, at, end, first))
    return _next_days(scan, at)


def _which_weekend(scan: Scan, at: int, end: int, first: date) -> Doubt:
    start, stop = scan.begin(at), scan.close(end)
    saturdays = [first, first + timedelta(days=7)]
    pairs = [(long_day(day), f"{day.isoformat()} to {(day + timedelta(days=1)).isoformat()}") for day in saturdays]
    question = f'Which weekend do you mean by "next weekend": that of {pairs[0][0]} or that of {pairs[1][0]}?'
    return Doubt(question, start, stop, tuple(pairs))


def _next_days(scan: Scan, at: int) -> Reading | None:
    """`the next 5 days`, `the next two weeks`: today and the days after it."""
    begin = scan.phrase(at, "the next", "next", "the coming")
    amount = count(scan, begin) if begin else None
    if begin is None or amount is None:
        return None
    unit = {"days": 1, "weeks": 7}.get(scan.low(begin + 1))
    if unit is None or not 0 < amount * unit <= FAR:
        return None
    return _days(scan, at, begin + 2, scan.today, scan.today + timedelta(days=amount * unit - 1))


def _month(scan: Scan, at: int) -> Reading | None:
    """`this month`, `next month`, `in December`, `in December 2026`."""
    first = scan.today.replace(day=1)
    if end := scan.phrase(at, "this month", "the rest of the month"):
        return _days(scan, at, end, scan.today, _month_end(first))
    if end := scan.phrase(at, "next month"):
        following = _month_end(first) + timedelta(days=1)
        return _days(scan, at, end, following, _month_end(following))
    month = month_number(scan, at + 1) if scan.low(at) == "in" else None
    if month is None:
        return None
    year, end = _year(scan, at + 2)
    first = date(year or scan.today.year + (month < scan.today.month), month, 1)
    return _days(scan, at, end, max(first, scan.today) if year is None else first, _month_end(first))


def _month_end(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


_READERS: tuple[Callable[[Scan, int], Reading | None], ...] = (
    _relative,
    _weekday,
    _month_first,
    _day_first,
    _iso,
    _numeric,
    _in_days,
    _week,
    _month,
)


def day_start(day: date, scan: Scan) -> datetime:
    """Midnight at the beginning of a day. Where the clocks skip it, the first moment of the day."""
    start = datetime(day.year, day.month, day.day, tzinfo=scan.zone)
    return start if real_time(start) else datetime.fromtimestamp(start.timestamp(), scan.zone)


def real_time(moment: datetime) -> bool:
    """Whether a local time exists at all; clocks that go forward skip some."""
    back = datetime.fromtimestamp(moment.timestamp(), moment.tzinfo)
    return back.replace(tzinfo=None) == moment.replace(tzinfo=None)
