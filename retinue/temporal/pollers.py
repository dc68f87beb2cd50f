"""Counts the live workers of a task queue, so that a queue without workers is reported."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue, TaskQueueVersioningInfo
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse, ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from retinue.temporal.connection import WORKER_HEARTBEAT

_RPC_TIMEOUT = timedelta(seconds=5)
_SILENT_AFTER = 3 * WORKER_HEARTBEAT.total_seconds()
_LAST_POLL_WITHIN = 70.0
"""Seconds. A poll lasts up to a minute, so a worker without heartbeats counts as live for that long."""
Version = tuple[str, str]


async def live_pollers(client: Client, task_queue: str, *, workflows: bool = False) -> int:
    """Count the workers that poll `task_queue` now and get new work: those of the current version, if they have versions.

    The server lists pollers for minutes after they are gone. Worker heartbeats are faster; for workers without them (other
    SDKs), the time of the last poll decides.

    Raises:
        RPCError: Temporal does not answer.
    """
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    gone, _ = await _told(client, task_queue)
    described = await _described(client, task_queue, kind)
    routed = _routed(described.versioning_info)
    return sum(poller.identity not in gone and _version(poller) in routed for poller in _recent(described.pollers))


async def backlog(client: Client, task_queue: str, *, workflows: bool = False) -> tuple[int, float]:
    """Return how many tasks wait in a queue, about, and for how many seconds the oldest has waited.

    Raises:
        RPCError: Temporal does not answer.
    """
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    stats = (await _described(client, task_queue, kind, stats=True)).stats
    return stats.approximate_backlog_count, stats.approximate_backlog_age.ToTimedelta().total_seconds()


async def why_idle(client: Client, task_queue: str) -> str:
    """Why live workers of a queue of workflows get no new work; empty where none lives. Errors as above."""
    gone, _ = await _told(client, task_queue)
    described = await _described(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    idle = {_version(poller) for poller in _recent(described.pollers) if poller.identity not in gone}
    if not idle:
        return ""
    names = ", ".join(sorted(_name(version) for version in idle))
    return f"these poll: {names}; the current version is: {_name(_current(described.versioning_info))}"


async def routing_of(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> TaskQueueVersioningInfo:
    """The versions to which a queue gives new work; empty where it gives it to workers without one. Errors as above."""
    return (await _described(client, task_queue, kind)).versioning_info


def _routed(versioning: TaskQueueVersioningInfo) -> set[Version]:
    """Return the versions that get new work."""
    ramping = versioning.ramping_deployment_version
    ramped = {(ramping.deployment_name, ramping.build_id)} if versioning.ramping_version_percentage else set()
    return {_current(versioning)} | ramped


def _current(versioning: TaskQueueVersioningInfo) -> Version:
    """Return the current version; empty names where work goes to workers without a version."""
    current = versioning.current_deployment_version
    return (current.deployment_name, current.build_id)


def _name(version: Version) -> str:
    return " ".join(version).strip() or "none"


def _version(poller: PollerInfo) -> Version:
    """Deployment and build; empty names for a worker without a version."""
    said = poller.deployment_options
    if said.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return ("", "")
    return (said.deployment_name, said.build_id)


async def latest_poll(client: Client, task_queue: str) -> datetime | None:
    """Return when a worker last polled `task_queue` for workflow tasks, by the server's clock; None if none did lately.

    Raises:
        RPCError: Temporal does not answer.
    """
    described = await _described(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    return max((poller.last_access_time.ToDatetime(UTC) for poller in described.pollers), default=None)


async def live_builds(client: Client, task_queue: str) -> set[str]:
    """Return the build ids (`calendar-1.0.0`) of the workers that serve `task_queue` now.

    The list of pollers alone is not enough, since the polls of a new worker may queue behind others.
    """
    gone, live = await _told(client, task_queue)
    described = await _described(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    pollers = [poller for poller in _recent(described.pollers) if poller.identity not in gone]
    polling = {poller.worker_version_capabilities.build_id for poller in pollers}
    return polling | {beat.deployment_version.build_id for beat in live}


async def last_start(client: Client, task_queue: str) -> datetime | None:
    """Return when the newest worker of `task_queue` started; None if the server knows none.

    The server drops a worker within seconds after its last heartbeat.
    """
    beats = await _beats(client, task_queue)
    return max((beat.start_time.ToDatetime(tzinfo=UTC) for beat in beats), default=None)


def _recent(pollers: Iterable[PollerInfo]) -> list[PollerInfo]:
    now = time.time()
    return [poller for poller in pollers if now - poller.last_access_time.seconds < _LAST_POLL_WITHIN]


async def _described(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType, *, stats: bool = False
) -> DescribeTaskQueueResponse:
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=kind,
            report_stats=stats,
        ),
        timeout=_RPC_TIMEOUT,
    )


async def _told(client: Client, task_queue: str) -> tuple[set[str], list[WorkerHeartbeat]]:
    """Return by heartbeats the identities of workers that are stopping or silent, and of live ones."""
    beats = await _beats(client, task_queue)
    now = time.time()
    live = [
        beat
        for beat in beats
        if beat.status == WorkerStatus.WORKER_STATUS_RUNNING and now - beat.heartbeat_time.seconds < _SILENT_AFTER
    ]
    return {beat.worker_identity for beat in beats} - {beat.worker_identity for beat in live}, live


async def _beats(client: Client, task_queue: str) -> list[WorkerHeartbeat]:
    """Return the last heartbeat of each worker of the queue that the server remembers."""
    request = ListWorkersRequest(namespace=client.namespace, query=f'TaskQueue="{task_queue}"', page_size=200)
    try:
        listed = await client.workflow_service.list_workers(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
            return []  # a server before 1.29 knows no worker heartbeats
        raise
    return [info.worker_heartbeat for info in listed.workers_info]
