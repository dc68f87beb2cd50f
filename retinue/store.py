"""A capability's own database: one engine, short transactions, times in UTC.

SQLite by default (one file each, WAL), PostgreSQL by `<CAPABILITY>_DATABASE_URL=postgresql+asyncpg://...`. On both, one
transaction of a capability writes at a time, so that what it reads stays true until it commits; readers never wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from retinue import migrations
from retinue.errors import RetinueError, ServiceUnavailable
from retinue.ledger import LEDGER
from retinue.store_errors import said

CONNECT_TIMEOUT = 5.0
_PATIENCE = 5.0
"""Seconds that a transaction waits for others' locks."""
_MIGRATING_PATIENCE = 15.0
"""The same where another worker may be migrating."""
_STATEMENT_TIMEOUT = 15.0
_SILENCE = 20.0
"""Seconds after which PostgreSQL counts as gone, and after which it ends a transaction whose worker was frozen."""
_CONNECTIONS = 5
_MORE_CONNECTIONS = 10
_POOL_TIMEOUT = 10.0
_WRITES = "retinue_write"
_MIGRATIONS = "migrations"
"""The lock of whoever makes tables: stores of several owners may share a database."""
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets time zones, so what comes back gets its zone here."""

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
        """Give back UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Store:
    """The database of one capability. Open it once per process; every method is safe to call concurrently."""

    def __init__(self, url: str, metadata: MetaData, *, owner: str, with_ledger: bool = True) -> None:
        self._url = _address(url)
        self._owner = owner
        self._tables = [metadata, LEDGER.metadata] if with_ledger else [metadata]
        self._engine: AsyncEngine | None = None

    @property
    def owner(self) -> str:
        """The capability whose data this is."""
        return self._owner

    async def open(self) -> None:
        """Create the engine and the SQLite file's folder, and bring the tables up to date.

        Workers that start at the same time do so one after the other; all or nothing is done.

        Raises:
            ServiceUnavailable: The database does not answer.
            ServiceRefused: It was made by a newer version, or belongs to somebody else.
        """
        async with self._translated():
            _make_folder(self._url, self._owner)
            engine = _create_engine(self._url, _PATIENCE)
            try:
                async with engine.connect() as connection:
                    ready = [await connection.run_sync(migrations.up_to_date, tables) for tables in self._tables]
                if not all(ready):
                    await self._bring_up_to_date()
            except BaseException:
                await engine.dispose()
                raise
            self._engine = engine

    async def _bring_up_to_date(self) -> None:
        engine = _create_engine(self._url, _MIGRATING_PATIENCE)
        try:
            async with self._transaction(engine, lock=_MIGRATIONS) as connection:
                for tables in self._tables:
                    await connection.run_sync(migrations.bring_up_to_date, tables, owner=self._owner)
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        async with self._translated(), AsyncSession(self._opened(), expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction for writing: commits at the end, rolls back on any error.

        It takes the capability's write lock at once, so that what it reads cannot change before it writes.

        Raises:
            ServiceUnavailable: The database does not answer, or stayed locked.
            InvalidArguments: A text holds a character, or a length, that the database does not keep.
        """
        async with (
            self._translated(),
            self._transaction(self._opened(), lock=self._owner) as connection,
            AsyncSession(connection, expire_on_commit=False) as session,
        ):
            yield session
            await session.flush()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine, *, lock: str) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            connection = await connection.execution_options(**{_WRITES: True})
            async with connection.begin():
                await connection.run_sync(migrations.lock, lock)
                yield connection

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("open() the store first")
        return self._engine

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Words for what databases raise. Theirs are not shown: they may repeat rows, addresses or passwords."""
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
            raise said(error.orig, self._owner) from error
        except OSError as error:
            raise said(error, self._owner) from error


def _make_folder(url: URL, owner: str) -> None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceUnavailable(f"the folder of {owner}'s database cannot be used: {error.strerror}") from error


def _address(url: str) -> URL:
    """The address with the driver that speaks asyncio, where it names none."""
    address = make_url(url)
    return address.set(drivername=_DRIVERS.get(address.drivername, address.drivername))


def _create_engine(url: URL, patience: float) -> AsyncEngine:
    """An engine that shows no values in its errors, and whose transactions wait `patience` seconds for others."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(
            url,
            pool_size=_CONNECTIONS,
            max_overflow=_MORE_CONNECTIONS,
            pool_timeout=_POOL_TIMEOUT,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_postgresql(patience) if url.drivername == "postgresql+asyncpg" else {},
        )
    engine = create_async_engine(url, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, patience))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _postgresql(patience: float) -> dict[str, Any]:
    """What asyncpg is told: bounds for everything that could wait for ever, on both sides of the wire."""
    migrates = patience > _PATIENCE
    return {
        "timeout": CONNECT_TIMEOUT,
        "command_timeout": None if migrates else _SILENCE,
        "server_settings": {
            "application_name": "retinue",
            "lock_timeout": _milliseconds(patience),
            "statement_timeout": "0" if migrates else _milliseconds(_STATEMENT_TIMEOUT),
            "idle_in_transaction_session_timeout": _milliseconds(_SILENCE),
        },
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _prepare_sqlite(patience: float, connection: Any, _record: object) -> None:
    """Leave BEGIN to us (the driver's own is deferred and comes too late) and set the usual pragmas."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_milliseconds(patience)}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
