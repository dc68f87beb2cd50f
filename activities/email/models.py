"""Tables of the mail capability. Its metadata is its own: no other capability's table can end up in this database."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Enum, Index
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from activities.email.contract import Folder
from retinue.store import UtcDateTime


class EmailBase(SQLModel, registry=registry()):
    """Base of this capability's tables."""


_FOLDER = Enum(Folder, values_callable=lambda kinds: [kind.value for kind in kinds], native_enum=False, length=20)
"""Stored by value ('sent'), as people and other programs know the folders."""


class Message(EmailBase, table=True):
    """One mail, incoming or own. Everything in it is bounded and free of control characters before it gets here."""

    __tablename__ = "messages"
    __table_args__ = (Index("messages_folder_date", "folder", "date"),)

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
