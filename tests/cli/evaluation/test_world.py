"""Worlds: the calls and mails that make what stands before a request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from activities.email.contract import Method
from activities.email.incoming import attached_files, calendar_text, parse
from activities.email.itip import invitation_of
from cli.evaluation import world
from cli.evaluation.cases import Case
from cli.evaluation.dates import Clock
from cli.evaluation.world import Call

CLOCK = Clock(datetime(2027, 3, 1, 8, tzinfo=UTC), "Europe/Berlin")


def case(**stands: Any) -> Case:
    """A case whose world has these."""
    return Case.model_validate({"id": "one", "area": "email", "request": "Read it", "expect": {}, "world": stands})


def test_calls_are_made_of_what_stands_before() -> None:
    found = world.calls(
        case(
            events=[{"title": "Lunch", "start": "friday 12:00", "minutes": 45}],
            contacts=[{"name": "Ana", "email": "ana@example.com"}],
            tasks=[
                {"title": "Milk", "list": "shopping", "due": "friday"},
                {"title": "Mum", "remind_at": "friday 18:00"},
            ],
            calls=[{"notes.write": {"text": "x"}}],
        ),
        CLOCK,
        "http://pages",
    )
    event = {"title": "Lunch", "start": "2027-03-05T12:00:00+01:00", "end": "2027-03-05T12:45:00+01:00"}
    assert found == [
        Call("calendar.create_event", {**event, "timezone": "Europe/Berlin"}),
        Call("contacts.add", {"name": "Ana", "email": "ana@example.com"}),
        Call("tasks.add", {"title": "Milk", "list": "shopping", "due": "2027-03-05"}),
        Call("tasks.remind", {"title": "Mum", "at": "2027-03-05T18:00:00+01:00"}),
        Call("notes.write", {"text": "x"}),
    ]


def test_a_mail_is_one_that_the_mailbox_reads() -> None:
    [content] = world.mails(
        case(
            mails=[
                {
                    "from": "Ana Sousa <ana@example.com>",
                    "also_to": ["tom@example.com"],
                    "subject": "Join us",
                    "text": "Come on {day wednesday}, see {web}/map",
                    "date": "yesterday 18:00",
                    "attachments": {"map.txt": "Turn left."},
                    "invitation": {"title": "Pottery", "start": "wednesday 14:00", "minutes": 90},
                }
            ]
        ),
        CLOCK,
        "http://pages",
    )
    mail = parse(content, now=CLOCK.now)
    assert (mail.sender, mail.subject) == ("ana@example.com", "Join us")
    assert mail.recipients == ["me@retinue.example", "tom@example.com"]
    assert mail.date == datetime(2027, 2, 28, 17, tzinfo=UTC)
    assert "Come on 3 March 2027, see http://pages/map" in mail.text
    assert "map.txt" in [file.name for file in attached_files(content)]
    invitation = invitation_of(calendar_text(content) or "")
    assert invitation
    assert (invitation.method, invitation.title, invitation.organizer) == (Method.REQUEST, "Pottery", "ana@example.com")
    assert (invitation.start, invitation.end) == (
        datetime(2027, 3, 3, 13, tzinfo=UTC),
        datetime(2027, 3, 3, 14, 30, tzinfo=UTC),
    )
