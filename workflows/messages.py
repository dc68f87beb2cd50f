"""Inputs and outputs of the workflows: starts, decisions, messages and views.

The names are the same in the HTTP API, the Temporal CLI and the Web UI. Never change these models in place (see
`retinue.temporal.connection.CompactPayloadConverter`).
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities.memory.contract import RecalledFact
from activities.reasoning.contract import CallOutcome, ConverseResult
from retinue.capability import Manifest
from retinue.conversation import Message, Role, Transcript, Usage
from retinue.plan import BoundPlan, BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.provenance.credential import Credential
from retinue.times import Moment
from workflows.rules.budget import Limits
from workflows.rules.card import Card
from workflows.rules.grants import GrantRequest, Scope
from workflows.rules.policy import AtExpiry, Policy
from workflows.rules.provenance import Origin, TypedValue
from workflows.rules.rejections import Rejection


class AssistantStatus(StrEnum):
    """Status of an assistant."""

    PLANNING = "planning"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_INPUT = "awaiting_input"
    AWAITING_WORKER = "awaiting_worker"
    AWAITING_ACCOUNT = "awaiting_account"
    """The person must connect an account elsewhere again."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({AssistantStatus.COMPLETED, AssistantStatus.FAILED, AssistantStatus.CANCELLED})


class StepStatus(StrEnum):
    """Status of a step."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_WORKER = "awaiting_worker"
    AWAITING_ACCOUNT = "awaiting_account"
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
    """It answered and had no steps."""
    NOTHING_CHANGED = "nothing_changed"
    """It had steps, but changed nothing."""


class ApprovalStatus(StrEnum):
    """Status of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ApprovalKind(StrEnum):
    """The kind of thing to decide."""

    ACTION = "action"
    PLAN = "plan"
    BUDGET = "budget"
    REPEAT = "repeat"
    """Whether to repeat an action that may already have happened."""


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
    """A person's decision on a pending approval."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"


class KeptStep(BaseModel):
    """A finished step that a later turn or a fork of the run builds on."""

    bound: BoundStep
    args: dict[str, JsonValue] = Field(default_factory=dict, description="as they ran, references resolved")
    result: JsonValue = None
    consent: StepConsent | None = None
    at: Moment | None = None
    assistant_id: str | None = Field(None, description="the run that did it, if it is another one")


class Fork(BaseModel):
    """What a fork takes over from the run it was forked from."""

    assistant_id: str
    from_step: str
    messages: list[Message]
    kept: list[KeptStep] = Field(default_factory=list, description="finished steps, not done again")
    again: BoundPlan | None = Field(None, description="the steps to run; None: make a new plan")
    typed: list[str] = Field(default_factory=list, description="values that the person wrote into the arguments")
    typed_through: list[TypedValue] = Field(
        default_factory=list,
        description="values that were written into the arguments with credentials that may not decide",
    )
    ran: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="by step, the arguments as they ran; only to compare new ones with"
    )
    round: int = Field(1, description="the last planning round of the steps that were taken over")


class ContinuedState(BaseModel):
    """The state of a chat when it continues as new."""

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
    """What the maker of a schedule or a trigger chose for its runs. What of it still holds is found out by the API, again and again."""

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
    budget: Limits | None = Field(None, description="instead of the policy's budget of a run")
    schedule_id: str | None = None
    schedule_terms: ScheduleTerms | None = Field(
        None,
        description="of a schedule's or a trigger's run; `policy`, `budget` and `through` are what holds of them now",
    )
    notice: str = Field("", description="what the person should know of this start")
    fork: Fork | None = None
    turns_per_run: int = Field(100, ge=1, description="after so many turns a chat continues as new")
    continued: ContinuedState | None = None
    day_timezone: str = Field(
        "UTC",
        description="time zone of the person's daily budget: the installation's, not the run's",
    )
    call: BoundStep | None = Field(
        None, description="one tool call instead of a plan, as a protocol client requested it: no model takes part"
    )
    notify: bool = Field(False, description="send approvals, questions and the end to people's webhooks")
    answer_schema: dict[str, JsonValue] | None = Field(
        None, description="the JSON schema of the answer to `message`, if a program wants one instead of words"
    )
    through: Credential | None = Field(None, description="the credential with which the person started it")
    trigger_id: str | None = Field(None, description="the trigger that started it")
    first: BoundStep | None = Field(
        None,
        description="a step that code made and that runs before anything is planned: it reads what started the run",
    )
    only_deciders: bool = Field(
        False,
        description="its policy or budget may allow more than the person's own, so only credentials that may decide may "
        "send it messages",
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
    grant: GrantRequest | None = Field(None, description="with `approve` or `edit`: allow similar actions in future")


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
    question_id: str | None = Field(
        None, max_length=40, description="the question that this answers; refused if another one is open"
    )
    answer_schema: dict[str, JsonValue] | None = Field(
        None, description="the JSON schema of the answer, if a program wants one instead of words"
    )
    through: Credential | None = Field(None, description="the credential with which the person sent it")


class StartMicroAgent(BaseModel):
    """Input of `MicroAgentWorkflow`: one turn of one capability's own agent."""

    agent: str
    goal: str
    inputs: JsonValue = None
    timezone: str
    transcript: Transcript
    outcomes: list[CallOutcome] = Field(default_factory=list, description="of the previous turn's calls")
    last_turn: bool = Field(False, description="no more calls: the agent must answer")
    patient: bool = Field(False, description="wait for a worker up to the tool's `patience`")
    asked_by: AskedBy | None = Field(None, description="whose accounts the agent may name")


class AgentTurn(BaseModel):
    """What an agent's model returned in one turn, or that no worker took the turn."""

    said: ConverseResult | None = None
    waits: bool = False


class StepError(BaseModel):
    """Why a step failed or did not run."""

    type: str
    message: str


class StepConsent(BaseModel):
    """How an effect was allowed."""

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
    attempts: int = Field(0, description="0 before the first; filled in by the API from the history")
    result: JsonValue = None
    error: StepError | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    parent: str | None = Field(None, description="the delegated step whose agent requested this call")
    effect: bool = Field(False, description="whether it changes something")
    undo: str | None = Field(None, description="the tool that undoes it; null if it cannot be undone")
    consent: StepConsent | None = Field(None, description="of an effect: how it was allowed")
    held_until: Moment | None = Field(None, description="it can be cancelled before this")
    waiting_since: Moment | None = Field(None, description="since when it waits for a worker or an account")
    reused_from: str | None = Field(None, description="the earlier assistant that did it, if this one is its fork")
    picked: bool = Field(False, description="it found several, and the person chose one")
    looked_up: bool = Field(False, description="it was stopped, and its ledger says that it had been done")


class CardStep(BaseModel):
    """One step on the plan card, before anything runs."""

    id: str
    agent: str = Field(description="the capability that would do it")
    title: str
    external: bool
    can_be_undone: bool
    asks: list[str] = Field(default_factory=list, description="why it would need an approval; empty: automatic")
    denied: bool = False


class PlanCard(BaseModel):
    """What a plan would do, computed by code and shown before anything runs."""

    steps: list[CardStep]
    worst_case: Usage = Field(Usage(), description="the model usage at most, replanning included")


class PlanView(BaseModel):
    """The plan as people see it."""

    steps: list[StepView]
    card: PlanCard | None = None


class Vote(BaseModel):
    """One person's approval of an action that needs several."""

    by: str
    at: Moment
    comment: str | None = None


class WorkerWait(BaseModel):
    """A capability that an assistant waits for: no worker takes its work, or its database does not work."""

    capability: str
    since: Moment
    steps: list[str] = Field(default_factory=list, description="empty: planning or answering waits")
    times_out_at: Moment
    reason: str = Field("", description="what is wrong with the capability's database; empty: no worker takes the work")


class AccountWait(BaseModel):
    """An account elsewhere that its person must connect again; the steps go on afterwards."""

    account_id: str = ""
    name: str = Field("", description="as its person calls it")
    provider: str = ""
    link: str = Field("", description="where it is connected again; empty: the console's page Accounts")
    capability: str
    since: Moment
    steps: list[str]
    reason: str = Field("", description="in words")


class BudgetView(BaseModel):
    """Limits and usage of an assistant."""

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
    preview: str = Field(description="the card as text; for another kind, its description")
    card: Card | None = Field(None, description="of an action: what would happen, most important first")
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
    rule: str | None = Field(None, description="the rule of the policy that requires it")
    undo: str | None = Field(None, description="the tool that undoes the action; null if it cannot be undone")
    approvers: int = Field(1, description="how many different people must approve")
    votes: list[Vote] = Field(default_factory=list, description="who approved so far")
    by: list[str] = Field(default_factory=list, description="who may decide; empty: the owner")
    not_the_requester: bool = False
    at_expiry: AtExpiry | None = Field(None, description="what happens at `expires_at`")
    reminders: int = Field(0, description="how many reminders were sent")
    reminded_at: Moment | None = None
    escalated_at: Moment | None = None
    overdue: bool = Field(False, description="it has expired and still waits")
    offer: Scope | None = Field(
        None, description="the scope of a grant, offered because similar actions were approved several times"
    )
    grant_id: str | None = Field(None, description="the grant that was created with the decision")
    recorded: str | None = Field(
        None, description="in words, by the API: a decision that takes effect when a workflow worker is back"
    )


class RecordedState(StrEnum):
    """Status of a decision that was made while no workflow worker was running."""

    WAITING = "waiting"
    COUNTED = "counted"
    REFUSED = "refused"


class RecordedDecision(BaseModel):
    """A decision that the API stores until a workflow worker is back, or that was then refused."""

    approval_id: str | None = Field(None, description="what was decided; or else `step_id`")
    step_id: str | None = Field(None, description="of a step that waits for a worker: what was chosen for it")
    decision: DecisionKind | WorkerChoice
    by: str
    at: Moment
    state: RecordedState
    detail: str | None = Field(None, description="why it was refused")


class DoneEffect(BaseModel):
    """An effect that happened, with what is needed to undo it."""

    step_id: str
    tool: str
    title: str
    capability: str
    undo: str | None = None
    args: dict[str, JsonValue]
    result: JsonValue = None
    consent: StepConsent | None = None
    at: Moment | None = None
    unknown: bool = Field(False, description="it is unknown whether it happened")


class UndoStep(BaseModel):
    """Undo status of one effect."""

    step_id: str
    tool: str
    title: str
    undo: str | None = None
    status: str = Field("pending", description="'pending', 'undone', 'failed', or 'impossible' if it cannot be undone")
    error: str | None = None


class StartUndo(BaseModel):
    """Input of `UndoWorkflow`: the effects of an ended run in the order in which they happened."""

    assistant_id: str
    effects: list[DoneEffect]
    by: str = "local"
    policy: Policy | None = Field(None, description="an undo does nothing that it denies")


class UndoView(BaseModel):
    """The undo of a run; result and query `view` of `UndoWorkflow`."""

    assistant_id: str
    by: str
    done: bool = False
    steps: list[UndoStep]


class SuggestedAnswer(BaseModel):
    """An answer, or a next request, that the assistant offers."""

    text: str = Field(description="what to send")
    label: str = Field("", description="what to show instead of the text; empty: the text")


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
        default_factory=list, description="other messages for the person, such as about a refused signal"
    )
    usage: Usage = Usage()
    mode: Mode = Mode.TASK
    question_id: str | None = Field(None, description="id of the open question")
    options: list[SuggestedAnswer] = Field(
        default_factory=list,
        description="answers to the question, or requests, that the assistant offers; to send `text` is to choose one",
    )
    waiting_for: list[WorkerWait] = Field(default_factory=list, description="capabilities without a working worker")
    accounts_to_connect: list[AccountWait] = Field(
        default_factory=list, description="accounts elsewhere that the person must connect again before it goes on"
    )
    budget: BudgetView | None = None
    undo: list[UndoStep] = Field(default_factory=list, description="what was undone, and what could not be")
    schedule_id: str | None = None
    trigger_id: str | None = Field(None, description="the trigger that started it")
    forked_from: str | None = None
    turns: int = Field(0, description="of a chat: how many messages it has answered")
    earlier_messages: int = Field(0, description="how many messages came before those shown; /messages returns them")
    effects: list[DoneEffect] = Field(
        default_factory=list, description="of a chat: what all its turns did; the plan shows the last turns only"
    )
    owner: str = "local"
    outcome: RunOutcome | None = Field(None, description="of a completed run: what it did")
    status_since: Moment | None = Field(None, description="since when it has had this status, if known")
    facts: list[RecalledFact] = Field(
        default_factory=list, description="what the memory capability knows of the person and the planner was shown"
    )
    recorded_decisions: list[RecordedDecision] = Field(
        default_factory=list,
        description="by the API: made while no workflow worker was running, and waiting for one, or then refused",
    )


def plain_conversation(message: str, reply: str | None) -> list[dict[str, str]]:
    """Return the messages of a run without questions: the request and its answer. A run's result need not repeat them."""
    said = [{"role": str(Role.USER), "text": message}]
    return said if reply is None else [*said, {"role": str(Role.ASSISTANT), "text": reply}]


class RegistryState(BaseModel):
    """Input of `RegistryWorkflow`: its state when it continues as new."""

    revision: int = 0
    manifests: dict[str, Manifest] = Field(default_factory=dict)


ContinuedState.model_rebuild()
StartAssistant.model_rebuild()
