"""Bodies of the HTTP API. Models of the workflows (`workflows.messages`) are used unchanged."""

from __future__ import annotations

import json
import zoneinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictBool, model_validator

from retinue.capability import Manifest
from retinue.schemas.plain_number import PLAIN_NUMBER
from retinue.times import Moment
from workflows.code_plans import PLANS
from workflows.messages import (
    ApprovalView,
    AssistantStatus,
    AssistantView,
    DecisionKind,
    Mode,
    RunOutcome,
    WorkerChoice,
)
from workflows.rules.budget import Limits
from workflows.rules.grants import GrantRequest

MAX_MESSAGE = 10_000
Seconds = Annotated[float, Field(ge=0, le=30), PLAIN_NUMBER]


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone; use one like 'Europe/Lisbon' or 'UTC'") from error
    return name


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("the message is empty; say what you want done")
    return text


def _is_json(args: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Reject values that Python's parser accepts but JSON or the database cannot store."""
    try:
        json.dumps(args, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValueError("holds NaN, Infinity or half of a Unicode character; send plain JSON values") from None
    return args


Zone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
Arguments = Annotated[dict[str, JsonValue], AfterValidator(_is_json)]
Text = Annotated[
    str,
    Field(max_length=MAX_MESSAGE, json_schema_extra={"minLength": 1, "pattern": r"\S"}),
    AfterValidator(_says_something),
]


def _either_planned_or_in_code() -> dict[str, JsonValue]:
    """Describe `plan` and its alternatives in the schema of a start."""
    nothing: dict[str, JsonValue] = {"type": "null"}
    free: JsonValue = {"properties": {"plan": nothing, "plan_args": {"maxProperties": 0}}}
    fixed: dict[str, JsonValue] = {
        "mode": {"const": "task"},
        "preview": {"const": False},
        "policy": {"anyOf": [nothing, {"const": ""}]},
        "budget": nothing,
    }
    in_code: list[JsonValue] = [
        {"required": ["plan"], "properties": {**fixed, "plan": {"const": name}, "plan_args": plan_args(name)}}
        for name in sorted(PLANS)
    ]
    return {"anyOf": [free, *in_code]}


def plan_args(name: str) -> dict[str, JsonValue]:
    """Return the schema of the arguments of a plan in code."""
    schema: dict[str, JsonValue] = PLANS[name].args.model_json_schema()
    assert "$defs" not in schema  # they would belong elsewhere in the document
    return schema


PlanName = Annotated[str, Field(max_length=40, json_schema_extra={"enum": sorted(PLANS)})]


class StartBody(BaseModel):
    """An assistant to start."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_either_planned_or_in_code())

    message: Text = Field(description="the message in plain language", examples=["What is on my calendar tomorrow?"])
    timezone: Zone | None = Field(None, description="IANA time zone of the person", examples=["Europe/Lisbon"])
    mode: Mode = Field(Mode.TASK, description="a task ends with its answer, a chat waits for the next message")
    preview: StrictBool = Field(False, description="ask for an approval of the whole plan before it runs")
    policy: str | None = Field(None, max_length=40, description="the name of a policy in the policy file")
    budget: Limits | None = Field(None, description="budget instead of the policy's")
    plan: PlanName | None = Field(None, description="a plan in code, such as 'briefing', instead of planning")
    plan_args: dict[str, JsonValue] = Field(default_factory=dict, description="arguments of that plan")
    wait_seconds: Seconds = Field(0, description="wait this long for the assistant to end or to need a person")

    @model_validator(mode="after")
    def _plan_is_known(self) -> StartBody:
        if self.plan is None:
            if self.plan_args:
                raise ValueError("`plan_args` belong to `plan`")
            return self
        if self.plan not in PLANS:
            raise ValueError(f"there is no plan in code {self.plan!r}; there are {', '.join(sorted(PLANS))}")
        if self.mode is not Mode.TASK or self.preview or self.policy or self.budget:
            raise ValueError("a plan in code takes no mode, preview, policy or budget")
        PLANS[self.plan].args.model_validate(self.plan_args)
        return self


class MessageBody(BaseModel):
    """The next message of a chat, or the answer to the assistant's question."""

    model_config = ConfigDict(extra="forbid")

    message: Text
    question_id: str | None = Field(
        None, max_length=40, description="`question_id` of the view, so that no other question is answered"
    )
    wait_seconds: Seconds = 0


class CancelBody(BaseModel):
    """Options of a cancel."""

    model_config = ConfigDict(extra="forbid")

    undo: StrictBool = Field(False, description="also undo completed effects, last first")


class UndoBody(BaseModel):
    """Options of an undo."""

    model_config = ConfigDict(extra="forbid")

    wait_seconds: Seconds = Field(5, description="wait this long for the undo to finish")


class ForkBody(BaseModel):
    """The step to fork from, with changes."""

    model_config = ConfigDict(extra="forbid")

    from_step: str = Field(max_length=40, description="this step and those that depend on it run again")
    message: Text | None = Field(None, description="another message: the remaining steps are planned again")
    args: Arguments | None = Field(None, description="all arguments of `from_step`, changed")
    preview: StrictBool = False
    wait_seconds: Seconds = 0


class ChoiceBody(BaseModel):
    """The choice for a step without a worker."""

    model_config = ConfigDict(extra="forbid")

    choice: WorkerChoice


class BatchDecision(BaseModel):
    """One of several decisions."""

    model_config = ConfigDict(extra="forbid")

    assistant_id: str = Field(max_length=200)
    approval_id: str = Field(max_length=100)
    decision: DecisionKind
    args_hash: str = Field(max_length=64)
    args: Arguments | None = None
    comment: str | None = Field(None, max_length=2000)
    grant: GrantRequest | None = None


class BatchBody(BaseModel):
    """Several decisions. Each is handled separately: a refused one does not affect the others."""

    model_config = ConfigDict(extra="forbid")

    decisions: list[BatchDecision] = Field(min_length=1, max_length=50)


class BatchOutcome(BaseModel):
    """The result of one decision."""

    assistant_id: str
    approval_id: str
    recorded: bool
    status: int = Field(description="the HTTP status of this decision alone")
    detail: str | None = Field(None, description="why it was refused, or takes effect later")


class BatchOutcomes(BaseModel):
    """Results in the order of the decisions."""

    outcomes: list[BatchOutcome]


class DecisionBody(BaseModel):
    """A decision, bound by a hash to the arguments that the person saw."""

    model_config = ConfigDict(extra="forbid")

    decision: DecisionKind
    args_hash: str = Field(max_length=64, description="`args_hash` of the approval as shown")
    args: Arguments | None = Field(None, description="for `edit`: all arguments, changed")
    comment: str | None = Field(None, max_length=2000)
    grant: GrantRequest | None = Field(
        None, description="with `approve` or `edit`: also create a grant for similar actions"
    )
    wait_seconds: Seconds = 0


class Links(BaseModel):
    """Links of an assistant."""

    self: str
    events: str | None = None
    temporal_ui: str


class Assistant(AssistantView):
    """An assistant as the API shows it."""

    links: Links


class AssistantSummary(BaseModel):
    """One line in the list of assistants."""

    id: str
    status: AssistantStatus
    message: str = Field(description="the first 120 characters of the message")
    pending_approvals: int
    started_at: Moment
    finished_at: Moment | None = None
    owner: str = Field("", description="owner; assistants of others are listed for auditors only")
    outcome: RunOutcome | None = Field(None, description="what a completed assistant did")
    links: Links


class AssistantPage(BaseModel):
    """A page of assistants, newest first."""

    assistants: list[AssistantSummary]
    next_cursor: str | None = None


class InboxItem(ApprovalView):
    """A pending approval and its assistant."""

    assistant_id: str
    request: str = Field(description="the person's message")
    links: Links


class Inbox(BaseModel):
    """Pending approvals of the caller."""

    approvals: list[InboxItem]
    unreadable: list[str] = Field(
        default_factory=list, description="assistants whose pending approvals cannot be read at the moment"
    )
    waiting: int = Field(
        0,
        description="number of assistants with pending approvals, over all pages",
    )
    next_cursor: str | None = None


class CapabilityState(Manifest):
    """A capability with its live state."""

    pollers: int = Field(description="workers that poll its queue now")
    healthy: bool = Field(description="at least one worker polls")


class Capabilities(BaseModel):
    """All registered capabilities."""

    capabilities: list[CapabilityState]


class Health(BaseModel):
    """Liveness or readiness."""

    status: Literal["ok", "waiting"]
    waiting_for: list[str] = Field(default_factory=list)
    detail: str | None = Field(None, description="what is missing, in words; if ready, which capabilities do not work")
