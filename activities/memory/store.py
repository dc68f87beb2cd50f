"""The store of memory: the facts of one person at a time.

It knows nothing of Temporal: callers bring the session, and with it the transaction, and the person. Every statement on facts
is built by `PersonFacts._mine`, so that nobody's facts are read or changed but that person's.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from sqlalchemy import func, text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from activities.memory.contract import LONGEST_TEXT, MOST_FACTS, ONLY_ONE, Fact, FactCount, Kind
from activities.memory.models import MemoryOwner, StoredFact
from retinue.errors import Conflict, NotFound
from retinue.text import one_line


class PersonFacts:
    """The facts of one person, in one session."""

    def __init__(self, session: AsyncSession, person: str) -> None:
        self._session = session
        self._person = person

    def _mine(self) -> SelectOfScalar[StoredFact]:
        return select(StoredFact).where(col(StoredFact.person) == self._person)

    async def all(self, kind: Kind | None = None) -> Sequence[StoredFact]:
        """Return the facts, of one kind or of all, oldest first."""
        wanted = self._mine() if kind is None else self._mine().where(col(StoredFact.kind) == kind)
        return (await self._session.exec(wanted.order_by(col(StoredFact.noted_at), col(StoredFact.fact_id)))).all()

    async def get(self, fact_id: str) -> StoredFact:
        """Return one fact.

        Raises:
            NotFound: The person has none of that id.
        """
        found = (await self._session.exec(self._mine().where(col(StoredFact.fact_id) == fact_id))).one_or_none()
        if found is None:
            raise NotFound("nothing of that id is remembered")
        return found

    async def count(self) -> int:
        """Return how many there are."""
        counted = select(func.count()).select_from(StoredFact).where(col(StoredFact.person) == self._person)
        return (await self._session.exec(counted)).one()

    async def same(self, kind: Kind, words: str) -> StoredFact | None:
        """Return the fact of that kind with the same words; case and blanks do not count."""
        return next((fact for fact in await self.all(kind) if _folded(fact.text) == _folded(words)), None)

    async def add(self, fact: StoredFact) -> list[Fact]:
        """Add a fact; of kinds with only one it replaces the others. Returns those that were replaced.

        Raises:
            Conflict: There are as many as can be kept.
        """
        replaced = await self.remove(await self.all(Kind(fact.kind))) if Kind(fact.kind) in ONLY_ONE else []
        if await self.count() >= MOST_FACTS:
            raise Conflict(f"{MOST_FACTS} things are remembered, which is the most; forget some first")
        self._session.add(fact)
        return replaced

    async def remove(self, facts: Sequence[StoredFact]) -> list[Fact]:
        """Remove these facts of the person. Returns them as they were."""
        removed = [fact.as_fact() for fact in facts]
        gone = [fact.fact_id for fact in facts]
        await self._session.exec(
            delete(StoredFact).where(col(StoredFact.person) == self._person, col(StoredFact.fact_id).in_(gone))
        )
        return removed

    async def put_back(self, facts: Sequence[Fact]) -> None:
        """Make these facts what they were, except a home place or working hours that a later change has replaced."""
        wanted = {fact.fact_id for fact in facts}
        await self.remove([fact for fact in await self.all() if fact.fact_id in wanted])
        there = {Kind(fact.kind) for fact in await self.all()} & ONLY_ONE
        self._session.add_all([StoredFact.of(fact, self._person) for fact in facts if fact.kind not in there])

    async def begin_change(self, now: datetime) -> None:
        """Begin a transaction that changes the person's facts; what it removes is overwritten in an SQLite file."""
        connection = await self._session.connection()
        if connection.dialect.name == "sqlite":
            await connection.execute(text("PRAGMA secure_delete=ON"))
        owner = await self._session.get(MemoryOwner, self._person) or MemoryOwner(person=self._person)
        owner.revision = max(owner.revision + 1, round(now.timestamp() * 1000))
        self._session.add(owner)

    async def known(self) -> FactCount:
        """Return how many facts there are; the revision grows with each change, also where the database was set back."""
        owner = await self._session.get(MemoryOwner, self._person)
        return FactCount(facts=await self.count(), revision=owner.revision if owner else 0)

    def new(self, kind: Kind, words: str, now: datetime) -> StoredFact:
        """Return a new fact without a source, not yet added."""
        return StoredFact(
            fact_id=uuid4().hex, person=self._person, kind=kind, text=plain(words), noted_at=now, how="", through=""
        )


def plain(words: str) -> str:
    """Return a fact's text as it is kept: one line without invisible characters."""
    return one_line(words, LONGEST_TEXT)


def _folded(words: str) -> str:
    return " ".join(words.casefold().split())
