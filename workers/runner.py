"""The one runner: a Temporal worker for the workflows or for one capability, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import activities
from retinue.capability import Capability
from retinue.errors import ServiceUnavailable
from retinue.logs import configure
from retinue.person import PERSON_QUEUE
from retinue.process import leave
from retinue.registry import announce
from retinue.settings import RetinueSettings
from retinue.temporal import BUILD_ID, WORKFLOW_QUEUE, connect, ensure_search_attributes

WORKFLOWS = "workflows"
DRAIN = timedelta(seconds=8)
"""How long running activities may go on after a stop was asked for."""
_ANNOUNCE_PAUSE = 1.0
_CONNECT_PAUSE = 0.5
_log = logging.getLogger("retinue.worker")

SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        *("retinue", "activities", "workflows.messages", "workflows.standing"),
        *("workflows.budget", "workflows.origins", "workflows.policy"),
        *("jsonschema", "jsonschema_specifications", "referencing", "rpds", "attrs", "attr"),
        *("dotenv", "pydantic_settings", "google", "urllib"),
    )
)
"""Under this the tests run all workflows: types and pure checks pass through, workflow code is watched for clocks,
randomness and I/O. Workers run the same code without it, since the sandbox imports it anew for each run and walks every
payload, which costs a third of a workflow worker's CPU (see docs/decisions/0003)."""


def workflows_worker(client: Client, *, workflow_runner: WorkflowRunner | None = None) -> Worker:
    """The worker that advances the workflows. It polls no activities; it answers the workflows' own short questions."""
    from workers.local_activities import LocalActivities
    from workflows.assistant import AssistantWorkflow
    from workflows.catalog import PLANS
    from workflows.microagent import MicroAgentWorkflow
    from workflows.registry import RegistryWorkflow
    from workflows.reminder import ReminderWorkflow
    from workflows.undo import UndoWorkflow

    runner = workflow_runner or UnsandboxedWorkflowRunner()
    return Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        workflows=[
            AssistantWorkflow,
            MicroAgentWorkflow,
            UndoWorkflow,
            RegistryWorkflow,
            ReminderWorkflow,
            *(plan.workflow for plan in PLANS.values()),
        ],
        activities=LocalActivities(client).all(),
        no_remote_activities=True,
        workflow_runner=runner,
        plugins=[SimplePlugin("people", run_context=lambda: _people(client, runner))],
        build_id=BUILD_ID,
        max_cached_workflows=2000,
        graceful_shutdown_timeout=DRAIN,
    )


@contextlib.asynccontextmanager
async def _people(client: Client, workflow_runner: WorkflowRunner) -> AsyncIterator[None]:
    """Beside the workflow worker, one that advances what it asks; see `PERSON_QUEUE` for why they share nothing."""
    from workflows.person import PersonWorkflow

    async with Worker(
        client,
        task_queue=PERSON_QUEUE,
        workflows=[PersonWorkflow],
        workflow_runner=workflow_runner,
        build_id=BUILD_ID,
        graceful_shutdown_timeout=DRAIN,
    ):
        yield


def capability_worker(
    client: Client, contract: type[Capability], plugin: SimplePlugin, *, concurrency: int = 50
) -> Worker:
    """The worker of one capability, polling that capability's queue alone, `concurrency` activities at a time."""
    return Worker(
        client,
        task_queue=contract.task_queue(),
        plugins=[plugin],
        build_id=f"{contract.name}-{contract.version}",
        max_concurrent_activities=concurrency,
        graceful_shutdown_timeout=DRAIN,
    )


async def announce_until_heard(client: Client, contract: type[Capability]) -> None:
    """Announce the capability, trying again until the registry answers. It works meanwhile all the same.

    Raises:
        InvalidArguments: The registry refused the manifest: nothing would ever call this worker.
    """
    while True:
        try:
            revision = await announce(client, contract.manifest())
        except ServiceUnavailable as error:
            _log.warning("announcement not heard yet: %s", error.message, extra={"capability": contract.name})
            await asyncio.sleep(_ANNOUNCE_PAUSE)
        else:
            _log.info("announced", extra={"capability": contract.name, "revision": revision})
            return


async def run(name: str, settings: RetinueSettings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it."""
    stop = _stop_signal()
    client = await _connected(stop)
    if client is None:
        return
    if name == WORKFLOWS:
        await ensure_search_attributes(client)
        await _work(workflows_worker(client), stop)
        return
    module = activities.load(name)
    contract: type[Capability] = module.CONTRACT
    worker = capability_worker(client, contract, module.plugin(), concurrency=settings.worker_concurrency)
    await _work(worker, stop, beside=lambda: announce_until_heard(client, contract))


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT. Installed first: as process 1 of a container nothing else would stop us."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


async def _connected(stop: asyncio.Event) -> Client | None:
    """Connect to Temporal, waiting for it as long as it takes; None when stopped before it came."""
    while not stop.is_set():
        try:
            return await connect()
        except RuntimeError as error:
            _log.warning("waiting for Temporal: %s", str(error)[:200])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _CONNECT_PAUSE)
    return None


async def _work(worker: Worker, stop: asyncio.Event, *, beside: Callable[[], Awaitable[None]] | None = None) -> None:
    async with worker:
        _log.info("polling", extra={"queue": worker.task_queue})
        await _until(stop, beside)
        _log.info("draining", extra={"queue": worker.task_queue})
    _log.info("stopped", extra={"queue": worker.task_queue})


async def _until(stop: asyncio.Event, beside: Callable[[], Awaitable[None]] | None) -> None:
    """Wait for the stop; what runs beside it must not fail unseen."""
    stopping = asyncio.ensure_future(stop.wait())
    task = asyncio.ensure_future(beside()) if beside else stopping
    try:
        await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        await stopping
    finally:
        task.cancel()
        stopping.cancel()


def main(name: str) -> None:
    """Entry of a worker process. Never returns."""
    settings = RetinueSettings()
    configure(settings.log_level)
    code = 0
    try:
        asyncio.run(run(name, settings))
    except LookupError as error:
        print(f"workers: {error.args[0]}", file=sys.stderr)
        code = 2
    except Exception:
        _log.exception("worker died", extra={"worker": name})
        code = 1
    leave(code)
