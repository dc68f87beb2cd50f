"""Time zones by name: an IANA name, or a bare offset."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from retinue.errors import InvalidArguments

_OFFSET = re.compile(r"([+-])(0\d|1[0-4]):([0-5]\d)")


@cache
def known_zones() -> frozenset[str]:
    """Return the IANA names that this machine knows. Looking for them reads the whole zone database."""
    return frozenset(available_timezones())


def is_offset(name: str) -> bool:
    """Whether `name` is a bare offset, which knows nothing of summer time."""
    return name == "UTC" or _OFFSET.fullmatch(name) is not None


def zone_of(name: str) -> tzinfo:
    """Return the zone called `name`: `Europe/Berlin`, `UTC` or `+02:00`.

    Raises:
        InvalidArguments: There is no such zone.
    """
    if name == "UTC":
        return UTC
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        length = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-length if sign == "-" else length)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a key at all, or a folder of the zone database
        raise InvalidArguments(
            f"{name[:60]!r} is not a time zone", hint="write an IANA name like Europe/Berlin or an offset like +02:00"
        ) from None


def name_of(moment: datetime) -> str:
    """Return the name of a moment's zone: an IANA name, or the offset where the zone has no other."""
    zone = moment.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key and not zone.key.startswith("Etc/"):
        return zone.key
    return offset_name(moment)


def named(name: str) -> tzinfo:
    """Return the zone called `name` in the form in which other calendars know it: `+02:00` is `Etc/GMT-2` to them."""
    offset = zone_of(name).utcoffset(None) if is_offset(name) else None
    if offset is None:
        return zone_of(name)
    hours, rest = divmod(offset, timedelta(hours=1))
    return zone_of(name) if rest or not hours else ZoneInfo(f"Etc/GMT{-hours:+d}")


def offset_name(moment: datetime) -> str:
    """Return the offset of `moment` as a zone name: `+02:00`, or `UTC`."""
    minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
    if minutes == 0:
        return "UTC"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
