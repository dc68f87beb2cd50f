"""Client of the registry: announces a capability and reads the manifests.

The registry is one long-lived workflow (`workflows/registry.py`). Its names are here so that workers and the API do not
import workflow code. A worker in another language calls: update-with-start of workflow type `RegistryWorkflow`, id
`retinue-registry`, queue `workflows`, update `announce`, argument the manifest as JSON.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from retinue.capability import WORKFLOW_QUEUE, Manifest
from retinue.errors import InvalidArguments, ServiceUnavailable
from retinue.schemas.manifests import check_names, check_schemas, usable

REGISTRY_ID = "retinue-registry"
REGISTRY_TYPE = "RegistryWorkflow"
ANNOUNCE = "announce"
REPLACE = "replace"
CAPABILITIES = "capabilities"
REVISION = "revision"
"""The name of the memo field, and of a cheap query."""
_RPC_TIMEOUT = timedelta(seconds=5)
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)*")
FRESH = 1.0
"""Seconds. Planning reads the registry at most this often; it reads again before it calls a tool unknown."""


def is_older(version: str, other: str) -> bool:
    """Whether `version` is older than `other`. Only numbers with dots are compared; others are never older."""
    if not (_NUMBERS.fullmatch(version) and _NUMBERS.fullmatch(other)):
        return False
    return [*map(int, version.split("."))] < [*map(int, other.split("."))]


class Directory:
    """Reads and caches the manifests; it queries the registry's revision first, which is cheap."""

    def __init__(self, client: Client) -> None:
        self._handle = client.get_workflow_handle(REGISTRY_ID)
        self._revision: int | None = None
        self._read_at = float("-inf")
        self._manifests: list[Manifest] = []
        self._answered_at = float("-inf")

    async def check(self, *, max_age: float) -> None:
        """Check that the registry answers, or was never started.

        Args:
            max_age: Seconds that its last answer may be old.

        Raises:
            RPCError: Temporal does not answer, or the registry's worker does not.
        """
        asked_at = time.monotonic()
        if asked_at - self._answered_at < max_age:
            return
        try:
            await self._handle.query(REVISION, rpc_timeout=_RPC_TIMEOUT)
        except WorkflowQueryFailedError:
            pass  # an earlier version without this query has answered
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        self._answered_at = asked_at

    async def manifests(self, *, max_age: float = 0) -> list[Manifest]:
        """Return all announced capabilities by name; empty when nothing was ever announced.

        A tool whose schema is invalid is left out, and `left_out` says why: not everybody checks what they announce.

        Args:
            max_age: Seconds that the answer may be old.

        Raises:
            RPCError: Temporal does not answer, or the registry's worker does not.
        """
        asked_at = time.monotonic()
        if asked_at - self._read_at >= max_age:
            await self._read()
            self._read_at = asked_at
        return self._manifests

    async def _read(self) -> None:
        try:
            description = await self._handle.describe(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return
            raise
        revision = await description.memo_value(REVISION, 0, type_hint=int)
        if revision != self._revision:
            manifests = await self._handle.query(CAPABILITIES, result_type=list[Manifest], rpc_timeout=_RPC_TIMEOUT)
            self._manifests = await asyncio.to_thread(lambda: [usable(manifest) for manifest in manifests])
            self._revision = revision


async def check_keys(client: Client) -> None:
    """Check that this process has the same encryption keys as the others, before it takes work that it could not read.

    Raises:
        Undecipherable: It cannot read what the registry last wrote.
    """
    try:
        description = await client.get_workflow_handle(REGISTRY_ID).describe(rpc_timeout=_RPC_TIMEOUT)
    except RPCError:
        return  # nothing to compare yet
    await description.memo_value(REVISION, 0)


async def announce(client: Client, manifest: Manifest, update_id: str | None = None) -> int:
    """Announce a manifest to the registry, starting the registry if needed. Returns its revision.

    The registry keeps a newer version of the capability.

    Args:
        client: Connected to Temporal.
        manifest: To announce.
        update_id: The same for each try of one announcement, so that a retry waits for the first one's answer instead
            of adding an update.

    Raises:
        ServiceUnavailable: Temporal or the workflow worker does not answer in time; try again.
        InvalidArguments: The manifest is invalid.
    """
    return await _put(client, ANNOUNCE, manifest, update_id)


async def go_back(client: Client, manifest: Manifest, update_id: str | None = None) -> int:
    """Announce a manifest, replacing a newer version. Arguments, result and errors as for `announce`."""
    return await _put(client, REPLACE, manifest, update_id)


async def _put(client: Client, update: str, manifest: Manifest, update_id: str | None) -> int:
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        REGISTRY_TYPE,
        id=REGISTRY_ID,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="Registry of capabilities",
        static_details="Holds the manifest of every announced capability. Started by the first worker.",
    )
    if problem := check_names(manifest) or await asyncio.to_thread(check_schemas, manifest):
        raise InvalidArguments(f"the registry would refuse {manifest.name}: {problem}")
    try:
        revision: int = await client.execute_update_with_start_workflow(
            update,
            manifest,
            start_workflow_operation=start,
            result_type=int,
            id=update_id,
            rpc_timeout=_RPC_TIMEOUT,
        )
    except (RPCError, RPCTimeoutOrCancelledError):
        raise ServiceUnavailable("the registry did not answer") from None
    except WorkflowUpdateFailedError as error:
        raise InvalidArguments(f"the registry refused {manifest.name}: {error.cause}") from None
    return revision
