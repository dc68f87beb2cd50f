"""The `ETag` of a view, from the server's data without a query to the run.

A view changes only with the run's history, with attempts of running activities, or with an undo after the end. The tag
is built before the view is read: a change in between gives another tag next time.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.services.pending_decisions import PendingDecisions
from api.services.run_views import NO_WORKER_NOTICE
from api.storage.idempotency import IdempotencyKeys
from workflows.messages import AssistantStatus, AssistantView
from workflows.undo import undo_id

_RPC = timedelta(seconds=5)
_FORM = 1
"""Version of the view's form: increment it when views of the same run change."""


async def tag(client: Client, keys: IdempotencyKeys, description: WorkflowExecutionDescription) -> str:
    """Return the tag of a run's view.

    Args:
        client: Finds undo workflows.
        keys: Has the number of undos and the pending decisions.
        description: The run's description from before its view was read.
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
"""The version of a run; for comparison only."""


def run_version(description: WorkflowExecutionDescription) -> RunVersion:
    """Return the version of a run, from the server's data."""
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
    """Return whether a view may be cached under its tag: not one that was built without a workflow worker."""
    server_statuses = (AssistantStatus.AWAITING_WORKER, AssistantStatus.FAILED, AssistantStatus.CANCELLED)
    return NO_WORKER_NOTICE not in view.notices and (view.plan is not None or view.status not in server_statuses)
