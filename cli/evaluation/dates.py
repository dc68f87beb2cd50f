"""Days and times of cases, relative to the moment at which the evaluation begins: `thursday 15:00`, `in 3 days`, `yesterday`.

A weekday is the next one after today, 1 to 7 days ahead. So no case depends on the day on which it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOW = "write a day and a time, as in 'tomorrow 09:30', 'thursday 15:00', 'in 3 days 08:00' or '2 days ago 12:00'"
_NAMED = {"today": 0, "tomorrow": 1, "yesterday": -1}
_TIMES = re.compile(
    r"(?P<day>today|tomorrow|yesterday|in (?P<ahead>\d{1,3}) days?|(?P<ago>\d{1,3}) days? ago"
    rf"|(?P<weekday>{'|'.join(WEEKDAYS)}))(?: (?P<hour>\d\d):(?P<minute>\d\d))?"
)
_PLACEHOLDER = re.compile(r"\{(?P<form>iso|day) (?P<when>[a-z0-9 ]+)\}")


def check(text: str, *, timed: bool | None = None) -> str:
    """Return the text if it is a day, or with `timed` a day with a time.

    Raises:
        ValueError: It is not; the message says how to write one.
    """
    found = _TIMES.fullmatch(text)
    if found is None or int(found["hour"] or 0) > 23 or int(found["minute"] or 0) > 59:
        raise ValueError(f"{text!r} is not a time; {HOW}")
    if timed is not None and timed != (found["hour"] is not None):
        raise ValueError(f"{text!r} needs {'a' if timed else 'no'} time of day; {HOW}")
    return text


@dataclass(frozen=True)
class Clock:
    """The moment at which an evaluation's day begins, in the zone of a case."""

    now: datetime
    zone: str

    @property
    def today(self) -> date:
        """The day there."""
        return self.now.astimezone(ZoneInfo(self.zone)).date()

    def at(self, text: str) -> datetime | date:
        """Return the moment, in the case's zone, or the day if the text has no time. Raises as `check`."""
        found = _TIMES.fullmatch(check(text))
        assert found is not None
        day = self.today + timedelta(days=self._ahead(found))
        if found["hour"] is None:
            return day
        return datetime.combine(day, time(int(found["hour"]), int(found["minute"])), ZoneInfo(self.zone))

    def moment(self, text: str) -> datetime:
        """Return the moment; a day alone is its beginning."""
        found = self.at(text)
        return found if isinstance(found, datetime) else datetime.combine(found, time.min, ZoneInfo(self.zone))

    def _ahead(self, found: re.Match[str]) -> int:
        if found["weekday"]:
            return (WEEKDAYS.index(found["weekday"]) - self.today.weekday() - 1) % 7 + 1
        if found["ahead"] or found["ago"]:
            return int(found["ahead"] or 0) - int(found["ago"] or 0)
        return _NAMED[found["day"]]

    def filled(self, text: str) -> str:
        """Replace `{day thursday}` by '3 December 2026' and `{iso thursday}` by '2026-12-03'."""
        return _PLACEHOLDER.sub(self._placeholder, text)

    def _placeholder(self, found: re.Match[str]) -> str:
        day = self.moment(found["when"].strip()).date()
        return day.isoformat() if found["form"] == "iso" else f"{day.day} {day:%B %Y}"


def next_monday(after: datetime, zone: str) -> datetime:
    """Return nine o'clock of the next Monday after a moment, so that weekdays in requests are never today."""
    day = after.astimezone(ZoneInfo(zone)).date()
    monday = day + timedelta(days=7 - day.weekday())
    return datetime.combine(monday, time(9), ZoneInfo(zone)).astimezone(UTC)
