"""What an agent answered, in a form that fits into a run: text is cut, files are listed and never fetched.

All of it was written by strangers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, Task, TaskState
from google.protobuf.json_format import MessageToJson
from pydantic import BaseModel, Field

from retinue.errors import OutcomeUnknown
from retinue.operator_config import Redaction
from retinue.text import clip, one_line

MAX_ID = 200
_MAX_TEXT_BYTES = 120 * 1024
"""As JSON, of the 256 KiB that may leave a tool."""
_MAX_ARTIFACT_BYTES = 80 * 1024
"""Of all artifacts together."""
_MAX_ARTIFACTS = 40
_MAX_PARTS = 200
_MAX_NAME = 200
_CUT = " [cut: the rest did not fit]"


class State(StrEnum):
    """The state of a task, in A2A's terms."""

    WORKING = "working"
    COMPLETED = "completed"
    INPUT_REQUIRED = "input-required"
    AUTH_REQUIRED = "auth-required"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"


_STATES = {
    TaskState.TASK_STATE_SUBMITTED: State.WORKING,
    TaskState.TASK_STATE_WORKING: State.WORKING,
    TaskState.TASK_STATE_COMPLETED: State.COMPLETED,
    TaskState.TASK_STATE_INPUT_REQUIRED: State.INPUT_REQUIRED,
    TaskState.TASK_STATE_AUTH_REQUIRED: State.AUTH_REQUIRED,
    TaskState.TASK_STATE_FAILED: State.FAILED,
    TaskState.TASK_STATE_CANCELED: State.CANCELED,
    TaskState.TASK_STATE_REJECTED: State.REJECTED,
}


class ArtifactText(BaseModel):
    """One thing that the agent made, as far as it is text."""

    name: str = ""
    text: str = ""
    files: list[str] = Field(default_factory=list, description="names, types and sizes of what is not text")


class Answer(BaseModel):
    """An agent's answer, with the task's state and its text; the ledger stores it."""

    text: str = Field("", description="what the agent says; with `input-required` its question")
    task_id: str = Field("", description="names the task in a later call; empty where there is none")
    state: State = Field(State.COMPLETED, description="completed, input-required (it waits for an answer), or working")
    artifacts: list[ArtifactText] = Field(default_factory=list, description="what it made")
    truncated: bool = Field(False, description="whether something was cut")


class Outcome(Answer):
    """An answer with what only this worker needs."""

    context_id: str = ""
    failed: bool = Field(False, description="the agent answered that it failed, and began no task")

    def result(self) -> dict[str, Any]:
        """Return the tool's result."""
        return self.model_dump(mode="json", include=set(Answer.model_fields))


def of_message(message: Message, redaction: Redaction) -> Outcome:
    """Return an agent that answers at once, without a task."""
    text, cut = _bounded_text(_texts(message.parts), redaction, _MAX_TEXT_BYTES)
    artifacts = [ArtifactText(files=files)] if (files := _files(message.parts, redaction)) else []
    return Outcome(text=text, truncated=cut, artifacts=artifacts, context_id=_id(message.context_id))


def of_task(task: Task, redaction: Redaction) -> Outcome:
    """Return a task as it stands now.

    Raises:
        OutcomeUnknown: It has no id, or stands in a way that nobody knows.
    """
    state = _STATES.get(task.status.state)
    task_id = _id(task.id)
    if state is None or not task_id:
        raise OutcomeUnknown("the agent's answer names no task that can be followed")
    artifacts, cut_artifacts = _artifacts(task.artifacts, redaction)
    text, cut = _bounded_text(_texts(_said(task)), redaction, _MAX_TEXT_BYTES)
    return Outcome(
        text=text,
        task_id=task_id,
        context_id=_id(task.context_id),
        state=state,
        artifacts=artifacts,
        truncated=cut or cut_artifacts,
    )


def _id(text: str) -> str:
    """An id that can be kept and shown; anything else is none."""
    return text if len(text) <= MAX_ID and text.isascii() and text.isprintable() else ""


def _said(task: Task) -> Sequence[Part]:
    """What the agent says about the task: with its state, else last, else what it made."""
    if task.status.message.parts:
        return task.status.message.parts
    if task.artifacts:
        return task.artifacts[0].parts
    return next((message.parts for message in reversed(task.history) if message.role == Role.ROLE_AGENT), [])


def _artifacts(made: Sequence[Artifact], redaction: Redaction) -> tuple[list[ArtifactText], bool]:
    found: list[ArtifactText] = []
    room, cut = _MAX_ARTIFACT_BYTES, len(made) > _MAX_ARTIFACTS
    for artifact in made[:_MAX_ARTIFACTS]:
        text, shortened = _bounded_text(_texts(artifact.parts), redaction, max(room, 0))
        one = ArtifactText(
            name=one_line(redaction.text(artifact.name), _MAX_NAME), text=text, files=_files(artifact.parts, redaction)
        )
        room -= len(one.model_dump_json())
        cut = cut or shortened
        if room < 0 and found:
            return found, True
        found.append(one)
    return found, cut


def _texts(parts: Iterable[Part]) -> Iterator[str]:
    for part in list(parts)[:_MAX_PARTS]:
        if part.HasField("text"):
            yield part.text
        elif part.HasField("data"):
            yield MessageToJson(part.data, indent=None, ensure_ascii=False)


def _files(parts: Sequence[Part], redaction: Redaction) -> list[str]:
    held = [part for part in parts if part.HasField("raw") or part.HasField("url")]
    return [clip(redaction.text(_file(part)), _MAX_NAME) for part in held[:_MAX_ARTIFACTS]]


def _file(part: Part) -> str:
    size = f"{len(part.raw)} bytes" if part.HasField("raw") else "elsewhere"
    return one_line(f"{part.filename or 'file'} ({part.media_type or 'unknown type'}, {size})", _MAX_NAME)


def _bounded_text(texts: Iterable[str], redaction: Redaction, limit: int) -> tuple[str, bool]:
    """As much of the beginning as fits, counted as the JSON that it becomes; and whether something was cut."""
    text = redaction.text("\n".join(texts))
    size = len(json.dumps(text))
    if size <= limit:
        return text, False
    kept = text[: len(text) * limit // size]
    while len(json.dumps(kept)) > limit and kept:
        kept = kept[: len(kept) * 9 // 10]
    return kept + _CUT, True
