"""Resources of a calendar server that hide something."""

import pytest

from activities.calendar.ical_entry import read_entry
from activities.calendar.ical_values import Unreadable

HIDING = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:x
BEGIN:VEVENT
UID:a
DTSTART:20260101T100000Z
RRULE:FREQ=DAILY;COUNT=2
END:VEVENT
BEGIN:VEVENT
UID:b
DTSTART:20000101T100000Z
RRULE:FREQ=SECONDLY
END:VEVENT
END:VCALENDAR
"""


def test_a_second_event_cannot_hide_behind_the_first() -> None:
    """Its rule would be followed for ever."""
    with pytest.raises(Unreadable, match="several events"):
        read_entry("e", HIDING.replace("\n", "\r\n"), "UTC")
