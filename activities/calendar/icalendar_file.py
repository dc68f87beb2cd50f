"""Reading iCalendar files (.ics): what other calendars export becomes events of this one.

A file is read as far as it makes sense: an event that cannot be entered is left out and counted, with its reason.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

from icalendar import Component

from activities.calendar.ical_values import (
    Unreadable,
    attendees,
    calendars,
    is_busy,
    is_cancelled,
    line,
    moment,
    rule,
    several,
    text,
    times,
    written,
)
from activities.calendar.models import StoredEvent
from activities.calendar.recurrence import LONGEST, first_by_rule, normalised
from activities.calendar.store import series_of
from retinue.errors import InvalidArguments, NotFound

LARGEST_FILE = 5 * 1024 * 1024


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
        except Unreadable as reason:
            file.skipped[str(reason)] += 1
        except InvalidArguments as error:
            file.skipped[error.message] += 1
        else:
            file.events.append(stored)
    for stored in file.events:
        stored.excluded = sorted({*stored.excluded, *changed.get(stored.uid or "", [])})
    return file


_LONGEST_RULE = 500


def _components(content: bytes) -> Iterator[Component]:
    try:
        found = calendars(content)
    except Unreadable:
        raise InvalidArguments("this is not an iCalendar file", hint="it begins with BEGIN:VCALENDAR") from None
    for calendar in found:
        yield from calendar.walk("VEVENT")


def _stored(event: Component, default_zone: str) -> StoredEvent:
    if is_cancelled(event):
        raise Unreadable("it was cancelled")
    if "RDATE" in event:
        raise Unreadable("it lists single dates (RDATE)")
    start, end, timezone = times(event, default_zone)
    stored = StoredEvent(
        uid=_digest(event, occurrence=True),
        title=line(event.get("SUMMARY"), 300) or "(no title)",
        starts_at=start,
        ends_at=end,
        timezone=timezone,
        location=line(event.get("LOCATION"), 500) or None,
        description=text(event.get("DESCRIPTION"), 8000) or None,
        attendees=attendees(event),
        recurrence=_recurrence(event),
        excluded=_excluded(event, default_zone),
        busy=is_busy(event),
    )
    _check_series(stored)
    return stored


def _recurrence(event: Component) -> str | None:
    """The rule. What changes one occurrence of a series (RECURRENCE-ID) does not recur itself."""
    found = None if "RECURRENCE-ID" in event else rule(event)
    if found is None:
        return None
    if len(followed := normalised(found)) > _LONGEST_RULE:
        raise Unreadable("its recurrence rule is too long")
    return followed


def _check_series(stored: StoredEvent) -> None:
    """Insist on less than for a new event: other calendars let a series start outside its own rule."""
    if stored.recurrence is None:
        return
    if stored.ends_at - stored.starts_at > LONGEST:
        raise Unreadable(f"it recurs and lasts longer than {LONGEST.days} days")
    if first_by_rule(series_of(stored)) is None:
        raise Unreadable("its recurrence rule never holds")


def _excluded(event: Component, default_zone: str) -> list[str]:
    lists = several(event.get("EXDATE"))
    return [_utc(each, default_zone) for dates in lists for each in getattr(dates, "dts", [])]


def _utc(value: object, default_zone: str) -> str:
    return moment(value, default_zone)[0].astimezone(UTC).isoformat()


def _digest(event: Component, *, occurrence: bool = False) -> str:
    """What makes an import recognise the event again. A UID may be of any length and may be missing."""
    identity = str(event.get("UID") or f"{event.get('SUMMARY')} {written(event.get('DTSTART', ''))}")
    if occurrence and "RECURRENCE-ID" in event:
        identity += f" {written(event['RECURRENCE-ID'])}"
    return hashlib.sha256(identity.encode()).hexdigest()
