"""What the API answers, field by field. `tests/client/test_contract.py` holds it against the OpenAPI document.

Words such as statuses are plain texts, and fields that are newer than this client are kept, so that a client goes on
working against an API that is newer than itself. All times carry their offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

ENDED = frozenset({"completed", "failed", "cancelled"})
"""Statuses of an assistant after which nothing more happens."""
NEEDS_PERSON = frozenset({"awaiting_approval", "awaiting_input", "awaiting_account"})
PENDING = "pending"
CHAT = "chat"


class Shown(BaseModel):
    """Anything that the API shows."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def json_text(self) -> str:
        """Return the same JSON that the API sent: no field more, none less."""
        return self.model_dump_json(exclude_unset=True)


class Amounts(Shown):
    """Usage, by the names of a budget."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0
    steps: int = 0
    tool_calls: int = 0
    seconds: float = 0


class Annotations(Shown):
    """What a tool does to the world, in the words of MCP. The defaults are the careful ones: say nothing, be asked."""

    read_only: bool = False
    """It changes nothing."""
    destructive: bool = True
    """It may overwrite or remove what nobody can bring back."""
    idempotent: bool = False
    """The same call twice has no further effect."""
    open_world: bool = True
    """It reaches people or systems outside the capability's own store."""
    sensitive: list[str] = Field(default_factory=list)
    """JSON pointers of arguments that decide where data goes."""
    trusted_output: bool = False
    """No text in its result comes from outside; it only repeats its arguments or is the capability's own. Where it is false, the result schema may still say so of single fields (`x-origin`)."""
    own_errors: bool = False
    """What it says when it fails quotes nothing but its arguments, though its result may."""
    known_destinations: list[str] = Field(default_factory=list)
    """Names of result fields that hold addresses of people the person knows, as an address book's `email`: only what stands in these counts as a known destination."""
    picks: list[JsonValue] | None = None
    """Names of two result fields of a look-up: the one thing that was meant, null unless it is clear, and the list of all that fit. Where a later step needs the one and several fit, the person is asked which."""
    ordered: bool = False
    """The list of `picks` has an order that people mean, such as earliest first: its first item is no ambiguity."""
    finds: str = ""
    """What a look-up looks for, as a noun: 'event'. Where a later step needs it and there is none, the run says 'I found no event' and has not failed."""
    lookups: dict[str, str] = Field(default_factory=dict)
    fills_in: dict[str, str] = Field(default_factory=dict)
    """By argument that holds an id: the read-only tool of the same capability that reads what it stands for now, called with the id alone. It is read and shown when a person is asked."""
    advice: str | None = None
    """The read-only tool of the same capability that knows what is worth knowing before the action."""
    undo: str | None = None
    """The tool that compensates this one."""
    personal: bool = False
    """Its data belong to one person: the worker is told for whom the step is done."""
    accounts: bool = False
    """It works on one of the person's accounts elsewhere; its optional argument `account` names which."""


class Offer(Shown):
    """Which arguments are meant. An empty list of patterns says that there must be no value at that place."""

    args: dict[str, list[str]] = Field(default_factory=dict)
    """By JSON pointer, what each value there must fit: one of these glob patterns."""
    closed: bool = False
    """No argument may have a value that `args` does not name."""


class Origin(Shown):
    """The origin of one value of an action."""

    path: str
    """JSON pointer into the arguments."""
    source: str
    """'user' typed it, 'contacts' are the person's address book, 'own' is other data of the person's, 'strangers' may have written it, 'model' made it up, or wrote it in the step `step_id`, 'remembered' stands in what the person had remembered, 'key' was asked through an API key that may not decide; one of user, contacts, own, strangers, model, remembered, key."""
    trusted: bool
    """False where strangers may have written it or nobody typed it."""
    step_id: str | None = None
    """The earlier step whose result it was taken from."""
    tool: str | None = None
    out_of: list[str] = Field(default_factory=list)
    """The steps before that one, as 's2 (email.read)', out of whose results strangers' words came into it."""
    through: str | None = None
    """For 'key': through which, as in "key 'notes app'"."""
    fact_id: str | None = None
    """For 'remembered': the fact in which it stands."""
    fact: str | None = None
    """For 'remembered': its text, and where that comes from."""


class CardLine(Shown):
    """One argument of the action."""

    argument: str
    """Its name, or a JSON pointer into it."""
    label: str
    """Its name for people."""
    role: str
    """One of destination, change, text."""
    values: list[str] = Field(default_factory=list)
    """Each in full, unless it is a text."""
    note: str = ""
    """Effect on the present value, as in 'removes all 4: ...'."""
    length: int | None = None
    """Characters of the whole text, if only its beginning is shown."""


class CardFact(Shown):
    """One field of a thing that an id refers to."""

    label: str
    value: str


class CardThing(Shown):
    """The thing that an id refers to."""

    argument: str
    label: str
    id: str
    facts: list[CardFact] = Field(default_factory=list)
    """As they are now."""
    by_others: bool = False
    """Others may have written the facts."""
    problem: str = ""
    """Why it is unknown what the id refers to."""


class CardOrigin(Shown):
    """The origin of a value."""

    label: str
    words: str
    trusted: bool
    value: str = ""


class Card(Shown):
    """What would happen, in reading order."""

    form: str = "other"
    """One of mail, event, other."""
    lines: list[CardLine] = Field(default_factory=list)
    """Destinations, then changes, then texts."""
    things: list[CardThing] = Field(default_factory=list)
    """What ids refer to; shown after destinations."""
    origins: list[CardOrigin] = Field(default_factory=list)
    undo: str = ""
    """Whether it can be undone, in words."""
    notes: list[str] = Field(default_factory=list)
    """What is worth knowing before, as in 'overlaps with Dentist, 10:00 to 11:00'."""

    def with_role(self, role: str) -> list[CardLine]:
        """Return the lines of one role."""
        return [line for line in self.lines if line.role == role]


class Vote(Shown):
    """One person's approval of an action that needs several."""

    by: str
    at: datetime
    comment: str | None = None


class Approval(Shown):
    """A pending or decided action as people see it. `preview` is rendered by code from the true arguments."""

    id: str
    step_id: str
    tool: str
    title: str
    args: dict[str, JsonValue]
    args_hash: str
    preview: str
    reasons: list[str]
    origins: list[Origin]
    asked_at: datetime
    status: str
    """One of pending, approved, rejected, cancelled, expired."""
    args_schema: dict[str, JsonValue] = Field(default_factory=dict)
    """For edits; empty once decided."""
    card: Card | None = None
    """Of an action: what would happen, most important first."""
    expires_at: datetime | None = None
    decision: str | None = None
    """One of approve, reject, edit."""
    decided_by: str | None = None
    decided_at: datetime | None = None
    comment: str | None = None
    kind: str = "action"
    """One of action, plan, budget, repeat."""
    rule: str | None = None
    """The rule of the policy that requires it."""
    undo: str | None = None
    """The tool that undoes the action; null if it cannot be undone."""
    approvers: int = 1
    """How many different people must approve."""
    votes: list[Vote] = Field(default_factory=list)
    """Who approved so far."""
    by: list[str] = Field(default_factory=list)
    """Who may decide; empty: the owner."""
    not_the_requester: bool = False
    at_expiry: str | None = None
    """What happens at `expires_at`; one of deny, allow, wait."""
    reminders: int = 0
    """How many reminders were sent."""
    reminded_at: datetime | None = None
    escalated_at: datetime | None = None
    overdue: bool = False
    """It has expired and still waits."""
    offer: Offer | None = None
    """The scope of a grant, offered because similar actions were approved several times."""
    grant_id: str | None = None
    """The grant that was created with the decision."""
    recorded: str | None = None
    """In words: a decision that counts when a workflow worker answers again."""


class RecordedDecision(Shown):
    """A decision that is kept until a workflow worker answers, or that was refused then."""

    approval_id: str | None = None
    """What was decided; or else `step_id`."""
    step_id: str | None = None
    """Of a step that waits for a worker: what was chosen for it."""
    decision: str
    """One of approve, reject, edit; of a step wait, skip, fail."""
    by: str
    at: datetime
    state: str
    """One of waiting, refused."""
    detail: str | None = None
    """Why it was refused."""


class Limits(Shown):
    """The limits of a budget; None is unlimited."""

    requests: int | None = None
    """Requests to language models."""
    tokens: int | None = None
    """Tokens of language models, input and output together."""
    cost: float | None = None
    """In the currency of the configured prices."""
    steps: int | None = None
    """Steps of plans, including delegated ones."""
    tool_calls: int | None = None
    """Calls of tools, including those of agents."""
    seconds: float | None = None
    """Of work, without waiting for people."""


class Budget(Shown):
    """A run's limits and usage."""

    limits: Limits
    used: dict[str, float]


class StepConsent(Shown):
    """How an effect was allowed."""

    how: str
    """'automatic' by a rule of the policy, by a 'grant', or by an 'approval'."""
    rule: str | None = None
    grant_id: str | None = None
    approval_id: str | None = None


class DoneEffect(Shown):
    """An effect that happened, with what is needed to undo it."""

    step_id: str
    tool: str
    title: str
    capability: str
    args: dict[str, JsonValue]
    undo: str | None = None
    result: JsonValue = None
    consent: StepConsent | None = None
    at: datetime | None = None
    unknown: bool = False
    """It is unknown whether it happened."""


class Links(Shown):
    """Where to go from here."""

    self: str
    temporal_ui: str
    events: str | None = None


class Credential(Shown):
    """A credential without its secret."""

    kind: str
    """One of key, token, proxy."""
    id: str = ""
    """Of an API key."""
    name: str = ""
    """What its person called the API key."""
    may_decide: bool = True
    """Whether it may approve actions."""
    may_remember: bool = True
    """Whether it may read what the memory capability keeps of the person."""


class Message(Shown):
    """One message of the conversation between the person and the assistant."""

    role: str
    """One of user, assistant."""
    text: str
    withheld: bool = False
    """Not shown to planners, since it may contain strangers' words."""
    through: Credential | None = None
    """The credential with which the person said it."""
    offered: bool = False
    """A click on words that the assistant offered: nothing in it was typed."""
    options: list[str] = Field(default_factory=list)
    """Texts that the assistant offered with it: who sends one later has not typed it."""


class SuggestedAnswer(Shown):
    """An answer, or a next request, that the assistant offers."""

    text: str
    """What to send."""
    label: str = ""
    """What to show instead of the text; empty: the text."""


class CardStep(Shown):
    """One step on the plan card, before anything runs."""

    id: str
    agent: str
    """The capability that would do it."""
    title: str
    external: bool
    can_be_undone: bool
    asks: list[str] = Field(default_factory=list)
    """Why it would need an approval; empty: automatic."""
    denied: bool = False


class ModelUse(Shown):
    """What one model was used for: requests, tokens, and what they cost by its configured prices."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input tokens, those that the endpoint read from its cache, if it reports them."""
    cost: float = 0
    """In the currency of the configured prices; 0 where none are configured."""
    estimated_tokens: int = 0
    """Of the tokens, those that the endpoint did not count."""
    seconds: float = 0
    """How long its answers took, failed requests included."""


class Usage(Shown):
    """What the models were used for: requests, tokens, and what they cost by the configured prices."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0
    """In the currency of the configured prices; 0 where none are configured."""
    estimated_tokens: int = 0
    """Of the tokens, those that the endpoint did not count."""
    cached_tokens: int = 0
    """Of the input tokens, those that the endpoint read from its cache, if it reports them."""
    seconds: float = 0
    """How long the answers took, failed requests included."""
    models: dict[str, ModelUse] = Field(default_factory=dict)
    """The same by model."""
    phases: dict[str, ModelUse] = Field(default_factory=dict)
    """The same by what was asked: planning, reply, agents, extraction, composing."""
    instead: list[str] = Field(default_factory=list)
    """Why another model than the first choice answered; each sentence once."""


class PlanCard(Shown):
    """What a plan would do, computed by code and shown before anything runs."""

    steps: list[CardStep]
    worst_case: Usage = Usage()
    """The model usage at most, replanning included."""


class StepError(Shown):
    """Why a step failed or did not run."""

    type: str
    message: str


class Step(Shown):
    """One step as people see it."""

    id: str
    tool: str
    capability: str
    args: dict[str, JsonValue]
    depends_on: list[str]
    status: str
    """One of pending, awaiting_approval, awaiting_worker, awaiting_account, running, completed, failed, skipped, rejected, cancelled, unknown, undone."""
    why: str = ""
    attempts: int = 0
    """0 before the first; filled in by the API from the run's history."""
    result: JsonValue = None
    error: StepError | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parent: str | None = None
    """The delegated step whose agent requested this call."""
    effect: bool = False
    """Whether it changes something."""
    undo: str | None = None
    """The tool that undoes it; null if it cannot be undone."""
    consent: StepConsent | None = None
    """Of an effect: how it was allowed."""
    held_until: datetime | None = None
    """A cancel before this still stops it."""
    waiting_since: datetime | None = None
    """Since when it waits for a worker."""
    reused_from: str | None = None
    """The run that did it, when this one was forked from it."""
    picked: bool = False
    """It found several, and the person chose one."""
    looked_up: bool = False
    """It was stopped, and its ledger says that it had been done."""

    @property
    def is_held(self) -> bool:
        """Whether it is allowed, and kept back a little so that a cancel still stops it."""
        return self.status == PENDING and self.held_until is not None


class Plan(Shown):
    """The plan as people see it."""

    steps: list[Step]
    card: PlanCard | None = None


class UndoStep(Shown):
    """Undo status of one effect."""

    step_id: str
    tool: str
    title: str
    undo: str | None = None
    status: str = "pending"
    """'pending', 'undone', 'failed', or 'impossible' if it cannot be undone."""
    error: str | None = None


class WorkerWait(Shown):
    """A capability that a run waits for: no worker takes its work, or its database does not work."""

    capability: str
    since: datetime
    times_out_at: datetime
    steps: list[str] = Field(default_factory=list)
    """Empty: planning or answering waits."""
    reason: str = ""
    """What is wrong with its database; empty where no worker takes the work."""


class AccountWait(Shown):
    """An account elsewhere that its person must connect again; the steps go on afterwards."""

    capability: str
    since: datetime
    steps: list[str]
    account_id: str = ""
    name: str = ""
    """As its person calls it."""
    provider: str = ""
    link: str = ""
    """Where it is connected again; empty: the console's page Accounts."""
    reason: str = ""
    """In words."""


class RecalledFact(Shown):
    """One remembered fact that the planner was shown."""

    fact_id: str
    kind: str
    """One of home_place, working_hours, alias, preference, fact."""
    text: str
    says: str = ""
    """Its source in words."""


class Assistant(Shown):
    """An assistant as the API shows it."""

    id: str
    status: str
    """One of planning, running, awaiting_approval, awaiting_input, awaiting_worker, awaiting_account, completed, failed, cancelled."""
    message: str
    messages: list[Message]
    links: Links
    plan: Plan | None = None
    approvals: list[Approval] = Field(default_factory=list)
    question: str | None = None
    reply: str | None = None
    error: StepError | None = None
    """Why the assistant as a whole failed."""
    notices: list[str] = Field(default_factory=list)
    """Other messages for the person, such as about a refused signal."""
    usage: Usage = Usage()
    mode: str = "task"
    """One of task, chat."""
    question_id: str | None = None
    """Id of the open question."""
    options: list[SuggestedAnswer] = Field(default_factory=list)
    """Answers to the question, or requests, that the assistant offers; to send `text` is to choose one."""
    waiting_for: list[WorkerWait] = Field(default_factory=list)
    """Capabilities without a working worker."""
    accounts_to_connect: list[AccountWait] = Field(default_factory=list)
    """Accounts elsewhere that the person must connect again before it goes on."""
    budget: Budget | None = None
    undo: list[UndoStep] = Field(default_factory=list)
    """What was undone, and what could not be."""
    schedule_id: str | None = None
    trigger_id: str | None = None
    forked_from: str | None = None
    turns: int = 0
    """Of a chat: how many messages it has answered."""
    earlier_messages: int = 0
    """How many messages came before those shown; /messages returns them."""
    effects: list[DoneEffect] = Field(default_factory=list)
    """Of a chat: what all its turns did; the plan shows the last turns only."""
    owner: str = "local"
    outcome: str | None = None
    """Of a completed one: done, answered (it had nothing to do), nothing_changed (what was planned was not done)."""
    status_since: datetime | None = None
    """Since when it has had this status, if known."""
    facts: list[RecalledFact] = Field(default_factory=list)
    """What the memory capability knows of the person and the planner was shown."""
    recorded_decisions: list[RecordedDecision] = Field(default_factory=list)
    """Made while no workflow worker answered, and waiting for one, or refused then."""

    def waits_for_worker(self, approval_id: str) -> bool:
        """Whether a decision about this approval is recorded, and counts when a workflow worker answers again."""
        return any(one.approval_id == approval_id and one.state == "waiting" for one in self.recorded_decisions)

    def has_choice(self, step_id: str) -> bool:
        """Whether a choice about this step is recorded, and counts when a workflow worker answers again."""
        return any(one.step_id == step_id and one.state == "waiting" for one in self.recorded_decisions)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

    @property
    def turn_is_over(self) -> bool:
        """Whether it is a chat that has answered and waits for the next message."""
        return self.mode == CHAT and self.status == "awaiting_input" and self.question is None

    @property
    def settled(self) -> bool:
        """Whether it has ended or needs a person."""
        return self.ended or self.status in NEEDS_PERSON

    @property
    def steps(self) -> list[Step]:
        """The steps of the plan, or none while there is no plan yet."""
        return self.plan.steps if self.plan else []

    @property
    def pending(self) -> list[Approval]:
        """The approvals that wait."""
        return [approval for approval in self.approvals if approval.status == PENDING]


class AssistantSummary(Shown):
    """One line in the list of assistants."""

    id: str
    status: str
    """One of planning, running, awaiting_approval, awaiting_input, awaiting_worker, awaiting_account, completed, failed, cancelled."""
    message: str
    """The first 120 characters of the request."""
    pending_approvals: int
    started_at: datetime
    links: Links
    finished_at: datetime | None = None
    owner: str = ""
    """Whose it is; others than the caller's are listed for auditors only."""
    outcome: str | None = None
    """Of a completed one: done, answered or nothing_changed."""


class AssistantPage(Shown):
    """A page of assistants, newest first."""

    assistants: list[AssistantSummary]
    next_cursor: str | None = None


class BatchOutcome(Shown):
    """What became of one decision."""

    assistant_id: str
    approval_id: str
    recorded: bool
    status: int
    """The HTTP status that this decision alone would have had."""
    detail: str | None = None
    """Why it was refused."""


class BatchOutcomes(Shown):
    """In the order of the decisions."""

    outcomes: list[BatchOutcome]


class ToolOptions(Shown):
    """How a tool is scheduled. All times are seconds."""

    start_to_close: float = 30
    """The longest one attempt may take."""
    heartbeat: float = 10
    """A worker that is silent for so long counts as dead."""
    attempts: int = 5
    """How often it is tried before the step fails."""
    first_retry_after: float = 1
    """Pause before the second attempt; it doubles each time."""
    longest_pause: float = 20
    """No pause between attempts is longer."""
    patience: float = 86400
    """How long a step waits for a worker before it fails."""


class Tool(Shown):
    """One tool as the manifest announces it. `args_schema` and `result_schema` are JSON Schema (draft 2020-12)."""

    name: str
    """Capability.verb_object, for ever."""
    title: str
    """What it does, as a person would say: 'Send a mail'."""
    description: str
    """What the model reads: units, time zones, effects."""
    args_schema: dict[str, JsonValue]
    summary: str = ""
    """One line about a call; '{to}' stands for the argument `to`."""
    result_schema: dict[str, JsonValue] = Field(default_factory=dict)
    annotations: Annotations = Annotations()
    options: ToolOptions = ToolOptions()
    plannable: bool = True
    rare: bool = False
    """False for tools that only workflows and code call."""
    examples: list[str] = Field(default_factory=list)
    """Requests that this tool serves, as people say them: 'what is on tomorrow?'."""


class Capability(Shown):
    """A capability with its live state."""

    name: str
    version: str
    description: str
    task_queue: str
    tools: list[Tool]
    pollers: int
    """Workers that poll its queue now."""
    healthy: bool
    """At least one worker polls."""
    instructions: str = ""
    """How the model should use this capability."""
    notice: str = ""
    """What people should know about how it works in this installation, such as that its values are made up."""
    problem: str = ""
    """Why its steps wait at the moment, such as that its database cannot be written; empty while it works."""
    left_out: list[str] = Field(default_factory=list)
    """Tools of a service outside that cannot be used, each with the reason."""


class Capabilities(Shown):
    """All capabilities that were ever announced."""

    capabilities: list[Capability]


class ModelPause(Shown):
    """A language model that is not asked before a moment, since its endpoint asked for that."""

    model: str
    until: datetime
    since: datetime | None = None
    asked_seconds: float | None = None
    """How long the endpoint asked for; what is kept is bounded."""


class ModelPauses(Shown):
    """The models that are left alone now."""

    pauses: list[ModelPause]


class ModelsOfRole(Shown):
    """The language models that do one kind of work."""

    role: str
    """'plan', 'reply' or 'agent'."""
    models: list[str]
    """Model and endpoint, the first choice first."""


class ModelsOfServer(Shown):
    """A server on this machine that offers language models."""

    name: str
    address: str
    models: list[str]


class ModelForm(Shown):
    """In which form a model answers in JSON, as far as that was found out."""

    model: str
    """The model and its endpoint."""
    form: str
    """'strict', 'json_schema', 'json_object_schema', 'json_object' or 'prompt'."""
    words: str
    """How that is known, after the model's name: 'keeps to JSON schemas'."""
    at: datetime
    """Since when."""


class ModelTest(Shown):
    """What became of one small request to the model that plans."""

    ok: bool
    seconds: float
    words: str
    """What happened."""
    usage: Usage = Usage()


class LanguageModels(Shown):
    """The language models in use, and those that servers on this machine offer."""

    source: str
    """Who says which are used: 'environment', 'choice' or 'built_in'."""
    roles: list[ModelsOfRole]
    servers: list[ModelsOfServer]
    forms: list[ModelForm] = Field(default_factory=list)
    """How models answer in JSON."""
    is_sent: str
    """What a model is sent once it is used."""
    refused: str = ""
    """Why nothing was changed."""
    test: ModelTest | None = None


class Consent(Shown):
    """Who or what allowed an effect."""

    how: str
    """'automatic', 'grant' or 'approval'."""
    says: str
    """The same in words."""
    by: list[str] = Field(default_factory=list)
    """The people who approved."""
    at: datetime | None = None
    rule: str | None = None
    grant_id: str | None = None
    approval_id: str | None = None


class Deed(Shown):
    """One effect."""

    step_id: str
    tool: str
    status: str
    """'completed', 'undone', or 'unknown' where nobody knows whether it happened; one of pending, awaiting_approval, awaiting_worker, awaiting_account, running, completed, failed, skipped, rejected, cancelled, unknown, undone."""
    args: dict[str, JsonValue]
    undo: str
    """How it is taken back, in words."""
    result: JsonValue = None
    at: datetime | None = None
    consent: Consent | None = None
    done_by_run: str | None = None
    """The run that did it, where this one was forked from it."""


class GrantUse(Shown):
    """One action that a grant allowed."""

    key: str
    """Assistant id/step id."""
    assistant_id: str
    at: datetime


class Grant(Shown):
    """A grant as the API shows it."""

    grant_id: str
    tool: str
    created_at: datetime
    says: str
    """In plain words, made by code."""
    live: bool
    """Neither revoked nor used up nor expired."""
    args: dict[str, list[str]] = Field(default_factory=dict)
    """By JSON pointer, what each value there must fit: one of these glob patterns."""
    closed: bool = False
    """No argument may have a value that `args` does not name."""
    uses: int | None = None
    """How often it may still be used; null is without end."""
    expires_at: datetime | None = None
    account: str | None = None
    """Id of the account at a service elsewhere for which it is; null: the capability's own data."""
    account_words: str = ""
    """The account as its card showed it."""
    schedule_id: str | None = None
    """Only runs that this schedule starts."""
    also_for: list[str] = Field(default_factory=list)
    """Which runs it counts for beside those that you ask for in person or through the key with which you give it: 'schedules' for scheduled runs, 'keys' for what your other API keys ask for."""
    through: Credential | None = None
    """The credential that created it."""
    created_by: str = "local"
    from_approval: str | None = None
    """'assistant id/approval id', if it was created with an approval."""
    revoked_at: datetime | None = None
    used: int = 0
    log: list[GrantUse] = Field(default_factory=list)
    """The last 50 uses, newest last."""


class GrantList(Shown):
    """The caller's grants, oldest first."""

    grants: list[Grant]


class Health(Shown):
    """Liveness or readiness."""

    status: str
    waiting_for: list[str] = Field(default_factory=list)
    detail: str | None = None
    """What is waited for, in words; of a service that is ready, which capabilities do not work."""


class InboxItem(Approval):
    """A pending approval and the run that it belongs to."""

    assistant_id: str
    request: str
    """What the person had asked for."""
    links: Links


class Inbox(Shown):
    """All approvals that wait for the caller."""

    approvals: list[InboxItem]
    unreadable: list[str] = Field(default_factory=list)
    """Assistants that wait too but cannot show what for at the moment."""
    waiting: int = 0
    """Assistants that wait for a decision, those of other pages included."""
    next_cursor: str | None = None


class MessagePage(Shown):
    """A part of a conversation."""

    first: int
    """Position of the first message here; 0 is the beginning of the conversation."""
    messages: list[Message]


class Reading(Shown):
    """One look at data."""

    step_id: str
    tool: str
    args: dict[str, JsonValue]


class Refusal(Shown):
    """One action that was not done."""

    step_id: str
    tool: str
    status: str
    """One of pending, awaiting_approval, awaiting_worker, awaiting_account, running, completed, failed, skipped, rejected, cancelled, unknown, undone."""
    why: str


class FactSource(Shown):
    """Where a fact comes from."""

    assistant_id: str | None = None
    """The assistant in which it was remembered; null: not by one."""
    step_id: str | None = None
    message: int | None = None
    """Number of the person's message before it, from 1."""
    how: str
    """One of typed, approved, allowed."""
    through: str = ""
    """An API key through which it was requested, in words."""


class Fact(Shown):
    """One thing that the person had remembered."""

    fact_id: str
    kind: str
    """One of home_place, working_hours, alias, preference, fact."""
    text: str
    noted_at: datetime
    changed_at: datetime | None = None
    """When its text was last corrected."""
    source: FactSource
    says: str = ""
    """The source in words."""


class FactPage(Shown):
    """Facts, oldest first."""

    facts: list[Fact]
    next: str | None = None
    """`after` of the next page; null on the last one."""
    total: int
    """How many there are in all, of that kind."""


class FactChange(Shown):
    """What a change did."""

    fact_id: str | None = None
    """The fact as it is now; null after forgetting."""
    kind: str | None = None
    """One of home_place, working_hours, alias, preference, fact."""
    text: str = ""
    created: bool = False
    """False if it was there already, or was corrected or forgotten."""
    forgotten: int = 0
    """How many facts were removed."""


class MemoryExport(Shown):
    """Everything that is remembered of the caller."""

    format: str = "retinue-memory-1"
    """One of retinue-memory-1."""
    exported_at: datetime
    facts: list[Fact]


class Receipt(Shown):
    """What became of a run."""

    assistant_id: str
    status: str
    """One of planning, running, awaiting_approval, awaiting_input, awaiting_worker, awaiting_account, completed, failed, cancelled."""
    final: bool
    """False while the run goes on."""
    request: str
    owner: str
    did: list[Deed]
    read: list[Reading]
    did_not: list[Refusal]
    usage: Usage
    reply: str | None = None
    remembered: list[RecalledFact] = Field(default_factory=list)
    """What the memory capability knows of the person and the planner was shown."""


class RunTime(Shown):
    """A time of a run, on two clocks."""

    utc: datetime
    local: datetime
    """On the clock of the schedule's zone, with the offset of that day."""


class ScheduleSummary(Shown):
    """One line in the list of schedules."""

    id: str
    name: str
    message: str
    """The request, or the plan's title."""
    cron: str
    timezone: str
    paused: bool
    links: Links
    plan: str | None = None
    note: str | None = None
    """Why it is paused."""
    next_run: RunTime | None = None
    """Null when it is paused or over."""


class SchedulePage(Shown):
    """The caller's schedules, by name."""

    schedules: list[ScheduleSummary]


class ScheduledRun(Shown):
    """A run that the schedule started."""

    assistant_id: str
    scheduled_at: datetime
    started_at: datetime
    running: bool
    links: Links


class Schedule(ScheduleSummary):
    """A whole schedule."""

    catch_up_seconds: int
    next_runs: list[RunTime]
    """The next 5, whether paused or not."""
    recent_runs: list[ScheduledRun]
    """At most 10, latest first."""
    skipped: int
    """Runs left out because the one before had not ended."""
    missed: int
    """Runs left out because Temporal was away for longer than `catch_up_seconds`."""
    created_at: datetime
    plan_args: dict[str, JsonValue] = Field(default_factory=dict)
    policy: str | None = None
    budget: dict[str, JsonValue] | None = None
    ends_at: datetime | None = None


class TriggerConditions(Shown):
    """What must hold of an arrival; all of it."""

    senders: list[str] = Field(default_factory=list)
    """Addresses; '@example.com' is anybody there."""
    contact: str | None = None
    words: list[str] = Field(default_factory=list)
    """Of the subject or title."""
    folder: str = "inbox"
    automatic: bool = False
    """Also mails that programs wrote, and mailing lists."""


class QuietHours(Shown):
    """A part of the day in which no run starts, on the clock of the trigger's zone."""

    begins: str
    ends: str


class TriggeredRun(Shown):
    """A run that a trigger started."""

    assistant_id: str
    started_at: datetime
    because: str
    """Sender and subject, or the event's title: what strangers wrote."""
    links: Links


class Trigger(Shown):
    """A whole trigger."""

    id: str
    event: str
    """'mail' or 'calendar'."""
    name: str
    message: str
    conditions: TriggerConditions
    timezone: str
    per_hour: int
    per_day: int
    paused: bool
    waiting: int
    """Arrivals that wait for the end of the quiet hours."""
    left_out: int
    """Arrivals that started nothing, because of the limits."""
    recent_runs: list[TriggeredRun]
    """At most 10, latest first."""
    created_at: datetime
    links: Links
    resets: list[str]
    """When and why the watch had to begin again, so that arrivals may be missing."""
    quiet_hours: QuietHours | None = None
    policy: str | None = None
    budget: Limits | None = None
    note: str | None = None
    """Why it is paused."""
    watching_since: datetime | None = None
    """Null before the first look."""
    problem: str | None = None
    """Why the account cannot be read now."""
    left_out_at: datetime | None = None
    account: str | None = None
    """The account that is watched; null is the default one."""


class TriggerPage(Shown):
    """The caller's triggers, by name."""

    triggers: list[Trigger]


class TestedArrival(Shown):
    """One of the latest arrivals, and whether it would start a run."""

    __test__ = False  # not a test of pytest

    sender: str
    title: str
    fits: bool


class TriggerTest(Shown):
    """What the latest arrivals would have done, newest first."""

    arrivals: list[TestedArrival]
    assistant_id: str | None = None
    """The run that was started, if that was wanted and one fits."""


class UsageToday(Shown):
    """What the caller has used today."""

    day: str
    """ISO date where the person is."""
    timezone: str
    used: Amounts
    budget: Limits | None = None
    """Of a day, by the default policy; null is without limit."""


class Event(BaseModel):
    """Something that happened in a run."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    """Its place in the run's history; a piece of text that a model is still writing has none."""
    kind: str
    """One of plan, step, approval, question, message, usage, text, end."""
    data: Mapping[str, Any] = Field(default_factory=dict)
    """The part of the view that changed, with the view's own field names."""


class Me(Shown):
    """Whom the front door has recognised."""

    name: str
    tenant: str
    """The organisation; empty where there is only one."""
    roles: list[str]
    permissions: list[str]
    """What you may do now, as you came."""
    recognised_by: str | None
    notice: str | None = None


class ApiKey(Shown):
    """A personal API key, without its secret."""

    id: str
    name: str
    prefix: str
    """How the secret begins."""
    scopes: list[str]
    """Empty where it may do all that its person may."""
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    """To the hour."""


class NewApiKey(ApiKey):
    """A key that was just made."""

    key: str
    """The secret; it is shown this once."""


class ApiKeys(Shown):
    """The caller's keys."""

    keys: list[ApiKey]


class Account(Shown):
    """Your account at a service elsewhere, without its secret."""

    account_id: str
    name: str
    """As you call it; unique among yours."""
    address: str
    """The mail address or login that the service knows."""
    provider: str
    provider_id: str
    """Which of the providers it was connected by."""
    kind: str
    """bearer: by consent at the provider; password: by an app password."""
    capabilities: list[str]
    """What it is used for: calendar, contacts, email."""
    endpoints: dict[str, str]
    """Its servers, by protocol."""
    default_for: list[str]
    """Capabilities that use it where a request names no account."""
    may: list[str]
    """What your assistants may do with it, in words."""
    state: str
    """connected, disconnected (connect it again), unreadable (its key is missing)."""
    problem: str
    """In words, why it cannot be used; empty if it can."""
    connected_at: datetime
    last_used_at: datetime | None
    last_used_for: str
    """The capability."""

    @property
    def works(self) -> bool:
        """Whether it can be used, as far as is known."""
        return self.state == "connected"


class Accounts(Shown):
    """Your accounts, by name."""

    accounts: list[Account]


class AccountTest(Shown):
    """Whether an account works now."""

    works: bool
    problem: str
    """In words; empty if it works."""


class AccountProvider(Shown):
    """Where an account can be connected."""

    id: str
    provider: str
    title: str
    kind: str
    """bearer: by consent at the provider; password: by an app password."""
    capabilities: list[str]
    allowed: bool = True
    """False: the organisation does not allow it."""
    ready: bool = True
    """False: the operator has not set it up."""
    device: bool = False
    """A code on another device may connect it, if the provider offers that."""

    @property
    def can_connect(self) -> bool:
        """Whether an account can be connected there now."""
        return self.allowed and self.ready


class AccountProviders(Shown):
    """Where accounts can be connected."""

    providers: list[AccountProvider]


class FoundServers(Shown):
    """One way to connect an address."""

    provider_id: str
    endpoints: dict[str, str] = Field(default_factory=dict)
    """Addresses by protocol: `caldav`, `carddav`, `imap`, `smtp`."""
    username: str = ""
    """To sign in with; empty: the address."""
    source: str = ""
    """Where they were found, in words."""


class DiscoveredServers(Shown):
    """The ways to connect an address, best first."""

    found: list[FoundServers]


class ConsentBegun(Shown):
    """A consent at a provider that has begun."""

    authorize_url: str
    """Where the browser goes now."""
    state: str
    """Comes back with the code."""


class DeviceConsentBegun(Shown):
    """A consent that is given on another device."""

    user_code: str
    verification_uri: str
    """Where the code is typed."""
    verification_uri_complete: str = ""
    """The same with the code in it; empty if there is none."""
    interval: int
    """Seconds between two questions."""
    expires_in: int
    state: str
    """To ask with."""


class DeviceConsent(Shown):
    """Whether the person has agreed on the other device."""

    account: Account | None
    """None: not yet."""


class AccountEvent(Shown):
    """What happened to an account; never its secret, nor what is in it."""

    id: int
    at: datetime
    kind: str
    """connected, connected_again, changed, revoked, disconnected, denied, rules_changed."""
    person: str = ""
    account_id: str = ""
    name: str = ""
    provider_id: str = ""
    detail: str = ""
    """In words."""


class AccountEvents(Shown):
    """What happened to accounts, newest first."""

    events: list[AccountEvent]
    next_before: int | None = None
    """Ask with `before` for older ones."""


class AccountConnection(Shown):
    """Who in an organisation is connected to what; never what is there."""

    person: str
    account_id: str
    provider: str
    provider_id: str
    capabilities: list[str]
    state: str
    connected_at: datetime
    last_used_at: datetime | None = None


class AccountConnections(Shown):
    """The connections of an organisation."""

    connections: list[AccountConnection]
    next_after: str | None = None
    """Ask with `after` for more."""


class AccountRules(Shown):
    """Which accounts the people of an organisation may connect."""

    allowed_providers: list[str] | None = None
    """Ids of providers; None: all."""
    roles: dict[str, str] = Field(default_factory=dict)
    """The role that a person needs to connect an account for a capability."""
