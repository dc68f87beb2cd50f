"""`python -P -m bench.workflow_tasks`: the CPU of the longest workflow task, of the main job and of a large announcement.

A workflow task that takes two seconds counts as deadlocked, and on a busy machine a task takes twenty times its CPU. Takes
about half a minute. Only the worker of the workflows runs in this process, so that each task can be measured in its thread.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from temporalio.client import Client

from bench.processes import StartFailed, processes
from bench.stage import Product, ready, start_product, start_servers
from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.runtime.process import leave
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import announce
from retinue.temporal.tenant_header import OrganisationOfClients
from workers.runner import workflows_worker
from workers.workflow_tasks import Task, WorkflowTasks

GOAL = 100.0
"""Milliseconds of CPU."""
_RUNS = 30
_ANNOUNCEMENTS = 5
_TOOLS = 100
_REGISTRY = "RegistryWorkflow"


@dataclass(frozen=True)
class Longest:
    """CPU of the longest workflow tasks, in milliseconds. The first ones of a process are among them."""

    job: float
    announcement: float
    announced_bytes: int
    tasks: int
    """How many workflow tasks were measured."""


async def longest() -> Longest:
    """Measure both.

    Raises:
        StartFailed: Something did not start.
    """
    seen: list[Task] = []
    with processes() as started:
        address, model = await start_servers(started)
        url = start_product(started, address=address, model=model, workflows=0)
        os.environ["RETINUE_DATA_DIR"] = str(started.folder / "data")
        client = await Client.connect(address, data_converter=DATA_CONVERTER, interceptors=[OrganisationOfClients()])
        async with (
            workflows_worker(client, tasks=WorkflowTasks(on_end=seen.append)),
            httpx.AsyncClient(base_url=url, timeout=60) as http,
        ):
            await ready(started, http)
            product = Product(http)
            for _ in range(_RUNS):
                await product.run()
            of_the_job = [task for task in seen if task.workflow_type != _REGISTRY]
            before = len(seen)
            for number in range(_ANNOUNCEMENTS):
                await announce(client, large_manifest(version=str(number)))
            announced = [task for task in seen[before:] if task.workflow_type == _REGISTRY]
    size = len(large_manifest().model_dump_json(exclude_unset=True))
    return Longest(_longest(of_the_job), _longest(announced), size, len(of_the_job) + len(announced))


def _longest(tasks: Sequence[Task]) -> float:
    return max(task.cpu for task in tasks) * 1000


def large_manifest(*, version: str = "0") -> Manifest:
    """A capability of a hundred tools, 200 KB of JSON."""
    return Manifest(
        name="large",
        version=version,
        description="For the bench.",
        task_queue="large",
        tools=list(map(_tool, range(_TOOLS))),
    )


def _tool(number: int) -> ToolSpec:
    fields = {
        f"field_{field}": {"type": "string", "description": "What it is. " * 4, "maxLength": 100} for field in range(10)
    }
    return ToolSpec(
        name=f"large.tool_{number}",
        title="Do it",
        description="Does what the bench needs. " * 12,
        args_schema={"type": "object", "properties": fields, "required": ["field_0"]},
        result_schema={"type": "object", "properties": dict(list(fields.items())[:5])},
        annotations=Annotations(read_only=True),
    )


def main() -> int:
    """Measure and print; returns the exit code. A goal that is missed is a finding, not a failure."""
    try:
        found = asyncio.run(longest())
    except StartFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"longest of {found.tasks} workflow tasks (goal: at most {GOAL:g} ms of CPU)")
    print(f"  main job              {found.job:6.1f} ms")
    print(f"  {found.announced_bytes // 1000} KB announcement   {found.announcement:6.1f} ms")
    return 0


if __name__ == "__main__":
    leave(main())
