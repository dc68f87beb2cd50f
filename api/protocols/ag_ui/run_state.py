"""Builds a run's view from its events (docs/events.md). Pure."""

from __future__ import annotations

from typing import Any

from api.events.model import Event, EventKind
from retinue.conversation import Message
from workflows.messages import AssistantStatus, AssistantView

_ITS_OWN_KIND = frozenset({EventKind.MESSAGE, EventKind.PLAN, EventKind.STEP, EventKind.APPROVAL, EventKind.TEXT})


class RunState:
    """The view of a run, built from its events.

    Attributes:
        messages: The messages by position.
    """

    def __init__(self, run_id: str) -> None:
        self.messages: dict[int, Message] = {}
        self._fields: dict[str, Any] = {"id": run_id, "status": AssistantStatus.PLANNING, "message": ""}
        self._steps: list[dict[str, Any]] = []
        self._approvals: dict[str, dict[str, Any]] = {}

    def fold(self, event: Event) -> None:
        """Apply an event."""
        data = event.data
        if event.kind is EventKind.MESSAGE:
            self.messages[data["index"]] = Message.model_validate(data)
        elif event.kind is EventKind.PLAN:
            self._steps = [*self._steps[: data["first"]], *data["steps"]]
        elif event.kind is EventKind.STEP:
            self._steps = [data if step["id"] == data["id"] else step for step in self._steps]
        elif event.kind is EventKind.APPROVAL:
            self._approvals[data["id"]] = data
        elif event.kind not in _ITS_OWN_KIND:
            self._fields |= data

    def view(self) -> AssistantView:
        """Return the view so far. The messages are in `messages`, by position."""
        approvals = list(self._approvals.values())
        plan = {"steps": self._steps} if self._steps else None
        return AssistantView.model_validate({**self._fields, "messages": [], "plan": plan, "approvals": approvals})
