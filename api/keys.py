"""Idempotency keys: which caller used which key for which request, and which assistant answered it.

Temporal forgets a workflow id after its retention; this table does not, so a repeated request never runs twice.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Column, Integer, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError

from retinue.errors import InvalidArguments
from retinue.migrations import migrated
from retinue.store import Store, UtcDateTime

_METADATA = migrated(Path(__file__).parent / "migrations")
_KEYS = Table(
    "idempotency_keys",
    _METADATA,
    Column("id", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("assistant_id", String(80), nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
)
_UNDONE = Table(
    "undone",
    _METADATA,
    Column("assistant_id", String(300), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
)
"""Whose effects were taken back after the end: only their views need a second look at Temporal."""


@dataclass(frozen=True)
class Claim:
    """What belongs to a caller's key."""

    assistant_id: str
    used_at: datetime
    repeated: bool


class IdempotencyKeys:
    """The table of keys."""

    def __init__(self, url: str) -> None:
        self._store = Store(url, _METADATA, owner="api", with_ledger=False)

    async def open(self) -> None:
        """Open the database."""
        await self._store.open()

    async def close(self) -> None:
        """Close it."""
        await self._store.close()

    async def claim(self, *, owner: str, key: str, body: str) -> Claim:
        """The assistant id that belongs to this caller's key, and whether the key was used before.

        Raises:
            InvalidArguments: The key was used for another request.
        """
        key_id = _digest(owner, key)
        claim = Claim(assistant_id=f"a-{key_id[:32]}", used_at=datetime.now(UTC), repeated=False)
        values = {
            "id": key_id,
            "body_hash": _digest(body),
            "assistant_id": claim.assistant_id,
            "used_at": claim.used_at,
        }
        try:
            async with self._store.write() as session:
                await (await session.connection()).execute(insert(_KEYS).values(values))
        except IntegrityError:
            return await self._claimed_before(key_id, str(values["body_hash"]))
        return claim

    async def note_undo(self, assistant_id: str, number: int) -> None:
        """Remember that a run is being undone, for the first time or again."""
        row = {"assistant_id": assistant_id, "number": number, "asked_at": datetime.now(UTC)}
        with contextlib.suppress(IntegrityError):
            async with self._store.write() as session:
                await (await session.connection()).execute(insert(_UNDONE).values(row))

    async def undoings(self, assistant_id: str) -> int:
        """How often the undoing of a run was asked for."""
        query = select(func.count()).where(_UNDONE.c.assistant_id == assistant_id)
        async with self._store.read() as session:
            return int((await (await session.connection()).execute(query)).scalar_one())

    async def _claimed_before(self, key_id: str, body_hash: str) -> Claim:
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(select(_KEYS).where(_KEYS.c.id == key_id))).one()
        if row.body_hash != body_hash:
            raise InvalidArguments(
                "this Idempotency-Key was used for another request", hint="use a new key for a new request"
            )
        return Claim(assistant_id=row.assistant_id, used_at=row.used_at, repeated=True)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
