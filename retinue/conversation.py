"""The messages of a conversation, its stored transcript, and what the models that answered in it used."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from retinue.provenance.credential import Credential

MAX_SUBSTITUTIONS = 20
"""The most sentences about substituted models that one run keeps."""


class Phase(StrEnum):
    """For what a model was asked in a run."""

    PLANNING = "planning"
    REPLY = "reply"
    AGENTS = "agents"
    EXTRACTION = "extraction"
    COMPOSING = "composing"


class Role(StrEnum):
    """The sender of a message."""

    USER = "user"
    ASSISTANT = "assistant"


class Message(BaseModel):
    """One message of the conversation between the person and the assistant."""

    role: Role
    text: str
    withheld: bool = Field(False, description="not shown to planners, since it may contain strangers' words")
    through: Credential | None = Field(None, description="the credential with which the person sent it")
    offered: bool = Field(False, description="a click on words that the assistant offered: nothing in it was typed")
    options: list[str] = Field(
        default_factory=list,
        description="texts that the assistant offered with it: who sends one later has not typed it",
    )


class ModelUse(BaseModel):
    """What one model was used for: requests, tokens, and what they cost by its configured prices."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = Field(
        0, description="of the input tokens, those that the endpoint read from its cache, if it reports them"
    )
    cost: float = Field(0, description="in the currency of the configured prices; 0 where none are configured")
    estimated_tokens: int = Field(
        0, description="of the tokens, those that the endpoint did not count; estimated as three characters a token"
    )
    seconds: float = Field(0, description="how long its answers took, failed requests included")

    def __add__(self, other: ModelUse) -> ModelUse:
        return ModelUse(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=round(self.cost + other.cost, 6),
            estimated_tokens=self.estimated_tokens + other.estimated_tokens,
            seconds=round(self.seconds + other.seconds, 3),
        )


class Usage(BaseModel):
    """What the models were used for: requests, tokens, and what they cost by the configured prices."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = Field(0, description="in the currency of the configured prices; 0 where none are configured")
    cached_tokens: int = Field(
        0, description="of the input tokens, those that the endpoint read from its cache, if it reports them"
    )
    estimated_tokens: int = Field(
        0, description="of the tokens, those that the endpoint did not count; estimated as three characters a token"
    )
    seconds: float = Field(0, description="how long the answers took, failed requests included")
    models: dict[str, ModelUse] = Field(default_factory=dict, description="the same by model")
    phases: dict[str, ModelUse] = Field(
        default_factory=dict, description="the same by what was asked: planning, reply, agents, extraction, composing"
    )
    instead: list[str] = Field(
        default_factory=list, description="why another model than the first choice answered; each sentence once"
    )

    @classmethod
    def of(cls, models: dict[str, ModelUse], instead: list[str] | None = None, phase: Phase | None = None) -> Usage:
        """Return the sum over these models, in one phase."""
        total = sum(models.values(), ModelUse())
        phases = {phase.value: total} if phase and total.requests else {}
        return cls(**total.model_dump(), models=models, instead=instead or [], phases=phases)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=round(self.cost + other.cost, 6),
            cached_tokens=self.cached_tokens + other.cached_tokens,
            estimated_tokens=self.estimated_tokens + other.estimated_tokens,
            seconds=round(self.seconds + other.seconds, 3),
            models=_summed(self.models, other.models),
            phases=_summed(self.phases, other.phases),
            instead=[*self.instead, *(sentence for sentence in other.instead if sentence not in self.instead)][
                :MAX_SUBSTITUTIONS
            ],
        )

    def times(self, count: int) -> Usage:
        """Return `count` times this usage, without the sums per model and phase."""
        return Usage(
            requests=self.requests * count,
            input_tokens=self.input_tokens * count,
            output_tokens=self.output_tokens * count,
            cost=round(self.cost * count, 6),
        )


def _summed(these: dict[str, ModelUse], others: dict[str, ModelUse]) -> dict[str, ModelUse]:
    names, none = [*these, *(name for name in others if name not in these)], ModelUse()
    return {name: these.get(name, none) + others.get(name, none) for name in names}


class Transcript(BaseModel):
    """A conversation in the store of the reasoning capability, so that no history repeats it.

    The messages that come with a request are appended at position `length`; the same request again appends nothing.
    """

    key: str = Field(max_length=300, description="names the conversation: a run's id, or a run's and a step's")
    length: int = Field(0, ge=0, description="how many messages are stored already")
