"""What goes in and out of the workflows: starts, decisions, messages and views.

The names are the same in the HTTP API, the Temporal CLI and the Web UI. Models here are built once and never changed in
place (see `retinue.temporal.CompactPayloadConverter`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities.reasoning.contract import Message, Role, Usage
from retinue.capability import Manifest
from retinue.times import Moment


class AssistantStatus(StrEnum):
    """Where an assistant stands."""

    PLANNING = "planning"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_INPUT = "awaiting_input"
    AWAITING_WORKER = "awaiting_worker"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({AssistantStatus.COMPLETED, AssistantStatus.FAILED, AssistantStatus.CANCELLED})


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_WORKER = "awaiting_worker"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    UNDONE = "undone"


class ApprovalStatus(StrEnum):
    """What became of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class DecisionKind(StrEnum):
    """What a person says about a pending action."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"


class StartAssistant(BaseModel):
    """Input of `AssistantWorkflow`."""

    message: str
    timezone: str = "UTC"
    owner: str = "local"


class Decide(BaseModel):
    """Input of the update `decide`."""

    model_config = ConfigDict(extra="forbid")

    approval_id: str = Field(max_length=100)
    decision: DecisionKind
    args_hash: str = Field(max_length=64, description="of the arguments that the person saw")
    args: dict[str, JsonValue] | None = Field(None, description="the new arguments, for `edit` only")
    comment: str | None = Field(None, max_length=2000)
    by: str = Field("local", max_length=200)


class DecisionSignal(BaseModel):
    """Input of the signals `approve` and `reject`."""

    approval_id: str
    args_hash: str | None = None
    comment: str | None = None
    by: str = "signal"


class SendMessage(BaseModel):
    """Input of the update `send_message` and the signal `message`."""

    text: str


class Origin(BaseModel):
    """Where one value of an action came from."""

    path: str = Field(description="JSON pointer into the arguments")
    source: str = Field(description="'user' (typed by the person), 'step' (an earlier step's result) or 'model'")
    step_id: str | None = None
    tool: str | None = None
    trusted: bool = Field(description="false where strangers may have written it or nobody typed it")


class StepError(BaseModel):
    """Why a step did not do its work."""

    type: str
    message: str


class StepView(BaseModel):
    """One step as people see it."""

    id: str
    tool: str
    capability: str
    args: dict[str, JsonValue]
    depends_on: list[str]
    why: str = ""
    status: StepStatus
    attempts: int = Field(0, description="0 before the first; filled in by the API from the run's history")
    result: JsonValue = None
    error: StepError | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None


class PlanView(BaseModel):
    """The plan as people see it."""

    steps: list[StepView]


class ApprovalView(BaseModel):
    """A pending or decided action as people see it. `preview` is rendered by code from the true arguments."""

    id: str
    step_id: str
    tool: str
    title: str
    args: dict[str, JsonValue]
    args_hash: str
    args_schema: dict[str, Any] = Field(default_factory=dict, description="for edits; empty once decided")
    preview: str
    reasons: list[str]
    origins: list[Origin]
    asked_at: Moment
    expires_at: Moment | None = None
    status: ApprovalStatus
    decision: DecisionKind | None = None
    decided_by: str | None = None
    decided_at: Moment | None = None
    comment: str | None = None


class AssistantView(BaseModel):
    """A whole assistant as people see it; the result of query `view`."""

    id: str
    status: AssistantStatus
    message: str
    messages: list[Message]
    plan: PlanView | None = None
    approvals: list[ApprovalView] = Field(default_factory=list)
    question: str | None = None
    reply: str | None = None
    error: StepError | None = Field(None, description="why the assistant as a whole failed")
    notices: list[str] = Field(
        default_factory=list, description="what else a person should know, such as a refused signal"
    )
    usage: Usage = Usage()


def plain_conversation(message: str, reply: str | None) -> list[dict[str, str]]:
    """The messages of a run that asked nothing: the request and its answer. A run's result need not repeat them."""
    said = [{"role": str(Role.USER), "text": message}]
    return said if reply is None else [*said, {"role": str(Role.ASSISTANT), "text": reply}]


class RegistryState(BaseModel):
    """Input of `RegistryWorkflow`: what it carries over when it continues as new."""

    revision: int = 0
    manifests: dict[str, Manifest] = Field(default_factory=dict)
