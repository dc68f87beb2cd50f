"""The `ETag` of a view, by what the server knows of the run without asking the run itself.

A view changes only with the run's history, with the tries of what runs at the moment, or with an undoing after the end.
The tag is made before the view is read: what happens in between shows as another tag the next time, never as none.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.services.pending_decisions import PendingDecisions
from api.services.run_views import NOBODY_ANSWERS
from api.storage.idempotency import IdempotencyKeys
from workflows.messages import AssistantStatus, AssistantView
from workflows.undo import undo_id

_RPC = timedelta(seconds=5)
_FORM = 1
"""Of the view: raise it when views of the same run look otherwise, so that nobody keeps an old one."""


async def tag(client: Client, keys: IdempotencyKeys, description: WorkflowExecutionDescription) -> str:
    """The tag of a run's view.

    Args:
        client: Asks for undoings.
        keys: Knows how many there were, and which decisions wait for a workflow worker.
        description: Of the run, as it was before its view was read.
    """
    recorded = await PendingDecisions(keys.store).of(description.id)
    parts: list[Any] = [
        _FORM,
        description.id,
        *run_version(description),
        *(one.model_dump_json() for _, one in recorded),
    ]
    if description.status is not WorkflowExecutionStatus.RUNNING:
        parts += [found async for found in _undoings(client, keys, description.id)]
    return f'W/"{hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()}"'


RunVersion = list[Any]
"""How far a run is, for comparing alone."""


def run_version(description: WorkflowExecutionDescription) -> RunVersion:
    """How far a run is, by what the server knows of it."""
    raw = description.raw_description
    tries = [
        (
            pending.activity_id,
            pending.attempt,
            pending.state,
            pending.last_failure.SerializeToString(deterministic=True),
        )
        for pending in raw.pending_activities
    ]
    return [
        description.run_id,
        description.status,
        description.history_length,
        raw.pending_workflow_task.attempt,
        sorted(tries),
    ]


async def _undoings(client: Client, keys: IdempotencyKeys, assistant_id: str) -> AsyncIterator[RunVersion]:
    for number in range(1, 1 + await keys.undoings(assistant_id)):
        try:
            yield run_version(
                await client.get_workflow_handle(undo_id(assistant_id, number)).describe(rpc_timeout=_RPC)
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            yield []


def says_everything(view: AssistantView) -> bool:
    """Whether a view may be kept under its tag: not one that a missing workflow worker could not fill in.

    Such a one has no plan, and a status that Temporal alone could tell.
    """
    told_by_server = (AssistantStatus.AWAITING_WORKER, AssistantStatus.FAILED, AssistantStatus.CANCELLED)
    return NOBODY_ANSWERS not in view.notices and (view.plan is not None or view.status not in told_by_server)
