"""Summaries of assistants for other programs: the view's field names, in bounded size, with absolute links.

A view may have megabytes of results. Everything omitted here is available at `links`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, JsonValue

from retinue.json_values import cut, json_size
from retinue.text import safe_excerpt
from retinue.times import Moment
from workflows.messages import (
    ApprovalKind,
    ApprovalStatus,
    ApprovalView,
    AssistantStatus,
    AssistantView,
    StepError,
    StepStatus,
    StepView,
)
from workflows.rules.card import Card, in_whole
from workflows.rules.provenance import Origin

_PLAN_BYTES = 32 * 1024
_LEAST_BYTES = 200
_STEPS = 100
_TEXT = 16_000
_NOTICES = 10
_APPROVALS_BYTES = 96 * 1024
"""Bytes of all approvals together. The first is always complete: an approval must be shown as a whole."""


class ShownLinks(BaseModel):
    """Links of an assistant."""

    self: str = Field(description="the whole assistant; its approvals are decided below it")
    events: str | None = None


class ShownStep(BaseModel):
    """One step."""

    id: str
    tool: str
    status: StepStatus
    args: JsonValue = Field(None, description="cut if it is long")
    result: JsonValue = Field(None, description="cut if it is long; may contain text by strangers")
    error: StepError | None = None


class ShownPlan(BaseModel):
    """The plan: its last steps."""

    steps: list[ShownStep]


class ShownApproval(BaseModel):
    """An action that waits for a person."""

    id: str
    assistant_id: str
    step_id: str
    tool: str
    title: str
    kind: ApprovalKind
    status: ApprovalStatus
    args: dict[str, JsonValue]
    args_hash: str = Field(description="a decision names it and is bound to exactly these arguments")
    preview: str = Field(description="the action, rendered by code from its real arguments")
    card: Card | None = Field(None, description="the same as structured data, with origins of values and undo")
    reasons: list[str]
    origins: list[Origin] = Field(default_factory=list, description="where values of the arguments came from")
    undo: str | None = Field(None, description="the tool that undoes the action; null if it cannot be undone")
    expires_at: Moment | None = None
    link: str = Field(description="its page for people")
    recorded: str | None = Field(
        None, description="notice of a decision that takes effect when a workflow worker answers again"
    )

    def in_whole(self) -> str:
        """Return everything that a person must read before deciding, as text."""
        return in_whole(self.preview, self.card, self.reasons)


class ShownAssistant(BaseModel):
    """An assistant."""

    id: str
    status: AssistantStatus
    message: str
    reply: str | None = Field(None, description="may contain text by strangers")
    question: str | None = Field(None, description="what the assistant asks; `send_message` answers it")
    question_id: str | None = None
    error: StepError | None = None
    notices: list[str] = Field(default_factory=list)
    plan: ShownPlan | None = None
    approvals: list[ShownApproval] = Field(default_factory=list, description="pending approvals")
    approvals_left_out: int = Field(0, description="further pending approvals; decide these first")
    links: ShownLinks


class ShownInbox(BaseModel):
    """Approvals over all assistants."""

    approvals: list[ShownApproval]
    approvals_left_out: int = 0
    unreadable: list[str] = Field(
        default_factory=list, description="assistants whose pending approvals cannot be read at the moment"
    )


def address(base: str, assistant_id: str) -> str:
    """Return an assistant's address.

    Args:
        base: The API's address as the caller reached it, with a trailing slash.
        assistant_id: The assistant.
    """
    return f"{base}v1/assistants/{assistant_id}"


def shown(view: AssistantView, base: str) -> ShownAssistant:
    """Return a bounded summary of an assistant."""
    approvals, left_out = bounded([shown_approval(approval, view.id, base) for approval in waiting(view)])
    link = address(base, view.id)
    return ShownAssistant(
        id=view.id,
        status=view.status,
        message=_text(view.message) or "",
        reply=_text(view.reply),
        question=_text(view.question),
        question_id=view.question_id,
        error=view.error,
        notices=[_text(notice) or "" for notice in view.notices[-_NOTICES:]],
        plan=_plan(view),
        approvals=approvals,
        approvals_left_out=left_out,
        links=ShownLinks(self=link, events=f"{link}/events"),
    )


def waiting(view: AssistantView) -> list[ApprovalView]:
    """Return the pending approvals, oldest first."""
    pending = [approval for approval in view.approvals if approval.status is ApprovalStatus.PENDING]
    return sorted(pending, key=lambda approval: (approval.asked_at, approval.id))


def shown_approval(approval: ApprovalView, assistant_id: str, base: str) -> ShownApproval:
    """Return one approval with everything that a person must see."""
    fields: dict[str, Any] = {name: getattr(approval, name) for name in ShownApproval.model_fields if name in _OWN}
    return ShownApproval(**fields, assistant_id=assistant_id, link=address(base, assistant_id))


_OWN = frozenset(ApprovalView.model_fields)


def bounded(approvals: list[ShownApproval]) -> tuple[list[ShownApproval], int]:
    """Return as many as fit, each complete, and the number of the others."""
    taken, size = 0, 0
    for approval in approvals:
        size += len(approval.model_dump_json())
        if taken and size > _APPROVALS_BYTES:
            break
        taken += 1
    return approvals[:taken], len(approvals) - taken


def _plan(view: AssistantView) -> ShownPlan | None:
    if view.plan is None:
        return None
    steps = view.plan.steps[-_STEPS:]
    share = max(_LEAST_BYTES, _PLAN_BYTES // max(1, 2 * len(steps)))
    return ShownPlan(steps=[_step(step, share) for step in steps])


def _step(step: StepView, share: int) -> ShownStep:
    error = step.error and step.error.model_copy(update={"message": step.error.message[:500]})
    return ShownStep(
        id=step.id,
        tool=step.tool,
        status=step.status,
        args=cut(step.args, share),
        result=cut(step.result, share),
        error=error,
    )


def _text(text: str | None) -> str | None:
    """Return a text for display: invisible characters made visible, and cut."""
    return None if text is None else safe_excerpt(text, _TEXT)


def fits(value: JsonValue, limit: int) -> bool:
    """Return whether a value has at most this many bytes as JSON."""
    return json_size(value) <= limit
