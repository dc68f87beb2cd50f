"""A case's world as calls of tools and mails to deliver, with its times computed from the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from cli.evaluation.cases import Case, World, WorldInvitation
from cli.evaluation.dates import Clock

OWNER_ADDRESS = "me@retinue.example"


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    tool: str
    args: dict[str, Any]


def calls(case: Case, clock: Clock, web: str) -> list[Call]:
    """Return the calls that make a world, in order. `web` is the address of the case's pages."""
    return [*_events(case.world, clock, web), *_contacts(case.world), *_tasks(case.world, clock), *_further(case.world)]


def mails(case: Case, clock: Clock, web: str) -> list[bytes]:
    """Return the mails of a world in the form of an .eml file."""
    return [_mail(case, number, clock, web) for number in range(len(case.world.mails))]


def _events(world: World, clock: Clock, web: str) -> Iterator[Call]:
    for event in world.events:
        start = clock.moment(event.start)
        args: dict[str, Any] = {
            "title": event.title,
            "start": start.isoformat(),
            "end": (start + timedelta(minutes=event.minutes)).isoformat(),
            "timezone": clock.zone,
        }
        more = {"location": event.location, "recurrence": event.recurrence}
        args |= {name: value for name, value in more.items() if value}
        if event.description:
            args["description"] = event.description.replace("{web}", web)
        if event.attendees:
            args["attendees"] = event.attendees
        yield Call("calendar.create_event", args)


def _contacts(world: World) -> Iterator[Call]:
    for person in world.contacts:
        yield Call("contacts.add", person.model_dump(exclude_none=True))


def _tasks(world: World, clock: Clock) -> Iterator[Call]:
    for task in world.tasks:
        args = {"title": task.title, "list": task.list, "notes": task.notes}
        args["due"] = task.due and clock.at(task.due).isoformat()
        args["at"] = task.remind_at and clock.moment(task.remind_at).isoformat()
        yield Call("tasks.remind" if task.remind_at else "tasks.add", {name: it for name, it in args.items() if it})


def _further(world: World) -> Iterator[Call]:
    for call in world.calls:
        yield from (Call(tool, dict(args)) for tool, args in call.items())


def _mail(case: Case, number: int, clock: Clock, web: str) -> bytes:
    given = case.world.mails[number]
    mail = EmailMessage()
    mail["From"] = given.sender
    mail["To"] = ", ".join([OWNER_ADDRESS, *given.also_to])
    mail["Subject"] = given.subject
    mail["Date"] = format_datetime(clock.moment(given.date))
    mail["Message-ID"] = f"<{case.id}-{number}@evaluation.example>"
    mail.set_content(clock.filled(given.text).replace("{web}", web))
    if given.invitation:
        event = _invitation(given.invitation, parseaddr(given.sender)[1], f"{case.id}-{number}", clock)
        mail.add_alternative(event, subtype="calendar", params={"method": "REQUEST"})
    for name, text in given.attachments.items():
        mail.add_attachment(text, filename=name)
    return bytes(mail)


def _invitation(wanted: WorldInvitation, organizer: str, uid: str, clock: Clock) -> str:
    """Return an invitation as a calendar program writes it (RFC 5546)."""
    start = clock.moment(wanted.start)
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//evaluation.example//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        f"UID:{uid}@evaluation.example",
        "SEQUENCE:0",
        f"DTSTAMP:{_utc(clock.now)}",
        f"DTSTART:{_utc(start)}",
        f"DTEND:{_utc(start + timedelta(minutes=wanted.minutes))}",
        f"SUMMARY:{wanted.title}",
        f"ORGANIZER:mailto:{organizer}",
        f"ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{OWNER_ADDRESS}",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
    return "\r\n".join(lines)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
