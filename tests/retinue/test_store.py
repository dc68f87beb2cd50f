"""One capability's database on both kinds: writes one after the other, words for its failures, bounds for waiting."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Executable, Integer, MetaData, Result, Row, String, Table, insert, select, text, update
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.testing import ActivityEnvironment

from retinue import store as store_module
from retinue.errors import InvalidArguments, RetinueError, ServiceUnavailable
from retinue.ledger import Ledger
from retinue.store import Store, UtcDateTime
from tests.databases.postgresql import PASSWORD, PostgreSQL, execute

METADATA = MetaData()
COUNTER = Table(
    "counter",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("value", Integer),
    Column("word", String(10)),
    Column("at", UtcDateTime),
)
Make = Callable[[str], Awaitable[Store]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Opens stores that are closed after the test."""
    made: list[Store] = []

    async def one(url: str) -> Store:
        made.append(Store(url, METADATA, owner="test"))
        await made[-1].open()
        return made[-1]

    yield one
    for store in made:
        await store.close()


@pytest.fixture
async def store(make: Make, database_url: str) -> Store:
    return await make(database_url)


async def do(session: AsyncSession, statement: Executable) -> Result[Any]:
    return await (await session.connection()).execute(statement)


async def put(store: Store, **values: object) -> None:
    async with store.write() as session:
        await do(session, insert(COUNTER).values(**values))


async def got(store: Store) -> Row[Any]:
    async with store.read() as session:
        return (await do(session, select(COUNTER))).one()


@pytest.mark.parametrize("writers", [1, 2], ids=["one worker", "two workers"])
async def test_what_a_writer_reads_stays_true_until_it_commits(make: Make, database_url: str, writers: int) -> None:
    """100 tasks read a number and write the next: none is lost."""
    stores = [await make(database_url) for _ in range(writers)]
    await put(stores[0], id=1, value=0)

    async def add(number: int) -> None:
        async with stores[number % writers].write() as session:
            value = (await do(session, select(COUNTER.c.value))).scalar_one()
            await asyncio.sleep(0)
            await do(session, update(COUNTER).values(value=value + 1))

    await asyncio.gather(*(add(number) for number in range(100)))
    assert (await got(stores[0])).value == 100


async def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    await put(store, id=1, value=1)
    async with store.write() as session:
        await do(session, update(COUNTER).values(value=2))
        assert (await asyncio.wait_for(got(store), 2)).value == 1


async def test_writers_of_one_process_write_in_the_order_in_which_they_came(
    make: Make, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them together take far longer than one waits for another process."""
    monkeypatch.setattr(store_module, "_PATIENCE", 0.1)
    store = await make(database_url)
    order: list[int] = []

    async def write(number: int) -> None:
        async with store.write() as session:
            order.append(number)
            await do(session, insert(COUNTER).values(id=number))
            await asyncio.sleep(0.05)

    await asyncio.gather(*(write(number) for number in range(20)))
    assert order == list(range(20))


@pytest.mark.usefixtures("impatient")
async def test_a_writer_whose_turn_does_not_come_is_told(store: Store) -> None:
    async with store.write():
        with pytest.raises(ServiceUnavailable, match="the database of test is busy"):
            await put(store, id=1)
    await put(store, id=1)


async def test_two_capabilities_in_one_database_do_not_wait_for_each_other(make: Make, postgresql_url: str) -> None:
    store, other = await make(postgresql_url), Store(postgresql_url, METADATA, owner="other")
    await other.open()
    async with store.write() as session:
        await do(session, select(COUNTER))
        await asyncio.wait_for(put(other, id=7), 2)
    await other.close()


@pytest.mark.parametrize("hours", [-11, 0, 5.5])
async def test_times_come_back_in_utc_whatever_their_zone(store: Store, hours: float) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=hours)))
    await put(store, id=1, at=moment)
    found = (await got(store)).at
    assert (found, found.utcoffset()) == (moment, timedelta())


async def test_a_time_without_zone_is_a_bug_and_no_outage(store: Store) -> None:
    with pytest.raises(Exception, match="needs a time zone") as refused:
        await put(store, id=1, at=datetime(2026, 3, 29))  # noqa: DTZ001  # that is what is refused
    assert not isinstance(refused.value, RetinueError)


async def test_twenty_attempts_of_one_step_make_one_effect(make: Make, database_url: str) -> None:
    """Ten in each of two workers; the ledger's key and the write lock together."""
    stores = [await make(database_url) for _ in range(2)]
    acted: list[int] = []

    class Word(BaseModel):
        word: str

    async def attempt(number: int) -> Word:
        async def effect(session: AsyncSession) -> Word:
            await do(session, insert(COUNTER).values(value=number))
            acted.append(number)
            return Word(word=str(number))

        async def tool() -> Word:
            return await Ledger(stores[number % 2]).once(Word(word="asked"), Word, effect)

        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, workflow_id="w", activity_id="s1")
        return await environment.run(tool)

    words = {word.word for word in await asyncio.gather(*(attempt(number) for number in range(20)))}
    assert words == {str(acted[0])}
    assert (await got(stores[0])).value == acted[0]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test can wait for."""
    monkeypatch.setattr(store_module, "_PATIENCE", 0.2)
    monkeypatch.setattr(store_module, "_MIGRATING_PATIENCE", 0.3)
    monkeypatch.setattr(store_module, "_STATEMENT_TIMEOUT", 0.5)
    monkeypatch.setattr(store_module, "_SILENCE", 1.0)
    monkeypatch.setattr(store_module, "_POOL_TIMEOUT", 0.3)


@pytest.mark.usefixtures("impatient")
async def test_a_locked_database_is_said_and_works_again(make: Make, database_url: str) -> None:
    store, holder = await make(database_url), await make(database_url)
    async with holder.write():
        with pytest.raises(ServiceUnavailable, match="another process holds it"):
            await put(store, id=1)
    await put(store, id=1)


@pytest.fixture
def being_made(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """What another process does that opened the same new file a moment before; SQLite lets nobody wait for it."""
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        yield other


async def test_a_new_file_that_another_process_makes_is_waited_for(
    make: Make, tmp_path: Path, being_made: sqlite3.Connection
) -> None:
    opening = asyncio.ensure_future(make(f"sqlite+aiosqlite:///{tmp_path}/new.db"))
    await asyncio.sleep(0.3)
    being_made.execute("ROLLBACK")
    store = await opening
    await put(store, id=1)
    assert (await got(store)).id == 1


@pytest.mark.usefixtures("impatient", "being_made")
async def test_a_new_file_that_is_never_let_go_is_said(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="another process holds it"):
        await make(f"sqlite+aiosqlite:///{tmp_path}/new.db")


@pytest.mark.usefixtures("impatient")
async def test_more_at_once_than_connections_is_said(make: Make, postgresql_url: str) -> None:
    store = await make(postgresql_url)
    away = asyncio.Event()

    async def hold() -> None:
        async with store.read() as session:
            await do(session, select(COUNTER))
            await away.wait()

    holders = [asyncio.ensure_future(hold()) for _ in range(15)]
    await asyncio.sleep(0.5)
    with pytest.raises(ServiceUnavailable, match="is busy"):
        await got(store)
    away.set()
    await asyncio.gather(*holders)


@pytest.mark.usefixtures("impatient")
async def test_a_statement_that_takes_too_long_is_ended(make: Make, postgresql_url: str) -> None:
    store = await make(postgresql_url)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="it took too long"):
        async with store.read() as session:
            await do(session, text("SELECT pg_sleep(20)"))
    assert time.monotonic() - started < 3


async def put_in_time(store: Store, **values: Any) -> None:
    """Write as soon as whoever holds the database lets it go, within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(ServiceUnavailable):
            return await put(store, **values)
    return await put(store, **values)


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_writer_loses_its_lock(make: Make, postgresql_url: str) -> None:
    """A worker that stands still in the middle of a transaction holds the others up for a bounded time only."""
    frozen, store = await make(postgresql_url), await make(postgresql_url)

    async def freeze() -> None:
        async with frozen.write() as session:
            await do(session, insert(COUNTER).values(id=1))
            await put_in_time(store, id=2)

    with pytest.raises(ServiceUnavailable, match="the connection to it broke"):
        await freeze()
    assert (await got(store)).id == 2


CUT_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
)


async def test_a_connection_that_broke_while_nobody_used_it_is_replaced(make: Make, postgresql_url: str) -> None:
    store = await make(postgresql_url)
    await put(store, id=1)
    await execute(postgresql_url, CUT_OFF)
    assert (await got(store)).id == 1


async def test_a_connection_that_breaks_in_the_middle_is_said_and_nothing_is_written(
    make: Make, postgresql_url: str
) -> None:
    store = await make(postgresql_url)

    async def work() -> None:
        async with store.write() as session:
            await do(session, insert(COUNTER).values(id=1))
            await execute(postgresql_url, CUT_OFF)
            await do(session, insert(COUNTER).values(id=2))

    with pytest.raises(ServiceUnavailable, match=r"the connection to it broke|is stopping"):
        await work()
    await put(store, id=3)
    assert (await got(store)).id == 3


async def refused(url: str) -> ServiceUnavailable:
    store = Store(url, METADATA, owner="test")
    with pytest.raises(ServiceUnavailable) as error:
        await store.open()
    await store.close()
    return error.value


async def test_a_server_that_is_down_is_said(postgresql: PostgreSQL) -> None:
    nowhere = dataclasses.replace(postgresql, port=1)
    assert "cannot be reached" in (await refused(nowhere.address("x"))).message


async def test_a_server_that_is_silent_is_said(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CONNECT_TIMEOUT", 1.0)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    silent = dataclasses.replace(postgresql, port=server.sockets[0].getsockname()[1])
    assert "does not answer" in (await refused(silent.address("x"))).message
    server.close()


async def test_a_missing_database_is_said(postgresql: PostgreSQL) -> None:
    assert "no database of that name" in (await refused(postgresql.address("nowhere"))).message


async def test_a_wrong_password_is_said_and_no_password_shown(
    postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        error = await refused(postgresql.address(password="canary-wrong"))
    assert "refuses the user or the password" in error.message
    logging.getLogger("test").error("as a worker that dies says it", exc_info=error)
    assert "canary" not in caplog.text + str(error) + repr(error)


async def test_errors_show_neither_rows_nor_passwords(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the statement carried: a mail's text is nobody's business, not even in a trace."""
    statement = text("INSERT INTO nowhere VALUES (:word)").bindparams(word="canary")
    with pytest.raises(ServiceUnavailable) as error:
        await run(store, statement)
    logging.getLogger("test").error("as a worker that dies says it", exc_info=error.value)
    assert "INSERT INTO nowhere" in caplog.text
    assert [word for word in ("canary", PASSWORD) if word in caplog.text] == []


async def run(store: Store, statement: Executable) -> None:
    async with store.write() as session:
        await do(session, statement)


@pytest.mark.parametrize("word", ["a\x00b", "longer than ten"])
async def test_what_postgresql_cannot_keep_is_refused_for_good(make: Make, postgresql_url: str, word: str) -> None:
    store = await make(postgresql_url)
    with pytest.raises(InvalidArguments, match="cannot keep"):
        await put(store, id=1, word=word)


async def test_a_read_only_server_is_said(make: Make, postgresql_url: str) -> None:
    store = await make(postgresql_url)
    await execute(postgresql_url, "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on", CUT_OFF)
    with pytest.raises(ServiceUnavailable, match="it is read-only"):
        await put(store, id=1)


async def test_a_read_only_file_is_said(make: Make, tmp_path: Path) -> None:
    """Opened read-only, because root may write whatever a file's mode says."""
    await make(f"sqlite+aiosqlite:///{tmp_path}/x.db")
    reading = Store(f"sqlite+aiosqlite:///file:{tmp_path}/x.db?mode=ro&uri=true", METADATA, owner="test")
    await reading.open()
    with pytest.raises(ServiceUnavailable, match="its file is read-only"):
        await put(reading, id=1)
    await reading.close()


async def test_a_full_disk_is_said_and_nothing_is_half_written(make: Make, tmp_path: Path) -> None:
    store = await make(f"sqlite+aiosqlite:///{tmp_path}/x.db")

    async def fill() -> None:
        async with store.write() as session:
            await do(session, text("PRAGMA max_page_count = 20"))
            for number in range(100):
                await do(session, insert(COUNTER).values(id=number, word="x" * 4000))

    with pytest.raises(ServiceUnavailable, match="its disk is full"):
        await fill()
    with sqlite3.connect(tmp_path / "x.db") as database:
        assert database.execute("SELECT count(*) FROM counter").fetchone() == (0,)


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    assert "its file is no database" in (await refused(f"sqlite+aiosqlite:///{tmp_path}/x.db")).message


async def test_a_folder_in_place_of_the_file_is_said(tmp_path: Path) -> None:
    assert "its file cannot be opened" in (await refused(f"sqlite+aiosqlite:///{tmp_path}")).message


async def test_a_folder_that_cannot_be_made_is_said() -> None:
    assert "folder" in (await refused("sqlite+aiosqlite:////dev/null/x.db")).message


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://h/x", "postgresql+asyncpg"),
        ("postgres://h/x", "postgresql+asyncpg"),
        ("sqlite:///x", "sqlite+aiosqlite"),
    ],
)
def test_an_address_without_a_driver_gets_ours(url: str, driver: str) -> None:
    assert store_module._address(url).drivername == driver
