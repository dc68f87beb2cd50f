"""Texts that models are writing for a run at the moment, as the server keeps them beside its history.

They are no part of the run: an activity that ends takes its own away, and what it wrote stands in the view then. So a
piece of text has no id, nobody resumes at one, and who missed some has missed nothing.
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
"""Activities that write texts, and what these are called; nothing where it is the step's id."""


@dataclass(frozen=True)
class RunDraft:
    """What stands of one text.

    Args:
        about: `reply`, or the id of the step that writes it.
        attempt: Which one it is; each begins anew.
        text: Its beginning.
    """

    about: str
    attempt: tuple[int, int]
    text: str


def writers(description: WorkflowExecutionDescription) -> list[PendingActivityInfo]:
    """The activities that write at the moment."""
    pending = description.raw_description.pending_activities
    return [activity for activity in pending if activity.activity_type.name in _WRITERS]


async def written(description: WorkflowExecutionDescription, converter: DataConverter) -> list[RunDraft]:
    """What they have written so far.

    Args:
        description: Of the run.
        converter: Reads what belongs to the run.
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
    """What is told, if it is a draft; heartbeats also carry what was used."""
    try:
        return Draft.model_validate(cursor)
    except ValidationError:
        return None


class DraftCursor:
    """How far one reader was told, on one connection."""

    def __init__(self) -> None:
        self._heard: dict[str, RunDraft] = {}

    def new(self, texts: Sequence[RunDraft]) -> Iterator[Event]:
        """What the reader does not know yet; one that began anew is told from its beginning."""
        self._keep(texts)
        for text in texts:
            known = self._heard.get(text.about)
            offset = len(known.text) if known else 0
            if known is None or text.text != known.text:
                self._heard[text.about] = text
                yield _event(text, offset)

    def _keep(self, texts: Iterable[RunDraft]) -> None:
        """Forget what is finished, and other attempts."""
        current = {text.about: text.attempt for text in texts}
        self._heard = {about: known for about, known in self._heard.items() if current.get(about) == known.attempt}


def _event(text: RunDraft, offset: int) -> Event:
    return Event(id=None, kind=EventKind.TEXT, data={"about": text.about, "offset": offset, "text": text.text[offset:]})
