"""The hours outside of which nothing is to be planned, as busy stretches. Pure."""

from collections.abc import Collection, Iterator
from datetime import datetime, time, timedelta, tzinfo

from activities.calendar.free_time import Stretch, gaps

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = timedelta(days=1)


def outside(
    start: datetime, end: datetime, *, zone: tzinfo, earliest: str, latest: str, weekdays: Collection[str]
) -> Iterator[Stretch]:
    """Yield what of a window is not between the two times of day, on the wall clock of `zone`, on these weekdays.

    Args:
        start: Of the window.
        end: Of the window.
        zone: Whose wall clock the times of day are.
        earliest: As HH:MM.
        latest: As HH:MM; 24:00 is the end of the day.
        weekdays: Of `WEEKDAYS`; none means all.
    """
    day = start.astimezone(zone).date()
    inside: list[Stretch] = []
    while day <= end.astimezone(zone).date():
        if not weekdays or WEEKDAYS[day.weekday()] in weekdays:
            midnight = datetime.combine(day, time())
            inside.append((_at(midnight, earliest, zone), _at(midnight, latest, zone)))
        day += _DAY
    return gaps(inside, start, end)


def _at(midnight: datetime, clock: str, zone: tzinfo) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return (midnight + timedelta(hours=hours, minutes=minutes)).replace(tzinfo=zone)
