"""The person of a case: asks, decides as the case says, sends the next messages, and notes what was seen."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cli.connection import patiently
from cli.evaluation.cases import Case
from cli.evaluation.dates import Clock
from cli.evaluation.judge import Outcome
from retinue.client import Client, ClientError, Conflict
from retinue.client.models import Approval, Assistant, Usage

Result = TypeVar("Result")
_FIRST_PAUSE, _LONGEST_PAUSE, _FACTOR = 0.1, 1.0, 1.25
"""Seconds between two looks: short at first, so that times are exact; longer while a slow model needs the processor."""
_PATIENCE = 60.0
_CANCEL = 30.0


@dataclass
class Seen:
    """An outcome, as far as a person sees it, and what it cost."""

    outcome: Outcome = field(default_factory=Outcome)
    tools: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0


class Person:
    """Carries out the conversation of one case.

    Args:
        client: With the person's token.
        case: What they want.
        clock: For days in their messages.
        web: The address of the case's pages.
        limit: Seconds until they give up.
        stopping: Set when they are to give up at once.
    """

    def __init__(
        self, client: Client, case: Case, clock: Clock, web: str, *, limit: float, stopping: threading.Event
    ) -> None:
        self._client = client
        self._case = case
        self._limit = limit
        self._stopping = stopping
        self._messages = [clock.filled(text).replace("{web}", web) for text in (case.request, *case.then)]
        self._decisions = list(case.decisions)
        self._sent = 0
        self._asked: dict[str, str] = {}
        self._acted: dict[str, str] = {}
        self._tools: dict[str, str] = {}
        self._questions: dict[str, str] = {}

    def carry_out(self) -> Seen:
        """Ask and go on until the assistant has ended, needs a message that the case does not have, or takes too long."""
        seen, began = Seen(), time.monotonic()
        try:
            view = self._until_over(began + self._limit)
            seen.seconds = time.monotonic() - began
            seen.outcome.out_of_time = time.monotonic() > began + self._limit
            self._note(seen, view)
            if not view.ended:
                self._cancel(view)
        except ClientError as error:
            seen.seconds = time.monotonic() - began
            seen.outcome.error = str(error)
        return seen

    def _until_over(self, deadline: float) -> Assistant:
        view, pause = self._start(), _FIRST_PAUSE
        while True:
            self._look_at(view)
            waits = self._may_speak(view)
            if view.ended or (waits and not self._messages) or time.monotonic() > deadline or self._stopping.is_set():
                return view
            if view.pending:
                self._decide(view.id, view.pending[0])
            elif waits:
                self._say(view, self._messages.pop(0))
            pause = _FIRST_PAUSE if view.pending or waits else min(pause * _FACTOR, _LONGEST_PAUSE)
            self._stopping.wait(pause)
            view = self._read(view.id)

    def _may_speak(self, view: Assistant) -> bool:
        """Whether the assistant waits for a message, and has read the last one."""
        read = sum(message.role == "user" for message in view.messages) + view.earlier_messages
        return view.status == "awaiting_input" and read >= self._sent

    def _start(self) -> Assistant:
        key, request = uuid.uuid4().hex, self._messages.pop(0)
        self._sent = 1
        return _patiently(
            lambda: self._client.assistants.start(
                request,
                timezone=self._case.timezone,
                mode="chat" if self._case.then else "task",
                idempotency_key=key,
            )
        )

    def _read(self, assistant_id: str) -> Assistant:
        return _patiently(lambda: self._client.assistants.get(assistant_id))

    def _decide(self, assistant_id: str, approval: Approval) -> None:
        decision = self._decisions.pop(0) if self._decisions else "approve"
        with contextlib.suppress(Conflict):  # it was decided, or is no longer asked
            _patiently(
                lambda: self._client.approvals.decide(assistant_id, approval.id, decision, args_hash=approval.args_hash)
            )

    def _say(self, view: Assistant, text: str) -> None:
        key = uuid.uuid4().hex
        self._sent += 1
        _patiently(
            lambda: self._client.assistants.send_message(
                view.id, text, question_id=view.question_id, idempotency_key=key
            )
        )

    def _look_at(self, view: Assistant) -> None:
        for approval in view.approvals:
            self._asked[approval.id] = f"{approval.tool} {_text(approval.args)}"
        for step in view.steps:
            self._tools[step.id] = step.tool
            if step.effect and step.status in ("running", "completed", "unknown"):
                self._acted[step.id] = f"{step.tool} {_text(step.args)}"
        if view.question:
            self._questions[view.question_id or view.question] = view.question

    def _note(self, seen: Seen, view: Assistant) -> None:
        seen.outcome.status = view.status
        seen.outcome.reply = view.question or view.reply or (view.error.message if view.error else "")
        seen.outcome.questions = list(self._questions.values())
        seen.outcome.asked = list(self._asked.values())
        seen.outcome.acted = list(self._acted.values())
        seen.tools = list(self._tools.values())
        seen.usage = view.usage

    def _cancel(self, view: Assistant) -> None:
        """Cancel what still runs, so that nothing happens after the stores are read."""
        with contextlib.suppress(ClientError):
            _patiently(lambda: self._client.assistants.cancel(view.id))
        deadline = time.monotonic() + _CANCEL
        while not self._read(view.id).ended and time.monotonic() < deadline:
            time.sleep(_FIRST_PAUSE)


def _patiently(call: Callable[[], Result]) -> Result:
    return patiently(call, on_wait=lambda _: None, seconds=_PATIENCE)


def _text(args: object) -> str:
    return json.dumps(args, ensure_ascii=False)
