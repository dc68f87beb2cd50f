"""Drafts: texts that models are writing for a run at the moment, from activity heartbeats.

They are not part of the run: when the activity ends, its draft is gone and the text is in the view. So a piece of text
has no id, and a reader who missed some pieces has missed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription
from temporalio.converter import DataConverter

from activities.reasoning.contract import Draft
from api.events.model import Event, EventKind
from retinue.errors import Undecipherable

REPLY = "reply"
_WRITERS = {"reasoning.reply": REPLY, "reasoning.compose": ""}
"""Activities that write texts, and the names of these; empty for the step's id."""


@dataclass(frozen=True)
class RunDraft:
    """The current draft of one text.

    Args:
        about: `reply`, or the id of the step that writes it.
        attempt: Number of the attempt; each starts from the beginning.
        text: The text so far.
    """

    about: str
    attempt: tuple[int, int]
    text: str


def writers(description: WorkflowExecutionDescription) -> list[PendingActivityInfo]:
    """Return the activities that are writing."""
    pending = description.raw_description.pending_activities
    return [activity for activity in pending if activity.activity_type.name in _WRITERS]


async def written(description: WorkflowExecutionDescription, converter: DataConverter) -> list[RunDraft]:
    """Return the current drafts of a run.

    Args:
        description: The run's description.
        converter: The data converter for the run.
    """
    found = [await _read(activity, converter) for activity in writers(description)]
    return [text for text in found if text is not None]


async def _read(activity: PendingActivityInfo, converter: DataConverter) -> RunDraft | None:
    if not activity.heartbeat_details.payloads:
        return None
    try:
        cursor = await converter.decode(list(activity.heartbeat_details.payloads))
    except Undecipherable:  # a worker with other keys
        return None
    draft = next(filter(None, map(_draft, cursor)), None)
    if draft is None or draft.attempt != activity.attempt:
        return None
    about = _WRITERS[activity.activity_type.name] or activity.activity_id.partition("~")[0]
    return RunDraft(about, (draft.attempt, draft.number), draft.text)


def _draft(cursor: object) -> Draft | None:
    """Return the draft in a heartbeat, if any; heartbeats also carry usage."""
    try:
        return Draft.model_validate(cursor)
    except ValidationError:
        return None


class DraftCursor:
    """The position of one reader in drafts, on one connection."""

    def __init__(self) -> None:
        self._sent: dict[str, RunDraft] = {}

    def new(self, texts: Sequence[RunDraft]) -> Iterator[Event]:
        """Return the new pieces; a restarted text is sent from its beginning."""
        self._keep(texts)
        for text in texts:
            known = self._sent.get(text.about)
            offset = len(known.text) if known else 0
            if known is None or text.text != known.text:
                self._sent[text.about] = text
                yield _event(text, offset)

    def _keep(self, texts: Iterable[RunDraft]) -> None:
        """Remove finished texts and other attempts."""
        current = {text.about: text.attempt for text in texts}
        self._sent = {about: known for about, known in self._sent.items() if current.get(about) == known.attempt}


def _event(text: RunDraft, offset: int) -> Event:
    return Event(id=None, kind=EventKind.TEXT, data={"about": text.about, "offset": offset, "text": text.text[offset:]})
