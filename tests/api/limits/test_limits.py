"""Bounds of the front door, on a real port: what is too much is refused in words, and the next request is served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from api.app import create_app
from api.http.body_limits import DRAINED
from api.settings import ApiSettings
from retinue.temporal.connection import DATA_CONVERTER
from retinue.testing import plan_answer, serving
from tests.api.auth.test_routes_declare import routes
from tests.api.conftest import JSON, Fresh, Json, browsing, eventually, refused
from tests.conftest import Stack
from workers.temporal_server import free_port

ASSISTANTS = "/v1/assistants"
Door = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def door(stack: Stack, tmp_path: Path) -> Door:
    """Opens a front door with settings of its own, on a real port, with the stack behind it."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        chosen = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", **settings)
        async with (
            serving(create_app(chosen, client=stack.temporal)) as address,
            httpx.AsyncClient(base_url=address, timeout=30) as http,
        ):
            yield http

    return opened


async def raw(http: httpx.AsyncClient, *parts: bytes, pause: float = 0) -> bytes:
    """The beginning of what the server answers to these bytes, sent with a pause after each part."""
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await reader.read(4000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(headers: bytes = b"", body: bytes = b"{}", *, length: int | None = None) -> bytes:
    declared = len(body) if length is None else length
    start = b"POST /v1/assistants HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return start + b"Content-Length: %d\r\n" % declared + headers + b"\r\n" + body


BOMBS: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "2.5 MiB": (request(body=b'{"message": "' + b"x" * 2_621_440 + b'"}'), (b"413",)),
    "10^6 lists": (request(body=b"[" * 1_000_000), (b"413",)),
    "60,000 lists": (request(body=b"[" * 30_000 + b"]" * 30_000), (b"400",)),
    "101 objects": (request(body=b'{"message":' * 101 + b"1" + b"}" * 101), (b"400",)),
    "packed": (request(b"Content-Encoding: gzip\r\n", gzip.compress(b" " * 50_000_000)), (b"415",)),
    "packed twice": (request(b"Content-Encoding: gzip, br\r\n"), (b"415",)),
    "10^5 headers": (request(b"".join(b"X-%d: y\r\n" % n for n in range(100_000))), (b"400", b"")),
    "200 headers": (request(b"".join(b"X-%d: y\r\n" % n for n in range(200))), (b"431",)),
    "40 kB of header": (request(b"X-Long: " + b"y" * 40_000 + b"\r\n"), (b"431",)),
    "1 MB of header": (request(b"X-Long: " + b"y" * 1_000_000 + b"\r\n"), (b"400", b"")),
    "chunks without end": (
        request(b"Transfer-Encoding: chunked\r\n", b"ffff\r\n" + b" " * 65_535 + b"\r\n" + b"ffff\r\n" + b" " * 65_535),
        (b"413", b"400"),
    ),
}
"""What is sent, and with which status it is refused; nothing where the server closes the line in the middle of it."""


@pytest.mark.parametrize(("sent", "statuses"), BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_refused_and_the_next_request_is_served(
    door: Door, sent: bytes, statuses: tuple[bytes, ...]
) -> None:
    async with door() as http:
        answer = await raw(http, sent)
        assert answer.partition(b" ")[2][:3] in statuses, answer[:300]
        assert (await http.get(ASSISTANTS)).status_code == 200


def sent_whole(address: str, method: str, path: str, size: int) -> int:
    """The status that a plain client sees, which sends all of its body before it reads anything."""
    line = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    try:
        line.request(method, path, body=b" " * size, headers={"Content-Type": "application/json"})
        return line.getresponse().status
    finally:
        line.close()


async def test_on_every_address_a_client_that_sends_too_much_is_told_so(stack: Stack) -> None:
    """With a server as ours: a line that is closed while the client still sends costs it the answer."""
    app = create_app(ApiSettings(retinue_rate_limit="100000/60"), client=stack.temporal)
    asked = [
        (method, re.sub(r"\{\w+\}", "x", route.path))
        for route in routes(app)
        for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    ]
    asked += [("POST", "/nothing"), ("PUT", "/v1/assistants"), ("POST", "/static/style.css")]
    assert len(asked) > 30
    async with serving(app) as address:
        found = {
            (method, path): await asyncio.to_thread(sent_whole, address, method, path, 3 * 1024 * 1024)
            for method, path in asked
        }
    assert {asked: status for asked, status in found.items() if status != 413} == {}


async def test_a_body_without_end_is_not_read_for_ever(door: Door) -> None:
    """Somebody who announces gigabytes is told after a bounded part of them, if they still listen."""
    async with door() as http:
        _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(request(body=b"", length=10**9))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 4 * DRAINED:
                writer.write(b" " * 65_536)
                await writer.drain()
                sent += 65_536
        writer.close()
        assert sent < 4 * DRAINED
        assert (await http.get(ASSISTANTS)).status_code == 200


async def test_who_waits_for_leave_to_send_is_refused_at_once(door: Door) -> None:
    async with door() as http:
        answer = await raw(http, request(b"Expect: 100-continue\r\n", b"", length=10**9))
        assert answer.partition(b" ")[2][:3] == b"413"


@pytest.mark.parametrize(
    ("content", "depth_is_fine"),
    [
        (b'{"message": "' + b"[" * 5000 + b'"}', True),
        (b'{"message": "\\"' + b"[" * 5000 + b'"}', True),
        (b'{"message": "x", "plan_args": ' + b"[" * 98 + b"]" * 98 + b"}", True),
        (b'{"message": "x", "plan_args": ' + b"[" * 100 + b"]" * 100 + b"}", False),
        (b'{"message": "\\\\"' + b"[" * 101 + b"}", False),
    ],
    ids=["in a text", "after an escaped quote", "99 deep", "101 deep", "after an escaped backslash"],
)
async def test_depth_is_counted_outside_of_texts(stack: Stack, content: bytes, depth_is_fine: bool) -> None:
    response = await stack.http.post("/v1/schedules", content=content, headers=JSON)
    assert ("more than 100 levels deep" not in response.json()["detail"]) is depth_is_fine


async def test_a_body_that_comes_too_slowly_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.body_limits.BODY_SECONDS", 0.3)
    async with door() as http:
        answer = await raw(http, request(body=b'{"message"', length=60))
        assert b"408" in answer.partition(b"\r\n")[0]
        assert (await http.get(ASSISTANTS)).status_code == 200


async def test_a_body_that_breaks_off_starts_nothing(door: Door, stack: Stack, fresh: Fresh) -> None:
    """What came is whole JSON, but more was announced: nobody knows what else was meant."""
    message = fresh("Never started")
    async with door() as http:
        _, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(request(body=json.dumps({"message": message}).encode(), length=5000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await http.get(ASSISTANTS)).status_code == 200
    assert stack.model.requests_for(message) == []


async def test_every_answer_says_what_the_caller_has_left(door: Door) -> None:
    async with door(retinue_rate_limit="5/600") as http:
        answers = [await http.get(ASSISTANTS) for _ in range(5)]
        assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"caller";q=5;w=600'] * 5
        assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers] == [
            f'"caller";r={left}' for left in (4, 3, 2, 1, 0)
        ]
        full = [int(answer.headers["RateLimit"].partition(";t=")[2]) for answer in answers]
        assert full == sorted(full)
        assert 117 <= full[0] <= 120
        assert 580 <= full[4] <= 600


async def test_who_asks_too_often_is_told_when_to_come_again_and_harms_nobody_else(door: Door) -> None:
    async with door(retinue_rate_limit="3/60", retinue_user_header="X-Person") as http:
        annas = [await http.get(ASSISTANTS, headers={"X-Person": "anna"}) for _ in range(5)]
        assert [answer.status_code for answer in annas] == [200, 200, 200, 429, 429]
        refused(annas[3], 429, "rate limit exceeded")
        assert 1 <= int(annas[4].headers["Retry-After"]) <= 20
        assert annas[4].headers["RateLimit"].startswith('"caller";r=0')
        assert (await http.get(ASSISTANTS, headers={"X-Person": "bob"})).status_code == 200
        probes = [await http.get(path) for path in ("/healthz", "/metrics", "/openapi.json") for _ in range(5)]
        assert {probe.status_code for probe in probes} == {200}


async def test_after_the_pause_the_caller_is_served_again(door: Door) -> None:
    """However often they asked meanwhile."""
    async with door(retinue_rate_limit="2/1") as http:
        answers = await asyncio.gather(*[http.get(ASSISTANTS) for _ in range(40)])
        assert 429 in {answer.status_code for answer in answers}
        await eventually(lambda: http.get(ASSISTANTS), lambda answer: answer.status_code == 200)


async def test_without_a_setting_one_person_is_hardly_limited_and_several_are(door: Door) -> None:
    async with door() as http:
        assert (await http.get(ASSISTANTS)).headers["RateLimit-Policy"] == '"caller";q=60000;w=60'
    async with door(retinue_user_header="X-Person") as http:
        answer = await http.get(ASSISTANTS, headers={"X-Person": "anna"})
        assert answer.headers["RateLimit-Policy"] == '"caller";q=1200;w=60'


@pytest.mark.parametrize("words", ["", "many", "0/60", "10/0", "10", "-1/60", "10/60/2"])
def test_a_wrong_rate_keeps_the_door_shut(words: str) -> None:
    with pytest.raises(ValueError, match="use REQUESTS/SECONDS"):
        create_app(ApiSettings(retinue_failed_logins=words or " "))


WEBHOOKS = {"/v1/webhooks", "/v1/webhooks/{webhook_id}", "/v1/webhooks/{webhook_id}/test"}
AT_REST = {"/v1/session", "/v1/me", "/v1/keys", "/v1/keys/{key_id}", "/v1/models", "/v1/models/{model}"} | WEBHOOKS
"""What needs the API's own database alone, or nothing; a test message to a webhook needs the webhook first."""
RESPONSE = "/v1/responses/{response_id}"
IN_ITS_OWN_WORDS = {"/v1/chat/completions", "/v1/responses", RESPONSE, f"{RESPONSE}/input_items", f"{RESPONSE}/cancel"}
"""Says the same in its protocol's shape; tests/api/protocols shows it."""
BODIES: dict[str, Json] = {
    "/v1/assistants": {"message": "hi"},
    "/v1/assistants/{assistant_id}/messages": {"message": "hi"},
    "/v1/assistants/{assistant_id}/fork": {"from_step": "s1"},
    "/v1/assistants/{assistant_id}/steps/{step_id}": {"choice": "skip"},
    "/v1/assistants/{assistant_id}/approvals/{approval_id}": {"decision": "approve", "args_hash": "0"},
    "/v1/approvals": {
        "decisions": [{"assistant_id": "a", "approval_id": "b", "decision": "approve", "args_hash": "0"}]
    },
    "/v1/grants": {"tool": "email.send", "args": {}},
    "/v1/triggers": {"message": "hi", "event": "mail"},
    "/v1/schedules": {"message": "hi", "cron": "0 9 * * *"},
}


async def test_while_temporal_is_away_every_route_says_so_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    """503 with Retry-After from each operation of openapi.json; with a key too, which stays free for later."""
    client = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True, data_converter=DATA_CONVERTER)
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
    async with browsing(create_app(settings, client=client)) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
        calls = [
            (method.upper(), path)
            for path, operations in paths.items()
            for method in operations
            if path.startswith("/v1/") and path not in AT_REST | IN_ITS_OWN_WORDS
            if not path.startswith("/v1/accounts")  # they need the accounts service, and are switched off here
        ]
        assert len(calls) >= 20

        async def one(method: str, path: str) -> None:
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            response = await http.request(method, path, json=BODIES.get(path), headers=headers)
            refused(response, 503, "try again")
            assert int(response.headers["Retry-After"]) >= 1

        await asyncio.gather(*[one(*call) for call in calls])


async def test_a_key_of_ten_kilobytes_is_refused_on_a_real_port_too(door: Door, stack: Stack, fresh: Fresh) -> None:
    message = fresh("Never started")
    async with door() as http:
        for key in ("x" * 10_000, "", "a b", "x" * 201):
            response = await http.post(ASSISTANTS, json={"message": message}, headers={"Idempotency-Key": key})
            refused(response, 400, "1 to 200 visible ASCII characters")
        broken = request(b"Idempotency-Key: a\r\nX-Owner: bob\r\n", json.dumps({"message": ""}).encode())
        assert b"422" in (await raw(http, broken)).partition(b"\r\n")[0]
    assert stack.model.requests_for(message) == []


async def test_a_usual_request_still_runs_through_all_of_it(door: Door, stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    async with door() as http:
        answer = await http.post(ASSISTANTS, json={"message": message, "wait_seconds": 20})
        assert (answer.status_code, answer.json()["reply"]) == (202, "Hello!")


async def test_invented_methods_do_not_fill_the_metrics(stack: Stack) -> None:
    for _ in range(3):
        assert (await stack.http.request(f"X{uuid.uuid4().hex}".upper(), ASSISTANTS, json={})).status_code == 405
    assert 'method="X' not in (await stack.http.get("/metrics")).text
