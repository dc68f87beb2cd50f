"""An autoscaler as KEDA's, for processes: it reads the backlog of a capability and starts and stops workers.

The backlog is what KEDA's Temporal scaler reads with `workerDeploymentName` and `workerDeploymentBuildId` (`DescribeWorkerDeploymentVersion` with
statistics, activities only); the number of workers follows as with its `targetQueueSize`, `maxReplicaCount` and
`cooldownPeriod`.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from temporalio.api.deployment.v1 import WorkerDeploymentVersion as ProtoVersion
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkerDeploymentVersionRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion

_ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


@dataclass(frozen=True)
class Sample:
    """What one look saw."""

    second: float
    backlog: int
    """Of the version."""
    queue_backlog: int
    """Of the task queue, as KEDA reads it without a version."""
    workers: int
    awaiting_worker: int
    ended: int


@dataclass
class Autoscaler:
    """Scales the workers of one version of a capability between none and `most`."""

    client: Client
    queue: str
    version: WorkerDeploymentVersion
    start: Callable[[], subprocess.Popen[bytes]]
    target: int = 20
    """Tasks for each worker."""
    most: int = 4
    cooldown: float = 5.0
    """Seconds for which fewer workers must be enough before some are stopped."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _wanted: list[tuple[float, int]] = field(default_factory=list)

    async def run(self) -> None:
        """Look every second. Never ends."""
        while True:
            sample = await self.look()
            self._scale(self.desired(sample.backlog, sample.second))
            await asyncio.sleep(1)

    def desired(self, backlog: int, now: float) -> int:
        """How many workers there should be: what is wanted now, but not less than what was within the cooldown."""
        self._wanted = [(at, count) for at, count in self._wanted if now - at < self.cooldown]
        self._wanted.append((now, min(self.most, math.ceil(backlog / self.target))))
        return max(count for _, count in self._wanted)

    async def look(self) -> Sample:
        """Read the backlog, and what runs show."""
        sample = Sample(
            second=round(time.monotonic() - self._began, 1),
            backlog=await self._of_version(),
            queue_backlog=await self._of_queue(),
            workers=len(self.workers),
            awaiting_worker=await self._count("RetinueStatus = 'awaiting_worker' AND ExecutionStatus = 'Running'"),
            ended=await self._count("WorkflowType = 'AssistantWorkflow' AND ExecutionStatus != 'Running'"),
        )
        self.samples.append(sample)
        return sample

    def _scale(self, count: int) -> None:
        while len(self.workers) < count:
            self.workers.append(self.start())
        while len(self.workers) > count:
            self.workers.pop().terminate()

    async def _of_version(self) -> int:
        asked = ProtoVersion(deployment_name=self.version.deployment_name, build_id=self.version.build_id)
        found = await self.client.workflow_service.describe_worker_deployment_version(
            DescribeWorkerDeploymentVersionRequest(
                namespace=self.client.namespace, deployment_version=asked, report_task_queue_stats=True
            ),
            retry=True,
        )
        queues = [one for one in found.version_task_queues if (one.name, one.type) == (self.queue, _ACTIVITY)]
        return sum(one.stats.approximate_backlog_count for one in queues)

    async def _of_queue(self) -> int:
        found = await self.client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self.client.namespace,
                task_queue=TaskQueue(name=self.queue),
                task_queue_type=_ACTIVITY,
                report_stats=True,
            )
        )
        return found.stats.approximate_backlog_count

    async def _count(self, query: str) -> int:
        return (await self.client.count_workflows(query)).count


_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 90, 150, 50
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 12px; fill: #59636e }
polyline { fill: none; stroke: #2f7d5b; stroke-width: 2 } line { stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } polyline { stroke: #4fb286 } }
""".strip()


def chart(samples: Sequence[Sample], note: str) -> str:
    """Backlog, workers, and runs over time, one curve below the other, as SVG."""
    rows = (
        ("backlog of steps", [one.backlog for one in samples]),
        ("worker processes", [one.workers for one in samples]),
        ("awaiting_worker", [one.awaiting_worker for one in samples]),
        ("ended", [one.ended for one in samples]),
    )
    height = _TOP + len(rows) * (_HEIGHT + 24) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{note}</title><style>{_STYLE}</style>",
        f'<text x="12" y="22">{note}</text>',
    ]
    for number, (name, values) in enumerate(rows):
        parts += _curve(name, [one.second for one in samples], values, _TOP + number * (_HEIGHT + 24))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _curve(name: str, seconds: Sequence[float], values: Sequence[int], top: int) -> list[str]:
    most, last = max(*values, 1), seconds[-1] or 1
    across, up = (_WIDTH - _LEFT - 20) / last, _HEIGHT / most
    points = " ".join(
        f"{_LEFT + second * across:.1f},{top + _HEIGHT - value * up:.1f}"
        for second, value in zip(seconds, values, strict=True)
    )
    return [
        f'<text x="12" y="{top + 50}">{name}</text><text class="small" x="12" y="{top + 68}">up to {most}</text>',
        f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{top + _HEIGHT}" y2="{top + _HEIGHT}"/>',
        f'<polyline points="{points}"/>',
        f'<text class="small" x="{_WIDTH - 60}" y="{top + _HEIGHT + 15}">{last:.0f} s</text>',
    ]
