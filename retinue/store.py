"""A capability's own database: one engine, short transactions, times in UTC.

SQLite by default (one file each, WAL), PostgreSQL by `<CAPABILITY>_DATABASE_URL=postgresql+asyncpg://...`. On both, one
transaction of a capability writes at a time, so that what it reads stays true until it commits; readers never wait.

Each organisation has its own database: an SQLite file of the same name in a folder beside, or a PostgreSQL schema. People
without an organisation use the one at the address itself. Within a database each person has their own rows, see
`retinue.database.people`: a session works for the person of the running activity.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import aiosqlite
from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, event, func, inspect, select
from sqlalchemy.engine import URL, Connection, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema
from sqlmodel.ext.asyncio.session import AsyncSession

from retinue.database import migrations, people
from retinue.database.errors import breaks_connection, is_damage, to_retinue_error
from retinue.database.file_watch import OPEN, OpenFiles, obstacle
from retinue.database.ledger_table import LEDGER
from retinue.database.resource_pool import ResourcePool
from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable, StoreLost, StoreUnavailable
from retinue.settings import only_person
from retinue.temporal.person_header import asked_by
from retinue.temporal.tenant_header import current_tenant, use_tenant
from retinue.tenancy import HOME, folder_of, organisation, schema_of

CONNECT_TIMEOUT = 5.0
_PATIENCE = 5.0
"""Seconds that a transaction waits for locks."""
_MIGRATING_PATIENCE = 15.0
"""Seconds that a transaction waits for locks while another worker may be migrating."""
_STATEMENT_TIMEOUT = 15.0
_SILENCE = 20.0
"""Seconds after which PostgreSQL counts as unreachable, and after which it ends a frozen worker's transaction."""
_CONNECTIONS = 5
_MORE_CONNECTIONS = 10
_POOL_TIMEOUT = 10.0
_WRITES = "retinue_write"
_MIGRATIONS = "migrations"
"""The lock for creating tables, since stores of several owners may share a database."""
ORGANISATIONS = "organisations"
"""The folder beside the SQLite files that contains one folder per organisation."""
MOST_OPEN = 16
"""Unused databases of organisations that a worker keeps open: a thread and up to four handles each."""
_LARGEST_CHECKED = 100 * 1024 * 1024
"""The largest SQLite file, in bytes, that is checked when opened, which takes up to a second."""
_FILES = "retinue_files"
_DELETED = "was deleted or replaced while it was in use"
_log = logging.getLogger("retinue.store")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite drops time zones, so reading adds UTC again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Store:
    """The databases of one capability: the installation's own, and one for each organisation with data.

    The running activity determines which one is used, see `retinue.temporal.tenant_header`, so that callers cannot reach
    another organisation's. Open it once per process; every method is safe to call concurrently.
    """

    def __init__(self, url: str, metadata: MetaData, *, owner: str, with_ledger: bool = True) -> None:
        self._owner = owner
        tables = [metadata, LEDGER.metadata] if with_ledger else [metadata]
        self._own = _Database(_address(url), tables, owner)
        self._has_people = bool(people.tables_of_people(metadata))
        self._others = ResourcePool(self._open_other, most=MOST_OPEN)
        self._is_shared = False

    @property
    def owner(self) -> str:
        """The capability that owns the data."""
        return self._owner

    @property
    def is_server(self) -> bool:
        """Whether a database server keeps the data, which processes on several machines can share."""
        return self._own.is_server

    def shared(self) -> Store:
        """Return the store without organisations, for data of a whole capability, such as its external account."""
        everybodys = copy.copy(self)
        everybodys._is_shared = True
        return everybodys

    async def open(self) -> None:
        """Create the engine and the SQLite file's folder, and bring the tables up to date.

        Workers that start at the same time do so one after the other, each in one transaction. Databases of
        organisations are opened in the same way at first use.

        Raises:
            ServiceUnavailable: The database does not answer.
            ServiceRefused: It belongs to a newer version or another owner.
        """
        async with self._translated():
            await self._own.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._others.close()
        await self._own.close()

    async def __aenter__(self) -> Store:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session for reading.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        async with (
            self._translated(),
            self._database() as database,
            AsyncSession(database.opened(), expire_on_commit=False, **self._for_person()) as session,
        ):
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Yield a session for one writing transaction: it commits at the end and rolls back on any error.

        It takes the capability's write lock first, so that what it reads cannot change before it writes.

        Raises:
            ServiceUnavailable: The database does not answer, or stayed locked.
            StoreLost: Its file was deleted or replaced, so the write is lost.
            InvalidArguments: A text has a character or a length that the database cannot store.
        """
        async with (
            self._translated(),
            self._database() as database,
            database.turn(),
            database.transaction() as connection,
            AsyncSession(connection, expire_on_commit=False, **self._for_person()) as session,
        ):
            yield session
            await session.flush()

    async def unclaimed(self, organisation: str = HOME) -> int:
        """Return how many rows in an organisation's database are from before people were told apart, and belong to nobody."""
        with use_tenant(organisation):
            async with self._translated(), self._database() as database:
                return await database.unclaimed()

    async def claim(self, person: str) -> int:
        """Give the rows that belong to nobody, in the database of the person's organisation, to the person.

        Returns:
            How many they are.
        """
        with use_tenant(organisation(person)):
            async with self._translated(), self._database() as database:
                return await database.claim(person)

    def _for_person(self) -> Mapping[str, Any]:
        """Return the arguments of a session: it works for the person of the running activity, or reaches nobody's rows."""
        if not self._has_people:
            return {}
        try:
            return people.people_options(asked_by(current_tenant()).person)
        except ServiceRefused:
            return people.people_options(None)

    async def probe(self) -> None:
        """Test whether the installation's own database can be written.

        Raises:
            ServiceUnavailable: It cannot be written; the message says why.
        """
        async with self._translated():
            await self._own.probe()

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[_Database]:
        name = HOME if self._is_shared else current_tenant()
        if name == HOME:
            yield self._own
            return
        async with self._others.use(name) as database:
            yield database

    async def _open_other(self, name: str) -> _Database:
        database = await self._own.of_organisation(name)
        await database.open()
        return database

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Translate database errors; their texts are not shown, since they may contain rows, addresses or passwords."""
        try:
            yield
        except RetinueError:
            raise
        except PoolTimeout as error:
            raise ServiceUnavailable(f"the database of {self._owner} is busy") from error
        except IntegrityError:
            raise
        except DBAPIError as error:
            if isinstance(error.orig, (ValueError, TypeError)):
                raise
            raise to_retinue_error(error.orig, self._owner) from error
        except OSError as error:
            raise to_retinue_error(error, self._owner) from error


class _Database:
    """One database, or one schema in it: an engine and its owner."""

    def __init__(
        self, url: URL, tables: Sequence[MetaData], owner: str, *, schema: str = "", few: bool = False
    ) -> None:
        self._is_home = not few
        self._files: OpenFiles | None = None
        self._lost = ""
        self._problem = ""
        self._url = url
        self._tables = tables
        self._owner = owner
        self._engine: AsyncEngine | None = None
        self._few = few
        self._opening = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._is_open = False
        self.schema = schema
        self.lock = schema or owner
        """Held by the writer."""

    @property
    def is_server(self) -> bool:
        """Whether it is on a database server."""
        return self._url.get_backend_name() == "postgresql"

    async def of_organisation(self, name: str) -> _Database:
        """Return an organisation's database: a file of the same name in its own folder, or a schema.

        Raises:
            ServiceRefused: This kind of database cannot separate organisations.
        """
        if self.is_server:
            async with _transaction(self.opened(), lock=_MIGRATIONS) as connection:
                schema = await connection.run_sync(_make_schema, name, self._owner)
            return _Database(self._url, self._tables, self._owner, schema=schema, few=True)
        file = self.file
        if file is None:
            raise ServiceRefused(
                f"the database of {self._owner} cannot separate organisations",
                hint=f"the operator can set {self._owner.upper()}_DATABASE_URL to PostgreSQL or an SQLite file",
            )
        beside = file.parent / ORGANISATIONS / folder_of(name) / file.name
        return _Database(self._url.set(database=str(beside)), self._tables, self._owner, few=True)

    async def open(self) -> None:
        """Connect and bring the tables up to date, once; raises the database's errors."""
        async with self._opening:
            if not self._is_open:
                self._files, self._lost = None, ""
                self._engine = await self._connect()
                self._is_open = True
                OPEN.add(self)

    async def _connect(self) -> AsyncEngine:
        _make_folder(self._url, self._owner)
        engine = self._connections(_PATIENCE)
        try:
            async with engine.connect() as connection:
                await self._check_soundness(connection)
                ready = [await connection.run_sync(migrations.up_to_date, tables) for tables in self._tables]
            if not all(ready):
                await self._bring_up_to_date()
            await self._look_for_people(engine)
        except BaseException:
            await engine.dispose()
            raise
        return engine

    async def _check_soundness(self, connection: AsyncConnection) -> None:
        """Check an SQLite file before it is used, unless it is too large.

        Raises:
            StoreUnavailable: It is damaged.
        """
        file = self.file
        if file is None or file.stat().st_size > _LARGEST_CHECKED:
            return
        if (await connection.exec_driver_sql("PRAGMA quick_check(1)")).scalar_one() != "ok":
            raise StoreUnavailable(f"the database of {self._owner} does not work at the moment: its file is damaged")

    async def close(self) -> None:
        """Close all connections."""
        self._is_open = False
        OPEN.discard(self)
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for this process's earlier writers, first come, first served.

        Otherwise they would wait for locks in the database: SQLite does not queue, and every waiting writer holds a
        connection, so that under load some fail that only had to wait.

        Raises:
            ServiceUnavailable: The earlier writers took too long.
        """
        try:
            async with asyncio.timeout(_POOL_TIMEOUT):
                await self._writing.acquire()
        except TimeoutError:
            raise ServiceUnavailable(f"the database of {self._owner} is busy") from None
        try:
            yield
        finally:
            self._writing.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a transaction for writing; after it the file is verified to be still the one at its path.

        Raises:
            StoreLost: The file was deleted or replaced before the end of the commit.
        """
        async with _transaction(self.opened(), lock=self.lock) as connection:
            yield connection
            files = _files_of(connection.sync_connection)
        if files is not None and (not files.are_there() or self.lost()):
            raise self._deleted()
        self._problem = ""

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return _file(self._url)

    def lost(self) -> str:
        """Return in words that its file was deleted, replaced or damaged since it was opened; else empty."""
        if not self._lost and self._files is not None and not self._files.same_database():
            self._lost = _DELETED
        return f"the database file of {self._owner} {self._lost}" if self._lost else ""

    async def problem(self) -> str:
        """Return in words why it cannot be written; else empty. See `OpenDatabase`."""
        file = self.file
        if self._problem or (file is not None and obstacle(file)):
            with contextlib.suppress(SQLAlchemyError, OSError, RetinueError):
                await self.probe()
        return self._problem

    async def probe(self) -> None:
        """Test whether the database can be written; raises the database's errors."""
        async with self.turn(), self.transaction() as connection:
            await connection.run_sync(migrations.touch, self._tables[-1])

    def _deleted(self) -> StoreLost:
        self._lost = self._lost or _DELETED
        return StoreLost(self.lost())

    def _watch(self, engine: AsyncEngine) -> None:
        """Drop unusable connections, and use none whose files were deleted or replaced."""
        event.listen(engine.sync_engine, "handle_error", self._on_error)
        if (check := people.refuse_unbounded(self._tables[0])) is not None:
            event.listen(engine.sync_engine, "before_cursor_execute", check)
        if self.file is not None:
            event.listen(engine.sync_engine, "connect", self._on_connect)
            event.listen(engine.sync_engine, "checkout", self._on_checkout)

    def _on_error(self, context: ExceptionContext) -> None:
        if breaks_connection(context.original_exception):
            context.is_disconnect = True
            self._problem = to_retinue_error(context.original_exception, self._owner).message
        if is_damage(context.original_exception):
            self._lost = "is damaged"

    def _on_connect(self, connection: Any, record: Any) -> None:
        connection.run_async(_open_all_files)
        file = self.file
        assert file is not None
        if self._files is not None and not self._files.same_database():
            raise self._deleted()
        largest = self._files.largest if self._files is not None else 0
        self._files = record.info[_FILES] = OpenFiles.at(file, largest=largest)

    def _on_checkout(self, _connection: object, record: Any, _proxy: object) -> None:
        if not record.info[_FILES].are_there() or self.lost():
            raise self._deleted()

    def opened(self) -> AsyncEngine:
        """Return the engine.

        Raises:
            StoreLost: The file that it writes to was deleted, replaced or damaged.
        """
        if self._engine is None:
            raise RuntimeError("open() the store first")
        if self._lost:
            raise StoreLost(self.lost())
        return self._engine

    async def _bring_up_to_date(self) -> None:
        async with self._of_everybody() as connection:
            for tables in self._tables:
                await connection.run_sync(people.open_to_owner, tables)
                await connection.run_sync(migrations.bring_up_to_date, tables, owner=self._owner)
                await connection.run_sync(people.secure, tables)

    @asynccontextmanager
    async def _of_everybody(self) -> AsyncIterator[AsyncConnection]:
        """Yield a transaction on the rows of all people, one at a time."""
        engine = self._connections(_MIGRATING_PATIENCE)
        try:
            async with _transaction(engine, lock=_MIGRATIONS) as connection:
                yield await connection.execution_options(**{people.EVERYBODY: True})
        finally:
            await engine.dispose()

    async def unclaimed(self) -> int:
        """Return how many rows belong to nobody yet; raises the database's errors."""
        return await self._unclaimed(self.opened())

    async def _unclaimed(self, engine: AsyncEngine) -> int:
        async with engine.connect() as connection:
            connection = await connection.execution_options(**{people.EVERYBODY: True})
            async with connection.begin():
                return await connection.run_sync(people.unclaimed, self._tables[0])

    async def claim(self, person: str) -> int:
        """Give the rows that belong to nobody to a person; returns how many; raises the database's errors."""
        async with self._of_everybody() as connection:
            return await connection.run_sync(people.claim, self._tables[0], person)

    async def _look_for_people(self, engine: AsyncEngine) -> None:
        """Give rows of nobody to the only person, where nobody is told apart; warn of what is not as it should be."""
        if not people.tables_of_people(self._tables[0]):
            return
        rows = await self._unclaimed(engine)
        if rows and self._is_home and (person := only_person()):
            await self.claim(person)
        elif rows:
            _log.warning("%d rows of %s are nobody's: `python -m workers claim PERSON` gives them", rows, self._owner)
        async with engine.connect() as connection:
            if await connection.run_sync(people.sees_everything):
                _log.warning("the role of %s's database is not bound by row-level security", self._owner)

    def _connections(self, patience: float) -> AsyncEngine:
        engine = _create_engine(self._url, patience, schema=self.schema, few=self._few)
        self._watch(engine)
        return engine


@asynccontextmanager
async def _transaction(engine: AsyncEngine, *, lock: str) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        connection = await connection.execution_options(**{_WRITES: True})
        async with connection.begin():
            await connection.run_sync(migrations.lock, lock)
            yield connection


def _make_schema(connection: Connection, organisation: str, owner: str) -> str:
    """Create the schema of an organisation if missing; without the right to create it, it must exist."""
    around = connection.execute(select(func.current_schema())).scalar_one_or_none() or ""
    name = schema_of(organisation, owner, around=around)
    if not inspect(connection).has_schema(name):
        connection.execute(CreateSchema(name))
    return name


def _make_folder(url: URL, owner: str) -> None:
    file = _file(url)
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder of {owner}'s database cannot be used: {error.strerror}") from error


def _file(url: URL) -> Path | None:
    """Return the file of an SQLite database, or None."""
    name = url.database or ""
    return None if url.get_backend_name() != "sqlite" or not name or name.startswith(("file:", ":")) else Path(name)


def _files_of(connection: Connection | None) -> OpenFiles | None:
    found: OpenFiles | None = connection.info.get(_FILES) if connection is not None else None
    return found


def _address(url: str) -> URL:
    """Return the address, with an asyncio driver if it names none."""
    address = make_url(url)
    return address.set(drivername=_DRIVERS.get(address.drivername, address.drivername))


def _create_engine(url: URL, patience: float, *, schema: str = "", few: bool = False) -> AsyncEngine:
    """Return an engine that shows no values in its errors, and whose transactions wait `patience` seconds for locks.

    Args:
        url: Of the database.
        patience: In seconds.
        schema: Where PostgreSQL looks for tables, instead of the default.
        few: Keep only one connection open, for one of many databases.
    """
    pool: dict[str, Any] = (
        {"pool_size": 1, "max_overflow": _CONNECTIONS - 1, "pool_timeout": _POOL_TIMEOUT} if few else {}
    )
    if url.get_backend_name() != "sqlite":
        usual = {"pool_size": _CONNECTIONS, "max_overflow": _MORE_CONNECTIONS, "pool_timeout": _POOL_TIMEOUT}
        return create_async_engine(
            url,
            **(pool or usual),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_postgresql(patience, schema) if url.drivername == "postgresql+asyncpg" else {},
        )
    engine = create_async_engine(url, hide_parameters=True, **pool)
    event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, patience))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _postgresql(patience: float, schema: str) -> dict[str, Any]:
    """Return asyncpg's arguments: timeouts for all that could wait for ever, on both sides."""
    migrates = patience > _PATIENCE
    return {
        "timeout": CONNECT_TIMEOUT,
        "command_timeout": None if migrates else _SILENCE,
        "server_settings": {
            "application_name": "retinue",
            "lock_timeout": _milliseconds(patience),
            "statement_timeout": "0" if migrates else _milliseconds(_STATEMENT_TIMEOUT),
            "idle_in_transaction_session_timeout": _milliseconds(_SILENCE),
            **({"search_path": f'"{schema}"'} if schema else {}),
        },
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _prepare_sqlite(patience: float, connection: Any, _record: object) -> None:
    """Disable the driver's BEGIN, which is deferred and too late, and set the usual pragmas."""
    connection.isolation_level = None
    connection.run_async(partial(_prepare, patience))


async def _prepare(patience: float, connection: aiosqlite.Connection) -> None:
    for pragma in (f"busy_timeout={_milliseconds(patience)}", "synchronous=NORMAL", "foreign_keys=ON"):
        await connection.execute_fetchall(f"PRAGMA {pragma}")
    await _use_wal(patience, connection)


async def _open_all_files(connection: aiosqlite.Connection) -> None:
    """Read once, since SQLite opens the files beside the database at first use."""
    await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")


async def _use_wal(patience: float, connection: aiosqlite.Connection) -> None:
    """Switch to WAL, with retries: if two processes open a new file at once, SQLite refuses one without waiting."""
    now = asyncio.get_running_loop().time
    until = now() + patience
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or now() >= until:
                raise
            await asyncio.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
