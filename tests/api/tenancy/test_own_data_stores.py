"""Stores of organisations: apart whatever they are called, bounded in number, on both kinds of databases."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select

from retinue.database.resource_pool import ResourcePool
from retinue.errors import ServiceRefused, ServiceUnavailable
from retinue.store import MOST_OPEN, Store
from retinue.temporal.tenant_header import use_tenant
from retinue.tenancy import ANY_TENANT, folder_of, schema_of
from tests.databases.postgresql import PostgreSQL, database_url, execute, postgresql

__all__ = ["database_url", "postgresql"]
METADATA = MetaData()
WORDS = Table("words", METADATA, Column("word", String(400), primary_key=True))
NAMES = [
    *("acme", "Acme", "ACME", "acme ", "acme.", "../acme", "/etc/acme", "..", "acme/../x", "CON", "nul\0", "a" * 300),
    *(unicodedata.normalize(form, "Café") for form in ("NFC", "NFD")),
    *("ακμή", "公司", "🦀", "%2e%2e", '"; DROP SCHEMA public; --', "org-acme-1", "\ud800"),
]
HANDLES = 4
"""Of one SQLite database: the file (twice after a migration), its log and the log's index."""
Opened = Callable[[str], Awaitable[Store]]


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Opens stores that are closed after the test."""
    async with AsyncExitStack() as stores:

        async def one(url: str) -> Store:
            store = Store(url, METADATA, owner="words")
            await store.open()
            stores.push_async_callback(store.close)
            return store

        yield one


async def keep(store: Store, organisation: str, word: str) -> None:
    with use_tenant(organisation):
        async with store.write() as session:
            await (await session.connection()).execute(insert(WORDS).values(word=word))


async def kept(store: Store, organisation: str) -> list[str]:
    with use_tenant(organisation):
        async with store.read() as session:
            return list((await (await session.connection()).execute(select(WORDS.c.word))).scalars())


async def may_make_schemas(server: PostgreSQL) -> str:
    """The address of a database whose user may."""
    address = await server.create()
    user = address.partition("://")[2].partition(":")[0]
    await execute(server.address(), f'GRANT CREATE ON DATABASE postgres TO "{user}"')
    return address


def files(folder: Path) -> list[Path]:
    """What this process holds open below a folder."""
    return [target for link in Path("/proc/self/fd").iterdir() if (target := _target(link)).is_relative_to(folder)]


def _target(link: Path) -> Path:
    """Some are gone by the time that they are looked at."""
    with contextlib.suppress(OSError):
        return link.readlink()
    return Path()


async def test_each_name_has_a_database_of_its_own(opened: Opened, tmp_path: Path) -> None:
    """Also on file systems that ignore case or the form of Unicode; and none leads out of its folder."""
    url = f"sqlite+aiosqlite:///{tmp_path}/data/words.db"
    store = await opened(url)
    for number, name in enumerate(NAMES):
        await keep(store, name, f"{number}")
    await keep(store, "", "home")
    again = await opened(url)
    assert [await kept(again, name) for name in NAMES] == [[f"{number}"] for number in range(len(NAMES))]
    assert await kept(again, "") == ["home"]
    folders = [folder.name for folder in (tmp_path / "data" / "organisations").iterdir()]
    assert len({folder.casefold() for folder in folders}) == len(folders) == len(NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert all(folder.isascii() and len(folder) <= 57 for folder in folders)


async def test_on_postgresql_each_has_a_schema_of_its_own(opened: Opened, postgresql: PostgreSQL) -> None:
    store = await opened(await may_make_schemas(postgresql))
    await asyncio.gather(*[keep(store, name, f"{number}") for number, name in enumerate(NAMES)])
    await keep(store, "", "home")
    assert [await kept(store, name) for name in NAMES] == [[f"{number}"] for number in range(len(NAMES))]
    assert await kept(store, "") == ["home"]
    assert len({schema_of(name, "words") for name in NAMES} | {schema_of("acme", "ledgers")}) == len(NAMES) + 1


async def test_two_installations_in_one_database_do_not_meet(opened: Opened, postgresql: PostgreSQL) -> None:
    one, two = [await opened(await may_make_schemas(postgresql)) for _ in range(2)]
    await keep(one, "acme", "one")
    await keep(two, "acme", "two")
    assert (await kept(one, "acme"), await kept(two, "acme")) == (["one"], ["two"])


async def test_a_user_of_postgresql_who_must_not_make_schemas_is_told(opened: Opened, postgresql: PostgreSQL) -> None:
    store = await opened(await postgresql.create())
    with pytest.raises(ServiceUnavailable, match="its user may not do this"):
        await keep(store, "acme", "word")
    assert await kept(store, "") == []


async def test_fifty_organisations_hold_no_more_open_than_a_few(opened: Opened, tmp_path: Path) -> None:
    store = await opened(f"sqlite+aiosqlite:///{tmp_path}/words.db")
    for number in range(50):
        await keep(store, f"org{number}", f"{number}")
    assert len(files(tmp_path)) <= HANDLES * (MOST_OPEN + 1)
    everybody = [kept(store, f"org{number}") for number in range(50)]
    assert await asyncio.gather(*everybody) == [[f"{number}"] for number in range(50)]
    assert len(files(tmp_path)) <= HANDLES * (MOST_OPEN + 1)
    await store.close()
    assert files(tmp_path) == []


async def test_what_belongs_to_a_capability_as_a_whole_is_the_same_for_all(opened: Opened, tmp_path: Path) -> None:
    store = await opened(f"sqlite+aiosqlite:///{tmp_path}/words.db")
    await keep(store.shared(), "acme", "pause")
    assert await kept(store.shared(), "umbrella") == await kept(store, "") == ["pause"]
    assert await kept(store, "acme") == []


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:"])
async def test_a_database_that_cannot_be_divided_refuses_organisations(opened: Opened, url: str) -> None:
    store = await opened(url)
    with pytest.raises(ServiceRefused, match="cannot separate organisations"):
        await keep(store, "acme", "word")


async def test_an_organisation_whose_database_is_away_keeps_nobody_else_waiting(opened: Opened, tmp_path: Path) -> None:
    store = await opened(f"sqlite+aiosqlite:///{tmp_path}/words.db")
    folder = tmp_path / "organisations" / folder_of("acme")
    folder.parent.mkdir()
    folder.write_text("in the way")
    with pytest.raises(ServiceUnavailable):
        await kept(store, "acme")
    assert await kept(store, "umbrella") == []
    folder.unlink()
    assert await kept(store, "acme") == []


async def test_what_is_in_use_is_not_closed_and_what_failed_is_tried_again() -> None:
    class Thing:
        is_open = True

        async def close(self) -> None:
            self.is_open = False

    tried: list[str] = []

    async def open_(name: str) -> Thing:
        tried.append(name)
        if tried == ["a"]:
            raise ServiceUnavailable("not yet")
        return Thing()

    kept_open = ResourcePool(open_, most=1)
    with pytest.raises(ServiceUnavailable):
        await kept_open.use("a").__aenter__()
    assert len(kept_open) == 0
    async with kept_open.use("a") as a:
        async with kept_open.use("b") as b, kept_open.use("b") as same:
            assert b is same
            assert (a.is_open, b.is_open, len(kept_open)) == (True, True, 2)
        assert (a.is_open, b.is_open) == (True, False)
    assert tried == ["a", "a", "b"]
    await kept_open.close()
    assert not a.is_open


def test_no_organisation_is_called_as_all_of_them_are() -> None:
    assert folder_of(ANY_TENANT) != folder_of("")
