"""Watches the workflow tasks of a worker: which ones run, which never end, and how much CPU each took.

A `WatchedRunner` wraps the SDK's workflow runner. It also works around a bug of temporalio 1.35 with workflow tasks of more
than two seconds, which happen on a busy machine. The SDK fails such a task and evicts the workflow from its cache, while the
late task still runs in its thread; then the eviction never succeeds ("continually retrying eviction") and the workflow is
blocked for good. Under this runner the late task ends first. The watchdog (`retinue/runtime/watchdog.py`) finds tasks that
never end by `WorkflowTasks.stuck`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker._command_aware_visitor import CommandInfo

from retinue.runtime.watchdog import PATIENCE

_EVICTIONS = 5
"""The number of consecutive failed evictions, two seconds apart, after which an eviction counts as stuck."""


@dataclass(frozen=True)
class Task:
    """One finished workflow task."""

    workflow_type: str
    cpu: float
    """CPU seconds of its thread."""


class WorkflowTasks:
    """The running workflow tasks of a process. Thread-safe.

    Args:
        on_end: Called with each finished task, in its thread.
    """

    def __init__(self, on_end: Callable[[Task], None] | None = None) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._looks: dict[tuple[str, int], int] = {}
        """How often the watchdog has seen each running task, by workflow type and thread."""
        self._failed_evictions: Counter[str] = Counter()

    @contextlib.contextmanager
    def working(self, workflow_type: str) -> Iterator[None]:
        """Track a task in this thread."""
        key = (workflow_type, threading.get_ident())
        with self._lock:
            self._looks[key] = 0
        began = time.thread_time()
        try:
            yield
        finally:
            used = time.thread_time() - began
            with self._lock:
                del self._looks[key]
            if self._on_end:
                self._on_end(Task(workflow_type, used))

    @contextlib.contextmanager
    def evicting(self, run_id: str) -> Iterator[None]:
        """Track an eviction of a workflow from the cache."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._failed_evictions[run_id] += 1
            raise
        with self._lock:
            self._failed_evictions.pop(run_id, None)

    def running(self) -> int:
        """Return the number of running tasks."""
        with self._lock:
            return len(self._looks)

    def stuck(self) -> str | None:
        """Return what is stuck, or None; a check of the watchdog."""
        with self._lock:
            for key in self._looks:
                self._looks[key] += 1
            endless = [workflow_type for (workflow_type, _), looks in self._looks.items() if looks > PATIENCE]
            kept = [run_id for run_id, failed in self._failed_evictions.items() if failed >= _EVICTIONS]
        if endless:
            return f"a task of {endless[0]} does not end"
        if kept:
            return f"the workflow run {kept[0]} cannot be taken out of the cache"
        return None


class WatchedRunner(WorkflowRunner):
    """Runs workflows by another runner and tracks each task in `tasks`."""

    def __init__(self, inner: WorkflowRunner, tasks: WorkflowTasks) -> None:
        self._inner = inner
        self._tasks = tasks

    def prepare_workflow(self, defn: workflow._Definition) -> None:
        """Delegate to the inner runner."""
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return a watched instance of the inner runner."""
        return _WatchedInstance(self._inner.create_instance(det), self._tasks)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        """Delegate to the inner runner."""
        self._inner.set_worker_level_failure_exception_types(types)


class _WatchedInstance(WorkflowInstance):
    """Runs one activation at a time. It has no thread id, so the SDK does not interrupt it."""

    def __init__(self, inner: WorkflowInstance, tasks: WorkflowTasks) -> None:
        self._inner = inner
        self._tasks = tasks
        self._turn = threading.Lock()

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        evicts = any(job.HasField("remove_from_cache") for job in act.jobs)
        evicting = self._tasks.evicting(act.run_id) if evicts else contextlib.nullcontext()
        with self._turn, self._tasks.working(self._inner.get_info().workflow_type), evicting:
            return self._inner.activate(act)

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        return self._inner.get_external_store_context(command_info)

    def get_info(self) -> workflow.Info:
        return self._inner.get_info()
