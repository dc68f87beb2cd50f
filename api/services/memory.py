"""The caller's memory: what the memory capability keeps of them, asked through a workflow."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError

from activities.memory.contract import Changed, Fact, Facts, Kind
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, InvalidArguments, NotFound, RetinueError, ServiceUnavailable
from retinue.provenance.credential import Credential, key_of
from retinue.temporal.fairness import fair_share
from retinue.times import Moment
from workflows.memory_request import LONGEST, MEMORY_REQUEST_TYPE, MemoryRequest, Verb
from workflows.rules.grants import digest

_REFUSALS: dict[str | None, type[RetinueError]] = {
    "NotFound": NotFound,
    "Conflict": Conflict,
    "InvalidArguments": InvalidArguments,
}
Answer = TypeVar("Answer", bound=BaseModel)


class FactPage(BaseModel):
    """Facts, oldest first."""

    facts: list[Fact]
    next: str | None = Field(None, description="`after` of the next page; null on the last one")
    total: int = Field(description="how many there are in all, of that kind")


class FactChange(BaseModel):
    """What a change did."""

    fact_id: str | None = Field(None, description="the fact as it is now; null after forgetting")
    kind: Kind | None = None
    text: str = ""
    created: bool = Field(False, description="false if it was there already, or was corrected or forgotten")
    forgotten: int = Field(0, description="how many facts were removed")


class MemoryExport(BaseModel):
    """Everything that is remembered of the caller."""

    format: Literal["retinue-memory-1"] = "retinue-memory-1"
    exported_at: Moment
    facts: list[Fact]


class PersonMemory:
    """The facts of one caller. Another person's look as if they did not exist."""

    def __init__(self, client: Client, owner: str, credential: Credential | None) -> None:
        self._client = client
        self._owner = owner
        self._through = credential.label if credential and key_of(credential) else ""

    async def page(self, *, kind: Kind | None = None, after: str | None = None) -> FactPage:
        """Return one page of facts. Raise ServiceUnavailable if no worker answers in time."""
        page = await self._page(kind, after)
        return FactPage(facts=page.facts, next=page.next, total=page.total)

    async def export(self, now: datetime) -> MemoryExport:
        """Return all facts. Raise ServiceUnavailable if no worker answers in time."""
        page = await self._asked("export", {}, Facts)
        facts = list(page.facts)
        while page.next is not None:
            page = await self._asked("export", {"after": page.next}, Facts)
            facts += page.facts
        return MemoryExport(exported_at=now, facts=facts)

    async def _page(self, kind: Kind | None, after: str | None) -> Facts:
        args: dict[str, JsonValue] = {"kind": kind, "after": after}
        return await self._asked("list", {name: value for name, value in args.items() if value is not None}, Facts)

    async def remember(self, text: str, kind: Kind, *, key: str | None) -> FactChange:
        """Remember a text; the same key is the same request. Raise Conflict if there are too many."""
        return await self._changed("remember", {"text": text, "kind": kind}, key=key)

    async def correct(self, fact_id: str, text: str) -> FactChange:
        """Replace the text of a fact. Raise NotFound if there is none of that id."""
        return await self._changed("correct", {"fact_id": fact_id, "text": text})

    async def forget(self, fact_id: str) -> FactChange:
        """Forget a fact. Raise NotFound if there is none of that id."""
        return await self._changed("forget", {"fact_id": fact_id})

    async def forget_all(self, kind: Kind | None) -> FactChange:
        """Forget everything, or all of one kind."""
        return await self._changed("forget_all", {} if kind is None else {"kind": kind})

    async def _changed(self, verb: Verb, args: dict[str, JsonValue], *, key: str | None = None) -> FactChange:
        changed = await self._asked(verb, args, Changed, key=key)
        return FactChange.model_validate(changed.model_dump(include=set(FactChange.model_fields)))

    async def _asked(
        self, verb: Verb, args: dict[str, JsonValue], answer: type[Answer], *, key: str | None = None
    ) -> Answer:
        """Run one request and wait for its result.

        Raises:
            NotFound, Conflict, InvalidArguments: The capability refused it.
            ServiceUnavailable: No worker answered in time.
        """
        request = MemoryRequest(owner=self._owner, verb=verb, args=args, through=self._through)
        unique = digest(self._owner, key) if key else uuid.uuid4().hex
        try:
            found = await self._client.execute_workflow(
                MEMORY_REQUEST_TYPE,
                request,
                id=f"memory-{unique}",
                task_queue=WORKFLOW_QUEUE,
                execution_timeout=LONGEST,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                result_type=dict[str, Any],
                priority=fair_share(self._owner),
            )
        except WorkflowAlreadyStartedError:
            found = await self._client.get_workflow_handle(f"memory-{unique}", result_type=dict[str, Any]).result()
        except WorkflowFailureError as error:
            raise _refusal(error) from None
        return answer.model_validate(found)


def _refusal(error: WorkflowFailureError) -> RetinueError:
    cause = error.cause.cause if isinstance(error.cause, ActivityError) else error.cause
    if isinstance(cause, ApplicationError) and cause.type in _REFUSALS:
        return _REFUSALS[cause.type](cause.message)
    return ServiceUnavailable("the memory capability did not answer", hint="is its worker running?")
