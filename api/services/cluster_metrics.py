"""Metrics of the whole installation, read from Temporal when Prometheus asks: waiting runs, and queues.

Each API process gives the same values, so take `max`, not `sum`, over processes. They are read at most once in 15 seconds,
however often somebody asks. What Temporal does not tell is left out, and `retinue_temporal_up` is 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from api.http import metrics
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import ServiceUnavailable, Undecipherable
from retinue.temporal.person import PERSON_QUEUE
from retinue.temporal.pollers import backlog, live_pollers
from retinue.temporal.registry import Directory
from retinue.temporal.search_attributes import PENDING_APPROVALS, STATUS

_FRESH = 15.0
_LONGEST = 8.0
"""Seconds: Prometheus gives a process ten."""
_RPC = timedelta(seconds=5)
_OPEN = ("running", "awaiting_approval", "awaiting_input", "awaiting_worker", "awaiting_account")
_WAITING = f"{PENDING_APPROVALS} > 0"
_AGES = {"0s": timedelta(), "1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}
_GAUGES = (metrics.OPEN_RUNS, metrics.WAITING_RUNS, metrics.BACKLOG, metrics.BACKLOG_AGE, metrics.POLLERS)


class ClusterMetrics:
    """Reads the state of the installation into the gauges of this process.

    Args:
        client: Connected to Temporal, at the first call at the latest.
        directory: Names the queues.
    """

    def __init__(self, client: Client, directory: Directory) -> None:
        self._client = client
        self._directory = directory
        self._turn = asyncio.Lock()
        self._read_at = -_FRESH

    async def refresh(self, connect: Callable[[], Awaitable[object]]) -> None:
        """Read the state, unless it was read in the last seconds."""
        async with self._turn:
            if time.monotonic() - self._read_at < _FRESH:
                return
            try:
                async with asyncio.timeout(_LONGEST):
                    await connect()
                    await self._count_runs()
                    await self._look_at_queues()
            except (RPCError, ServiceUnavailable, Undecipherable, TimeoutError):
                self._forget()
            else:
                metrics.TEMPORAL_UP.set(1)
            self._read_at = time.monotonic()

    def _forget(self) -> None:
        metrics.TEMPORAL_UP.set(0)
        for gauge in _GAUGES:
            gauge.clear()

    async def _count_runs(self) -> None:
        now = datetime.now(UTC)
        for status in _OPEN:
            metrics.OPEN_RUNS.labels(status).set(await self._count(f"{STATUS} = '{status}'"))
        for name, age in _AGES.items():
            began = f"StartTime <= '{(now - age).isoformat(timespec='seconds')}'"
            metrics.WAITING_RUNS.labels(name).set(await self._count(f"{_WAITING} AND {began}"))

    async def _count(self, condition: str) -> int:
        query = f"{condition} AND ExecutionStatus = 'Running'"
        return (await self._client.count_workflows(query, rpc_timeout=_RPC)).count

    async def _look_at_queues(self) -> None:
        for queue in (WORKFLOW_QUEUE, PERSON_QUEUE):
            await self._look_at(queue, workflows=True)
        for queue in await self._queues():
            await self._look_at(queue, workflows=False)

    async def _queues(self) -> list[str]:
        """Return the queues of the capabilities; none while the registry does not answer."""
        try:
            return sorted({manifest.task_queue for manifest in await self._directory.manifests(max_age=_FRESH)})
        except (RPCError, Undecipherable):
            return []

    async def _look_at(self, queue: str, *, workflows: bool) -> None:
        waiting, age = await backlog(self._client, queue, workflows=workflows)
        metrics.BACKLOG.labels(queue).set(waiting)
        metrics.BACKLOG_AGE.labels(queue).set(age)
        metrics.POLLERS.labels(queue).set(await live_pollers(self._client, queue, workflows=workflows))
