"""Encodes a run as events of the protocol. Uses its SDK; imported lazily.

A view may have megabytes, and clients send everything they received back with every request. So arguments and results
are cut, the state has steps without them, and only approvals are complete, in interrupts, which are not sent back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ag_ui.core import (
    PROTOCOL_VERSION,
    BaseEvent,
    Interrupt,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from ag_ui.encoder import EventEncoder
from pydantic import JsonValue

from api.protocols.ag_ui.schemas import RunInput
from api.protocols.ag_ui.threads import APPROVAL, QUESTION, StartedTurn, interrupt_id
from api.protocols.shared.run_summary import ShownApproval, address, bounded, shown_approval, waiting
from retinue.conversation import Message, Role
from retinue.json_values import cut
from retinue.text import safe, safe_excerpt
from workflows.messages import (
    ENDED,
    ApprovalKind,
    AssistantStatus,
    AssistantView,
    StepError,
    StepStatus,
    StepView,
)

_PIECE = 2000
_TEXT = 16_000
_VALUE_BYTES = 4 * 1024
_STEPS = 50
_NOTICES = 3
_NOTICE = 300
_PLANNING = "planning"
_AT_WORK = frozenset(
    {StepStatus.RUNNING, StepStatus.AWAITING_APPROVAL, StepStatus.AWAITING_WORKER, StepStatus.AWAITING_ACCOUNT}
)
_TO_COME = frozenset({StepStatus.PENDING, StepStatus.SKIPPED})
_QUESTION_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1}},
    "required": ["answer"],
    "additionalProperties": False,
}
_encoder = EventEncoder()


def encoded(event: BaseEvent) -> bytes:
    """Return one event in wire format."""
    return _encoder.encode(event).encode()


@dataclass
class ClientState:
    """The data that a client has.

    Args:
        ids: Ids of messages and tool calls, with the text of messages.
        messages: Number of messages.
        state: The last sent state; None before the first.
        open: Names of the steps that are started and not finished in this run.
        writing: The message that is streamed while a model writes it.
        whole: False once a piece was missed or another attempt started: sent text cannot be corrected.
    """

    ids: dict[str, str]
    messages: int
    state: dict[str, Any] | None = None
    open: dict[str, None] = field(default_factory=dict)
    writing: str | None = None
    whole: bool = True


class AgUiEncoder:
    """Encodes one run of the protocol.

    Args:
        asked: The client's request.
        turn: The turn of the assistant.
        base: The API's address as the caller reached it, with a trailing slash.
    """

    def __init__(self, asked: RunInput, turn: StartedTurn, base: str) -> None:
        self._ids = {"thread_id": asked.thread_id, "run_id": asked.run_id}
        self._turn = turn
        self._base = base
        self._client = ClientState(asked.known(), turn.told)

    @property
    def messages(self) -> int:
        """Number of messages that the client knows."""
        return self._client.messages

    def start(self) -> BaseEvent:
        """Return the first event."""
        return RunStartedEvent(**self._ids, protocol_version=PROTOCOL_VERSION)

    def news(self, view: AssistantView, messages: dict[int, Message]) -> Iterator[BaseEvent]:
        """Yield what is new for the client, the answer last."""
        yield from self._planning(view.status is AssistantStatus.PLANNING)
        for step in view.plan.steps if view.plan else ():
            yield from self._step(step)
        yield from self._state(view)
        yield from self._messages(messages)

    def end(self, view: AssistantView) -> Iterator[BaseEvent]:
        """Yield the last events once the assistant has answered, asks, waits for a decision, or has ended."""
        if self._turn.refused:
            yield from self.run_error(*_refusal(self._turn))
        elif interrupts := self._interrupts(view):
            yield from self._closed()
            yield RunFinishedEvent(
                **self._ids, outcome=RunFinishedInterruptOutcome(interrupts=interrupts), usage=self._usage(view)
            )
        elif view.status in ENDED or view.status is AssistantStatus.AWAITING_INPUT:
            yield from self._rest(view)

    def run_error(self, message: str, code: str, view: AssistantView | None = None) -> Iterator[BaseEvent]:
        """Yield the end of a run that failed."""
        yield from self._closed()
        yield RunErrorEvent(message=safe(message), code=code, usage=self._usage(view) if view else None)

    def run_timeout(self, view: AssistantView) -> Iterator[BaseEvent]:
        """Yield the end of a run that reached its time limit."""
        message = f"The assistant is still running. Start a run without a new message to get the outcome, or see {self._link()}"
        yield from self.run_error(message, "still-at-work", view)

    def _rest(self, view: AssistantView) -> Iterator[BaseEvent]:
        if view.status is AssistantStatus.FAILED or (view.error and view.status is AssistantStatus.AWAITING_INPUT):
            error = view.error or StepError(type="Failed", message="the assistant failed")
            yield from self.run_error(error.message, error.type, view)
            return
        yield from self._closed()
        stopped = view.status is AssistantStatus.CANCELLED or view.question is not None
        if stopped:
            yield RunFinishedEvent(**self._ids, outcome=RunFinishedCancelledOutcome(), usage=self._usage(view))
            return
        result = {"assistant_id": view.id, "status": view.status, "link": self._link()}
        outcome = RunFinishedSuccessOutcome()
        yield RunFinishedEvent(**self._ids, outcome=outcome, result=result, usage=self._usage(view))

    def _interrupts(self, view: AssistantView) -> list[Interrupt]:
        if view.status in ENDED:
            return []
        approvals, _ = bounded([shown_approval(found, view.id, self._base) for found in waiting(view)])
        asked = [self._approval(approval, view) for approval in approvals]
        if view.question and view.question_id and view.question_id not in self._turn.abandoned:
            name = interrupt_id(view.id, QUESTION, view.question_id)
            asked.append(
                Interrupt(
                    id=name,
                    reason="input_required",
                    message=safe(view.question),
                    response_schema=_QUESTION_SCHEMA,
                    metadata={"retinue": {"link": self._link()}},
                )
            )
        return asked

    def _approval(self, approval: ShownApproval, view: AssistantView) -> Interrupt:
        call = self._call(approval.step_id)
        is_call = approval.kind is ApprovalKind.ACTION and call in self._client.ids
        return Interrupt(
            id=interrupt_id(view.id, APPROVAL, approval.id),
            reason="tool_call" if is_call else "confirmation",
            message=approval.in_whole(),
            tool_call_id=call if is_call else None,
            response_schema=_decision_schema(approval),
            expires_at=approval.expires_at.isoformat() if approval.expires_at else None,
            metadata={"retinue": approval.model_dump(mode="json")},
        )

    def _planning(self, goes_on: bool) -> Iterator[BaseEvent]:
        if goes_on:
            yield from self._opened(_PLANNING)
        else:
            yield from self._ended(_PLANNING)

    def _step(self, step: StepView) -> Iterator[BaseEvent]:
        """Yield a step as a phase of the run and as a tool call with its result."""
        call, name = self._call(step.id), f"{step.id}: {step.tool}"
        never_began = step.status in _TO_COME or (step.status is StepStatus.CANCELLED and step.started_at is None)
        if never_began or self._is_old(step, call):
            return
        if step.status in _AT_WORK or call not in self._client.ids:
            yield from self._opened(name)
        if call not in self._client.ids:
            yield from self._called(call, step)
        if step.status not in _AT_WORK:
            yield from self._result(call, step)
            yield from self._ended(name)

    def _is_old(self, step: StepView, call: str) -> bool:
        """Return whether an earlier run sent it to a client that did not keep it."""
        return call not in self._client.ids and step.finished_at is not None and step.finished_at < self._turn.since

    def _called(self, call: str, step: StepView) -> Iterator[BaseEvent]:
        self._client.ids[call] = ""
        yield ToolCallStartEvent(tool_call_id=call, tool_call_name=step.tool)
        yield ToolCallArgsEvent(tool_call_id=call, delta=_json(step.args))
        yield ToolCallEndEvent(tool_call_id=call)

    def _result(self, call: str, step: StepView) -> Iterator[BaseEvent]:
        name = f"{call}/result"
        if name in self._client.ids:
            return
        self._client.ids[name] = ""
        yield ToolCallResultEvent(message_id=name, tool_call_id=call, content=_json(_outcome(step)), role="tool")

    def written(self, offset: int, text: str) -> Iterator[BaseEvent]:
        """Yield a piece of the next message while a model writes it."""
        name = self._client.writing or self._message(self._client.messages)
        have = self._client.ids.get(name, "")
        if self._client.writing is None:
            if offset or name in self._client.ids:
                return
            self._client.writing, self._client.whole = name, True
            yield TextMessageStartEvent(message_id=name, role="assistant")
        self._client.whole = self._client.whole and offset == len(have) and len(have) + len(text) <= _TEXT
        text = safe(text)
        if self._client.whole:
            self._client.ids[name] = have + text
            yield TextMessageContentEvent(message_id=name, delta=text)

    def _messages(self, messages: dict[int, Message]) -> Iterator[BaseEvent]:
        """Yield new messages of the assistant; the person's own messages are not repeated."""
        for index in sorted(index for index in messages if index >= self._client.messages):
            self._client.messages = index + 1
            if messages[index].role is Role.ASSISTANT:
                yield from self._text_message(self._message(index), self._cut(messages[index].text))

    def _text_message(self, name: str, text: str) -> Iterator[BaseEvent]:
        """Yield a message, or the rest of one that the client has in part."""
        writing = self._client.writing
        have = self._client.ids.get(writing or name)
        if have is not None and not writing and (have == text or not text.startswith(have)):
            return
        rest = text.removeprefix(have or "") if text.startswith(have or "") else f"\n\n{text}"
        name, self._client.writing = writing or name, None
        self._client.ids[name] = text
        if not writing:
            yield TextMessageStartEvent(message_id=name, role="assistant")
        for start in range(0, len(rest), _PIECE):
            yield TextMessageContentEvent(message_id=name, delta=rest[start : start + _PIECE])
        yield TextMessageEndEvent(message_id=name)

    def _message(self, index: int) -> str:
        return f"{self._turn.assistant_id}/m{index}"

    def _cut(self, text: str) -> str:
        return safe_excerpt(text, _TEXT, more=f"; see {self._link()}")

    def _state(self, view: AssistantView) -> Iterator[BaseEvent]:
        """Yield the state: a snapshot first, then deltas."""
        now, before = self._standing(view), self._client.state
        self._client.state = now
        if before is None:
            yield StateSnapshotEvent(snapshot={"assistant": now})
        elif patch := list(_patch(before, now)):
            yield StateDeltaEvent(delta=patch)

    def _standing(self, view: AssistantView) -> dict[str, Any]:
        steps = view.plan.steps[-_STEPS:] if view.plan else []
        return {
            "id": view.id,
            "status": view.status.value,
            "steps": [{"id": step.id, "tool": step.tool, "status": step.status.value} for step in steps],
            "steps_left_out": len(view.plan.steps) - len(steps) if view.plan else 0,
            "notices": [safe(notice[:_NOTICE]) for notice in view.notices[-_NOTICES:]],
            "link": self._link(),
        }

    def _opened(self, name: str) -> Iterator[BaseEvent]:
        if name not in self._client.open:
            self._client.open[name] = None
            yield StepStartedEvent(step_name=name)

    def _ended(self, name: str) -> Iterator[BaseEvent]:
        if name in self._client.open:
            del self._client.open[name]
            yield StepFinishedEvent(step_name=name)

    def _closed(self) -> Iterator[BaseEvent]:
        """Yield the end of everything open, as a run may not end before."""
        if self._client.writing:
            yield TextMessageEndEvent(message_id=self._client.writing)
            self._client.writing = None
        for name in list(self._client.open):
            yield from self._ended(name)

    def _usage(self, view: AssistantView) -> list[TokenUsage] | None:
        """Return the usage by model since this run of the protocol started."""
        before, found = self._turn.before, []
        for name, used in view.usage.models.items():
            known = before.models.get(name)
            read, written = used.input_tokens, used.output_tokens
            if known:
                read, written = read - known.input_tokens, written - known.output_tokens
            if read > 0 or written > 0:
                found.append(
                    TokenUsage(model=name, input_tokens=read, output_tokens=written, total_tokens=read + written)
                )
        return found or None

    def _call(self, step_id: str) -> str:
        return f"{self._turn.assistant_id}/{step_id}"

    def _link(self) -> str:
        return address(self._base, self._turn.assistant_id)


def _decision_schema(approval: ShownApproval) -> dict[str, Any]:
    """Return the schema of a decision: it names the hash of what was shown."""
    return {
        "type": "object",
        "properties": {
            "decision": {"enum": ["approve", "reject", "edit"]},
            "args_hash": {"const": approval.args_hash},
            "args": {"type": "object", "description": "for `edit`: the new arguments, all of them"},
            "comment": {"type": "string", "maxLength": 2000},
        },
        "required": ["decision", "args_hash"],
    }


def _outcome(step: StepView) -> JsonValue:
    if step.status is StepStatus.COMPLETED:
        return step.result
    shown: dict[str, JsonValue] = {"status": step.status.value}
    if step.error:
        shown["error"] = {"type": step.error.type, "message": step.error.message[:500]}
    return shown


def _json(value: JsonValue) -> str:
    return json.dumps(cut(value, _VALUE_BYTES), ensure_ascii=False)


def _patch(before: dict[str, Any], now: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the difference as JSON Patch below `/assistant`: single steps if their number is unchanged, otherwise all."""
    for name, value in now.items():
        if value == before[name]:
            continue
        if name == "steps" and len(value) == len(before[name]):
            yield from _replaced(enumerate(value), before[name])
        else:
            yield {"op": "replace", "path": f"/assistant/{name}", "value": value}


def _replaced(steps: Iterable[tuple[int, Any]], before: list[Any]) -> Iterator[dict[str, Any]]:
    for place, step in steps:
        if step != before[place]:
            yield {"op": "replace", "path": f"/assistant/steps/{place}", "value": step}


def _refusal(turn: StartedTurn) -> tuple[str, str]:
    """Why answers were not recorded, in words, and the kind of the first reason."""
    problems = "; ".join(
        f"{error.message} ({error.hint})" if error.hint else error.message for error in turn.refused[:5]
    )
    recorded = f"{turn.recorded} answers were recorded, others not: " if turn.recorded else ""
    return f"{recorded}{problems}"[:2000], type(turn.refused[0]).__name__
