"""Contract of the memory capability, the only file of this folder that other packages may import."""

from abc import abstractmethod
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from temporalio import activity

from retinue.capability import DESTRUCTIVE, NOT_FOR_PLANS, OWN_WRITE, READ, Capability, Id, OwnText, ToolOptions, tool
from retinue.provenance.asked_by import How
from retinue.times import Moment

LONGEST_TEXT = 300
"""Characters of one fact."""
MOST_FACTS = 300
"""Facts of one person."""
LONGEST_QUERY = 1000
RECALLED_CHARS = 1600
"""Characters of the facts that a planner is shown: about 400 tokens."""


class Kind(StrEnum):
    """What a fact is about. Those before `preference` are always shown to the planner first."""

    HOME_PLACE = "home_place"
    WORKING_HOURS = "working_hours"
    ALIAS = "alias"
    PREFERENCE = "preference"
    FACT = "fact"


ONLY_ONE = frozenset({Kind.HOME_PLACE, Kind.WORKING_HOURS})
"""Kinds of which a person has one fact at most: a new one replaces it."""

FactText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_TEXT,
        pattern=r"\S",
        description="the person's own words as typed; a home_place is the place alone ('Lisbon'), working_hours '9 to 5'",
    ),
]


class Source(BaseModel):
    """Where a fact comes from."""

    assistant_id: str | None = Field(None, description="the assistant in which it was remembered; null: not by one")
    step_id: str | None = None
    message: int | None = Field(None, description="number of the person's message before it, from 1")
    how: How = Field(description="'typed' by the person, 'approved' by them, or 'allowed' by their policy or a grant")
    through: str = Field("", description="an API key through which it was requested, in words")


class Fact(BaseModel):
    """One thing that the person had remembered."""

    fact_id: Id
    kind: Kind
    text: OwnText
    noted_at: Moment = Field(json_schema_extra=NOT_FOR_PLANS)
    changed_at: Moment | None = Field(
        None, description="when its text was last corrected", json_schema_extra=NOT_FOR_PLANS
    )
    source: Source = Field(json_schema_extra=NOT_FOR_PLANS)
    says: OwnText = Field("", description="the source in words")


class FactRef(BaseModel):
    """Names one fact: arguments of `memory.forget` and `memory.look_up`."""

    model_config = ConfigDict(extra="forbid")

    fact_id: str = Field(max_length=32)


class RememberFact(BaseModel):
    """Arguments of `memory.remember`."""

    model_config = ConfigDict(extra="forbid")

    text: FactText
    kind: Kind = Kind.FACT


class CorrectFact(FactRef):
    """Arguments of `memory.correct`."""

    text: FactText


class ForgetAll(BaseModel):
    """Arguments of `memory.forget_all`."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = None


class FactCount(BaseModel):
    """How many facts a person has; a lower revision is older. The person's workflow keeps it, see `PersonWorkflow`."""

    facts: int = 0
    revision: int = 0


class Changed(BaseModel):
    """What a change did. The ledger keeps neither `text` nor `before`, so that what is forgotten is gone from the store."""

    fact_id: Id | None = Field(None, description="the fact as it is now; null after forgetting")
    kind: Kind | None = Field(None, json_schema_extra=NOT_FOR_PLANS)
    text: OwnText = Field("", json_schema_extra=NOT_FOR_PLANS)
    created: bool = Field(False, description="false if it was there already", json_schema_extra=NOT_FOR_PLANS)
    forgotten: int = Field(0, description="how many facts were removed")
    before: list[Fact] = Field(
        default_factory=list,
        description="facts that were changed or removed, for an undo",
        json_schema_extra=NOT_FOR_PLANS,
    )
    known: FactCount = Field(FactCount(), description="how many there are now", json_schema_extra=NOT_FOR_PLANS)


class Restore(BaseModel):
    """Arguments of `memory.restore`, from the result of the change that it undoes."""

    model_config = ConfigDict(extra="forbid")

    fact_id: str | None = Field(None, max_length=32)
    created: bool = False
    forgotten: int = 0
    before: list[Fact] = Field(default_factory=list, max_length=MOST_FACTS)


class Restored(BaseModel):
    """What an undo did."""

    removed: int
    restored: int
    known: FactCount = Field(FactCount(), description="how many there are now")


class ListFacts(BaseModel):
    """Arguments of `memory.list` and `memory.export`; all optional."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = None
    after: str | None = Field(
        None, max_length=32, description="`next` of the page before", json_schema_extra=NOT_FOR_PLANS
    )


class Facts(BaseModel):
    """Facts, oldest first, at most as many as fit on a page."""

    facts: list[Fact]
    next: Id | None = Field(
        None, description="`after` of the next page; null on the last one", json_schema_extra=NOT_FOR_PLANS
    )
    total: int = Field(0, description="how many there are in all, of that kind")
    known: FactCount = Field(
        FactCount(), description="how many there are of all kinds", json_schema_extra=NOT_FOR_PLANS
    )


class SearchFacts(BaseModel):
    """Arguments of `memory.search`."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=LONGEST_QUERY, description="any of its words")
    kind: Kind | None = None


class FoundFacts(BaseModel):
    """Facts that have words of the query, best first, at most 20."""

    facts: list[Fact]
    match: Fact | None = Field(None, description="the fact, when exactly one was found; else null")


class RecallFacts(BaseModel):
    """Arguments of `memory.recall`."""

    query: str = Field("", description="the request that is to be planned")
    characters: int = Field(RECALLED_CHARS, ge=0, le=20_000, description="of all texts together")


class RecalledFact(BaseModel):
    """One fact that a planner is shown."""

    fact_id: str
    kind: Kind
    text: str
    says: str = Field("", description="its source in words")


class Recalled(BaseModel):
    """What may help with a request: home place, working hours and aliases first, then by words, as far as it fits."""

    facts: list[RecalledFact] = Field(default_factory=list)
    left_out: int = Field(0, description="how many facts did not fit")


_READS = READ.replace(personal=True, trusted_output=True, own_errors=True, finds="note in memory")
"""A fact was typed or approved by the person, so no result counts as strangers' words."""
_WRITES = OWN_WRITE.replace(personal=True, trusted_output=True, own_errors=True, undo="memory.restore")
_LOOKS_UP = {"fact_id": "memory.look_up"}


class Memory(Capability):
    """Contract of the memory capability."""

    name = "memory"
    version = "1.0.0"
    description = "What the person wants remembered: facts, preferences, home place, working hours, names."
    instructions = (
        "Use remember only where the person asks for it or says it of themselves ('I live in Lisbon', 'I work 9 to 5', 'by "
        "Ana I mean Ana Sousa'). To correct or forget one, first search and refer to /match/fact_id. What fits a request is "
        "shown to you anyway."
    )

    @activity.defn(name="memory.remember")
    @tool(
        title="Remember",
        summary="{text}",
        annotations=_WRITES.replace(sensitive=("/text",)),
        examples=(
            "remember that my passport expires in May",
            "I live in Lisbon",
            "my working hours are 9 to 5",
            "by Ana I mean Ana Sousa",
            "note that I prefer window seats",
        ),
    )
    @abstractmethod
    async def remember(self, wish: RememberFact) -> Changed:
        """Remember one thing about the person for later. A new home place or working hours replace the old."""

    @activity.defn(name="memory.list")
    @tool(title="List what is remembered", annotations=_READS, examples=("what do you remember about me?",), rare=True)
    @abstractmethod
    async def list(self, wish: ListFacts) -> Facts:
        """List what is remembered, oldest first. `says` is where it came from."""

    @activity.defn(name="memory.search")
    @tool(
        title="Search what is remembered",
        summary="{query}",
        annotations=_READS.replace(picks=("match", "facts")),
        examples=("do you remember my shoe size?",),
    )
    @abstractmethod
    async def search(self, wish: SearchFacts) -> FoundFacts:
        """Search by words. `match` is set only when exactly one fits."""

    @activity.defn(name="memory.correct")
    @tool(
        title="Correct what is remembered",
        summary="{text}",
        annotations=_WRITES.replace(sensitive=("/text",), lookups=_LOOKS_UP),
        examples=("correct that: my shoe size is 43",),
        rare=True,
    )
    @abstractmethod
    async def correct(self, wish: CorrectFact) -> Changed:
        """Replace the text of one fact."""

    @activity.defn(name="memory.forget")
    @tool(
        title="Forget",
        summary="{fact_id}",
        annotations=DESTRUCTIVE.replace(
            personal=True, trusted_output=True, own_errors=True, undo="memory.restore", lookups=_LOOKS_UP
        ),
        examples=("forget my shoe size", "forget where I live"),
    )
    @abstractmethod
    async def forget(self, wish: FactRef) -> Changed:
        """Forget one fact; it is then gone from the store."""

    @activity.defn(name="memory.forget_all")
    @tool(
        title="Forget everything",
        summary="{kind}",
        annotations=DESTRUCTIVE.replace(personal=True, trusted_output=True, own_errors=True, undo="memory.restore"),
        examples=("forget everything you know about me",),
        rare=True,
    )
    @abstractmethod
    async def forget_all(self, wish: ForgetAll) -> Changed:
        """Forget everything, or all of one kind."""

    @activity.defn(name="memory.export")
    @tool(title="Export what is remembered", annotations=_READS, plannable=False)
    @abstractmethod
    async def export(self, wish: ListFacts) -> Facts:
        """Return everything that is remembered, page by page, for the person's own use."""

    @activity.defn(name="memory.restore")
    @tool(
        title="Undo a change of what is remembered",
        annotations=OWN_WRITE.replace(personal=True, trusted_output=True, own_errors=True),
        plannable=False,
    )
    @abstractmethod
    async def restore(self, wish: Restore) -> Restored:
        """Undo one change: remove what it added, put back what it changed or removed."""

    @activity.defn(name="memory.recall")
    @tool(
        title="Recall",
        annotations=_READS,
        options=ToolOptions(start_to_close=2, heartbeat=2, attempts=1, patience=1),
        plannable=False,
    )
    @abstractmethod
    async def recall(self, wish: RecallFacts) -> Recalled:
        """Return what may help to plan a request, within a number of characters. Only workflows call it."""

    @activity.defn(name="memory.look_up")
    @tool(title="Look up what is remembered", summary="{fact_id}", annotations=_READS, plannable=False)
    @abstractmethod
    async def look_up(self, wish: FactRef) -> Fact:
        """Read one fact by its id, for a person who is asked about it."""
