"""The reasoning capability's tables: conversations by message, pauses that endpoints asked for, how models answer."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from retinue.database.migrations import migrated
from retinue.store import UtcDateTime


class ReasoningBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of the capability's tables; its own registry separates them from other capabilities' tables."""


class StoredMessage(ReasoningBase, table=True):
    """One message of a transcript, as the model's endpoint takes it. Written once and never changed."""

    __tablename__ = "transcripts"

    key: str = Field(primary_key=True, max_length=300)
    position: int = Field(primary_key=True, ge=0)
    message: str = Field(sa_type=Text, description="JSON")


class Pause(ReasoningBase, table=True):
    """Until when a model wants to be left alone. One row for each model that ever asked for it."""

    __tablename__ = "pauses"

    model: str = Field(primary_key=True, max_length=500, description="model and place, without secrets")
    until: datetime = Field(sa_type=UtcDateTime)
    waiting: int = Field(0, ge=0, description="how many callers wait for the end of this pause")
    since: datetime | None = Field(None, sa_type=UtcDateTime, description="when it was asked for")
    asked_seconds: float | None = Field(None, description="how long the endpoint asked for; what is kept is bounded")


class AnswerForm(ReasoningBase, table=True):
    """In which form a model answers in JSON."""

    __tablename__ = "answer_forms"

    model: str = Field(primary_key=True, max_length=500, description="model and place, without secrets")
    form: str = Field(max_length=40)
    words: str = Field(max_length=500, description="how that is known")
    at: datetime = Field(sa_type=UtcDateTime)
