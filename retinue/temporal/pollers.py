"""How many live workers poll a task queue. A queue without any must never be silent."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from retinue.temporal.connection import WORKER_HEARTBEAT

_RPC_TIMEOUT = timedelta(seconds=5)
_SILENT_AFTER = 3 * WORKER_HEARTBEAT.total_seconds()
_LAST_POLL_WITHIN = 70.0
"""Seconds. A poll lasts up to a minute, so a worker without heartbeats counts as live for that long."""


async def live_pollers(client: Client, task_queue: str, *, workflows: bool = False) -> int:
    """Count the workers that poll `task_queue` now.

    The server remembers pollers for minutes after they are gone. Worker heartbeats tell sooner; for workers that send
    none (other SDKs), the time of the last poll decides.

    Raises:
        RPCError: Temporal does not answer.
    """
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    gone, _ = await _told(client, task_queue)
    return sum(poller.identity not in gone for poller in await _recent_pollers(client, task_queue, kind))


async def latest_poll(client: Client, task_queue: str) -> datetime | None:
    """When a worker last asked `task_queue` for workflow tasks, by the server's clock; None when nobody did lately.

    Raises:
        RPCError: Temporal does not answer.
    """
    pollers = await _pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    return max((poller.last_access_time.ToDatetime(UTC) for poller in pollers), default=None)


async def live_builds(client: Client, task_queue: str) -> set[str]:
    """The build ids (`calendar-1.0.0`) of the workers that serve `task_queue` now. Errors as above.

    The list of pollers alone is not enough: the polls of a worker that has just joined others may queue behind theirs.
    """
    gone, live = await _told(client, task_queue)
    pollers = await _recent_pollers(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    polling = {poller.worker_version_capabilities.build_id for poller in pollers if poller.identity not in gone}
    return polling | {beat.deployment_version.build_id for beat in live}


async def last_start(client: Client, task_queue: str) -> datetime | None:
    """When the worker of `task_queue` that started last did so; None where the server knows none. Errors as above.

    The server forgets a worker whose heartbeats end within seconds.
    """
    beats = await _beats(client, task_queue)
    return max((beat.start_time.ToDatetime(tzinfo=UTC) for beat in beats), default=None)


async def _recent_pollers(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> list[PollerInfo]:
    now = time.time()
    pollers = await _pollers(client, task_queue, kind)
    return [poller for poller in pollers if now - poller.last_access_time.seconds < _LAST_POLL_WITHIN]


async def _pollers(client: Client, task_queue: str, kind: TaskQueueType.ValueType) -> list[PollerInfo]:
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
        ),
        timeout=_RPC_TIMEOUT,
    )
    return list(described.pollers)


async def _told(client: Client, task_queue: str) -> tuple[set[str], list[WorkerHeartbeat]]:
    """What heartbeats tell: identities of workers that are shutting down or have fallen silent, and those that live."""
    beats = await _beats(client, task_queue)
    now = time.time()
    live = [
        beat
        for beat in beats
        if beat.status == WorkerStatus.WORKER_STATUS_RUNNING and now - beat.heartbeat_time.seconds < _SILENT_AFTER
    ]
    return {beat.worker_identity for beat in beats} - {beat.worker_identity for beat in live}, live


async def _beats(client: Client, task_queue: str) -> list[WorkerHeartbeat]:
    """The last heartbeat of each worker of the queue that the server remembers."""
    request = ListWorkersRequest(namespace=client.namespace, query=f'TaskQueue="{task_queue}"', page_size=200)
    try:
        listed = await client.workflow_service.list_workers(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
            return []  # a server before 1.29 knows no worker heartbeats
        raise
    return [info.worker_heartbeat for info in listed.workers_info]
