"""Times in ISO 8601, always with an offset, and the present day."""

import os
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, WithJsonSchema


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its offset, as in 2026-11-27T09:00:00+01:00")
    return value


MOMENT_FORMAT = "ISO 8601 with offset"
Moment = Annotated[
    datetime,
    AfterValidator(_with_offset),
    WithJsonSchema({"type": "string", "format": "date-time", "description": MOMENT_FORMAT}),
]
"""A point in time with its offset. A value without one is refused, never guessed."""


_OFFSET = timedelta(seconds=float(os.environ.get("RETINUE_CLOCK_OFFSET") or 0))


def present() -> datetime:
    """Return the current moment in UTC, by the clock that people's plans go by.

    Use it wherever "today" matters: plans, reminders, forecasts, dates of mails. `RETINUE_CLOCK_OFFSET` moves it, so that
    the tests can run on any day. Expiries, sessions, keys and proofs use the real clock, because the Temporal server does.
    """
    return on_the_calendar(datetime.now(UTC))


def on_the_calendar(moment: datetime) -> datetime:
    """Return the value of `present` at a time of the server's clock; workflows pass `workflow.now()`."""
    return moment + _OFFSET


def utc(value: datetime) -> datetime:
    """Return the same time in UTC."""
    return value.astimezone(UTC)


def local(value: datetime, zone: str) -> datetime:
    """Return the same time in an IANA zone, to the second."""
    return value.astimezone(ZoneInfo(zone)).replace(microsecond=0)


def whole_day(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the two midnights of a day in an IANA zone, 23 to 25 hours apart."""
    midnights = (datetime.combine(day + timedelta(days=more), time.min, ZoneInfo(zone)) for more in (0, 1))
    return next(midnights), next(midnights)
