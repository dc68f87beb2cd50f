"""The values of an iCalendar event as this calendar understands them. Who wrote them is a stranger; all is bounded."""

import threading
from datetime import date, datetime, time, timedelta

from icalendar import Calendar as ICalendar
from icalendar import Component, use_zoneinfo, vDuration

from activities.calendar.store import LONGEST_ATTENDEE, ordered
from activities.calendar.zones import name_of, zone_of

WITHOUT_END = timedelta(minutes=30)
"""How long an event takes that has a time of day but no end: what calendars draw for it."""

MOST_ATTENDEES = 100
_NO_DURATION = vDuration(timedelta())


_READING = threading.Lock()
BROKEN = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, OSError)
"""What the libraries raise, without a system, over content that nobody foresaw. A TZID may be the name of a folder."""


class Unreadable(Exception):
    """An event that cannot be read; the text says why, in our words."""


def calendars(content: str | bytes) -> list[ICalendar]:
    """The calendars of a text.

    One text is read at a time, and each with a clear memory: the parser keeps the zones that texts describe by their
    names, for all that it reads later, although everybody calls different zones `Customized Time Zone`.

    Raises:
        Unreadable: It is no iCalendar.
    """
    with _READING:
        use_zoneinfo()  # type: ignore[no-untyped-call]  # it brings no types
        try:
            found = ICalendar.from_ical(content, multiple=True)
        except BROKEN:
            raise Unreadable("it is not iCalendar") from None
    if not found or not all(isinstance(each, ICalendar) for each in found):
        raise Unreadable("it is not iCalendar")
    return list(found)


def times(event: Component, default_zone: str) -> tuple[datetime, datetime, str]:
    """Start, end (both UTC) and zone. An event on a date lasts that day; one without an end gets a usual length.

    Raises:
        Unreadable: One of them makes no sense.
        InvalidArguments: They are not in order, or outside the years that calendars keep.
    """
    if event.get("DTSTART") is None:
        raise Unreadable("it has no start")
    start, timezone = moment(event["DTSTART"], default_zone)
    if event.get("DTEND") is not None:
        end, _ = moment(event["DTEND"], default_zone)
    elif isinstance(length := value_of(event.get("DURATION", _NO_DURATION)), timedelta):
        end = start + length
    else:
        raise Unreadable("its duration cannot be read")
    if end == start:
        local = start.astimezone(zone_of(timezone))
        end = local + timedelta(days=1) if is_all_day(event) else start + WITHOUT_END
    return *ordered(start, end), timezone


def moment(value: object, default_zone: str) -> tuple[datetime, str]:
    """A DTSTART or its like as a moment, with the name of its zone.

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
    return when, name_of(when)


def value_of(value: object) -> date | datetime | timedelta:
    """The Python value of a date, a time or a duration.

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
    """Whether it stands in the calendar only to say that it does not take place."""
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def is_busy(event: Component) -> bool:
    """Whether it takes time."""
    return str(event.get("TRANSP", "")).upper() != "TRANSPARENT"


def rule(event: Component) -> str | None:
    """Its recurrence rule as it is written.

    Raises:
        Unreadable: There are several.
    """
    found = event.get("RRULE")
    if isinstance(found, list):
        raise Unreadable("it has several recurrence rules")
    return None if found is None else written(found)


def attendees(event: Component) -> list[str]:
    """Their addresses, or the names of those who have none."""
    return [attendee(each) for each in several(event.get("ATTENDEE"))[:MOST_ATTENDEES]]


def attendee(value: object) -> str:
    """One attendee: the address, or the name where it is no mail address."""
    address = line(value, LONGEST_ATTENDEE + 7)
    if address.lower().startswith("mailto:"):
        return address[7 : LONGEST_ATTENDEE + 7]
    name = line(getattr(value, "params", {}).get("CN"), LONGEST_ATTENDEE)
    return name or address[:LONGEST_ATTENDEE]


def line(value: object, longest: int) -> str:
    """A text on one line, cut."""
    return " ".join(str(value or "").split())[:longest]


def text(value: object, longest: int) -> str:
    """A text as it is, cut."""
    return str(value or "")[:longest]


def several(value: object) -> list[object]:
    """A property that may come once or more often."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def written(value: object) -> str:
    """A property as the file writes it."""
    if isinstance(value, str) and not hasattr(value, "to_ical"):
        return value
    content: bytes = value.to_ical()  # type: ignore[attr-defined]  # every property has it
    return content.decode()
