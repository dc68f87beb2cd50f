"""`/v1/chat/completions` and `/v1/models`. Errors have this protocol's format."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from temporalio.service import RPCError

from api.auth.principals import Permission
from api.deps import Caller, MyEvents, MyRuns, State, needs
from api.protocols.openai.errors import DOCUMENTED, OpenAiRoute, refusal
from api.protocols.openai.history import History, read
from api.protocols.openai.schemas import (
    MODEL,
    ChatAnswer,
    ChatBody,
    ChatChoice,
    ChatCompletion,
    ChatUsage,
    Model,
    Models,
    check_model,
    chunk,
    in_schema,
)
from api.protocols.openai.turn import NO_STORE, PIECE, STREAM, STREAMED_WAIT, WAIT, Turn, TurnAnswer
from api.protocols.shared.conversations import ConversationPositions
from api.protocols.shared.run_summary import shown
from retinue.errors import RetinueError

router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAiRoute)


@router.get(
    "/models",
    summary="List models",
    responses=DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def models() -> Models:
    """List the one model: the assistant."""
    return Models(data=[Model(id=MODEL)])


@router.get(
    "/models/{model}",
    summary="Read a model",
    responses=DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def model(model: Annotated[str, Path(max_length=200)]) -> Model:
    """Return the model, if it is the one that exists."""
    check_model(model)
    return Model(id=MODEL)


@router.post(
    "/chat/completions",
    summary="Create a chat completion",
    response_model=ChatCompletion,
    responses={
        **DOCUMENTED,
        200: {"description": "The answer; with `stream` as server-sent events.", "content": {STREAM: {}}},
    },
    dependencies=[needs(Permission.ASK)],
)
async def complete(
    body: ChatBody, request: Request, runs: MyRuns, events: MyEvents, state: State, me: Caller
) -> ChatCompletion | Response:
    """Return the assistant's answer to the last message. docs/protocol-openai.md explains how a history maps to an assistant."""
    check_model(body.model)
    named = body.metadata.conversation_id if body.metadata else None
    history = read(body.messages, scope=(me.owner, body.user or ""), named=named, schema=body.wanted)
    base = str(request.base_url)
    turn = Turn(
        history,
        runs=runs,
        events=events,
        positions=ConversationPositions(state.keys.store),
        base=base,
        timezone=state.settings.retinue_timezone,
    )
    await turn.begin()
    if body.stream:
        return StreamingResponse(_streamed(turn, body, history, base), media_type=STREAM, headers=NO_STORE)
    async with aclosing(turn.answer(_patience(body, WAIT))) as answers:
        async for answer in answers:
            if isinstance(answer, TurnAnswer):
                return _completion(answer, history, base)
    raise AssertionError("a turn ends with an answer")


def _patience(body: ChatBody, default: float) -> float:
    wanted = body.metadata.wait_seconds if body.metadata else None
    return default if wanted is None else wanted


def _completion(answer: TurnAnswer, history: History, base: str) -> ChatCompletion:
    return ChatCompletion(
        id=_made(history),
        created=int(time.time()),
        choices=[ChatChoice(message=_message(answer, history))],
        usage=_usage(answer),
        retinue=shown(answer.view, base),
    )


def _message(answer: TurnAnswer, history: History) -> ChatAnswer:
    """Return the answer; a text where a schema was requested is a refusal."""
    if history.schema is None or in_schema(answer.text):
        return ChatAnswer(content=answer.text)
    return ChatAnswer(content=None, refusal=answer.text)


def _made(history: History) -> str:
    return f"chatcmpl-{history.request[:24]}"


def _usage(answer: TurnAnswer) -> ChatUsage:
    used = answer.usage
    return ChatUsage(
        prompt_tokens=used.input_tokens,
        completion_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
    )


async def _streamed(turn: Turn, body: ChatBody, history: History, base: str) -> AsyncIterator[bytes]:
    """Stream the role at once, comments while the assistant runs, then the answer.

    The model's text is streamed in pieces if it is certain to be the beginning of the answer, otherwise at the end.
    """
    made, created = _made(history), int(time.time())
    yield _data(chunk(made, created, delta={"role": "assistant", "content": ""}))
    sent = 0
    try:
        in_pieces = history.schema is None
        async with aclosing(turn.answer(_patience(body, STREAMED_WAIT), in_pieces=in_pieces)) as answers:
            async for answer in answers:
                if answer is None:
                    yield b": the assistant is running\n\n"
                    continue
                if isinstance(answer, str):
                    sent += len(answer)
                    yield _data(chunk(made, created, delta={"content": answer}))
                    continue
                name = "refusal" if _message(answer, history).refusal else "content"
                for start in range(sent, len(answer.text), PIECE):
                    yield _data(chunk(made, created, delta={name: answer.text[start : start + PIECE]}))
                last = chunk(made, created, delta={}, finish="stop")
                yield _data({**last, "retinue": shown(answer.view, base).model_dump(mode="json")})
                if body.stream_options and body.stream_options.include_usage:
                    yield _data({**chunk(made, created, delta=None), "usage": _usage(answer).model_dump()})
    except (RetinueError, RPCError) as error:
        refused = await refusal(Request({"type": "http", "headers": []}), error)
        yield _data(json.loads(bytes(refused.body)))
    yield b"data: [DONE]\n\n"


def _data(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
