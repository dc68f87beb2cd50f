"""The tables of memory. After a change: `python -P -m retinue.database.migrations activities.memory.models "what changes"`."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import BigInteger, Column, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from activities.memory.contract import Fact, Kind, Source
from activities.memory.wording import source_words
from retinue.database.migrations import migrated
from retinue.database.people import OfPerson
from retinue.provenance.asked_by import How
from retinue.store import UtcDateTime


class MemoryBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of the tables; its own registry separates them from other capabilities' tables."""


class StoredFact(OfPerson, MemoryBase, table=True):
    """One fact of one person."""

    __tablename__ = "fact"

    fact_id: str = Field(primary_key=True, max_length=32)
    kind: str = Field(max_length=20)
    text: str = Field(sa_column=Column(Text, nullable=False))
    noted_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    changed_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    assistant_id: str | None = Field(default=None, sa_column=Column(Text))
    step_id: str | None = Field(default=None, sa_column=Column(Text))
    message: int | None = None
    how: str = Field(max_length=20)
    through: str = Field(default="", sa_column=Column(Text, nullable=False))

    @classmethod
    def of(cls, fact: Fact, person: str) -> "StoredFact":
        """Return a row that holds a fact again as it was."""
        plain = fact.model_dump(include={"fact_id", "kind", "text", "noted_at", "changed_at"})
        return cls(person=person, **plain, **fact.source.model_dump())

    def as_fact(self) -> Fact:
        """Return the fact as the contract shows it."""
        source = Source(
            assistant_id=self.assistant_id,
            step_id=self.step_id,
            message=self.message,
            how=How(self.how),
            through=self.through,
        )
        return Fact(
            fact_id=self.fact_id,
            kind=Kind(self.kind),
            text=self.text,
            noted_at=self.noted_at,
            changed_at=self.changed_at,
            source=source,
            says=source_words(source, self.noted_at),
        )


class MemoryOwner(OfPerson, MemoryBase, table=True):
    """When the facts of one person last changed; it outlives them, so that an old count is known as old."""

    __tablename__ = "memory_owner"

    revision: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
