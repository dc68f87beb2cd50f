"""The values of an iCalendar event as this calendar understands them. Who wrote them is a stranger; all is bounded."""

import re
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from icalendar import Calendar as ICalendar
from icalendar import Component, use_zoneinfo, vDDDTypes

from activities.calendar.described_zones import name_of
from activities.calendar.store import LONGEST_ATTENDEE, ordered
from retinue.zones import is_offset, zone_of

WITHOUT_END = timedelta(minutes=30)
"""How long an event takes that has a time of day but no end: what calendars draw for it."""

MOST_ATTENDEES = 100
MOST_ZONES = 50
"""Descriptions of time zones in one text: to follow one, and to find the zone that it means, takes a third of a second."""
_DAY = timedelta(days=1)
_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?P<time>T(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,8})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.I,
)
_DURATION_LINE = re.compile(r'^(DURATION(?:;[^:\r\n]*)?):([^"\r\n]{1,60})(?=\r?$)', re.I | re.M)
_AS_WRITTEN = "X-RETINUE-WRITTEN"
_BAD_LINE = re.compile(r"into parts: '(.*?)'(?::|$)", re.S)
_TELLING = ("DTSTART", "DTEND", "DURATION", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID")
"""The properties without which an event says nothing true. A broken RRULE is refused where rules are read."""

_READING = threading.Lock()
BROKEN = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, OSError)
"""What the libraries raise for unexpected content. A TZID may be the name of a folder."""


class Unreadable(Exception):
    """An event that cannot be read; the text says why, in our words, and `named` what is meant, in its writer's."""

    named: str = ""


@dataclass(frozen=True)
class Length:
    """How long an event takes: days by the calendar, which may have 23 hours, and then exact time (RFC 5545, 3.3.6)."""

    days: int
    exact: timedelta

    def end(self, start: datetime, zone: tzinfo) -> datetime:
        """Return the end (UTC) of what begins at `start`, for the clock of `zone`."""
        by_days = start
        if self.days:
            by_days = (start.astimezone(zone).replace(tzinfo=None) + self.days * _DAY).replace(tzinfo=zone)
        return by_days.astimezone(UTC) + self.exact


class WrittenDuration(vDDDTypes):
    """A duration that stays as it was written: PT24H and P1D differ when the clock changes."""

    written: str = ""

    def to_ical(self) -> bytes:
        """Return its text in the file."""
        return self.written.encode()


def calendars(content: str) -> list[ICalendar]:
    """Return the calendars of a text.

    One text is read at a time, and each with a clear memory: the parser keeps the zones that texts describe by their
    names, for all that it reads later, although everybody calls different zones `Customized Time Zone`.

    Raises:
        Unreadable: It is no iCalendar.
    """
    with _READING:
        use_zoneinfo()  # type: ignore[no-untyped-call]  # it brings no types
        try:
            found = ICalendar.from_ical(_with_durations(content), multiple=True)
        except BROKEN:
            raise Unreadable("it is not iCalendar") from None
    if not found or not all(isinstance(each, ICalendar) for each in found):
        raise Unreadable("it is not iCalendar")
    components = [each for calendar in found for each in calendar.walk()]
    if sum(each.name == "VTIMEZONE" for each in components) > MOST_ZONES:
        raise Unreadable(f"it describes more than {MOST_ZONES} time zones")
    for component in components:
        _keep_duration(component)
    return list(found)


def _with_durations(content: str) -> str:
    """Return the text with each duration also in a parameter, since the parser forgets how it was written."""
    return _DURATION_LINE.sub(rf'\1;{_AS_WRITTEN}="\2":\2', content)


def _keep_duration(component: Component) -> None:
    for found in several(component.get("DURATION")):
        written_ = getattr(found, "params", {}).pop(_AS_WRITTEN, None)
        if isinstance(found, vDDDTypes) and isinstance(found.dt, timedelta) and written_ is not None:
            kept = WrittenDuration(found.dt)
            kept.params, kept.written = found.params, str(written_)
            component["DURATION"] = kept


def times(event: Component, default_zone: str) -> tuple[datetime, datetime, str]:
    """Start, end (both UTC) and zone. An event on a date lasts that day; one without an end gets a usual length.

    Raises:
        Unreadable: One of them makes no sense.
        InvalidArguments: They are not in order, or outside the years that calendars keep.
    """
    if event.get("DTSTART") is None:
        raise Unreadable("it has no start")
    start, timezone = moment(event["DTSTART"], default_zone)
    end = length(event, default_zone).end(start, zone_of(timezone))
    return *ordered(start, end), timezone


def length(event: Component, default_zone: str) -> Length:
    """How long the event takes. One on a date takes whole days; one without an end gets a usual length.

    Raises:
        Unreadable: Its times make no sense.
    """
    start, name = moment(event["DTSTART"], default_zone)
    zone = zone_of(name)
    if event.get("DTEND") is not None:
        end, _ = moment(event["DTEND"], default_zone)
        found = _between(start.astimezone(zone), end.astimezone(zone))
    elif event.get("DURATION") is not None:
        found = _duration(event["DURATION"])
    else:
        found = Length(0, timedelta())
    if is_all_day(event) and not found.exact % _DAY:
        found = Length(found.days + found.exact // _DAY, timedelta())
    if found.end(start, zone) == start:
        return Length(1, timedelta()) if is_all_day(event) else Length(0, WITHOUT_END)
    return found


def _between(start: datetime, end: datetime) -> Length:
    """From midnight to midnight there are days; everything else is exact (RFC 5545, 3.8.5.3)."""
    if start.time() == end.time() == time():
        return Length((end.date() - start.date()).days, timedelta())
    return Length(0, end.astimezone(UTC) - start.astimezone(UTC))


def _duration(value: object) -> Length:
    found = _DURATION.fullmatch(getattr(value, "written", "").strip())
    if found is None or not any(found[name] for name in ("weeks", "days", "hours", "minutes", "seconds")):
        raise Unreadable("its duration cannot be read")
    part = {name: int(found[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")}
    sign = -1 if found["sign"] == "-" else 1
    exact = timedelta(hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"])
    return Length(sign * (7 * part["weeks"] + part["days"]), sign * exact)


def check_lines(event: Component) -> None:
    """Insist that every line of an event could be read, and every time in it.

    Raises:
        Unreadable: One could not; the parser would go on without it. `named` is the line.
    """
    for name, said in event.errors:
        if name is None:
            unreadable = Unreadable("a line of it cannot be read")
            unreadable.named = line_[1] if (line_ := _BAD_LINE.search(said)) else ""
            raise unreadable
    if broken := next((name for name, _ in event.errors if name in _TELLING), None):
        raise Unreadable(f"one of its times cannot be read ({broken})")


def moment(value: object, default_zone: str) -> tuple[datetime, str]:
    """Return a DTSTART or its like as a moment, with the name of its zone.

    Raises:
        Unreadable: It is broken, or its zone is unknown.
    """
    when = value_of(value)
    if isinstance(when, timedelta):
        raise Unreadable("one of its times cannot be read")
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    if when.tzinfo is None:
        if "TZID" in getattr(value, "params", {}):
            raise Unreadable("its time zone is unknown")
        return when.replace(tzinfo=zone_of(default_zone)), default_zone
    try:
        name = name_of(when, default_zone)
    except BROKEN:
        raise Unreadable("its time zone is described in a way that cannot be followed") from None
    return (when if is_offset(name) else when.replace(tzinfo=zone_of(name))), name


def value_of(value: object) -> date | datetime | timedelta:
    """Return the Python value of a date, a time or a duration.

    Raises:
        Unreadable: It is broken, which the parser says only now.
    """
    try:
        read: date | datetime | timedelta = value.dt  # type: ignore[attr-defined]  # or a broken one without it
    except (ValueError, AttributeError):
        raise Unreadable("one of its times cannot be read") from None
    return read


def is_all_day(event: Component) -> bool:
    """Whether it begins on a date and not at a time of day."""
    return not isinstance(value_of(event["DTSTART"]), datetime)


def is_cancelled(event: Component) -> bool:
    """Whether the event is cancelled."""
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def is_busy(event: Component) -> bool:
    """Whether it takes time."""
    return str(event.get("TRANSP", "")).upper() != "TRANSPARENT"


def rule(event: Component) -> str | None:
    """Return its recurrence rule as it is written.

    Raises:
        Unreadable: There are several.
    """
    found = event.get("RRULE")
    if isinstance(found, list):
        raise Unreadable("it has several recurrence rules")
    return None if found is None else written(found)


def attendees(event: Component) -> list[str]:
    """Return their addresses, or the names of those who have none."""
    return [attendee(each) for each in several(event.get("ATTENDEE"))[:MOST_ATTENDEES]]


def attendee(value: object) -> str:
    """Return one attendee: the address, or the name where it is no mail address."""
    address = line(value, LONGEST_ATTENDEE + 7)
    if address.lower().startswith("mailto:"):
        return address[7 : LONGEST_ATTENDEE + 7]
    name = line(getattr(value, "params", {}).get("CN"), LONGEST_ATTENDEE)
    return name or address[:LONGEST_ATTENDEE]


def line(value: object, longest: int) -> str:
    """Return a text on one line, cut."""
    return " ".join(str(value or "").split())[:longest]


def text(value: object, longest: int) -> str:
    """Return a text as it is, cut."""
    return str(value or "")[:longest]


def several(value: object) -> list[object]:
    """A property that may come once or more often."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def written(value: object) -> str:
    """Return a property as the file writes it."""
    if isinstance(value, str) and not hasattr(value, "to_ical"):
        return value
    content: bytes = value.to_ical()  # type: ignore[attr-defined]  # every property has it
    return content.decode()
