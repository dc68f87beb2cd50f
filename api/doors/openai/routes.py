"""`/v1/chat/completions` and `/v1/models`. Errors have the shape that clients of this protocol read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from temporalio.service import RPCError

from api import errors
from api.deps import Caller, MyEvents, MyRuns, TheHouse, needs
from api.doors.openai.history import History, read
from api.doors.openai.models import (
    MODEL,
    ChatAnswer,
    ChatBody,
    ChatChoice,
    ChatCompletion,
    ChatUsage,
    Error,
    Model,
    Models,
    chunk,
)
from api.doors.openai.places import Places
from api.doors.openai.turns import Told, Turn
from api.doors.shown import shown
from api.identity.people import Permission
from retinue.errors import NotFound, RetinueError

_WAIT = 240.0
"""Seconds for which an answer that is not streamed is waited for, unless the request says otherwise."""
_STREAMED_WAIT = 840.0
_PIECE = 600
_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_RESOURCES = re.compile(
    r"/v1/(audio|batches|chat|completions|containers|conversations|embeddings|evals|files|fine_tuning|images|models"
    r"|moderations|realtime|responses|threads|uploads|vector_stores|videos)(/|$)"
)
"""Where clients of this protocol look for things; `/v1/assistants` is ours."""
_STREAM = "text/event-stream"
_KEPT_HEADERS = frozenset({"allow", "retry-after", "www-authenticate"})
_NO_STORE = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_PROBLEM_SHAPE = (403, 408, 413, 415, 429, 431)
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    code: {
        "description": errors.PROBLEMS[code]["description"],
        "content": {
            "application/json": {"schema": Error.model_json_schema(ref_template="#/components/schemas/{model}")},
            **(errors.PROBLEMS[code]["content"] if code in _PROBLEM_SHAPE else {}),
        },
    }
    for code in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 431, 503)
}
"""What is refused before anybody looks at the path is a problem detail here too."""


class OpenAiRoute(APIRoute):
    """A route whose errors have this protocol's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer, and translate what was refused."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except (RetinueError, RequestValidationError, HTTPException, RPCError) as error:
                return await _refusal(request, error)

        return answered


async def _refusal(
    request: Request, error: RetinueError | RequestValidationError | HTTPException | RPCError
) -> Response:
    """The refusal that the routes of assistants would give, in this protocol's words."""
    told = await errors.translated(request, error)
    status = HTTPStatus(told.status_code)
    content = json.loads(bytes(told.body))
    headers = {name: value for name, value in told.headers.items() if name in _KEPT_HEADERS}
    return JSONResponse(_error(status, content["detail"], content["type"]), status_code=status, headers=headers)


def _error(status: HTTPStatus, message: str, kind: str) -> dict[str, Any]:
    kinds = "api_error" if status >= 500 else "invalid_request_error"
    code = kind.rpartition(":")[2].replace("-", "_")
    return {"error": {"message": message, "type": _TYPES.get(status, kinds), "param": None, "code": code}}


def tell_errors(app: FastAPI) -> None:
    """Answer in this protocol's words at every address under `/v1` that is OpenAI's, whether or not it is here."""
    otherwise = app.exception_handlers[HTTPException]

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if _RESOURCES.match(request.url.path):
            return await _refusal(request, error)
        answer = otherwise(request, error)
        return await answer if isinstance(answer, Awaitable) else answer

    app.add_exception_handler(HTTPException, told)


router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAiRoute)


@router.get(
    "/models",
    summary="The models of chat clients",
    responses=_DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def models() -> Models:
    """The one model: the assistant."""
    return Models(data=[Model(id=MODEL)])


@router.get(
    "/models/{model}",
    summary="One model of chat clients",
    responses=_DOCUMENTED,
    dependencies=[needs(Permission.READ)],
)
async def model(model: Annotated[str, Path(max_length=200)]) -> Model:
    """It is there, or it is not."""
    _check_model(model)
    return Model(id=MODEL)


@router.post(
    "/chat/completions",
    summary="Talk to the assistant",
    response_model=ChatCompletion,
    responses={
        **_DOCUMENTED,
        200: {"description": "The answer; with `stream` as server-sent events.", "content": {_STREAM: {}}},
    },
    dependencies=[needs(Permission.ASK)],
)
async def complete(
    body: ChatBody, request: Request, runs: MyRuns, events: MyEvents, kept: TheHouse, me: Caller
) -> ChatCompletion | Response:
    """The assistant's answer to the last message. docs/protocols.md says how a history becomes a conversation."""
    _check_model(body.model)
    history = read(body, owner=me.owner)
    base = str(request.base_url)
    turn = Turn(
        history,
        runs=runs,
        events=events,
        places=Places(kept.keys.store),
        base=base,
        timezone=kept.settings.retinue_timezone,
    )
    await turn.begin()
    if body.stream:
        return StreamingResponse(_streamed(turn, body, history, base), media_type=_STREAM, headers=_NO_STORE)
    async with aclosing(turn.answer(_patience(body, _WAIT))) as answers:
        async for told in answers:
            if isinstance(told, Told):
                return _completion(told, history, base)
    raise AssertionError("a turn ends with an answer")


def _check_model(name: str) -> None:
    if name != MODEL:
        raise NotFound(f"there is no model {name[:80]!r}", hint=f"there is {MODEL!r}")


def _patience(body: ChatBody, default: float) -> float:
    wanted = body.metadata.wait_seconds if body.metadata else None
    return default if wanted is None else wanted


def _completion(told: Told, history: History, base: str) -> ChatCompletion:
    return ChatCompletion(
        id=_made(history),
        created=int(time.time()),
        choices=[ChatChoice(message=ChatAnswer(content=told.text))],
        usage=_usage(told),
        retinue=shown(told.view, base),
    )


def _made(history: History) -> str:
    return f"chatcmpl-{history.request[:24]}"


def _usage(told: Told) -> ChatUsage:
    used = told.usage
    return ChatUsage(
        prompt_tokens=used.input_tokens,
        completion_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
    )


async def _streamed(turn: Turn, body: ChatBody, history: History, base: str) -> AsyncIterator[bytes]:
    """The role at once, comments while the run works, then the answer. What goes on meanwhile is no part of it.

    What the model writes of the answer comes piece by piece where it is known to be its beginning, else all at its end.
    """
    made, created = _made(history), int(time.time())
    yield _data(chunk(made, created, delta={"role": "assistant", "content": ""}))
    sent = 0
    try:
        async with aclosing(turn.answer(_patience(body, _STREAMED_WAIT), in_pieces=True)) as answers:
            async for told in answers:
                if told is None:
                    yield b": the assistant is at work\n\n"
                    continue
                if isinstance(told, str):
                    sent += len(told)
                    yield _data(chunk(made, created, delta={"content": told}))
                    continue
                for start in range(sent, len(told.text), _PIECE):
                    yield _data(chunk(made, created, delta={"content": told.text[start : start + _PIECE]}))
                last = chunk(made, created, delta={}, finish="stop")
                yield _data({**last, "retinue": shown(told.view, base).model_dump(mode="json")})
                if body.stream_options and body.stream_options.include_usage:
                    yield _data({**chunk(made, created, delta=None), "usage": _usage(told).model_dump()})
    except (RetinueError, RPCError) as error:
        refusal = await _refusal(Request({"type": "http", "headers": []}), error)
        yield _data(json.loads(bytes(refusal.body)))
    yield b"data: [DONE]\n\n"


def _data(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
