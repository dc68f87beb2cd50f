"""Client of a person's workflow with grants, daily usage and the number of their facts: one per owner (`workflows/person.py`).

Its names are here for workers, the API and programs in other languages, which call: update-with-start of workflow type
`PersonWorkflow`, id `person-<owner>`, queue `workflows-people`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from retinue.errors import Conflict, InvalidArguments, NotFound, RetinueError, ServiceUnavailable
from retinue.temporal.fairness import fair_share

PERSON_QUEUE = "workflows-people"
"""Separate from the queue of the calling workflows: each holds a slot of its worker while it waits, so with all slots held
no slot would be left to answer (of 200 at once, 140 had no answer in time)."""
PERSON_TYPE = "PersonWorkflow"
CHECK_GRANT = "check_grant"
RECORD_APPROVAL = "record_approval"
ADD_GRANT = "add_grant"
REVOKE = "revoke_grant"
RECORD_USAGE = "record_usage"
NOTE_FACTS = "note_facts"
GRANTS = "grants"
FACTS = "facts"
DAY = "usage_of_day"
_RPC_TIMEOUT = timedelta(seconds=5)
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_REFUSALS: dict[str | None, type[RetinueError]] = {"GrantUnknown": NotFound, "TooManyGrants": Conflict}

Answer = TypeVar("Answer")


def person_id(owner: str) -> str:
    """Return the workflow id of an owner."""
    return f"person-{plain_name(owner)}"


def plain_name(owner: str) -> str:
    """Return an owner's part of a workflow id: an irregular name becomes `~` and its digest, which no regular name can be."""
    if _PLAIN.fullmatch(owner):
        return owner
    return f"~{hashlib.sha256(owner.encode(errors='surrogatepass')).hexdigest()[:32]}"


async def ask(client: Client, owner: str, update: str, argument: Any, *, answer: type[Answer]) -> Answer:
    """Send an update to an owner's workflow, starting it if needed.

    Raises:
        ServiceUnavailable: Temporal or the workflow worker does not answer in time. The update may have counted; since
            it has a key or an id, it can be sent again.
        NotFound: There is no such grant.
        Conflict: There are too many grants.
        InvalidArguments: It was refused for another reason.
    """
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        PERSON_TYPE,
        id=person_id(owner),
        task_queue=PERSON_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        priority=fair_share(owner),
        static_summary="Grants and daily usage of a person",
    )
    try:
        answered: Answer = await client.execute_update_with_start_workflow(
            update, argument, start_workflow_operation=start, result_type=answer, rpc_timeout=_RPC_TIMEOUT
        )
    except WorkflowUpdateFailedError as error:
        raise _refusal(error.cause) from None
    except (RPCError, RPCTimeoutOrCancelledError):
        with contextlib.suppress(RPCError):
            await start.workflow_handle()  # it has the same error, and asyncio warns about one that is never retrieved
        raise ServiceUnavailable(
            "the person's grants did not answer in time", hint="try again in a few seconds"
        ) from None
    return answered


def _refusal(cause: BaseException) -> RetinueError:
    if not isinstance(cause, ApplicationError):
        return ServiceUnavailable("the person's grants could not answer")
    return _REFUSALS.get(cause.type, InvalidArguments)(cause.message)


async def query(
    client: Client,
    owner: str,
    name: str,
    *arguments: object,
    answer: type[Answer],
    rpc_timeout: timedelta = _RPC_TIMEOUT,
) -> Answer:
    """Read from an owner's workflow.

    Raises:
        RPCError: With status NOT_FOUND when the owner has no grants or usage yet.
        RPCTimeoutOrCancelledError: No worker answered in time.
    """
    handle = client.get_workflow_handle(person_id(owner))
    answered: Answer = await handle.query(name, args=arguments, result_type=answer, rpc_timeout=rpc_timeout)
    return answered
