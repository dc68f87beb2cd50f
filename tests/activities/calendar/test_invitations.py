"""Invitations: what the calendar writes for others, and what others' invitations enter, change and remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from icalendar import Calendar as ICalendar
from temporalio.exceptions import ApplicationError

from .conftest import Call, Shelf

UID = "review-7@example.com"
DECEMBER = {"start": "2026-12-01T00:00:00+01:00", "end": "2027-01-01T00:00:00+01:00"}
both = pytest.mark.parametrize("provider", ["own", "caldav", "google", "graph"])


def invitation(*lines: str, method: str = "REQUEST", more: str = "") -> str:
    """An invitation of Clara's, with these lines besides or instead."""
    usual = {
        "UID": UID,
        "DTSTAMP": "20261101T120000Z",
        "SEQUENCE": "1",
        "DTSTART": "20261207T100000Z",
        "DTEND": "20261207T110000Z",
        "SUMMARY": "Sprint review",
        "ORGANIZER": "mailto:clara@example.com",
        "ATTENDEE": "mailto:me@retinue.example",
    }
    given = {line.partition(":")[0].partition(";")[0] for line in lines}
    event = [f"{name}:{value}" for name, value in usual.items() if name not in given] + list(lines)
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", f"METHOD:{method}"]
    return "\r\n".join([*head, "BEGIN:VEVENT", *event, "END:VEVENT", *more.splitlines(), "END:VCALENDAR", ""])


async def listed(call: Call) -> list[tuple[str, str]]:
    found = await call("calendar.list_events", **DECEMBER)
    return [(event["title"], event["start"]) for event in found["events"]]


async def applied(call: Call, text: str, **step: str) -> dict[str, Any]:
    """Change the calendar as a run does: what the invitation changes is read first, and shown."""
    change = await call("calendar.read_change", icalendar=text)
    return await call("calendar.update_from_invitation", icalendar=text, **change, **step)


@both
async def test_an_event_is_written_as_an_invitation(call: Call) -> None:
    people = ["ana@example.com", "Ben"]
    event = await call(
        "calendar.create_event",
        title="Board meeting",
        start="2026-12-07T10:00:00+01:00",
        end="2026-12-07T11:00:00+01:00",
        timezone="Europe/Berlin",
        attendees=people,
    )
    first = await call("calendar.write_invitation", event_id=event["event_id"])
    await call("calendar.update_event", event_id=event["event_id"], start="2026-12-07T12:00:00+01:00")
    second = await call("calendar.write_invitation", event_id=event["event_id"])
    cancelled = await call("calendar.write_invitation", event_id=event["event_id"], cancel=True)
    read = [ICalendar.from_ical(each["icalendar"]) for each in (first, second, cancelled)]
    events: list[Any] = [each.walk("VEVENT")[0] for each in read]

    assert (first["title"], first["attendees"]) == ("Board meeting", ["ana@example.com"])
    assert [str(each["METHOD"]) for each in read] == ["REQUEST", "REQUEST", "CANCEL"]
    assert len({str(each["UID"]) for each in events}) == 1
    assert [int(each.get("SEQUENCE", 0)) for each in events] == [0, 1, 2]
    assert [each["DTSTART"].dt.isoformat() for each in events[:2]] == [
        "2026-12-07T10:00:00+01:00",
        "2026-12-07T12:00:00+01:00",
    ]
    assert "RETINUE" not in first["icalendar"].replace("-//Retinue//", "").upper()


@both
async def test_an_invitation_is_entered_once(call: Call, count_events: Callable[[], int]) -> None:
    first = await call("calendar.add_invitation", icalendar=invitation(), step="s1")
    again = await call("calendar.add_invitation", icalendar=invitation(), step="s1")

    assert again == first
    assert (first["title"], first["attendees"], count_events()) == ("Sprint review", ["me@retinue.example"], 1)
    assert [title for title, _ in await listed(call)] == ["Sprint review"]
    with pytest.raises(ApplicationError, match="is in the calendar already") as failure:
        await call("calendar.add_invitation", icalendar=invitation(), step="s2")
    assert (failure.value.type, count_events()) == ("Conflict", 1)


@both
async def test_a_later_invitation_changes_the_event(call: Call, count_events: Callable[[], int]) -> None:
    event = await call("calendar.add_invitation", icalendar=invitation())
    later = invitation("SEQUENCE:2", "DTSTART:20261208T140000Z", "DTEND:20261208T150000Z", "SUMMARY:Moved review")
    change = await call("calendar.read_change", icalendar=later)
    first = await applied(call, later, step="s1")
    again = await applied(call, later, step="s1")

    assert change["event_id"] == event["event_id"]
    assert "clara@example.com sets the event to 'Moved review', 2026-12-08 14:00 to" in change["change"]
    assert again == first
    assert (first["event_id"], first["title"], first["status"]) == (event["event_id"], "Moved review", "changed")
    [(title, start)] = await listed(call)
    assert (title, start[:13], count_events()) == ("Moved review", "2026-12-08T14", 1)


@both
async def test_a_cancellation_removes_the_event(call: Call, count_events: Callable[[], int]) -> None:
    await call("calendar.add_invitation", icalendar=invitation())
    first = await applied(call, invitation("SEQUENCE:2", method="CANCEL"), step="s1")

    assert (first["title"], first["status"], count_events()) == ("Sprint review", "removed", 0)


@both
@pytest.mark.parametrize("method", ["REQUEST", "CANCEL"])
async def test_an_older_version_changes_nothing_and_nobody_is_asked(call: Call, method: str) -> None:
    await call("calendar.add_invitation", icalendar=invitation("SEQUENCE:5"))
    with pytest.raises(ApplicationError, match="newer") as failure:
        await call("calendar.read_change", icalendar=invitation("SEQUENCE:4", "SUMMARY:Old", method=method))
    assert failure.value.type == "Conflict"
    assert [title for title, _ in await listed(call)] == ["Sprint review"]


SERIES = ("RRULE:FREQ=WEEKLY;COUNT=3",)
SECOND = "RECURRENCE-ID:20261214T100000Z"


@both
async def test_one_date_of_a_series_is_changed_and_another_called_off(call: Call) -> None:
    await call("calendar.add_invitation", icalendar=invitation(*SERIES))
    moved = invitation(SECOND, "SEQUENCE:2", "DTSTART:20261215T100000Z", "DTEND:20261215T110000Z", "SUMMARY:Late")
    await applied(call, moved)
    third = invitation("RECURRENCE-ID:20261221T100000Z", "SEQUENCE:2", "DTSTART:20261221T100000Z", method="CANCEL")
    await applied(call, third)

    assert [(title, start[:10]) for title, start in await listed(call)] == [
        ("Sprint review", "2026-12-07"),
        ("Late", "2026-12-15"),
    ]


@both
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello", "cannot be read|no invitation"),
        (invitation(method="REPLY"), "no invitation"),
        (invitation().replace("METHOD:REQUEST\r\n", ""), "no invitation"),
        (invitation(more="BEGIN:VEVENT\r\nUID:other\r\nDTSTART:20261207T100000Z\r\nEND:VEVENT"), "no invitation"),
        (invitation("DTSTART:nonsense"), "cannot be|can be read"),
        (invitation(method="CANCEL"), "enters no event|cancels an event"),
    ],
)
async def test_what_is_no_invitation_enters_nothing(
    call: Call, count_events: Callable[[], int], text: str, said: str
) -> None:
    with pytest.raises(ApplicationError, match=said) as failure:
        await call("calendar.add_invitation", icalendar=text)
    assert (failure.value.type, count_events()) == ("InvalidArguments", 0)


@both
async def test_what_is_not_there_cannot_be_changed(call: Call) -> None:
    with pytest.raises(ApplicationError, match="is not in the calendar") as failure:
        await call("calendar.read_change", icalendar=invitation("SEQUENCE:2"))
    assert failure.value.type == "NotFound"


@both
@pytest.mark.parametrize("wrong", [{"change": "nothing"}, {"event_id": "0" * 32}, {"event_id": None}])
async def test_only_what_was_shown_is_changed(call: Call, wrong: dict[str, Any]) -> None:
    await call("calendar.add_invitation", icalendar=invitation())
    text = invitation("SEQUENCE:2", method="CANCEL")
    change = await call("calendar.read_change", icalendar=text)
    with pytest.raises(ApplicationError):
        await call("calendar.update_from_invitation", icalendar=text, **{**change, **wrong})
    assert [title for title, _ in await listed(call)] == ["Sprint review"]


@pytest.mark.parametrize("provider", ["caldav"])
async def test_only_its_organizer_changes_an_event_on_a_server(call: Call, shelf: Shelf) -> None:
    await call("calendar.add_invitation", icalendar=invitation())
    for method in ("REQUEST", "CANCEL"):
        text = invitation("SEQUENCE:9", "ORGANIZER:mailto:eve@example.com", method=method)
        with pytest.raises(ApplicationError, match=r"clara@example\.com organizes this event") as failure:
            await call("calendar.read_change", icalendar=text)
        assert failure.value.type == "NotAllowed"
    assert len(shelf.names()) == 1


@pytest.mark.parametrize("provider", ["caldav"])
async def test_on_a_server_the_event_keeps_its_uid_the_persons_reminders_and_the_server_writes_to_nobody(
    call: Call, shelf: Shelf
) -> None:
    alarm = ["BEGIN:VALARM", "ACTION:EMAIL", "TRIGGER:-PT5M", "ATTENDEE:mailto:eve@example.com", "END:VALARM"]
    await call("calendar.add_invitation", icalendar=invitation("ATTENDEE:mailto:me@example.com", *alarm))
    [name] = shelf.names()
    content = shelf.get(name)
    assert f"UID:{UID}" in content
    assert "METHOD" not in content
    assert "VALARM" not in content
    assert content.count("SCHEDULE-AGENT=CLIENT") == 2

    own = "BEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:Soon\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\nEND:VEVENT"
    shelf.put(name, content.replace("END:VEVENT", own))
    await applied(call, invitation("SEQUENCE:2", "SUMMARY:Moved"))
    assert "DESCRIPTION:Soon" in shelf.get(name)
    assert "SUMMARY:Moved" in shelf.get(name)


@pytest.mark.parametrize("provider", ["caldav"])
async def test_an_invitation_that_another_app_entered_is_found_by_its_uid(call: Call, shelf: Shelf) -> None:
    shelf.put("from-the-phone.ics", invitation().replace("METHOD:REQUEST\r\n", ""))
    shelf.put("another.ics", invitation(f"UID:x{UID}").replace("METHOD:REQUEST\r\n", ""))
    with pytest.raises(ApplicationError, match="is in the calendar already"):
        await call("calendar.add_invitation", icalendar=invitation())
    change = await call("calendar.read_change", icalendar=invitation("SEQUENCE:2", method="CANCEL"))
    assert change["event_id"] == "from-the-phone.ics"


@pytest.mark.parametrize("provider", ["caldav"])
async def test_an_event_that_no_mail_should_carry_is_said_to_be_too_large(call: Call, shelf: Shelf) -> None:
    shelf.put("large.ics", invitation("DESCRIPTION:" + "x" * 70_000).replace("METHOD:REQUEST\r\n", ""))
    with pytest.raises(ApplicationError, match="too large for an invitation") as failure:
        await call("calendar.write_invitation", event_id="large.ics")
    assert failure.value.type == "InvalidArguments"
