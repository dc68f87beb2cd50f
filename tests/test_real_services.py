"""The whole product over real servers: Dovecot, an SMTP server and Radicale; the offline model plans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retinue.times import present
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, Dovecot, Sink, dovecot, sink
from tests.local_stack import ZONE, LocalStack, environment
from tests.radicale import PASSWORD, USER, Radicale, radicale

pytestmark = [
    pytest.mark.xdist_group("local_stack"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(DOVECOT is None, reason=NO_DOVECOT),
]
BOB = "bob@partner.example"
ME = "me@example.com"


@dataclass
class World:
    """The stack and the servers around it."""

    stack: LocalStack
    mailbox: Dovecot
    sink: Sink
    radicale: Radicale
    calendar: str


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    folder = tmp_path / "radicale"
    folder.mkdir()
    async with sink() as smtp:
        with dovecot() as mailbox, radicale(folder) as server:
            calendar = server.calendar("work")
            data = tmp_path / "data"
            data.mkdir()
            stack = LocalStack(data, environment(data, **providers(mailbox, smtp, calendar)))
            try:
                await asyncio.to_thread(stack.start)
                yield World(stack, mailbox, smtp, server, calendar)
            finally:
                await asyncio.to_thread(stack.stop)


def providers(mailbox: Dovecot, smtp: Sink, calendar: str) -> dict[str, str]:
    """What switches the capabilities to these servers; nothing else is told to anybody."""
    return {
        "CALENDAR_PROVIDER": "caldav",
        "CALENDAR_URL": calendar,
        "CALENDAR_USERNAME": USER,
        "CALENDAR_PASSWORD": PASSWORD,
        "EMAIL_PROVIDER": "imap",
        "EMAIL_FROM": ME,
        "EMAIL_IMAP_URL": mailbox.url("me"),
        "EMAIL_SMTP_URL": smtp.url("me"),
    }


def invitation(day: datetime) -> bytes:
    """A mail that proposes a meeting at ten on that day."""
    lines = [
        f"From: Bob <{BOB}>",
        f"To: {ME}",
        "Subject: Budget",
        f"Date: {format_datetime(present().astimezone(ZoneInfo(ZONE)))}",
        "Message-ID: <budget-1@partner.example>",
        "",
        f"Hello,\n\nshall we meet on {day.day} {day:%B} {day.year} from 10:00 to 11:30? Room 4.\n\nBob",
    ]
    return "\r\n".join(lines).replace("\n\n", "\r\n\r\n").encode()


async def test_a_meeting_that_arrives_by_mail_is_entered_once_and_confirmed_once(world: World) -> None:
    """One approval, which shows that the time came from a mail."""
    day = present().astimezone(ZoneInfo(ZONE)) + timedelta(days=9)
    world.mailbox.deliver("me", invitation(day))
    said = "Put the meeting from the newest mail into my calendar and confirm to its sender"
    view: dict[str, Any] = await asyncio.to_thread(world.stack.ask, said)
    assert view["status"] == "awaiting_approval", view
    [approval] = view["approvals"]
    assert (approval["tool"], approval["args"]["to"]) == ("email.send", [BOB])
    origins = {origin["path"]: origin for origin in approval["origins"]}
    assert (origins["/to/0"]["source"], origins["/to/0"]["tool"]) == ("strangers", "email.read")
    assert origins["/body"]["out_of"] == ["s2 (email.read)"]
    assert world.sink.taken == []
    done = await asyncio.to_thread(world.stack.approve_by_api, view)
    assert done["status"] == "completed", done
    [(recipients, content)] = world.sink.taken
    mail = message_from_bytes(content, policy=policy.default)
    assert (recipients, mail["In-Reply-To"]) == ([BOB], "<budget-1@partner.example>")
    assert "10:00" in mail.get_body().get_content()  # type: ignore[union-attr]  # a text, or the test fails
    events = world.radicale.content(world.calendar)
    assert (events.count("BEGIN:VEVENT"), events.count("SUMMARY:Budget")) == (1, 1)
    assert f"{day:%Y%m%d}T100000" in events
    assert len(done["approvals"]) == 1
    assert len(world.mailbox.mails("me", "Sent")) == 1
