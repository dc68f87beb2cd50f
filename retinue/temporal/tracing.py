"""Traces through Temporal: a request's trace goes on in the run that it starts, in its steps and its child workflows.

The ids travel in the header `_tracer-data`. This uses the SDK's `TracingInterceptor` and not its newer
`OpenTelemetryPlugin`: that one draws ids from the workflow's own random numbers, so a run that began without traces could
not be continued with them; it also shows a workflow only when it ends, and runs wait for days. Spans inside workflows
therefore have no duration; those of activities have. Nothing here adds a command to a history.

Imported only where traces are switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from temporalio import workflow
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.worker import WorkflowInterceptorClassInput

from retinue.runtime.otlp import Traces
from retinue.temporal.account_watch import WATCH_TYPE
from retinue.temporal.person import PERSON_TYPE
from retinue.temporal.registry import REGISTRY_TYPE

_RUN = "AssistantWorkflow"
_LASTING = frozenset({REGISTRY_TYPE, PERSON_TYPE, WATCH_TYPE, "ModelPausesWorkflow", "ModelsInUseWorkflow"})
_SAMPLED, _NOT_SAMPLED = "01", "00"


class RunTraces(TracingInterceptor):
    """On every client, and so on every worker: spans of starts, updates, queries, workflows and activities.

    Args:
        traces: Of this process.
    """

    def __init__(self, traces: Traces) -> None:
        super().__init__(traces.tracer)
        self._traces = traces

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        """Give each run a trace, also one that no request started."""
        super().workflow_interceptor_class(input)
        return type("Traced", (_TracedRun,), {"samples": staticmethod(self._traces.samples)})


class _TracedRun(TracingWorkflowInboundInterceptor):
    samples: Callable[[int, str], bool]

    def _load_workflow_context_carrier(self) -> dict[str, str | list[str]] | None:
        """Return the trace of this workflow: that of its start, or one of its own whose id is that of its first run.

        Runs of schedules and triggers have their own: no request started them. What lasts, such as the workflow of a person,
        has none: otherwise everything that it ever does would belong to the request that happened to start it.
        """
        if self._workflow_context_carrier is None:
            info = workflow.info()
            if info.workflow_type in _LASTING:
                self._workflow_context_carrier = _trace(info.first_execution_run_id, sampled=False)
            elif info.workflow_type == _RUN and info.parent is not None:  # of a trigger, since agents have another type
                self._workflow_context_carrier = self._own_trace(info.first_execution_run_id)
            else:
                carried = super()._load_workflow_context_carrier()
                self._workflow_context_carrier = carried or self._own_trace(info.first_execution_run_id)
        return self._workflow_context_carrier

    def _own_trace(self, run_id: str) -> dict[str, str | list[str]]:
        return _trace(run_id, sampled=self.samples(UUID(run_id).int, "RunWorkflow"))


def _trace(run_id: str, *, sampled: bool) -> dict[str, str | list[str]]:
    trace = UUID(run_id).hex
    return {"traceparent": f"00-{trace}-{trace[-16:]}-{_SAMPLED if sampled else _NOT_SAMPLED}"}
