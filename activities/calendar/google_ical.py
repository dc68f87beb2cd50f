"""Events of Google Calendar as iCalendar, and iCalendar as the fields of such events. Pure.

What Google has no field for stands in private properties of the event, which only this app's keys name: the marks of
effects, the UID and version of an invitation, and attendees who are only noted. Google would put the event into the
calendars of its real attendees, so this never writes any.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from icalendar import Calendar as ICalendar
from icalendar import Component, vCalAddress
from icalendar import Event as IEvent

from activities.calendar.ical_edit import (
    MARK,
    SEAL,
    Clock,
    Form,
    clock_for,
    know_zone,
    marks_of,
    on_the_clock,
    version_digest,
)
from activities.calendar.ical_entry import parsed
from activities.calendar.ical_series import sequence
from activities.calendar.ical_values import (
    Unreadable,
    attendee,
    is_all_day,
    is_busy,
    is_cancelled,
    length,
    line,
    moment,
    several,
    value_of,
)
from retinue.accounts.rest_api import Json, objects, text_of
from retinue.errors import InvalidArguments
from retinue.zones import is_offset, known_zones, offset_name, zone_of

_PRIVATE: Final = {"uid": "retinueUid", "marks": "retinueEffects", "sequence": "retinueVersion"}
_SEAL = "retinueSeal"
_ORGANIZER = "retinueOrganizer"
_NOTED = "retinueAttendees"
_OURS = (*_PRIVATE.values(), _SEAL, _ORGANIZER, _NOTED)
_LONGEST_VALUE = 1000
"""Characters of a private property; Google takes 1024."""
_MOST_PRIVATE = 20_000
_RULES = re.compile(r"(?:RRULE|RDATE|EXDATE|EXRULE)(?:;[A-Za-z-]+=[^\s:;]+)*:[^\s]{1,20000}")
_HERE = "X-RETINUE-RECURRENCE:here\r\n"
_FRACTIONS: Final = {
    "+03:30": "Asia/Tehran", "+04:30": "Asia/Kabul", "+05:30": "Asia/Kolkata", "+05:45": "Asia/Kathmandu",
    "+06:30": "Asia/Yangon", "+08:45": "Australia/Eucla", "+09:30": "Australia/Darwin", "-09:30": "Pacific/Marquesas",
}  # fmt: skip
"""Zones without summer time for offsets that are no whole hours."""


def content_of(event: Json, dates: Sequence[Json] = ()) -> str:
    """Return an event, or a series with its changed and cancelled dates, as the content of a resource.

    Args:
        event: As Google gives it.
        dates: Its exceptions, as Google gives them.

    Raises:
        Unreadable: A time or a rule of it makes no sense.
    """
    calendar = ICalendar()
    calendar.add("PRODID", "-//Retinue//Calendar//EN")
    calendar.add("VERSION", "2.0")
    written, clock = _event(event), _clock(event)
    calendar.add_component(written)
    uid = written["UID"]
    for each in dates:
        original = each.get("originalStartTime")
        at = clock.value(on_the_clock(clock, time_of(original if isinstance(original, dict) else {}, clock.zone)[0]))
        if each.get("status") == "cancelled":
            written.add("EXDATE", at, encode=False)
            continue
        changed = _event(each)
        changed["UID"] = uid
        changed.add("RECURRENCE-ID", at, encode=False)
        calendar.add_component(changed)
    know_zone(calendar, clock, time_of(_part(event, "start"), clock.zone)[0].year)
    content: bytes = calendar.to_ical(sorted=False)
    whole = content.decode().replace(_HERE, "".join(f"{rule}\r\n" for rule in _rules(event)))
    if not _is_as_written(event, dates):
        return whole
    seal = version_digest(parsed(whole))
    return whole.replace("END:VEVENT", f"{SEAL}:{seal}\r\nEND:VEVENT", 1)


def time_of(time: Json, default: object) -> tuple[datetime, str | None]:
    """Return a time of an event and the name of its zone, or of its offset.

    A date begins at midnight in `default`, and names no zone.

    Raises:
        Unreadable: It makes no sense.
    """
    try:
        if day := text_of(time, "date"):
            return datetime.fromisoformat(day).replace(tzinfo=default), None  # type: ignore[arg-type]  # a zone
        found = datetime.fromisoformat(text_of(time, "dateTime"))
    except (ValueError, OverflowError):
        raise Unreadable("one of its times cannot be read") from None
    name = text_of(time, "timeZone")
    known = name if name in known_zones() else None
    if found.tzinfo is None:
        if known is None:
            raise Unreadable("its time zone is unknown")
        return found.replace(tzinfo=zone_of(known)), known
    return found, known or offset_name(found)


def fields_of(event: Component, default_zone: str) -> Json:
    """Return what Google is to keep of an event; a field that is None is removed there.

    Raises:
        InvalidArguments: Google cannot keep it.
    """
    fields: Json = {
        **({"status": "cancelled"} if is_cancelled(event) else {}),
        "summary": str(event.get("SUMMARY", "")),
        "location": str(event["LOCATION"]) if "LOCATION" in event else None,
        "description": str(event["DESCRIPTION"]) if "DESCRIPTION" in event else None,
        "transparency": "opaque" if is_busy(event) else "transparent",
        **_times(event, default_zone),
        **({} if "RECURRENCE-ID" in event else {"recurrence": _recurrence(event) or None}),
    }
    return {**fields, "extendedProperties": {"private": {**_private(event), _SEAL: _version(fields)}}}


def new_fields(fields: Json) -> Json:
    """Return the fields of an event that is new, of which nothing needs to be removed."""
    known = {name: value for name, value in fields.items() if value is not None}
    times = {name: {key: value for key, value in known[name].items() if value is not None} for name in ("start", "end")}
    return {**known, **times}


def changed_fields(fields: Json, event: Json) -> Json:
    """Return the fields of an event so that private properties of ours that it has and should not have are removed."""
    private = fields["extendedProperties"]["private"]
    gone = {name: None for name in _kept(event) if name.startswith(_OURS) and name not in private}
    return {**fields, "extendedProperties": {"private": {**gone, **private}}}


def without_marks(fields: Json) -> Json:
    """Return the fields of an event that does not say yet which effects it has seen."""
    private = {**fields["extendedProperties"]["private"], _PRIVATE["marks"]: ""}
    return {**fields, "extendedProperties": {"private": private}}


def uid_property(uid: str) -> str:
    """Return the search for events that keep this UID."""
    return f"{_PRIVATE['uid']}={uid}"


def people_of(event: Json) -> list[str]:
    """Return the attendees of an event: those whom Google knows, and those who are only noted."""
    real = [text_of(each, "email") or line(text_of(each, "displayName"), 300) for each in objects(event, "attendees")]
    return [line(each, 300) for each in [*real, *_noted(event)] if each]


def declined(event: Json) -> bool:
    """Whether the person does not come."""
    return any(each.get("self") is True and each.get("responseStatus") == "declined" for each in _people(event))


def _event(event: Json) -> Component:
    private = _kept(event)
    written = IEvent()
    written.add("UID", private.get(_PRIVATE["uid"]) or text_of(event, "iCalUID") or text_of(event, "id"))
    for name, field in (("SUMMARY", "summary"), ("LOCATION", "location"), ("DESCRIPTION", "description")):
        if text := text_of(event, field):
            written.add(name, text)
    clock = _clock(event)
    start, end = (time_of(_part(event, name), clock.zone)[0] for name in ("start", "end"))
    for name, at in (("DTSTART", start), ("DTEND", end)):
        written.add(name, clock.value(on_the_clock(clock, at)), encode=False)
    if event.get("transparency") == "transparent":
        written.add("TRANSP", "TRANSPARENT")
    if event.get("status") == "cancelled":
        written.add("STATUS", "CANCELLED")
    version = private.get(_PRIVATE["sequence"], "")
    theirs = event.get("sequence")
    written.add("SEQUENCE", max(int(version) if version.isdigit() else 0, theirs if isinstance(theirs, int) else 0))
    if (updated := _updated(event)) is not None:
        written.add("LAST-MODIFIED", updated)
        written.add("DTSTAMP", updated)
    for mark in filter(None, private.get(_PRIVATE["marks"], "").split(",")):
        written.add(MARK, mark)
    _add_people(written, event)
    if _rules(event):
        written.add("X-RETINUE-RECURRENCE", "here")
    return written


def _add_people(written: Component, event: Json) -> None:
    """Write who takes part: those whom Google tells of changes, or those who are only noted."""
    organizer = _part(event, "organizer") if "organizer" in event else {}
    others = [each for each in _people(event) if each.get("self") is not True]
    if others or (_people(event) and organizer.get("self") is not True):
        written.add("ORGANIZER", vCalAddress(f"mailto:{line(text_of(organizer, 'email'), 300)}"), encode=False)
        for each in _people(event):
            written.add("ATTENDEE", vCalAddress(f"mailto:{line(text_of(each, 'email'), 300)}"), encode=False)
        return
    if address := _kept(event).get(_ORGANIZER):
        written.add("ORGANIZER", _silent(f"mailto:{line(address, 300)}", "CLIENT"), encode=False)
    for name in _noted(event):
        is_address = "@" in name and not set(name) & set(" <>\"',;:\r\n\t")
        noted = _silent(f"mailto:{name}" if is_address else "invalid:nomail", "NONE")
        if not is_address:
            noted.params["CN"] = line(name, 300)
        written.add("ATTENDEE", noted, encode=False)


def _silent(address: str, agent: str) -> vCalAddress:
    written = vCalAddress(address)
    written.params["SCHEDULE-AGENT"] = agent
    return written


def _clock(event: Json) -> Clock:
    """Return the clock on which an event's start is written."""
    start = _part(event, "start")
    if text_of(start, "date"):
        return Clock(Form.DATE, UTC)
    at, name = time_of(start, UTC)
    clock = clock_for(name or "UTC")
    return clock if clock.moment(on_the_clock(clock, at)) == at else clock_for("UTC")


def _rules(event: Json) -> list[str]:
    """Return the rules of a series.

    Raises:
        Unreadable: One of them is no line of iCalendar.
    """
    found = event.get("recurrence")
    rules = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    if not all(_RULES.fullmatch(rule) for rule in rules):
        raise Unreadable("a rule of it cannot be read")
    return rules


def _recurrence(event: Component) -> list[str]:
    lines = [str(each) for each in event.content_lines(sorted=False)]
    return list(dict.fromkeys(each for each in lines if each.startswith(("RRULE", "RDATE", "EXDATE"))))


def _times(event: Component, default_zone: str) -> Json:
    start, name = moment(event["DTSTART"], default_zone)
    end = length(event, default_zone).end(start, zone_of(name))
    if is_all_day(event):
        days = [value_of(event["DTSTART"]), end.astimezone(start.tzinfo).date()]
        return dict(zip(("start", "end"), map(_day, days), strict=True))
    if "RRULE" in event or "RDATE" in event:
        name = _series_zone(name)
    return {"start": _at(start, name), "end": _at(end, name)}


def _series_zone(name: str) -> str:
    """Return the zone in which Google repeats an event: it takes names only.

    Raises:
        InvalidArguments: No zone without summer time has this offset.
    """
    if name in known_zones() or name == "UTC":
        return name
    found = _FRACTIONS.get(name)
    if found is None and is_offset(name) and name.endswith(":00"):
        hours = zone_of(name).utcoffset(None) or timedelta()
        found = f"Etc/GMT{-round(hours / timedelta(hours=1)):+d}"
    if found is None:
        raise InvalidArguments("Google repeats events in zones that have a name", hint="name one, as in Europe/Berlin")
    return found


def _day(day: object) -> Json:
    return {"date": day.isoformat() if isinstance(day, date) else "", "dateTime": None, "timeZone": None}


def _at(at: datetime, name: str) -> Json:
    known = name if name in known_zones() else None
    shown = at.astimezone(zone_of(name))
    return {"date": None, "dateTime": shown.isoformat(), "timeZone": known}


def _private(event: Component) -> dict[str, str]:
    noted = [each for each in several(event.get("ATTENDEE")) if _is_noted(each)]
    text = "\n".join(line(attendee(each), 500) for each in noted)
    organizer = event.get("ORGANIZER")
    found = {
        _PRIVATE["uid"]: str(event.get("UID", ""))[:_LONGEST_VALUE],
        _PRIVATE["marks"]: ",".join(marks_of(event)),
        _PRIVATE["sequence"]: str(sequence(event)),
        **({_ORGANIZER: line(attendee(organizer), 300)} if organizer is not None and _is_noted(organizer) else {}),
        **{f"{_NOTED}{number}": piece for number, piece in enumerate(_pieces(text))},
    }
    if sum(map(len, found.values())) > _MOST_PRIVATE:
        raise InvalidArguments("Google cannot keep so many attendees", hint="name fewer")
    return found


def _is_as_written(event: Json, dates: Sequence[Json]) -> bool:
    """Whether an event says what it said when an effect of ours wrote it, and no date of it was changed since."""
    last = text_of(event, "updated")
    return _kept(event).get(_SEAL) == _version(event) and all(text_of(each, "updated") <= last for each in dates)


def _version(event: Json) -> str:
    """Return a digest of what people see of an event; Google may write the same in another form."""
    rules = event.get("recurrence")
    said = [
        *(" ".join(text_of(event, name).split()) for name in ("summary", "location", "description")),
        *(_instant(_part(event, name)) for name in ("start", "end")),
        *(sorted(each for each in rules if isinstance(each, str)) if isinstance(rules, list) else []),
        text_of(event, "transparency") or "opaque",
    ]
    return hashlib.sha256("\n".join(said).encode(errors="surrogatepass")).hexdigest()[:32]


def _instant(time: Json) -> str:
    return text_of(time, "date") or time_of(time, UTC)[0].astimezone(UTC).isoformat()


def _is_noted(person: object) -> bool:
    return str(getattr(person, "params", {}).get("SCHEDULE-AGENT", "")).upper() in ("NONE", "CLIENT")


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _LONGEST_VALUE] for at in range(0, len(text), _LONGEST_VALUE))


def _noted(event: Json) -> list[str]:
    private = _kept(event)
    pieces: Iterable[str] = (private.get(f"{_NOTED}{number}", "") for number in range(_MOST_PRIVATE // _LONGEST_VALUE))
    return [name for name in "".join(pieces).split("\n") if name]


def _people(event: Json) -> list[Json]:
    return [each for each in objects(event, "attendees") if text_of(each, "email")]


def _kept(event: Json) -> dict[str, str]:
    private = _part(_part(event, "extendedProperties"), "private")
    return {name: value for name, value in private.items() if isinstance(value, str)}


def _part(found: Json, name: str) -> Json:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _updated(event: Json) -> datetime | None:
    try:
        found = datetime.fromisoformat(text_of(event, "updated"))
    except ValueError:
        return None
    return found.astimezone(UTC).replace(microsecond=0) if found.tzinfo else None
