"""The outbox: what goes out over a mail server, and which copies are still owed to Sent. The ledger says what was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from activities.email.models import OutboxState, Outgoing, Relocation
from retinue.effect_status import first_key
from retinue.store import Store

_FILING = timedelta(seconds=60)
"""After this time a worker that files a copy counts as dead."""


class Outbox:
    """Rows of steps that a mail server carries out, over the capability's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self, key: str, message_id: str, write: Callable[[], Awaitable[bytes]]) -> bytes:
        """The mail of a step: as an earlier attempt wrote it, or the effect that this one repeats; else written now."""
        kept = await self._outgoing(key)
        if kept is not None:
            return kept.content
        first = await self._outgoing(first_key(key))
        row = Outgoing(
            key=key,
            message_id=message_id,
            state=OutboxState.PREPARED,
            content=(first and first.content) or await write(),
            changed_at=datetime.now(UTC),
        )
        try:
            async with self._store.write() as session:
                session.add(row)
        except IntegrityError:  # another attempt was first; its mail counts
            kept = await self._outgoing(key)
        return row.content if kept is None else kept.content

    async def sent(self, key: str) -> None:
        """Note that the mail is out. A copy is owed from now on."""
        await self._change(key, OutboxState.SENT, only_from=(OutboxState.PREPARED,))

    async def claim_copy(self, key: str) -> bytes | None:
        """Return the mail to put into Sent, for one attempt at a time; None where that is done or being done."""
        claimed = await self._change(key, OutboxState.FILING, only_from=(OutboxState.SENT,)) or await self._change(
            key, OutboxState.FILING, only_from=(OutboxState.FILING,), older_than=_FILING
        )
        row = await self._outgoing(key) if claimed else None
        return None if row is None else row.content

    async def copy_failed(self, key: str) -> None:
        """The copy is still owed."""
        await self._change(key, OutboxState.SENT, only_from=(OutboxState.FILING,))

    async def filed(self, key: str) -> None:
        """Record that the copy is in Sent, and drop its bytes."""
        await self._change(key, OutboxState.FILED, only_from=(OutboxState.FILING,), content=b"")

    async def kept_elsewhere(self, key: str, message_id: str) -> None:
        """Record that the server keeps the copy in Sent itself, under this id, and drop the mail's bytes."""
        await self._change(
            key, OutboxState.FILED, only_from=(OutboxState.PREPARED,), content=b"", message_id=message_id
        )

    async def prepared(self, key: str) -> bytes:
        """Return the mail of a step as its first attempt wrote it; empty if none did, or it has been filed."""
        row = await self._outgoing(key)
        return b"" if row is None else row.content

    async def state(self, key: str) -> OutboxState | None:
        """How far the mail of a step has come; None where it never went out over a mail server."""
        row = await self._outgoing(key)
        return None if row is None else row.state

    async def relocation(self, key: str) -> Relocation | None:
        """Which mail a step moves or deletes, as its first attempt found it."""
        async with self._store.read() as session:
            return await session.get(Relocation, key)

    async def pin(self, row: Relocation) -> Relocation:
        """Record which mail a step refers to; the first attempt's record counts."""
        try:
            async with self._store.write() as session:
                session.add(row)
        except IntegrityError:
            return await self.relocation(row.key) or row
        return row

    async def sent_among(self, ids: Collection[str]) -> set[str]:
        """Return which of these ids are of mails that went out from here."""
        async with self._store.read() as session:
            return set(await session.exec(select(Outgoing.message_id).where(col(Outgoing.message_id).in_(ids))))

    async def _outgoing(self, key: str) -> Outgoing | None:
        async with self._store.read() as session:
            return await session.get(Outgoing, key)

    async def _change(
        self,
        key: str,
        state: OutboxState,
        *,
        only_from: tuple[OutboxState, ...],
        older_than: timedelta = timedelta(0),
        **changes: object,
    ) -> bool:
        """Compare and set; whether it was as expected."""
        now = datetime.now(UTC)
        values = {"state": state, "changed_at": now, **changes}
        held = col(Outgoing.state).in_(only_from) & (col(Outgoing.changed_at) <= now - older_than)
        async with self._store.write() as session:
            changed = await session.exec(update(Outgoing).where(col(Outgoing.key) == key).where(held).values(**values))
        return changed.rowcount == 1
