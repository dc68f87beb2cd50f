"""Workflow tasks on a busy machine: what takes long comes to its end, what never ends is noticed."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from workers.workflow_tasks import Task, WatchedRunner, WorkflowTasks

LONGER_THAN_THE_SDK_WAITS = 3.0
DELAYS: list[float] = []
"""Seconds that the next tasks of `Delayed` take; each is used once."""
HANGS = threading.Event()


@workflow.defn
class Delayed:
    """Its task is not scheduled on a processor for a while, as on a busy machine."""

    def __init__(self) -> None:
        self._asked = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._asked)
        return "done"

    @workflow.update
    def ask(self) -> str:
        self._asked = True
        return "heard"

    @ask.validator
    def _check(self) -> None:
        time.sleep(DELAYS.pop() if DELAYS else 0)


@workflow.defn
class Hanging:
    """Its task does not end before it is let go."""

    @workflow.run
    async def run(self) -> None:
        HANGS.wait(50)


def worker(client: Client, queue: str, tasks: WorkflowTasks) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[Delayed, Hanging],
        workflow_runner=WatchedRunner(UnsandboxedWorkflowRunner(), tasks),
        build_id="test",
    )


@pytest.fixture
def name() -> str:
    return f"tasks-{uuid.uuid4().hex}"


async def test_a_workflow_goes_on_after_a_task_that_took_longer_than_the_sdk_waits(temporal: Client, name: str) -> None:
    DELAYS.append(LONGER_THAN_THE_SDK_WAITS)
    async with worker(temporal, name, WorkflowTasks()):
        handle = await temporal.start_workflow(Delayed.run, id=name, task_queue=name)
        asked = [asyncio.ensure_future(handle.execute_update(Delayed.ask)) for _ in range(3)]
        assert await asyncio.wait_for(handle.result(), 30) == "done"
        await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
def hangs() -> Iterator[None]:
    HANGS.clear()
    yield
    HANGS.set()


@pytest.mark.usefixtures("hangs")
async def test_a_task_that_never_ends_is_noticed_after_many_looks_and_not_before(temporal: Client, name: str) -> None:
    tasks = WorkflowTasks()
    async with worker(temporal, name, tasks):
        handle = await temporal.start_workflow(Hanging.run, id=name, task_queue=name)
        while not tasks.running():  # noqa: ASYNC110  # the server starts it some time
            await asyncio.sleep(0.05)
        assert [tasks.stuck() for _ in range(60)] == [None] * 60
        assert tasks.stuck() == "a task of Hanging does not end"
        HANGS.set()
        await handle.result()
        assert tasks.stuck() is None


def fail_to_evict(tasks: WorkflowTasks, assistant_id: str) -> None:
    with pytest.raises(RuntimeError), tasks.evicting(assistant_id):
        raise RuntimeError


def test_a_workflow_that_cannot_be_evicted_is_noticed_after_a_few_attempts() -> None:
    tasks = WorkflowTasks()
    for _ in range(4):
        fail_to_evict(tasks, "r1")
    assert tasks.stuck() is None
    fail_to_evict(tasks, "r1")
    assert tasks.stuck() == "the workflow run r1 cannot be taken out of the cache"
    with tasks.evicting("r1"):
        pass
    assert tasks.stuck() is None


def test_each_task_is_told_with_the_cpu_that_it_took() -> None:
    seen: list[Task] = []
    tasks = WorkflowTasks(on_end=seen.append)
    with tasks.working("Some"):
        time.sleep(0.05)
    [task] = seen
    assert (task.workflow_type, task.cpu < 0.05) == ("Some", True)
