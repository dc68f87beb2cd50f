"""What stands in the stores before the first run, the same on both sides: two people and two events."""

from __future__ import annotations

from datetime import datetime

PEOPLE = [("Ana Sousa", "ana.sousa@example.com"), ("Rui Matos", "rui.matos@example.com")]
EVENTS = [
    ("Stand-up", datetime.fromisoformat("2027-03-01T09:00:00+00:00"), datetime.fromisoformat("2027-03-01T09:15+00:00")),
    (
        "Lunch with Rui",
        datetime.fromisoformat("2027-03-01T12:00+00:00"),
        datetime.fromisoformat("2027-03-01T13:00+00:00"),
    ),
]


def vcards() -> str:
    """The people as a vCard file."""
    cards = (f"BEGIN:VCARD\nVERSION:4.0\nFN:{name}\nEMAIL:{email}\nEND:VCARD\n" for name, email in PEOPLE)
    return "".join(cards).replace("\n", "\r\n")


def icalendar() -> str:
    """The events as an iCalendar file."""
    events = (
        f"BEGIN:VEVENT\nUID:bench-{number}\nDTSTAMP:20270101T000000Z\nSUMMARY:{title}\n"
        f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nDTEND:{end:%Y%m%dT%H%M%SZ}\nEND:VEVENT\n"
        for number, (title, start, end) in enumerate(EVENTS)
    )
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:bench\n{''.join(events)}END:VCALENDAR\n".replace("\n", "\r\n")
