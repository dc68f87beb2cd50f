"""Dates and times as people write them."""

import calendar
from datetime import date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(name: object) -> tzinfo | None:
    """The zone of a name, or None where there is none: times then stay in the offset they carry."""
    try:
        return ZoneInfo(str(name)) if name else None
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def moment(value: Any, zone: tzinfo | None) -> datetime | None:
    """An ISO time, in the zone where one is known."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found.astimezone(zone) if zone and found.tzinfo else found


def day_text(day: date) -> str:
    """A day, as in 'Friday 27 November 2026'."""
    return f"{calendar.day_name[day.weekday()]} {day.day} {calendar.month_name[day.month]} {day.year}"


def date_text(value: Any) -> str:
    """Return an ISO date in words; any other text unchanged."""
    try:
        return day_text(date.fromisoformat(str(value)[:10]))
    except ValueError:
        return str(value)


def time_text(value: Any, zone: tzinfo | None) -> str:
    """An ISO time in words, as in 'Friday 27 November 2026, 13:00'."""
    found = moment(value, zone)
    return f"{day_text(found.date())}, {found:%H:%M}{_mark(found, zone)}" if found else str(value)


def _mark(found: datetime, zone: tzinfo | None) -> str:
    """Without a known zone, UTC must be named, or it would be read as local time."""
    return " UTC" if zone is None and found.utcoffset() is not None and not found.utcoffset() else ""


def span_text(start: Any, end: Any, zone: tzinfo | None) -> str:
    """A stretch of time, with the second day only where it is another one."""
    first, last = moment(start, zone), moment(end, zone)
    if first is None or last is None:
        return time_text(start, zone)
    if first.date() == last.date():
        return f"{day_text(first.date())}, {first:%H:%M} to {last:%H:%M}{_mark(first, zone)}"
    return f"{time_text(start, zone)} to {time_text(end, zone)}"
