"""A run's view at one moment, split into the parts of events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from api.events.cursor import EventCursor, Mark, order_of
from api.events.model import Event, EventKind
from workflows.messages import ENDED, AssistantStatus, AssistantView

_BY_ITS_OWN_KIND = frozenset({"messages", "plan", "approvals", "question", "question_id", "options", "usage", "budget"})
FIELDS = tuple(name for name in AssistantView.model_fields if name not in _BY_ITS_OWN_KIND)
"""The fields of a view in `status` events."""
_OF_THE_END = ("status", "reply", "error")
_WITHOUT_WORKER = ("status", "notices")
"""The known fields while no workflow worker answers."""
_QUESTION = ("question", "question_id", "options")
_USAGE = ("usage", "budget")
_DEFAULTS: Mapping[str, Any] = AssistantView(
    id="", status=AssistantStatus.PLANNING, message="", messages=[]
).model_dump(mode="json")
_ALWAYS_TOLD = frozenset({"id", "status", "message", "usage", "mode", "owner"})

Part = tuple[Mark, dict[str, Any]]


@dataclass(frozen=True)
class RunSnapshot:
    """A view at one moment.

    Args:
        view: The API's view, without links.
        whole: False while no workflow worker answers: only the status is known.
        run: Its execution.
        event: That execution's last history event that may be included.
        confirmed_event: That execution's last history event that is certainly included.
    """

    view: AssistantView
    whole: bool
    run: str
    event: int
    confirmed_event: int

    @property
    def ended(self) -> bool:
        """Return whether the run has ended."""
        return self.view.status in ENDED

    @cached_property
    def content(self) -> dict[str, Any]:
        """Return the view as JSON."""
        return self.view.model_dump(mode="json")

    @cached_property
    def steps(self) -> list[Part]:
        """Return the steps in the plan's order."""
        return [(Mark.of(f"step {step['id']}", step), step) for step in (self.content["plan"] or {}).get("steps", [])]

    @cached_property
    def approvals(self) -> list[Part]:
        """Return the approvals, oldest first."""
        asked = sorted(self.content["approvals"], key=lambda approval: (approval["asked_at"], approval["id"]))
        return [(Mark.of(f"approval {approval['id']}", approval), approval) for approval in asked]

    @cached_property
    def fields(self) -> dict[str, Mark]:
        """Return all other fields by name."""
        return {name: Mark.of(name, self.content[name]) for name in (*FIELDS, *_QUESTION, *_USAGE)}

    @cached_property
    def card(self) -> Part:
        """Return the plan card, if the person requested one."""
        card = (self.content["plan"] or {}).get("card")
        return Mark.of("card", card), {"card": card}

    @cached_property
    def end(self) -> Part:
        """Return the end event's data."""
        names = _OF_THE_END if self.whole else ("status", "error")
        data = {name: self.content[name] for name in names}
        return Mark.of("end", data), data

    @cached_property
    def marks(self) -> list[Mark]:
        """Return the marks of all parts."""
        parts = [*self.steps, *self.approvals, self.card, self.end]
        return [*(mark for mark, _ in parts), *self.fields.values()]

    def same_as(self, other: RunSnapshot | None) -> bool:
        """Return whether the other snapshot has nothing new."""
        return other is not None and (self.whole, self.content) == (other.whole, other.content)


def diff_events(snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    """Yield what is new to a reader, in an order without forward references, and update `told`."""
    if snapshot.whole:
        cursor.keep(snapshot.marks)
        yield from _messages(snapshot, cursor)
        yield from _plan(snapshot, cursor)
        yield from _each(EventKind.STEP, snapshot.steps, snapshot, cursor)
        yield from _each(EventKind.APPROVAL, snapshot.approvals, snapshot, cursor)
        yield from _fields(EventKind.QUESTION, _QUESTION, snapshot, cursor)
        yield from _fields(EventKind.USAGE, _USAGE, snapshot, cursor)
    yield from _fields(EventKind.STATUS, _of_the_status(snapshot), snapshot, cursor)
    yield from _end(snapshot, cursor)


def _event(
    kind: EventKind, data: dict[str, Any], marks: Iterable[Mark], snapshot: RunSnapshot, cursor: EventCursor
) -> Event:
    cursor.note(marks)
    return Event(id=cursor.format_event_id(snapshot.run, snapshot.event), kind=kind, data=data)


def _messages(snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    first = snapshot.view.earlier_messages
    for index, message in enumerate(snapshot.content["messages"], start=first):
        if index >= cursor.messages:
            cursor.messages = index + 1
            yield _event(EventKind.MESSAGE, {"index": index, **message}, [], snapshot, cursor)


def _plan(snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    """Yield new steps at the plan's end, or a whole new plan if earlier steps are gone, and its card."""
    ids = [step["id"] for _, step in snapshot.steps]
    first = _known_beginning(ids, cursor.order)
    mark, card = snapshot.card
    if first == len(ids) and _is_known("card", mark, card["card"], cursor):
        return
    new = snapshot.steps[first or 0 :]
    cursor.order = order_of(ids)
    data = {"first": first or 0, "steps": [step for _, step in new], **card}
    yield _event(EventKind.PLAN, data, [mark, *(mark for mark, _ in new)], snapshot, cursor)


def _known_beginning(ids: list[str], order: str) -> int | None:
    """Return how many steps a reader with this order has; None if it belongs to another plan."""
    return next((count for count in range(len(ids), -1, -1) if order_of(ids[:count]) == order), None)


def _each(kind: EventKind, parts: Iterable[Part], snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    for mark, data in parts:
        if not cursor.knows(mark):
            yield _event(kind, data, [mark], snapshot, cursor)


def _fields(kind: EventKind, names: Iterable[str], snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    """Yield one event for all changed fields of a kind. `question` and `usage` have events of their own."""
    new = [name for name in names if not _is_known(name, snapshot.fields[name], snapshot.content[name], cursor)]
    if new:
        data = {name: snapshot.content[name] for name in new}
        yield _event(kind, data, [snapshot.fields[name] for name in new], snapshot, cursor)


def _is_known(name: str, mark: Mark, value: Any, cursor: EventCursor) -> bool:
    if cursor.has_seen(mark):
        return cursor.knows(mark)
    return name not in _ALWAYS_TOLD and value == _DEFAULTS.get(name)


def _of_the_status(snapshot: RunSnapshot) -> list[str]:
    names = FIELDS if snapshot.whole else _WITHOUT_WORKER
    return [name for name in names if not (snapshot.ended and name in _OF_THE_END)]


def _end(snapshot: RunSnapshot, cursor: EventCursor) -> Iterator[Event]:
    mark, data = snapshot.end
    if snapshot.ended and not cursor.knows(mark):
        yield _event(EventKind.END, data, [mark, *(snapshot.fields[name] for name in data)], snapshot, cursor)
