"""Stores conversations: a request names a transcript and carries only what is new, so histories stay small.

A stored message at a position is never replaced, since attempts of one request may overlap and must all continue the same
conversation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.reasoning.models import StoredMessage
from retinue.errors import ServiceUnavailable
from retinue.store import Store

Record = dict[str, Any]
"""A message as JSON."""


class OnDemand:
    """The capability's own database, opened when it is first needed: requests that keep nothing do without it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opening = asyncio.Lock()
        self._is_open = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Yield a session for reading, as `Store.read`.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        await self._open()
        async with self._store.read() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Yield one transaction for writing, as `Store.write`.

        Raises:
            ServiceUnavailable: The database does not answer, or stayed locked.
        """
        await self._open()
        async with self._store.write() as session:
            yield session

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._create()
                self._is_open = True

    async def _create(self) -> None:
        try:
            await self._store.open()
        except ServiceUnavailable:
            await self._store.close()  # the next attempt opens it again
            raise
        except OSError as error:
            raise ServiceUnavailable(
                f"the folder of reasoning's database cannot be used: {type(error).__name__}"
            ) from error


class TranscriptStore:
    """Transcripts in the capability's own database."""

    def __init__(self, store: Store | OnDemand) -> None:
        self._store = store if isinstance(store, OnDemand) else OnDemand(store)

    async def append(self, key: str, *, at: int, messages: Sequence[Record]) -> list[Record]:
        """Store messages from position `at` on, at positions that are still empty.

        Returns:
            The messages at these positions now: the given ones, or those of an earlier attempt.

        Raises:
            ServiceUnavailable: The database does not answer, or stayed locked.
        """
        within = col(StoredMessage.position).between(at, at + len(messages) - 1)
        async with self._store.write() as session:
            found = await session.exec(select(StoredMessage).where(StoredMessage.key == key, within))
            kept = {stored.position: stored.message for stored in found}
            new = {at + n: _text(message) for n, message in enumerate(messages) if at + n not in kept}
            session.add_all(StoredMessage(key=key, position=n, message=text) for n, text in new.items())
        return [json.loads(text) for _, text in sorted((kept | new).items())]

    async def last(self, key: str, *, before: int, limit_messages: int, limit_bytes: int) -> list[Record]:
        """Return the newest messages before a position, oldest first, as many as fit; one always does, however large.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        newest_first = (
            select(StoredMessage.message)
            .where(StoredMessage.key == key, StoredMessage.position < before)
            .order_by(col(StoredMessage.position).desc())
            .limit(limit_messages)
        )
        async with self._store.read() as session:
            texts = (await session.exec(newest_first)).all()
        return [json.loads(text) for text in reversed(_fitting(texts, limit_bytes))]

    async def at(self, key: str, position: int) -> Record | None:
        """Return the message at a position.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        async with self._store.read() as session:
            stored = await session.get(StoredMessage, (key, position))
        return json.loads(stored.message) if stored else None

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()


def _text(message: Record) -> str:
    # a model may write half characters, which neither a database nor Temporal takes
    return json.dumps(message, ensure_ascii=False).encode(errors="replace").decode()


def _fitting(texts: Sequence[str], limit_bytes: int) -> Sequence[str]:
    size = 0
    for count, text in enumerate(texts):
        size += len(text.encode())
        if count and size > limit_bytes:
            return texts[:count]
    return texts
