"""`/v1/responses`: the turns of Chat Completions, with an id for retrieval and continuation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response as HttpResponse
from fastapi.responses import StreamingResponse
from temporalio.service import RPCError

from api.auth.principals import Permission, Person
from api.deps import AppState, Caller, MyEvents, MyRuns, State, needs
from api.events.broker import RunEvents
from api.protocols.openai.errors import DOCUMENTED, OpenAiRoute, refusal
from api.protocols.openai.history import History, read
from api.protocols.openai.response_schemas import (
    InputItems,
    InputMessage,
    InputText,
    OutputMessage,
    OutputRefusal,
    OutputText,
    Response,
    ResponseBody,
    ResponseProblem,
    ResponseUsage,
)
from api.protocols.openai.schemas import ChatMessage, check_model, in_schema
from api.protocols.openai.turn import NO_STORE, PIECE, STREAM, STREAMED_WAIT, WAIT, Outcome, Turn, TurnAnswer
from api.protocols.shared.conversations import ConversationPositions
from api.protocols.shared.run_summary import shown
from api.services.runs import Runs
from retinue.conversation import Message, Role
from retinue.errors import InvalidArguments, RetinueError
from retinue.text import safe
from workflows.messages import AssistantStatus

router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAiRoute)
_ID = re.compile(r"resp_([0-9a-f]{64})")
_RESPONSES = "responses"
"""Separates these conversations from those of Chat Completions, which have no request ids."""


@router.post(
    "/responses",
    summary="Create a response",
    response_model=Response,
    responses={
        **DOCUMENTED,
        200: {"description": "The answer; with `stream` as server-sent events.", "content": {STREAM: {}}},
    },
    dependencies=[needs(Permission.ASK)],
)
async def create(
    body: ResponseBody, request: Request, runs: MyRuns, events: MyEvents, state: State, me: Caller
) -> Response | HttpResponse:
    """Return the assistant's answer to the last message of the input. `GET /v1/responses/{response_id}` reads it again."""
    check_model(body.model)
    history = _history(body, me.owner)
    turn = _turn(history, request, runs, events, state)
    await turn.begin()
    made = _Made(f"resp_{history.request}", turn, str(request.base_url), body, history.schema is not None)
    wanted = body.metadata.wait_seconds if body.metadata else None
    if body.stream:
        patience = STREAMED_WAIT if wanted is None else wanted
        return StreamingResponse(_streamed(made, patience), media_type=STREAM, headers=NO_STORE)
    patience = 0.0 if body.background else WAIT if wanted is None else wanted
    return made.response(await _answer(turn, patience))


@router.get(
    "/responses/{response_id}",
    summary="Read a response",
    responses=DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def retrieve(
    response_id: Annotated[str, Path(max_length=200)],
    request: Request,
    runs: MyRuns,
    events: MyEvents,
    state: State,
    me: Caller,
) -> Response:
    """Return the current state of a response."""
    turn = _earlier_turn(request, runs, events, state, me)
    await turn.resume(_request_of(response_id))
    return await _as_it_is(response_id, turn, request)


@router.get(
    "/responses/{response_id}/input_items",
    summary="What an answer was made from",
    responses=DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def input_items(
    response_id: Annotated[str, Path(max_length=200)],
    request: Request,
    runs: MyRuns,
    events: MyEvents,
    state: State,
    me: Caller,
    after: Annotated[str | None, Query(max_length=200, description="the id of the item before the page")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> InputItems:
    """Return the messages up to the answered one, including it."""
    turn = _earlier_turn(request, runs, events, state, me)
    view = await turn.resume(_request_of(response_id))
    items = [_item(view.id, index, message) for index, message in turn.heard(view)]
    return _page(items if order == "asc" else items[::-1], after, limit)


@router.post(
    "/responses/{response_id}/cancel",
    summary="Stop what an answer waits for",
    responses=DOCUMENTED,
    dependencies=[needs(Permission.ASK)],
)
async def cancel(
    response_id: Annotated[str, Path(max_length=200)],
    request: Request,
    runs: MyRuns,
    events: MyEvents,
    state: State,
    me: Caller,
) -> Response:
    """Cancel the assistant if it is still at work on this, or waits for a decision about it; an answer stays as it is."""
    turn = _earlier_turn(request, runs, events, state, me)
    await turn.stop(await turn.resume(_request_of(response_id)))
    return await _as_it_is(response_id, turn, request)


@router.delete(
    "/responses/{response_id}",
    summary="Refused: no record is deleted by this protocol",
    response_model=None,
    status_code=204,
    responses=DOCUMENTED,
    dependencies=[needs(Permission.ASK)],
)
async def delete(
    response_id: Annotated[str, Path(max_length=200)],
    request: Request,
    runs: MyRuns,
    events: MyEvents,
    state: State,
    me: Caller,
) -> None:
    """Refuse: a response is a view of an assistant's record, which stays as long as Temporal keeps it.

    Raises:
        InvalidArguments: Always, where there is such a response.
    """
    await _earlier_turn(request, runs, events, state, me).resume(_request_of(response_id))
    raise InvalidArguments(
        "a response is not deleted here, since the assistant's record of what it did stays; to stop it, cancel it",
        hint="its id is forgotten after 30 days, and the record when Temporal's retention ends",
    )


def _earlier_turn(request: Request, runs: Runs, events: RunEvents, state: AppState, me: Person) -> Turn:
    """The turn of a request that was made before, to be resumed."""
    return _turn(History((), "", None, (me.owner,)), request, runs, events, state)


async def _as_it_is(response_id: str, turn: Turn, request: Request) -> Response:
    return _Made(response_id, turn, str(request.base_url)).response(await _answer(turn, 0.0))


def _item(assistant_id: str, index: int, message: Message) -> InputMessage | OutputMessage:
    """A message of the conversation; the same one has the same id in every list."""
    item_id = f"msg_{hashlib.sha256(f'{assistant_id} {index}'.encode()).hexdigest()[:32]}"
    text = safe(message.text)
    if message.role is Role.USER:
        return InputMessage(id=item_id, content=[InputText(text=text)])
    return OutputMessage(id=item_id, status="completed", content=[OutputText(text=text)])


def _page(items: Sequence[InputMessage | OutputMessage], after: str | None, limit: int) -> InputItems:
    """The page that follows the item with the id `after`.

    Raises:
        InvalidArguments: There is no such item.
    """
    ids = [item.id for item in items]
    if after is not None and after not in ids:
        raise InvalidArguments("`after` names no item of this list; leave it out to begin at its beginning")
    first = 0 if after is None else ids.index(after) + 1
    found = list(items[first : first + limit])
    return InputItems(
        data=found,
        first_id=found[0].id if found else None,
        last_id=found[-1].id if found else None,
        has_more=first + limit < len(items),
    )


def _history(body: ResponseBody, owner: str) -> History:
    """Convert the input to a history.

    Raises:
        InvalidArguments: The last message is not the person's.
    """
    items = body.input if isinstance(body.input, list) else [{"role": "user", "content": body.input}]
    said = [ChatMessage.model_validate(item, from_attributes=True) for item in items if _is_message(item)]
    named = body.metadata.conversation_id if body.metadata else None
    history = read(said, scope=(owner, body.user or "", _RESPONSES), named=named, schema=body.wanted)
    history = replace(history, names_requests=True)
    if body.previous_response_id is None:
        return history
    if named is not None:
        raise InvalidArguments("previous_response_id and metadata.conversation_id both name a conversation; send one")
    return replace(history, after=_request_of(body.previous_response_id), earlier=())


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) or (item.type in (None, "message") and item.role is not None)


def _request_of(response_id: str) -> str:
    """Return the request of a response; an impossible id is like an unknown one."""
    found = _ID.fullmatch(response_id)
    return found[1] if found else response_id


def _turn(history: History, request: Request, runs: Runs, events: RunEvents, state: AppState) -> Turn:
    return Turn(
        history,
        runs=runs,
        events=events,
        positions=ConversationPositions(state.keys.store),
        base=str(request.base_url),
        timezone=state.settings.retinue_timezone,
    )


async def _answer(turn: Turn, seconds: float) -> TurnAnswer:
    async with aclosing(turn.answer(seconds)) as answers:
        async for answer in answers:
            if isinstance(answer, TurnAnswer):
                return answer
    raise AssertionError("a turn ends with an answer")


@dataclass(frozen=True)
class _Made:
    """The parts of one response.

    Args:
        id: The response's id.
        turn: The turn of the assistant.
        base: The API's address, with a trailing slash.
        asked: The request; None if it is not available.
        structured: Whether the request has a schema.
    """

    id: str
    turn: Turn
    base: str
    asked: ResponseBody | None = None
    structured: bool = False

    @property
    def message_id(self) -> str:
        """Id of the one message in its output."""
        return f"msg_{self.id[5:29]}"

    def empty(self) -> Response:
        """Return the response before there is an answer."""
        asked = self.asked
        return Response(
            id=self.id,
            created_at=int(self.turn.since.timestamp()),
            status="in_progress",
            background=bool(asked and asked.background),
            metadata=_metadata(asked),
            previous_response_id=asked.previous_response_id if asked else None,
            user=asked.user if asked else None,
        )

    def message(self, answer: TurnAnswer) -> OutputMessage:
        """Return the answer as an output item."""
        working = answer.outcome is Outcome.WORKING
        status: Literal["in_progress", "completed"] = "in_progress" if working else "completed"
        return OutputMessage(id=self.message_id, status=status, content=[self._part(answer)])

    def _part(self, answer: TurnAnswer) -> OutputText | OutputRefusal:
        words_instead = self.structured and not in_schema(answer.text)
        return OutputRefusal(refusal=answer.text) if words_instead else OutputText(text=answer.text)

    def response(self, answer: TurnAnswer) -> Response:
        """Return the response with an answer, or as in progress."""
        changes: dict[str, Any] = {"output": [self.message(answer)], "retinue": shown(answer.view, self.base)}
        if self.asked:
            changes["usage"] = _usage(answer)
        return self.empty().model_copy(update={**changes, **_state(answer)})


def _state(answer: TurnAnswer) -> dict[str, Any]:
    if answer.outcome is Outcome.WORKING:
        return {"status": "in_progress"}
    if answer.outcome is Outcome.ANSWERED:
        return {"status": "completed"}
    if answer.view.status is AssistantStatus.CANCELLED:
        return {"status": "cancelled"}
    why = answer.view.error.message if answer.view.error else answer.text
    return {"status": "failed", "error": ResponseProblem(message=why[:1000])}


def _metadata(asked: ResponseBody | None) -> dict[str, str]:
    found = asked.metadata.model_dump(exclude_none=True) if asked and asked.metadata else {}
    return {name: str(value) for name, value in found.items()}


def _usage(answer: TurnAnswer) -> ResponseUsage:
    used = answer.usage
    both = used.input_tokens + used.output_tokens
    return ResponseUsage(input_tokens=used.input_tokens, output_tokens=used.output_tokens, total_tokens=both)


async def _streamed(made: _Made, patience: float) -> AsyncIterator[bytes]:
    """Stream the new response, comments while the assistant runs, then the answer in pieces and as a whole."""
    writing = _Writing(made)
    yield writing.event("response.created", response=writing.begun)
    yield writing.event("response.in_progress", response=writing.begun)
    try:
        async with aclosing(made.turn.answer(patience, in_pieces=not made.structured)) as answers:
            async for answer in answers:
                if answer is None:
                    yield b": the assistant is at work\n\n"
                elif isinstance(answer, str):
                    for event in writing.piece(answer):
                        yield event
                else:
                    for event in writing.end(answer):
                        yield event
    except (RetinueError, RPCError) as error:
        refused = json.loads(bytes((await refusal(Request({"type": "http", "headers": []}), error)).body))["error"]
        yield writing.event("error", code=refused["code"], message=refused["message"], param=None)


class _Writing:
    """The numbered events of one response."""

    def __init__(self, made: _Made) -> None:
        self._made = made
        self._number = -1
        self._sent = 0
        self.begun = made.empty().model_dump(mode="json")

    def event(self, kind: str, **content: Any) -> bytes:
        """One event as it goes over the wire."""
        self._number += 1
        data = {"type": kind, "sequence_number": self._number, **content}
        return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()

    def piece(self, text: str, *, refuses: bool = False) -> list[bytes]:
        """Yield a further piece of the answer."""
        begun = [] if self._sent else self._begin(refuses=refuses)
        self._sent += len(text)
        if refuses:
            return [*begun, self.event("response.refusal.delta", **self._place(), delta=text)]
        return [*begun, self.event("response.output_text.delta", **self._place(), delta=text, logprobs=[])]

    def end(self, answer: TurnAnswer) -> list[bytes]:
        """Yield the rest of the answer, and the whole."""
        rest = [answer.text[start : start + PIECE] for start in range(self._sent, len(answer.text), PIECE)]
        item = self._made.message(answer).model_dump(mode="json")
        [part] = item["content"]
        refuses = part["type"] == "refusal"
        events = [event for piece in rest for event in self.piece(piece, refuses=refuses)]
        response = self._made.response(answer)
        if answer.outcome is Outcome.WORKING:
            response, item["status"] = response.model_copy(update={"status": "incomplete"}), "incomplete"
        return [
            *events,
            self.event("response.refusal.done", **self._place(), refusal=answer.text)
            if refuses
            else self.event("response.output_text.done", **self._place(), text=answer.text, logprobs=[]),
            self.event("response.content_part.done", **self._place(), part=part),
            self.event("response.output_item.done", output_index=0, item=item),
            self.event(
                f"response.{_LAST.get(response.status, 'completed')}", response=response.model_dump(mode="json")
            ),
        ]

    def _begin(self, *, refuses: bool) -> list[bytes]:
        item = OutputMessage(id=self._made.message_id, status="in_progress", content=[]).model_dump(mode="json")
        part = (OutputRefusal(refusal="") if refuses else OutputText(text="")).model_dump(mode="json")
        return [
            self.event("response.output_item.added", output_index=0, item=item),
            self.event("response.content_part.added", **self._place(), part=part),
        ]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._made.message_id, "output_index": 0, "content_index": 0}


_LAST = {"incomplete": "incomplete", "failed": "failed"}
"""Return the name of the last event; a cancelled assistant ends its stream like a completed one."""
