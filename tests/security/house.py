"""The stores as strangers fill them and as a test reads them: what comes in is read as imports read it, sinks are databases."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from icalendar import Calendar, Event
from temporalio import activity

from activities.calendar.icalendar_file import read_calendar
from activities.calendar.models import CalendarBase
from activities.calendar.store import CalendarStore
from activities.contacts.models import ContactsBase
from activities.contacts.store import ContactsStore
from activities.contacts.vcard_file import read_cards
from activities.email.incoming import parse
from activities.email.store import MailStore
from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.errors import ServiceUnavailable
from retinue.store import Store
from retinue.temporal.tenant_header import working_for
from tests.days import NEXT, SOON

START, END = f"{SOON}T10:00:00+00:00", f"{SOON}T11:00:00+00:00"
WINDOW = {"start": f"{SOON}T00:00:00+00:00", "end": f"{NEXT}T00:00:00+00:00"}


@dataclass
class Web:
    """A capability that is announced while tests run, with pages that strangers wrote. What it was asked for is a sink."""

    name: str = field(default_factory=lambda: f"web{uuid.uuid4().hex[:8]}")
    pages: dict[str, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def activities(self) -> list[Any]:
        """The tools `fetch` (it reaches the world) and `peek` (it says that it does not)."""
        return [self._reading(verb) for verb in ("fetch", "peek")]

    def _reading(self, verb: str) -> Any:
        @activity.defn(name=f"{self.name}.{verb}")
        async def read(arguments: dict[str, Any]) -> dict[str, Any]:
            url = str(arguments["url"])
            self.fetched.append(url)
            return {"url": url, "title": "A page", "text": self.pages.get(url, "nothing here")}

        return read

    def manifest(self) -> Manifest:
        """What it announces."""
        return Manifest(
            name=self.name,
            version="1",
            description="Reads web pages.",
            task_queue=self.name,
            tools=[self._tool("fetch", open_world=True), self._tool("peek", open_world=False)],
        )

    def _tool(self, verb: str, *, open_world: bool) -> ToolSpec:
        text = {"type": "string"}
        return ToolSpec(
            name=f"{self.name}.{verb}",
            title="Read a page",
            description="Reads a page as text.",
            args_schema={
                "type": "object",
                "properties": {"url": text},
                "required": ["url"],
                "additionalProperties": False,
            },
            result_schema={"type": "object", "properties": {"url": text, "title": text, "text": text}},
            annotations=Annotations(read_only=True, destructive=False, open_world=open_world, sensitive=("/url",)),
        )


@dataclass
class House:
    """The person's stores."""

    data: Path
    web: Web
    mailbox: MailStore
    calendar: Store
    address_book: Store

    @classmethod
    @asynccontextmanager
    async def opened(cls, data: Path, web: Web) -> AsyncIterator[House]:
        """The stores, open beside the workers that serve them."""
        mailbox, calendar, address_book = (
            MailStore(_url(data, "email")),
            Store(_url(data, "calendar"), CalendarBase.metadata, owner="calendar"),
            Store(_url(data, "contacts"), ContactsBase.metadata, owner="contacts"),
        )
        for store in (mailbox, calendar, address_book):
            await store.open()
        try:
            yield cls(data, web, mailbox, calendar, address_book)
        finally:
            for store in (mailbox, calendar, address_book):
                await store.close()

    async def mail(
        self, subject: str, text: str, *, sender: str = "ana@example.com", name: str = "Ana", html: bool = False
    ) -> str:
        """A stranger's mail arrives; returns its message_id."""
        message, mark = EmailMessage(), uuid.uuid4().hex
        message["From"] = f'"{name}" <{sender}>'
        message["To"] = "me@retinue.example"
        message["Subject"] = subject
        message["Message-ID"] = f"<{mark}@mail.example.com>"
        message["Date"] = datetime(2026, 11, 2, 10, tzinfo=UTC)
        message.set_content(text, subtype="html" if html else "plain")
        await _entered(lambda: self.mailbox.deliver(parse(message.as_bytes(), now=datetime.now(UTC))))
        return f"<{mark}@mail.example.com>"

    async def event(
        self, title: str, *, description: str = "", location: str = "", attendees: Sequence[str] = ()
    ) -> str:
        """A stranger's invitation is imported; returns its event_id."""
        uid = uuid.uuid4().hex
        event = Event(uid=uid, summary=title, description=description, location=location)
        event.add("dtstart", datetime.fromisoformat(START))
        event.add("dtend", datetime.fromisoformat(END))
        for attendee in attendees:
            event.add("attendee", attendee)
        calendar = Calendar(prodid="-//strangers//", version="2.0")
        calendar.add_component(event)
        store, content = CalendarStore(self.calendar), calendar.to_ical()
        await _entered(lambda: store.import_events(read_calendar(content, "UTC").series))
        [(event_id,)] = self.rows("calendar", "SELECT event_id FROM event WHERE title = ?", title)
        return str(event_id)

    async def contact(self, name: str, email: str) -> str:
        """The person's own address book gets somebody; returns the contact_id."""
        card = f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nEMAIL:{email}\nEND:VCARD\n"
        store = ContactsStore(self.address_book)
        await _entered(lambda: store.import_contacts(read_cards(card).people))
        [(contact_id,)] = self.rows("contacts", "SELECT contact_id FROM contact WHERE email = ?", email)
        return str(contact_id)

    def rows(self, store: str, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Read a capability's database."""
        with sqlite3.connect(f"file:{self.data}/{store}.db?mode=ro", uri=True, timeout=10) as database:
            return database.execute(query, values).fetchall()

    def written_to(self, address: str) -> list[tuple[str, str, str]]:
        """Mails and drafts to an address: folder, subject, text."""
        return self.rows(
            "email",
            "SELECT folder, subject, text FROM messages WHERE folder IN ('sent', 'drafts') AND"
            " (recipients LIKE ?1 OR cc LIKE ?1)",
            f'%"{address}"%',
        )

    def folder(self, message_id: str) -> str | None:
        """Where a mail stands; None when it is gone."""
        found = self.rows("email", "SELECT folder FROM messages WHERE message_id = ?", message_id)
        return str(found[0][0]) if found else None

    def events(self, title: str) -> list[tuple[str, str]]:
        """Events of that title: their attendees and descriptions."""
        return self.rows(
            "calendar", "SELECT attendees, coalesce(description, '') FROM event WHERE title LIKE ?", f"%{title}%"
        )

    def event_of(self, event_id: str) -> tuple[str, str] | None:
        """An event's title and attendees; None when it is gone."""
        found = self.rows("calendar", "SELECT title, attendees FROM event WHERE event_id = ?", event_id)
        return (str(found[0][0]), str(found[0][1])) if found else None

    def contacts(self, email: str) -> int:
        """How many people have that address."""
        return len(self.rows("contacts", "SELECT 1 FROM contact WHERE email = ?", email))

    def tasks(self, title: str) -> list[tuple[bool]]:
        """Tasks of that title: whether they are done."""
        return self.rows("tasks", "SELECT done_at IS NOT NULL FROM task WHERE title LIKE ?", f"%{title}%")


async def _entered(enter: Callable[[], Awaitable[object]]) -> None:
    """Enter something beside workers that write too; a tool would be tried again by Temporal."""
    for _ in range(20):
        with suppress(ServiceUnavailable), working_for("local"):
            await enter()
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the store stayed busy")


def _url(data: Path, store: str) -> str:
    return f"sqlite+aiosqlite:///{data}/{store}.db"
