"""Time zones in words of iCalendar, for readers who do not know them by name.

Not by icalendar's own `Timezone.from_tzinfo` (7.3): it writes the change to summer time an hour late (RFC 5545 wants it in
the offset before the change), and times of Africa/Casablanca are read back wrong.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from icalendar import Component, Timezone, TimezoneDaylight, TimezoneStandard

LAST_YEAR = 2038
_WEEK = timedelta(days=7)
_SECOND = timedelta(seconds=1)


def vtimezone(zone: tzinfo, tzid: str, *, year: int) -> Timezone:
    """Return the changes of a zone's clock from the year before `year` to 2038, or to two years after `year`."""
    first, last = datetime(year - 1, 1, 1, tzinfo=UTC), datetime(max(LAST_YEAR, year + 2), 1, 1, tzinfo=UTC)
    observances: dict[tuple[object, ...], Component] = {}
    _observe(observances, zone, first, before=first)
    for change in changes(zone, first, last):
        _observe(observances, zone, change, before=change - _SECOND)
    written = Timezone()
    written.add("TZID", tzid)
    for observance in observances.values():
        written.add_component(observance)
    return written


def changes(zone: tzinfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the moments, to the second, at which the zone's offset changes."""
    before = first
    while before < last:
        after = before + _WEEK
        if _offset(zone, before) != _offset(zone, after):
            yield _change_between(zone, before, after)
        before = after


def _change_between(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


def _observe(
    observances: dict[tuple[object, ...], Component], zone: tzinfo, moment: datetime, *, before: datetime
) -> None:
    """Note what holds from `moment` on. Changes of the same kind share one entry."""
    local = moment.astimezone(zone)
    earlier, later = _offset(zone, before), _offset(zone, moment)
    kind = TimezoneDaylight if local.dst() else TimezoneStandard
    wall = (moment + earlier).replace(tzinfo=None)
    key = (kind, earlier, later, local.tzname())
    if key in observances:
        observances[key].add("RDATE", wall)
        return
    observance = kind()
    observance.add("DTSTART", wall)
    observance.add("TZOFFSETFROM", earlier)
    observance.add("TZOFFSETTO", later)
    observance.add("TZNAME", local.tzname() or "")
    observances[key] = observance


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
