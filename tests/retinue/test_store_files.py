"""SQLite files of a store that become read-only or full for a while, or are deleted or replaced while they are open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from retinue.database.file_watch import lost
from retinue.errors import ServiceUnavailable
from retinue.store import Store
from tests.databases.postgresql import execute
from tests.retinue.test_store import COUNTER, METADATA, do, put

AT_ONCE = 8
Make = Callable[[Path], Awaitable[Store]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Opens stores on files; they are closed after the test."""
    made: list[Store] = []

    async def one(file: Path) -> Store:
        made.append(Store(f"sqlite+aiosqlite:///{file}", METADATA, owner="test"))
        await made[-1].open()
        return made[-1]

    yield one
    for store in made:
        await store.close()


@contextlib.contextmanager
def immutable(file: Path) -> Iterator[None]:
    """Nobody may write to this file, not even root."""
    if os.geteuid() != 0 or shutil.which("chattr") is None:
        pytest.skip("only root can make a file immutable, by chattr: nothing was tried")
    done = subprocess.run(["chattr", "+i", file], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this file system has no immutable files: {done.stderr}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", file], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"only root can mount a small disk: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def rows(file: Path) -> list[int]:
    """What somebody who opens the file now finds in it."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [number for (number,) in database.execute("SELECT id FROM counter ORDER BY id")]


async def use_all_connections(store: Store) -> None:
    """Read so often at once that every connection of the pool is in use, and some are made."""

    async def read_slowly() -> None:
        async with store.read() as session:
            await do(session, select(COUNTER))
            await asyncio.sleep(0.2)

    await asyncio.gather(*[read_slowly() for _ in range(AT_ONCE)])


async def test_a_file_that_was_read_only_for_a_moment_is_written_again(make: Make, tmp_path: Path) -> None:
    """Connections that were made meanwhile can only read, for as long as they live."""
    store = await make(tmp_path / "x.db")
    with immutable(tmp_path / "x.db"):
        await use_all_connections(store)
    refused = [number for number in range(AT_ONCE) if not await is_put(store, number)]
    assert len(refused) <= 1, "the first that finds such a connection has all of them dropped"
    await put(store, id=AT_ONCE)
    assert rows(tmp_path / "x.db") == [number for number in range(AT_ONCE + 1) if number not in refused]


async def is_put(store: Store, number: int) -> bool:
    try:
        await put(store, id=number)
    except ServiceUnavailable:
        return False
    return True


async def put_many(store: Store) -> None:
    for number in range(1000):
        await put(store, id=number, word="x" * 4000)


async def test_a_disk_that_was_full_for_a_moment_is_written_again(make: Make, small_disk: Path) -> None:
    store = await make(small_disk / "x.db")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    with pytest.raises(ServiceUnavailable, match=r"its disk is full|cannot be read or written"):
        await put_many(store)
    before = rows(small_disk / "x.db")
    filler.unlink()
    await put(store, id=1000)
    assert rows(small_disk / "x.db") == [*before, 1000]


def delete(file: Path) -> None:
    file.unlink()


def delete_all(file: Path) -> None:
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()


def delete_wal(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()


def replace(file: Path) -> None:
    other = file.with_name("other.db")
    with contextlib.closing(sqlite3.connect(file)) as old, contextlib.closing(sqlite3.connect(other)) as new:
        old.backup(new)
    other.replace(file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def write_a_smaller_one_over_it(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE large (content TEXT)")
        database.execute("INSERT INTO large VALUES (hex(zeroblob(50000)))")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(FULL)")
    assert lost() == ""
    other = file.with_name("other.db")
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE small (content TEXT)")
    shutil.copyfile(other, file)


LOSSES = [delete, delete_all, delete_wal, replace, empty, write_a_smaller_one_over_it]


@pytest.mark.parametrize("lose", LOSSES)
async def test_nothing_is_written_into_a_file_that_nobody_finds_any_more(
    make: Make, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    store = await make(tmp_path / "x.db")
    await put(store, id=1)
    lose(tmp_path / "x.db")
    with pytest.raises(ServiceUnavailable, match="was deleted or replaced"):
        await put(store, id=2)
    with pytest.raises(ServiceUnavailable, match="was deleted or replaced"):
        async with store.read() as session:
            await do(session, select(COUNTER))


async def put_and_lose(store: Store, lose: Callable[[], None]) -> None:
    async with store.write() as session:
        await do(session, insert(COUNTER).values(id=2))
        lose()


@pytest.mark.parametrize("lose", [delete, delete_all, delete_wal, replace, empty])
async def test_what_was_committed_while_the_file_went_away_is_not_said_to_be_done(
    make: Make, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    store = await make(tmp_path / "x.db")
    await put(store, id=1)
    with pytest.raises(ServiceUnavailable, match="was deleted or replaced"):
        await put_and_lose(store, lambda: lose(tmp_path / "x.db"))


@pytest.mark.parametrize("lose", [delete, delete_all, replace, empty, write_a_smaller_one_over_it])
async def test_a_worker_learns_that_its_database_is_lost_though_nobody_uses_it(
    make: Make, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    store = await make(tmp_path / "x.db")
    await put(store, id=1)
    assert lost() == ""
    lose(tmp_path / "x.db")
    assert lost() == "the database file of test was deleted or replaced while it was in use"
    await store.close()
    assert lost() == ""


async def test_a_damaged_file_is_lost(make: Make, tmp_path: Path) -> None:
    store = await make(tmp_path / "x.db")
    for number in range(50):
        await put(store, id=number, word="x" * 2000)
    await store.close()
    with (tmp_path / "x.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 10)
    again = Store(f"sqlite+aiosqlite:///{tmp_path}/x.db", METADATA, owner="test")
    with pytest.raises(ServiceUnavailable, match="its file is damaged"):
        await again.open()
    await again.close()


async def test_a_file_that_is_damaged_while_it_is_open_is_lost(make: Make, tmp_path: Path) -> None:
    store = await make(tmp_path / "x.db")
    async with store.write() as session:
        for number in range(2000):
            await do(session, insert(COUNTER).values(id=number, word="x" * 2000))
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "x.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 500)
    with pytest.raises(ServiceUnavailable, match="its file is damaged"):
        async with store.read() as session:
            await do(session, text("SELECT sum(length(word)) FROM counter"))
    assert lost() == "the database file of test is damaged"


async def test_after_a_failover_postgresql_is_connected_to_again(postgresql_url: str) -> None:
    """What was the primary only reads; connections to it would do so for as long as they live."""
    store = Store(postgresql_url, METADATA, owner="test")
    await store.open()
    async with store.write() as session:
        await do(session, text("SET SESSION default_transaction_read_only = on"))
    with pytest.raises(ServiceUnavailable, match="it is read-only"):
        await put(store, id=1)
    await put(store, id=2)
    await store.close()
    await execute(postgresql_url, "SELECT 1")
