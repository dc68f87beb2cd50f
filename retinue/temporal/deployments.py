"""Worker deployments: which version of each kind of workers gets new work, and moving runs among versions.

For workers that make their own version current, and for the operator's command `retinue deploy` (docs/deploying.md).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.batch.v1 import BatchOperationUpdateWorkflowExecutionOptions
from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as ProtoVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import TaskQueueVersioningInfo
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
    ListWorkerDeploymentsRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
    StartBatchOperationRequest,
)
from temporalio.client import Client
from temporalio.common import OneTimeVersioningOverride, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from retinue.errors import RetinueError
from retinue.temporal.pollers import live_builds, routing_of

WITHIN = 120.0
"""Seconds after which a version that could not be made the current one is given up."""
_PREFIX = "retinue-"
_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_STATUS = "WORKER_DEPLOYMENT_VERSION_STATUS_"
_log = logging.getLogger("retinue.temporal.deployments")


class NotCurrent(RetinueError):
    """Temporal does not route work to this version."""


class Status(StrEnum):
    """What Temporal does with a version."""

    CURRENT = "current"
    RAMPING = "ramping"
    DRAINING = "draining"
    """It was current or ramping, and open runs may be pinned to it."""
    DRAINED = "drained"
    """No open run was pinned to it at Temporal's last look, which it takes every few minutes."""
    INACTIVE = "inactive"
    """It never got work."""
    CREATED = "created"
    """None of its workers has polled yet."""


@dataclass(frozen=True)
class VersionState:
    """One version of a deployment."""

    build_id: str
    status: Status
    percentage: float
    """Of the new work that it gets, from 0 to 100."""
    polls: bool
    """Whether live workers poll all queues that it has."""
    open_runs: int
    """Pinned to it and not ended, by Temporal's visibility, which is some moments late."""
    backlog: int
    """Tasks that wait for one of its workers."""
    last_current: datetime | None
    """When it was last the current version."""


@dataclass(frozen=True)
class DeploymentState:
    """One kind of workers: the workflows, or a capability."""

    name: str
    """`workflows`, or the capability's."""
    versions: list[VersionState]
    """Newest first."""
    token: bytes
    """Makes a change fail if somebody else changed the deployment in between."""

    def find(self, build_id: str) -> VersionState | None:
        """Return one of its versions."""
        return next((version for version in self.versions if version.build_id == build_id), None)

    def that_is(self, status: Status) -> VersionState | None:
        """Return the newest version of this status."""
        return next((version for version in self.versions if version.status is status), None)


def version_of(name: str, build_id: str) -> WorkerDeploymentVersion:
    """Return the version `build_id` of the workers called `name`: a capability, or `workflows`."""
    return WorkerDeploymentVersion(deployment_name=f"{_PREFIX}{name}", build_id=build_id)


async def names(client: Client) -> list[str]:
    """Return which kinds of workers Temporal knows.

    Raises:
        RPCError: Temporal does not answer.
    """
    request = ListWorkerDeploymentsRequest(namespace=client.namespace, page_size=100)
    found: list[str] = []
    while True:
        listed = await client.workflow_service.list_worker_deployments(request, retry=True)
        found += [one.name for one in listed.worker_deployments]
        if not listed.next_page_token:
            return sorted(name.removeprefix(_PREFIX) for name in found if name.startswith(_PREFIX))
        request.next_page_token = listed.next_page_token


async def state_of(client: Client, name: str) -> DeploymentState | None:
    """Return a deployment with all its versions; None if Temporal does not know it. Errors as above."""
    found = await _described(client, version_of(name, "").deployment_name)
    if found is None:
        return None
    info = found.worker_deployment_info
    summaries = sorted(info.version_summaries, key=lambda one: one.create_time.ToNanoseconds(), reverse=True)
    builds: dict[str, set[str]] = {}
    states = [await _state(client, summary, info, builds) for summary in summaries]
    return DeploymentState(name, states, found.conflict_token)


async def _state(
    client: Client,
    summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary,
    info: WorkerDeploymentInfo,
    builds: dict[str, set[str]],
) -> VersionState:
    """Return the state of a version; `builds` are those that poll each queue, as far as they were asked for."""
    version = _version(summary.deployment_version)
    described = await _version_described(client, version, stats=True)
    queues = {queue.name for queue in described.version_task_queues}
    for queue in queues - builds.keys():
        builds[queue] = await live_builds(client, queue)
    status = Status(WorkerDeploymentVersionStatus.Name(summary.status).removeprefix(_STATUS).lower())
    ramped = info.routing_config.ramping_version_percentage
    shares = {Status.CURRENT: 100.0 - ramped, Status.RAMPING: ramped}
    return VersionState(
        build_id=version.build_id,
        status=status,
        percentage=shares.get(status, 0.0),
        polls=bool(queues) and all(version.build_id in builds[queue] for queue in queues),
        open_runs=(await client.count_workflows(pinned_to(version))).count,
        backlog=sum(queue.stats.approximate_backlog_count for queue in described.version_task_queues),
        last_current=_moment(summary.last_current_time),
    )


def _moment(time_of: Timestamp) -> datetime | None:
    return time_of.ToDatetime(UTC) if time_of.ToNanoseconds() else None


def pinned_to(version: WorkerDeploymentVersion) -> str:
    """Return the visibility query for the open runs that are pinned to a version."""
    return (
        f'TemporalWorkerDeploymentVersion = "{version.deployment_name}:{version.build_id}" '
        'AND TemporalWorkflowVersioningBehavior = "Pinned" AND ExecutionStatus = "Running"'
    )


async def set_current(client: Client, version: WorkerDeploymentVersion, token: bytes = b"") -> None:
    """Have Temporal route all new work to this version; its queues know a moment later.

    Raises:
        RPCError: Temporal refuses it, or does not answer.
    """
    await client.workflow_service.set_worker_deployment_current_version(
        SetWorkerDeploymentCurrentVersionRequest(
            namespace=client.namespace,
            deployment_name=version.deployment_name,
            build_id=version.build_id,
            conflict_token=token,
            identity=client.identity,
        ),
        retry=True,
    )


async def set_ramp(client: Client, version: WorkerDeploymentVersion, percentage: float, token: bytes = b"") -> None:
    """Have Temporal route a share of the new work to this version; with an empty build id and 0, end the ramp.

    Raises:
        RPCError: Temporal refuses it, or does not answer.
    """
    await client.workflow_service.set_worker_deployment_ramping_version(
        SetWorkerDeploymentRampingVersionRequest(
            namespace=client.namespace,
            deployment_name=version.deployment_name,
            build_id=version.build_id,
            percentage=percentage,
            conflict_token=token,
            identity=client.identity,
        ),
        retry=True,
    )


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
    try:
        if not await is_current(client, version):
            await set_current(client, version)
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
    return await queues_know(client, version, lambda routing: _is(routing.current_deployment_version, version))


async def queues_know(
    client: Client, version: WorkerDeploymentVersion, holds: Callable[[TaskQueueVersioningInfo], bool]
) -> bool:
    """Whether something holds for the routing of all queues of a version. Errors as above."""
    described = await _version_described(client, version)
    queues = [(queue.name, queue.type) for queue in described.version_task_queues]
    return bool(queues) and all([holds(await routing_of(client, *queue)) for queue in queues])


def _is(found: ProtoVersion, version: WorkerDeploymentVersion) -> bool:
    return _version(found) == version


def _version(found: ProtoVersion) -> WorkerDeploymentVersion:
    return WorkerDeploymentVersion(deployment_name=found.deployment_name, build_id=found.build_id)


async def move_stranded_runs(client: Client, version: WorkerDeploymentVersion, task_queue: str) -> None:
    """Move the open runs of versions that no worker serves any more to this version, where they are pinned again.

    Temporal does so in the background, at about 50 runs a second.

    Raises:
        RPCError: Temporal does not answer.
    """
    found = await _described(client, version.deployment_name)
    summaries = found.worker_deployment_info.version_summaries if found else []
    draining = {
        one.deployment_version.build_id
        for one in summaries
        if one.status == WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING
    }
    for build_id in draining - await live_builds(client, task_queue):
        await move_runs(client, dataclasses.replace(version, build_id=build_id), version)


async def move_runs(client: Client, old: WorkerDeploymentVersion, new: WorkerDeploymentVersion) -> None:
    """Begin to move the open runs that are pinned to one version to another.

    Raises:
        RPCError: Temporal does not answer.
    """
    query = pinned_to(old)
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
            reason=f"{_name(old)} is retired",
            update_workflow_options_operation=operation,
        )
    )
    _log.warning("moving its open runs", extra={"old": _name(old), "new": _name(new)})


async def _described(client: Client, deployment: str) -> DescribeWorkerDeploymentResponse | None:
    try:
        return await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment),
            retry=True,  # the server refuses when many processes ask at once
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _version_described(
    client: Client, version: WorkerDeploymentVersion, *, stats: bool = False
) -> DescribeWorkerDeploymentVersionResponse:
    asked = ProtoVersion(deployment_name=version.deployment_name, build_id=version.build_id)
    return await client.workflow_service.describe_worker_deployment_version(
        DescribeWorkerDeploymentVersionRequest(
            namespace=client.namespace, deployment_version=asked, report_task_queue_stats=stats
        ),
        retry=True,
    )


def _name(version: WorkerDeploymentVersion) -> str:
    return f"{version.deployment_name} {version.build_id}"
