"""The reasoning capability's table: conversations, message by message."""

from sqlalchemy import Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class ReasoningBase(SQLModel, registry=registry()):
    """Base of the capability's tables: a registry of its own keeps them apart from other capabilities' tables."""


class StoredMessage(ReasoningBase, table=True):
    """One message of a transcript, as the model's endpoint takes it. Written once and never changed."""

    __tablename__ = "transcripts"

    key: str = Field(primary_key=True, max_length=300)
    position: int = Field(primary_key=True, ge=0)
    message: str = Field(sa_type=Text, description="JSON")
