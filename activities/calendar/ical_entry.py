"""What one resource of a CalDAV calendar holds: an event, or a series with its changed dates.

Whatever cannot be read, or not without endless work, is `Unreadable`; whoever reads a calendar leaves it out and counts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import recurring_ical_events  # type: ignore[import-untyped]  # it brings no types
from icalendar import Calendar as ICalendar
from icalendar import Component, vDDDTypes, vRecur

from activities.calendar.contract import Event, PreviousEvent
from activities.calendar.ical_series import main_of, newest, settle
from activities.calendar.ical_source import source_of
from activities.calendar.ical_values import (
    BROKEN,
    Length,
    Unreadable,
    attendees,
    calendars,
    check_lines,
    is_all_day,
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
)
from activities.calendar.store import MOST_EXCLUDED, ordered
from retinue.errors import InvalidArguments
from retinue.recurrence import check_followable
from retinue.zones import known_zones, zone_of

_DAY = timedelta(days=1)
_DESCRIBED_ZONE = re.compile(
    r"^BEGIN:VTIMEZONE\r?\n(?:(?!(?:BEGIN|END):VTIMEZONE|TZID)[^\n]*\n)*TZID:(?P<name>[\w/+-]{1,64})\r?\n"
    r"(?:(?!(?:BEGIN|END):VTIMEZONE)[^\n]*\n)*END:VTIMEZONE\r?\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Occurrence:
    """One time at which an event takes place."""

    start: datetime
    end: datetime
    busy: bool
    event: Event

    def as_event(self) -> Event:
        """Return the event at this time."""
        return self.event


class Entry:
    """One resource, read."""

    def __init__(self, event_id: str, calendar: ICalendar, default_zone: str) -> None:
        """Take a resource as `parsed` gives it.

        Raises:
            Unreadable: It holds no event, or one that makes no sense.
        """
        self._event_id = event_id
        self._zone = default_zone
        events = _settled(calendar)
        self._main = main_of(events)
        self._rule = rule(self._main)
        self._once: list[Occurrence] | None = None
        self._calendar: ICalendar | None = None
        found = [self._occurrence(event) for event in events]
        if len(events) == 1 and not recurs(self._main):
            self._once = [each for each in found if each is not None]
        else:
            self._calendar = _with_lengths(_with_whole_last_days(calendar), default_zone)

    @property
    def title(self) -> str:
        """What the event is called."""
        return line(self._main.get("SUMMARY"), 80)

    @property
    def recurs(self) -> bool:
        """Whether it is a series."""
        return self._once is None

    def occurrences(self, start: datetime, end: datetime) -> list[Occurrence]:
        """Return the times at which it takes place in the window, in order.

        Raises:
            Unreadable: They cannot be told.
        """
        found = self._once if self._once is not None else self._expanded(start, end)
        overlapping = (each for each in found if each.start < end and each.end > start)
        return sorted(overlapping, key=lambda each: (each.start, each.end))

    def as_event(self) -> Event:
        """Return the event, of a series the first time, as the contract shows it."""
        return self._event(self._main, *times(self._main, self._zone))

    def as_previous(self, kept: str) -> PreviousEvent:
        """Return the event with what is kept of it under `kept`."""
        lists = several(self._main.get("EXDATE"))
        excluded = [
            moment(each, self._zone)[0].astimezone(UTC) for dates in lists for each in getattr(dates, "dts", [])
        ]
        return PreviousEvent(
            **self.as_event().model_dump(),
            excluded=excluded if len(excluded) <= MOST_EXCLUDED else None,
            busy=is_busy(self._main),
            kept=kept,
        )

    def _expanded(self, start: datetime, end: datetime) -> Iterator[Occurrence]:
        """Expand with one more day on both sides, since dates and floating times depend on a zone."""
        if self._rule is not None:
            _check_rule(self._rule, times(self._main, self._zone)[0], (start - _DAY, end + _DAY))
        try:
            found = recurring_ical_events.of(self._calendar).between(start - _DAY, end + _DAY)
        except BROKEN:
            raise Unreadable("its times cannot be worked out") from None
        return (each for each in map(self._occurrence, found) if each is not None)

    def _occurrence(self, event: Component) -> Occurrence | None:
        try:
            start, end, zone = times(event, self._zone)
            if (exact := _end_of(event, start, zone)) is not None:
                start, end = ordered(start, exact)
        except InvalidArguments as error:
            raise Unreadable(error.message) from None
        if is_cancelled(event):
            return None
        return Occurrence(start, end, is_busy(event), self._event(event, start, end, zone))

    def _event(self, event: Component, start: datetime, end: datetime, zone: str) -> Event:
        return Event(
            event_id=self._event_id,
            title=line(event.get("SUMMARY"), 300) or "(no title)",
            start=start.astimezone(zone_of(zone)),
            end=end.astimezone(zone_of(zone)),
            timezone=zone,
            location=line(event.get("LOCATION"), 500) or None,
            description=text(event.get("DESCRIPTION"), 8000) or None,
            attendees=attendees(event),
            recurrence=self._rule and self._rule[:500],
        )


def parsed(content: str) -> ICalendar:
    """Return the calendar that a resource's content is.

    Raises:
        Unreadable: It is none.
    """
    found = calendars(content)
    if len(found) > 1:
        raise Unreadable("it holds several calendars")
    return found[0]


def read_entry(event_id: str, content: str, default_zone: str) -> Entry:
    """Parse a resource for reading only, without descriptions of zones that are known by name, which take most time.

    Reminders that cannot be read do not matter here; whoever changes a resource reads it with `parsed`, which keeps all.

    Raises:
        Unreadable: It holds no event, or one that makes no sense.
    """
    found = source_of(_DESCRIBED_ZONE.sub(_unless_known, content))
    if any(not each.is_reminder for each in found.left_out):
        raise Unreadable("a line of it cannot be read")
    if len(found.calendars) > 1:
        raise Unreadable("it holds several calendars")
    return Entry(event_id, found.calendars[0], default_zone)


def _settled(calendar: ICalendar) -> list[Component]:
    """Return the events of a resource in their newest versions, if all of them can be read."""
    events = vevents(calendar)
    for event in events:
        check_lines(event)
        if "EXRULE" in event:
            raise Unreadable("it leaves out times by a rule (EXRULE)")
    settle(events)
    events, older = newest(events)
    dropped = set(map(id, older))
    calendar.subcomponents = [each for each in calendar.subcomponents if id(each) not in dropped]
    return events


def _unless_known(described: re.Match[str]) -> str:
    return "" if described["name"] in known_zones() else described[0]


def vevents(calendar: ICalendar) -> list[Component]:
    """Return the one event of a resource (RFC 4791, 4.1) and the dates that differ from it.

    Raises:
        Unreadable: There is none, or there are several: a harmless one could hide another's endless rule.
    """
    events = calendar.walk("VEVENT")
    if not events:
        raise Unreadable("it holds no event")
    if len({str(event.get("UID", "")) for event in events}) > 1:
        raise Unreadable("it holds several events")
    return list(events)


def recurs(event: Component) -> bool:
    """Whether it takes place more than once, or is one date of a series."""
    return any(name in event for name in ("RRULE", "RDATE", "RECURRENCE-ID"))


def _check_rule(found: str, start: datetime, window: tuple[datetime, datetime]) -> None:
    try:
        check_followable(found, start, window)
    except InvalidArguments as error:
        known = error.hint is None
        raise Unreadable(error.message if known else "its recurrence rule is none that this calendar follows") from None


def _with_whole_last_days(calendar: ICalendar) -> ICalendar:
    """Let a rule that ends on a date include that whole day in the event's zone."""
    for event in calendar.walk("VEVENT"):
        for found in several(event.get("RRULE")):
            until = found.get("UNTIL", [None])[0] if isinstance(found, vRecur) else None
            if isinstance(found, vRecur) and type(until) is date and not is_all_day(event):
                start = value_of(event["DTSTART"])
                last = datetime.combine(until, time(23, 59, 59), getattr(start, "tzinfo", None))
                found["UNTIL"] = [last.astimezone(UTC) if last.tzinfo else last]
    return calendar


_LENGTH = "X-RETINUE-LENGTH"


def _with_lengths(calendar: ICalendar, default_zone: str) -> ICalendar:
    """Note each event's exact length, as RFC 5545 means it, since the expansion uses the wall clock only."""
    for event in calendar.walk("VEVENT"):
        found = length(event, default_zone)
        start, _, zone = times(event, default_zone)
        begin = value_of(event["DTSTART"])
        if isinstance(begin, datetime) and "DTEND" not in event:
            end = found.end(start, zone_of(zone)).astimezone(zone_of(zone)).replace(tzinfo=None)
            event["DTEND"] = vDDDTypes(end.replace(tzinfo=begin.tzinfo))
            event.pop("DURATION", None)
        event[_LENGTH] = f"{found.days} {found.exact.total_seconds():.0f} {_on_the_wall(event)}"
    return calendar


def _end_of(event: Component, start: datetime, zone: str) -> datetime | None:
    """Return the end of an occurrence by the length that its event noted; one from a period (RDATE) has its own."""
    if _LENGTH not in event:
        return None
    days, seconds, on_the_wall = str(event[_LENGTH]).split(maxsplit=2)
    if on_the_wall != _on_the_wall(event):
        return None
    return Length(int(days), timedelta(seconds=int(seconds))).end(start, zone_of(zone))


def _on_the_wall(event: Component) -> str:
    if "DTEND" not in event:
        return "-"
    start, end = value_of(event["DTSTART"]), value_of(event["DTEND"])
    if isinstance(start, datetime) and isinstance(end, datetime):
        start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
    return f"{end - start}"  # type: ignore[operator]  # both are dates, or both times
