"""What goes in and out of the workflows: starts, decisions, messages and views.

The names are the same in the HTTP API, the Temporal CLI and the Web UI. Models here are built once and never changed in
place (see `retinue.temporal.connection.CompactPayloadConverter`).
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities.reasoning.contract import CallOutcome, ConverseResult
from retinue.capability import Manifest
from retinue.conversation import Message, Role, Transcript, Usage
from retinue.plan import BoundPlan, BoundStep
from retinue.provenance.credential import Credential
from retinue.times import Moment
from workflows.rules.budget import Limits
from workflows.rules.card import Card
from workflows.rules.grants import GrantRequest, Scope
from workflows.rules.policy import AtExpiry, Policy
from workflows.rules.provenance import Origin, TypedValue
from workflows.rules.rejections import Rejection


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


class RunOutcome(StrEnum):
    """What a completed run did."""

    DONE = "done"
    ANSWERED = "answered"
    """It gave an answer, and had nothing to do."""
    NOTHING_CHANGED = "nothing_changed"
    """Something was planned and not done, and nothing was changed."""


class ApprovalStatus(StrEnum):
    """What became of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ApprovalKind(StrEnum):
    """What is being decided."""

    ACTION = "action"
    PLAN = "plan"
    BUDGET = "budget"
    REPEAT = "repeat"
    """Whether to do again what may have happened already."""


class Mode(StrEnum):
    """A task ends with its answer; a chat waits for the next message."""

    TASK = "task"
    CHAT = "chat"


class WorkerChoice(StrEnum):
    """What a person wants done about a step that no worker takes."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"


class DecisionKind(StrEnum):
    """What a person says about a pending action."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"


class KeptStep(BaseModel):
    """A finished step that a later turn, or a fork of the run, goes on from."""

    bound: BoundStep
    args: dict[str, JsonValue] = Field(default_factory=dict, description="as they ran, references resolved")
    result: JsonValue = None
    consent: StepConsent | None = None
    at: Moment | None = None
    assistant_id: str | None = Field(None, description="the run that did it, where that is another one")


class Fork(BaseModel):
    """What a run takes over from the one that it was forked from."""

    assistant_id: str
    from_step: str
    messages: list[Message]
    kept: list[KeptStep] = Field(default_factory=list, description="finished steps, not done again")
    again: BoundPlan | None = Field(None, description="the steps to run; None to plan them anew")
    typed: list[str] = Field(default_factory=list, description="values that the person wrote into the arguments")
    typed_through: list[TypedValue] = Field(
        default_factory=list, description="values that were written there through credentials that may not decide"
    )
    ran: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="by step, the arguments as they ran; only to compare new ones with"
    )
    round: int = Field(1, description="the last planning round that the ids of taken-over steps speak of")


class ContinuedState(BaseModel):
    """What a chat carries over when it continues as new: everything that a person or a later turn may need."""

    messages: list[Message]
    inbox: list[SendMessage] = Field(default_factory=list)
    message_keys: list[str] = Field(default_factory=list)
    transcribed: int = 0
    round: int = 1
    turns: int = 0
    questions: int = 0
    kept: list[KeptStep] = Field(default_factory=list)
    effects: list[DoneEffect] = Field(default_factory=list)
    approvals: list[ApprovalView] = Field(default_factory=list)
    rejections: list[Rejection] = Field(default_factory=list)
    notices: list[str] = Field(default_factory=list)
    usage: Usage = Usage()
    typed: list[str] = Field(default_factory=list)
    typed_through: list[TypedValue] = Field(default_factory=list)
    reply: str | None = None
    error: StepError | None = None
    asked_budgets: int = 0
    day_extra: dict[str, float] = Field(default_factory=dict)
    day_extra_on: date | None = None


class ScheduleTerms(BaseModel):
    """What the maker of a schedule chose for its runs. What of it still holds is found out by the API, again and again."""

    policy: str | None = Field(None, description="by name; None: `default`")
    budget: Limits | None = None
    through: Credential | None = Field(None, description="the credential as it was when the schedule was made")


class StartAssistant(BaseModel):
    """Input of `AssistantWorkflow`."""

    message: str
    timezone: str = "UTC"
    owner: str = "local"
    mode: Mode = Mode.TASK
    preview: bool = False
    policy: Policy | None = Field(None, description="None: the default policy")
    budget: Limits | None = Field(None, description="in place of the policy's budget of a run")
    schedule_id: str | None = None
    schedule_terms: ScheduleTerms | None = Field(
        None, description="of a schedule's run; `policy`, `budget` and `through` are what holds of them now"
    )
    notice: str = Field("", description="what the person should know of this start")
    fork: Fork | None = None
    turns_per_run: int = Field(100, ge=1, description="after so many turns a chat continues as new")
    continued: ContinuedState | None = None
    day_timezone: str = Field(
        "UTC",
        description="in whose days the day's budget of the person is counted: the installation's, whatever a run's is",
    )
    call: BoundStep | None = Field(
        None, description="one tool call in place of a plan, as a door was asked for it: no model takes part"
    )
    notify: bool = Field(False, description="people's webhooks are told what the run wants of them")
    answer_schema: dict[str, JsonValue] | None = Field(
        None, description="the JSON schema in which a program wants the answer to `message`, instead of words"
    )
    through: Credential | None = Field(None, description="the credential with which the person asked for it")
    only_deciders: bool = Field(
        False,
        description="its policy or budget may let pass more than the person's own, so only credentials that may decide "
        "may add to what it does",
    )


class Decide(BaseModel):
    """Input of the update `decide`."""

    model_config = ConfigDict(extra="forbid")

    approval_id: str = Field(max_length=100)
    decision: DecisionKind
    args_hash: str = Field(max_length=64, description="of the arguments that the person saw")
    args: dict[str, JsonValue] | None = Field(None, description="the new arguments, for `edit` only")
    comment: str | None = Field(None, max_length=2000)
    by: str = Field("local", max_length=200)
    through: Credential | None = Field(None, description="the credential with which the person decides")
    grant: GrantRequest | None = Field(None, description="with `approve` or `edit`: allow the like from now on")


class SaidBefore(BaseModel):
    """Input of the query `said`."""

    before: int = Field(ge=0, description="position of the message that follows")
    limit: int = Field(100, ge=1, le=500)


class MessagePage(BaseModel):
    """A part of a conversation."""

    first: int = Field(description="position of the first message here; 0 is the beginning of the conversation")
    messages: list[Message]


class ChooseForStep(BaseModel):
    """Input of the update `choose`: what to do about a step that no worker takes."""

    model_config = ConfigDict(extra="forbid")

    step_id: str = Field(max_length=100)
    choice: WorkerChoice
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
    key: str | None = Field(None, max_length=200, description="the same key again is the same message")
    question_id: str | None = Field(None, max_length=40, description="the question that this answers, if it must be it")
    answer_schema: dict[str, JsonValue] | None = Field(
        None, description="the JSON schema in which a program wants the answer, instead of words"
    )
    through: Credential | None = Field(None, description="the credential with which the person says it")


class StartMicroAgent(BaseModel):
    """Input of `MicroAgentWorkflow`: one turn of one capability's own agent."""

    agent: str
    goal: str
    inputs: JsonValue = None
    timezone: str
    transcript: Transcript
    outcomes: list[CallOutcome] = Field(default_factory=list, description="of the calls of the turn before")
    last_turn: bool = Field(False, description="no more calls: the agent must answer")
    patient: bool = Field(False, description="wait for a worker for as long as the model's patience lasts")


class AgentTurn(BaseModel):
    """What an agent said in one turn; or that no worker was there to let it think."""

    said: ConverseResult | None = None
    waits: bool = False


class StepError(BaseModel):
    """Why a step did not do its work."""

    type: str
    message: str


class StepConsent(BaseModel):
    """With whose consent an effect happened."""

    how: str = Field(description="'automatic' by a rule of the policy, by a 'grant', or by an 'approval'")
    rule: str | None = None
    grant_id: str | None = None
    approval_id: str | None = None


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
    parent: str | None = Field(None, description="the delegated step whose agent wanted this call")
    effect: bool = Field(False, description="it changes something")
    undo: str | None = Field(None, description="the tool that takes it back; null where nothing can")
    consent: StepConsent | None = Field(None, description="of an effect: how it was allowed")
    held_until: Moment | None = Field(None, description="until then a cancel still stops it")
    waiting_since: Moment | None = Field(None, description="since when no worker takes it")
    reused_from: str | None = Field(None, description="the run that did it, when this one was forked from it")
    picked: bool = Field(False, description="several were found, and the person said which is meant")
    looked_up: bool = Field(False, description="it was stopped, and its ledger told that it had been done")


class CardStep(BaseModel):
    """One step on the plan card, before anything runs."""

    id: str
    agent: str = Field(description="the capability that would do it")
    title: str
    external: bool
    can_be_undone: bool
    asks: list[str] = Field(default_factory=list, description="why a person would be asked before it; empty: automatic")
    denied: bool = False


class PlanCard(BaseModel):
    """What a plan would do, by code: shown before anything runs."""

    steps: list[CardStep]
    worst_case: Usage = Field(Usage(), description="the model's use at most, replanning included")


class PlanView(BaseModel):
    """The plan as people see it."""

    steps: list[StepView]
    card: PlanCard | None = None


class Vote(BaseModel):
    """One person's yes to an action that needs several."""

    by: str
    at: Moment
    comment: str | None = None


class WorkerWait(BaseModel):
    """A capability that a run waits for: no worker of it takes the work, or its database does not work."""

    capability: str
    since: Moment
    steps: list[str] = Field(default_factory=list, description="empty: planning or answering waits")
    times_out_at: Moment
    reason: str = Field("", description="what is wrong with the capability's database; empty: no worker takes the work")


class BudgetView(BaseModel):
    """What the run may use and has used."""

    limits: Limits
    used: dict[str, float]


class ApprovalView(BaseModel):
    """A pending or decided action as people see it. `preview` is rendered by code from the true arguments."""

    id: str
    step_id: str
    tool: str
    title: str
    args: dict[str, JsonValue]
    args_hash: str
    args_schema: dict[str, Any] = Field(default_factory=dict, description="for edits; empty once decided")
    preview: str = Field(description="the card as text; for what is no action, what it is")
    card: Card | None = Field(None, description="of an action: what would happen, in the order that matters")
    reasons: list[str]
    origins: list[Origin]
    asked_at: Moment
    expires_at: Moment | None = None
    status: ApprovalStatus
    decision: DecisionKind | None = None
    decided_by: str | None = None
    decided_at: Moment | None = None
    comment: str | None = None
    kind: ApprovalKind = ApprovalKind.ACTION
    rule: str | None = Field(None, description="the rule of the policy that asks")
    undo: str | None = Field(None, description="the tool that takes the action back; null where nothing can")
    approvers: int = Field(1, description="how many different people must approve")
    votes: list[Vote] = Field(default_factory=list, description="who approved so far")
    by: list[str] = Field(default_factory=list, description="who may decide; empty: the person whose run it is")
    not_the_requester: bool = False
    at_expiry: AtExpiry | None = Field(None, description="what happens at `expires_at`")
    reminders: int = Field(0, description="how often it was reminded of")
    reminded_at: Moment | None = None
    escalated_at: Moment | None = None
    overdue: bool = Field(False, description="it has expired, and waits all the same")
    offer: Scope | None = Field(
        None, description="the scope of a grant, offered since the like was approved several times"
    )
    grant_id: str | None = Field(None, description="the standing permission that was given with the decision")
    recorded: str | None = Field(
        None, description="in words, by the API: a decision that counts when a workflow worker answers again"
    )


class RecordedState(StrEnum):
    """What became of a decision that was made while no workflow worker answered."""

    WAITING = "waiting"
    COUNTED = "counted"
    REFUSED = "refused"


class RecordedDecision(BaseModel):
    """A decision that the API keeps until a workflow worker answers, or that was refused then."""

    approval_id: str | None = Field(None, description="what was decided; or else `step_id`")
    step_id: str | None = Field(None, description="of a step that waits for a worker: what was chosen for it")
    decision: DecisionKind | WorkerChoice
    by: str
    at: Moment
    state: RecordedState
    detail: str | None = Field(None, description="why it was refused")


class DoneEffect(BaseModel):
    """An effect that happened, with what is needed to take it back."""

    step_id: str
    tool: str
    title: str
    capability: str
    undo: str | None = None
    args: dict[str, JsonValue]
    result: JsonValue = None
    consent: StepConsent | None = None
    at: Moment | None = None
    unknown: bool = Field(False, description="nobody knows whether it happened")


class UndoStep(BaseModel):
    """What became of taking one effect back."""

    step_id: str
    tool: str
    title: str
    undo: str | None = None
    status: str = Field(
        "pending", description="'pending', 'undone', 'failed', or 'impossible' where nothing takes it back"
    )
    error: str | None = None


class StartUndo(BaseModel):
    """Input of `UndoWorkflow`: the effects of an ended run in the order in which they happened."""

    assistant_id: str
    effects: list[DoneEffect]
    by: str = "local"
    policy: Policy | None = Field(None, description="what it forbids is not done to undo something either")


class UndoView(BaseModel):
    """The undoing of a run; result and query `view` of `UndoWorkflow`."""

    assistant_id: str
    by: str
    done: bool = False
    steps: list[UndoStep]


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
    mode: Mode = Mode.TASK
    question_id: str | None = Field(None, description="names the question that waits for an answer")
    waiting_for: list[WorkerWait] = Field(default_factory=list, description="capabilities that no worker serves")
    budget: BudgetView | None = None
    undo: list[UndoStep] = Field(default_factory=list, description="what was taken back, and what could not be")
    schedule_id: str | None = None
    forked_from: str | None = None
    turns: int = Field(0, description="of a chat: how many messages it has answered")
    earlier_messages: int = Field(0, description="how many messages came before those shown; /messages has them")
    effects: list[DoneEffect] = Field(
        default_factory=list, description="of a chat: what all its turns did; the plan shows the last turns only"
    )
    owner: str = "local"
    outcome: RunOutcome | None = Field(None, description="of a completed run: what it did")
    status_since: Moment | None = Field(None, description="since when it has had this status, where that is known")
    recorded_decisions: list[RecordedDecision] = Field(
        default_factory=list,
        description="by the API: made while no workflow worker answered, and waiting for one, or refused then",
    )


def plain_conversation(message: str, reply: str | None) -> list[dict[str, str]]:
    """The messages of a run that asked nothing: the request and its answer. A run's result need not repeat them."""
    said = [{"role": str(Role.USER), "text": message}]
    return said if reply is None else [*said, {"role": str(Role.ASSISTANT), "text": reply}]


class RegistryState(BaseModel):
    """Input of `RegistryWorkflow`: what it carries over when it continues as new."""

    revision: int = 0
    manifests: dict[str, Manifest] = Field(default_factory=dict)


ContinuedState.model_rebuild()
StartAssistant.model_rebuild()
