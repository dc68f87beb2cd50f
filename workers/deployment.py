"""Worker Deployment Versioning: each worker is a version of a deployment, and Temporal routes work by that.

The workflow worker's deployment is `retinue-workflows`, that of a capability `retinue-<capability>`. Runs are pinned: they end on
the version on which they began. Workflows that live long, such as the registry, move to the current version with their next
task. Activities go to the current version of their capability, whatever version the run is pinned to.
What Temporal is asked for this: `retinue/temporal/deployments.py`.
See docs/deploying.md and docs/decisions/0030-versions-by-worker-deployments.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from retinue.temporal.deployments import is_current

_LOOK = 5.0
"""Seconds between two looks at which version is the current one."""
_log = logging.getLogger("retinue.worker")


def options(
    version: WorkerDeploymentVersion | None,
    build_id: str,
    behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> dict[str, Any]:
    """What a `Worker` is told of its version.

    Args:
        version: None for a worker without one, which gets work only where no version is current.
        build_id: By which a worker without a version is shown.
        behavior: Of its workflows.
    """
    if version is None:
        return {"build_id": build_id}
    config = WorkerDeploymentConfig(version, use_worker_versioning=True, default_versioning_behavior=behavior)
    return {"deployment_config": config}


class AutoUpgradingRunner(WorkflowRunner):
    """Runs workflows by another runner, some types of them as auto-upgrading.

    `workflow.defn` could say so too, but Temporal then refuses every task of a worker that has no version.
    """

    def __init__(self, inner: WorkflowRunner, types: frozenset[str]) -> None:
        self._inner = inner
        self._types = types

    def prepare_workflow(self, defn: workflow._Definition) -> None:
        """As the inner runner."""
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return an instance of the inner runner."""
        if det.info.workflow_type in self._types:
            defn = dataclasses.replace(det.defn, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
            det = dataclasses.replace(det, defn=defn)
        return self._inner.create_instance(det)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        """As the inner runner."""
        self._inner.set_worker_level_failure_exception_types(types)


async def until_current(client: Client, version: WorkerDeploymentVersion, *, current: bool = True) -> None:
    """Wait until this version is the current one, or no longer is, for as long as that takes."""
    while True:
        try:
            if await is_current(client, version) is current:
                return
        except RPCError as error:
            _log.warning("which version is current is not known: %s", error.status.name)
        await asyncio.sleep(_LOOK)
