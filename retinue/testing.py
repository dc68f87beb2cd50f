"""Fakes for tests: a scripted language model behind a real HTTP port.

The model is an OpenAI-compatible server, so tests use the whole path through the SDK. It gives the scripted answers of a
conversation that starts with a given message, and fails when its script is exhausted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Answer:
    """One answer of the model: a text or calls; for faults another status, raw body, headers or a delay in seconds.

    With `pieces` it is streamed in these pieces, whether or not a stream was requested.
    """

    text: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    status: int = 200
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    finish_reason: str = "stop"
    pieces: Callable[[], AsyncIterator[str]] | None = None

    def response(self) -> Response:
        """Return the HTTP response."""
        if self.raw is not None:
            return Response(self.raw, self.status, self.headers, media_type="application/json")
        if self.status != 200:
            return JSONResponse({"error": {"message": f"scripted {self.status}"}}, self.status, self.headers)
        if self.pieces is not None:
            return StreamingResponse(_streamed(self.pieces(), self.finish_reason), media_type="text/event-stream")
        return JSONResponse(_completion(self.text, self.finish_reason, self.calls), headers=self.headers)


def plan_answer(steps: Sequence[Mapping[str, Any]] = (), **fields: Any) -> Answer:
    """Return a plan as the model would write it."""
    written = [{"depends_on": [], "why": "", **step} for step in steps]
    return Answer(json.dumps({"steps": written, "question": None, "reply": None, "final": True, **fields}))


Wish = Mapping[str, Any]
"""A call that an agent requests: `{"tool": "calendar.list_events", "args": {...}}`; `args` may be invalid text."""
Turn = str | Sequence[Wish] | Answer
"""An agent's output in one turn: its final text, calls, or any answer."""
TurnMaker = Callable[[Mapping[str, Any]], Turn]
"""Builds a turn from the request, so that a test's model can obey what it reads."""
PROGRESS = "Progress (JSON):"
_TOOLS = "\nCapabilities and tools:\n"
"""Stands in every request for a plan, also where JSON is asked for in words alone."""


class ScriptedModel:
    """The scripted model. One serves many tests at once.

    It finds scripts of plans by the last message of a conversation, else by its first; those of agents by the goal in a
    request. An exhausted script of plans ends a run in its next round; any other request without a script is refused.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.compose_delay: dict[str, float] = {}
        self.composed: dict[str, Answer] = {}
        self._scripts: dict[str, list[Answer]] = {}
        self._replies: dict[str, list[Answer]] = {}
        self._extractions: dict[str, list[Answer]] = {}
        self._structured: dict[str, list[Answer]] = {}
        self._agents: dict[str, list[Turn | TurnMaker]] = {}

    def script(self, message: str, *plans: Answer, replies: Sequence[Answer] = ()) -> None:
        """Script the plans for `message`, in turn, and its final answers, by default a fixed text."""
        self._scripts[message] = list(plans)
        self._replies[message] = list(replies)

    def structured(self, message: str, *answers: Answer) -> None:
        """Script the structured answers to `message`, the last one of its conversation, in turn."""
        self._structured[message] = list(answers)

    def extraction(self, instruction: str, *values: Mapping[str, Any]) -> None:
        """Script the extracted values for `instruction`, in turn."""
        self._extractions[instruction] = [Answer(json.dumps(found)) for found in values]

    def agent(self, goal: str, *turns: Turn | TurnMaker) -> None:
        """Script the turns of the agent with this `goal`; a callable as the last turn is repeated."""
        self._agents[goal] = list(turns)

    def requests_for(self, message: str) -> list[dict[str, Any]]:
        """Return the requests that contain `message`."""
        return [request for request in self.requests if message in json.dumps(request, ensure_ascii=False)]

    async def answer(self, request: Request) -> Response:
        """Serve one chat completion."""
        body = await request.json()
        if _schema_name(body) == "probe":  # how it answers in JSON is asked once, beside all scripts
            return Answer(json.dumps({"fruit": "kiwi"})).response()
        self.requests.append(body)
        answer = self._next(body)
        await asyncio.sleep(answer.delay)
        return answer.response()

    def _next(self, body: Mapping[str, Any]) -> Answer:
        said = [message["content"] for message in body["messages"] if message["role"] == "user"]
        if _schema_name(body) == "extract":
            return self._pop(self._extractions, json.loads(said[-1])["instruction"])
        if _schema_name(body) == "answer":
            return self._pop(self._structured, json.loads(said[-1])["conversation"][-1]["text"])
        if "response_format" in body or _TOOLS in str(body["messages"][0]["content"]):
            return self._plan(body, said[-1] if said[-1] in self._scripts else said[0])
        if "tools" in body:
            return self._turn(body, said[0])
        content = json.loads(said[-1])
        if content["task"] == "compose":
            delay = self.compose_delay.get(content["instruction"], 0)
            return self.composed.get(content["instruction"]) or Answer(
                f"composed: {json.dumps(content['inputs'])}", delay=delay
            )
        message = content["conversation"][0]["text"]
        if not self._replies.get(message):
            return Answer("; ".join(f"{step['tool']} {step['status']}" for step in content["steps"]))
        return self._pop(self._replies, message)

    def _plan(self, body: Mapping[str, Any], message: str) -> Answer:
        later = any(str(message["content"]).startswith(PROGRESS) for message in body["messages"])
        if later and self._scripts.get(message) == []:
            return plan_answer()
        return self._pop(self._scripts, message)

    def _turn(self, body: Mapping[str, Any], said: str) -> Answer:
        turns = next((turns for goal, turns in self._agents.items() if goal in said), [])
        if not turns:
            return _EXHAUSTED
        turn = turns[0] if len(turns) == 1 and callable(turns[0]) else turns.pop(0)
        return _spoken(turn(body) if callable(turn) else turn)

    def _pop(self, scripts: dict[str, list[Answer]], message: str) -> Answer:
        if not scripts.get(message):
            return _EXHAUSTED
        return scripts[message].pop(0)


_EXHAUSTED = Answer(status=400, raw=json.dumps({"error": {"message": "the script is exhausted"}}).encode())


def _schema_name(body: Mapping[str, Any]) -> str:
    return str((body.get("response_format") or {}).get("json_schema", {}).get("name", ""))


def _spoken(turn: Turn) -> Answer:
    if isinstance(turn, Answer):
        return turn
    return Answer(turn) if isinstance(turn, str) else Answer(calls=turn, finish_reason="tool_calls")


def _call(number: int, wish: Wish) -> dict[str, Any]:
    """Return a call as the model writes it, with an id that repeats in each turn, as some endpoints do."""
    args = wish.get("args", {})
    written = args if isinstance(args, str) else json.dumps(args)
    function = {"name": wish["tool"].replace(".", "__"), "arguments": written}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _completion(text: str, finish_reason: str, calls: Sequence[Wish]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text}
    if calls:
        message["tool_calls"] = [_call(number, wish) for number, wish in enumerate(calls)]
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


async def _streamed(pieces: AsyncIterator[str], finish_reason: str) -> AsyncIterator[str]:
    """Yield the answer as server-sent events; without a finish reason the stream breaks off."""
    head = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "scripted",
    }
    ended = {"index": 0, "delta": {}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    async for piece in pieces:
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    if finish_reason:
        yield f"data: {json.dumps({**head, 'choices': [ended]})}\n\n"
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


def activities_by_name(activities: Any) -> dict[str, Callable[..., Any]]:
    """Return the activities of a plugin or a capability by their Temporal names."""
    return {getattr(run, "__temporal_activity_definition").name: run for run in activities}  # typed as a plain function


@contextlib.asynccontextmanager
async def scripted_model() -> AsyncIterator[ScriptedModel]:
    """Run a scripted model on a free port; `url` is its base URL."""
    model = ScriptedModel()
    app = Starlette(routes=[Route("/v1/chat/completions", model.answer, methods=["POST"])])
    async with serving(app) as address:
        model.url = f"{address}/v1"
        yield model


@contextlib.asynccontextmanager
async def serving(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI application on a loopback port of this process, by default a free one; yields its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test runner keeps its own
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
