"""Time zones that a file describes in its own words (VTIMEZONE), found again among those with an IANA name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from activities.calendar.vtimezone import changes
from retinue import zones
from retinue.times import present

COMPARED = 10
"""Years over which two zones are compared. Rules change; what was so long ago need not be the same."""

_SAMPLED = timedelta(days=30)
_SECOND = timedelta(seconds=1)
_NAMED = sorted(set(WINDOWS_TO_OLSON.values()))


def name_of(moment: datetime, default_zone: str) -> str:
    """The name of a moment's zone: an IANA name, also for a zone that a file describes; the offset where there is none.

    Args:
        moment: A time in that zone.
        default_zone: The person's own, which is taken first among zones that are the same.
    """
    tzid = tzid_of(moment.tzinfo)
    if tzid is None or moment.tzinfo is None:
        return zones.name_of(moment)
    return _same_as(moment.tzinfo, tzid, moment.year, default_zone) or zones.offset_name(moment)


def tzid_of(zone: tzinfo | None) -> str | None:
    """What a file calls a zone that it describes; None for all other zones."""
    return getattr(zone, "_tzid", None)


def keeps_offset(moment: datetime) -> bool:
    """Whether the offset of a moment stays the same for the years that follow."""
    zone = moment.tzinfo
    times = _sampled(moment.year)
    return zone is not None and all(_offset(zone, each) == moment.utcoffset() for each in times)


@lru_cache(maxsize=256)
def _same_as(zone: tzinfo, tzid: str, year: int, default_zone: str) -> str | None:
    """Return the IANA zone whose clock changes at the same moments: from `year` on, or at least nowadays."""
    for first in sorted({year, max(year, present().year - 1)}):
        offsets = [_offset(zone, each) for each in _sampled(first)]
        stays = len(set(offsets)) == 1
        for name in _called(tzid) if stays else _candidates(tzid, default_zone):
            if _is_same(zone, offsets, ZoneInfo(name), first):
                return name
    return None


def _candidates(tzid: str, default_zone: str) -> Iterator[str]:
    """First what the description is called, then the person's own zone, then well-known ones, then all."""
    order = [*_called(tzid), default_zone, *_NAMED, *sorted(name for name in zones.known_zones() if "/" in name)]
    return (name for name in dict.fromkeys(order) if _is_place(name))


def _called(tzid: str) -> list[str]:
    """Return the zones that the description's name means: Windows' names, and `/vendor.example/Europe/Berlin`."""
    parts = tzid.strip("/").split("/")
    names = [WINDOWS_TO_OLSON.get(tzid, ""), *("/".join(parts[index:]) for index in range(len(parts)))]
    return [name for name in names if _is_place(name)]


def _is_place(name: str) -> bool:
    return name in zones.known_zones() and not name.startswith("Etc/")


def _is_same(zone: tzinfo, offsets: list[timedelta | None], other: tzinfo, first: int) -> bool:
    if any(offset != _offset(other, each) for offset, each in zip(offsets, _sampled(first), strict=True)):
        return False
    around = [each for change in _changes_of(other, first) for each in (change - _SECOND, change)]
    return all(_offset(zone, each) == _offset(other, each) for each in around)


@lru_cache(maxsize=256)
def _sampled(first: int) -> tuple[datetime, ...]:
    start = datetime(first, 1, 1, tzinfo=UTC)
    return tuple(start + _SAMPLED * index for index in range(COMPARED * 365 // _SAMPLED.days))


@lru_cache(maxsize=512)
def _changes_of(zone: tzinfo, first: int) -> tuple[datetime, ...]:
    return tuple(changes(zone, datetime(first, 1, 1, tzinfo=UTC), datetime(first + COMPARED, 1, 1, tzinfo=UTC)))


def _offset(zone: tzinfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
