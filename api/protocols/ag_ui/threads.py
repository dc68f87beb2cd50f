"""Maps a thread to its assistant, and adds a run's message or answers to interrupts.

A thread is one assistant in chat mode. Clients of this protocol store no state here, so a table by hash maps it, the
same that `api.protocols.openai` uses. A repeated run changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.auth.principals import Permission
from api.events.cursor import EventCursor
from api.protocols.ag_ui.schemas import Answer, ClientMessage, RunInput
from api.protocols.shared.call_context import CallContext
from api.protocols.shared.conversations import ConversationPosition, ConversationPositions
from api.protocols.shared.history import credited
from api.protocols.shared.run_summary import waiting
from api.services.schemas import DecisionBody, MessageBody, StartBody
from api.storage.idempotency import Claim
from retinue.conversation import Message, Usage
from retinue.errors import Conflict, InvalidArguments, NotFound, RetinueError, ServiceUnavailable
from workflows.messages import (
    ENDED,
    ApprovalStatus,
    ApprovalView,
    AssistantView,
    ContinuedState,
    DecisionKind,
    Mode,
    SendMessage,
    StartAssistant,
)

APPROVAL = "approval"
QUESTION = "question"
_LONGEST = {APPROVAL: 100, QUESTION: 40}

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class StartedTurn:
    """A run of the protocol that was recorded.

    Args:
        assistant_id: The assistant behind the thread.
        told: How many of its messages the client already has.
        since: When the client got them.
        after: The event after which changes are news: earlier ones precede this run's own change.
        before: The model usage before this run.
        abandoned: Questions that the person does not want to answer.
        refused: Why answers were not recorded, with the kind of the first error.
        recorded: How many answers were recorded.
    """

    assistant_id: str
    told: int
    since: datetime
    after: str
    before: Usage
    abandoned: frozenset[str] = frozenset()
    refused: tuple[RetinueError, ...] = ()
    recorded: int = 0


def interrupt_id(assistant_id: str, kind: str, name: str) -> str:
    """Return a unique id of an interrupt, so that an answer to an old one never applies to a new one."""
    return f"{assistant_id}/{kind}/{name}"


class Thread:
    """One run of one thread.

    Args:
        asked: The client's request.
        call: The caller's context.
    """

    def __init__(self, asked: RunInput, call: CallContext) -> None:
        self._asked = asked
        self._call = call
        self._runs = call.runs
        self._positions = ConversationPositions(call.state.keys.store)
        self._name = self._digest("thread")

    async def start(self) -> StartedTurn:
        """Send the new message to the assistant, or record answers.

        Raises:
            InvalidArguments: There is no message, or the run's id was used for another run.
            NotFound: The thread is unknown, and there is no message to start it.
            TooMany: The caller already reads too many runs.
        """
        async with self._once():
            place, view, answered = await (self._resumed() if self._asked.resume else self._spoken())
            await self._call.events.ended(place.assistant_id)
            description = await self._runs.readable(place.assistant_id)
        after = EventCursor().format_event_id(description.run_id or "", int(description.history_length))
        turn = StartedTurn(place.assistant_id, place.told, place.at, after, view.usage)
        return replace(turn, **answered)

    async def reach(self, turn: StartedTurn, messages: int) -> None:
        """Store how many messages the client has, unless the thread has another assistant by now."""
        known = await self._positions.find(self._name)
        if known and known.assistant_id == turn.assistant_id:
            await self._positions.reach(self._name, turn.assistant_id, messages)

    @asynccontextmanager
    async def _once(self) -> AsyncIterator[None]:
        """Claim this run's id: one request at a time, always with the same body."""
        message = [(message.id, message.text) for message in self._asked.messages[-1:]]
        answers = [answer.model_dump(mode="json") for answer in self._asked.resume or ()]
        keys, key = self._call.state.keys, f"ag-ui {self._digest('run', self._asked.run_id)}"
        body = json.dumps([message, answers])
        claim = await keys.claim(owner=self._call.person.owner, key=key, body=body, named="runId")
        try:
            yield
        finally:
            await keys.give_back(claim)

    async def _spoken(self) -> tuple[ConversationPosition, AssistantView, dict[str, Any]]:
        """Handle a message, or a request without one for the current state."""
        message = self._asked.asked
        name = self._digest("said", message.id, message.text) if message else ""
        known = await self._positions.find(name) if message else None
        thread = await self._positions.find(self._name)
        place = known or await self._place(thread, message)
        if message and not known:
            taken = await self._positions.take(name, place)
            known, place = (None if taken is place else taken), taken
        if message and place.begins:
            view = await self._start(message, place, repeated=known is not None)
            if thread is None or known is None:
                await self._positions.reach(self._name, place.assistant_id, place.told)
            return place, view, {}
        view = await self._runs.view(place.assistant_id)
        if message and not waiting(view) and view.status not in ENDED:
            await self._runs.send_message(place.assistant_id, SendMessage(text=message.text, key=name))
        return place, view, {}

    async def _place(self, thread: ConversationPosition | None, message: ClientMessage | None) -> ConversationPosition:
        """Return the thread's position; at the start of a new assistant if none is open."""
        if thread and (message is None or await self._listens(thread)):
            return replace(thread, begins=False)
        if message is None:
            raise NotFound("this thread has no messages yet", hint="the last message must be the user's, with a text")
        return ConversationPosition(
            f"a-{uuid.uuid4().hex}", len(self._asked.earlier()), begins=True, at=datetime.now(UTC)
        )

    async def _listens(self, thread: ConversationPosition) -> bool:
        try:
            view = await self._runs.view(thread.assistant_id)
        except NotFound:
            return False
        return view.status not in ENDED

    async def _start(self, message: ClientMessage, place: ConversationPosition, *, repeated: bool) -> AssistantView:
        """Start the assistant; idempotent."""
        given = self._given(message, await self._known_messages())
        return await self._runs.begin(given, claimed=Claim(place.assistant_id, place.at, repeated=repeated))

    async def _known_messages(self) -> list[Message]:
        """Return the messages of the thread's last assistant, if it is still known."""
        thread = await self._positions.find(self._name)
        if thread is None:
            return []
        try:
            return (await self._runs.view(thread.assistant_id)).messages
        except NotFound:
            return []

    def _given(self, message: ClientMessage, known: Sequence[Message]) -> StartAssistant:
        """Return the input of a new chat, preceded by the messages of the previous assistant."""
        timezone = self._asked.timezone or self._call.state.settings.retinue_timezone
        given = self._runs.input_for(StartBody(message=message.text, mode=Mode.CHAT), timezone=timezone)
        earlier = credited(self._asked.earlier(), known)
        if not earlier:
            return given
        carried = ContinuedState(
            messages=earlier, inbox=[SendMessage(text=message.text, key=self._digest("said", message.id))]
        )
        return given.model_copy(update={"continued": carried})

    async def _resumed(self) -> tuple[ConversationPosition, AssistantView, dict[str, Any]]:
        """Record the answers separately."""
        thread = await self._positions.find(self._name)
        if thread is None:
            raise NotFound("this thread has no pending interrupt")
        place = await self._positions.take(self._digest("run", self._asked.run_id), replace(thread, begins=False))
        view = await self._runs.view(place.assistant_id)
        abandoned: set[str] = set()
        refused: list[RetinueError] = []
        answers = self._asked.resume or []
        for answer in answers:
            try:
                abandoned |= await self._answer(place.assistant_id, answer)
            except ServiceUnavailable:
                raise
            except RetinueError as error:
                refused.append(error)
        answered = {
            "abandoned": frozenset(abandoned),
            "refused": tuple(refused),
            "recorded": len(answers) - len(refused),
        }
        return place, view, answered

    async def _answer(self, assistant_id: str, answer: Answer) -> set[str]:
        """Record one answer. Return the question that it abandons, if any."""
        whose, _, about = answer.interrupt_id.partition("/")
        kind, _, name = about.partition("/")
        if whose != assistant_id or not 0 < len(name) <= _LONGEST.get(kind, 0):
            raise NotFound(f"this thread has no pending interrupt {answer.interrupt_id[:80]!r}")
        if kind == APPROVAL:
            await self._decide(assistant_id, name, answer)
            return set()
        if answer.status == "cancelled":
            return {name}
        text = _words(answer)
        key = self._digest("answer", answer.interrupt_id, text)
        await self._runs.send_message(assistant_id, SendMessage(text=text, key=key, question_id=name))
        return set()

    async def _decide(self, assistant_id: str, approval_id: str, answer: Answer) -> None:
        """Decide by the usual update. A repeated decision of the same person is accepted."""
        self._call.person.check(Permission.DECIDE)
        body = await self._decision(assistant_id, approval_id, answer)
        try:
            await self._runs.decide(assistant_id, approval_id, body)
        except Conflict:
            approval = await self._approval(assistant_id, approval_id)
            if not _stands(approval, body, self._call.person.owner):
                raise

    async def _decision(self, assistant_id: str, approval_id: str, answer: Answer) -> DecisionBody:
        """Return the person's decision. An abandoned approval is rejected with its current arguments."""
        if answer.status == "resolved":
            return _read(DecisionBody, answer.payload, "text approves nothing: send `decision` and `args_hash`")
        approval = await self._approval(assistant_id, approval_id)
        return DecisionBody(decision=DecisionKind.REJECT, args_hash=approval.args_hash)

    async def _approval(self, assistant_id: str, approval_id: str) -> ApprovalView:
        view = await self._runs.view(assistant_id)
        found = next((approval for approval in view.approvals if approval.id == approval_id), None)
        if found is None:
            raise NotFound(f"there is no approval {approval_id!r}")
        return found

    def _digest(self, *parts: str) -> str:
        text = json.dumps(["ag-ui", self._call.person.owner, self._asked.thread_id, *parts], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _words(answer: Answer) -> str:
    """Return the answer to a question: a text, or an object as in the interrupt's schema."""
    message = answer.payload.get("answer") if isinstance(answer.payload, dict) else answer.payload
    return _read(MessageBody, {"message": message}, "answer with a text").message


def _read(kind: type[Body], content: object, hint: str) -> Body:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"/{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise InvalidArguments(f"an answer is invalid: {wrong}"[:1000], hint=hint) from None


def _stands(approval: ApprovalView, body: DecisionBody, owner: str) -> bool:
    """Return whether exactly this decision of this person is already recorded."""
    if approval.status is ApprovalStatus.PENDING:
        voted = owner in {vote.by for vote in approval.votes}
        return voted and body.decision is DecisionKind.APPROVE and body.args_hash == approval.args_hash
    if (approval.decision, approval.decided_by) != (body.decision, owner):
        return False
    return approval.args == body.args if body.args is not None else approval.args_hash == body.args_hash
