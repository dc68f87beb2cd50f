"""Reading iCalendar files (.ics): what other calendars export becomes events of this one.

A file is read as far as it makes sense: an event that cannot be entered is left out and counted, with its reason.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from icalendar import Calendar as ICalendar
from icalendar import Component, vDuration

from activities.calendar.models import StoredEvent
from activities.calendar.recurrence import LONGEST, first_by_rule, normalised
from activities.calendar.store import LONGEST_ATTENDEE, ordered, series_of
from activities.calendar.zones import offset_name, zone_of
from retinue.errors import InvalidArguments, NotFound

LARGEST_FILE = 5 * 1024 * 1024
WITHOUT_END = timedelta(minutes=30)
"""How long an event takes that has a time of day but no end: what calendars draw for it."""


@dataclass
class CalendarFile:
    """What one file held."""

    events: list[StoredEvent] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def outcome(self, added: int) -> str:
        """One sentence for the person: '12 events imported, 3 already known, 1 skipped: it has no start'."""
        reasons = "; ".join(reason for reason, _ in self.skipped.most_common(3))
        known = len(self.events) - added
        sentence = f"{added} event{'' if added == 1 else 's'} imported, {known} already known"
        return f"{sentence}, {self.skipped.total()} skipped: {reasons}" if reasons else sentence


def read_file(path: Path, default_zone: str) -> CalendarFile:
    """Read one file; `default_zone` is where times without a zone belong.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is larger than 5 MiB or not iCalendar.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise InvalidArguments(f"{path.name} is larger than {LARGEST_FILE // 1024**2} MiB", hint="export it in parts")
    return read_calendar(path.read_bytes(), default_zone)


def read_calendar(content: bytes, default_zone: str) -> CalendarFile:
    """Read the events of a file's content.

    Raises:
        InvalidArguments: It is not iCalendar.
    """
    file = CalendarFile()
    changed: dict[str, list[str]] = {}
    for event in _components(content):
        try:
            if (instead_of := event.get("RECURRENCE-ID")) is not None:
                changed.setdefault(_digest(event), []).append(_utc(instead_of, default_zone))
            stored = _stored(event, default_zone)
        except _Skipped as reason:
            file.skipped[str(reason)] += 1
        except InvalidArguments as error:
            file.skipped[error.message] += 1
        else:
            file.events.append(stored)
    for stored in file.events:
        stored.excluded = sorted({*stored.excluded, *changed.get(stored.uid or "", [])})
    return file


_LONGEST_RULE = 500
_NO_DURATION = vDuration(timedelta())


class _Skipped(Exception):
    """This event cannot be entered; the text says why."""


def _components(content: bytes) -> Iterator[Component]:
    try:
        calendars = ICalendar.from_ical(content, multiple=True)
    except (ValueError, LookupError) as error:
        raise InvalidArguments("this is not an iCalendar file", hint="it begins with BEGIN:VCALENDAR") from error
    if not calendars:
        raise InvalidArguments("this is not an iCalendar file", hint="it begins with BEGIN:VCALENDAR")
    for calendar in calendars:
        yield from calendar.walk("VEVENT")


def _stored(event: Component, default_zone: str) -> StoredEvent:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        raise _Skipped("it was cancelled")
    if "RDATE" in event:
        raise _Skipped("it lists single dates (RDATE)")
    start, end, timezone = _times(event, default_zone)
    stored = StoredEvent(
        uid=_digest(event, occurrence=True),
        title=_line(event.get("SUMMARY"), 300) or "(no title)",
        starts_at=start,
        ends_at=end,
        timezone=timezone,
        location=_line(event.get("LOCATION"), 500) or None,
        description=str(event.get("DESCRIPTION", ""))[:8000] or None,
        attendees=[_attendee(attendee) for attendee in _several(event.get("ATTENDEE"))[:100]],
        recurrence=_recurrence(event),
        excluded=_excluded(event, default_zone),
        busy=str(event.get("TRANSP", "")).upper() != "TRANSPARENT",
    )
    _check_series(stored)
    return stored


def _times(event: Component, default_zone: str) -> tuple[datetime, datetime, str]:
    """Start, end and zone. An event on a date lasts that day; one without an end gets a usual length."""
    if event.get("DTSTART") is None:
        raise _Skipped("it has no start")
    start, timezone = _moment(event["DTSTART"], default_zone)
    all_day = not isinstance(_read(event["DTSTART"]), datetime)
    if event.get("DTEND") is not None:
        end, _ = _moment(event["DTEND"], default_zone)
    elif isinstance(length := _read(event.get("DURATION", _NO_DURATION)), timedelta):
        end = start + length
    else:
        raise _Skipped("its duration cannot be read")
    if end == start:
        local = start.astimezone(zone_of(timezone))
        end = local + timedelta(days=1) if all_day else start + WITHOUT_END
    return *ordered(start, end), timezone


def _moment(value: object, default_zone: str) -> tuple[datetime, str]:
    """A DTSTART or its like as a moment, with the name of its zone."""
    when = _read(value)
    if isinstance(when, timedelta):
        raise _Skipped("one of its times cannot be read")
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    if when.tzinfo is None:
        if "TZID" in getattr(value, "params", {}):
            raise _Skipped("its time zone is unknown")
        return when.replace(tzinfo=zone_of(default_zone)), default_zone
    return when, when.tzinfo.key if isinstance(when.tzinfo, ZoneInfo) else offset_name(when)


def _read(value: object) -> date | datetime | timedelta:
    """The Python value of a date, a time or a duration; what is broken says so only now."""
    try:
        read: date | datetime | timedelta = value.dt  # type: ignore[attr-defined]  # or a broken one without it
    except (ValueError, AttributeError):
        raise _Skipped("one of its times cannot be read") from None
    return read


def _recurrence(event: Component) -> str | None:
    """The rule. What changes one occurrence of a series (RECURRENCE-ID) does not recur itself."""
    rule = event.get("RRULE")
    if rule is None or "RECURRENCE-ID" in event:
        return None
    if isinstance(rule, list):
        raise _Skipped("it has several recurrence rules")
    if len(text := normalised(_text(rule))) > _LONGEST_RULE:
        raise _Skipped("its recurrence rule is too long")
    return text


def _check_series(stored: StoredEvent) -> None:
    """Insist on less than for a new event: other calendars let a series start outside its own rule."""
    if stored.recurrence is None:
        return
    if stored.ends_at - stored.starts_at > LONGEST:
        raise _Skipped(f"it recurs and lasts longer than {LONGEST.days} days")
    if first_by_rule(series_of(stored)) is None:
        raise _Skipped("its recurrence rule never holds")


def _excluded(event: Component, default_zone: str) -> list[str]:
    lists = _several(event.get("EXDATE"))
    return [_utc(each, default_zone) for dates in lists for each in getattr(dates, "dts", [])]


def _utc(value: object, default_zone: str) -> str:
    return _moment(value, default_zone)[0].astimezone(UTC).isoformat()


def _digest(event: Component, *, occurrence: bool = False) -> str:
    """What makes an import recognise the event again. A UID may be of any length and may be missing."""
    identity = str(event.get("UID") or f"{event.get('SUMMARY')} {_text(event.get('DTSTART', _NO_DURATION))}")
    if occurrence and "RECURRENCE-ID" in event:
        identity += f" {_text(event['RECURRENCE-ID'])}"
    return hashlib.sha256(identity.encode()).hexdigest()


def _text(value: object) -> str:
    """A property as the file writes it."""
    written: bytes = value.to_ical()  # type: ignore[attr-defined]  # every property has it
    return written.decode()


def _line(value: object, longest: int) -> str:
    return " ".join(str(value or "").split())[:longest]


def _attendee(value: object) -> str:
    return _line(value, LONGEST_ATTENDEE + 7).removeprefix("mailto:").removeprefix("MAILTO:")[:LONGEST_ATTENDEE]


def _several(value: object) -> list[object]:
    """A property that may come once or more often."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
