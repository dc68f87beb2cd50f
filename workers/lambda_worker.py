"""An AWS Lambda function that serves one capability: an invocation is a worker that polls until shortly before its deadline.

The function is configured by the same variables as the capability's worker process. It always is a version of the deployment
`retinue-<capability>`, and Temporal gives it steps once that version is the current one: with `RETINUE_MAKE_CURRENT` it makes
it so, else an operator does. See docs/serverless.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

from temporalio.client import Client, ClientConnectConfig
from temporalio.contrib.aws.lambda_worker import LambdaWorkerConfig, run_worker
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkerConfig

import activities
from retinue.capability import Capability
from retinue.database import file_watch
from retinue.errors import InvalidArguments
from retinue.runtime import telemetry, tracing
from retinue.runtime.logs import configure
from retinue.settings import RetinueSettings
from retinue.temporal import deployments
from retinue.temporal.connection import connect_config
from retinue.temporal.registry import check_keys
from workers.runner import announced_by, build_id, capability_config

DRAIN = timedelta(seconds=30)
"""How long running steps may continue at the end of an invocation: longer than most of them may take at all."""
CLOSING = timedelta(seconds=4)
"""For closing connections after that, before Lambda kills the function."""

Handler = Callable[[Any, Any], None]


def function(name: str) -> Handler:
    """Return the Lambda handler of a capability. What can be imported is imported now, while the function initialises.

    Args:
        name: Of the capability.

    Raises:
        LookupError: There is no such capability.
    """
    settings = RetinueSettings()
    configure(settings.log_level, settings.log_format)
    module = activities.load(name)
    contract: type[Capability] = module.CONTRACT
    version = deployments.version_of(name, build_id(contract))

    def configured(config: LambdaWorkerConfig) -> None:
        """Configure one invocation. Its resources are new, since each invocation has its own event loop."""
        tracing.start(f"retinue-{name}")
        config.shutdown_hooks.append(telemetry.stop)
        worker = capability_config(contract, module.plugin(), version=version)
        announcing = _Announcing(lambda client: announced_by(client, module, version, leads=settings.make_current))
        plugins = [*worker["plugins"], announcing]
        worker |= {
            "plugins": plugins,
            "graceful_shutdown_timeout": DRAIN,
            "max_concurrent_activities": settings.worker_concurrency,
        }
        config.client_connect_config = cast(ClientConnectConfig, connect_config())
        config.worker_config = cast(WorkerConfig, {**config.worker_config, **worker})
        config.shutdown_deadline_buffer = DRAIN + CLOSING

    return run_worker(version, configured)


class _Announcing(SimplePlugin):
    """Announces the capability while its worker runs, as a worker process does. The capability's own plugin comes first."""

    def __init__(self, announce: Callable[[Client], Awaitable[None]]) -> None:
        super().__init__("announcing")
        self._announce = announce

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:  # noqa: A002  # as its base calls it
        """Run the worker, and end it if its announcement fails."""
        _check_no_files()
        await check_keys(worker.client)
        async with asyncio.TaskGroup() as group:
            announcing = group.create_task(_coroutine(self._announce(worker.client)))
            try:
                await next(worker)
            finally:
                announcing.cancel()


async def _coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


def _check_no_files() -> None:
    """Check that no database is a file.

    Raises:
        InvalidArguments: One is. It would be lost with this instance of the function, and the ledger of effects with it.
    """
    if file_watch.files():
        raise InvalidArguments(
            "a function keeps no files, so its database cannot be SQLite",
            hint="set <CAPABILITY>_DATABASE_URL to a database server, as in postgresql+asyncpg://...",
        )
