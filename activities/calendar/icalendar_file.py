"""Reading iCalendar files (.ics): what other calendars export becomes events of this one.

A file is read as far as it makes sense. What cannot be entered is left out and named, with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from icalendar import Calendar as ICalendar
from icalendar import Component

from activities.calendar.described_zones import keeps_offset, tzid_of
from activities.calendar.ical_series import has_range, modified_at, newest, sequence, settle
from activities.calendar.ical_source import KINDS, source_of
from activities.calendar.ical_values import (
    MOST_ATTENDEES,
    Unreadable,
    attendees,
    check_lines,
    is_busy,
    is_cancelled,
    length,
    line,
    moment,
    rule,
    several,
    text,
    times,
    value_of,
    written,
)
from activities.calendar.models import StoredEvent
from activities.calendar.store import Cancellation, Imported, ImportedSeries, series_of
from retinue.errors import InvalidArguments
from retinue.file_import import LeftOut, content_of, outcome, quoted
from retinue.recurrence import LONGEST, first_by_rule, moved_along, normalised, rule_after, rule_before
from retinue.zones import is_offset, zone_of

LARGEST_FILE = 5 * 1024 * 1024
_LONGEST_RULE = 500
_LONGEST = {"SUMMARY": ("title", 300), "LOCATION": ("location", 500), "DESCRIPTION": ("description", 8000)}
_ANSWERS = {
    "REPLY": "it is somebody's answer to an invitation",
    "COUNTER": "it is somebody's proposal of another time",
    "REFRESH": "it asks for the newest version of an event",
    "DECLINECOUNTER": "it declines a proposal of another time",
}
"""Methods (RFC 5546) of files that say something about an event, but are none."""


@dataclass
class CalendarFile:
    """What one file held."""

    series: list[ImportedSeries] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def events(self) -> list[StoredEvent]:
        """Everything that can be entered."""
        return [event for series in self.series for event in series.events]

    def outcome(self, done: Imported) -> str:
        """What came of the file: a sentence, then a line for each thing that was left out."""
        sentence = f"{done.added} event{'' if done.added == 1 else 's'} imported, {done.known} already known"
        for what, titles in (("updated", done.updated), ("removed because cancelled", done.removed)):
            if titles:
                sentence += f", {len(titles)} {what} ({', '.join(line(title, 60) for title in titles[:20])})"
        return outcome(sentence, [*self.left_out, *done.left_out])


def read_file(path: Path, default_zone: str) -> CalendarFile:
    """Read one file; `default_zone` is where times without a zone belong.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is larger than 5 MiB or not iCalendar.
    """
    return read_calendar(content_of(path, LARGEST_FILE), default_zone)


def read_calendar(content: bytes, default_zone: str) -> CalendarFile:
    """Read the events of a file's content.

    Raises:
        InvalidArguments: It is not iCalendar.
    """
    try:
        source = source_of(content)
    except Unreadable as reason:
        raise InvalidArguments(
            f"this is not an iCalendar file: {reason.named or reason}", hint="it begins with BEGIN:VCALENDAR"
        ) from None
    file = CalendarFile(left_out=list(source.left_out))
    groups: dict[str, list[Component]] = {}
    for calendar in source.calendars:
        for event in _events(calendar, file):
            groups.setdefault(_digest(event), []).append(event)
    for uid, events in groups.items():
        file.series += _Group(uid, events, default_zone, file.left_out).series()
    file.left_out += _never_kept([event for events in groups.values() for event in events])
    return file


def _never_kept(events: Sequence[Component]) -> Iterator[LeftOut]:
    """What this calendar has no place for, once for all events."""
    with_reminders = [event for event in events if any(inner.name == "VALARM" for inner in event.subcomponents)]
    with_files = [event for event in events if "ATTACH" in event]
    for what, name, having in (("reminders", "VALARM", with_reminders), ("attached files", "ATTACH", with_files)):
        if titles := [_title(event) for event in having]:
            named = ", ".join(f"'{title[:40]}'" for title in titles[:5]) + (", ..." if len(titles) > 5 else "")
            yield LeftOut(
                f"{what} of {len(titles)} event{'s'[: len(titles) > 1]}", f"the calendar keeps none ({name}): {named}"
            )


def _events(calendar: ICalendar, file: CalendarFile) -> Iterator[Component]:
    """Yield the events of a calendar; all else that it holds is named."""
    method = str(calendar.get("METHOD", "")).strip().upper()
    for component in calendar.subcomponents:
        if component.name == "VEVENT" and method not in _ANSWERS:
            if method == "CANCEL":
                component["STATUS"] = "CANCELLED"
            yield component
        elif component.name == "VEVENT":
            file.left_out.append(LeftOut(_name(component), f"{_ANSWERS[method]} (METHOD:{method})"))
        elif component.name != "VTIMEZONE":
            kind = KINDS.get(str(component.name), f"a {component.name}")
            file.left_out.append(LeftOut(_name(component), f"it is {kind}, and the calendar takes events only"))


class _Group:
    """All components of one UID: an event, or a series with its changed times, perhaps in several versions."""

    def __init__(self, uid: str, events: Sequence[Component], default_zone: str, left_out: list[LeftOut]) -> None:
        self._uid = uid
        self._zone = default_zone
        self._left_out = left_out
        self._events = [event for event in events if self._is_whole(event)]

    def series(self) -> list[ImportedSeries]:
        """What is to be entered and removed, if anything is."""
        try:
            settle(self._events)
            events, older = newest(self._events)
        except Unreadable as reason:
            self._left_out += [LeftOut(_name(event), str(reason)) for event in self._events]
            return []
        for event in older:
            self._leave_out(event, "a newer version of it is in the same file")
        found = ImportedSeries(self._uid)
        singles = [event for event in events if "RECURRENCE-ID" in event]
        main = next((event for event in events if "RECURRENCE-ID" not in event), None)
        if main is not None and is_cancelled(main):
            found.cancelled.append(Cancellation(_name(main), sequence(main)))
        elif main is not None and (stored := self._stored(main)) is not None:
            instead_of = [self._instead_of(event).isoformat() for event in singles if not has_range(event)]
            stored.excluded = sorted({*stored.excluded, *instead_of})
            found.events = self._with_later_changes(stored, [event for event in singles if has_range(event)])
        for event in singles:
            if not has_range(event):
                self._change(event, found)
            elif main is None:
                self._leave_out(event, "it changes all later times of a series that is not in the file")
        return [found]

    def _change(self, event: Component, found: ImportedSeries) -> None:
        """One time of a series that differs, or is cancelled. The series may be in the file, or in the calendar."""
        instead_of = value_of(event["RECURRENCE-ID"])
        at: datetime | date = self._instead_of(event) if isinstance(instead_of, datetime) else instead_of  # type: ignore[assignment]  # the other branch is a date
        if is_cancelled(event):
            uid = _digest(event, occurrence=True)
            found.cancelled.append(Cancellation(_name(event), sequence(event), at, uid))
        elif (stored := self._stored(event)) is not None:
            stored.series_uid = self._uid
            found.events.append(stored)
        if not any("RECURRENCE-ID" not in each for each in self._events):
            found.replaced.append(at)

    def _with_later_changes(self, series: StoredEvent, changes: Sequence[Component]) -> list[StoredEvent]:
        """Return the series in parts: each change that stands for all later times too (RANGE) begins a new one."""
        done: list[StoredEvent] = []
        way = (series.starts_at, series.starts_at)
        for event in sorted(changes, key=self._instead_of):
            at = moved_along(self._instead_of(event), zone_of(series.timezone), way)
            later = self._later(event, series, at)
            left = [datetime.fromisoformat(each) for each in series.excluded]
            before = rule_before(series_of(series), at) if series.recurrence else None
            if before is not None:
                series.recurrence = before
                series.excluded = [each.isoformat() for each in left if each < at]
                done.append(series)
            if later is None:
                return done
            way = (self._instead_of(event), later.starts_at)
            zone = zone_of(later.timezone)
            later.excluded = [moved_along(each, zone, (at, later.starts_at)).isoformat() for each in left if each >= at]
            series = later
        return [*done, series]

    def _later(self, event: Component, series: StoredEvent, at: datetime) -> StoredEvent | None:
        """Return the part of a series from a change on; None where there is none, or where it cannot be kept."""
        if is_cancelled(event) or (later := self._stored(event)) is None:
            self._leave_out(event, f"the series ends before {at:%Y-%m-%d}")
            return None
        try:
            if series.recurrence is None:
                raise InvalidArguments("it changes all later times of an event that does not recur")
            later.recurrence = rule_after(series_of(series), at, later.starts_at)
        except InvalidArguments as error:
            self._leave_out(event, f"{error.message}; the series ends before {at:%Y-%m-%d}")
            return None
        later.timezone, later.series_uid = series.timezone, self._uid
        return later

    def _is_whole(self, event: Component) -> bool:
        try:
            check_lines(event)
        except Unreadable as reason:
            self._leave_out(event, f"its line {quoted(reason.named)} cannot be read" if reason.named else str(reason))
            return False
        return True

    def _stored(self, event: Component) -> StoredEvent | None:
        """Return the event as this calendar keeps it, or None: then it is named as left out."""
        try:
            stored = _stored(event, self._zone)
        except Unreadable as reason:
            self._leave_out(event, str(reason))
        except InvalidArguments as error:
            self._leave_out(event, error.message)
        else:
            self._left_out += [LeftOut(_name(event), part) for part in _not_taken(event)]
            return stored
        return None

    def _instead_of(self, event: Component) -> datetime:
        return moment(event["RECURRENCE-ID"], self._zone)[0].astimezone(UTC)

    def _leave_out(self, event: Component, why: str) -> None:
        self._left_out.append(LeftOut(_name(event), why))


def _stored(event: Component, default_zone: str) -> StoredEvent:
    if "RDATE" in event:
        raise Unreadable("it lists single dates (RDATE)")
    if "EXRULE" in event:
        raise Unreadable("it leaves out times by a rule (EXRULE), which this calendar does not follow")
    start, end, timezone = times(event, default_zone)
    stored = StoredEvent(
        uid=_digest(event, occurrence=True),
        title=_title(event),
        starts_at=start,
        ends_at=end,
        timezone=timezone,
        location=line(event.get("LOCATION"), 500) or None,
        description=text(event.get("DESCRIPTION"), 8000) or None,
        attendees=attendees(event),
        recurrence=_recurrence(event),
        excluded=_excluded(event, default_zone),
        busy=is_busy(event),
        days=length(event, default_zone).days,
        sequence=sequence(event),
        modified_at=modified_at(event),
    )
    _check_series(event, stored)
    return stored


def _recurrence(event: Component) -> str | None:
    """Return the rule. What changes one occurrence of a series (RECURRENCE-ID) does not recur itself."""
    found = None if "RECURRENCE-ID" in event else rule(event)
    if found is None:
        return None
    if len(followed := normalised(found)) > _LONGEST_RULE:
        raise Unreadable("its recurrence rule is too long")
    return followed


def _check_series(event: Component, stored: StoredEvent) -> None:
    """Insist on less than for a new event: other calendars let a series start outside its own rule."""
    if stored.recurrence is None:
        return
    if stored.ends_at - stored.starts_at > LONGEST:
        raise Unreadable(f"it recurs and lasts longer than {LONGEST.days} days")
    start = value_of(event["DTSTART"])
    if isinstance(start, datetime) and is_offset(stored.timezone) and tzid_of(start.tzinfo) and not keeps_offset(start):
        raise Unreadable("it recurs in a time zone whose description fits no known zone")
    if first_by_rule(series_of(stored)) is None:
        raise Unreadable("its recurrence rule never holds")


def _excluded(event: Component, default_zone: str) -> list[str]:
    lists = several(event.get("EXDATE"))
    found = [moment(each, default_zone)[0].astimezone(UTC) for dates in lists for each in getattr(dates, "dts", [])]
    return sorted({each.isoformat() for each in found})


def _not_taken(event: Component) -> Iterator[str]:
    """What of an event is longer than this calendar keeps."""
    for name, (what, longest) in _LONGEST.items():
        if len(str(event.get(name, ""))) > longest:
            yield f"only the first {longest} characters of its {what} were taken"
    if (number := len(several(event.get("ATTENDEE")))) > MOST_ATTENDEES:
        yield f"only {MOST_ATTENDEES} of its {number} attendees were taken"


def _title(component: Component) -> str:
    return line(component.get("SUMMARY"), 300) or "(no title)"


def _name(component: Component) -> str:
    """How a component is named to the person: by its title, and when it begins."""
    try:
        when = next((value_of(component[name]) for name in ("DTSTART", "DUE") if name in component), None)
    except Unreadable:
        when = None
    shown = (
        f" ({when:%Y-%m-%d %H:%M})" if isinstance(when, datetime) else f" ({when})" if isinstance(when, date) else ""
    )
    return f"'{_title(component)}'{shown}"


def _digest(event: Component, *, occurrence: bool = False) -> str:
    """What makes an import recognise the event again. A UID may be of any length and may be missing."""
    identity = str(event.get("UID") or f"{event.get('SUMMARY')} {written(event.get('DTSTART', ''))}")
    if occurrence and "RECURRENCE-ID" in event:
        identity += f" {written(event['RECURRENCE-ID'])}"
    return hashlib.sha256(identity.encode()).hexdigest()
