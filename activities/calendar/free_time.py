"""Free time: the gaps between busy stretches, cut into slots. Pure arithmetic on moments."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

Stretch = tuple[datetime, datetime]


def gaps(busy: Iterable[Stretch], start: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield the parts of the time from `start` to `end` that no busy stretch covers, earliest first."""
    free_from = start
    for busy_from, busy_to in sorted(busy):
        if busy_from >= end:
            break
        if busy_from > free_from:
            yield free_from, busy_from
        free_from = max(free_from, busy_to)
    if free_from < end:
        yield free_from, end


def slots(free: Iterable[Stretch], length: timedelta) -> Iterator[Stretch]:
    """Slots of exactly `length`, one after the other from the beginning of each gap."""
    for start, end in free:
        while start + length <= end:
            yield start, start + length
            start += length
