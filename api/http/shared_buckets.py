"""Token buckets in PostgreSQL, which all API processes share.

A bucket is one time: when it will be full again. A request moves that time on, in one statement of the database server, by
its clock. It takes no write lock, so that requests of different callers do not wait for each other.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import Float, cast, extract, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from api.http.rate_limits import Rate, SharedBuckets
from api.storage.tables import RATE_LIMITS
from retinue.store import Store, UtcDateTime

_LITTLE = 1e-6
_FULL_AT = RATE_LIMITS.c.full_at
_NOW: Any = func.now(type_=UtcDateTime)


class DatabaseBuckets:
    """Buckets of one kind. Names are stored as hashes, since some are people's addresses."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self._kind = kind

    async def peek(self, name: str, rate: Rate) -> float:
        """Return how many tokens would remain after one more request; negative if it must wait.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        missing = select(_seconds(_FULL_AT - _NOW)).where(RATE_LIMITS.c.id == self._id(name))
        async with self._store.read() as session:
            seconds: float | None = (await (await session.connection()).execute(missing)).scalar_one_or_none()
        return _left(rate, max(seconds or 0.0, 0.0)) - 1

    async def take(self, name: str, rate: Rate) -> float:
        """Consume a token if there is one; return as `peek`. A rejected request consumes no token.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        step = literal(timedelta(seconds=rate.window / rate.quota))
        later = func.greatest(_FULL_AT, _NOW, type_=UtcDateTime) + step
        taken = (
            insert(RATE_LIMITS)
            .values(id=self._id(name), full_at=_NOW + step)
            .on_conflict_do_update(
                index_elements=[RATE_LIMITS.c.id],
                set_={"full_at": later},
                where=later <= _NOW + literal(timedelta(seconds=rate.window)),
            )
            .returning(_seconds(_FULL_AT - _NOW))
        )
        async with self._store.read() as session:  # one statement needs no write lock
            seconds: float | None = (await (await session.connection()).execute(taken)).scalar_one_or_none()
            await session.commit()
        if seconds is None:
            return min(await self.peek(name, rate), -_LITTLE)  # it fills while we look, and this request had no token
        return max(_left(rate, seconds), 0.0)

    def _id(self, name: str) -> str:
        return hashlib.sha256(f"{self._kind}\n{name}".encode(errors="surrogatepass")).hexdigest()


def shared_buckets(store: Store, kind: str) -> SharedBuckets | None:
    """Return the buckets of all processes of a PostgreSQL database; None for SQLite, which one machine alone uses."""
    return DatabaseBuckets(store, kind) if store.is_server else None


def _seconds(interval: Any) -> Any:
    return cast(extract("epoch", interval), Float)


def _left(rate: Rate, missing: float) -> float:
    """Return the tokens of a bucket that will be full in so many seconds."""
    return rate.quota - missing * rate.quota / rate.window
