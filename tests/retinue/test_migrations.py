"""Migrations on both databases: old ones come along with all that is in them, newer ones stay untouched."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.testing import ActivityEnvironment

from retinue.database import migrations
from retinue.database.ledger_table import LEDGER
from retinue.errors import ServiceRefused, ServiceUnavailable
from retinue.ledger import Ledger
from retinue.settings import ROOT
from retinue.store import Store

CAPABILITIES = sorted(file.parent.name for file in (ROOT / "activities").glob("*/models.py"))
OWNERS = ["api", *CAPABILITIES]
OLD = Path(__file__).parent / "databases_before_migrations"
OF_OLD = sorted(file.stem for file in OLD.glob("*.sql"))


def metadata_of(owner: str) -> MetaData:
    tables = {"api": "api.storage.tables", "ledger": "retinue.database.ledger_table"}
    return migrations.metadata_of(tables.get(owner, f"activities.{owner}.models"))


def store_of(owner: str, url: str) -> Store:
    return Store(url, metadata_of(owner), owner=owner, with_ledger=has_ledger(owner))


def has_ledger(owner: str) -> bool:
    return owner not in {"api", "reasoning"}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Callable[..., Any]]:
    """Runs functions of a synchronous connection, in one transaction that commits."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        yield connection.run_sync
    await engine.dispose()


async def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    async with connected(url) as run:
        return [tuple(row) for row in await run(lambda connection: connection.execute(text(query)).all())]


async def opened_once(owner: str, url: str) -> None:
    store = store_of(owner, url)
    await store.open()
    await store.close()


@pytest.mark.parametrize("owner", [*OWNERS, "ledger"])
def test_scripts_follow_one_after_the_other_and_are_named_after_their_revision(owner: str) -> None:
    metadata = metadata_of(owner)
    folder = metadata.info["migrations"]
    known = migrations.revisions(folder)
    assert known == [f"{owner}_{number:04}" for number in range(1, len(known) + 1)]
    scripts = {script.revision: script for script in migrations._scripts(folder).walk_revisions()}
    assert list(scripts) == known[::-1]
    assert [scripts[revision].down_revision for revision in known] == [None, *known[:-1]]
    assert [Path(scripts[revision].path).name.startswith(f"{revision}_") for revision in known] == [True] * len(known)


@pytest.mark.parametrize("owner", [*OWNERS, "ledger"])
async def test_all_scripts_together_make_the_models(owner: str, database_url: str) -> None:
    """Whoever changes a model and writes no script sees it here."""
    metadata = metadata_of(owner)
    async with connected(database_url) as run:
        await run(migrations.upgrade, metadata)
        assert await run(migrations.differences, metadata) == []


@pytest.mark.parametrize("owner", OWNERS)
async def test_an_empty_database_gets_the_same_tables_at_once(owner: str, database_url: str) -> None:
    await opened_once(owner, database_url)
    metadata = metadata_of(owner)
    async with connected(database_url) as run:
        assert await run(migrations.differences, metadata) == []
        assert await run(migrations.up_to_date, metadata)
        assert await run(migrations.up_to_date, LEDGER.metadata) is has_ledger(owner)


@pytest.mark.parametrize("owner", OWNERS)
def test_no_capability_has_anothers_table(owner: str) -> None:
    others = {name for other in {*OWNERS, "ledger"} - {owner} for name in metadata_of(other).tables}
    assert set(metadata_of(owner).tables) & others == set()


@pytest.fixture
def old_database(tmp_path: Path) -> Callable[[str], str]:
    """A database as the last version without migrations made and filled it."""

    def make(owner: str) -> str:
        file = tmp_path / f"{owner}.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript((OLD / f"{owner}.sql").read_text(encoding="utf-8"))
        return f"sqlite+aiosqlite:///{file}"

    return make


def content(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, without the columns that came later."""
    names = [name for name in inspect(connection).get_table_names() if not name.startswith("alembic_version")]
    later = {"state", "attempt", "reminder_problem", "days", "sequence", "modified_at", "series_uid"}
    later |= {"list_name", "list_key", "repeats", "repeats_from", "timer", "follows", "note"}
    later |= {"timezone"} if "task" in names else set()
    later |= set() if "fact" in names else {"person"}
    columns = {
        name: [f'"{column["name"]}"' for column in inspect(connection).get_columns(name) if column["name"] not in later]
        for name in names
    }
    return {
        name: [tuple(row) for row in connection.execute(text(f'SELECT {", ".join(columns[name])} FROM "{name}"'))]
        for name in names
    }


@pytest.mark.parametrize("owner", OF_OLD)
async def test_a_database_from_before_comes_along_with_all_that_is_in_it(
    owner: str, old_database: Callable[[str], str]
) -> None:
    url = old_database(owner)
    async with connected(url) as run:
        before = await run(content)
    await opened_once(owner, url)
    async with connected(url) as run:
        now = await run(content)
        assert {name: now[name] for name in before} == before
        assert await run(migrations.differences, metadata_of(owner)) == []
        assert await run(migrations.up_to_date, metadata_of(owner))
    assert sum(map(len, before.values())) >= 1


class Word(BaseModel):
    word: str


async def test_an_effect_that_was_done_before_is_not_done_again(old_database: Callable[[str], str]) -> None:
    """The ledger's rows from before count as done, for a step that comes again after the update."""
    url = old_database("contacts")
    store = store_of("contacts", url)
    await store.open()
    done = (await rows(url, "SELECT key, args_hash, state FROM ledger"))[0]
    assert done[2] == "done"
    async with connected(url) as run:
        await run(
            lambda connection: connection.execute(
                text("UPDATE ledger SET args_hash = :hash, result = :result"),
                {"hash": _hash_of(Word(word="asked")), "result": '{"word": "before"}'},
            )
        )

    async def effect(session: AsyncSession) -> Word:
        return Word(word="again")

    environment = ActivityEnvironment()
    workflow, _, step = done[0].partition("/")
    environment.info = dataclasses.replace(environment.info, workflow_id=workflow, activity_id=step)

    async def tool() -> Word:
        return await Ledger(store).once(Word(word="asked"), Word, effect)

    assert (await environment.run(tool)).word == "before"
    await store.close()


def _hash_of(arguments: BaseModel) -> str:
    from retinue.ledger import _hash

    return _hash(arguments)


async def test_a_database_of_the_days_in_between_comes_along_too(old_database: Callable[[str], str]) -> None:
    """Its ledger has the new columns, and no revision."""
    url = old_database("tasks")
    async with connected(url) as run:
        for column in ("state VARCHAR(10) DEFAULT 'done' NOT NULL", "attempt VARCHAR(32) DEFAULT '' NOT NULL"):
            await run(lambda connection, column=column: connection.execute(text(f"ALTER TABLE ledger ADD {column}")))
    await opened_once("tasks", url)
    async with connected(url) as run:
        assert await run(migrations.differences, LEDGER.metadata) == []


@pytest.mark.parametrize("table", ["alembic_version", "alembic_version_ledger"])
async def test_a_newer_database_is_refused_and_left_as_it_is(table: str, database_url: str) -> None:
    await opened_once("tasks", database_url)
    async with connected(database_url) as run:
        await run(lambda connection: connection.execute(text(f"UPDATE {table} SET version_num = 'tasks_9999'")))
        await run(lambda connection: connection.execute(text("DROP TABLE task")))
        before = await run(content)
    with pytest.raises(ServiceRefused, match="tasks_9999"):
        await opened_once("tasks", database_url)
    async with connected(database_url) as run:
        assert await run(content) == before


async def test_anothers_database_is_refused(database_url: str) -> None:
    await opened_once("contacts", database_url)
    with pytest.raises(ServiceRefused, match=r"contacts_\d{4}") as refused:
        await opened_once("tasks", database_url)
    assert "its own database" in (refused.value.hint or "")


SCRIPT = '''"""Step {number}."""

import sqlalchemy as sa
from alembic import op

revision = "thing_{number:04}"
down_revision = {down!r}


def upgrade() -> None:
    """Step {number}."""
    {body}
'''


@pytest.fixture
def thing(tmp_path: Path) -> Callable[..., MetaData]:
    """A table of a capability that only tests have, with scripts of these bodies."""
    folder = tmp_path / "migrations"
    folder.mkdir()

    def make(*bodies: str) -> MetaData:
        for number, body in enumerate(bodies, 1):
            down = f"thing_{number - 1:04}" if number > 1 else None
            script = SCRIPT.format(number=number, down=down, body=body)
            (folder / f"thing_{number:04}_step.py").write_text(script)
        metadata = migrations.migrated(folder)
        Table("thing", metadata, Column("id", Integer, primary_key=True))
        return metadata

    return make


FIRST = 'op.create_table("thing", sa.Column("id", sa.Integer(), primary_key=True))'


async def test_a_migration_that_breaks_in_the_middle_changes_nothing(
    thing: Callable[..., MetaData], database_url: str
) -> None:
    """The second script adds a column and then fails: the column is not there, and neither is a revision."""
    store = Store(database_url, thing(FIRST), owner="thing")
    await store.open()
    await store.close()
    broken = 'op.add_column("thing", sa.Column("more", sa.Text())); op.execute("no sql")'
    with pytest.raises(ServiceUnavailable):
        await Store(database_url, thing(FIRST, broken), owner="thing").open()
    assert await rows(database_url, "SELECT version_num FROM alembic_version") == [("thing_0001",)]
    with pytest.raises(DBAPIError):
        await rows(database_url, "SELECT more FROM thing")


async def test_a_script_is_written_from_what_changed(thing: Callable[..., MetaData], database_url: str) -> None:
    metadata = thing(FIRST)
    async with connected(database_url) as run:
        await run(migrations.upgrade, metadata)
    metadata.tables["thing"].append_column(Column("more", Integer, index=True))
    file = migrations.write_script("thing", metadata, "Things have more.")
    assert file.name == "thing_0002_things_have_more.py"
    async with connected(database_url) as run:
        await run(migrations.upgrade, metadata)
        assert await run(migrations.differences, metadata) == []


OPEN = """
import asyncio, sys
from retinue.database import migrations
from retinue.store import Store

async def main(url, owner):
    store = Store(url, migrations.metadata_of(f"activities.{owner}.models"), owner=owner)
    await store.open()
    await store.close()

asyncio.run(main(*sys.argv[1:]))
print("alembic" in sys.modules)
"""


def start_opening(url: str, owner: str = "tasks") -> subprocess.Popen[str]:
    """A process that opens the store, as a worker does when it starts; it prints whether it imported Alembic."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", OPEN, url, owner],
        env={"PYTHONPATH": str(ROOT), "RETINUE_ONLY_PERSON": "local"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcomes(processes: list[subprocess.Popen[str]]) -> list[tuple[str, int, str]]:
    said = [process.communicate(timeout=50) for process in processes]
    return [(out.strip(), process.returncode, err) for (out, err), process in zip(said, processes, strict=True)]


async def test_workers_that_start_at_once_on_an_empty_database_all_succeed(database_url: str) -> None:
    """None of them needs Alembic for it."""
    assert outcomes([start_opening(database_url) for _ in range(4)]) == [("False", 0, "")] * 4
    assert await rows(database_url, "SELECT version_num FROM alembic_version") == [(_head("tasks"),)]
    assert await rows(database_url, "SELECT version_num FROM alembic_version_ledger") == [(_head("ledger"),)]


def test_workers_that_start_at_once_on_an_old_database_all_succeed(old_database: Callable[[str], str]) -> None:
    url = old_database("tasks")
    found = outcomes([start_opening(url) for _ in range(4)])
    assert [(code, err) for _, code, err in found] == [(0, "")] * 4
    assert outcomes([start_opening(url)]) == [("False", 0, "")]


def _head(owner: str) -> str:
    return migrations.newest(metadata_of(owner).info["migrations"])
