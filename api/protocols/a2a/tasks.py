"""Converts an assistant to a task of the protocol. Pure, except for the SDK's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a.types import Artifact, Message, Part, Role, Task, TaskState, TaskStatus, TaskStatusUpdateEvent
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from api.protocols.shared.run_summary import ShownApproval, address, bounded, shown_approval, waiting
from retinue.conversation import Role as Speaker
from retinue.text import safe_excerpt
from workflows.messages import AssistantStatus, AssistantView

STATES: Mapping[AssistantStatus, TaskState] = {
    AssistantStatus.PLANNING: TaskState.TASK_STATE_WORKING,
    AssistantStatus.RUNNING: TaskState.TASK_STATE_WORKING,
    AssistantStatus.AWAITING_WORKER: TaskState.TASK_STATE_WORKING,
    AssistantStatus.AWAITING_ACCOUNT: TaskState.TASK_STATE_AUTH_REQUIRED,
    AssistantStatus.AWAITING_APPROVAL: TaskState.TASK_STATE_INPUT_REQUIRED,
    AssistantStatus.AWAITING_INPUT: TaskState.TASK_STATE_INPUT_REQUIRED,
    AssistantStatus.COMPLETED: TaskState.TASK_STATE_COMPLETED,
    AssistantStatus.FAILED: TaskState.TASK_STATE_FAILED,
    AssistantStatus.CANCELLED: TaskState.TASK_STATE_CANCELED,
}
RESTS = frozenset(
    {
        TaskState.TASK_STATE_INPUT_REQUIRED,
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_CANCELED,
    }
)
"""States that only a person changes, and final states."""
REPLY = "reply"
_HISTORY = 50
_TEXT = 16_000
_HOW = (
    "This waits for a decision and has not been done. To decide, send a message to this task with one data part: "
    '{"decision": "approve" | "reject", "approval_id": ..., "args_hash": ...}, both as in the data below. Text decides '
    "nothing. A person can also decide here:"
)


def task_of(view: AssistantView, context_id: str, base: str, *, history: int | None = None) -> Task:
    """Return the whole task.

    Args:
        view: The assistant.
        context_id: The task's context.
        base: The API's address, with a trailing slash.
        history: How many of the last messages to include; None for the maximum.
    """
    most = _HISTORY if history is None else max(0, min(history, _HISTORY))
    messages = [_message(view, context_id, index) for index in range(len(view.messages))]
    return Task(
        id=view.id,
        context_id=context_id,
        status=status_of(view, context_id, base),
        artifacts=[reply_of(view, base)] if view.status is AssistantStatus.COMPLETED else [],
        history=messages[-most:] if most else [],
        metadata=_struct({"retinue": _links(view, base)}),
    )


def update_of(view: AssistantView, context_id: str, base: str) -> TaskStatusUpdateEvent:
    """Return the status as an event."""
    return TaskStatusUpdateEvent(task_id=view.id, context_id=context_id, status=status_of(view, context_id, base))


def status_of(view: AssistantView, context_id: str, base: str) -> TaskStatus:
    """Return the state, since when, and its message; equal for every reader."""
    status = TaskStatus(state=STATES[view.status])
    if view.status_since:
        status.timestamp.FromDatetime(view.status_since)
    if parts := _parts(view, base):
        status.message.CopyFrom(
            Message(
                message_id=f"{view.id}-status",
                task_id=view.id,
                context_id=context_id,
                role=Role.ROLE_AGENT,
                parts=parts,
            )
        )
    return status


def reply_of(view: AssistantView, base: str) -> Artifact:
    """Return the answer as an artifact. It may contain strangers' words."""
    return Artifact(
        artifact_id=REPLY,
        name=REPLY,
        parts=[Part(text=_cut(view.reply or ""), media_type="text/plain")],
        metadata=_struct({"retinue": {"receipt": f"{address(base, view.id)}/receipt"}}),
    )


def _parts(view: AssistantView, base: str) -> list[Part]:
    if view.status is AssistantStatus.FAILED:
        return [Part(text=_cut(view.error.message if view.error else "it failed"))]
    parts = [Part(text=_cut(view.question))] if view.question else []
    notices = view.notices[len(view.notices) - len(view.recorded_decisions) :]
    parts += [Part(text=_cut(words)) for words in notices]
    undecided = [approval for approval in waiting(view) if not approval.recorded]
    approvals, left_out = bounded([shown_approval(found, view.id, base) for found in undecided])
    if approvals:
        more = f"\n{left_out} more are pending there." if left_out else ""
        parts.append(Part(text=f"{_HOW} {address(base, view.id)}{more}"))
    for approval in approvals:
        parts += _approval(approval)
    return parts


def _approval(approval: ShownApproval) -> list[Part]:
    """Return an approval as text and as data; a decision names its `args_hash`."""
    data = {"approval": approval.model_dump(mode="json")}
    return [Part(text=approval.in_whole()), Part(data=_value(data), media_type="application/json")]


def _message(view: AssistantView, context_id: str, index: int) -> Message:
    message = view.messages[index]
    return Message(
        message_id=f"{view.id}-{view.earlier_messages + index}",
        task_id=view.id,
        context_id=context_id,
        role=Role.ROLE_USER if message.role is Speaker.USER else Role.ROLE_AGENT,
        parts=[Part(text=_cut(message.text))],
    )


def _links(view: AssistantView, base: str) -> dict[str, Any]:
    return {"status": str(view.status), "assistant": address(base, view.id)}


def _cut(text: str) -> str:
    return safe_excerpt(text, _TEXT)


def _struct(content: Mapping[str, Any]) -> struct_pb2.Struct:
    return ParseDict(dict(content), struct_pb2.Struct())


def _value(content: Mapping[str, Any]) -> struct_pb2.Value:
    return ParseDict(dict(content), struct_pb2.Value())
