"""Data of before people were told apart, on PostgreSQL: they come along, belong to nobody, and can be claimed (ADR 0033).

The databases are those of `tests/retinue/databases_before_migrations`, brought to the last revision without people by the
scripts, and copied to PostgreSQL at that same revision.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import MetaData, func, insert, inspect, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

import activities
from retinue.database import migrations
from retinue.database.ledger_table import LEDGER
from retinue.database.migrations import metadata_of
from retinue.database.people import tables_of_people
from retinue.settings import ROOT
from retinue.store import Store
from retinue.temporal.tenant_header import working_for
from retinue.testing import activities_by_name
from tests.activities.tasks.conftest import Timers
from workers import unclaimed

OLD = ROOT / "tests" / "retinue" / "databases_before_migrations"
LAST_WITHOUT = {"calendar": "calendar_0004", "contacts": "contacts_0003", "email": "email_0004", "tasks": "tasks_0003"}
MEMORY: dict[str, dict[str, Any]] = {
    "fact": {
        "fact_id": "f1",
        "person": "anna",
        "kind": "fact",
        "text": "Likes tea",
        "noted_at": datetime(2026, 11, 20, 10, tzinfo=UTC),
        "how": "said",
        "through": "",
    },
    "memory_owner": {"person": "anna", "revision": 3},
}


def upgrade_to(connection: Connection, metadata: MetaData, revision: str) -> None:
    """Run the scripts up to a revision, as an older version did."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    scripts = migrations._scripts(metadata.info["migrations"])
    steps = {
        "fn": lambda heads, _: scripts._upgrade_revs(revision, heads),
        "version_table": metadata.info["version_table"],
    }
    context = MigrationContext.configure(connection, opts=steps)
    with Operations.context(context):
        context.run_migrations()


def reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def all_rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    names = [name for name in inspect(connection).get_table_names() if not name.startswith("alembic_version")]
    tables = reflected(connection).tables
    return {name: [dict(row._mapping) for row in connection.execute(select(tables[name]))] for name in names}


def fill(connection: Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    tables = reflected(connection).tables
    for table in reflected(connection).sorted_tables:
        if rows.get(table.name):
            connection.execute(insert(tables[table.name]), rows[table.name])


async def old_rows(name: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of the old database, at the last revision without people, read from SQLite."""
    file = folder / f"{name}.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript((OLD / f"{name}.sql").read_text(encoding="utf-8"))
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.begin() as connection:
        await connection.run_sync(upgrade_to, metadata_of(f"activities.{name}.models"), LAST_WITHOUT[name])
        await connection.run_sync(migrations.upgrade, LEDGER.metadata)
        found = await connection.run_sync(all_rows)
    await engine.dispose()
    return {table: [_in_utc(row) for row in rows] for table, rows in found.items()}


def _in_utc(row: dict[str, Any]) -> dict[str, Any]:
    """SQLite drops the zone of times, which is UTC."""
    return {key: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for key, value in row.items()}


async def old_database(name: str, url: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A database on PostgreSQL as the last version without people left it."""
    engine = create_async_engine(url)
    revision = LAST_WITHOUT.get(name, f"{name}_0001")
    async with engine.begin() as connection:
        await connection.run_sync(upgrade_to, metadata_of(f"activities.{name}.models"), revision)
        await connection.run_sync(migrations.upgrade, LEDGER.metadata)
        await connection.run_sync(fill, rows)
    await engine.dispose()


async def counted(name: str, url: str, person: str) -> int:
    """How many rows of a capability's tables PostgreSQL shows to a person, without our sessions."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(select(func.set_config("retinue.person", person, True)))
        tables = [table.name for table in tables_of_people(metadata_of(f"activities.{name}.models"))]
        counts = [(await connection.execute(text(f'SELECT count(*) FROM "{table}"'))).scalar_one() for table in tables]
    await engine.dispose()
    return int(sum(counts))


def of_people(name: str, rows: dict[str, list[dict[str, Any]]]) -> int:
    return sum(len(rows.get(table.name, [])) for table in tables_of_people(metadata_of(f"activities.{name}.models")))


@pytest.mark.parametrize("only", ["", "anna"])
@pytest.mark.parametrize("name", sorted(LAST_WITHOUT))
async def test_rows_of_before_come_along_and_are_claimed_on_postgresql(
    name: str, only: str, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINUE_ONLY_PERSON", only)
    monkeypatch.setenv(f"{name.upper()}_DATABASE_URL", postgresql_url)
    rows = await old_rows(name, tmp_path)
    await old_database(name, postgresql_url, rows)
    before = of_people(name, rows)
    assert before >= 1
    metadata = metadata_of(f"activities.{name}.models")
    async with Store(postgresql_url, metadata, owner=name) as store:
        assert await store.unclaimed() == (0 if only else before)
    assert await counted(name, postgresql_url, "anna") == (before if only else 0)
    assert await counted(name, postgresql_url, "ben") == 0
    assert await unclaimed.claim(name, "anna") == (0 if only else before)
    assert await unclaimed.claim(name, "ben") == 0
    assert [await counted(name, postgresql_url, person) for person in ("anna", "ben", "*", "")] == [before, 0, 0, 0]
    engine = create_async_engine(postgresql_url)
    async with engine.begin() as connection:
        assert await connection.run_sync(migrations.differences, metadata) == []
        ledger = (await connection.run_sync(all_rows))["ledger"]
    await engine.dispose()
    assert ledger == rows["ledger"]


@pytest.mark.parametrize(
    ("name", "tool", "arguments", "says"),
    [
        (
            "calendar",
            "calendar.list_events",
            {"start": "2026-01-01T00:00:00Z", "end": "2027-12-31T00:00:00Z"},
            "Dentist",
        ),
        ("contacts", "contacts.list", {}, "jorg@example.com"),
        ("email", "email.search", {"folder": "sent"}, "Lunch"),
        ("tasks", "tasks.list", {}, "Water the plants"),
    ],
)
async def test_their_person_finds_them_by_the_tools(
    name: str, tool: str, arguments: dict[str, Any], says: str, postgresql_url: str, tmp_path: Path
) -> None:
    """The first start after the update gives all to the only person; nobody else finds anything."""
    await old_database(name, postgresql_url, await old_rows(name, tmp_path))
    module = activities.load(name)
    settings = next(value for key, value in vars(module).items() if key.lower() == f"{name}settings")
    plugin = module.plugin(settings(database_url=postgresql_url))
    found = {}
    async with plugin.run_context():
        for person in ("local", "ben"):
            environment = ActivityEnvironment(client=cast(Client, Timers()))
            environment.info = dataclasses.replace(environment.info, activity_id=uuid.uuid4().hex, activity_type=tool)
            with working_for(person):
                found[person] = str(await environment.run(activities_by_name(plugin.activities)[tool], arguments))
    assert says in found["local"]
    assert says not in found["ben"]


async def test_what_was_remembered_before_stays_its_persons(postgresql_url: str) -> None:
    """Memory had people before, in a key of its own form."""
    await old_database("memory", postgresql_url, {name: [row] for name, row in MEMORY.items()})
    async with Store(postgresql_url, metadata_of("activities.memory.models"), owner="memory") as store:
        assert await store.unclaimed() == 0
    assert [await counted("memory", postgresql_url, person) for person in ("anna", "ben", "local")] == [2, 0, 0]
