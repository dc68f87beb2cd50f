"""Local activities of the workflow worker: short requests of workflows, called by `workflows/consent/lookups.py`.

They store no data. Each asks Temporal within milliseconds or raises a typed error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from temporalio import activity
from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.contract import FactCount, Memory
from retinue.capability import Manifest, ToolSpec
from retinue.errors import RetinueError, ServiceUnavailable, to_application_error
from retinue.schemas.manifests import check_schemas
from retinue.temporal import person
from retinue.temporal.proofs import is_proved_cancellation
from retinue.temporal.registry import FRESH, Directory
from workflows.consent.lookups import (
    AGENT,
    CHECK_GRANT,
    DEBOUNCE,
    DEBOUNCE_SECONDS,
    NOTE_FACTS,
    PROVED,
    RECORD_APPROVAL,
    RECORD_USAGE,
    REMEMBERS,
    SCHEMAS,
    TOOLS,
    FoundTool,
)
from workflows.rules.grants import CheckGrant, CheckGrantResult, DayUsage, Grant, RecordApproval, RecordUsage

_QUICKLY = timedelta(seconds=1)
_AT_ONCE = 5
"""Concurrent requests about one person. Temporal refuses the 11th update in flight, and queueing here is faster than
retries (of 200 at once, 139 had no answer in time)."""
Answer = TypeVar("Answer")


class LocalActivities:
    """The local activities, with one cached view of the registry."""

    def __init__(self, client: Client) -> None:
        self._directory = Directory(client)
        self._reading = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def all(self) -> list[Callable[..., Awaitable[Any]]]:
        """Return the activities to register."""
        return [
            self.check_grant,
            self.record_approval,
            self.record_usage,
            self.tools,
            self.agent,
            self.gather,
            self.proved,
            self.check_schemas,
            self.remembers,
            self.note_facts,
        ]

    @activity.defn(name=CHECK_GRANT)
    async def check_grant(self, owner: str, question: CheckGrant) -> CheckGrantResult:
        """Return whether a grant covers a step."""
        return await self._ask(owner, person.CHECK_GRANT, question, CheckGrantResult)

    @activity.defn(name=RECORD_APPROVAL)
    async def record_approval(self, owner: str, approval: RecordApproval) -> Grant | None:
        """Count an approval; returns the grant created with it."""
        return await self._ask(owner, person.RECORD_APPROVAL, approval, Grant)

    @activity.defn(name=RECORD_USAGE)
    async def record_usage(self, owner: str, usage: RecordUsage) -> DayUsage:
        """Add to a day's usage; returns its totals."""
        return await self._ask(owner, person.RECORD_USAGE, usage, DayUsage)

    @activity.defn(name=TOOLS)
    async def tools(self, names: list[str]) -> list[FoundTool]:
        """Return the tools with these names, in this order, without unknown ones."""
        async with _edge():
            known = await self._known(lambda manifests: all(_tool(manifests, name) for name in names))
        return [tool for name in names if (tool := _tool(known, name))]

    @activity.defn(name=AGENT)
    async def agent(self, capability: str) -> list[FoundTool]:
        """Return the plannable tools of a capability."""
        async with _edge():
            known = await self._known(lambda manifests: any(manifest.name == capability for manifest in manifests))
        manifests = [manifest for manifest in known if manifest.name == capability]
        return [_found(manifest, spec) for manifest in manifests for spec in manifest.tools if spec.plannable]

    @activity.defn(name=DEBOUNCE)
    async def gather(self) -> None:
        """Wait briefly, so that the results of many steps arrive together."""
        await asyncio.sleep(DEBOUNCE_SECONDS)

    @activity.defn(name=PROVED)
    async def proved(self, workflow_id: str, reason: str, at: datetime) -> bool:
        """Return whether a cancellation came through the API."""
        return is_proved_cancellation(activity.client(), workflow_id, reason, at=at)

    @activity.defn(name=SCHEMAS)
    async def check_schemas(self, manifest: Manifest) -> str | None:
        """Return what is wrong with a manifest's schemas; runs in a thread, since it can take half a second of CPU."""
        return await asyncio.to_thread(check_schemas, manifest)

    @activity.defn(name=REMEMBERS)
    async def remembers(self, owner: str) -> bool:
        """Return whether the memory capability is announced and may know facts of a person."""
        async with _edge(), self._reading:
            manifests = await self._directory.manifests(max_age=FRESH)
        if all(manifest.name != Memory.name for manifest in manifests):
            return False
        try:
            count = await person.query(activity.client(), owner, person.FACTS, answer=FactCount, rpc_timeout=_QUICKLY)
        except RPCError as error:
            return error.status is not RPCStatusCode.NOT_FOUND
        except (RPCTimeoutOrCancelledError, WorkflowQueryFailedError):
            return True  # as far as anybody can say now
        return count.facts > 0

    @activity.defn(name=NOTE_FACTS)
    async def note_facts(self, owner: str, count: FactCount) -> FactCount:
        """Note how many facts a person has; returns the latest count."""
        return await self._ask(owner, person.NOTE_FACTS, count, FactCount)

    async def _ask(self, owner: str, update: str, argument: Any, answer: type[Answer]) -> Answer:
        turn = self._turns.setdefault(owner, asyncio.Semaphore(_AT_ONCE))
        async with turn, _edge():
            return await person.ask(activity.client(), owner, update, argument, answer=answer)

    async def _known(self, suffices: Callable[[list[Manifest]], bool]) -> list[Manifest]:
        """Return the cached manifests, read again before a name counts as unknown."""
        async with self._reading:
            manifests = await self._directory.manifests(max_age=FRESH)
            return manifests if suffices(manifests) else await self._directory.manifests()


def _tool(manifests: list[Manifest], name: str) -> FoundTool | None:
    return next((_found(manifest, spec) for manifest in manifests if (spec := manifest.tool(name))), None)


def _found(manifest: Manifest, spec: ToolSpec) -> FoundTool:
    return FoundTool(spec=spec, task_queue=manifest.task_queue, capability=manifest.name)


@contextlib.asynccontextmanager
async def _edge() -> AsyncIterator[None]:
    """Translate expected errors for Temporal, which retries transient ones within the caller's short timeout."""
    try:
        yield
    except RetinueError as error:
        raise to_application_error(error) from None
    except (RPCError, RPCTimeoutOrCancelledError):
        raise to_application_error(ServiceUnavailable("the registry did not answer")) from None
