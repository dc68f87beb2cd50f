"""Views of runs: from its history after the end, from its query before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistory,
    WorkflowQueryFailedError,
)
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.service import RPCError, RPCStatusCode

from retinue.conversation import Message, Role
from retinue.errors import ServiceUnavailable
from workflows.messages import (
    ENDED,
    AssistantStatus,
    AssistantView,
    StepError,
    StepStatus,
    StepView,
    UndoStep,
    UndoView,
    plain_conversation,
)
from workflows.undo import undo_id

MESSAGE_MEMO = "message"
UNREADABLE = (RPCError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError, ServiceUnavailable)
"""Why a run does not show itself: no worker answers, or its query fails."""
RPC = timedelta(seconds=5)
NO_WORKER_NOTICE = "No workflow worker answers at the moment. The assistant is safe and continues when one is back."
"""Notice for a view without a worker."""
_BY_EXECUTION = {
    WorkflowExecutionStatus.COMPLETED: AssistantStatus.COMPLETED,
    WorkflowExecutionStatus.CANCELED: AssistantStatus.CANCELLED,
    WorkflowExecutionStatus.FAILED: AssistantStatus.FAILED,
    WorkflowExecutionStatus.TERMINATED: AssistantStatus.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: AssistantStatus.FAILED,
}


async def ended_view(
    description: WorkflowExecutionDescription,
    history: WorkflowHistory,
    converter: DataConverter,
    query: Callable[[], Awaitable[AssistantView]],
) -> tuple[AssistantView, bool]:
    """Return the view of an ended run, and whether the run itself returned it.

    Args:
        description: The run's description.
        history: Its whole history.
        converter: The converter of its payloads.
        query: Queries the run, which costs a replay; for runs without a view in their last event.
    """
    if recorded := await recorded_view(history, converter):
        return recorded, True
    try:
        view, whole = await query(), True
    except UNREADABLE:
        view, whole = await view_by_server(description), False
    problem = await failure_of(history, converter)
    return closed_from_outside(with_attempts(view, history), description.status, problem), whole


async def view_by_server(description: WorkflowExecutionDescription) -> AssistantView:
    """Return the view that the server alone has: an open run is safe and waits for a workflow worker."""
    message = await description.memo_value(MESSAGE_MEMO, "", type_hint=str)
    is_open = description.status is WorkflowExecutionStatus.RUNNING
    return AssistantView(
        id=description.id,
        status=AssistantStatus.AWAITING_WORKER,
        message=message,
        messages=[Message(role=Role.USER, text=message)],
        notices=retrying_notices(description) or ([NO_WORKER_NOTICE] if is_open else []),
    )


async def recorded_view(history: WorkflowHistory, converter: DataConverter) -> AssistantView | None:
    """Return the final view in the last event of an ended run; None if there is none (cancelled, terminated, too large)."""
    payload = _final_payload(history.events[-1])
    if payload is None:
        return None
    [content] = await converter.decode([payload], [dict[str, Any]])
    if content.get("too_large"):
        return None
    content.setdefault("messages", plain_conversation(content["message"], content.get("reply")))
    view = await with_results(AssistantView.model_validate(content), history, converter)
    return with_attempts(view, history)


async def with_results(view: AssistantView, history: WorkflowHistory, converter: DataConverter) -> AssistantView:
    """Fill in each completed step's result from its event, unless a person's choice has changed it."""
    step_ids = _activity_ids(history)
    kept = {step.id for step in (view.plan.steps if view.plan else []) if step.picked or step.looked_up}
    results: dict[str, dict[str, Any]] = {}
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            [result] = await converter.decode(completed.result.payloads)
            results[step_ids[completed.scheduled_event_id]] = {"result": result}
    return _with_steps(view, {step_id: result for step_id, result in results.items() if step_id not in kept})


def _activity_ids(history: WorkflowHistory) -> dict[int, str]:
    """Return step ids by scheduling event; the activity id is the step id, or `s1~1` for a repeat."""
    return {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_id.partition("~")[0]
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }


def _final_payload(event: HistoryEvent) -> Payload | None:
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        payloads: Sequence[Payload] = event.workflow_execution_completed_event_attributes.result.payloads
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        failure = event.workflow_execution_failed_event_attributes.failure
        payloads = failure.application_failure_info.details.payloads
    else:
        return None
    return payloads[0] if payloads else None


def with_attempts(view: AssistantView, history: WorkflowHistory) -> AssistantView:
    """Fill in start times and attempts of steps, which only the history has."""
    step_ids = _activity_ids(history)
    found: dict[str, dict[str, Any]] = {}
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            started = event.activity_task_started_event_attributes
            step = found.setdefault(step_ids[started.scheduled_event_id], {"attempts": 0})
            step["attempts"] += started.attempt
            step.setdefault("started_at", event.event_time.ToDatetime(UTC))
    return _with_steps(view, found)


def with_pending(view: AssistantView, description: WorkflowExecutionDescription) -> AssistantView:
    """Add the server's data about running activities: attempts, last failure, whether a worker has it."""
    by_id = {pending.activity_id: pending for pending in description.raw_description.pending_activities}
    changes: dict[str, dict[str, Any]] = {}
    for step in view.plan.steps if view.plan else []:
        if pending := by_id.get(step.id):
            changes[step.id] = _pending_changes(step, pending)
    return _taken_up(_with_steps(view, changes), description)


def _taken_up(view: AssistantView, description: WorkflowExecutionDescription) -> AssistantView:
    """Correct which steps wait: the server knows when a worker has taken an activity, the run only by its result.

    A description made between two attempts names no activity and changes nothing.
    """
    pending = description.raw_description.pending_activities
    waiting = [one for one in pending if one.state != PendingActivityState.PENDING_ACTIVITY_STATE_STARTED]
    waits = [step for step in (view.plan.steps if view.plan else []) if step.status is StepStatus.AWAITING_WORKER]
    if view.status is not AssistantStatus.AWAITING_WORKER or waiting or waits or not pending:
        return view
    return view.model_copy(update={"status": AssistantStatus.RUNNING if view.plan else AssistantStatus.PLANNING})


def with_undo(view: AssistantView, steps: Sequence[UndoStep]) -> AssistantView:
    """Add the effects undone after the end to those undone by the run itself."""
    if not steps:
        return view
    undone = {step.step_id for step in steps if step.status == "undone"}
    changed = _with_steps(view, {step_id: {"status": StepStatus.UNDONE} for step_id in undone})
    both = {step.step_id: step for step in [*view.undo, *steps]}
    return changed.model_copy(update={"undo": list(both.values())})


def _pending_changes(step: StepView, pending: Any) -> dict[str, Any]:
    started = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    changes: dict[str, Any] = {"attempts": pending.attempt if started else pending.attempt - 1}
    if started and step.status is StepStatus.AWAITING_WORKER:
        changes["status"] = StepStatus.RUNNING
    if pending.HasField("last_failure"):
        info = pending.last_failure.application_failure_info
        changes["error"] = StepError(type=info.type or "Error", message=pending.last_failure.message)
    return changes


def retrying_notices(description: WorkflowExecutionDescription, view: AssistantView | None = None) -> list[str]:
    """Return notices about retried work outside the plan, such as the planning."""
    steps = {step.id for step in view.plan.steps} if view and view.plan else set()
    tries = description.raw_description.pending_workflow_task.attempt
    own = [
        f"The assistant could not continue in {tries - 1} attempts; see the log of the workflow worker. It is retried."
    ]
    return [
        *(own if tries > 2 else []),
        *(
            f"{pending.activity_type.name} failed {pending.attempt - 1} times and is retried: "
            f"{pending.last_failure.message}"
            for pending in description.raw_description.pending_activities
            if pending.activity_id not in steps and pending.HasField("last_failure")
        ),
    ]


def _with_steps(view: AssistantView, changes: Mapping[str, Mapping[str, Any]]) -> AssistantView:
    if view.plan is None or not changes:
        return view
    steps = [step.model_copy(update=dict(changes.get(step.id, {}))) for step in view.plan.steps]
    return view.model_copy(update={"plan": view.plan.model_copy(update={"steps": steps})})


async def failure_of(history: WorkflowHistory, converter: DataConverter) -> StepError | None:
    """Return why a run failed, by its last event; None if it did not.

    Raises:
        Undecipherable: The keys of this process do not decrypt it.
    """
    event = history.events[-1]
    if event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        return None
    error = await converter.decode_failure(event.workflow_execution_failed_event_attributes.failure)
    kind = error.type if isinstance(error, ApplicationError) else None
    message = error.message if isinstance(error, FailureError) else str(error)
    return StepError(type=kind or type(error).__name__, message=message)


def closed_from_outside(
    view: AssistantView, status: WorkflowExecutionStatus | None, problem: StepError | None = None
) -> AssistantView:
    """Correct the view of a run that its workflow did not end: terminated, or failed at its start.

    Args:
        view: The view of the run, or of Temporal alone.
        status: The status of the execution.
        problem: Why it failed, if known.
    """
    if status is None or status not in _BY_EXECUTION:
        return view
    if view.status in ENDED:
        return view.model_copy(update={"error": view.error or problem}) if problem else view
    word = status.name.lower().replace("_", " ")
    return view.model_copy(
        update={
            "status": _BY_EXECUTION[status],
            "error": problem or StepError(type="Ended", message=f"the assistant was {word} in Temporal"),
        }
    )


def execution_status(status: WorkflowExecutionStatus | None, published: str | None) -> AssistantStatus:
    """Return the status of a listed run: Temporal's if it has ended, otherwise the one that the run published."""
    if status in _BY_EXECUTION:
        return _BY_EXECUTION[status]
    return AssistantStatus(published) if published else AssistantStatus.PLANNING


async def undo_steps(client: Client, assistant_id: str, undoings: int) -> list[UndoStep]:
    """Return the result of undoing effects after a run's end; the last attempt of each.

    Args:
        client: The Temporal client.
        assistant_id: The run.
        undoings: The number of recorded undos. One that never started, in an outage of Temporal, is ignored.

    Raises:
        ServiceUnavailable: No workflow worker answers.
    """
    found: dict[str, UndoStep] = {}
    for number in range(1, 1 + undoings):
        handle = client.get_workflow_handle(undo_id(assistant_id, number))
        try:
            undo: UndoView = await handle.query("view", result_type=UndoView, rpc_timeout=RPC)
        except (RPCError, RPCTimeoutOrCancelledError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                continue
            raise ServiceUnavailable("no workflow worker answered in time") from None
        found |= {step.step_id: step for step in undo.steps}
    return list(found.values())
