"""What the command line reads of the API's answers.

It reads no more than it shows and takes unknown words as they are, so that it goes on working against an API that is
newer than itself. A test compares the field names with the API's own models.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, JsonValue

ENDED = frozenset({"completed", "failed", "cancelled"})
PENDING = "pending"
CHAT = "chat"


class Origin(BaseModel):
    """Where one value of an action came from."""

    path: str
    source: str
    step_id: str | None = None
    tool: str | None = None
    out_of: list[str] = Field(default_factory=list)
    trusted: bool = False


class Message(BaseModel):
    """One message of the conversation."""

    role: str
    text: str


class Usage(BaseModel):
    """What the language model was, or at most will be, used for."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0


class StepError(BaseModel):
    """Why something did not work."""

    type: str
    message: str


class StepConsent(BaseModel):
    """With whose consent an effect happened."""

    how: str
    rule: str | None = None
    grant_id: str | None = None
    approval_id: str | None = None


class Step(BaseModel):
    """One step of the plan."""

    id: str
    tool: str
    capability: str
    depends_on: list[str]
    status: str
    attempts: int = 0
    error: StepError | None = None
    parent: str | None = None
    effect: bool = False
    undo: str | None = None
    consent: StepConsent | None = None
    held_until: datetime | None = None
    kept_from: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is allowed, and kept back a little so that a cancel still stops it."""
        return self.status == PENDING and self.held_until is not None


class PlanCard(BaseModel):
    """What a plan would cost at most."""

    worst_case: Usage = Usage()


class Plan(BaseModel):
    """The plan."""

    steps: list[Step]
    card: PlanCard | None = None


class Vote(BaseModel):
    """One person's yes."""

    by: str


class Offer(BaseModel):
    """The arguments for which a standing permission is offered."""

    args: dict[str, list[str]] = Field(default_factory=dict)
    closed: bool = False


class Approval(BaseModel):
    """An action, a plan or a budget that waits for a person, or did."""

    id: str
    step_id: str = ""
    kind: str = "action"
    tool: str
    args: dict[str, JsonValue]
    args_hash: str
    args_schema: dict[str, Any] = Field(default_factory=dict)
    preview: str
    reasons: list[str] = Field(default_factory=list)
    origins: list[Origin] = Field(default_factory=list)
    expires_at: datetime | None = None
    at_expiry: str | None = None
    overdue: bool = False
    reminders: int = 0
    reminded_at: datetime | None = None
    escalated_at: datetime | None = None
    status: str
    undo: str | None = None
    approvers: int = 1
    votes: list[Vote] = Field(default_factory=list)
    by: list[str] = Field(default_factory=list)
    not_the_requester: bool = False
    offer: Offer | None = None
    grant_id: str | None = None


class WorkerWait(BaseModel):
    """A capability that no worker serves, and what waits for it."""

    capability: str
    since: datetime
    steps: list[str] = Field(default_factory=list)
    gives_up_at: datetime


class Budget(BaseModel):
    """What a run may use and has used."""

    limits: dict[str, float | None]
    used: dict[str, float]


class UndoStep(BaseModel):
    """What became of taking one effect back."""

    step_id: str
    tool: str
    undo: str | None = None
    status: str
    error: str | None = None


class Links(BaseModel):
    """Where else a run can be seen."""

    temporal_ui: str = ""


class Assistant(BaseModel):
    """A run."""

    id: str
    status: str
    message: str
    messages: list[Message] = Field(default_factory=list)
    mode: str = "task"
    plan: Plan | None = None
    approvals: list[Approval] = Field(default_factory=list)
    question: str | None = None
    question_id: str | None = None
    reply: str | None = None
    error: StepError | None = None
    notices: list[str] = Field(default_factory=list)
    waiting_for: list[WorkerWait] = Field(default_factory=list)
    budget: Budget | None = None
    undo: list[UndoStep] = Field(default_factory=list)
    forked_from: str | None = None
    owner: str = "local"
    links: Links = Links()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

    @property
    def turn_is_over(self) -> bool:
        """Whether it is a chat that has answered and waits for the next message."""
        return self.mode == CHAT and self.status == "awaiting_input" and self.question is None

    @property
    def steps(self) -> list[Step]:
        """The steps, or none while there is no plan yet."""
        return self.plan.steps if self.plan else []

    @property
    def pending(self) -> list[Approval]:
        """The approvals that wait."""
        return [approval for approval in self.approvals if approval.status == PENDING]


class AssistantSummary(BaseModel):
    """One line of the list of runs."""

    id: str
    status: str
    message: str
    started_at: datetime


class AssistantPage(BaseModel):
    """A page of the list of runs."""

    assistants: list[AssistantSummary]
    next_cursor: str | None = None


class InboxItem(Approval):
    """A pending approval with the run that it belongs to."""

    assistant_id: str
    request: str


class Inbox(BaseModel):
    """All pending approvals."""

    approvals: list[InboxItem]


class Grant(BaseModel):
    """A standing permission."""

    grant_id: str
    says: str
    live: bool
    used: int = 0


class GrantList(BaseModel):
    """All standing permissions."""

    grants: list[Grant]


class RunTime(BaseModel):
    """A time of a run on the clock of the schedule's zone."""

    local: datetime


class ScheduledRun(BaseModel):
    """A run that a schedule started."""

    assistant_id: str
    started_at: datetime
    running: bool


class ScheduleSummary(BaseModel):
    """One line of the list of schedules."""

    id: str
    name: str
    message: str
    cron: str
    timezone: str
    paused: bool
    note: str | None = None
    next_run: RunTime | None = None


class Schedule(ScheduleSummary):
    """A whole schedule."""

    plan: str | None = None
    plan_args: dict[str, JsonValue] = Field(default_factory=dict)
    next_runs: list[RunTime]
    recent_runs: list[ScheduledRun]
    skipped: int = 0
    missed: int = 0


class SchedulePage(BaseModel):
    """The list of schedules."""

    schedules: list[ScheduleSummary]


class Tool(BaseModel):
    """One tool of a capability."""

    name: str
    title: str


class Capability(BaseModel):
    """A capability and whether anybody works for it."""

    name: str
    version: str
    description: str
    task_queue: str
    tools: list[Tool]
    pollers: int
    healthy: bool


class Capabilities(BaseModel):
    """All capabilities."""

    capabilities: list[Capability]


class Health(BaseModel):
    """Readiness."""

    status: str
    waiting_for: list[str] = Field(default_factory=list)
