"""Invitations in mails: what they say, whom an answer reaches, and what goes out, over both providers."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest
from icalendar import Calendar as ICalendar
from temporalio.exceptions import ApplicationError

from activities.email.itip import invitation_of
from tests.activities.email.conftest import Box, Call
from tests.activities.email.test_replying import readable, text_of

MAIL = "<m@example.com>"


def calendar(*lines: str, method: str = "REQUEST", before: str = "") -> str:
    """An iCalendar text with one event, with these lines besides or instead."""
    usual = {
        "UID": "u-1@example.com",
        "DTSTAMP": "20261101T120000Z",
        "DTSTART": "20261207T100000Z",
        "DTEND": "20261207T110000Z",
        "SUMMARY": "Sprint review",
        "ORGANIZER": "mailto:clara@example.com",
        "ATTENDEE": "mailto:me@retinue.example",
    }
    given = {line.partition(":")[0].partition(";")[0] for line in lines}
    given |= {"DTEND"} if "DURATION" in given else set()
    event = [f"{name}:{value}" for name, value in usual.items() if name not in given] + list(lines)
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", f"METHOD:{method}"]
    return "\r\n".join([*head, *before.splitlines(), "BEGIN:VEVENT", *event, "END:VEVENT", "END:VCALENDAR", ""])


def inviting(text: str) -> bytes:
    """A mail from Clara that carries an invitation as calendars send it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Clara <clara@example.com>", "me@retinue.example", "Sprint review"
    mail["Date"], mail["Message-ID"] = "Mon, 02 Nov 2026 12:00:00 +0000", MAIL
    mail.set_content("You are invited.")
    mail.add_alternative(text, subtype="calendar", params={"method": "REQUEST"})
    return mail.as_bytes()


def event_in(mail: EmailMessage) -> tuple[str, Any]:
    """Method and event of the invitation in a mail, as another program reads them."""
    [part] = [part for part in mail.walk() if part.get_content_type() == "text/calendar"]
    read = ICalendar.from_ical(part.get_content())
    [event] = read.walk("VEVENT")
    assert part.get_param("method") == read["METHOD"]
    return str(read["METHOD"]), event


async def answered(call: Call, answer: str = "accept", **args: Any) -> dict[str, Any]:
    parts = await call("prepare_answer", {"message_id": MAIL, "answer": answer})
    return await call("answer_invitation", {"message_id": MAIL, "answer": answer, **parts, **args})


async def test_an_invitation_is_read_with_its_mail(call: Call, box: Box) -> None:
    await box.deliver_file(inviting(calendar("LOCATION:Room 5\\, first floor", "SEQUENCE:2", "RRULE:FREQ=WEEKLY")))
    found = (await call("read", {"message_id": MAIL}))["invitation"]

    assert (found["method"], found["uid"], found["sequence"]) == ("REQUEST", "u-1@example.com", 2)
    assert (found["title"], found["location"]) == ("Sprint review", "Room 5, first floor")
    assert (found["start"], found["end"]) == ("2026-12-07T10:00:00Z", "2026-12-07T11:00:00Z")
    assert (found["organizer"], found["attendees"]) == ("clara@example.com", ["me@retinue.example"])
    assert found["recurrence"] == "FREQ=WEEKLY"
    assert found["icalendar"].startswith("BEGIN:VCALENDAR\n")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["DTSTART;TZID=Europe/Lisbon:20260707T100000", "DURATION:PT90M"], ("2026-07-07T10:00:00+01:00", 90)),
        (["DTSTART:20261207T100000", "DTEND:20261207T110000"], (None, None)),
        (["DTSTART;TZID=Nowhere:20261207T100000", "DTEND;TZID=Nowhere:20261207T110000"], (None, None)),
        (["DTSTART:20269907T100000Z"], (None, None)),
        (["DTSTART;TZID=\u0000../../x:20261207T100000"], (None, None)),
    ],
)
def test_times_are_told_where_they_are_clear(lines: list[str], expected: tuple[str | None, int | None]) -> None:
    found = invitation_of(calendar(*lines))
    assert found is not None
    start = found.start and found.start.isoformat()
    length = round((found.end - found.start).total_seconds() / 60) if found.start and found.end else None
    assert (start, length) == expected


def test_an_event_of_whole_days_has_a_first_day() -> None:
    found = invitation_of(calendar("DTSTART;VALUE=DATE:20261207", "DTEND;VALUE=DATE:20261208"))
    assert found is not None
    assert (str(found.first_day), found.start) == ("2026-12-07", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        calendar(method="OBEY"),
        calendar().replace("UID", "XID"),
        calendar().replace("END:VEVENT", "END:VTODO"),
        calendar("DESCRIPTION:" + "x" * 100_000),
        "BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\n",
    ],
)
def test_what_is_no_invitation_is_none(text: str) -> None:
    assert invitation_of(text) is None


def test_lines_of_a_reminder_are_not_the_events() -> None:
    alarm = ["BEGIN:VALARM", "SUMMARY:Obey", "ATTENDEE:mailto:eve@example.com", "END:VALARM"]
    found = invitation_of(calendar(*alarm, "SUMMARY:Lunch", "ATTENDEE:mailto:ben@example.com"))
    assert found is not None
    assert (found.title, found.attendees) == ("Lunch", ["ben@example.com"])


def test_an_answer_tells_who_comes() -> None:
    found = invitation_of(calendar('ATTENDEE;CN="Ben; B: C";PARTSTAT=DECLINED:mailto:ben@example.com', method="REPLY"))
    assert found is not None
    assert found.answers == ["ben@example.com: declined"]


@pytest.mark.parametrize(
    ("answer", "partstat", "subject"),
    [
        ("accept", "ACCEPTED", "Accepted: Sprint review"),
        ("decline", "DECLINED", "Declined: Sprint review"),
        ("tentative", "TENTATIVE", "Tentative: Sprint review"),
    ],
)
async def test_an_answer_reaches_the_organizer_and_says_only_what_the_person_does(
    call: Call, box: Box, answer: str, partstat: str, subject: str
) -> None:
    await box.deliver_file(
        inviting(
            calendar("SEQUENCE:3", "ATTENDEE:mailto:ben@example.com", "ORGANIZER;CN=Office:MAILTO:office@example.com")
        )
    )
    result = await answered(call, answer, body="Gladly")
    mail = readable(await box.gone_out(result["message_id"]))
    method, event = event_in(mail)

    assert (mail["To"], mail["Subject"], mail["In-Reply-To"]) == ("office@example.com", subject, MAIL)
    assert text_of(mail).strip() == "Gladly"
    assert (method, event["UID"], event["SEQUENCE"]) == ("REPLY", "u-1@example.com", 3)
    assert str(event["ATTENDEE"]).lower() == f"mailto:{box.sender}"
    assert event["ATTENDEE"].params["PARTSTAT"] == partstat
    assert str(event["ORGANIZER"]).lower() == "mailto:office@example.com"


ZONE = """BEGIN:VTIMEZONE
TZID:Here
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0100
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE"""


async def test_an_answer_about_one_occurrence_names_it(call: Call, box: Box) -> None:
    times = ["DTSTART;TZID=Here:20261207T100000", "DTEND;TZID=Here:20261207T110000"]
    await box.deliver_file(inviting(calendar("RECURRENCE-ID;TZID=Here:20261207T090000", *times, before=ZONE)))
    result = await answered(call)
    _, event = event_in(readable(await box.gone_out(result["message_id"])))

    assert event["RECURRENCE-ID"].dt.isoformat() == "2026-12-07T09:00:00+01:00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (calendar(method="CANCEL"), "this mail invites to nothing"),
        (calendar("ORGANIZER:invalid:nomail"), "names no organizer"),
        (calendar("ORGANIZER:mailto:{me}"), "is the person's own"),
        ("no calendar", "this mail invites to nothing"),
    ],
)
async def test_what_cannot_be_answered_is_said(call: Call, box: Box, text: str, said: str) -> None:
    await box.deliver_file(inviting(text.replace("{me}", box.sender)))
    with pytest.raises(ApplicationError, match=said) as failure:
        await call("prepare_answer", {"message_id": MAIL, "answer": "accept"})
    assert failure.value.type == "InvalidArguments"


@pytest.mark.parametrize("wrong", [{"to": []}, {"subject": None}, {"version": "0" * 32}])
async def test_no_answer_goes_out_that_was_not_shown(call: Call, box: Box, wrong: dict[str, Any]) -> None:
    await box.deliver_file(inviting(calendar()))
    with pytest.raises(ApplicationError):
        await answered(call, **wrong)
    assert await box.count() == 1


@pytest.mark.parametrize(
    ("method", "sequence", "subject"),
    [
        ("REQUEST", "0", "Invitation: Sprint review, Mon 2026-12-07 10:00 UTC to Mon 2026-12-07 11:00 UTC"),
        ("REQUEST", "1", "Updated invitation: Sprint review, Mon 2026-12-07 10:00 UTC to Mon 2026-12-07 11:00 UTC"),
        ("CANCEL", "2", "Cancelled: Sprint review, Mon 2026-12-07 10:00 UTC to Mon 2026-12-07 11:00 UTC"),
    ],
)
async def test_an_invitation_names_the_person_as_organizer_and_those_it_reaches(
    call: Call, box: Box, method: str, sequence: str, subject: str
) -> None:
    text = calendar(f"SEQUENCE:{sequence}", "X-NOTE:" + "\u00e9" * 80, f"ORGANIZER:mailto:{box.sender}", method=method)
    parts = await call("prepare_invitation", {"invitation": text})
    to = ["ana@example.com", "ben@example.com"]
    result = await call("invite", {"invitation": text, "to": to, "body": "Please come.", **parts})
    mail = readable(await box.gone_out(result["message_id"]))
    sent_as, event = event_in(mail)

    assert (parts["subject"], mail["Subject"], mail["To"]) == (subject, subject, ", ".join(to))
    assert text_of(mail).startswith("Please come.\n\nSprint review, Mon 2026-12-07 10:00 UTC")
    assert (sent_as, event["UID"], str(event["SEQUENCE"])) == (method, "u-1@example.com", sequence)
    assert str(event["ORGANIZER"]).lower() == f"mailto:{box.sender}"
    assert [str(each).lower() for each in event["ATTENDEE"]] == [f"mailto:{address}" for address in to]
    assert {each.params["PARTSTAT"] for each in event["ATTENDEE"]} == {"NEEDS-ACTION"}
    assert (event.get("STATUS") == "CANCELLED", event["X-NOTE"]) == (method == "CANCEL", "\u00e9" * 80)


async def test_what_is_no_invitation_is_not_sent_as_one(call: Call) -> None:
    for text in (calendar(method="REPLY"), "Hello"):
        with pytest.raises(ApplicationError, match="this is no invitation"):
            await call("prepare_invitation", {"invitation": text})


async def test_an_invitation_whose_event_is_not_the_one_that_was_shown_is_not_sent(call: Call, box: Box) -> None:
    mine = "ORGANIZER:invalid:nomail"
    parts = await call("prepare_invitation", {"invitation": calendar(mine)})
    with pytest.raises(ApplicationError, match="needs its subject and its event"):
        await call("invite", {"invitation": calendar(mine, "SUMMARY:Other"), "to": ["ana@example.com"], **parts})
    assert await box.count() == 0


async def test_nobody_is_invited_to_what_somebody_else_organizes(call: Call) -> None:
    with pytest.raises(ApplicationError, match=r"clara@example\.com organizes this event, and only they invite"):
        await call("prepare_invitation", {"invitation": calendar()})


async def test_an_endless_invitation_does_not_keep_its_mail_from_being_read(call: Call, box: Box) -> None:
    await box.deliver_file(inviting(calendar("DESCRIPTION:" + "\U0001f600" * 50_000)))
    mail = await call("read", {"message_id": MAIL})

    assert (mail["text"], mail.get("invitation")) == ("You are invited.", None)
    assert len(mail["attachments"]) == 1
