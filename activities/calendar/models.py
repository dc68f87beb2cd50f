"""The calendar's tables."""

from datetime import datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, Column, Index, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from retinue.database.migrations import migrated
from retinue.database.people import OfPerson
from retinue.store import UtcDateTime


class CalendarBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of the calendar's tables; its own registry separates them from other capabilities' tables."""


class StoredEvent(OfPerson, CalendarBase, table=True):
    """One event, or one whole series: then `starts_at` and `ends_at` are those of its first occurrence."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("person", "uid"),
        Index("ix_event_person_starts_at", "person", "starts_at"),
        Index("ix_event_person_series_uid", "person", "series_uid"),
    )

    event_id: str = Field(default_factory=lambda: uuid4().hex, primary_key=True, max_length=32)
    uid: str | None = Field(default=None, max_length=64)  # digest of an import's UID
    title: str = Field(max_length=300)
    starts_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    ends_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    timezone: str = Field(max_length=64)
    location: str | None = Field(default=None, max_length=500)
    description: str | None = Field(default=None, sa_column=Column(Text))
    attendees: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    recurrence: str | None = Field(default=None, max_length=500)
    excluded: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # starts left out, UTC
    busy: bool = True
    days: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # of its length, that count by the calendar
    # Of an import: the version, and for a changed time of a series the digest of the series' UID.
    sequence: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    modified_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
    series_uid: str | None = Field(default=None, max_length=64)


class EventArrival(OfPerson, CalendarBase, table=True):
    """The order in which events came from outside, or were changed from there: by a file, never by an assistant."""

    __tablename__ = "event_arrival"

    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    event_id: str = Field(max_length=32)


class KeptResource(OfPerson, CalendarBase, table=True):
    """What a resource on a CalDAV server was before an effect of ours: for its result, and for an undo."""

    __tablename__ = "kept_resource"
    __table_args__ = (Index("ix_kept_resource_person_kept_at", "person", "kept_at"),)

    effect: str = Field(primary_key=True, max_length=32)  # digest of the effect's key
    event_id: str = Field(max_length=500)
    content: str = Field(sa_column=Column(Text, nullable=False))
    kept_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
