"""The components of one UID, made to agree: the newest version of each, with all its times written as DTSTART is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from icalendar import Component, vDDDLists, vDDDTypes

from activities.calendar.ical_values import Unreadable, several, value_of


def main_of(events: Sequence[Component]) -> Component:
    """The event that says what holds for the whole series; where only single dates of one are there, the first of them."""
    return next((event for event in events if "RECURRENCE-ID" not in event), events[0])


def settle(events: Sequence[Component]) -> None:
    """Write the single times of a series as its DTSTART is written: a date alone takes its time of day and its zone.

    Raises:
        Unreadable: One of them is broken.
    """
    main = main_of(events) if events else Component()
    start = value_of(main["DTSTART"]) if "DTSTART" in main else None
    if not isinstance(start, date):
        return
    for event in events:
        for name in ("EXDATE", "RDATE"):
            if name in event:
                event[name] = [_list_as(found, start) for found in several(event[name])]
        if "RECURRENCE-ID" in event and "RECURRENCE-ID" not in main:
            event["RECURRENCE-ID"] = _as(event["RECURRENCE-ID"], start)


def newest(events: Sequence[Component]) -> tuple[list[Component], list[Component]]:
    """Return the newest version of each component of a series, in their order, and those that it replaces.

    The higher SEQUENCE is newer, then the later LAST-MODIFIED or DTSTAMP (RFC 5545, 3.8.7.4), then the later one.
    """
    kept: dict[str, Component] = {}
    for event in events:
        key = _occurrence(event)
        if key not in kept or version(event) >= version(kept[key]):
            kept[key] = event
    chosen = {id(event) for event in kept.values()}
    return [event for event in events if id(event) in chosen], [event for event in events if id(event) not in chosen]


def version(event: Component) -> tuple[int, datetime]:
    """What says which of two versions of an event is newer."""
    return sequence(event), modified_at(event, "LAST-MODIFIED", "DTSTAMP") or datetime.min.replace(tzinfo=UTC)


def sequence(event: Component) -> int:
    """How often its times have changed."""
    try:
        return max(0, min(int(event.get("SEQUENCE", 0)), 2**31 - 1))
    except (ValueError, TypeError):
        return 0


def modified_at(event: Component, *names: str) -> datetime | None:
    """When it was changed last, as far as it says so. DTSTAMP counts inside one file only: exports set it to their own time."""
    for found in (each for name in (names or ("LAST-MODIFIED",)) for each in several(event.get(name))):
        try:
            when = value_of(found)
        except Unreadable:
            continue
        if isinstance(when, datetime):
            return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return None


def has_range(event: Component) -> bool:
    """Whether a changed time of a series stands for all later ones too."""
    found = event.get("RECURRENCE-ID")
    return str(getattr(found, "params", {}).get("RANGE", "")).upper() == "THISANDFUTURE"


def _occurrence(event: Component) -> str:
    if "RECURRENCE-ID" not in event:
        return ""
    when = value_of(event["RECURRENCE-ID"])
    return (when.astimezone(UTC) if isinstance(when, datetime) and when.tzinfo else when).isoformat()  # type: ignore[union-attr]  # a date or a time has one


def _list_as(found: object, start: date) -> object:
    """EXDATE or RDATE; what is written as DTSTART is, and periods, stay as they are."""
    values = [each.dt for each in getattr(found, "dts", [])]
    changed = [_at(value, start) for value in values]
    return found if changed == values else vDDDLists(changed)


def _as(found: object, start: date) -> object:
    value = value_of(found)
    if not isinstance(value, date) or (changed := _at(value, start)) == value:
        return found
    written = vDDDTypes(changed)
    if range_ := getattr(found, "params", {}).get("RANGE"):
        written.params["RANGE"] = range_
    return written


def _at(value: Any, start: date) -> Any:
    """Return a single time in the form of the start. A time of day without a zone is one on the clock of the start."""
    if not isinstance(start, datetime):
        return value.date() if isinstance(value, datetime) else value
    if isinstance(value, datetime):
        return value.replace(tzinfo=start.tzinfo) if value.tzinfo is None else value
    if isinstance(value, date):
        return datetime.combine(value, start.timetz())
    return value
