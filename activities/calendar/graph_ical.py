"""Events of Microsoft Graph as iCalendar, and iCalendar as the fields of such events. Pure.

What Graph has no field for stands in extended properties of the event: the id under which a restored or new event is known
here, the UID and version of an invitation, the marks of effects, and attendees who are only noted. Microsoft would write to
real attendees, so this never sends any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from html.parser import HTMLParser
from typing import Final
from zoneinfo import ZoneInfo

from icalendar import Calendar as ICalendar
from icalendar import Component, vCalAddress, vRecur
from icalendar import Event as IEvent
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from activities.calendar.graph_recurrence import pattern_of, rule_of
from activities.calendar.ical_edit import MARK, Clock, Form, clock_for, know_zone, marks_of, on_the_clock
from activities.calendar.ical_entry import vevents
from activities.calendar.ical_series import main_of
from activities.calendar.ical_values import (
    BROKEN,
    Unreadable,
    attendee,
    is_all_day,
    is_busy,
    length,
    line,
    moment,
    rule,
    several,
    value_of,
)
from retinue.accounts.graph_api import Properties, inside
from retinue.accounts.rest_api import Json, objects, text_of
from retinue.errors import InvalidArguments
from retinue.times import present
from retinue.zones import is_offset, known_zones, zone_of

OURS = Properties(
    "3f0a6c54-6f0e-4c58-9f0b-2f4d4f5f7c21", ("RetinueId", "RetinueUid", "RetinueZone", "RetinueRule", "RetinueEvent")
)
_KEPT = ("UID", "SEQUENCE", "ORGANIZER", "ATTENDEE", MARK)
_MOST_KEPT = 30_000
_LONGEST_TITLE = 255
_FREE = ("free", "workingElsewhere")
_UTC = ("UTC", "Etc/UTC", "Etc/GMT")
_MICROSOFTS: Final = {olson: windows for windows, olson in reversed(WINDOWS_TO_OLSON.items())}
_COMPARED = 5 * 12
_MONTH = timedelta(days=30)


def content_of(event: Json, dates: Sequence[Json], left_out: Sequence[str], default_zone: str) -> str:
    """Return an event, or a series with its changed and cancelled dates, as the content of a resource.

    Args:
        event: As Graph gives it.
        dates: The exceptions of a series, as Graph gives them.
        left_out: The ids of its cancelled dates, which end in the date.
        default_zone: IANA zone of events whose own zone has no name.

    Raises:
        Unreadable: A time or a pattern of it makes no sense.
    """
    clock = _clock(event, default_zone)
    start = _on_clock(clock, event, "start")
    written = _event(event, clock)
    if (found := _rule(event, clock)) is not None:
        written.add("RRULE", vRecur.from_ical(found))
    for each in left_out:
        written.add("EXDATE", clock.value(datetime.combine(_date_in(each), start.time())), encode=False)
    calendar = ICalendar()
    calendar.add("PRODID", "-//Retinue//Calendar//EN")
    calendar.add("VERSION", "2.0")
    calendar.add_component(written)
    for single in dates:
        changed = _event(single, clock)
        changed["UID"] = written["UID"]
        original = _time({"dateTime": text_of(single, "originalStart")})
        changed.add("RECURRENCE-ID", clock.value(on_the_clock(clock, original)), encode=False)
        calendar.add_component(changed)
    know_zone(calendar, clock, start.year)
    content: bytes = calendar.to_ical(sorted=False)
    return content.decode()


def fields_of(event: Component, default_zone: str) -> Json:
    """Return what Graph is to keep of an event, beside what is kept of it in properties of ours.

    Raises:
        InvalidArguments: Microsoft's calendars cannot keep it.
        Unreadable: A time or a rule of it makes no sense.
    """
    title = str(event.get("SUMMARY", ""))
    if len(title) > _LONGEST_TITLE:
        raise InvalidArguments(f"Microsoft's calendars keep titles of at most {_LONGEST_TITLE} characters")
    return {
        "subject": title,
        "body": {"contentType": "text", "content": str(event.get("DESCRIPTION", ""))},
        "location": {"displayName": str(event.get("LOCATION", ""))},
        "showAs": "busy" if is_busy(event) else "free",
        **_times(event, default_zone),
    }


def changed_fields(before: Json, after: Json) -> Json:
    """Return the fields that differ; those that tell the time come together."""
    differing = {name for name, value in after.items() if value != before.get(name)}
    if differing & {"start", "end", "isAllDay", "recurrence"}:
        differing |= {"start", "end", "isAllDay"} | (
            {"recurrence"} if before["recurrence"] or after["recurrence"] else set()
        )
    return {name: after[name] for name in after if name in differing}


def kept_of(calendar: ICalendar, default_zone: str) -> dict[str, str]:
    """Return what is kept of a resource's event in properties of ours.

    Raises:
        InvalidArguments: It is too much.
        Unreadable: Its start makes no sense.
    """
    event = main_of(vevents(calendar))
    noted = IEvent()
    for name in _KEPT:
        for value in several(event.get(name)):
            if name not in ("ORGANIZER", "ATTENDEE") or _is_noted(value):
                noted.add(name, value, encode=not hasattr(value, "params"))
    lines = "\n".join(each for each in map(str, noted.content_lines(sorted=False)) if each.startswith(_KEPT))
    if len(lines) > _MOST_KEPT:
        raise InvalidArguments("Microsoft's calendars cannot keep so many attendees", hint="name fewer")
    zone = moment(event["DTSTART"], default_zone)[1]
    found = {"RetinueUid": str(event.get("UID", ""))[:_LONGEST_TITLE], "RetinueZone": zone, "RetinueEvent": lines}
    return found if (given := rule(event)) is None else {**found, "RetinueRule": given}


def single_dates(calendar: ICalendar, default_zone: str) -> dict[datetime, Component | None]:
    """Return what a resource says of single dates of its series: by their moments (UTC) the changed date; None: left out.

    Raises:
        Unreadable: A time of it makes no sense.
    """
    events = vevents(calendar)
    left_out = [
        each for event in events for dates in several(event.get("EXDATE")) for each in getattr(dates, "dts", [])
    ]
    found: dict[datetime, Component | None] = {moment(each, default_zone)[0].astimezone(UTC): None for each in left_out}
    for each in events:
        if "RECURRENCE-ID" in each:
            found[moment(each["RECURRENCE-ID"], default_zone)[0].astimezone(UTC)] = each
    return found


def original_start(instance: Json) -> datetime:
    """Return when a date of a series would be by its pattern (UTC).

    Raises:
        Unreadable: Its times make no sense.
    """
    return _time({"dateTime": text_of(instance, "originalStart") or text_of(inside(instance, "start"), "dateTime")})


def transaction_of(calendar: ICalendar, event_id: str) -> str:
    """Return the id by which Microsoft knows the repetition of a request: of the newest effect, which may make several."""
    newest = next(reversed(marks_of(main_of(vevents(calendar)))), "")
    return hashlib.sha256(f"{newest}/{event_id}".encode()).hexdigest()[:32]


def times_of(event: Json, default_zone: str) -> tuple[datetime, datetime, str]:
    """Return when an event takes place, and the name of its zone.

    Raises:
        Unreadable: Its times make no sense.
    """
    clock = _clock(event, default_zone)
    start, end = (_on_clock(clock, event, name) for name in ("start", "end"))
    if clock.form is Form.DATE:
        zone = zone_of(default_zone)
        return start.replace(tzinfo=zone), end.replace(tzinfo=zone), default_zone
    return clock.moment(start), clock.moment(end), zone_name(event, default_zone)


def rule_in(master: Json, default_zone: str) -> str | None:
    """Return the rule of a series; None where it has none.

    Raises:
        Unreadable: It makes no sense.
    """
    return _rule(master, _clock(master, default_zone))


def takes_time(event: Json) -> bool:
    """Whether the person has no time then."""
    return text_of(event, "showAs") not in _FREE


def people_of(event: Json) -> list[str]:
    """Return the attendees of an event: those whom Microsoft knows, and those who are only noted."""
    noted = several(_kept(event).get("ATTENDEE"))
    return [line(each, 300) for each in [*_addresses(event), *map(attendee, noted)] if each]


def zone_name(event: Json, default_zone: str) -> str:
    """Return the name of the zone in which an event was made: as it was given here, if that still holds."""
    found = _olson(text_of(event, "originalStartTimeZone"), default_zone)
    given = OURS.read(event).get("RetinueZone", "")
    if given in known_zones() or is_offset(given):
        start = _time(inside(event, "start"))
        if start.astimezone(zone_of(given)).utcoffset() == start.astimezone(zone_of(found)).utcoffset():
            return given
    return found


@lru_cache(maxsize=512)
def microsofts_zone(name: str) -> str | None:
    """Return a zone as Microsoft calls it, or another one whose clock is the same nowadays; None where there is none."""
    if name in _UTC:
        return "UTC"
    if name in _MICROSOFTS:
        return _MICROSOFTS[name]
    zone, now = zone_of(name), present()
    moments = [now + number * _MONTH for number in range(-12, _COMPARED)]
    offsets = [each.astimezone(zone).utcoffset() for each in moments]
    for known, microsofts in _MICROSOFTS.items():
        other = ZoneInfo(known)
        if all(each.astimezone(other).utcoffset() == offset for each, offset in zip(moments, offsets, strict=True)):
            return microsofts
    return None


def _event(event: Json, clock: Clock) -> Component:
    kept = _kept(event)
    written = IEvent()
    written.add("UID", str(kept.get("UID") or text_of(event, "iCalUId") or text_of(event, "id")))
    for name, value in (
        ("SUMMARY", text_of(event, "subject")),
        ("LOCATION", text_of(inside(event, "location"), "displayName")),
        ("DESCRIPTION", _body(inside(event, "body"))),
    ):
        if value:
            written.add(name, value)
    for name, field in (("DTSTART", "start"), ("DTEND", "end")):
        written.add(name, clock.value(_on_clock(clock, event, field)), encode=False)
    if not takes_time(event):
        written.add("TRANSP", "TRANSPARENT")
    if event.get("isCancelled") is True:
        written.add("STATUS", "CANCELLED")
    for name in ("SEQUENCE", MARK):
        for each in several(kept.get(name)):
            written.add(name, each)
    if (changed := _changed_at(event)) is not None:
        written.add("LAST-MODIFIED", changed)
        written.add("DTSTAMP", changed)
    _add_people(written, event, kept)
    return written


def _add_people(written: Component, event: Json, kept: Component) -> None:
    """Write who takes part: those to whom Microsoft writes of changes, or those who are only noted."""
    if real := _addresses(event):
        organizer = text_of(inside(inside(event, "organizer"), "emailAddress"), "address")
        written.add("ORGANIZER", vCalAddress(f"mailto:{line(organizer, 300)}"), encode=False)
        for address in real:
            written.add("ATTENDEE", vCalAddress(f"mailto:{line(address, 300)}"), encode=False)
        return
    for name in ("ORGANIZER", "ATTENDEE"):
        for each in filter(_is_noted, several(kept.get(name))):
            written.add(name, each, encode=False)


def _addresses(event: Json) -> list[str]:
    people = [inside(each, "emailAddress") for each in objects(event, "attendees")]
    return [text_of(each, "address") or text_of(each, "name") for each in people if each]


def _kept(event: Json) -> Component:
    """Return what is kept of an event in a property of ours, as far as it can be read."""
    lines = OURS.read(event).get("RetinueEvent", "")
    try:
        return IEvent.from_ical("\r\n".join(["BEGIN:VEVENT", *lines.splitlines(), "END:VEVENT"]))
    except BROKEN:
        return IEvent()


def _is_noted(person: object) -> bool:
    return str(getattr(person, "params", {}).get("SCHEDULE-AGENT", "")).upper() in ("NONE", "CLIENT")


def _clock(event: Json, default_zone: str) -> Clock:
    """Return the clock on which an event is written."""
    name = zone_name(event, default_zone)
    start = _time(inside(event, "start"))
    if event.get("isAllDay") is True:
        return Clock(Form.DATE, zone_of(name) if start.time().replace(microsecond=0) != datetime.min.time() else UTC)
    clock = clock_for(name)
    exact = all(clock.moment(on_the_clock(clock, each)) == each for each in (start, _time(inside(event, "end"))))
    return clock if exact or event.get("recurrence") else clock_for("UTC")


def _on_clock(clock: Clock, event: Json, name: str) -> datetime:
    return on_the_clock(clock, _time(inside(event, name)))


def _olson(microsofts: str, default_zone: str) -> str:
    found = WINDOWS_TO_OLSON.get(microsofts, microsofts)
    if found in _UTC:
        return "UTC"
    return found if found in known_zones() else default_zone


def _time(said: Json) -> datetime:
    """Return a time of an event in UTC."""
    try:
        found = datetime.fromisoformat(text_of(said, "dateTime"))
        zone = zone_of(_olson(text_of(said, "timeZone"), "UTC"))
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError, InvalidArguments):
        raise Unreadable("one of its times cannot be read") from None


def _times(event: Component, default_zone: str) -> Json:
    start, name = moment(event["DTSTART"], default_zone)
    end = length(event, default_zone).end(start, zone_of(name))
    if any(each in event for each in ("RDATE", "EXRULE")):
        raise InvalidArguments("Microsoft's calendars keep no series with single dates of its own")
    found = rule(event)
    if found is None and is_offset(name) and _is_same(name, default_zone, start, end):
        name = default_zone  # which says more to the person than a far zone of the same offset
    zone = microsofts_zone(default_zone if is_all_day(event) else name)
    if is_all_day(event):
        days = (value_of(event["DTSTART"]), end.astimezone(start.tzinfo).date())
        times = [{"dateTime": f"{day}T00:00:00", "timeZone": zone or "UTC"} for day in days]
    else:
        if found is None and (zone is None or not _is_told_by_the_clock(name, start, end)):
            name, zone = "UTC", "UTC"  # an hour that comes twice has two meanings on the wall
        times = [_wall(each, name, zone or "") for each in (start, end)]
    if found is not None and zone is None:
        raise InvalidArguments(f"Microsoft's calendars know no time zone like {name}", hint="name a larger city nearby")
    recurrence = pattern_of(found, start.astimezone(zone_of(name)), zone or "") if found is not None else None
    return {"isAllDay": is_all_day(event), "start": times[0], "end": times[1], "recurrence": recurrence}


def _is_same(name: str, other: str, *moments: datetime) -> bool:
    zones = zone_of(name), zone_of(other)
    return all(each.astimezone(zones[0]).utcoffset() == each.astimezone(zones[1]).utcoffset() for each in moments)


def _is_told_by_the_clock(name: str, *moments: datetime) -> bool:
    clock = clock_for(name)
    return all(clock.moment(on_the_clock(clock, each)) == each for each in moments)


def _wall(at: datetime, name: str, zone: str) -> Json:
    return {"dateTime": f"{at.astimezone(zone_of(name)):%Y-%m-%dT%H:%M:%S}", "timeZone": zone}


def _date_in(occurrence: str) -> date:
    """Return the date of a cancelled date, with which its id ends."""
    try:
        return date.fromisoformat(occurrence[-10:])
    except ValueError:
        raise Unreadable("a cancelled date of it cannot be read") from None


def _changed_at(event: Json) -> datetime | None:
    try:
        found = datetime.fromisoformat(text_of(event, "lastModifiedDateTime"))
    except ValueError:
        return None
    return found.astimezone(UTC).replace(microsecond=0) if found.tzinfo else None


def _rule(event: Json, clock: Clock) -> str | None:
    """Return the rule of a series: as it was given here, if Microsoft's pattern still is the one made of it."""
    recurrence, given = inside(event, "recurrence"), OURS.read(event).get("RetinueRule")
    if not recurrence:
        return None
    start = _on_clock(clock, event, "start").replace(tzinfo=clock.zone)
    if given is not None:
        with suppress(InvalidArguments):
            made = pattern_of(given, start, "")
            if all(_says(inside(recurrence, name), made[name]) for name in made):
                return given
    return rule_of(recurrence, start, all_day=clock.form is Form.DATE)


def _says(found: Json, wanted: Json) -> bool:
    """Whether a part of a recurrence says all of that; Graph adds what a pattern does not need, and orders days."""

    def comparable(value: object) -> object:
        return sorted(map(str, value)) if isinstance(value, list) else value

    compared = wanted.keys() - {"recurrenceTimeZone"}
    return all(comparable(wanted[name]) == comparable(found.get(name)) for name in compared)


def _body(body: Json) -> str:
    """Return a description as text. Graph may answer in HTML although text was asked for."""
    content = text_of(body, "content")
    if text_of(body, "contentType").lower() == "html":
        reader = _Words()
        reader.feed(content)
        reader.close()
        content = "".join(reader.said)
    return content.replace("\r\n", "\n").strip()


class _Words(HTMLParser):
    """Collects what a page says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # the base class's
        self._silent += tag in ("style", "script", "title")
        if tag in ("br", "p", "div", "li", "tr") and self.said:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in ("style", "script", "title")))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.said.append(data)
