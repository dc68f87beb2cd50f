"""What the worker of an MCP server remembers: what each tool was called, and what was said of it when it was accepted."""

from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from retinue.database.migrations import migrated
from retinue.store import UtcDateTime


class McpBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of these tables; its own registry separates them from other capabilities' tables."""


class PinnedTool(McpBase, table=True):
    """One tool as it was accepted, and as it was last seen where that differs."""

    __tablename__ = "pinned_tool"

    server: str = Field(primary_key=True, max_length=40)
    tool: str = Field(primary_key=True, max_length=128, description="the server's own name")
    name: str = Field(max_length=120, description="ours; never given to another tool")
    accepted: str = Field(max_length=64, description="SHA-256 of what the server said when it was accepted")
    accepted_words: str = Field(max_length=2000)
    seen: str = Field(max_length=64)
    seen_words: str = Field(max_length=2000)
    since: datetime = Field(sa_type=UtcDateTime)

    @property
    def changed(self) -> bool:
        """Whether the server says something else by now."""
        return self.seen != self.accepted
