"""What the client does when answers are late, broken, refused or strange: a server that misbehaves on a real port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from retinue.client import (
    AsyncClient,
    BadRequest,
    Client,
    ClientError,
    Conflict,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotUnderstood,
    Refused,
    ServerError,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unreachable,
    event_stream,
    wire,
)
from retinue.testing import serving

RUN = {
    "id": "a-1",
    "status": "completed",
    "message": "hello",
    "messages": [],
    "links": {"self": "/v1/assistants/a-1", "temporal_ui": ""},
    "newer_than_this_client": {"as": "it came"},
}


@dataclass
class Door:
    """What it answers, in order (then the run), and what it was asked."""

    url: str = ""
    answers: list[Response] = field(default_factory=list)
    streams: list[list[str]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.asked]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    app, kept = FastAPI(), Door()

    @app.get("/v1/assistants/{assistant_id}/events")
    async def events(request: Request) -> Response:
        kept.asked.append(request)
        return kept.answers.pop(0) if kept.answers else StreamingResponse(iter(kept.streams.pop(0)))

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    async def anything(request: Request) -> Response:
        kept.asked.append(request)
        return kept.answers.pop(0) if kept.answers else Response(json.dumps(RUN))

    async with serving(app) as kept.url:
        yield kept


@pytest.fixture
async def retinue(door: Door, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.01)
    async with AsyncClient(door.url, "rtn_secret") as client:
        yield client


def problem(status: int, detail: str = "because", **headers: str) -> Response:
    body = {"type": "urn:retinue:problem:x", "title": "X", "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers, "application/problem+json")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, NotAuthenticated),
        (403, NotAllowed),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (418, Refused),
        (429, TooManyRequests),
        (500, ServerError),
        (502, Unavailable),
        (503, Unavailable),
    ],
)
async def test_a_problem_detail_is_an_error_of_its_own_type(door: Door, status: int, kind: type[Refused]) -> None:
    door.answers = [problem(status, "do this", **{"Retry-After": "60"})]
    async with AsyncClient(door.url, "", retries=0) as client:
        with pytest.raises(kind) as caught:
            await client.assistants.get("a-1")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.detail, str(caught.value)) == (status, "do this", "do this")
    assert (caught.value.kind, caught.value.retry_after) == ("urn:retinue:problem:x", 60.0)


async def test_reading_is_tried_again_and_so_is_what_carries_a_key(door: Door, retinue: AsyncClient) -> None:
    door.answers = [problem(503), problem(429, **{"Retry-After": "0"})]
    assert (await retinue.assistants.get("a-1")).id == "a-1"
    door.answers = [problem(503), problem(409, **{"Retry-After": "1"})]
    door.asked.clear()
    assert (await retinue.assistants.start("hello")).id == "a-1"
    keys = door.headers("idempotency-key")
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "send",
    [lambda client: client.schedules.delete("s-1"), lambda client: client.grants.revoke("g-1")],
    ids=["delete", "revoke"],
)
async def test_what_might_happen_twice_is_sent_once(
    door: Door, retinue: AsyncClient, send: Callable[[AsyncClient], Awaitable[Any]]
) -> None:
    door.answers = [problem(503)]
    with pytest.raises(Unavailable):
        await send(retinue)
    assert len(door.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 500])
async def test_what_does_not_get_better_is_not_tried_again(door: Door, retinue: AsyncClient, status: int) -> None:
    door.answers = [problem(status)]
    with pytest.raises(Refused):
        await retinue.assistants.get("a-1")
    assert len(door.asked) == 1


async def test_it_gives_up_after_three_more_tries(door: Door, retinue: AsyncClient) -> None:
    door.answers = [problem(503) for _ in range(9)]
    with pytest.raises(Unavailable):
        await retinue.assistants.get("a-1")
    assert len(door.asked) == 4


async def test_a_long_pause_is_the_caller_s_to_wait(door: Door, retinue: AsyncClient) -> None:
    door.answers = [problem(429, **{"Retry-After": "3600"})]
    with pytest.raises(TooManyRequests) as caught:
        await retinue.assistants.get("a-1")
    assert (caught.value.retry_after, len(door.asked)) == (3600.0, 1)


async def test_where_nothing_listens_nothing_was_sent() -> None:
    async with AsyncClient("http://127.0.0.1:1", "", retries=0) as client:
        with pytest.raises(Unreachable) as caught:
            await client.assistants.start("hello")
    assert caught.value.unsent
    with Client("http://127.0.0.1:1", "", retries=0) as sync, pytest.raises(Unreachable):
        sync.me()


@pytest.mark.parametrize(
    "answer",
    [
        Response("<html>", 200),
        Response("[]", 200),
        Response('{"id": "a-1"}', 200),
        RedirectResponse("http://127.0.0.1:1/elsewhere"),
        PlainTextResponse("Bad Gateway", 404),
        Response('{"detail": {"no": "text"}}', 404),
        Response("\ud800".encode("utf-8", "surrogatepass"), 404),
    ],
    ids=["html", "list", "half", "redirect", "text", "odd detail", "bytes"],
)
async def test_strange_answers_are_errors_of_this_client(door: Door, retinue: AsyncClient, answer: Response) -> None:
    door.answers = [answer]
    with pytest.raises((NotUnderstood, Refused)):
        await retinue.assistants.get("a-1")
    assert len(door.asked) == 1


async def test_an_endless_answer_is_not_read_to_its_end(
    door: Door, retinue: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_ANSWER", 1000)
    door.answers = [StreamingResponse("x" * 100 for _ in range(10_000))]
    with pytest.raises(NotUnderstood):
        await retinue.assistants.get("a-1")


async def test_what_is_newer_than_the_client_is_kept(retinue: AsyncClient) -> None:
    assert json.loads((await retinue.assistants.get("a-1")).json_text()) == RUN


async def test_the_key_is_sent_and_shown_nowhere(door: Door, retinue: AsyncClient) -> None:
    await retinue.assistants.get("a-1")
    assert door.headers("authorization") == ["Bearer rtn_secret"]
    door.answers = [problem(401)]
    with pytest.raises(ClientError) as caught:
        await retinue.assistants.get("a-1")
    assert "rtn_secret" not in f"{caught.value!r} {retinue.__dict__!r}"


async def test_address_and_key_come_from_the_environment(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_URL", door.url + "/")
    monkeypatch.setenv("RETINUE_API_KEY", "rtn_other")
    async with AsyncClient() as named, AsyncClient(api_key="") as nameless:
        await named.assistants.get("a-1")
        await nameless.assistants.get("a-1")
    assert door.headers("authorization") == ["Bearer rtn_other", None]


@pytest.mark.parametrize("url", ["nowhere", "ftp://host", "http://", "http://[::1", "http://host:port"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Client(url)


def told(number: int, kind: str = "step") -> str:
    return f'id: {number}\nevent: {kind}\ndata: {{"n": {number}}}\n\n'


async def test_a_broken_stream_goes_on_where_it_broke(door: Door, retinue: AsyncClient) -> None:
    half = told(3)[:-8]
    door.streams = [
        [": hello\n\n", told(1), told(2), half],
        [told(3), 'event: text\ndata: {"n": 0}\n\n'],
        [told(4, "end")],
    ]
    found = [event async for event in retinue.assistants.events("a-1")]
    assert [event.data["n"] for event in found] == [1, 2, 3, 0, 4]
    assert [event.id for event in found] == ["1", "2", "3", None, "4"]
    assert door.headers("last-event-id") == [None, "2", "3"]


async def test_a_stream_is_read_however_it_is_cut(door: Door, retinue: AsyncClient) -> None:
    text = told(1) + told(2).replace("\n", "\r\n") + 'data: {"n":\ndata:  3}\nevent: end\nid: 3\n\n'
    door.streams = [list(text)]
    assert [event.data["n"] async for event in retinue.assistants.events("a-1")] == [1, 2, 3]


async def test_a_stream_that_cannot_be_had_for_a_while_is_waited_for(door: Door, retinue: AsyncClient) -> None:
    door.answers = [problem(503) for _ in range(event_stream.RETRIES)]
    door.streams = [[told(7, "end")]]
    assert [event.id async for event in retinue.assistants.events("a-1", after="5")] == ["7"]
    assert door.headers("last-event-id") == ["5"] * (event_stream.RETRIES + 1)


async def test_a_stream_that_never_comes_is_given_up(door: Door, retinue: AsyncClient) -> None:
    door.streams = [["retry: 1\n\n"] for _ in range(event_stream.RETRIES + 1)]
    with pytest.raises(Unreachable):
        [_ async for _ in retinue.assistants.events("a-1")]
    assert len(door.asked) == event_stream.RETRIES + 1


async def test_a_run_whose_end_was_told_is_not_asked_for_again(door: Door, retinue: AsyncClient) -> None:
    door.answers = [Response(status_code=204)]
    assert [event async for event in retinue.assistants.events("a-1", after="9")] == []
    assert len(door.asked) == 1


@pytest.mark.parametrize("stream", [["data: {\n\n"], ["data: x" * 200]], ids=["no json", "too large"])
async def test_a_stream_of_something_else_is_not_understood(
    door: Door, retinue: AsyncClient, monkeypatch: pytest.MonkeyPatch, stream: list[str]
) -> None:
    monkeypatch.setattr(event_stream, "LARGEST", 1000)
    door.streams = [stream]
    with pytest.raises(NotUnderstood):
        [_ async for _ in retinue.assistants.events("a-1")]


async def test_the_sync_client_resumes_and_retries_too(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.01)
    door.answers = [problem(503)]
    door.streams = [[told(1)], [told(2, "end")]]

    def work() -> tuple[list[str | None], str]:
        with Client(door.url, "") as client:
            return [event.id for event in client.assistants.events("a-1")], client.assistants.start("hello").id

    assert await asyncio.to_thread(work) == (["1", "2"], "a-1")
    assert door.headers("last-event-id") == [None, None, "1", None]


async def test_every_page_of_a_list_is_asked_for_in_the_same_way(door: Door, retinue: AsyncClient) -> None:
    pages = [Response('{"assistants": [], "next_cursor": "c"}'), Response('{"assistants": []}')]
    door.answers = [*pages, *pages]
    assert [run async for run in retinue.assistants.list(status="failed", mine=True)] == []
    with Client(door.url, "") as client:
        assert await asyncio.to_thread(list, client.assistants.list(status="failed", mine=True)) == []
    first, second = {"status": "failed", "mine": "true", "limit": "100"}, {"cursor": "c"}
    assert [dict(request.query_params) for request in door.asked] == [first, first | second] * 2
