"""A capability's own database: one engine, short transactions, times in UTC.

SQLite by default (one file each, WAL), anything that SQLAlchemy's asyncio speaks by `<CAPABILITY>_DATABASE_URL`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from retinue.errors import ServiceUnavailable
from retinue.ledger import LEDGER

_BUSY_TIMEOUT_MS = 5000


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
        self._url = make_url(url)
        self._metadata = metadata
        self._owner = owner
        self._with_ledger = with_ledger
        self._engine: AsyncEngine | None = None

    @property
    def owner(self) -> str:
        """The capability whose data this is."""
        return self._owner

    async def open(self) -> None:
        """Create the engine, the SQLite file's folder and missing tables.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        self._engine = _create_engine(self._url)
        async with self._translated(), self._engine.connect() as connection:
            connection = await connection.execution_options(retinue_write=True)
            async with connection.begin():
                await connection.run_sync(self._metadata.create_all)
                if self._with_ledger:
                    await connection.run_sync(LEDGER.metadata.create_all)

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

        SQLite takes its write lock at once, so that what the transaction reads cannot change before it writes.

        Raises:
            ServiceUnavailable: The database does not answer, or stayed locked.
        """
        async with self._translated(), self._opened().connect() as connection:
            connection = await connection.execution_options(retinue_write=True)
            async with connection.begin(), AsyncSession(connection, expire_on_commit=False) as session:
                yield session
                await session.flush()

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("open() the store first")
        return self._engine

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise ServiceUnavailable(f"the database of {self._owner} is busy") from error
        except DBAPIError as error:
            if isinstance(error.orig, (ValueError, TypeError)) or "IntegrityError" in type(error).__name__:
                raise
            raise ServiceUnavailable(
                f"the database of {self._owner} does not work at the moment: {type(error.orig).__name__}"
            ) from error


def _create_engine(url: Any) -> AsyncEngine:
    engine = create_async_engine(url)
    if url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leave BEGIN to us (the driver's own is deferred and comes too late) and set the usual pragmas."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("retinue_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
