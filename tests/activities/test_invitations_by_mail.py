"""An invitation there and back: two people with accounts at Dovecot, one of them with a calendar at Radicale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from activities.calendar.settings import CalendarSettings
from tests.activities.calendar.conftest import Shelf, on_server, server, serving, shelf
from tests.activities.email.conftest import ImapBox, Taking, account, caller, mailbox_server
from tests.activities.email.mail_servers import Dovecot
from workers.temporal_server import free_port

__all__ = ["mailbox_server", "server", "shelf"]

ANA, BEN = "ana@example.com", "ben@example.com"
MEETING = {
    "title": "Board meeting",
    "start": "2026-12-07T10:00:00+01:00",
    "end": "2026-12-07T11:00:00+01:00",
    "timezone": "Europe/Berlin",
    "location": "Room 5",
    "attendees": [BEN],
}
DECEMBER = {"start": "2026-12-01T00:00:00+01:00", "end": "2027-01-01T00:00:00+01:00"}


class Post:
    """What the mail server between the two does: it delivers what was taken since the last time."""

    def __init__(self, taken: list[Any], boxes: dict[str, ImapBox]) -> None:
        self._taken, self._boxes = taken, boxes

    def deliver(self) -> None:
        for envelope in self._taken:
            for recipient in envelope.rcpt_tos:
                box = self._boxes[recipient]
                box.server.deliver(box.user, envelope.content)
        self._taken.clear()


async def received(call: Any, words: str) -> dict[str, Any]:
    """The mail in the inbox with these words."""
    [mail] = (await call("search", {"query": words}))["messages"]
    return dict(await call("read", {"message_id": mail["message_id"]}))


@pytest.mark.timeout(120)
async def test_an_invitation_is_sent_accepted_moved_and_cancelled(
    mailbox_server: Dovecot, shelf: Shelf, tmp_path: Path
) -> None:
    taking = Taking()
    controller = Controller(taking, hostname="127.0.0.1", port=free_port())
    controller.start()
    url = f"smtp://127.0.0.1:{controller.port}?starttls=false"
    own = CalendarSettings(database_url=f"sqlite+aiosqlite:///{tmp_path}/ana.db", timezone="Europe/Berlin")
    bens = CalendarSettings(database_url=f"sqlite+aiosqlite:///{tmp_path}/ben.db", timezone="Europe/Berlin")
    async with (
        account(mailbox_server, tmp_path, smtp_url=url, from_=ANA) as ana_box,
        account(mailbox_server, tmp_path, smtp_url=url, from_=BEN) as ben_box,
        serving(own) as ana_calendar,
        serving(on_server(bens, shelf.url)) as ben_calendar,
    ):
        ana, ben = caller(ana_box.tools()), caller(ben_box.tools())
        post = Post(taking.taken, {ANA: ana_box, BEN: ben_box})

        async def invites(step: str, **wish: Any) -> None:
            """Ana's calendar writes the invitation, and her mail sends it."""
            text = await ana_calendar("calendar.write_invitation", event_id=event["event_id"], **wish)
            parts = await ana("prepare_invitation", {"invitation": text["icalendar"]}, step=f"{step}.1")
            sent = {"invitation": text["icalendar"], "to": text["attendees"], **parts}
            await ana("invite", sent, step=step)
            post.deliver()

        async def changes(step: str, words: str) -> dict[str, Any]:
            """Ben's calendar follows a mail."""
            text = (await received(ben, words))["invitation"]["icalendar"]
            change = await ben_calendar("calendar.read_change", icalendar=text)
            return await ben_calendar("calendar.update_from_invitation", step=step, icalendar=text, **change)

        event = await ana_calendar("calendar.create_event", **MEETING)
        await invites("a1")
        mail = await received(ben, "Invitation")
        invited = mail["invitation"]
        assert (mail["from"], invited["method"], invited["title"]) == (ANA, "REQUEST", "Board meeting")
        assert (invited["organizer"], invited["attendees"], invited["location"]) == (ANA, [BEN], "Room 5")
        assert invited["start"] == "2026-12-07T10:00:00+01:00"

        await ben_calendar("calendar.add_invitation", icalendar=invited["icalendar"])
        answer = {"message_id": mail["message_id"], "answer": "accept"}
        await ben("answer_invitation", answer | await ben("prepare_answer", answer, step="b1"), step="b2")
        post.deliver()
        answered = (await received(ana, "Accepted"))["invitation"]
        assert (answered["method"], answered["answers"]) == ("REPLY", [f"{BEN}: accepted"])
        assert answered["uid"] == invited["uid"]

        await ana_calendar("calendar.update_event", event_id=event["event_id"], start="2026-12-08T15:00:00+01:00")
        await invites("a2")
        assert (await changes("b3", "Updated"))["status"] == "changed"
        [moved] = (await ben_calendar("calendar.list_events", **DECEMBER))["events"]
        assert (moved["title"], moved["start"]) == ("Board meeting", "2026-12-08T15:00:00+01:00")
        [name] = shelf.names()
        assert f"UID:{invited['uid']}" in shelf.get(name)

        await invites("a3", cancel=True)
        assert (await changes("b4", "Cancelled"))["status"] == "removed"
        assert shelf.names() == []
    controller.stop()
