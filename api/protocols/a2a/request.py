"""Requests of other agents, without the SDK: start, answer, decide and cancel, like the routes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from api.auth.principals import Permission
from api.protocols.shared.call_context import CallContext
from api.protocols.shared.conversations import ConversationPosition, ConversationPositions
from api.protocols.shared.history import last_messages
from api.protocols.shared.run_summary import waiting
from api.services.schemas import MAX_MESSAGE, DecisionBody, StartBody
from retinue.conversation import Message, Role
from retinue.errors import Conflict, InvalidArguments, NotFound
from workflows.messages import ENDED, AssistantStatus, AssistantView, ContinuedState, DecisionKind, SendMessage

WAIT = 25.0
"""Seconds for which a blocking call waits; later the caller reads the task or subscribes."""
_ID = 200


class Decided(BaseModel):
    """A decision as a data part of a message; text never approves."""

    model_config = ConfigDict(extra="forbid")

    decision: DecisionKind
    approval_id: str = Field(max_length=100)
    args_hash: str = Field(max_length=64)
    args: dict[str, JsonValue] | None = None
    comment: str | None = Field(None, max_length=2000)


@dataclass(frozen=True)
class IncomingMessage:
    """A message of another agent.

    Args:
        message_id: Its id, by which a repeated message is recognised.
        text: The text.
        data: The JSON data parts.
        task_id: The task it belongs to; empty for a new task.
        context_id: The context it continues; empty for a new context.
    """

    message_id: str
    text: str
    data: tuple[JsonValue, ...]
    task_id: str
    context_id: str

    @property
    def decides(self) -> bool:
        """Return whether a data part is a decision."""
        return any(isinstance(value, dict) and "decision" in value for value in self.data)

    @property
    def words(self) -> str:
        """Return the text, then each JSON value as text; keys sorted, since the SDK shuffles them."""
        values = [json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) for value in self.data]
        return "\n\n".join(part for part in (self.text, *values) if part.strip())


class MessageReceiver:
    """Handles the messages of another agent.

    Args:
        call: The caller's context.
    """

    def __init__(self, call: CallContext) -> None:
        self.call = call
        self.runs = call.runs

    async def take(self, incoming: IncomingMessage) -> str:
        """Handle a message and return the id of its task. On return the change is durable.

        Raises:
            NotFound: There is no such task.
            NotAllowed: The caller may not do this.
            InvalidArguments: The message is empty or invalid.
            Conflict: The task does not wait for such a message.
        """
        if not 0 < len(incoming.message_id) <= _ID or len(incoming.context_id) > _ID:
            raise InvalidArguments(f"messageId must have 1 to {_ID} characters, contextId at most {_ID}")
        if not incoming.task_id:
            return await self._start(incoming)
        await self._check_context(incoming)
        if incoming.decides:
            await self._decide(incoming)
        else:
            await self._answer(incoming)
        return incoming.task_id

    async def _check_context(self, incoming: IncomingMessage) -> None:
        """Check that the message names the task's own context."""
        if incoming.context_id:
            view = await self.runs.view(incoming.task_id)
            if incoming.context_id != await self.context_of(view.id):
                raise InvalidArguments("the task belongs to another context", hint="omit contextId, or correct it")

    async def _start(self, incoming: IncomingMessage) -> str:
        """Start an assistant; idempotent by the message's id."""
        self.call.person.check(Permission.ASK)
        if incoming.decides:
            raise InvalidArguments("a decision belongs to a task", hint="name the task that asked in taskId")
        words = _checked(incoming.words)
        key, body = f"a2a {incoming.message_id}", f"a2a {json.dumps([words, incoming.context_id])}"
        claim = await self.call.state.keys.claim(owner=self.call.person.owner, key=key, body=body, named="messageId")
        try:
            given = self.runs.input_for(StartBody(message=words), timezone=self.call.state.settings.retinue_timezone)
            before = await self._before(incoming.context_id) if incoming.context_id else []
            if before:
                asked = Message(role=Role.USER, text=words)
                given = given.model_copy(update={"continued": ContinuedState(messages=[*before, asked])})
            view = await self.runs.begin(given, claimed=claim)
            await self._note_context(view.id, incoming.context_id or view.id)
        finally:
            await self.call.state.keys.give_back(claim)
        return view.id

    async def _decide(self, incoming: IncomingMessage) -> None:
        self.call.person.check(Permission.DECIDE)
        for data in incoming.data:
            try:
                wanted = Decided.model_validate(data)
                body = DecisionBody.model_validate(wanted.model_dump(exclude={"approval_id"}, exclude_unset=True))
            except ValidationError as error:
                wrong = "; ".join(f"/{'/'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
                raise InvalidArguments(f"the data part is not a valid decision: {wrong}"[:1000]) from None
            await self.runs.decide(incoming.task_id, wanted.approval_id, body)

    async def _answer(self, incoming: IncomingMessage) -> None:
        """Answer the task's question. Text never approves: the relaying agent may have been manipulated."""
        view = await self.runs.view(incoming.task_id)
        self.call.person.check(Permission.ASK)
        words = _checked(incoming.words)
        if view.status in ENDED:
            raise Conflict("the task has ended", hint="to continue, send a message with its contextId and no taskId")
        if view.status is not AssistantStatus.AWAITING_INPUT and waiting(view):
            raise Conflict(
                "the task waits for a decision, and text decides nothing",
                hint='send a data part {"decision", "approval_id", "args_hash"} as the task\'s status shows them',
            )
        key = hashlib.sha256(incoming.message_id.encode("utf-8", "surrogatepass")).hexdigest()
        message = SendMessage(text=words, key=key, question_id=view.question_id)
        await self.runs.send_message(incoming.task_id, message)

    async def cancel(self, task_id: str) -> AssistantView:
        """Cancel a task.

        Raises:
            NotFound: There is no such task.
            Conflict: It has already ended.
        """
        view = await self.runs.view(task_id)
        self.call.person.check(Permission.ASK)
        if view.status in ENDED:
            raise Conflict("the task has ended")
        await self.runs.cancel(task_id, undo=False)
        return await self.runs.settled(task_id, seconds=WAIT, mine=True)

    async def _before(self, context_id: str) -> list[Message]:
        """Return the messages of a context for the next task. Answers may contain strangers' words."""
        place = await self._positions.find(self._name("latest", context_id))
        if place is None:
            return []
        try:
            view = await self.runs.view(place.assistant_id)
        except NotFound:
            return []
        return last_messages(view.messages)

    async def context_of(self, task_id: str) -> str:
        """Return the context of a task; an unknown one is its own context."""
        place = await self._positions.find(self._name("context", task_id))
        return place.assistant_id if place else task_id

    async def _note_context(self, task_id: str, context_id: str) -> None:
        now = datetime.now(UTC)
        of_task = ConversationPosition(context_id, 0, begins=True, at=now)
        await self._positions.take(self._name("context", task_id), of_task)
        latest = self._name("latest", context_id)
        known = await self._positions.find(latest)
        await self._positions.take(latest, ConversationPosition(task_id, 0, begins=True, at=now), instead_of=known)

    def _name(self, *parts: str) -> str:
        text = json.dumps(["a2a", self.call.person.owner, *parts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def _positions(self) -> ConversationPositions:
        return ConversationPositions(self.call.state.keys.store)


def _checked(words: str) -> str:
    """Return the text of a message.

    Raises:
        InvalidArguments: It is empty or too long.
    """
    if not words.strip():
        raise InvalidArguments("the message is empty", hint="send a text part or a data part")
    if len(words) > MAX_MESSAGE:
        raise InvalidArguments(f"text and data have more than {MAX_MESSAGE} characters together; shorten it")
    return words
