"""Worker Deployment Versioning: each worker is a version of a deployment, and Temporal routes work by that.

The workflow worker's deployment is `retinue-workflows`, that of a capability `retinue-<capability>`. Runs are pinned: they end on
the version on which they began. Workflows that live long, such as the registry, move to the current version with their next
task. Activities go to the current version of their capability, whatever version the run is pinned to.
See docs/deploying.md and docs/decisions/0030-versions-by-worker-deployments.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import workflow
from temporalio.api.batch.v1 import BatchOperationUpdateWorkflowExecutionOptions
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as ProtoVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    StartBatchOperationRequest,
)
from temporalio.client import Client
from temporalio.common import OneTimeVersioningOverride, VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from retinue.errors import RetinueError
from retinue.temporal.pollers import live_builds, routed_to

WITHIN = 120.0
"""Seconds after which a version that could not be made the current one is given up."""
_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LOOK = 5.0
"""Seconds between two looks at which version is the current one."""
_DRAINING = WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING
"""Of a version that was the current one, and has open runs."""
_log = logging.getLogger("retinue.worker")


class NotCurrent(RetinueError):
    """Temporal does not route work to this version."""


def version_of(name: str, build_id: str) -> WorkerDeploymentVersion:
    """Return the version `build_id` of the workers called `name`: a capability, or `workflows`."""
    return WorkerDeploymentVersion(deployment_name=f"retinue-{name}", build_id=build_id)


def options(
    version: WorkerDeploymentVersion | None,
    build_id: str,
    behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> dict[str, Any]:
    """What a `Worker` is told of its version.

    Args:
        version: None for a worker without one, which gets work only where no version is current.
        build_id: By which a worker without a version is shown.
        behavior: Of its workflows.
    """
    if version is None:
        return {"build_id": build_id}
    config = WorkerDeploymentConfig(version, use_worker_versioning=True, default_versioning_behavior=behavior)
    return {"deployment_config": config}


class AutoUpgradingRunner(WorkflowRunner):
    """Runs workflows by another runner, some types of them as auto-upgrading.

    `workflow.defn` could say so too, but Temporal then refuses every task of a worker that has no version.
    """

    def __init__(self, inner: WorkflowRunner, types: frozenset[str]) -> None:
        self._inner = inner
        self._types = types

    def prepare_workflow(self, defn: workflow._Definition) -> None:
        """As the inner runner."""
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return an instance of the inner runner."""
        if det.info.workflow_type in self._types:
            defn = dataclasses.replace(det.defn, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
            det = dataclasses.replace(det, defn=defn)
        return self._inner.create_instance(det)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        """As the inner runner."""
        self._inner.set_worker_level_failure_exception_types(types)


async def make_current(client: Client, version: WorkerDeploymentVersion) -> None:
    """Have Temporal route new work to this version; returns once all its queues know.

    Temporal knows a version a moment after its first poll, so this tries again for a while.

    Raises:
        NotCurrent: It did not succeed within `WITHIN` seconds.
    """
    deadline, pause = time.monotonic() + WITHIN, _PAUSE
    while problem := await _try_to_make_current(client, version):
        if time.monotonic() > deadline:
            raise NotCurrent(f"{_name(version)} could not be made the current version: {problem}")
        _log.debug("not the current version yet: %s", problem)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    _log.info("the current version", extra={"version": _name(version)})


async def _try_to_make_current(client: Client, version: WorkerDeploymentVersion) -> str:
    """Why it did not succeed; empty when it did."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=version.deployment_name, build_id=version.build_id
    )
    try:
        if not await is_current(client, version):
            await client.workflow_service.set_worker_deployment_current_version(request)
            return "its queues have not heard of it"
    except RPCError as error:
        return f"{error.status.name}: {error.message}"
    return ""


async def is_current(client: Client, version: WorkerDeploymentVersion) -> bool:
    """Whether new work goes to this version, and its queues know. False where nobody knows the deployment.

    The queues are asked, since a deployment's `routing_config_update_state` may stay in progress for good (server 1.32).

    Raises:
        RPCError: Temporal does not answer, or knows no deployments.
    """
    found = await _described(client, version.deployment_name)
    if found is None or not _is(found.worker_deployment_info.routing_config.current_deployment_version, version):
        return False
    asked = ProtoVersion(deployment_name=version.deployment_name, build_id=version.build_id)
    described = await client.workflow_service.describe_worker_deployment_version(
        DescribeWorkerDeploymentVersionRequest(namespace=client.namespace, deployment_version=asked)
    )
    queues = [(queue.name, queue.type) for queue in described.version_task_queues]
    return bool(queues) and all([_is(await routed_to(client, *queue), version) for queue in queues])


def _is(found: ProtoVersion, version: WorkerDeploymentVersion) -> bool:
    return (found.deployment_name, found.build_id) == (version.deployment_name, version.build_id)


async def until_current(client: Client, version: WorkerDeploymentVersion, *, current: bool = True) -> None:
    """Wait until this version is the current one, or no longer is, for as long as that takes."""
    while True:
        try:
            if await is_current(client, version) is current:
                return
        except RPCError as error:
            _log.warning("which version is current is not known: %s", error.status.name)
        await asyncio.sleep(_LOOK)


async def move_stranded_runs(client: Client, version: WorkerDeploymentVersion, task_queue: str) -> None:
    """Move the open runs of versions that no worker serves any more to this version, where they are pinned again.

    Temporal does so in the background, at about 50 runs a second.

    Raises:
        RPCError: Temporal does not answer.
    """
    found = await _described(client, version.deployment_name)
    summaries = found.worker_deployment_info.version_summaries if found else []
    draining = {one.deployment_version.build_id for one in summaries if one.status == _DRAINING}
    for build_id in draining - await live_builds(client, task_queue):
        await move_runs(client, dataclasses.replace(version, build_id=build_id), version)


async def move_runs(client: Client, old: WorkerDeploymentVersion, new: WorkerDeploymentVersion) -> None:
    """Begin to move the open runs that are pinned to one version to another.

    Raises:
        RPCError: Temporal does not answer.
    """
    query = (
        f'TemporalWorkerDeploymentVersion = "{old.deployment_name}:{old.build_id}" '
        'AND TemporalWorkflowVersioningBehavior = "Pinned" AND ExecutionStatus = "Running"'
    )
    if not (await client.count_workflows(query)).count:
        return
    override = OneTimeVersioningOverride(new)._to_proto()
    operation = BatchOperationUpdateWorkflowExecutionOptions(
        identity=client.identity,
        workflow_execution_options=WorkflowExecutionOptions(versioning_override=override),
        update_mask=FieldMask(paths=["versioning_override"]),
    )
    await client.workflow_service.start_batch_operation(
        StartBatchOperationRequest(
            namespace=client.namespace,
            visibility_query=query,
            job_id=uuid.uuid4().hex,
            reason=f"{_name(old)} has no workers any more",
            update_workflow_options_operation=operation,
        )
    )
    _log.warning("moving its open runs", extra={"old": _name(old), "new": _name(new)})


async def _described(client: Client, deployment: str) -> DescribeWorkerDeploymentResponse | None:
    try:
        return await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


def _name(version: WorkerDeploymentVersion) -> str:
    return f"{version.deployment_name} {version.build_id}"
