"""Contract of the reasoning capability, which wraps the language model."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from temporalio import activity

from retinue.capability import NOT_FOR_PLANS, READ, Capability, ToolOptions, tool
from retinue.conversation import Message, Transcript, Usage
from retinue.plan import BoundPlan
from retinue.times import Moment

MODEL_OPTIONS = ToolOptions(start_to_close=75, heartbeat=15, attempts=4, first_retry_after=1, longest_pause=10)


class UsedSoFar(BaseModel):
    """The usage of all attempts of an activity so far, sent in its heartbeats and in the details of its failure."""

    used_so_far: Usage


class RefusedPlan(BaseModel):
    """A plan that failed validation, for the model to correct."""

    answer: str = Field(description="what the model wrote, at most 16,000 characters")
    problems: list[str]


class Progress(BaseModel):
    """What became of one step so far, as a planner may see it: no text that strangers may have written."""

    id: str
    tool: str
    status: str
    result: JsonValue = Field(
        None, description="what of it no stranger can have written; all of it where there is no `shape`"
    )
    shape: JsonValue = Field(
        None, description="where strangers may have written some of it: its fields with the names of their types"
    )
    error: str | None = None


class RememberedFact(BaseModel):
    """One thing that the person had remembered, such as their home place."""

    kind: str = Field(description="'home_place', 'working_hours', 'alias', 'preference' or 'fact'")
    text: str


class PlanRequest(BaseModel):
    """Arguments of `reasoning.plan`."""

    messages: list[Message] = Field(description="the conversation, or what is new of it when there is a transcript")
    timezone: str = Field(description="the person's IANA zone")
    now: Moment
    refused: list[RefusedPlan] = Field(default_factory=list, description="earlier tries of this round")
    round: int = Field(1, ge=1, description="which planning round of the run")
    last_round: bool = Field(True, description="no further round will follow")
    may_be_empty: bool = Field(False, description="an empty plan says that nothing more is to be done")
    progress: list[Progress] = Field(default_factory=list, description="the steps of earlier rounds")
    transcript: Transcript | None = Field(None, description="where the earlier conversation is stored")
    with_schemas: bool = Field(False, description="bind every step with its argument schema")
    facts: list[RememberedFact] = Field(default_factory=list, description="what the person had remembered")
    worst_case: bool = Field(False, description="return what one request can cost at most")
    needed: list[str] = Field(
        default_factory=list, description="what the model asked for in earlier tries of this round"
    )
    may_need: bool = Field(False, description="the model may ask for tools that are not listed")


class PlanResult(BaseModel):
    """A plan that may run, or why the model's answer may not."""

    plan: BoundPlan | None = None
    refused: RefusedPlan | None = None
    usage: Usage = Usage()
    worst_call: Usage | None = Field(None, description="what one request can use at most, when asked for")
    need: list[str] = Field(
        default_factory=list, description="instead of a plan: tools that the model wants to see before it plans"
    )
    notice: str = Field("", description="what the person should know about how it was planned")
    lists_all: bool = Field(True, description="false where the model saw only the tools that seem to fit")


class StepReport(BaseModel):
    """What became of one step, for the final answer."""

    id: str
    tool: str
    status: str
    result: JsonValue = None
    error: str | None = None


class ReplyRequest(BaseModel):
    """Arguments of `reasoning.reply`."""

    messages: list[Message]
    timezone: str
    now: Moment
    steps: list[StepReport]
    transcript: Transcript | None = None
    answer_schema: dict[str, JsonValue] | None = Field(
        None, description="the JSON schema in which a program wants the answer, instead of words"
    )
    draft: str | None = Field(None, description="the answer in words, where one is known already")


class Draft(BaseModel):
    """A text that a model is still writing: what the heartbeats of `reply` and `compose` carry."""

    attempt: int = Field(description="of the activity; while the next one begins, Temporal still shows the last one's")
    number: int = Field(description="which text of the attempt it is; another model begins a new one")
    text: str = Field(description="its beginning, as far as it goes", repr=False)


class TextResult(BaseModel):
    """Text that the model wrote."""

    text: str
    usage: Usage = Field(Usage(), json_schema_extra=NOT_FOR_PLANS)


class ComposeRequest(BaseModel):
    """Arguments of `reasoning.compose`."""

    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1, max_length=4000, description="what to write, for whom, in which tone")
    inputs: JsonValue = Field(None, description="references, lists or objects of them")


class FieldKind(StrEnum):
    """What kind of value is read."""

    TEXT = "text"
    MOMENT = "moment"
    DATE = "date"
    NUMBER = "number"
    ADDRESS = "address"


class WantedField(BaseModel):
    """One value to read."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="in `values`")
    kind: FieldKind = Field(description="a text is one line, an address one of mail")
    meaning: str = Field("", max_length=200, description="where the name does not say it")
    optional: bool = Field(False, description="it may be missing")


class ExtractRequest(BaseModel):
    """Arguments of `reasoning.extract`."""

    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1, max_length=1000, description="what the values are about")
    inputs: JsonValue = Field(description="references, lists or objects of them")
    fields: list[WantedField] = Field(min_length=1, max_length=20)
    timezone: str = Field("UTC", max_length=64, description="IANA zone of times that name none")


class ExtractResult(BaseModel):
    """The values that were found, under the names of their fields. They are as trustworthy as the data they come from."""

    values: dict[str, JsonValue]
    usage: Usage = Field(Usage(), json_schema_extra=NOT_FOR_PLANS)


class ToolCall(BaseModel):
    """One call that an agent requests; code decides whether it happens."""

    call_id: str = Field(max_length=200)
    tool: str = Field(max_length=200, description="full name, such as calendar.list_events")
    args: dict[str, JsonValue] = Field(default_factory=dict)


class CallOutcome(BaseModel):
    """The outcome of a requested call: its result, or why there is none."""

    call_id: str
    content: JsonValue


class ConverseRequest(BaseModel):
    """Arguments of `reasoning.converse`: one turn of a capability's own agent loop."""

    agent: str = Field(description="the capability whose instructions, tools and model are used")
    goal: str
    inputs: JsonValue = Field(None, description="data that the goal may use; may hold the words of strangers")
    timezone: str
    now: Moment
    transcript: Transcript = Field(description="of this loop; its length is 0 in the first turn")
    outcomes: list[CallOutcome] = Field(default_factory=list, description="of the calls of the turn before")
    last_turn: bool = Field(False, description="no more calls: the agent must answer")


class ConverseResult(BaseModel):
    """An agent's output: its answer, or the calls that it requests."""

    text: str | None = None
    calls: list[ToolCall] = Field(default_factory=list)
    usage: Usage = Usage()
    length: int = Field(0, description="of the transcript after this turn")


class ModelPause(BaseModel):
    """A model that is paused at its endpoint's request (HTTP 429, or 503 with Retry-After)."""

    model: str = Field(description="the model and its endpoint, as in gpt-5-mini@api.openai.com/v1")
    until: Moment
    since: Moment | None = Field(None, description="when it was asked for")
    asked_seconds: float | None = Field(None, description="how long the endpoint asked for; what is kept is bounded")


class PausesRequest(BaseModel):
    """Arguments of `reasoning.pauses`."""

    end: bool = Field(False, description="end them first, so that every model is asked again at once")


class PausesResult(BaseModel):
    """The paused models."""

    pauses: list[ModelPause]


class ModelAction(StrEnum):
    """What `reasoning.models` does before it answers."""

    SHOW = "show"
    USE = "use"
    TEST = "test"


class ModelsRequest(BaseModel):
    """Arguments of `reasoning.models`."""

    action: ModelAction = ModelAction.SHOW
    server: str = Field("", max_length=500, description="for `use`: the address of a server that was found")
    model: str = Field(
        "", max_length=200, description="for `use`: a model of that server; empty goes back to the built-in one"
    )


class ModelSource(StrEnum):
    """Who says which models are used."""

    ENVIRONMENT = "environment"
    CHOICE = "choice"
    BUILT_IN = "built_in"


class ModelsOfRole(BaseModel):
    """The models that do one kind of work, the first choice first."""

    role: str = Field(description="plan, reply or agent")
    models: list[str] = Field(description="the model and its endpoint, as in gpt-5-mini@api.openai.com/v1")


class ModelsOfServer(BaseModel):
    """A server on this machine that offers models."""

    name: str
    address: str
    models: list[str]


class ModelForm(BaseModel):
    """In which form a model answers in JSON, as far as that was found out."""

    model: str = Field(description="the model and its endpoint, as in gpt-5-mini@api.openai.com/v1")
    form: str = Field(description="strict, json_schema, json_object_schema, json_object or prompt")
    words: str = Field(description="how that is known, after the model's name: 'keeps to JSON schemas'")
    at: Moment = Field(description="since when; it is asked again after seven days")


class ModelTest(BaseModel):
    """What became of one small request to the models that plan."""

    ok: bool
    seconds: float
    words: str = Field(description="what happened")
    usage: Usage = Usage()


class ModelsResult(BaseModel):
    """The models in use, and those that could be used."""

    source: ModelSource
    roles: list[ModelsOfRole]
    servers: list[ModelsOfServer]
    forms: list[ModelForm] = Field(default_factory=list, description="how models answer in JSON")
    is_sent: str = Field(description="what a model is sent once it is used")
    refused: str = Field("", description="why nothing was changed")
    test: ModelTest | None = None


_TEXT = READ.model_copy(update={"trusted_output": True})
"""A text that is as trusted as the data that it was made of, since the model can do nothing but write."""


class Reasoning(Capability):
    """Contract of the reasoning capability."""

    name = "reasoning"
    version = "1.0.0"
    description = "The language model: writes text from data."
    instructions = "Text that mixes data from other steps, such as the body of a mail, is /text of compose."

    @activity.defn(name="reasoning.plan")
    @tool(title="Plan", annotations=READ, options=MODEL_OPTIONS, plannable=False)
    @abstractmethod
    async def plan(self, request: PlanRequest) -> PlanResult:
        """Turn a request into a validated plan over the capabilities that the registry knows."""

    @activity.defn(name="reasoning.reply")
    @tool(title="Answer", annotations=READ, options=MODEL_OPTIONS, plannable=False)
    @abstractmethod
    async def reply(self, request: ReplyRequest) -> TextResult:
        """Write the final answer from what the steps returned."""

    @activity.defn(name="reasoning.converse")
    @tool(title="Think", annotations=READ, options=MODEL_OPTIONS, plannable=False)
    @abstractmethod
    async def converse(self, request: ConverseRequest) -> ConverseResult:
        """Take one turn of a capability's own agent: it reads its calls' outcomes, and answers or requests more calls."""

    @activity.defn(name="reasoning.pauses")
    @tool(title="Pauses of models", annotations=READ, options=ToolOptions(start_to_close=10), plannable=False)
    @abstractmethod
    async def pauses(self, request: PausesRequest) -> PausesResult:
        """List the models that are paused at their endpoints' request, and end these pauses if requested."""

    @activity.defn(name="reasoning.models")
    @tool(title="Models in use", annotations=READ, options=ToolOptions(start_to_close=75), plannable=False)
    @abstractmethod
    async def models(self, request: ModelsRequest) -> ModelsResult:
        """Show which models are used and which servers on this machine offer others, after using or testing one if requested."""

    @activity.defn(name="reasoning.compose")
    @tool(title="Write a text", summary="{instruction}", annotations=_TEXT, options=MODEL_OPTIONS)
    @abstractmethod
    async def compose(self, request: ComposeRequest) -> TextResult:
        """Write plain text from an instruction and data."""

    @activity.defn(name="reasoning.extract")
    @tool(title="Read values out of a text", summary="{instruction}", annotations=_TEXT, options=MODEL_OPTIONS)
    @abstractmethod
    async def extract(self, request: ExtractRequest) -> ExtractResult:
        """Read named values out of data, such as the time of a meeting out of a mail: /values/start.

        A value that the data does not state clearly is missing; the step fails unless its field is optional.
        """
