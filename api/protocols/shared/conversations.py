"""Maps conversations to runs: a table by hash, since chat clients send no run id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from api.storage.tables import CONVERSATIONS
from retinue.store import Store


@dataclass(frozen=True)
class ConversationPosition:
    """A position in a conversation.

    Args:
        assistant_id: The run.
        told: How many of its messages the client has.
        begins: Whether the run starts there.
        at: When the position was first reached.
    """

    assistant_id: str
    told: int
    begins: bool
    at: datetime


class ConversationPositions:
    """The table of positions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, name: str) -> ConversationPosition | None:
        """Return the position with that name."""
        query = select(CONVERSATIONS).where(CONVERSATIONS.c.id == name)
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(query)).one_or_none()
        return None if row is None else ConversationPosition(row.assistant_id, row.told, row.begins, row.at)

    async def take(
        self, name: str, place: ConversationPosition, *, instead_of: ConversationPosition | None = None
    ) -> ConversationPosition:
        """Store a position, and return the stored one: of concurrent callers the first one wins.

        Args:
            name: The position's name.
            place: The new position.
            instead_of: The expired position to replace.
        """
        values = {"assistant_id": place.assistant_id, "told": place.told, "begins": place.begins, "at": place.at}
        old = instead_of.assistant_id if instead_of else ""
        replaced = update(CONVERSATIONS).where(CONVERSATIONS.c.id == name, CONVERSATIONS.c.assistant_id == old)
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                if instead_of is None or not (await connection.execute(replaced.values(values))).rowcount:
                    await connection.execute(insert(CONVERSATIONS).values(id=name, **values))
        except IntegrityError:
            return await self.find(name) or place
        return place

    async def reach(self, name: str, assistant_id: str, told: int) -> None:
        """Update the position of a conversation. It never moves back within a run."""
        now = datetime.now(UTC)
        known = await self.take(name, ConversationPosition(assistant_id, told, begins=False, at=now))
        if (known.assistant_id, known.told) == (assistant_id, told):
            return
        further = update(CONVERSATIONS).where(
            CONVERSATIONS.c.id == name,
            (CONVERSATIONS.c.assistant_id != assistant_id) | (CONVERSATIONS.c.told < told),
        )
        async with self._store.write() as session:
            changed = further.values(assistant_id=assistant_id, told=told, at=now)
            await (await session.connection()).execute(changed)


def is_past(place: ConversationPosition, lasting: timedelta) -> bool:
    """Return whether it was reached longer ago."""
    return datetime.now(UTC) - place.at > lasting
