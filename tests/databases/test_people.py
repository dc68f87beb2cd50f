"""Rows of one person: over every tool nobody sees or changes another person's, and each of the two walls holds alone."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import activities
from activities.calendar.models import CalendarBase, StoredEvent
from activities.contacts.models import ContactsBase, StoredContact
from activities.email.contract import Folder
from activities.email.models import EmailBase, Message, Source
from cli import unclaimed as doctor
from retinue.capability import ToolSpec
from retinue.database import people
from retinue.database.migrations import metadata_of
from retinue.database.people import UNCLAIMED, OfPerson, PersonSession, tables_of_people
from retinue.errors import ServiceRefused
from retinue.settings import ROOT
from retinue.store import Store
from retinue.temporal.tenant_header import working_for
from retinue.testing import activities_by_name
from tests.activities.tasks.conftest import Timers
from workers import unclaimed

CAPABILITIES = ["calendar", "contacts", "email", "memory", "tasks"]
OF_EACH = 24
CANARY = "canary of ana"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
Call = Callable[..., Awaitable[dict[str, Any]]]
Things = dict[str, list[Any]]


def test_these_are_all_capabilities_with_data_of_people() -> None:
    assert unclaimed.capabilities() == CAPABILITIES


@pytest.mark.parametrize("name", CAPABILITIES)
def test_every_table_key_and_index_begins_with_the_person(name: str) -> None:
    """So that no look-up reads rows of others, and no id is unique over people."""
    metadata = metadata_of(f"activities.{name}.models")
    assert set(tables_of_people(metadata)) == set(metadata.tables.values())
    for table in metadata.tables.values():
        found: list[Any] = [*table.indexes, *(each for each in table.constraints if getattr(each, "columns", None))]
        assert {next(iter(each.columns)).name for each in found} == {"person"}, table.name


@pytest.mark.parametrize("name", CAPABILITIES)
def test_no_capability_goes_around_its_session(name: str) -> None:
    """Statements on a connection or in words are seen by `refuse_unbounded` alone; memory sets a pragma."""
    found = [
        (file.name, line.strip())
        for file in (ROOT / "activities" / name).glob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"exec_driver_sql|session\.connection\(|(?<![.\w])text\([\x22']|bulk_|__table__", line)
    ]
    pragma = [line for _, line in found if "session.connection()" in line or "PRAGMA secure_delete" in line]
    assert found == [("store.py", line) for line in pragma]
    assert len(pragma) == (2 if name == "memory" else 0)


@asynccontextmanager
async def served(name: str, url: str) -> AsyncIterator[Call]:
    """The tools of a capability's worker: `await call("ana", "calendar.look_up", event_id=...)`."""
    module = activities.load(name)
    settings = next(value for key, value in vars(module).items() if key.lower() == f"{name}settings")
    plugin = module.plugin(settings(database_url=url))
    by_name = activities_by_name(plugin.activities)

    async def call(person: str, tool: str, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment(client=cast(Client, Timers()))
        environment.info = dataclasses.replace(
            environment.info, workflow_id=f"w-{person}", activity_id=uuid.uuid4().hex, activity_type=tool
        )
        with working_for(person):
            return cast(dict[str, Any], await environment.run(by_name[tool], arguments))

    async with plugin.run_context():
        yield call


async def calendar_of(call: Call, _url: str) -> Things:
    at = {"start": "2027-03-04T10:00:00Z", "end": "2027-03-04T11:00:00Z"}
    made = [await call("ana", "calendar.create_event", title=CANARY, **at) for _ in range(OF_EACH)]
    gone = [await call("ana", "calendar.create_event", title=CANARY, **at) for _ in range(3)]
    kept = await call("ana", "calendar.delete_events", event_ids=[each["event_id"] for each in gone])
    invited = [_invitation(f"uid-{number}", CANARY) for number in range(3)]
    for icalendar in invited:
        await call("ana", "calendar.add_invitation", icalendar=icalendar)
    ids = [each["event_id"] for each in made]
    return {
        "event_id": ids,
        "event_ids": [[each] for each in ids],
        "kept": [kept["kept"]],
        "icalendar": [_invitation(f"uid-{number}", "Tea") for number in range(3)],
        "previous": [{"event_id": each, "title": "Tea", **at, "timezone": "UTC", "attendees": []} for each in ids],
    }


async def contacts_of(call: Call, _url: str) -> Things:
    made = [
        await call("ana", "contacts.add", name=f"{CANARY} {number}", email=f"a{number}@example.com", note=CANARY)
        for number in range(OF_EACH)
    ]
    return {"contact_id": [each["contact_id"] for each in made], "name": ["canary", CANARY]}


async def tasks_of(call: Call, _url: str) -> Things:
    made = [await call("ana", "tasks.add", title=CANARY, list="Groceries") for _ in range(OF_EACH)]
    due = [await call("ana", "tasks.remind", title=CANARY, at="2030-03-04T10:00:00Z") for _ in range(3)]
    gone = await call("ana", "tasks.delete", task_id=made[0]["task_id"])
    ids = [each["task_id"] for each in (*made[1:], *due)]
    kept = [value for key, value in gone.items() if key == "kept" and value]
    return {
        "task_id": ids,
        "task_ids": [[each] for each in ids],
        "kept": kept,
        "list": ["Groceries"],
        "query": ["canary"],
    }


async def email_of(call: Call, url: str) -> Things:
    from activities.email.incoming import parse
    from activities.email.store import MailStore

    mailbox = MailStore(url)
    await mailbox.open()
    ids = [f"<{number}@example.com>" for number in range(OF_EACH)]
    for each in ids:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = "x@example.com", "me@example.com", CANARY, each
        mail.set_content(CANARY)
        mail.add_attachment(f"{CANARY} {each}".encode(), maintype="text", subtype="plain", filename="canary.txt")
        with working_for("ana"):
            await mailbox.deliver(parse(mail.as_bytes(), now=NOON), mail.as_bytes())
    await mailbox.close()
    saved = [await call("ana", "email.save_attachment", message_id=each, number=1) for each in ids[:6]]
    return {
        "message_id": ids,
        "in_reply_to": ids,
        "file_id": [each["file_id"] for each in saved],
        "attachments": [[{"file_id": each["file_id"]}] for each in saved],
        "query": ["canary"],
    }


async def memory_of(call: Call, _url: str) -> Things:
    made = [await call("ana", "memory.remember", text=f"{CANARY} {number}") for number in range(OF_EACH)]
    facts = (await call("ana", "memory.list"))["facts"]
    ids = [each["fact_id"] for each in made]
    words = [{**each, "text": "Tea", "says": ""} for each in facts]
    return {"fact_id": ids, "before": [[each] for each in words], "query": ["canary"]}


def _invitation(uid: str, title: str) -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//x", "METHOD:REQUEST", "BEGIN:VEVENT", f"UID:{uid}"]
    lines += ["DTSTAMP:20261101T100000Z", "DTSTART:20270305T100000Z", "DTEND:20270305T110000Z", f"SUMMARY:{title}"]
    return "\r\n".join([*lines, "ORGANIZER:mailto:x@example.com", "END:VEVENT", "END:VCALENDAR", ""])


ANA_HAS: dict[str, Callable[[Call, str], Awaitable[Things]]] = {
    "calendar": calendar_of, "contacts": contacts_of, "tasks": tasks_of, "email": email_of, "memory": memory_of,
}  # fmt: skip
WORDS: dict[str, Any] = {
    "title": "Tea", "email": "tea@example.com", "name": "Tea", "subject": "Tea", "body": "Tea", "text": "Tea", "to": ["x@example.com"],
    "start": "2027-03-04T00:00:00Z", "end": "2027-03-06T00:00:00Z", "at": "2030-03-04T10:00:00Z",
    "due": "2030-03-04T10:00:00Z", "reminded_at": "2030-03-04T10:00:00Z", "duration_minutes": 30, "folder": "archive",
    "answer": "accept", "list": "Other", "invitation": _invitation("other", "Tea"), "deleted": True,
    "created": True, "saved": True, "all": True, "days": 1, "forgotten": 1, "fact_id": "0" * 32, "number": 1,
}  # fmt: skip


def attempts(spec: ToolSpec, things: Things) -> Iterator[dict[str, Any]]:
    """Yield arguments with each thing of Ana's that the tool can be given; for a tool that takes none, ordinary ones."""
    fields, needed = spec.args_schema.get("properties", {}), spec.args_schema.get("required", [])
    plain = {
        name: "Other" if (spec.name, name) == ("tasks.rename_list", "to") else WORDS[name]
        for name in fields
        if name in WORDS and (name in needed or name not in ("folder", "due"))
    }
    own = [name for name in fields if name in things and (spec.name, name) != ("contacts.add", "name")]
    for number in range(max((len(things[name]) for name in own), default=1)):
        mine = {name: things[name][number % len(things[name])] for name in own if things[name]}
        if spec.name == "email.read_attachment":
            mine.pop(("file_id", "message_id")[number % 2])
        yield {**{name: value for name, value in plain.items() if name not in mine}, **mine}


@asynccontextmanager
async def raw(url: str, person: str) -> AsyncIterator[AsyncConnection]:
    """A connection beside the store, as this person where the server asks."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.set_config("retinue.person", person, True)))
        yield connection
    await engine.dispose()


async def rows_of(person: str, name: str, url: str) -> dict[str, list[Any]]:
    """All that a person has."""
    async with raw(url, person) as connection:
        return {
            table.name: sorted(
                map(repr, (await connection.execute(select(table).where(table.c.person == person))).all())
            )
            for table in tables_of_people(metadata_of(f"activities.{name}.models"))
        }


TRIED: dict[str, int] = {}


@pytest.mark.parametrize("name", CAPABILITIES)
async def test_nobody_sees_or_changes_what_is_anothers_over_any_tool(name: str, database_url: str) -> None:
    """Every tool of the manifest, with every thing of Ana's, used by Ben; the things are enough for 1,000 pairs."""
    async with served(name, database_url) as call:
        things = await ANA_HAS[name](call, database_url)
        before = await rows_of("ana", name, database_url)
        assert CANARY in str(before)
        seen, odd, answered = [], [], 0
        for spec in activities.load(name).CONTRACT.manifest().tools:
            assert spec.annotations.personal
            for arguments in attempts(spec, things):
                TRIED[name] = TRIED.get(name, 0) + 1
                try:
                    answer = json.dumps(await call("ben", spec.name, **arguments))
                    answered += 1
                except ApplicationError as refused:
                    answer = str(refused)
                    if refused.type == "InternalError" or "wrong arguments" in answer:
                        odd.append((spec.name, arguments, answer))
                if "canary" in answer:
                    seen.append((spec.name, arguments, answer))
        assert (seen, odd) == ([], [])
        assert answered > 0
    assert await rows_of("ana", name, database_url) == before


def test_a_thousand_pairs_were_tried() -> None:
    if set(TRIED) == set(CAPABILITIES):
        assert sum(TRIED.values()) >= 2000  # on both kinds of databases


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Store]:
    """A store in which Ana and Ben have a contact each, of the same id."""
    store = Store(database_url, ContactsBase.metadata, owner="contacts")
    async with store:
        for person in ("ana", "ben"):
            with working_for(person):
                async with store.write() as session:
                    session.add(contact(person))
        yield store


def contact(name: str, **fields: Any) -> StoredContact:
    return StoredContact(contact_id="1", name=name, folded_name=name, **fields)


@contextmanager
def without_sessions_wall() -> Iterator[None]:
    """Takes away everything that the session does for people: its conditions, its stamps, and the look at statements."""
    with pytest.MonkeyPatch.context() as patch:
        event.remove(PersonSession, "do_orm_execute", people._restrict)
        event.remove(PersonSession, "before_flush", people._stamp)
        patch.setattr(people, "tables_of_people", lambda _: ())
        try:
            yield
        finally:
            event.listen(PersonSession, "do_orm_execute", people._restrict)
            event.listen(PersonSession, "before_flush", people._stamp)


async def names_seen_by(person: str, url: str) -> list[str]:
    """What a new store shows to a person, whichever walls stand."""
    store = Store(url, ContactsBase.metadata, owner="contacts")
    store._has_people = True
    async with store:
        with working_for(person):
            async with store.read() as session:
                return sorted(await session.scalars(select(col(StoredContact.name))))


async def test_a_session_is_of_one_person_whatever_is_asked(book: Store) -> None:
    with working_for("ben"):
        async with book.write() as session:
            assert (await session.get(StoredContact, "1")).name == "ben"  # type: ignore[union-attr]  # it is there
            merged = await session.merge(contact("bob"))
            await session.flush()
            assert (merged.person, merged.name) == ("ben", "bob")
            changed = await session.exec(update(StoredContact).values(note="of ben"))
            assert changed.rowcount == 1
            counted = await session.execute(select(func.count(), func.max(col(StoredContact.name))))
            assert counted.one() == (1, "bob")
    with working_for("ana"):
        async with book.read() as session:
            mine = await session.get(StoredContact, "1")
            assert mine is not None
            assert (mine.name, mine.note) == ("ana", None)


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT name FROM contact"),
        text("UPDATE contact SET name = 'x' WHERE person = 'ana'"),
        select(StoredContact.__table__),  # type: ignore[attr-defined]  # SQLModel's tables have it
        update(StoredContact.__table__).values(name="x"),  # type: ignore[attr-defined]  # SQLModel's tables have it
        insert(StoredContact.__table__).values(person="ana", contact_id="2", name="x", folded_name="x"),  # type: ignore[attr-defined]  # SQLModel's tables have it
        insert(StoredContact).values(person="ana", contact_id="2", name="x", folded_name="x"),
    ],
    ids=["text", "text-update", "core-select", "core-update", "core-insert", "orm-insert"],
)
async def test_a_statement_that_goes_around_the_condition_is_refused(book: Store, statement: Any) -> None:
    with working_for("ben"):
        for over_connection in (False, True):

            async def around(session: AsyncSession, over_connection: bool = over_connection) -> None:
                await (await session.connection() if over_connection else session).execute(statement)

            with pytest.raises(RuntimeError, match="not bounded to one person"):
                await written(book, around)


async def added(session: AsyncSession) -> None:
    session.add(contact("x", person="ana"))


async def merged(session: AsyncSession) -> None:
    await session.merge(contact("x", person="ana"))


async def given_away(session: AsyncSession) -> None:
    mine = await session.get(StoredContact, "1")
    assert mine is not None
    mine.person = "ana"


async def written(book: Store, write: Callable[[AsyncSession], Awaitable[None]]) -> None:
    async with book.write() as session:
        await write(session)


@pytest.mark.parametrize("write", [added, merged, given_away])
async def test_a_row_of_another_person_is_not_written(
    book: Store, write: Callable[[AsyncSession], Awaitable[None]]
) -> None:
    with working_for("ben"), pytest.raises(ServiceRefused, match="another person"):
        await written(book, write)


async def test_without_a_person_no_row_is_reached_and_the_ledger_is(
    book: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that an older workflow started has no header: it is refused in words, unless there is only one person."""
    monkeypatch.delenv("RETINUE_ONLY_PERSON")
    for statement in (select(StoredContact), update(StoredContact).values(name="x")):

        async def reached(session: AsyncSession, statement: Any = statement) -> None:
            await session.exec(statement)

        with pytest.raises(ServiceRefused, match="for which person"):
            await written(book, reached)
    async with book.read() as session:
        assert (await (await session.connection()).execute(text("SELECT count(*) FROM ledger"))).scalar_one() == 0
    monkeypatch.setenv("RETINUE_ONLY_PERSON", "ana")
    async with book.read() as session:
        assert [each.name for each in (await session.scalars(select(StoredContact)))] == ["ana"]


async def test_each_wall_holds_without_the_other(postgresql_url: str) -> None:
    """Row-level security holds where the session filters nothing, and the session where row-level security is off."""
    async with Store(postgresql_url, ContactsBase.metadata, owner="contacts") as store:
        for person in ("ana", "ben"):
            with working_for(person):
                async with store.write() as session:
                    session.add(contact(person))

    with without_sessions_wall():
        assert await names_seen_by("ben", postgresql_url) == ["ben"]
    async with raw(postgresql_url, "ben") as connection:
        assert (await connection.execute(text("UPDATE contact SET note = 'x'"))).rowcount == 1
        assert (await connection.execute(text("DELETE FROM contact WHERE person = 'ana'"))).rowcount == 0
    for person in ("", UNCLAIMED, "carl"):
        async with raw(postgresql_url, person) as connection:
            assert (await connection.execute(text("SELECT * FROM contact"))).all() == []
    with pytest.raises(DBAPIError, match="row-level security"):
        async with raw(postgresql_url, "ben") as connection:
            await connection.execute(text("UPDATE contact SET person = 'ana'"))

    async with raw(postgresql_url, "") as connection:
        await connection.execute(text("ALTER TABLE contact DISABLE ROW LEVEL SECURITY"))
    assert await names_seen_by("ben", postgresql_url) == ["ben"]
    with without_sessions_wall():
        assert await names_seen_by("ben", postgresql_url) == ["ana", "ben"], "this test can fail"


@pytest.mark.parametrize("name", CAPABILITIES)
async def test_every_table_is_behind_the_second_wall(name: str, postgresql_url: str) -> None:
    async with Store(postgresql_url, metadata_of(f"activities.{name}.models"), owner=name):
        pass
    async with raw(postgresql_url, "") as connection:
        asked = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND relnamespace = current_schema()::regnamespace"
        found = {row[0] for row in await connection.execute(text(asked))}
    assert found == {table.name for table in tables_of_people(metadata_of(f"activities.{name}.models"))}


async def test_what_is_nobodys_is_seen_by_nobody_until_it_is_claimed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETINUE_ONLY_PERSON")
    metadata = EmailBase.metadata
    async with Store(database_url, metadata, owner="email") as store:
        with working_for("ana"):
            async with store.write() as session:
                session.add(mail("<1@x>", "hers"))
        async with raw(database_url, UNCLAIMED) as connection:
            for number in (1, 2):
                row = mail(f"<{number}@x>", "old", person=UNCLAIMED).model_dump()
                await connection.execute(insert(Message.__table__).values(row))  # type: ignore[attr-defined]  # SQLModel's tables have it
        for person in ("ana", "ben"):
            with working_for(person):
                async with store.read() as session:
                    found = (await session.scalars(select(col(Message.subject)))).all()
                    assert found == (["hers"] if person == "ana" else [])
        assert await store.unclaimed() == 2
        assert await store.claim("ana") == 1
        assert await store.unclaimed() == 1  # she has a mail of that Message-ID
        with working_for("ana"):
            async with store.read() as session:
                now = await session.scalars(select(col(Message.subject)).order_by(col(Message.message_id)))
                assert now.all() == ["hers", "old"]
        async with raw(database_url, "ben") as connection:
            assert (await connection.execute(select(Source.__table__))).all() == []  # type: ignore[attr-defined]  # SQLModel's tables have it


def mail(message_id: str, subject: str, **fields: Any) -> Message:
    return Message(
        message_id=message_id, folder=Folder.INBOX, sender="x@example.com", subject=subject, date=NOON, **fields
    )


OLD = ROOT / "tests" / "retinue" / "databases_before_migrations"


@pytest.mark.parametrize("only", ["", "anna"])
async def test_a_database_of_before_is_the_only_persons_or_waits_for_the_operator(
    only: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sqlite3

    file = tmp_path / "calendar.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript((OLD / "calendar.sql").read_text(encoding="utf-8"))
    monkeypatch.setenv("RETINUE_ONLY_PERSON", only)
    monkeypatch.setenv("CALENDAR_DATABASE_URL", f"sqlite+aiosqlite:///{file}")

    async def titles(person: str) -> list[str]:
        async with Store(f"sqlite+aiosqlite:///{file}", CalendarBase.metadata, owner="calendar") as store:
            with working_for(person):
                async with store.read() as session:
                    return list(await session.scalars(select(col(StoredEvent.title))))

    assert await titles("anna") == (["Dentist"] if only else [])
    said = [finding.found for finding in doctor.examine(tmp_path)]
    assert [each.split(" are ")[0] for each in said] == ([] if only else ["1 rows"])
    assert ("1 rows of calendar are nobody's" in caplog.text) is not bool(only)
    assert await unclaimed.claim("calendar", "anna") == (0 if only else 1)
    assert (await titles("anna"), await titles("ben"), list(doctor.examine(tmp_path))) == (["Dentist"], [], [])


def test_all_tables_of_people_are_known() -> None:
    assert {entity.__name__ for entity in OfPerson.__subclasses__()} >= {"Message", "StoredEvent", "StoredContact"}
