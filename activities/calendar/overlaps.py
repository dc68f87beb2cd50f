"""What an event overlaps, in words for the person. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from activities.calendar.free_time import Stretch
from retinue.text import one_line

LOOK_AHEAD = timedelta(days=92)
"""For how long the times of a series are compared with other events."""
MOST_NAMED = 5
UNCHECKED = "it could not be checked what it overlaps"
_MORE = "and "
_LONGEST_TITLE = 80


class Other(NamedTuple):
    """One busy time of another event."""

    start: datetime
    end: datetime
    title: str


def overlaps(times: Iterable[Stretch], others: Iterable[Other], zone: tzinfo) -> list[str]:
    """Return the other events that overlap one of the times, earliest first, on the clock of `zone`."""
    found = sorted({*_overlapping(list(times), others)})
    more = [f"{_MORE}{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return [*(_words(other, zone) for other in found[:MOST_NAMED]), *more]


def _overlapping(times: list[Stretch], others: Iterable[Other]) -> Iterator[Other]:
    for other in others:
        if any(other.start < end and other.end > start for start, end in times):
            yield other


def when(start: datetime, end: datetime, zone: tzinfo) -> str:
    """Return a time for people, on the clock of `zone`."""
    start, end = start.astimezone(zone), end.astimezone(zone)
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%a %Y-%m-%d %H:%M}"
    return f"{start:%a %Y-%m-%d %H:%M} to {until}"


def notes(time: Stretch, found: Iterable[str], zone: tzinfo, *, moves: bool) -> list[str]:
    """Return sentences about the time that an event would have."""
    new = [f"it would be {when(*time, zone)}"] if moves else []
    return [
        *new,
        *(each if each == UNCHECKED or each.startswith(_MORE) else f"it overlaps with {each}" for each in found),
    ]


def _words(other: Other, zone: tzinfo) -> str:
    return f"{one_line(other.title, _LONGEST_TITLE)}, {when(other.start, other.end, zone)}"
