"""What is remembered of the caller: list, add, correct, export, forget."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from activities.memory.contract import FactText, Kind
from api.auth.principals import Permission
from api.deps import Caller, State, needs
from api.errors import PROBLEMS
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.memory import FactChange, FactPage, MemoryExport, PersonMemory
from retinue.times import present

router = APIRouter(prefix="/v1/memory", tags=["memory"], responses=PROBLEMS, route_class=IdempotentRoute)
FactId = Annotated[str, Path(max_length=32)]
OfKind = Annotated[Kind | None, Query(description="only facts of this kind")]


class NewFact(BaseModel):
    """A fact to remember."""

    model_config = ConfigDict(extra="forbid")

    text: FactText = Field(examples=["I prefer window seats"])
    kind: Kind = Kind.FACT


class FactBody(BaseModel):
    """A corrected text."""

    model_config = ConfigDict(extra="forbid")

    text: FactText


def my_memory(state: State, me: Caller) -> PersonMemory:
    """Return the service for the caller's memory."""
    return PersonMemory(state.client, me.owner, me.credential)


MyMemory = Annotated[PersonMemory, Depends(my_memory)]


@router.get("", summary="List what is remembered", dependencies=[needs(Permission.MEMORY)])
async def list_facts(
    memory: MyMemory,
    kind: OfKind = None,
    after: Annotated[str | None, Query(max_length=32, description="`next` of the page before")] = None,
) -> FactPage:
    """List the facts about you, oldest first, each with where it came from."""
    return await memory.page(kind=kind, after=after)


@router.get("/export", summary="Export what is remembered", dependencies=[needs(Permission.MEMORY)])
async def export_facts(memory: MyMemory) -> MemoryExport:
    """Return everything that is remembered of you, with where it came from."""
    return await memory.export(present())


@router.post("", status_code=201, summary="Remember a fact", dependencies=[needs(Permission.MEMORY)])
async def remember_fact(body: NewFact, memory: MyMemory, once: IdempotentAnswer) -> FactChange:
    """Remember a fact in your own words; later requests use it. What is remembered already stays one fact."""
    await once.claim(body)
    return await memory.remember(body.text, body.kind, key=once.key)


@router.put("/facts/{fact_id}", summary="Correct a fact", dependencies=[needs(Permission.MEMORY)])
async def correct_fact(fact_id: FactId, body: FactBody, memory: MyMemory) -> FactChange:
    """Replace the text of a fact; its source is then this correction."""
    return await memory.correct(fact_id, body.text)


@router.delete("/facts/{fact_id}", summary="Forget a fact", dependencies=[needs(Permission.MEMORY)])
async def forget_fact(fact_id: FactId, memory: MyMemory) -> FactChange:
    """Forget a fact. It is then gone from the store; histories of assistants that used it keep their copy until they expire."""
    return await memory.forget(fact_id)


@router.delete("", summary="Forget everything", dependencies=[needs(Permission.MEMORY)])
async def forget_facts(memory: MyMemory, kind: OfKind = None) -> FactChange:
    """Forget everything, or all facts of one kind."""
    return await memory.forget_all(kind)
