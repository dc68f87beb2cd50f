"""Endpoints that misbehave, through the front door: each run ends in words, after a bounded number of requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

import activities
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.activities.reasoning import test_models_in_runs as runs
from tests.conftest import Stack
from workers import temporal_server

pytestmark = pytest.mark.asyncio(loop_scope="session")
client = runs.client
HELLO = plan_answer(reply="Hello!").text
COMPOSE = plan_answer([{"id": "s1", "tool": "reasoning.compose", "args": {"instruction": "Write"}}]).text
PROSE = "Sure! I will happily take care of that for you."
GERMAN = "Natürlich! Ich kümmere mich sofort darum."
SCHRITTE = '{"schritte": [{"werkzeug": "kalender.liste"}], "frage": null}'
Behaviour = Callable[[dict[str, Any]], bytes]


@dataclass
class Server:
    """A server that answers each request as it is told, byte by byte, and closes the connection."""

    behave: Behaviour
    port: int
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.requests.append(body)
        writer.write(self.behave(body))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(behave: Behaviour, port: int = 0) -> AsyncIterator[Server]:
    told = Server(behave, port)
    async with await asyncio.start_server(told.answer, "127.0.0.1", port) as listening:
        told.port = listening.sockets[0].getsockname()[1]
        yield told


def http(content: bytes, kind: str = "application/json", *, status: str = "200 OK", missing: int = 0) -> bytes:
    """An answer of HTTP, of which so many bytes never come."""
    length = len(content) + missing
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()
        + content
    )


def says(text: str, *, missing: int = 0) -> bytes:
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    used = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return http(json.dumps({"object": "chat.completion", "choices": choices, "usage": used}).encode(), missing=missing)


def begins(text: str) -> bytes:
    """A stream that stops in the middle of an answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    piece = json.dumps({"object": "chat.completion.chunk", "choices": [choice]})
    return http(f"data: {piece}\n\n".encode(), "text/event-stream", missing=500)


def is_probe(body: dict[str, Any]) -> bool:
    return "vegetable" in str(body["messages"])


def is_plan(body: dict[str, Any]) -> bool:
    return "You plan for a personal assistant" in str(body["messages"][0]["content"])


Start = Callable[..., Any]


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Start:
    """Runs a request with the model of a server, by the way in which answers are asked for by default."""

    @asynccontextmanager
    async def one(url: str, **settings: Any) -> AsyncIterator[Stack]:
        said = runs._settings(tmp_path, base_url=url, model="m", structured="auto", **settings)
        async with runs._stack(client, said, tmp_path) as stack:
            yield stack

    return one


async def ended(stack: Stack, message: str = "Hi") -> dict[str, Any]:
    return await stack.ended((await stack.start(message))["id"], seconds=60)


def words(view: dict[str, Any]) -> str:
    """All that the view says to the person."""
    said = [message["text"] for message in view["messages"] if message["role"] == "assistant"]
    return " ".join([*said, *view["notices"], str((view["error"] or {}).get("message", ""))])


# --- a form that is ignored


@pytest.mark.parametrize("said", [PROSE, GERMAN, SCHRITTE])
async def test_an_endpoint_that_ignores_how_it_is_asked_ends_the_run_in_words(start: Start, said: str) -> None:
    async with serving(lambda body: says(said)) as server, start(server.url) as stack:
        view = await ended(stack)
    assert view["status"] == "failed"
    assert "made no valid plan" in words(view)
    assert len(server.requests) == 2 + 3


async def test_one_that_writes_json_only_when_words_ask_for_it_plans(start: Start) -> None:
    def behave(body: dict[str, Any]) -> bytes:
        if is_plan(body) and "Its JSON schema" in body["messages"][0]["content"]:
            return says(f"Of course:\n```json\n{HELLO}\n```")
        return says(PROSE)

    async with serving(behave) as server, start(server.url) as stack:
        view = await ended(stack)
    assert (view["status"], view["reply"]) == ("completed", "Hello!")
    assert [is_probe(body) for body in server.requests] == [True, True, False]


# --- answers that stop


async def test_a_plan_that_stops_in_the_middle_ends_in_words(start: Start) -> None:
    async with serving(lambda body: says(HELLO, missing=50)) as server, start(server.url) as stack:
        view = await ended(stack)
    assert view["status"] == "failed"
    assert "broke off in the middle of its answer" in words(view)
    assert len(server.requests) <= 4


async def test_an_answer_that_stops_while_it_is_streamed_is_asked_for_in_one_piece(start: Start) -> None:
    def behave(body: dict[str, Any]) -> bytes:
        if is_probe(body):
            return says('{"fruit": "kiwi"}')
        return says(COMPOSE) if is_plan(body) else begins("It was") if body.get("stream") else says("All is done.")

    async with serving(behave) as server, start(server.url) as stack:
        view = await ended(stack)
    assert (view["status"], view["reply"]) == ("completed", "All is done.")
    streamed = [bool(body.get("stream")) for body in server.requests]
    assert streamed.count(True) <= 2, "each of the two workers learns it once"
    assert len(server.requests) <= 2 + 2 * 2


async def test_one_whose_last_answer_always_stops_says_what_was_done_all_the_same(start: Start) -> None:
    def behave(body: dict[str, Any]) -> bytes:
        if is_probe(body):
            return says('{"fruit": "kiwi"}')
        if is_plan(body):
            return says(COMPOSE)
        if '"task": "compose"' in str(body["messages"]):
            return says("A text.")
        return begins("It was") if body.get("stream") else says("It was", missing=9)

    async with serving(behave) as server, start(server.url) as stack:
        view = await ended(stack)
    assert view["status"] == "completed"
    assert "reasoning.compose: completed" in view["reply"]
    assert "broke off in the middle of its answer" in words(view)
    assert len(server.requests) <= 2 + 2 + 4


# --- a small context


CONTEXT = 3000
TOLD = {
    "llama.cpp": {
        "code": 400,
        "message": "the request exceeds the available context size",
        "type": "exceed_context_size_error",
        "n_ctx": CONTEXT,
    },
    "vLLM": {
        "message": f"This model's maximum context length is {CONTEXT} tokens. However, you requested more tokens in the "
        "messages and in the completion. Please reduce the length of the messages or completion."
    },
}


def reads_little(body: dict[str, Any], counts_answer: bool) -> bool:
    """Whether a request fits into a small context, which some servers also keep for the longest answer."""
    written = body.get("max_completion_tokens", 0) if counts_answer else 0
    return len(json.dumps(body["messages"])) // 4 + written <= CONTEXT


@pytest.mark.parametrize("server_name", TOLD)
async def test_a_small_context_leaves_capabilities_out_and_says_so(
    start: Start, client: Client, server_name: str
) -> None:
    def behave(body: dict[str, Any]) -> bytes:
        if is_probe(body):
            return says('{"fruit": "kiwi"}')
        if reads_little(body, server_name == "vLLM"):
            return says(HELLO)
        return http(json.dumps({"error": TOLD[server_name]}).encode(), status="400 Bad Request")

    async with serving(behave) as server, start(server.url) as stack:
        for name in activities.folders():
            await announce(client, activities.load(name).CONTRACT.manifest())
        view = await ended(stack, "What is the weather in Lisbon?")
    assert (view["status"], view["reply"]) == ("completed", "Hello!"), words(view)
    assert len(server.requests) <= 5
    [told] = [notice for notice in view["notices"] if f"reads {CONTEXT} tokens" in notice]
    assert "planned without the tools of" in told


async def test_one_that_counts_the_longest_answer_too_is_asked_for_a_shorter_one(start: Start) -> None:
    def behave(body: dict[str, Any]) -> bytes:
        if is_probe(body):
            return says('{"fruit": "kiwi"}')
        if body["max_completion_tokens"] < 3000:
            return says(HELLO)
        return http(json.dumps({"error": TOLD["vLLM"]}).encode(), status="400 Bad Request")

    async with serving(behave) as server, start(server.url) as stack:
        view = await ended(stack)
    assert (view["status"], view["reply"]) == ("completed", "Hello!")
    assert [body["max_completion_tokens"] for body in server.requests] == [300, 8000, CONTEXT // 4]


# --- another language


async def test_an_answer_in_another_language_is_an_answer(start: Start) -> None:
    asks = plan_answer(question="你想要哪一天?").text

    def behave(body: dict[str, Any]) -> bytes:
        return says('{"fruit": "kiwi"}' if is_probe(body) else asks)

    async with serving(behave) as server, start(server.url) as stack:
        view = await stack.until((await stack.start("Hi"))["id"], lambda one: bool(one["question"]))
    assert view["question"] == "你想要哪一天?"
    assert len(server.requests) == 2


# --- down at start


async def test_one_that_is_down_at_start_answers_once_it_is_up(start: Start) -> None:
    port = temporal_server.free_port()
    async with start(f"http://127.0.0.1:{port}/v1") as stack:
        begun = await stack.start("Hi")
        await asyncio.sleep(1)
        async with serving(lambda body: says('{"fruit": "kiwi"}' if is_probe(body) else HELLO), port) as server:
            view = await stack.ended(begun["id"], seconds=60)
    assert (view["status"], view["reply"]) == ("completed", "Hello!")
    assert len(server.requests) == 2


async def test_one_that_stays_down_ends_in_words(start: Start) -> None:
    async with start(f"http://127.0.0.1:{temporal_server.free_port()}/v1") as stack:
        view = await ended(stack)
    assert view["status"] == "failed"
    assert "127.0.0.1 cannot be reached" in words(view)
    assert view["usage"]["requests"] <= 4
