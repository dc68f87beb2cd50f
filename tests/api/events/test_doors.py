"""Streams as what carries them sees them: a process that goes down, its metrics, the document of the API, lists."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn

from api.__main__ import ApiServer
from api.app import create_app
from api.http.metrics import REGISTRY
from api.settings import ApiSettings
from retinue.testing import plan_answer
from tests.api.conftest import eventually
from tests.api.events.conftest import Door
from tests.api.events.folding import Folded, once, read, same, stream, until
from tests.conftest import Stack
from tests.test_main_job import mail

Fresh = Callable[[str], str]
ROUTE = "/v1/assistants/{assistant_id}/events"


async def test_readers_are_let_go_when_a_process_stops_and_go_on_at_another(
    stack: Stack, another_door: Door, fresh: Fresh
) -> None:
    message, folded = fresh("Mail it"), Folded()
    stack.model.script(message, plan_answer([mail("s1")]))
    assistant_id = (await stack.start(message))["id"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(ApiSettings(), client=stack.temporal)
        # so long would it wait for open streams: longer than a test may take
        server = ApiServer(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=100))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  # uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=50) as http, stream(http, assistant_id) as told:
            await until(told, folded, "status", status="awaiting_approval")
            server.should_exit = True
            assert await anext(told, None) is None
        await serving
    await stack.decide(await stack.asked(assistant_id))
    await read(another_door.http, assistant_id, folded)
    same(folded, await stack.view(assistant_id))
    once(folded)


async def test_how_long_a_stream_lives_says_nothing_of_how_fast_the_door_answers(
    stack: Stack, door: Door, fresh: Fresh
) -> None:
    message, folded = fresh("Mail it"), Folded()
    stack.model.script(message, plan_answer([mail("s1")]))
    assistant_id = (await stack.start(message))["id"]
    before, asked = await _seconds(), time.monotonic()
    async with stream(door.http, assistant_id) as told:
        begun = time.monotonic()
        await until(told, folded, "approval")
        await stack.decide(await stack.asked(assistant_id))
        await until(told, folded, "end")
        assert await anext(told, None) is None
    count, seconds = await eventually(_seconds, lambda found: found[0] > before[0])
    assert count == before[0] + 1
    assert seconds - before[1] <= begun - asked


async def _seconds() -> tuple[float, float]:
    labels = {"method": "GET", "route": ROUTE}
    name = "retinue_http_request_seconds"
    count, total = (REGISTRY.get_sample_value(f"{name}_{part}", labels) or 0.0 for part in ("count", "sum"))
    return count, total


async def test_the_document_of_the_api_refers_to_nothing_that_is_not_in_it(stack: Stack) -> None:
    document = (await stack.http.get("/openapi.json")).json()
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(_references(document)) <= known
    [schema] = [kind["schema"] for kind in document["paths"][ROUTE]["get"]["responses"]["200"]["content"].values()]
    assert "text" in schema["properties"]["event"]["enum"]


def _references(found: Any) -> list[str]:
    """All `$ref` of a document."""
    return [part.split('"')[0] for part in json.dumps(found).split('"$ref": "')[1:]]


GRANT = {"tool": "email.send", "args": {"/to": ["*@example.com"], "/cc": []}}
SCHEDULE = {"message": "Weather", "cron": "0 7 * * *"}
LISTS = {
    "/v1/assistants": ("/v1/assistants", {"message": "Mail it"}),
    "/v1/grants": ("/v1/grants", GRANT),
    "/v1/schedules": ("/v1/schedules", SCHEDULE),
}


@pytest.mark.parametrize("path", [*LISTS, "/v1/approvals"])
async def test_who_has_a_list_as_it_is_gets_none(named: Door, path: str) -> None:
    async with named.person(uuid.uuid4().hex) as anna:
        first = await anna.get(path)
        known = {"If-None-Match": f'W/"another", {first.headers["etag"]}'}
        again = await anna.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = await anna.get(path, headers={"If-None-Match": 'W/"another"'})
        assert (other.status_code, other.json()) == (200, first.json())


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_with_another_line_is_sent(stack: Stack, named: Door, path: str, fresh: Fresh) -> None:
    added, body = LISTS[path]
    async with named.person(uuid.uuid4().hex) as anna:
        known = {"If-None-Match": (await anna.get(path)).headers["etag"]}
        assert (await anna.post(added, json=body)).status_code in (201, 202)
        answer = await eventually(partial(anna.get, path, headers=known), lambda answer: answer.status_code != 304)
        assert answer.status_code == 200
        assert answer.headers["etag"] != known["If-None-Match"]


async def test_capabilities_have_a_tag(stack: Stack) -> None:
    first = await stack.http.get("/v1/capabilities")
    again = await stack.http.get("/v1/capabilities", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code in (200, 304)
    assert (again.status_code == 304) == (again.headers["etag"] == first.headers["etag"])
