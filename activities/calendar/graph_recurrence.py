"""Recurrence rules (RFC 5545) as Microsoft's patterns, and back. Pure.

Microsoft's patterns say less than rules do: one day of a month, or one position in it, and one range. What has no pattern
is refused in words. In months without the 29th, 30th or 31st Microsoft takes their last day, where a rule leaves the month
out; so each of the two is written only for what means the same.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from activities.calendar.ical_values import Unreadable
from retinue.accounts.graph_api import inside
from retinue.accounts.rest_api import Json, text_of
from retinue.errors import InvalidArguments
from retinue.recurrence import normalised

_DAYS: Final = {
    "MO": "monday", "TU": "tuesday", "WE": "wednesday", "TH": "thursday", "FR": "friday", "SA": "saturday", "SU": "sunday",
}  # fmt: skip
_WEEK = tuple(_DAYS)
_INDEX: Final = {1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
_CODES: Final = {name: code for code, name in _DAYS.items()}
_POSITIONS: Final = {name: number for number, name in _INDEX.items()}
_IN_EVERY_MONTH = 28
_MONTHS = 12
_ORDINAL = re.compile(r"([+-]?\d+)([A-Z]{2})")
_RANGE = {"COUNT", "UNTIL", "INTERVAL", "WKST", "FREQ"}


def pattern_of(rule: str, start: datetime, zone: str) -> Json:
    """Return a rule as Microsoft's recurrence.

    Args:
        rule: As `RRULE` writes it.
        start: Of the first occurrence, in the zone of the series.
        zone: That zone, as Microsoft calls it.

    Raises:
        InvalidArguments: Microsoft has no pattern for it.
    """
    parts = dict(each.split("=", 1) for each in normalised(rule).split(";"))
    pattern = {"interval": int(parts.get("INTERVAL", "1")), **_pattern(parts, start)}
    return {"pattern": pattern, "range": _range(parts, start, zone)}


def rule_of(recurrence: Json, start: datetime, *, all_day: bool) -> str:
    """Return Microsoft's recurrence as a rule.

    Args:
        recurrence: As Graph gives it.
        start: Of the first occurrence, in the zone of the series.
        all_day: Whether it begins on dates.

    Raises:
        Unreadable: It makes no sense.
    """
    pattern, range_ = inside(recurrence, "pattern"), inside(recurrence, "range")
    interval = _number(pattern, "interval", 999)
    rule = [*_rule(pattern, start), *([f"INTERVAL={interval}"] if interval > 1 else [])]
    return ";".join([*rule, *_end(range_, start, all_day=all_day)])


def _pattern(parts: dict[str, str], start: datetime) -> Json:
    fixed = {name for name in parts if name not in _RANGE}
    frequency, days = parts["FREQ"], parts.get("BYDAY", "").split(",") if "BYDAY" in parts else []
    if frequency == "DAILY" and not fixed:
        return {"type": "daily"}
    if frequency == "WEEKLY" or (frequency == "DAILY" and fixed == {"BYDAY"} and parts.get("INTERVAL", "1") == "1"):
        if fixed <= {"BYDAY"} and all(day in _DAYS for day in days):
            return {
                "type": "weekly",
                "daysOfWeek": [_DAYS[day] for day in days or [_WEEK[start.weekday()]]],
                "firstDayOfWeek": _DAYS[parts.get("WKST", "MO")],
            }
    elif frequency == "MONTHLY" and "BYMONTH" not in fixed:
        return _monthly(parts, fixed, start)
    elif frequency == "YEARLY" and parts.get("BYMONTH", "1").isdigit():
        return _yearly(parts, fixed, start)
    raise _no_pattern(parts)


def _monthly(parts: dict[str, str], fixed: set[str], start: datetime) -> Json:
    if "BYDAY" in fixed:
        return {"type": "relativeMonthly", **_position(parts, fixed - {"BYDAY", "BYSETPOS"})}
    return {"type": "absoluteMonthly", "dayOfMonth": _day(parts, fixed, start)}


def _yearly(parts: dict[str, str], fixed: set[str], start: datetime) -> Json:
    month = int(parts.get("BYMONTH", start.month))
    others = fixed - {"BYMONTH"}
    if "BYDAY" in fixed and "BYMONTH" in fixed:
        return {"type": "relativeYearly", "month": month, **_position(parts, others - {"BYDAY", "BYSETPOS"})}
    if others - {"BYMONTHDAY"}:
        raise _no_pattern(parts)
    day = int(parts.get("BYMONTHDAY", start.day)) if parts.get("BYMONTHDAY", "1").isdigit() else 0
    if not 1 <= day <= _days_in(month):
        raise _no_pattern(parts)
    return {"type": "absoluteYearly", "month": month, "dayOfMonth": day}


def _position(parts: dict[str, str], others: set[str]) -> Json:
    """Return the days of the week and which of them in a month."""
    days, position = parts["BYDAY"].split(","), parts.get("BYSETPOS")
    if position is None and len(days) == 1 and (ordinal := _ORDINAL.fullmatch(days[0])) is not None:
        position, days = ordinal[1], [ordinal[2]]
    index = _INDEX.get(int(position)) if position is not None and position.lstrip("+-").isdigit() else None
    if others or index is None or not all(day in _DAYS for day in days):
        raise _no_pattern(parts)
    return {"daysOfWeek": [_DAYS[day] for day in days], "index": index}


def _day(parts: dict[str, str], fixed: set[str], start: datetime) -> int:
    """Return the day of a month, which Microsoft takes for the last one where a month has no such day."""
    said, position = parts.get("BYMONTHDAY", str(start.day)), parts.get("BYSETPOS")
    if fixed <= {"BYMONTHDAY"}:
        if said == "-1":
            return 31
        if said.lstrip("+").isdigit() and int(said) <= _IN_EVERY_MONTH:
            return int(said)
        if said in ("29", "30", "31"):
            raise InvalidArguments(
                f"Microsoft takes the last day of months without the {said}th, where this rule leaves them out",
                hint="say the last day of the month as BYMONTHDAY=-1, or take a day up to the 28th",
            )
    days = said.split(",")
    if position == "-1" and fixed == {"BYMONTHDAY", "BYSETPOS"} and days in (["28", "29"], ["28", "29", "30"]):
        return int(days[-1])
    raise _no_pattern(parts)


def _range(parts: dict[str, str], start: datetime, zone: str) -> Json:
    found = {"startDate": start.date().isoformat(), "recurrenceTimeZone": zone}
    if "COUNT" in parts:
        return {**found, "type": "numbered", "numberOfOccurrences": int(parts["COUNT"])}
    if "UNTIL" not in parts:
        return {**found, "type": "noEnd"}
    until = datetime.fromisoformat(parts["UNTIL"])
    if "T" not in parts["UNTIL"]:
        return {**found, "type": "endDate", "endDate": until.date().isoformat()}
    local = until.astimezone(start.tzinfo) if until.tzinfo else until
    whole = local.time() >= start.time()
    return {**found, "type": "endDate", "endDate": (local.date() - timedelta(days=not whole)).isoformat()}


def _rule(pattern: Json, start: datetime) -> list[str]:
    kind = text_of(pattern, "type")
    if kind == "daily":
        return ["FREQ=DAILY"]
    if kind == "weekly":
        return ["FREQ=WEEKLY", *_weekdays(pattern, start), *_first_day(pattern)]
    if kind == "absoluteMonthly":
        return ["FREQ=MONTHLY", *_month_day(_number(pattern, "dayOfMonth", 31), start)]
    month = _number(pattern, "month", _MONTHS) if kind in ("absoluteYearly", "relativeYearly") else 0
    if kind == "absoluteYearly":
        day = _number(pattern, "dayOfMonth", 31)
        same = (month, day) == (start.month, start.day)
        return ["FREQ=YEARLY", *([] if same else [f"BYMONTH={month}", f"BYMONTHDAY={min(day, _days_in(month))}"])]
    if kind in ("relativeMonthly", "relativeYearly"):
        index = _POSITIONS.get(text_of(pattern, "index") or "first")
        days = _codes(pattern)
        if index is None or not days:
            raise Unreadable("its recurrence cannot be read")
        which = [f"BYDAY={index}{days[0]}"] if len(days) == 1 else [f"BYDAY={','.join(days)}", f"BYSETPOS={index}"]
        return [*(["FREQ=YEARLY", f"BYMONTH={month}"] if month else ["FREQ=MONTHLY"]), *which]
    raise Unreadable("its recurrence cannot be read")


def _weekdays(pattern: Json, start: datetime) -> list[str]:
    """Return the days, unless it is that of the start alone, with which the series can be moved."""
    days = _codes(pattern)
    return [] if days in ([], [_WEEK[start.weekday()]]) else [f"BYDAY={','.join(days)}"]


def _first_day(pattern: Json) -> list[str]:
    first = _CODES.get(text_of(pattern, "firstDayOfWeek") or "sunday", "SU")
    return [f"WKST={first}"] if first != "MO" and _number(pattern, "interval", 999) > 1 else []


def _month_day(day: int, start: datetime) -> list[str]:
    if day <= _IN_EVERY_MONTH:
        return [] if day == start.day else [f"BYMONTHDAY={day}"]
    if day == 31:
        return ["BYMONTHDAY=-1"]
    return [f"BYMONTHDAY={','.join(map(str, range(28, day + 1)))}", "BYSETPOS=-1"]


def _end(range_: Json, start: datetime, *, all_day: bool) -> list[str]:
    kind = text_of(range_, "type")
    if kind == "numbered":
        return [f"COUNT={_number(range_, 'numberOfOccurrences', 9999)}"]
    if kind != "endDate":
        return []
    try:
        last = date.fromisoformat(text_of(range_, "endDate"))
    except ValueError:
        raise Unreadable("its recurrence cannot be read") from None
    if all_day:
        return [f"UNTIL={last:%Y%m%d}"]
    return [f"UNTIL={_on(last, start.time(), start.tzinfo).astimezone(UTC):%Y%m%dT%H%M%SZ}"]


def _on(day: date, at: time, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, at, zone)


def _codes(pattern: Json) -> list[str]:
    found = pattern.get("daysOfWeek")
    names = {_CODES.get(each) for each in found} if isinstance(found, list) else set()
    return [code for code in _WEEK if code in names]


def _number(found: Json, name: str, most: int) -> int:
    value = found.get(name, 1)
    if not isinstance(value, int) or not 1 <= value <= most:
        raise Unreadable("its recurrence cannot be read")
    return value


def _days_in(month: int) -> int:
    """Return the days that a month has in every year."""
    return {2: 28, 4: 30, 6: 30, 9: 30, 11: 30}.get(month, 31)


def _no_pattern(parts: dict[str, str]) -> InvalidArguments:
    rule = ";".join(f"{name}={value}" for name, value in parts.items() if name not in ("COUNT", "UNTIL"))
    return InvalidArguments(
        f"Microsoft's calendars have no pattern for the rule {rule}",
        hint="they repeat by days, by weekdays, on one day of the month, or on the first to fourth or last weekday of it",
    )
