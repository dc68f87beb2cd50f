"""A language model that answers at once and by rule: `python -m bench.model PORT`.

Both sides ask it over HTTP with the openai SDK, so what differs between them is never the model. It reads only the name of
the wanted JSON schema: `plan` is the product's planning, `job` the bare workflow's, and anything else is a final answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

NAME = "Ana Sousa"
WINDOW = {"start": "2027-03-01T00:00:00+00:00", "end": "2027-03-02T00:00:00+00:00"}
"""The day that is listed. It holds the events of `seeds.py` and never one that a run enters."""
MEETING = {"start": "2028-05-03T10:00:00+00:00", "end": "2028-05-03T11:00:00+00:00"}
ANSWER = "Ana Sousa is free after lunch on 1 March; a meeting with her stands in your calendar on 3 May at 10:00."

PLAN: dict[str, Any] = {
    "steps": [
        {"id": "s1", "tool": "contacts.find", "args": {"name": NAME}, "depends_on": [], "why": "her full name"},
        {"id": "s2", "tool": "calendar.list_events", "args": WINDOW, "depends_on": [], "why": "what stands there"},
        {
            "id": "s3",
            "tool": "calendar.create_event",
            "args": {"title": {"$from": "s1", "path": "/match/name"}, **MEETING},
            "depends_on": ["s1", "s2"],
            "why": "the meeting",
        },
    ],
    "question": None,
    "reply": None,
    "final": True,
}
JOB: dict[str, Any] = {"name": NAME, "window": WINDOW, "meeting": MEETING}


def completion(text: str) -> bytes:
    """The body of an answer that says this."""
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_800_000_000,
            "model": "bench",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}},
            ],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }
    ).encode()


_BY_SCHEMA = {"plan": completion(json.dumps(PLAN)), "job": completion(json.dumps(JOB))}
FINAL = completion(ANSWER)


def answer(request: bytes) -> bytes:
    """The body of the answer to one chat completion request."""
    wanted = json.loads(request).get("response_format")
    return _BY_SCHEMA[wanted["json_schema"]["name"]] if wanted else FINAL


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application. Every path is the chat completions one."""
    if scope["type"] != "http":
        return
    body = answer(await _body(receive))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
