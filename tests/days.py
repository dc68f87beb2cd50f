"""Days for tests. No test names a day of the year in which it was written: what is soon counts from today."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from retinue.times import present


def in_days(days: int) -> str:
    """The date that many days from today in UTC, as ISO 8601."""
    return (present().date() + timedelta(days=days)).isoformat()


def day_of(day: str) -> str:
    """A date with its day of the week, as cards have it: `Thu 2027-03-04`."""
    return f"{datetime.fromisoformat(day):%a %Y-%m-%d}"


SOON = in_days(4)
"""A day that weather services still forecast, even when the tests run over midnight."""
NEXT = in_days(5)
"""The day after `SOON`."""


def _offset(day: str) -> float:
    """Seconds from now to a moment, in UTC where it names no zone; for `RETINUE_CLOCK_OFFSET`."""
    moment = datetime.fromisoformat(day)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


if __name__ == "__main__":
    sys.stdout.write(f"{_offset(sys.argv[1])}\n")
