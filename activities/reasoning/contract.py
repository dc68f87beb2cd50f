"""What the language model offers to the rest of Retinue, as one more capability."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from temporalio import activity

from retinue.capability import Annotations, Capability, ToolOptions, tool
from retinue.plan import BoundPlan
from retinue.times import Moment

MODEL_OPTIONS = ToolOptions(start_to_close=75, heartbeat=15, attempts=4, first_retry_after=1, longest_pause=10)


class Role(StrEnum):
    """Who said something in a conversation."""

    USER = "user"
    ASSISTANT = "assistant"


class Message(BaseModel):
    """One message of the conversation between the person and the assistant."""

    role: Role
    text: str


class Usage(BaseModel):
    """What the model was used for: requests and tokens."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class RefusedPlan(BaseModel):
    """A plan that failed validation, so that the model can mend it."""

    answer: str = Field(description="what the model wrote, at most 16,000 characters")
    problems: list[str]


class PlanRequest(BaseModel):
    """Arguments of `reasoning.plan`."""

    messages: list[Message]
    timezone: str = Field(description="the person's IANA zone")
    now: Moment
    refused: list[RefusedPlan] = Field(default_factory=list, description="earlier tries of this round")


class PlanResult(BaseModel):
    """A plan that may run, or why the model's answer may not."""

    plan: BoundPlan | None = None
    refused: RefusedPlan | None = None
    usage: Usage = Usage()


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


class TextResult(BaseModel):
    """Text that the model wrote."""

    text: str
    usage: Usage = Usage()


class ComposeRequest(BaseModel):
    """Arguments of `reasoning.compose`."""

    model_config = ConfigDict(extra="forbid")

    instruction: str = Field(min_length=1, max_length=4000, description="what to write, for whom, in which tone")
    inputs: JsonValue = Field(None, description="the data to use: references, lists or objects of them")


_TEXT = Annotations(read_only=True, destructive=False, idempotent=True, open_world=False)


class Reasoning(Capability):
    """Contract of the reasoning capability."""

    name = "reasoning"
    version = "1.0.0"
    description = "The language model: writes text from data."
    instructions = (
        "Use compose for every text that mixes data from other steps, such as the body of a mail; its result is /text."
    )

    @activity.defn(name="reasoning.plan")
    @tool(title="Plan", annotations=_TEXT, options=MODEL_OPTIONS, plannable=False)
    @abstractmethod
    async def plan(self, request: PlanRequest) -> PlanResult:
        """Turn a request into a validated plan over the capabilities that the registry knows."""

    @activity.defn(name="reasoning.reply")
    @tool(title="Answer", annotations=_TEXT, options=MODEL_OPTIONS, plannable=False)
    @abstractmethod
    async def reply(self, request: ReplyRequest) -> TextResult:
        """Write the final answer from what the steps returned."""

    @activity.defn(name="reasoning.compose")
    @tool(title="Write a text", summary="{instruction}", annotations=_TEXT, options=MODEL_OPTIONS)
    @abstractmethod
    async def compose(self, request: ComposeRequest) -> TextResult:
        """Write plain text from an instruction and data. It reads data only as data and can do nothing but write."""
