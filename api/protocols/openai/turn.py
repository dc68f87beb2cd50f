"""One request of a chat client: find its run, send the new message, wait, and build the answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from api.events.broker import Reader, RunEvents
from api.events.drafts import REPLY
from api.events.model import Event, EventKind
from api.protocols.openai.history import History
from api.protocols.shared.conversations import ConversationPosition, ConversationPositions, is_past
from api.protocols.shared.history import credited, last_messages
from api.protocols.shared.run_summary import address, bounded, shown_approval, waiting
from api.services.runs import Runs
from api.services.schemas import StartBody
from api.storage.idempotency import Claim
from retinue.conversation import Message, Role, Usage
from retinue.errors import Conflict, NotFound
from retinue.text import safe
from workflows.messages import (
    ENDED,
    AssistantStatus,
    AssistantView,
    ContinuedState,
    Mode,
    SendMessage,
    StartAssistant,
)

SAME = timedelta(minutes=10)
"""Period in which the same message without a history is a repeated request; later it is a new one."""
ALIVE = 10.0
"""Seconds between keep-alive comments of a stream."""
WAIT = 240.0
"""Default seconds to wait for an answer that is not streamed."""
STREAMED_WAIT = 840.0
PIECE = 600
"""Characters per chunk of an answer."""
STREAM = "text/event-stream"
NO_STORE = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_TELLING = frozenset({EventKind.STATUS, EventKind.MESSAGE, EventKind.APPROVAL, EventKind.QUESTION, EventKind.END})
_LOOKS_AT_END, _STOP_WAIT = 3, 3.0
"""Number of waits, and seconds of each, for the end of a cancelled run."""
_AGAIN = 1.0
"""Seconds between two looks at a run that can no longer be followed."""


class Outcome(StrEnum):
    """The outcome of a turn."""

    ANSWERED = "answered"
    ENDED = "ended"
    WORKING = "working"


@dataclass(frozen=True)
class TurnAnswer:
    """An answer.

    Args:
        outcome: Whether the assistant answered (or asks for something), ended without an answer, or is still running.
        text: The whole text, including pieces that were already sent.
        view: The run behind it.
        reached: How many of the run's messages the client has with it.
        usage: The usage since the request.
    """

    outcome: Outcome
    text: str
    view: AssistantView
    reached: int
    usage: Usage


class Turn:
    """One request.

    Args:
        history: The client's history.
        runs: The caller's runs.
        events: The events of these runs.
        positions: The table of conversations.
        base: The API's address as the caller reached it, with a trailing slash.
        timezone: The default time zone.
    """

    def __init__(
        self,
        history: History,
        *,
        runs: Runs,
        events: RunEvents,
        positions: ConversationPositions,
        base: str,
        timezone: str,
    ) -> None:
        self._history = history
        self._runs = runs
        self._events = events
        self._positions = positions
        self._base = base
        self._timezone = timezone
        self._before = Usage()
        self._repeated = True
        self._notes = True
        self._pieces = ""
        self._began_anew = False
        self._place = ConversationPosition("", 0, begins=False, at=datetime.now(UTC))

    async def begin(self) -> None:
        """Find or start the run, and send it the new message, unless it waits for a decision.

        Raises:
            RetinueError: As for the routes of assistants.
        """
        self._place = await self._found()
        if self._place.begins:
            await self._start()
            return
        view = await self._readable(self._place)
        self._before = view.usage
        if _asked_at(view, self._place.told, self._history.asked) is None and not waiting(view):
            message = SendMessage(
                text=self._history.asked, key=f"{self._history.request} {self._place.told}", **self._form
            )
            await self._runs.send_message(self._place.assistant_id, message)

    async def resume(self, request: str) -> AssistantView:
        """Continue an earlier request, by its name. Return the view of its run.

        Raises:
            NotFound: It does not exist, or belongs to another person.
            Conflict: It is too long ago.
        """
        place = await self._positions.find(request)
        if place is None:
            raise _no_response()
        self._place, self._notes = place, False
        try:
            view = await self._readable(place)
        except NotFound:
            raise _no_response() from None
        said = (_at(view, index) for index in range(place.told, view.earlier_messages + len(view.messages)))
        asked = next((message.text for message in said if message and message.role is Role.USER), "")
        self._history = replace(self._history, asked=asked)
        return view

    def heard(self, view: AssistantView) -> list[tuple[int, Message]]:
        """Return the messages up to this request, including it, by position, as far as the view has them."""
        at = _asked_at(view, self._place.told, self._history.asked)
        until = self._place.told if at is None else at + 1
        found = ((index, _at(view, index)) for index in range(until))
        return [(index, message) for index, message in found if message]

    async def stop(self, view: AssistantView) -> None:
        """Cancel the run if it works on this request or waits for a decision about it, and wait a little for its end."""
        at = _asked_at(view, self._place.told, self._history.asked)
        said_since = at is not None and _was_followed(view, at)
        if said_since or _rests(view):
            return
        with suppress(Conflict):  # it has ended meanwhile
            await self._runs.cancel(view.id)
        for _ in range(_LOOKS_AT_END):
            if (await self._runs.settled(view.id, seconds=_STOP_WAIT, mine=True)).status in ENDED:
                return

    async def _readable(self, place: ConversationPosition) -> AssistantView:
        view = await self._runs.view(place.assistant_id)
        if view.earlier_messages > place.told:
            raise Conflict("this part of the conversation is too old to be read again")
        return view

    @property
    def since(self) -> datetime:
        """When the request was first made."""
        return self._place.at

    async def answer(self, seconds: float, *, in_pieces: bool = False) -> AsyncGenerator[TurnAnswer | str | None, None]:
        """Yield the answer, and None after every `ALIVE` seconds without progress.

        Args:
            seconds: Time limit, after which the answer says that the assistant is still running.
            in_pieces: Yield pieces of its beginning while the model writes it.
        """
        assistant_id = self._place.assistant_id
        deadline = asyncio.get_running_loop().time() + seconds
        await self._events.ended(assistant_id)
        async with self._events.reader(assistant_id) as reader:
            view = await self._runs.view(assistant_id)
            while True:
                left = deadline - asyncio.get_running_loop().time()
                if (text := self._complete(view)) is not None:
                    yield await self._turn_answer(Outcome.ANSWERED, view, text)
                    return
                if view.status in ENDED:
                    yield await self._turn_answer(Outcome.ENDED, view, self._ended(view))
                    return
                if left <= 0:
                    yield await self._turn_answer(Outcome.WORKING, view, self._works(view))
                    return
                news = await _news(reader, min(ALIVE, left))
                if in_pieces and (piece := self._piece(view, news.pieces)):
                    yield piece
                elif not (news.any or news.pieces):
                    yield None
                if not news.pieces or news.any:
                    view = await self._runs.view(assistant_id)

    def _piece(self, view: AssistantView, pieces: Sequence[Event]) -> str:
        """Return the model's new text, if the answer is certain to begin with it."""
        at = _asked_at(view, self._place.told, self._history.asked)
        if at is None or _unseen(view, self._place.told, at) or _following(view, at):
            return ""
        known = len(self._pieces)
        for piece in pieces:  # sent text cannot be corrected when another attempt starts
            self._began_anew |= piece.data["offset"] != len(self._pieces)
            self._pieces += "" if self._began_anew else safe(piece.data["text"])
        return self._pieces[known:]

    async def _found(self) -> ConversationPosition:
        """Return the position of this request: known, after a known one, or the start of a new run."""
        history, now = self._history, datetime.now(UTC)
        known = await self._positions.find(history.request)
        past = known if known and self._is_over(known) else None
        if known and not past:
            return known
        before = await self._earlier_place()
        view = await self._view_of(before) if before else None
        if history.after is not None and view is None:
            raise _no_response()
        if before and view and view.status not in ENDED:
            place = ConversationPosition(before.assistant_id, before.told, begins=False, at=now)
        else:
            if view and history.after is not None:  # the client sent no earlier messages
                history = self._history = replace(history, earlier=tuple(last_messages(view.messages)))
            elif view:
                history = self._history = replace(history, earlier=tuple(credited(history.earlier, view.messages)))
            place = ConversationPosition(f"a-{uuid.uuid4().hex}", len(history.earlier), begins=True, at=now)
        taken = await self._positions.take(history.request, place, instead_of=past)
        self._repeated = taken is not place
        return taken

    def _is_over(self, known: ConversationPosition) -> bool:
        """Return whether the same message counts as new by now: with a history it would follow another one."""
        return not self._history.earlier and self._history.after is None and is_past(known, SAME)

    async def _earlier_place(self) -> ConversationPosition | None:
        """Return the position before this request."""
        history = self._history
        if history.place is None:
            return None
        found = await self._positions.find(history.place)
        if found is None and history.after is not None:  # no client waited for that answer
            return await self._positions.find(history.after)
        return found

    async def _view_of(self, place: ConversationPosition) -> AssistantView | None:
        """Return the run to continue. A run that the caller may only read is another person's."""
        try:
            view = await self._runs.view(place.assistant_id)
        except NotFound:
            return None
        return view if self._runs.are_of(view.owner) else None

    async def _start(self) -> None:
        """Start the run; idempotent."""
        claim = Claim(self._place.assistant_id, self._place.at, repeated=self._repeated)
        view = await self._runs.begin(self._given(), claimed=claim)
        self._before = view.usage

    def _given(self) -> StartAssistant:
        """Return the input of a new chat, preceded by the client's history of a forgotten run."""
        body = StartBody(message=self._history.asked, mode=Mode.CHAT)
        given = self._runs.input_for(body, timezone=self._timezone)
        if not self._history.earlier:
            return given.model_copy(update=self._form)
        asked = SendMessage(text=self._history.asked, key=self._history.request, **self._form)
        carried = ContinuedState(messages=self._history.for_planners(), inbox=[asked])
        return given.model_copy(update={"continued": carried})

    @property
    def _form(self) -> dict[str, Any]:
        """Return the options of the answer's format, without defaults."""
        return {} if self._history.schema is None else {"answer_schema": dict(self._history.schema)}

    def _complete(self, view: AssistantView) -> str | None:
        """Return the answer once the run has answered, asks, or waits for a decision."""
        at = _asked_at(view, self._place.told, self._history.asked)
        following = [] if at is None else _following(view, at)
        if at is not None and (_was_followed(view, at) or (following and _rests(view))):
            said = [*_unseen(view, self._place.told, at), *following]
            return "\n\n".join([*said, *self._needs(view)])
        if waiting(view):
            said = _unseen(view, self._place.told, at) if at is not None else self._since(view)
            return "\n\n".join([*said, *following, *self._needs(view)])
        return None

    def _since(self, view: AssistantView) -> list[str]:
        first = max(0, self._place.told - view.earlier_messages)
        return [message.text for message in view.messages[first:] if message.role is Role.ASSISTANT]

    def _needs(self, view: AssistantView) -> list[str]:
        """Return the pending approvals as text that cannot be mistaken for the answer."""
        approvals, left_out = bounded([shown_approval(found, view.id, self._base) for found in waiting(view)])
        if not approvals:
            return []
        told = [
            f"**{approval.title}** (`{approval.tool}`, approval `{approval.id}`)\n\n{_fenced(approval.in_whole())}"
            for approval in approvals
        ]
        more = [f"{left_out} more are pending there."] if left_out else []
        return [
            "This needs your approval. It has not been done:",
            *told,
            f"Decide here: {address(self._base, view.id)}",
            *more,
            "Messages in this chat approve nothing and are not passed on meanwhile. Once you have decided, write again "
            "to get the outcome.",
        ]

    def _ended(self, view: AssistantView) -> str:
        why = f": {view.error.message}" if view.error else ""
        ended = f"The assistant has ended ({view.status}{why}). See {address(self._base, view.id)}"
        return "\n\n".join([*self._since(view), ended])

    def _works(self, view: AssistantView) -> str:
        where = address(self._base, view.id)
        return f"The assistant is still running ({view.status}). Write again to get the outcome, or see {where}"

    async def _turn_answer(self, outcome: Outcome, view: AssistantView, text: str) -> TurnAnswer:
        text = safe(text)
        if not text.startswith(self._pieces):
            text = f"{self._pieces}\n\n{text}"
        reached = self._reached(view)
        for place in self._history.places_after(text) if self._notes else ():
            await self._positions.reach(place, view.id, reached)
        return TurnAnswer(outcome, text, view, reached, _less(view.usage, self._before))

    def _reached(self, view: AssistantView) -> int:
        """Return how many messages belong to the answer: up to the person's next one."""
        at = _asked_at(view, self._place.told, self._history.asked)
        if at is None:
            return view.earlier_messages + len(view.messages) if waiting(view) else self._place.told
        return at + 1 + len(_following(view, at))


def _no_response() -> NotFound:
    return NotFound("there is no response with that id", hint="responses are stored for 30 days")


@dataclass(frozen=True)
class _News:
    """What was received: whether it may contain the answer, and a model's text of it."""

    any: bool = False
    pieces: Sequence[Event] = ()


async def _news(reader: Reader, seconds: float) -> _News:
    """Return the first one within this many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        events = await reader.read(left)
        pieces = [event for event in events if event.kind is EventKind.TEXT and event.data["about"] == REPLY]
        if pieces or any(event.kind in _TELLING for event in events):
            return _News(any(event.kind in _TELLING for event in events), pieces)
        if reader.over:
            await asyncio.sleep(min(_AGAIN, left))
            return _News(any=True)
    return _News()


def _at(view: AssistantView, index: int) -> Message | None:
    place = index - view.earlier_messages
    return view.messages[place] if 0 <= place < len(view.messages) else None


def _asked_at(view: AssistantView, told: int, asked: str) -> int | None:
    """Return the request's position in the conversation; None if the run has not read it (yet)."""
    end = view.earlier_messages + len(view.messages)
    for index in range(max(told, view.earlier_messages), end):
        message = _at(view, index)
        if message and message.role is Role.USER and message.text == asked:
            return index
    return None


def _unseen(view: AssistantView, told: int, until: int) -> list[str]:
    """Return the assistant's messages before the request that the client never got."""
    found = (_at(view, index) for index in range(told, until))
    return [message.text for message in found if message and message.role is Role.ASSISTANT]


def _following(view: AssistantView, at: int) -> list[str]:
    """Return the assistant's messages after the request, up to the person's next one."""
    found: list[str] = []
    index = at + 1
    while (message := _at(view, index)) and message.role is Role.ASSISTANT:
        found.append(message.text)
        index += 1
    return found


def _was_followed(view: AssistantView, at: int) -> bool:
    """Return whether the person has sent another message since, so that the answer is complete."""
    return _at(view, at + 1 + len(_following(view, at))) is not None


def _rests(view: AssistantView) -> bool:
    return view.status is AssistantStatus.AWAITING_INPUT or view.status in ENDED


def _fenced(text: str) -> str:
    """Return the text in a code fence that its content cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _less(now: Usage, before: Usage) -> Usage:
    return Usage(
        requests=max(0, now.requests - before.requests),
        input_tokens=max(0, now.input_tokens - before.input_tokens),
        output_tokens=max(0, now.output_tokens - before.output_tokens),
    )
