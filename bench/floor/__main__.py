"""`python -m bench.floor QUEUE`: one worker of the bare workflow, on one queue."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.floor import messages


def worker(client: Client, queue: str) -> Worker:
    """The worker of one queue. Heavy imports happen only where they are needed."""
    if queue == messages.WORKFLOWS:
        from bench.floor.workflow import FloorWorkflow

        return Worker(
            client,
            task_queue=queue,
            workflows=[FloorWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
            build_id="floor",
            max_cached_workflows=2000,
        )
    return Worker(
        client, task_queue=queue, activities=_activities(queue), build_id="floor", max_concurrent_activities=50
    )


def _activities(queue: str) -> list[Callable[..., Any]]:
    from bench.floor.activities import ModelActivities, ToolActivities

    if queue == messages.MODEL:
        model = ModelActivities()
        return [model.plan, model.answer]
    tools = ToolActivities(Path(os.environ["FLOOR_DATABASE"]))
    by_queue: dict[str, Callable[..., Any]] = {
        messages.CONTACTS: tools.find_contact,
        messages.EVENTS: tools.list_events,
        messages.MEETINGS: tools.create_event,
    }
    return [by_queue[queue]]


async def main(queue: str) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"], data_converter=pydantic_data_converter)
    async with worker(client, queue):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    os._exit(0)  # an interpreter that used a Temporal client aborts at random when it ends
