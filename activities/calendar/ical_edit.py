"""Writing iCalendar: a new event, and changes of one that others may have written.

A change touches what it names and nothing else: properties, alarms and changed dates of a series that nobody here
understands stay as they are. Nobody is invited: attendees are marked as none of the server's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from enum import Enum, auto
from uuid import UUID

from icalendar import Calendar as ICalendar
from icalendar import Component, vCalAddress, vDDDTypes, vRecur
from icalendar import Event as IEvent

from activities.calendar.contract import UpdateEvent
from activities.calendar.ical_entry import recurs, vevents
from activities.calendar.ical_series import has_range, main_of, sequence, settle
from activities.calendar.ical_values import attendee, is_all_day, moment, rule, several, times, value_of
from activities.calendar.models import StoredEvent
from activities.calendar.store import checked_attendees, ordered, series_of
from activities.calendar.vtimezone import vtimezone
from retinue.errors import InvalidArguments
from retinue.recurrence import Series, check_series, for_others, normalised
from retinue.zones import is_offset, named, offset_name, zone_of

MARK = "X-RETINUE-EFFECT"
"""The property with the effects that an event has seen, to distinguish a lost reply from a lost request."""

SEAL = "X-RETINUE-VERSION"
"""The property with a digest of what the event said when an effect wrote it."""
_SEEN = (
    "SUMMARY", "DTSTART", "DTEND", "DURATION", "LOCATION", "DESCRIPTION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID",
    "STATUS", "ATTENDEE", "ORGANIZER",
)  # fmt: skip
MOST_MARKS = 5
_PRODUCT = "-//Retinue//Calendar//EN"
_IN_THE_APP = "change it in your calendar app"


def uid_of(mark: str) -> str:
    """Return the UID of the event that an effect makes: the same for every attempt."""
    return str(UUID(hex=mark))


def new_calendar(event: StoredEvent, mark: str) -> str:
    """Return the content of a resource that holds this one event."""
    clock = clock_for(event.timezone)
    start, end = on_the_clock(clock, event.starts_at), on_the_clock(clock, event.ends_at)
    if event.recurrence is None and (clock.moment(start), clock.moment(end)) != (event.starts_at, event.ends_at):
        clock = clock_for("UTC")  # an hour that comes twice has two meanings on the wall
        start, end = on_the_clock(clock, event.starts_at), on_the_clock(clock, event.ends_at)
    calendar, written = ICalendar(), IEvent()
    calendar.add("PRODID", _PRODUCT)
    calendar.add("VERSION", "2.0")
    written.add("UID", uid_of(mark))
    written.add("CREATED", _now())
    _set_times(written, clock, start, end)
    _set_texts(written, event.title, event.location, event.description)
    if event.recurrence is not None:
        written.add("RRULE", vRecur.from_ical(for_others(series_of(event))))
    _set_attendees(written, event.attendees)
    calendar.add_component(written)
    know_zone(calendar, clock, start.year)
    return sealed(calendar, written, mark)


def changed(calendar: ICalendar, change: UpdateEvent, mark: str, default_zone: str) -> str:
    """Return the content of a resource after a change, which is made in `calendar` too.

    Raises:
        InvalidArguments: The new times or attendees are wrong, or this event cannot be moved from here.
    """
    event = _the_one(calendar)
    if change.start is not None or change.end is not None:
        _move(calendar, event, change, default_zone)
    if change.description is not None:
        event.pop("X-ALT-DESC", None)
    _set_texts(event, change.title, change.location, change.description)
    if change.attendees is not None:
        _set_attendees(event, checked_attendees(change.attendees))
    event.pop("LAST-MODIFIED", None)
    event.add("LAST-MODIFIED", _now())
    event["SEQUENCE"] = sequence(event) + 1
    return sealed(calendar, event, mark)


def sealed(calendar: ICalendar, event: Component, mark: str) -> str:
    """Return the calendar's content, once the event says that it has seen the effect."""
    marks = [*marks_of(event), mark][-MOST_MARKS:]
    event.pop(MARK, None)
    for each in marks:
        event.add(MARK, each)
    event.pop("DTSTAMP", None)
    event.add("DTSTAMP", _now())
    event.pop(SEAL, None)
    event.add(SEAL, version_digest(calendar))
    content: bytes = calendar.to_ical(sorted=False)
    return content.decode()


def is_own_version(calendar: ICalendar) -> bool:
    """Whether the resource says what it said when an effect of ours wrote it, whatever others did to it in between."""
    return any(str(event.get(SEAL)) == version_digest(calendar) for event in vevents(calendar) if SEAL in event)


def version_digest(calendar: ICalendar) -> str:
    """Return a digest of what people see of a resource; servers may write the same in another form."""
    said = sorted(
        f"{name}:{value.to_ical()!r}"
        for event in vevents(calendar)
        for name in _SEEN
        for value in several(event.get(name))
        if hasattr(value, "to_ical")
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def marks_of(event: Component) -> list[str]:
    """Return the effects that an event has seen."""
    return [str(each) for each in several(event.get(MARK))]


def is_scheduled(calendar: ICalendar) -> bool:
    """Whether a server that sends invitations would notify others of a change."""
    return any(
        "ORGANIZER" in event and any(_agent(each) not in ("CLIENT", "NONE") for each in several(event.get("ATTENDEE")))
        for event in calendar.walk("VEVENT")
    )


class Form(Enum):
    """How an event writes its times."""

    DATE = auto()
    FLOATING = auto()
    UTC = auto()
    ZONED = auto()


@dataclass(frozen=True)
class Clock:
    """The clock on which an event's times are read and written."""

    form: Form
    zone: tzinfo
    tzid: str = ""

    def moment(self, wall: datetime) -> datetime:
        """Return the moment (UTC) at which this clock shows `wall`."""
        return wall.replace(tzinfo=self.zone).astimezone(UTC)

    def value(self, wall: datetime) -> vDDDTypes:
        """Return a property of an event."""
        if self.form is Form.DATE:
            return _typed(wall.date())
        if self.form is Form.ZONED:
            written = _typed(wall)
            written.params["TZID"] = self.tzid
            return written
        return _typed(wall.replace(tzinfo=UTC) if self.form is Form.UTC else wall)


def _typed(value: date | datetime) -> vDDDTypes:
    written = vDDDTypes(value)
    if not isinstance(value, datetime):
        written.params["VALUE"] = "DATE"
    return written


def on_the_clock(clock: Clock, moment_: datetime) -> datetime:
    """What this clock shows then. Of an hour that comes twice iCalendar cannot name the second one."""
    return moment_.astimezone(clock.zone).replace(tzinfo=None, fold=0)


def clock_for(name: str) -> Clock:
    """Return the clock of a zone by its name."""
    zone = named(name)
    return Clock(Form.UTC, UTC) if zone is UTC else Clock(Form.ZONED, zone, getattr(zone, "key", f"UTC{name}"))


def _clock_of(event: Component, default_zone: str) -> Clock:
    when = value_of(event["DTSTART"])
    if is_all_day(event):
        return Clock(Form.DATE, zone_of(default_zone))
    zone = getattr(when, "tzinfo", None)
    if zone is None:
        return Clock(Form.FLOATING, zone_of(default_zone))
    tzid = str(event["DTSTART"].params.get("TZID", ""))
    return Clock(Form.ZONED, zone, tzid) if tzid else Clock(Form.UTC, UTC)


def _move(calendar: ICalendar, event: Component, change: UpdateEvent, default_zone: str) -> None:
    before = _clock_of(event, default_zone)
    old_start, old_end, name = times(event, default_zone)
    start = change.start or old_start
    start, end = ordered(start, change.end or start + (old_end - old_start))
    clock, series = before, recurs(event)
    if before.form is Form.DATE:
        if change.end is None:
            end = before.moment(
                on_the_clock(before, start) + (on_the_clock(before, old_end) - on_the_clock(before, old_start))
            )
        clock = before if _is_midnight(before, start, end) else clock_for(default_zone)
    elif change.start is not None and not series and _is_bare_offset(before, name):
        clock = clock_for(offset_name(change.start))
    if series:
        settle(vevents(calendar))
        _check_movable(calendar, event, start, end, clock)
        _move_dates(calendar, event, before, clock, (old_start, start), default_zone)
    elif (clock.moment(on_the_clock(clock, start)), clock.moment(on_the_clock(clock, end))) != (start, end):
        clock = clock_for("UTC")
    _set_times(event, clock, on_the_clock(clock, start), on_the_clock(clock, end))
    know_zone(calendar, clock, start.year)


def _is_midnight(clock: Clock, *moments: datetime) -> bool:
    return all(on_the_clock(clock, each).time() == time() for each in moments)


def _is_bare_offset(clock: Clock, name: str) -> bool:
    """A zone that others have described in their own words has no name for us either, but it is none of these."""
    return clock.form is Form.UTC or (is_offset(name) and clock.tzid.startswith(("Etc/", "UTC", "GMT")))


def _check_movable(calendar: ICalendar, event: Component, start: datetime, end: datetime, clock: Clock) -> None:
    rules = rule(event)
    if rules is None or "RDATE" in event or any(has_range(each) for each in vevents(calendar)):
        raise InvalidArguments("this entry lists single dates of a series", hint=_IN_THE_APP)
    try:
        followed = normalised(rules)
    except InvalidArguments:
        raise InvalidArguments("its rule is one by which this calendar moves no series", hint=_IN_THE_APP) from None
    check_series(Series(start=start, end=end, zone=clock.zone, rule=followed))


def _move_dates(
    calendar: ICalendar, event: Component, before: Clock, clock: Clock, way: tuple[datetime, datetime], default: str
) -> None:
    """Let what a series says of single dates follow it on the wall clock."""
    shift = on_the_clock(clock, way[1]) - on_the_clock(before, way[0])

    def moved(value: object) -> vDDDTypes:
        return clock.value(on_the_clock(before, moment(value, default)[0]) + shift)

    left_out = [each for dates in several(event.pop("EXDATE", None)) for each in getattr(dates, "dts", [])]
    for each in left_out:
        event.add("EXDATE", moved(each), encode=False)
    for single in (each for each in vevents(calendar) if "RECURRENCE-ID" in each):
        instead_of = moment(single["RECURRENCE-ID"], default)[0]
        start, end, _ = times(single, default)
        if start == instead_of:  # it only changed something else than its time
            at = on_the_clock(before, start) + shift
            _set_times(single, clock, at, at + (on_the_clock(before, end) - on_the_clock(before, start)))
        single["RECURRENCE-ID"] = moved(single["RECURRENCE-ID"])


def _set_times(event: Component, clock: Clock, start: datetime, end: datetime) -> None:
    event.pop("DURATION", None)
    event["DTSTART"], event["DTEND"] = clock.value(start), clock.value(end)


def _set_texts(event: Component, title: str | None, location: str | None, description: str | None) -> None:
    for name, value in (("SUMMARY", title), ("LOCATION", location), ("DESCRIPTION", description)):
        if value is not None:
            event.pop(name, None)
            event.add(name, value)


def _set_attendees(event: Component, names: Sequence[str]) -> None:
    """Those who stay keep what the calendar says of them."""
    known = {attendee(each): each for each in several(event.pop("ATTENDEE", None))}
    for name in names:
        event.add("ATTENDEE", known.get(name) or _noted(name), encode=False)


def _noted(name: str) -> vCalAddress:
    """Return an attendee whom no server invites. Who has no mail address is a name at no address."""
    is_address = "@" in name and not set(name) & set(" <>\"',;:\r\n\t")
    noted = vCalAddress(f"mailto:{name}" if is_address else "invalid:nomail")
    if not is_address:
        noted.params["CN"] = name
    noted.params["SCHEDULE-AGENT"] = "NONE"
    return noted


def _agent(value: object) -> str:
    return str(getattr(value, "params", {}).get("SCHEDULE-AGENT", "SERVER")).upper()


def know_zone(calendar: ICalendar, clock: Clock, year: int) -> None:
    """Let a calendar describe the zone of a clock."""
    if clock.form is not Form.ZONED:
        return
    if clock.tzid not in {str(each.get("TZID")) for each in calendar.walk("VTIMEZONE")}:
        calendar.subcomponents.insert(0, vtimezone(clock.zone, clock.tzid, year=year))


def _the_one(calendar: ICalendar) -> Component:
    events = vevents(calendar)
    if len(events) > 1 and sum("RECURRENCE-ID" not in event for event in events) != 1:
        raise InvalidArguments("this entry holds several events", hint=_IN_THE_APP)
    return main_of(events)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
