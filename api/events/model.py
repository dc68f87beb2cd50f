"""The events of a run, as every door tells them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class EventKind(StrEnum):
    """What an event is about; the name of the SSE event."""

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

    id: str | None = Field(
        None, description="names the place in the run's history and what was told; a piece of text has none"
    )
    kind: EventKind
    data: dict[str, Any] = Field(description="the part of the view that changed, with the view's own field names")
