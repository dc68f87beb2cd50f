"""The events of a run, for all protocols."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class EventKind(StrEnum):
    """The kind of an event; the name of the SSE event."""

    PLAN = "plan"
    STEP = "step"
    APPROVAL = "approval"
    QUESTION = "question"
    MESSAGE = "message"
    USAGE = "usage"
    STATUS = "status"
    TEXT = "text"
    END = "end"


class Event(BaseModel):
    """One event. What `data` holds by kind, and how a reader folds it into a view: docs/events.md."""

    id: str | None = Field(None, description="position for Last-Event-ID; empty for a piece of text")
    kind: EventKind
    data: dict[str, Any] = Field(description="the changed part of the view, with the view's field names")
