"""Access to runs: who may read, decide or change which. A foreign run looks like one that does not exist."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from retinue.errors import NotFound
from retinue.temporal.connection import decode_texts, of_workflow
from retinue.temporal.search_keys import APPROVERS, OWNER
from retinue.tenancy import anybody, organisation
from workflows.code_plans import PLANS

TYPE = "AssistantWorkflow"
TYPES = frozenset({TYPE, *(plan.workflow_type for plan in PLANS.values())})
RPC = timedelta(seconds=5)


class Access(Enum):
    """The kind of access to a run."""

    CHANGE = "their own"
    DECIDE = "their own, or one in which they may decide"
    READ = "the same, and for an auditor all of their organisation"


class RunAccess:
    """Finds runs for one caller.

    Args:
        client: The Temporal client.
        owner: The caller, as `Person.owner` names them.
        audits: The caller reads, and only reads, all runs of their organisation.
    """

    def __init__(self, client: Client, *, owner: str, audits: bool = False) -> None:
        self._client = client
        self._owner = owner
        self._tenant = organisation(owner)
        self._audits = audits

    def are_of(self, owner: str) -> bool:
        """Return whether the caller is that owner."""
        return owner == self._owner

    async def readable(self, assistant_id: str) -> WorkflowExecutionDescription:
        """Return Temporal's description of the run, if the caller may read it.

        Raises:
            NotFound: It does not exist, or the caller may not read it; the answers are equal.
        """
        return await self._describe(assistant_id, to=Access.READ)

    async def _describe(self, assistant_id: str, *, to: Access = Access.CHANGE) -> WorkflowExecutionDescription:
        """Return Temporal's description of the run, if the caller has this access. An unknown run costs the same one call."""
        try:
            description = await self._handle(assistant_id).describe(rpc_timeout=RPC)
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise no_such_assistant(assistant_id) from None
            raise
        if description.workflow_type not in TYPES or not self._may(description, to):
            raise no_such_assistant(assistant_id)
        await decode_texts(description, of_workflow(self._client, assistant_id))
        return description

    def _may(self, run: WorkflowExecution, to: Access) -> bool:
        """Return whether the caller has this access, by exact names: servers compare less exactly."""
        found = run.typed_search_attributes
        owner = found.get(OWNER)
        if owner is None or organisation(owner) != self._tenant:
            return False
        if owner == self._owner:
            return True
        decides = bool({self._owner, anybody(self._owner)} & set(found.get(APPROVERS) or []))
        return (to is not Access.CHANGE and decides) or (to is Access.READ and self._audits)

    def _handle(self, assistant_id: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(assistant_id)


def no_such_assistant(assistant_id: str) -> NotFound:
    """Return the error for an unknown or foreign id."""
    return NotFound(f"there is no assistant {assistant_id[:80]!r}", hint="GET /v1/assistants lists yours")
