"""When the sun rises and sets at a place, computed; it needs the position and nothing from anybody."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import NamedTuple

from astral import Observer
from astral import sun as astral_sun

_DAY = dt.timedelta(days=1)
_HORIZON = -0.833
"""Degrees at which the sun's upper edge touches the horizon, with the air's refraction."""
_WHOLE_DAY_MINUTES = 24 * 60

Event = Callable[[Observer, dt.date], dt.datetime]


class SunDay(NamedTuple):
    """The sun's day around its noon; what does not happen is None, and `words` says so."""

    dawn: dt.datetime | None
    sunrise: dt.datetime | None
    noon: dt.datetime
    sunset: dt.datetime | None
    dusk: dt.datetime | None
    daylight_minutes: int
    words: str | None


def sun_day(latitude: float, longitude: float, date: dt.date, zone: dt.tzinfo) -> SunDay:
    """Return the day of the sun whose noon falls on a local date.

    Its parts may stand on the dates beside it: in Reykjavik in June the sun sets after midnight.

    Args:
        latitude: Degrees, north positive.
        longitude: Degrees, east positive.
        date: Local to the place.
        zone: The place's zone.
    """
    # At the poles themselves every direction is south and nothing is computed.
    observer = Observer(max(min(latitude, 89.8), -89.8), longitude)
    noon = _noon(observer, date, zone)
    dawn, sunrise = (_last_before(noon, event, observer) for event in (astral_sun.dawn, astral_sun.sunrise))
    sunset, dusk = (_first_after(noon, event, observer) for event in (astral_sun.sunset, astral_sun.dusk))
    up = astral_sun.elevation(observer, noon) > _HORIZON
    minutes = round((sunset - sunrise).total_seconds() / 60) if sunrise and sunset else _WHOLE_DAY_MINUTES * up
    local = (moment and moment.astimezone(zone).replace(microsecond=0) for moment in (dawn, sunrise, sunset, dusk))
    dawn, sunrise, sunset, dusk = local
    words = _words(up, sunrise is not None and sunset is not None, dawn is not None and dusk is not None)
    return SunDay(dawn, sunrise, noon.astimezone(zone).replace(microsecond=0), sunset, dusk, minutes, words)


def _words(up: bool, rises_and_sets: bool, has_twilight: bool) -> str | None:
    """What is unusual about the day."""
    if not rises_and_sets:
        if up:
            return "The sun does not set that day."
        return "The sun does not rise that day." + ("" if has_twilight else " There is not even twilight.")
    return None if has_twilight else "It does not get fully dark that night."


def _noon(observer: Observer, date: dt.date, zone: dt.tzinfo) -> dt.datetime:
    """Noon of the local date; astral counts dates in UTC, which is another one near the date line."""
    found = [astral_sun.noon(observer, date + _DAY * days) for days in (-1, 0, 1)]
    return next((noon for noon in found if noon.astimezone(zone).date() == date), found[1])


def _last_before(noon: dt.datetime, event: Event, observer: Observer) -> dt.datetime | None:
    return max((moment for moment in _around(noon, event, observer) if noon - _DAY / 2 < moment <= noon), default=None)


def _first_after(noon: dt.datetime, event: Event, observer: Observer) -> dt.datetime | None:
    return min((moment for moment in _around(noon, event, observer) if noon <= moment < noon + _DAY / 2), default=None)


def _around(noon: dt.datetime, event: Event, observer: Observer) -> Iterator[dt.datetime]:
    for days in (-1, 0, 1):
        try:
            yield event(observer, noon.date() + _DAY * days)
        except ValueError:
            continue  # the sun does not reach that height on that date
