"""`python -m workers NAME --check`: builds a worker without its connection, to check that nothing is missing.

The build of an image runs it, so that it fails if a package or code is missing.
"""

from __future__ import annotations

import importlib.util
import pkgutil

from temporalio import activity
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

import activities
from retinue.effect_status import CLOSE_EFFECT
from workers.runner import WORKFLOWS, workflow_types


def check(name: str) -> str:
    """Build the worker `name` and return in one line what it would serve.

    Raises:
        LookupError: There is no such worker.
        ImportError: A package or a module is missing.
        TypeError: Contract and tools do not fit together.
    """
    if name == WORKFLOWS:
        return _check_workflows()
    if name in activities.folders():
        return _check_capability(name)
    return _check_modules(name)


def _check_workflows() -> str:
    from workers.local_activities import LocalActivities
    from workflows.person import PersonWorkflow

    types = [*workflow_types(), PersonWorkflow]
    Replayer(workflows=types, workflow_runner=UnsandboxedWorkflowRunner())
    return f"workflows: {len(types)} types, {LocalActivities.__name__}"


def _check_capability(name: str) -> str:
    module = activities.load(name)
    announced = {spec.name for spec in module.CONTRACT.manifest().tools}
    served = {activity._Definition.must_from_callable(run).name for run in module.plugin().activities}
    if announced != served - {CLOSE_EFFECT}:
        raise TypeError(f"{name} announces {sorted(announced)} and serves {sorted(map(str, served))}")
    return f"{name} {module.CONTRACT.version}: {', '.join(sorted(announced))}"


def _check_modules(name: str) -> str:
    """Import all modules of a folder that serves configured capabilities, such as MCP servers."""
    package = f"activities.{name}"
    if importlib.util.find_spec(package) is None:
        raise LookupError(f"there is no capability {name!r} in this installation")
    modules = [found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    for module in modules:
        importlib.import_module(f"{package}.{module}")
    return f"{name}: {len(modules)} modules"
