"""Tables of the mail capability. Its metadata is its own: no other capability's table can end up in this database."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Enum, Index, LargeBinary
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from activities.email.contract import Folder
from retinue.database.migrations import migrated
from retinue.database.people import OfPerson
from retinue.store import UtcDateTime


class EmailBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of this capability's tables."""


_FOLDER = Enum(Folder, values_callable=lambda kinds: [kind.value for kind in kinds], native_enum=False, length=20)
"""Stored by value ('sent'), as people and other programs know the folders."""


class Message(OfPerson, EmailBase, table=True):
    """One mail, incoming or own. Everything in it is bounded and free of control characters before it gets here."""

    __tablename__ = "messages"
    __table_args__ = (Index("messages_person_folder_date", "person", "folder", "date"),)

    message_id: str = Field(primary_key=True, max_length=500)
    folder: Folder = Field(sa_column=Column(_FOLDER, nullable=False))
    sender: str = Field(description="bare address, or the header's words where it holds none")
    sender_name: str = ""
    recipients: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    cc: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    subject: str = ""
    date: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    text: str = ""
    unread: bool = False
    attachments: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    in_reply_to: str | None = Field(default=None, max_length=500)
    haystack: str = Field(
        default="", description="sender, subject and text, folded for searching: SQLite only folds ASCII"
    )


class Arrival(OfPerson, EmailBase, table=True):
    """The order in which mails came into the own mailbox; their dates are their senders'."""

    __tablename__ = "arrivals"

    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    message_id: str = Field(max_length=500)


class Source(OfPerson, EmailBase, table=True):
    """A mail of the own mailbox as it came or went, for its attachments and for replies."""

    __tablename__ = "sources"

    message_id: str = Field(primary_key=True, max_length=500)
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class SavedFile(OfPerson, EmailBase, table=True):
    """A saved attachment. Its id is made of name and content, so that the same file is kept once."""

    __tablename__ = "files"

    file_id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=100)
    content_type: str = Field(max_length=100)
    size: int
    saved_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class OutboxState(StrEnum):
    """How far an outgoing mail has come."""

    PREPARED = "prepared"
    SENT = "sent"
    FILING = "filing"
    FILED = "filed"


_STATE = Enum(
    OutboxState, values_callable=lambda states: [state.value for state in states], native_enum=False, length=20
)


class Outgoing(OfPerson, EmailBase, table=True):
    """One outgoing mail over a mail server, from its first attempt until its copy is in Sent.

    Whether it was sent is decided by the ledger alone. This row keeps the mail's bytes the same over all attempts, and
    remembers that a copy is owed.
    """

    __tablename__ = "outbox"

    key: str = Field(primary_key=True, max_length=500, description="the step's key in the ledger")
    message_id: str = Field(max_length=500)
    state: OutboxState = Field(sa_column=Column(_STATE, nullable=False))
    content: bytes = Field(
        sa_column=Column(LargeBinary, nullable=False), description="as it goes out; empty once the copy is filed"
    )
    changed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class Relocation(OfPerson, EmailBase, table=True):
    """One mail on a mail server that a step moves or deletes: which one it is, and where it stood.

    Written before anything moves, so that a second attempt means the same mail and reports the same place.
    """

    __tablename__ = "relocations"

    key: str = Field(primary_key=True, max_length=500, description="the step's key in the ledger")
    message_id: str = Field(max_length=500)
    subject: str = ""
    folder: Folder = Field(sa_column=Column(_FOLDER, nullable=False))
    mailbox: str = Field(max_length=1000, description="the folder's name on the server")
    uid_validity: int = Field(sa_column=Column(BigInteger, nullable=False))
    uid: int = Field(sa_column=Column(BigInteger, nullable=False))
