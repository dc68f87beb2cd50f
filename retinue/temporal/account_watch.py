"""Client of the watches of people's accounts (`workflows/account_watch.py`), which hold their triggers.

One execution per owner, kind of event and account: workflow type `AccountWatchWorkflow`, id `watch-<event>-<owner>`, with
`/<account>` behind it for an account that is not the default one.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, InvalidArguments, NotFound, RetinueError, ServiceUnavailable
from retinue.temporal.fairness import fair_share
from retinue.temporal.person import plain_name
from retinue.temporal.search_attributes import is_exactly
from retinue.temporal.search_keys import OWNER, TENANT
from retinue.tenancy import organisation

WATCH_TYPE = "AccountWatchWorkflow"
_RPC = timedelta(seconds=10)
_REFUSALS: dict[str | None, type[RetinueError]] = {
    "TriggerUnknown": NotFound,
    "TooMany": Conflict,
    "AccountSilent": ServiceUnavailable,
}
Answer = TypeVar("Answer")


def watch_id(owner: str, event: str, account: str = "") -> str:
    """Return the workflow id of a watch."""
    return f"watch-{event}-{plain_name(owner)}" + (f"/{plain_name(account)}" if account else "")


async def watches_of(client: Client, owner: str) -> list[str]:
    """Return the ids of an owner's watches, as far as the server lists them yet."""
    wanted = f"WorkflowType = '{WATCH_TYPE}' AND ExecutionStatus = 'Running' AND {is_exactly(OWNER.name, owner)}"
    return [
        found.id
        async for found in client.list_workflows(wanted, rpc_timeout=_RPC)
        if found.typed_search_attributes.get(OWNER) == owner
    ]


async def start(
    client: Client, given: BaseModel, *, workflow_id: str, owner: str, update: str, argument: Any, answer: type[Answer]
) -> Answer:
    """Send an update to a watch, starting it if needed.

    Args:
        client: The Temporal client.
        given: The input of a new watch.
        workflow_id: Of the watch.
        owner: The person.
        update: Name of the update.
        argument: Its argument; it is idempotent by an id or a key.
        answer: Type of its result.

    Raises:
        ServiceUnavailable: Temporal or the workflow worker does not answer in time.
        Conflict: There are too many triggers.
    """
    tenant = organisation(owner)
    pairs = [SearchAttributePair(OWNER, owner), *([SearchAttributePair(TENANT, tenant)] if tenant else [])]
    begun: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        WATCH_TYPE,
        given,
        id=workflow_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes(pairs),
        priority=fair_share(owner),
        static_summary="Watches an account for a person's triggers",
    )
    try:
        answered: Answer = await client.execute_update_with_start_workflow(
            update, argument, start_workflow_operation=begun, result_type=answer, rpc_timeout=_RPC
        )
    except WorkflowUpdateFailedError as error:
        raise _refusal(error.cause) from None
    except (RPCError, RPCTimeoutOrCancelledError):
        with contextlib.suppress(RPCError):
            await begun.workflow_handle()  # it has the same error, and asyncio warns about one that is never retrieved
        raise _silent() from None
    return answered


async def ask(client: Client, workflow_id: str, update: str, argument: Any, *, answer: type[Answer]) -> Answer:
    """Send an update to a watch that exists.

    Raises:
        NotFound: There is no such watch or trigger.
        ServiceUnavailable: Temporal, the workflow worker or the account does not answer.
    """
    handle = client.get_workflow_handle(workflow_id)
    try:
        answered: Answer = await handle.execute_update(update, argument, result_type=answer, rpc_timeout=_RPC)
    except WorkflowUpdateFailedError as error:
        raise _refusal(error.cause) from None
    except RPCTimeoutOrCancelledError:
        raise _silent() from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound("there is no such trigger any more", hint="GET /v1/triggers lists yours") from None
        raise
    return answered


async def query(client: Client, workflow_id: str, *, answer: type[Answer]) -> Answer | None:
    """Return a watch's view; None where there is none.

    Raises:
        ServiceUnavailable: No workflow worker answered in time.
    """
    handle = client.get_workflow_handle(workflow_id)
    try:
        found: Answer = await handle.query("view", result_type=answer, rpc_timeout=_RPC)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise _silent() from None
        raise
    except (RPCTimeoutOrCancelledError, WorkflowQueryFailedError):
        raise _silent() from None
    return found


def _silent() -> ServiceUnavailable:
    return ServiceUnavailable("the triggers did not answer in time", hint="try again in a few seconds")


def _refusal(cause: BaseException) -> RetinueError:
    if not isinstance(cause, ApplicationError):
        return ServiceUnavailable("the triggers could not answer", hint="try again in a few seconds")
    return _REFUSALS.get(cause.type, InvalidArguments)(cause.message)
