"""What the worker of an A2A agent remembers: the card that was accepted, and which conversation a task belongs to."""

from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from retinue.database.migrations import migrated
from retinue.store import UtcDateTime


class A2aBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of these tables; its own registry separates them from other capabilities' tables."""


class PinnedCard(A2aBase, table=True):
    """An agent's card as it was accepted, and as it was last seen where that differs."""

    __tablename__ = "pinned_card"

    agent: str = Field(primary_key=True, max_length=40)
    accepted: str = Field(max_length=64, description="SHA-256 of what the card said when it was accepted")
    accepted_words: str = Field(max_length=4000)
    seen: str = Field(max_length=64)
    seen_words: str = Field(max_length=4000)
    since: datetime = Field(sa_type=UtcDateTime)

    @property
    def changed(self) -> bool:
        """Whether the card says something else by now."""
        return self.seen != self.accepted


class KnownTask(A2aBase, table=True):
    """A task that the agent began for one run; only that run may refer to it."""

    __tablename__ = "known_task"

    agent: str = Field(primary_key=True, max_length=40)
    task_id: str = Field(primary_key=True, max_length=200)
    workflow_id: str = Field(primary_key=True, max_length=400)
    context_id: str = Field(max_length=200)
    over: bool = Field(description="whether it takes no more messages")
    since: datetime = Field(sa_type=UtcDateTime)
