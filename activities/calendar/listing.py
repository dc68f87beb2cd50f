"""What a list shows and what free time is, wherever the events are kept."""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from activities.calendar.contract import Event, FindFreeTime, FindFreeTimeResult, ListEventsResult, Slot, Window
from activities.calendar.free_time import Stretch, gaps, slots
from activities.calendar.store import ordered
from activities.calendar.working_hours import outside
from retinue.errors import InvalidArguments
from retinue.zones import zone_of

MOST_EVENTS = 200
MOST_SLOTS = 20
LONG_AGO = datetime.min.replace(tzinfo=UTC)
LONGEST_WINDOW = timedelta(days=3 * 366)
MOST_NAMED = 10
LISTED_DESCRIPTION = 500
LISTED_ATTENDEES = 20
LISTED_BYTES = 200 * 1024
"""A list stays below what the edge lets into a run; an event too many is cut, not the whole answer refused."""


class Timed(Protocol):
    """One time at which an event takes place."""

    @property
    def start(self) -> datetime:
        """When it begins."""

    @property
    def end(self) -> datetime:
        """When it is over."""

    def as_event(self) -> Event:
        """Return the event at this time."""


def bounds(window: Window) -> tuple[datetime, datetime]:
    """Start and end of the window in UTC.

    Raises:
        InvalidArguments: It is longer than three years, or beyond what calendars keep.
    """
    start, end = ordered(window.start, window.end)
    if end - start > LONGEST_WINDOW:
        raise InvalidArguments("the window is longer than three years", hint="ask for one year after the other")
    return start, end


def asks_for(query: str | None) -> Callable[[str, Sequence[str]], bool]:
    """Whether a title and attendees hold all words of the query; the domains of addresses do not count.

    Compared here, because SQLite and servers fold only ASCII letters.
    """
    words = (query or "").casefold().split()

    def holds(title: str, attendees: Sequence[str]) -> bool:
        text = " ".join([title, *(attendee.partition("@")[0] for attendee in attendees)]).casefold()
        return all(word in text for word in words)

    return holds


def listing(found: Sequence[Sequence[Timed]], *, skipped: int = 0, named: Sequence[str] = ()) -> ListEventsResult:
    """Return the list of what was found.

    Args:
        found: For each event its times in the window, in order, none empty. No series can fill more than the whole list,
            so more than `MOST_EVENTS + 1` times of one are not needed.
        skipped: How many entries of the calendar could not be read.
        named: What those are called, as far as they say so, and why.
    """
    by_time = list(islice(_in_order(found), MOST_EVENTS + 1))
    listed = list(_fitting(_listed(time) for time in by_time[:MOST_EVENTS]))
    return ListEventsResult(
        events=listed,
        event_ids=list(dict.fromkeys(each.event_id for each in listed if each.recurrence is None)),
        match=_listed(found[0][0]) if len(found) == 1 else None,
        truncated=len(listed) < len(by_time),
        skipped=skipped,
        skipped_entries=list(named[:MOST_NAMED]),
    )


def free_slots(
    busy: Iterable[Stretch], wish: FindFreeTime, *, skipped: Mapping[str, int] | None = None
) -> FindFreeTimeResult:
    """Return the gaps between busy times, cut into slots, shown in the wish's zone, or in the offset of the window's start.

    Args:
        busy: When the person has no time.
        wish: What is looked for.
        skipped: Why entries of the calendar could not be read, and how many for each reason.
    """
    start, end = bounds(wish)
    zone = zone_of(wish.timezone) if wish.timezone else wish.start.tzinfo
    if (wish.earliest, wish.latest, wish.weekdays) != ("00:00", "24:00", []):
        hours = outside(
            start, end, zone=zone or UTC, earliest=wish.earliest, latest=wish.latest, weekdays=wish.weekdays
        )
        busy = [*busy, *hours]
    free = slots(gaps(busy, start, end), timedelta(minutes=wish.duration_minutes))
    reasons = skipped or {}
    return FindFreeTimeResult(
        slots=[Slot(start=s.astimezone(zone), end=e.astimezone(zone)) for s, e in islice(free, MOST_SLOTS)],
        skipped=sum(reasons.values()),
        skipped_reasons=[f"{number} because {reason}" for reason, number in islice(reasons.items(), MOST_NAMED)],
    )


def _in_order(found: Iterable[Sequence[Timed]]) -> Iterator[Timed]:
    return heapq.merge(*found, key=lambda time: (time.start, time.end))


def _listed(time: Timed) -> Event:
    event = time.as_event()
    return event.model_copy(
        update={
            "description": event.description and event.description[:LISTED_DESCRIPTION],
            "attendees": event.attendees[:LISTED_ATTENDEES],
        }
    )


def _fitting(events: Iterable[Event]) -> Iterator[Event]:
    size = 0
    for event in events:
        size += len(json.dumps(event.model_dump(mode="json")))
        if size > LISTED_BYTES:
            return
        yield event
