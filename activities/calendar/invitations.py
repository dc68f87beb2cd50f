"""Invitations as iCalendar (iTIP, RFC 5546): what is written for others, and what others' texts change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from icalendar import Calendar as ICalendar
from icalendar import Component

from activities.calendar.contract import InvitationText
from activities.calendar.ical_edit import MARK, SEAL, new_calendar, sealed
from activities.calendar.ical_entry import parsed, vevents
from activities.calendar.ical_series import main_of, sequence
from activities.calendar.ical_values import (
    Unreadable,
    attendees,
    calendars,
    check_lines,
    is_cancelled,
    line,
    moment,
    several,
    times,
    value_of,
)
from activities.calendar.models import StoredEvent
from retinue.errors import Conflict, InvalidArguments, NotAllowed

REQUEST, CANCEL = "REQUEST", "CANCEL"
LONGEST = 60_000
"""Bytes of an invitation."""
_NOT_FOR_OTHERS = ("ATTACH", "X-ALT-DESC", MARK, SEAL)


@dataclass(frozen=True)
class Incoming:
    """An invitation or a cancellation, read.

    Attributes:
        calendar: All of it.
        events: Its event or series, with changed times; all of one UID.
        method: `REQUEST` or `CANCEL`.
    """

    calendar: ICalendar
    events: Sequence[Component]
    method: str

    @property
    def uid(self) -> str:
        """By which the event is known."""
        return str(self.events[0]["UID"])

    @property
    def main(self) -> Component:
        """The event, or what holds for the whole series."""
        return main_of(self.events)

    @property
    def title(self) -> str:
        """What the event is called."""
        return line(self.main.get("SUMMARY"), 300)

    def in_words(self, default_zone: str) -> str:
        """Return what becomes of the event, for a person."""
        organizer = _address(self.main.get("ORGANIZER")) or "somebody who does not say so"
        whole = "RECURRENCE-ID" not in self.main
        what = "the event" if whole else "one date of the series"
        if self.method == CANCEL:
            return f"removed: {organizer} cancels {what} {self.title!r}"
        start, end, zone = _times(self.main, default_zone)
        place = f", {line(self.main.get('LOCATION'), 200)}" if self.main.get("LOCATION") else ""
        return f"changed: {organizer} sets {what} to {self.title!r}, {start} to {end} ({zone}){place}"


def read(text: str) -> Incoming:
    """Read the text of an invitation.

    Raises:
        InvalidArguments: It is none, or cannot be read.
    """
    try:
        found = calendars(text)
        events = [event for event in found[0].subcomponents if event.name == "VEVENT"]
        for event in events:
            check_lines(event)
    except Unreadable as reason:
        raise InvalidArguments(f"the invitation cannot be read: {reason}") from None
    method = str(found[0].get("METHOD", "")).strip().upper()
    if len(found) != 1 or method not in (REQUEST, CANCEL) or len({str(event.get("UID")) for event in events}) != 1:
        raise InvalidArguments(
            "this is no invitation to one event", hint="email.read gives one as /invitation/icalendar"
        )
    if events[0].get("UID") is None:
        raise InvalidArguments("the invitation names no event")
    return Incoming(found[0], events, method)


def of_stored(event: StoredEvent, *, cancel: bool) -> InvitationText:
    """Return the invitation to an event of the own store."""
    calendar = parsed(new_calendar(event, event.event_id))
    main = main_of(vevents(calendar))
    main["SEQUENCE"] = event.sequence
    for moment_ in event.excluded:
        main.add("EXDATE", datetime.fromisoformat(moment_))
    return of_resource(calendar, cancel=cancel)


def of_resource(calendar: ICalendar, *, cancel: bool) -> InvitationText:
    """Return the invitation to what a resource holds, without what is the person's own: reminders, files, marks."""
    events = vevents(calendar)
    main = main_of(events)
    for event in events:
        event.subcomponents = [inner for inner in event.subcomponents if inner.name != "VALARM"]
        for name in _NOT_FOR_OTHERS:
            event.pop(name, None)
        if cancel:
            event["SEQUENCE"] = sequence(event) + 1
    if cancel:
        calendar.subcomponents = [each for each in calendar.subcomponents if each.name != "VEVENT" or each is main]
    calendar["METHOD"] = CANCEL if cancel else REQUEST
    content: bytes = calendar.to_ical(sorted=False)
    if len(content) > LONGEST:
        raise InvalidArguments("this event is too large for an invitation", hint="shorten its description")
    people = [name for name in attendees(main) if "@" in name]
    return InvitationText(icalendar=content.decode(), title=line(main.get("SUMMARY"), 300), attendees=people)


def as_resource(incoming: Incoming, mark: str) -> str:
    """Return the content of a new resource, of which no server tells others: answers go out by mail."""
    calendar = incoming.calendar
    calendar.pop("METHOD", None)
    calendar.subcomponents = [each for each in calendar.subcomponents if each.name in ("VEVENT", "VTIMEZONE")]
    for event in incoming.events:
        _taken_over(event)
    return sealed(calendar, incoming.main, mark)


def changed_by(calendar: ICalendar, incoming: Incoming, mark: str, default_zone: str) -> str | None:
    """Return the new content of a resource; None if it is to be removed.

    Args:
        calendar: Of the resource.
        incoming: A later invitation, or a cancellation.
        mark: Of the effect.
        default_zone: IANA zone of events on dates and of floating times.

    Raises:
        Conflict: The calendar has a newer version, or nothing is there that it could change.
        NotAllowed: Somebody else than the organizer sends it.
    """
    main = main_of(vevents(calendar))
    _check_organizer(main, incoming)
    if "RECURRENCE-ID" not in incoming.main:
        if sequence(incoming.main) < sequence(main):
            raise Conflict("the calendar has a newer version of this event")
        if incoming.method == CANCEL or is_cancelled(incoming.main):
            return None
        reminders = [inner for inner in main.subcomponents if inner.name == "VALARM"]
        return _with_reminders(as_resource(incoming, mark), reminders)
    try:
        for event in incoming.events:
            cancelled = incoming.method == CANCEL or is_cancelled(event)
            _change_one(calendar, main, event, cancelled=cancelled, zone=default_zone)
    except Unreadable as reason:
        raise InvalidArguments(f"the invitation cannot be read: {reason}") from None
    known = {str(each.get("TZID")) for each in calendar.walk("VTIMEZONE")}
    zones = [each for each in incoming.calendar.walk("VTIMEZONE") if str(each.get("TZID")) not in known]
    calendar.subcomponents = [*zones, *calendar.subcomponents]
    return sealed(calendar, main, mark)


def _change_one(calendar: ICalendar, main: Component, event: Component, *, cancelled: bool, zone: str) -> None:
    """Put one changed date of a series in the place of the present one, or leave the date out."""
    at = moment(event["RECURRENCE-ID"], zone)[0]
    present = list(_dates_at(calendar, at, zone))
    if any(sequence(each) > sequence(event) for each in present):
        raise Conflict("the calendar has a newer version of this date")
    calendar.subcomponents = [each for each in calendar.subcomponents if not any(each is old for old in present)]
    if cancelled:
        main.add("EXDATE", value_of(event["RECURRENCE-ID"]))
    else:
        _taken_over(event)
        calendar.add_component(event)


def _dates_at(calendar: ICalendar, at: datetime, zone: str) -> Iterator[Component]:
    return (
        each for each in vevents(calendar) if "RECURRENCE-ID" in each and moment(each["RECURRENCE-ID"], zone)[0] == at
    )


def _check_organizer(main: Component, incoming: Incoming) -> None:
    known, sent = _address(main.get("ORGANIZER")), _address(incoming.main.get("ORGANIZER"))
    if known and known != sent:
        raise NotAllowed(f"{known} organizes this event, and the invitation is from {sent or 'nobody'}")


def _with_reminders(content: str, reminders: Sequence[Component]) -> str:
    """Return a resource with the person's own reminders."""
    if not reminders:
        return content
    calendar = parsed(content)
    main_of(vevents(calendar)).subcomponents += reminders
    written_: bytes = calendar.to_ical(sorted=False)
    return written_.decode()


def _taken_over(event: Component) -> None:
    """Take an event of somebody else over: without its reminders, and of no concern to the server (RFC 6638, 7.1)."""
    event.subcomponents = [inner for inner in event.subcomponents if inner.name != "VALARM"]
    for name in ("ORGANIZER", "ATTENDEE"):
        for each in several(event.get(name)):
            if hasattr(each, "params"):
                each.params["SCHEDULE-AGENT"] = "CLIENT"


def _address(value: object) -> str:
    address = line(value, 300).lower()
    return address.removeprefix("mailto:") if address.startswith("mailto:") else ""


def _times(event: Component, default_zone: str) -> tuple[str, str, str]:
    try:
        start, end, zone = times(event, default_zone)
    except Unreadable as reason:
        raise InvalidArguments(f"the invitation cannot be read: {reason}") from None
    return f"{start:%Y-%m-%d %H:%M}", f"{end:%Y-%m-%d %H:%M} UTC", zone
