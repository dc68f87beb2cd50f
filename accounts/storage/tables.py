"""The tables. After a change: `python -P -m retinue.database.migrations accounts.storage.tables "what changes"`."""

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Index, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from retinue.database.migrations import migrated
from retinue.store import UtcDateTime

_MIGRATIONS = Path(__file__).parent / "migrations"


class AccountsBase(SQLModel, registry=registry(metadata=migrated(_MIGRATIONS, owner="accounts"))):
    """Base of the tables."""


class Account(AccountsBase, table=True):
    """One account of one person. `sealed` is the only column with a secret, see `accounts.sealing`."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("person", "name", name="uq_account_person_name"),)

    account_id: str = Field(primary_key=True, max_length=32)
    organisation: str = Field(sa_column=Column(Text, nullable=False, index=True))
    person: str = Field(sa_column=Column(Text, nullable=False, index=True))
    name: str = Field(max_length=60)
    provider: str = Field(max_length=20)
    provider_id: str = Field(max_length=60)
    kind: str = Field(max_length=20)
    address: str = Field(sa_column=Column(Text, nullable=False))
    username: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    endpoints: dict[str, str] = Field(sa_column=Column(JSON, nullable=False))
    capabilities: list[str] = Field(sa_column=Column(JSON, nullable=False))
    default_for: list[str] = Field(sa_column=Column(JSON, nullable=False))
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    state: str = Field(max_length=20)
    problem: str = Field(sa_column=Column(Text, nullable=False))
    sealed: str = Field(sa_column=Column(Text, nullable=False), repr=False)
    connected_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    last_used_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    last_used_for: str = Field(default="", max_length=60)
    refresher: str = Field(default="", max_length=32)


class Consent(AccountsBase, table=True):
    """A consent that has begun; deleted when it is finished."""

    __tablename__ = "consent"

    state_digest: str = Field(primary_key=True, max_length=64)
    person: str = Field(sa_column=Column(Text, nullable=False))
    provider_id: str = Field(max_length=60)
    account_id: str = Field(max_length=32)
    again: bool
    name: str = Field(max_length=60)
    capabilities: list[str] = Field(sa_column=Column(JSON, nullable=False))
    redirect_uri: str = Field(sa_column=Column(Text, nullable=False))
    sealed: str = Field(sa_column=Column(Text, nullable=False), repr=False)
    expires_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Waiting(AccountsBase, table=True):
    """A run that waits until an account is connected again."""

    __tablename__ = "waiting"

    account_id: str = Field(primary_key=True, max_length=32)
    workflow_id: str = Field(sa_column=Column(Text, primary_key=True))
    since: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Event(AccountsBase, table=True):
    """One audit event; never a secret."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_organisation_id", "organisation", "id"),
        Index("ix_event_person_id", "person", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    kind: str = Field(max_length=40)
    organisation: str = Field(sa_column=Column(Text, nullable=False))
    person: str = Field(sa_column=Column(Text, nullable=False))
    account_id: str = Field(max_length=32)
    name: str = Field(max_length=60)
    provider_id: str = Field(max_length=60)
    detail: str = Field(sa_column=Column(Text, nullable=False))


class Rules(AccountsBase, table=True):
    """What an organisation's administrators decided."""

    __tablename__ = "rules"

    organisation: str = Field(sa_column=Column(Text, primary_key=True))
    content: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
