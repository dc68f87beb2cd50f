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


class Origin(BaseModel):
    """Where one value of an action came from."""

    path: str
    source: str
    step_id: str | None = None
    tool: str | None = None
    trusted: bool = False


class StepError(BaseModel):
    """Why something did not work."""

    type: str
    message: str


class Step(BaseModel):
    """One step of the plan."""

    id: str
    tool: str
    capability: str
    depends_on: list[str]
    status: str
    attempts: int = 0
    error: StepError | None = None


class Plan(BaseModel):
    """The plan."""

    steps: list[Step]


class Approval(BaseModel):
    """An action that waits for a person, or did."""

    id: str
    tool: str
    args: dict[str, JsonValue]
    args_hash: str
    args_schema: dict[str, Any] = Field(default_factory=dict)
    preview: str
    reasons: list[str] = Field(default_factory=list)
    origins: list[Origin] = Field(default_factory=list)
    expires_at: str | None = None
    status: str


class Links(BaseModel):
    """Where else a run can be seen."""

    temporal_ui: str = ""


class Assistant(BaseModel):
    """A run."""

    id: str
    status: str
    message: str
    plan: Plan | None = None
    approvals: list[Approval] = Field(default_factory=list)
    question: str | None = None
    reply: str | None = None
    error: StepError | None = None
    notices: list[str] = Field(default_factory=list)
    links: Links = Links()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

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
