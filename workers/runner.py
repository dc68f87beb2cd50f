"""Runs a Temporal worker for the workflows or for one capability, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError
from temporalio.worker import ResourceBasedSlotConfig, UnsandboxedWorkflowRunner, Worker, WorkerTuner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import activities
from retinue.accounts.settings import AccountsSettings
from retinue.activity_adapter import any_activity
from retinue.capability import LONGEST_PROBLEM, WORKFLOW_QUEUE, Capability, Manifest
from retinue.database import file_watch
from retinue.errors import NotServedHere, ServiceUnavailable, StoreLost, Undecipherable
from retinue.runtime import tracing
from retinue.runtime.logs import configure
from retinue.runtime.process import DATABASE_LOST, STUCK, leave
from retinue.runtime.watchdog import Check, LoopCheck, Watchdog
from retinue.settings import RetinueSettings
from retinue.temporal import deployments, metrics
from retinue.temporal.connection import BUILD_ID, connect, ensure_search_attributes
from retinue.temporal.person import PERSON_QUEUE
from retinue.temporal.pollers import live_builds
from retinue.temporal.registry import REGISTRY_TYPE, Directory, announce, check_keys, go_back, is_older
from retinue.temporal.step_pass import PassSettings
from retinue.temporal.tenant_header import OrganisationOfWorkers
from retinue.tenancy import ANY_TENANT
from workers import deployment
from workers.workflow_tasks import WatchedRunner, WorkflowTasks

WORKFLOWS = "workflows"
DRAIN = timedelta(seconds=8)
"""How long running activities may continue after a stop."""
LONGEST_STOP = 15.0
"""Seconds after which a process that was told to stop ends, whatever it waits for: containers are killed after 20."""
_ANNOUNCE_PAUSE = 1.0
_CONNECT_PAUSE = 0.5
_KEYS_PAUSE = 5.0
_DATABASE_LOOK = 1.0
_PROBLEM_LOOK = 5.0
_MEMORY, _CPU = 0.8, 0.9
"""Shares of the machine's or container's above which a worker that minds resources takes no more activities."""
_LOOKS, _LOOK_PAUSE = 2, 10.0
"""How often and at which interval in seconds other workers are checked: a restarting worker is away briefly; two missed
checks mean it is gone."""
_STRANDED_LOOK = 20.0
_log = logging.getLogger("retinue.worker")

SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        *("retinue", "activities", "workflows.messages", "workflows.rules"),
        *("jsonschema", "jsonschema_specifications", "referencing", "rpds", "attrs", "attr"),
        *("dotenv", "pydantic_settings", "google", "urllib"),
    )
)
"""The sandbox in which tests replay runs of every kind: types and pure checks pass through; it detects clocks, randomness
and I/O in workflow code. Workers run without it, since it imports the code again for each run and walks every payload,
which costs a third of a workflow worker's CPU (see docs/decisions/0003)."""


def workflows_worker(
    client: Client,
    *,
    workflow_runner: WorkflowRunner | None = None,
    tasks: WorkflowTasks | None = None,
    version: WorkerDeploymentVersion | None = None,
) -> Worker:
    """Return the worker of the workflows and their local activities.

    Args:
        client: Connected to Temporal.
        workflow_runner: By default one without a sandbox.
        tasks: Notified of each workflow task.
        version: To which runs are pinned that begin on this worker; None for a worker without one.
    """
    from activities.tasks.contract import REMINDER_WORKFLOW
    from retinue.temporal.account_watch import WATCH_TYPE
    from workers.local_activities import LocalActivities

    upgraded = frozenset({REGISTRY_TYPE, REMINDER_WORKFLOW, WATCH_TYPE})  # they live long; the rest is pinned
    runner: WorkflowRunner = WatchedRunner(workflow_runner or UnsandboxedWorkflowRunner(), tasks or WorkflowTasks())
    people = SimplePlugin("people", run_context=lambda: _people(client, runner, version))
    pinned = runner if version is None else deployment.AutoUpgradingRunner(runner, upgraded)
    return Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        interceptors=[OrganisationOfWorkers(passes=PassSettings().keyring())],
        workflows=workflow_types(),
        activities=LocalActivities(client).all(),
        no_remote_activities=True,
        workflow_runner=pinned,
        plugins=[people],
        **deployment.options(version, BUILD_ID, VersioningBehavior.PINNED),
        max_cached_workflows=2000,
        graceful_shutdown_timeout=DRAIN,
    )


def workflow_types() -> list[type]:
    """Return the workflow classes of the workflow worker."""
    from workflows.account_watch import AccountWatchWorkflow
    from workflows.assistant import AssistantWorkflow
    from workflows.code_plans import PLANS
    from workflows.memory_request import MemoryRequestWorkflow
    from workflows.microagent import MicroAgentWorkflow
    from workflows.model_pauses import ModelPausesWorkflow
    from workflows.models_in_use import ModelsInUseWorkflow
    from workflows.notification import NotificationWorkflow
    from workflows.registry import RegistryWorkflow
    from workflows.reminder import ReminderWorkflow
    from workflows.undo import UndoWorkflow

    return [
        AssistantWorkflow,
        MicroAgentWorkflow,
        UndoWorkflow,
        RegistryWorkflow,
        ReminderWorkflow,
        NotificationWorkflow,
        ModelPausesWorkflow,
        ModelsInUseWorkflow,
        MemoryRequestWorkflow,
        AccountWatchWorkflow,
        *(plan.workflow for plan in PLANS.values()),
    ]


@contextlib.asynccontextmanager
async def _people(
    client: Client, workflow_runner: WorkflowRunner, version: WorkerDeploymentVersion | None
) -> AsyncIterator[None]:
    """Return the worker of `PERSON_QUEUE`; see there why it is separate."""
    from workflows.person import PersonWorkflow

    async with Worker(
        client,
        task_queue=PERSON_QUEUE,
        workflows=[PersonWorkflow],
        workflow_runner=workflow_runner,
        **deployment.options(version, BUILD_ID, VersioningBehavior.AUTO_UPGRADE),
        graceful_shutdown_timeout=DRAIN,
    ):
        yield


def capability_worker(
    client: Client,
    contract: type[Capability],
    plugin: SimplePlugin,
    *,
    concurrency: int = 50,
    by_resources: bool = False,
    version: WorkerDeploymentVersion | None = None,
) -> Worker:
    """Return the worker of one capability, which polls only its queue.

    Args:
        client: Connected to Temporal.
        contract: Of the capability.
        plugin: Its activities and resources.
        concurrency: How many activities it runs at a time, at most.
        by_resources: Run fewer while memory or CPU is short.
        version: To which it belongs; None for a worker without one.
    """
    tuner = _tuner(concurrency, by_resources=by_resources)
    return Worker(client, **capability_config(contract, plugin, version=version), tuner=tuner)


def capability_config(
    contract: type[Capability], plugin: SimplePlugin, *, version: WorkerDeploymentVersion | None
) -> dict[str, Any]:
    """Return the arguments of a capability's `Worker`, but for the client and how many activities it takes."""
    return {
        "task_queue": contract.task_queue(),
        "interceptors": [OrganisationOfWorkers()],
        "plugins": [plugin],
        "activities": [] if _serves_any(plugin) else [any_activity(_of_another_version, tenant=ANY_TENANT)],
        **deployment.options(version, build_id(contract)),
        "graceful_shutdown_timeout": DRAIN,
    }


def _tuner(concurrency: int, *, by_resources: bool) -> WorkerTuner:
    """Return how many activities a worker takes; the other kinds of slots are not used by a capability."""
    if not by_resources:
        return WorkerTuner.create_fixed(activity_slots=concurrency)
    slots = ResourceBasedSlotConfig(minimum_slots=1, maximum_slots=concurrency)
    return WorkerTuner.create_resource_based(target_memory_usage=_MEMORY, target_cpu_usage=_CPU, activity_config=slots)


def build_id(capability: Manifest | type[Capability]) -> str:
    """Return the build id, which distinguishes versions in the server's list of pollers."""
    return f"{capability.name}-{capability.version}"


def _serves_any(plugin: SimplePlugin) -> bool:
    """Whether the worker serves any tool name, as for tools known only at run time."""
    names = [activity._Definition.must_from_callable(run).name for run in _activities(plugin)]
    return None in names


def _activities(plugin: SimplePlugin) -> Sequence[Callable[..., Any]]:
    assert isinstance(plugin.activities, Sequence)
    return plugin.activities


async def _of_another_version(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse a tool that only a newer version serves, since during a rollout old workers get such steps."""
    raise NotServedHere(f"this worker's version has no {name}")


async def announce_until_heard(client: Client, manifest: Manifest) -> None:
    """Announce the capability, retrying until the registry answers; the worker already works meanwhile.

    Raises:
        InvalidArguments: The registry refused the manifest, so no step would reach this worker.
    """
    await _until_heard(announce, client, manifest)


async def stay_announced(client: Client, manifest: Manifest) -> None:
    """Announce the capability; if a newer version is registered, replace it once this version's workers are alone.

    Raises:
        InvalidArguments: The registry refused the manifest.
    """
    await announce_until_heard(client, manifest)
    await _return_when_alone(client, manifest)


async def _return_when_alone(client: Client, manifest: Manifest) -> None:
    """If a newer version is registered, replace it once none of its workers is alive."""
    directory = Directory(client)
    alone = 0
    while alone < _LOOKS:
        try:
            newer = await _newer(directory, manifest)
            if newer is None:
                return
            lives = build_id(newer) in await live_builds(client, newer.task_queue)
        except RPCError:
            lives = True  # unknown; check again
        alone = 0 if lives else alone + 1
        await asyncio.sleep(_LOOK_PAUSE)
    _log.warning("no worker of the newer version is alive; replacing it", extra={"capability": manifest.name})
    await _until_heard(go_back, client, manifest)


async def _newer(directory: Directory, manifest: Manifest) -> Manifest | None:
    """Return the registered manifest of the same capability if its version is newer."""
    held = next((held for held in await directory.manifests() if held.name == manifest.name), manifest)
    return held if is_older(manifest.version, held.version) else None


async def _until_heard(
    put: Callable[[Client, Manifest, str], Awaitable[int]], client: Client, manifest: Manifest
) -> None:
    update_id = uuid.uuid4().hex
    while True:
        try:
            revision = await put(client, manifest, update_id)
        except ServiceUnavailable as error:
            _log.warning("announcement not answered yet: %s", error.message, extra={"capability": manifest.name})
            await asyncio.sleep(_ANNOUNCE_PAUSE)
        else:
            _log.info("announced", extra={"capability": manifest.name, "revision": revision})
            return


class Announcements:
    """Keeps the registered manifest of one capability up to date: whether its databases work, and what people should know.

    Args:
        client: Connected to Temporal.
        manifest: What was announced, if anything.
        notice: Returns what people should know now; without it the manifests say so.
    """

    def __init__(
        self, client: Client, manifest: Manifest | None = None, notice: Callable[[], str] | None = None
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._notice = notice
        self._changes = {"problem": ""} | ({"notice": notice()} if notice else {})
        self._turn = asyncio.Lock()

    async def follow(self, manifests: AsyncIterator[Manifest]) -> None:
        """Announce each of these manifests.

        Raises:
            InvalidArguments: The registry refused one.
        """
        async for manifest in manifests:
            self._manifest = manifest
            await self._announce()

    async def replace(self) -> None:
        """Announce the capability in the place of another version of it, be that newer."""
        await self._announce(replace=True)

    async def follow_version(self, version: WorkerDeploymentVersion) -> None:
        """Do so whenever this version becomes the current one. Never ends."""
        while True:
            await deployment.until_current(self._client, version)
            await self.replace()
            await deployment.until_current(self._client, version, current=False)

    async def watch(self) -> None:
        """Announce the capability again whenever its notice changes or a database stops or resumes working. Never returns."""
        while True:
            await asyncio.sleep(_PROBLEM_LOOK)
            changes = {"problem": (await file_watch.problem())[:LONGEST_PROBLEM]}
            changes |= {"notice": self._notice()} if self._notice else {}
            if changes != self._changes:
                self._changes = changes
                await self._announce()

    async def _announce(self, *, replace: bool = False) -> None:
        async with self._turn:
            if self._manifest is not None:
                manifest = self._manifest.model_copy(update=self._changes)
                await _until_heard(go_back if replace else announce, self._client, manifest)


async def run(name: str, settings: RetinueSettings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it."""
    stop, tasks = _stop_signal(), WorkflowTasks()
    with _watched(settings, tasks.stuck):
        client = await _connected(stop)
        if client is None:
            return
        if name == WORKFLOWS:
            await ensure_search_attributes(client)
            version = deployments.version_of(WORKFLOWS, settings.build_id) if settings.build_id else None
            worker = workflows_worker(client, tasks=tasks, version=version)
            leads = functools.partial(_lead, client, version) if version and settings.make_current else None
            await _work(worker, stop, beside=leads)
            return
        metrics.begin_at_zero(client, name)
        module = activities.load(name)
        contract, plugin = module.CONTRACT, module.plugin()
        version = deployments.version_of(name, build_id(contract)) if settings.build_id else None
        worker = capability_worker(
            client,
            contract,
            plugin,
            concurrency=settings.worker_concurrency,
            by_resources=settings.worker_resources,
            version=version,
        )
        announced = announced_by(client, module, version, leads=settings.make_current)
        await _work(worker, stop, beside=lambda: _while_not_lost(announced))


async def _lead(client: Client, version: WorkerDeploymentVersion) -> None:
    """Make this version of the workflows the current one, and take over the runs of versions that have no workers.

    Raises:
        NotCurrent: It could not be made the current one.
    """
    await deployments.make_current(client, version)
    while True:
        try:
            if await deployments.is_current(client, version):
                await deployments.move_stranded_runs(client, version, WORKFLOW_QUEUE)
        except RPCError as error:
            _log.warning("runs of versions without workers are not moved yet: %s", error.status.name)
        await asyncio.sleep(_STRANDED_LOOK)


async def announced_by(client: Client, module: Any, version: WorkerDeploymentVersion | None, *, leads: bool) -> None:
    """Announce a capability and its state while this worker runs.

    Args:
        client: Connected to Temporal.
        module: The `worker` module of the capability.
        version: Of this worker, if it has one: what it serves is announced once steps come to it.
        leads: Whether this version is made the current one; otherwise that is left to an operator.

    Raises:
        InvalidArguments: The registry refused the manifest.
        NotCurrent: It could not be made the current version.
    """
    if version is not None:
        await (deployments.make_current if leads else deployment.until_current)(client, version)
    if hasattr(module, "manifests"):
        announcements = Announcements(client)
        await asyncio.gather(announcements.follow(module.manifests()), announcements.watch())
        return
    notice = getattr(module, "notice", None)
    accounts = module.CONTRACT.uses_accounts and AccountsSettings().is_set
    manifest = module.CONTRACT.manifest(notice=notice() if notice else "", accounts=accounts)
    announcements = Announcements(client, manifest, notice)
    if version is None:
        await stay_announced(client, manifest)
    elif leads:
        await announcements.replace()
    else:
        await asyncio.gather(announcements.follow_version(version), announcements.watch())
    await announcements.watch()


async def _while_not_lost(beside: Awaitable[None]) -> None:
    """Await a coroutine while watching the databases.

    Raises:
        StoreLost: A database file was deleted, replaced or damaged, so no effect may be recorded in it any more.
    """
    await asyncio.gather(beside, _until_lost())


async def _until_lost() -> None:
    while True:
        if problem := file_watch.lost():
            raise StoreLost(problem)
        await asyncio.sleep(_DATABASE_LOOK)


@contextlib.contextmanager
def _watched(settings: RetinueSettings, *checks: Check) -> Iterator[None]:
    """Run the watchdog, which ends this process when its event loop or one of `checks` is stuck."""
    watchdog = Watchdog([LoopCheck(asyncio.get_running_loop()), *checks], settings.liveness_file)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


def _stop_signal() -> asyncio.Event:
    """Return an event set by SIGTERM and SIGINT; as process 1 of a container, nothing else would stop it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin() -> None:
        if not stop.is_set():
            stop.set()
            late = threading.Timer(LONGEST_STOP, _leave_late)
            late.daemon = True
            late.start()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, begin)
    return stop


def _leave_late() -> None:
    _log.error("not drained within %.0f seconds; what still ran is tried again by another worker", LONGEST_STOP)
    leave(STUCK)


async def _connected(stop: asyncio.Event) -> Client | None:
    """Connect to Temporal, waiting for it and for the right keys without limit; None if stopped before."""
    while not stop.is_set():
        pause = _CONNECT_PAUSE
        try:
            client = await _unless(stop, connect())
            if client is not None:
                await check_keys(client)
            return client
        except RuntimeError as error:
            _log.warning("waiting for Temporal: %s", str(error)[:200])
        except Undecipherable as error:
            _log.error("waiting for the right encryption keys: %s", error.message)
            pause = _KEYS_PAUSE
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
    return None


async def _unless(stop: asyncio.Event, connecting: Coroutine[Any, Any, Client]) -> Client | None:
    """Return what a coroutine returns; None if stopped before: a server that does not answer holds up no stop."""
    tried, stopping = asyncio.ensure_future(connecting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([tried, stopping], return_when=asyncio.FIRST_COMPLETED)
        return await tried if tried.done() else None
    finally:
        tried.cancel()
        stopping.cancel()


async def _work(worker: Worker, stop: asyncio.Event, *, beside: Callable[[], Awaitable[None]] | None = None) -> None:
    """Run the worker until the stop, then drain.

    It does not use `async with worker`, which never ends if a plugin cannot start (its database is unavailable).
    """
    running = asyncio.ensure_future(worker.run())
    waiting = asyncio.ensure_future(_until(stop, beside))
    _log.info("polling", extra={"queue": worker.task_queue})
    try:
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await waiting
    finally:
        waiting.cancel()
        await _drained(worker, running)
    _log.info("stopped", extra={"queue": worker.task_queue})


async def _drained(worker: Worker, running: asyncio.Future[None]) -> None:
    """Let the worker finish its running work; raises its error if it failed."""
    shutdown = asyncio.ensure_future(worker.shutdown())
    if not running.done():
        _log.info("draining", extra={"queue": worker.task_queue})
        await asyncio.wait([running])
    shutdown.cancel()
    await running


async def _until(stop: asyncio.Event, beside: Callable[[], Awaitable[None]] | None) -> None:
    """Wait for the stop; raises the error of a concurrent task that fails."""
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


def _is_away(error: RuntimeError) -> bool:
    """Whether Temporal went away while the worker introduced itself."""
    return str(error).startswith("Worker validation failed")


def main(name: str) -> None:
    """Run a worker process. Never returns."""
    settings = RetinueSettings()
    configure(settings.log_level, settings.log_format)
    code = 0
    try:
        tracing.start(f"retinue-{name}")
        asyncio.run(run(name, settings))
    except LookupError as error:
        print(f"workers: {error.args[0]}", file=sys.stderr)
        code = 2
    except StoreLost as error:
        _log.error("%s; this worker ends, and a new one opens the present file", error.message)
        code = DATABASE_LOST
    except deployments.NotCurrent as error:
        _log.error("%s; this worker ends, and its next start tries again", error.message)
        code = 1
    except RuntimeError as error:
        _log.error(
            "%s; this worker ends, and its next start tries again", str(error)[:200], exc_info=not _is_away(error)
        )
        code = 1
    except Exception:
        _log.exception("worker died", extra={"worker": name})
        code = 1
    leave(code)
