"""Collects everything about time in a sentence, piece by piece, and derives times from it.

Pieces never compete: two days, two times or two durations in one clause are a `Doubt`.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from offline.planner.clocks import (
    PART_HOURS,
    Bound,
    Clock,
    Part,
    Spoken,
    read_bound,
    read_clock,
    read_length,
    read_part,
)
from offline.planner.dates import Days, day_start, long_day, read_days, real_time
from offline.planner.outcomes import Ask, Doubt
from offline.planner.recurrence import Repeats, Rule, Starting, Until, first_day, read_limit, read_rule, rule_text
from offline.planner.scan import Scan
from offline.planner.tokens import Kind

FORECAST_DAYS = 15
WORK = (time(9), time(17))
_STEP = 15 * 60
_LONGEST = 7 * 24 * 60


@dataclass(frozen=True, slots=True)
class Instant:
    """An exact moment: `in 2 hours`, or an ISO time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class AllDay:
    """The words `all day`."""


Piece = Days | Clock | int | Part | Rule | Repeats | Until | Starting | Bound | Instant | AllDay


@dataclass(frozen=True)
class When:
    """The known data about time. `start` and `end` are its position in the text."""

    scan: Scan
    days: Days | None = None
    clock: Clock | None = None
    minutes: int | None = None
    part: Part | None = None
    rule: Rule | None = None
    limit: Repeats | Until | None = None
    starting: Days | None = None
    instant: datetime | None = None
    bounds: tuple[Bound, ...] = ()
    all_day: bool = False
    doubts: tuple[Doubt, ...] = ()
    place: int = field(default=0)

    @property
    def empty(self) -> bool:
        """Whether the sentence says nothing about time."""
        return self == When(self.scan, place=self.place)

    def with_piece(self, piece: Piece, start: int, end: int) -> "When":
        """Add one more piece, found between two places of the text."""
        slot, value = _slot(piece)
        if isinstance(piece, Days) and self.days and (both := _dated(self.days, piece)):
            return self._settled(both)
        if slot == "bounds":
            return replace(self, bounds=(*self.bounds, piece))  # type: ignore[arg-type]  # the slot says that it is a bound
        changed = self._with(slot, value)
        if getattr(self, slot) not in (None, False, value):
            text = self.scan.text[start:end]
            doubt = Doubt(f'"{text}" does not fit what stands before it. Which is right?', start, end)
            changed = replace(changed, doubts=(*changed.doubts, doubt))
        if isinstance(value, Days) and value.doubt:
            changed = replace(changed, doubts=(*changed.doubts, value.doubt))
        return changed

    def merged(self, other: "When") -> "When":
        """Combine the data of two parts of one clause."""
        if other.empty:
            return self
        if self.days and other.days and (both := _dated(self.days, other.days)):
            mine, theirs = self._settled(both), other._settled(both)
            return mine.merged(theirs)
        result = replace(self, doubts=(*self.doubts, *other.doubts), bounds=(*self.bounds, *other.bounds))
        for slot in ("days", "clock", "minutes", "part", "rule", "limit", "starting", "instant", "all_day"):
            mine, theirs = getattr(self, slot), getattr(other, slot)
            if mine and theirs and mine != theirs:
                doubt = Doubt("There are two different times in this part of the request. Which is right?", 0, 0)
                result = replace(result, doubts=(*result.doubts, doubt))
            result = result._with(slot, mine or theirs)
        return result

    def _settled(self, days: Days) -> "When":
        """The same with a day that leaves no doubt about it."""
        own = self.days.doubt if self.days else None
        return replace(self, days=days, doubts=tuple(doubt for doubt in self.doubts if doubt is not own))

    def _with(self, slot: str, value: object) -> "When":
        changes: dict[str, Any] = {slot: value}
        return replace(self, **changes)

    def today(self) -> "When":
        """The same, on the person's day."""
        return replace(self, days=Days(self.scan.today, self.scan.today, self.place, self.place))

    def likely(self) -> "When":
        """The same, with an hour that leaves the half of the day open read as one of the day."""
        if self.clock is None or self.part:
            return self
        end = self.clock.end.likely() if self.clock.end else None
        return replace(self, clock=Clock(self.clock.start.likely(), end))

    def next_time(self) -> "When":
        """The same, on the day when its hour comes next, where no day is named."""
        if self.clock is None or self.days or self.instant or self.rule:
            return self
        today = self.today()
        settled = _clock_start(self).settle()
        past = (
            not isinstance(settled, Doubt)
            and datetime.combine(self.scan.today, settled, self.scan.zone) <= self.scan.now
        )
        if not past:
            return today
        tomorrow = self.scan.today + timedelta(days=1)
        return replace(self, days=Days(tomorrow, tomorrow, self.place, self.place))

    def coming(self, length: int) -> "When":
        """The same, on so many days from the person's day on."""
        last = self.scan.today + timedelta(days=length - 1)
        return replace(self, days=Days(self.scan.today, last, self.place, self.place))

    def sure(self) -> "When":
        """The same, or the first question about it.

        Raises:
            Ask: Some piece has more than one reading.
        """
        if self.doubts:
            raise Ask(self.doubts[0])
        return self


def _dated(one: Days, other: Days) -> Days | None:
    """The date, where a weekday and a date with that weekday, or a week, stand together: `next week Friday`."""
    name, day = (one, other) if one.weekday else (other, one)
    if name.weekday and (day.last - day.first).days == 6 and not day.doubt:
        inside = day.first + timedelta(days=(name.first.weekday() - day.first.weekday()) % 7)
        return replace(day, first=inside, last=inside)
    single = day.first == day.last and not day.doubt
    if not name.weekday or day.weekday or not single or name.first.weekday() != day.first.weekday():
        return None
    return day


def _slot(piece: Piece) -> tuple[str, object]:
    match piece:
        case Days():
            return "days", piece
        case Clock():
            return "clock", piece
        case Part():
            return "part", piece
        case Rule():
            return "rule", piece
        case Repeats() | Until():
            return "limit", piece
        case Starting():
            return "starting", piece.days
        case Bound():
            return "bounds", piece
        case Instant():
            return "instant", piece.at
        case AllDay():
            return "all_day", True
        case _:
            return "minutes", piece


def read_when(scan: Scan, at: int, *, repeated: bool = False) -> tuple[When, int] | None:
    """Parse consecutive pieces from a position; `repeated`: a repetition was read before them."""
    when, end = When(scan, place=scan.begin(at)), at
    while found := _next(scan, end, when, repeated):
        piece, behind = found
        when = when.with_piece(piece, scan.begin(end), scan.close(behind))
        if piece is Part.EVENING and when.days is None and "tonight" in scan.typed(end, behind).casefold():
            when = replace(when, days=Days(scan.today, scan.today, scan.begin(end), scan.close(behind)))
        end = behind
    return (when, end) if end > at else None


def _next(scan: Scan, at: int, sofar: When, repeated: bool) -> tuple[Piece, int] | None:
    begin = at if sofar.empty else scan.skip(at, ",")
    return _piece(scan, begin, repeated or sofar.rule is not None)


def _piece(scan: Scan, at: int, repeated: bool) -> tuple[Piece, int] | None:
    if found := read_rule(scan, at):
        return found
    if repeated and (limit := read_limit(scan, at)):
        return limit
    if scan.low(scan.skip(at, "for", "until")) == "tonight":
        return read_part(scan, scan.skip(at, "for"))
    if part := _this_part(scan, at):
        return part
    for read in (read_days, _instant, read_length, read_clock, read_bound, read_part):
        if piece := read(scan, at):
            return piece
    end = scan.phrase(at, "all day", "all-day", "the whole day")
    return (AllDay(), end) if end else None


def _this_part(scan: Scan, at: int) -> tuple[Piece, int] | None:
    """`this afternoon` names the day as well: it is read as that day first, and as the part in the next turn."""
    if scan.low(at) == "this" and scan.low(at + 1) in PART_HOURS:
        return Days(scan.today, scan.today, scan.begin(at), scan.close(at + 1)), at + 1
    return None


def _instant(scan: Scan, at: int) -> tuple[Instant, int] | None:
    begin = scan.skip(at, "at", "on", "from")
    if scan.kind(begin) is Kind.ISO and "t" in scan.low(begin):
        return _iso_instant(scan, begin)
    length = read_length(scan, at + 1) if scan.low(at) == "in" and scan.low(at + 1) != "for" else None
    if length is None:
        return None
    return Instant((scan.now + timedelta(minutes=length[0])).replace(second=0, microsecond=0)), length[1]


def _iso_instant(scan: Scan, at: int) -> tuple[Instant, int] | None:
    try:
        moment = datetime.fromisoformat(scan.low(at).upper())
    except ValueError:
        return None
    return Instant(moment.astimezone(scan.zone) if moment.tzinfo else moment.replace(tzinfo=scan.zone)), at + 1


def local(day: date, spoken: Spoken, scan: Scan) -> datetime:
    """A time on a day, with its offset.

    Raises:
        Ask: The time is open, or the clocks change so that it does not exist or exists twice.
    """
    settled = spoken.settle()
    if isinstance(settled, Doubt):
        raise Ask(settled)
    moment = datetime.combine(day, settled, scan.zone)
    if not real_time(moment):
        raise Ask(_gap(moment, spoken))
    if moment.utcoffset() != moment.replace(fold=1).utcoffset():
        raise Ask(_fold(moment, spoken))
    return moment


def _gap(moment: datetime, spoken: Spoken) -> Doubt:
    text = f"{moment:%H:%M} does not exist on {long_day(moment.date())}, since the clocks go forward"
    return Doubt(f"{text}. Which time do you mean?", spoken.start, spoken.end)


def _fold(moment: datetime, spoken: Spoken) -> Doubt:
    both = [moment.isoformat(), moment.replace(fold=1).isoformat()]
    text = f"{moment:%H:%M} happens twice on {long_day(moment.date())}, since the clocks go back"
    choices = (("the first", both[0]), ("the second", both[1]))
    return Doubt(f"{text}. Do you mean {both[0]} or {both[1]}?", spoken.start, spoken.end, choices)


@dataclass(frozen=True, slots=True)
class Occasion:
    """The time of an event: times with offsets, its rule, and assumptions."""

    start: datetime
    end: datetime
    recurrence: str | None = None
    assumed: str = ""


def occasion(when: When, ending: int) -> Occasion:
    """The beginning and end of an event.

    Raises:
        Ask: The day or the time is missing or doubtful; `ending` is where in the text an answer belongs.
    """
    when.sure()
    if when.rule:
        return _repeated(when, ending)
    start = _start(when, ending)
    _check_future(when, start)
    end, assumed = _end(when, start)
    return Occasion(start, end, None, assumed)


def _missing(when: When, question: str, ending: int) -> Ask:
    return Ask(Doubt(question, ending, ending))


def _start(when: When, ending: int) -> datetime:
    if when.instant:
        return _instant_start(when)
    if when.days is None and when.clock is None and not when.all_day:
        raise _missing(when, "On which day and at what time?", ending)
    if when.days is None:
        raise _missing(when, "On which day?", ending)
    if when.all_day:
        return day_start(when.days.first, when.scan)
    day = one_day(when)
    if when.clock is None:
        raise _missing(when, "At what time?", ending)
    return local(day, _clock_start(when), when.scan)


def _instant_start(when: When) -> datetime:
    moment, days = when.instant, when.days
    if moment is None or when.clock or when.part or (days and (days.first, days.last) != (moment.date(),) * 2):
        raise Ask(Doubt("The time stands there twice. Which is right?", 0, 0))
    return moment


def one_day(when: When) -> date:
    """The only day that is named.

    Raises:
        Ask: There are several.
    """
    days = when.days
    if days is None:
        return when.scan.today
    if days.first != days.last:
        text = when.scan.text[days.start : days.end]
        raise Ask(Doubt(f'Which day of "{text}" do you mean?', days.start, days.end))
    return days.first


def _clock_start(when: When) -> Spoken:
    spoken = when.clock.start if when.clock else None
    if spoken is None:
        raise ValueError("no time of day")
    return spoken.with_half_day(_half_day(when))


def _half_day(when: When) -> str:
    return "" if when.part is None else "am" if when.part is Part.MORNING else "pm"


def _check_future(when: When, start: datetime) -> None:
    if start < when.scan.now and not (when.all_day and start.date() == when.scan.today):
        said = when.days
        text = f"{long_day(start.date())}, {start:%H:%M} is past. When do you mean?"
        begin, end = (said.start, said.end) if said else (0, 0)
        if start.date() == when.scan.today and when.clock:
            begin, end = when.clock.start.start, (when.clock.end or when.clock.start).end
        raise Ask(Doubt(text, begin, end))


def _end(when: When, start: datetime) -> tuple[datetime, str]:
    if when.all_day:
        days = when.days
        last = start.date() + timedelta(days=1) if days is None else days.last + timedelta(days=1)
        return day_start(last, when.scan), ""
    if when.clock and when.clock.end:
        return _stretch_end(when, start, when.clock.end), ""
    minutes = 60 if when.minutes is None else when.minutes
    if not 1 <= minutes <= _LONGEST:
        raise Ask(Doubt("How long shall it last (1 minute to 7 days)?", 0, 0))
    return later(start, minutes), "" if when.minutes else "no end was given, so it lasts one hour"


def _stretch_end(when: When, start: datetime, spoken: Spoken) -> datetime:
    end = local(start.date(), spoken.with_half_day(_half_day(when)), when.scan)
    if end <= start:
        end = local(start.date() + timedelta(days=1), spoken.with_half_day(_half_day(when)), when.scan)
    if when.minutes and later(start, when.minutes) != end:
        raise Ask(Doubt("The end and the length do not fit. When does it end?", spoken.start, spoken.end))
    return end


def later(start: datetime, minutes: int) -> datetime:
    """A moment so many minutes after another, right across changes of the clocks."""
    return datetime.fromtimestamp(start.timestamp() + minutes * 60, start.tzinfo)


def _repeated(when: When, ending: int) -> Occasion:
    rule = when.rule
    if rule is None:
        raise ValueError("no rule")
    if when.clock is None and not when.all_day:
        raise _missing(when, "At what time?", ending)
    start = _first_time(when, rule, ending)
    text = rule_text(rule, when.limit, start)
    if text is None:
        raise _missing(when, "How many times shall it repeat?", ending)
    if isinstance(when.limit, Until) and when.limit.days.doubt:
        raise Ask(when.limit.days.doubt)
    if isinstance(when.limit, Until) and when.limit.days.last < start.date():
        piece = when.limit.days
        raise Ask(Doubt("That ends before it begins. Until which day?", piece.start, piece.end))
    end, assumed = _end(replace(when, days=None), start)
    return Occasion(start, end, text, assumed)


def _first_time(when: When, rule: Rule, ending: int) -> datetime:
    anchor = when.starting or when.days
    if anchor and anchor.doubt:
        raise Ask(anchor.doubt)
    if anchor is None and not rule.weekdays and not rule.month_day and rule.frequency != "DAILY":
        raise _missing(when, "Starting on which day?", ending)
    earliest = one_day(replace(when, days=anchor))
    day = first_day(rule, earliest, time_is_past=False)
    if day and day == when.scan.today and _at(when, day) < when.scan.now:
        day = first_day(rule, earliest, time_is_past=True)
    if day is None:
        raise _missing(when, "Starting on which day?", ending)
    return _at(when, day)


def _at(when: When, day: date) -> datetime:
    return day_start(day, when.scan) if when.all_day else local(day, _clock_start(when), when.scan)


def window(when: When, length: int = 7) -> tuple[datetime, datetime, str]:
    """Return the range of time in which to list events, and the assumptions.

    Raises:
        Ask: A piece is ambiguous, or it has a time without a day.
    """
    when.sure()
    if when.instant:
        return when.instant, later(when.instant, when.minutes or 60), ""
    if when.days is None and (when.clock or when.part or when.bounds):
        raise _missing(when, "On which day?", _after(when))
    if when.days is None:
        start = day_start(when.scan.today, when.scan)
        end = day_start(when.scan.today + timedelta(days=length), when.scan)
        return start, end, f"no day was named, so the next {length} days"
    if when.clock or when.part or when.bounds:
        start, end = hours(when, one_day(when), (0, 24))
        return start, end, ""
    return day_start(when.days.first, when.scan), day_start(when.days.last + timedelta(days=1), when.scan), ""


def _after(when: When) -> int:
    return len(when.scan.text.rstrip(" .?!"))


def hours(when: When, day: date, usual: tuple[int | time, int | time]) -> tuple[datetime, datetime]:
    """The stretch within a day that a clause names: a time, a part of the day, bounds, else the usual hours."""
    if when.clock:
        start = local(day, _clock_start(when), when.scan)
        end = _stretch_end(replace(when, minutes=None), start, when.clock.end) if when.clock.end else None
        return start, end or later(start, when.minutes or 60)
    first, last = PART_HOURS[when.part] if when.part else usual
    start, end = _hour(day, first, when.scan), _hour(day, last, when.scan)
    for bound in when.bounds:
        moment = local(day, bound.clock.with_half_day(_half_day(when)), when.scan)
        start, end = (moment, max(end, _hour(day, 18, when.scan))) if bound.after else (start, moment)
    return start, end


def _hour(day: date, hour: int | time, scan: Scan) -> datetime:
    if isinstance(hour, time):
        return datetime.combine(day, hour, scan.zone)
    if hour in (0, 24):
        return day_start(day + timedelta(days=hour // 24), scan)
    return datetime.combine(day, time(hour), scan.zone)


def free_windows(when: When, ending: int, usual: tuple[time, time] = WORK) -> list[tuple[datetime, datetime]]:
    """Return the ranges of free time to search: one per named day, without the past, else within the `usual` hours.

    Raises:
        Ask: No day is named, too many are, or nothing of them is left.
    """
    when.sure()
    if when.instant:
        return [(when.instant, later(when.instant, when.minutes or 60))]
    if when.days is None:
        raise _missing(when, "On which day?", ending)
    days = when.days
    if (days.last - days.first).days > 6:
        text = when.scan.text[days.start : days.end]
        raise Ask(Doubt(f'"{text}" is more than a week. Which days do you mean?', days.start, days.end))
    found = [
        _ahead(when, days.first + timedelta(days=shift), usual) for shift in range((days.last - days.first).days + 1)
    ]
    left = [pair for pair in found if pair]
    if not left:
        raise Ask(Doubt("Those hours are past. Which other day or time do you mean?", days.start, days.end))
    return left


def _ahead(when: When, day: date, usual: tuple[time, time]) -> tuple[datetime, datetime] | None:
    start, end = hours(when, day, usual)
    now = when.scan.now
    if start < now and not (when.clock and when.clock.end is None):
        start = datetime.fromtimestamp(-(-int(now.timestamp()) // _STEP) * _STEP, when.scan.zone)
    return (start, end) if start < end and end > now and start >= now else None
