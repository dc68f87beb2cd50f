"""The routes as programs use them: lists, capabilities, health, metrics, documentation, and life without Temporal."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

import api.services.run_list
from api.app import create_app
from api.settings import ApiSettings
from retinue.capability import Manifest, ToolSpec
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import announce
from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, browsing, eventually, refused
from tests.conftest import Stack, View, pending
from workers.temporal_server import free_port

ASSISTANTS = "/v1/assistants"
MAIL = {"id": "s1", "tool": "email.send", "args": {"to": ["team@example.com"], "subject": "x", "body": "y"}}
ANSWERED = plan_answer(reply="Hello!")
ASKING = plan_answer([MAIL])
REFUSED = Answer(status=400)


async def run(stack: Stack, message: str, answer: Answer) -> View:
    """A run that has come as far as its first answer leads: to its end or to a person."""
    stack.model.script(message, answer)
    return await stack.start(message, wait_seconds=20)


async def page(stack: Stack, **query: str | int) -> View:
    response = await stack.http.get(ASSISTANTS, params=query)
    assert response.status_code == 200, response.text
    content: View = response.json()
    return content


async def all_ids(stack: Stack, *, limit: int) -> list[str]:
    """Every assistant in the order of the list, page by page."""
    found: list[str] = []
    query: dict[str, str | int] = {"limit": limit}
    while True:
        shown = await page(stack, **query)
        found += [item["id"] for item in shown["assistants"]]
        if not shown["next_cursor"]:
            return found
        assert len(shown["assistants"]) == limit
        query["cursor"] = shown["next_cursor"]


async def listed(stack: Stack, newest: str) -> View:
    """The first page, once it shows the run that was started last."""
    shown: View = await eventually(
        lambda: page(stack, limit=100), lambda shown: newest in {item["id"] for item in shown["assistants"]}
    )
    return shown


async def test_the_list_is_newest_first_and_pages_lose_and_repeat_nothing(stack: Stack, fresh: Fresh) -> None:
    """Some runs have ended and some wait; between two pages one ends and another begins."""
    answers = [ASKING, ANSWERED, ASKING, REFUSED, ANSWERED, ASKING, ANSWERED]
    started = [(await run(stack, fresh(f"Number {number}"), answer))["id"] for number, answer in enumerate(answers)]
    newest_first = started[::-1]
    await listed(stack, started[-1])
    first = await page(stack, limit=3)
    await stack.http.post(f"{ASSISTANTS}/{started[5]}/cancel")
    late = (await run(stack, fresh("Late"), ANSWERED))["id"]
    await listed(stack, late)
    second = await page(stack, limit=2, cursor=first["next_cursor"])
    third = await page(stack, limit=2, cursor=second["next_cursor"])
    shown = [item["id"] for part in (first, second, third) for item in part["assistants"]]
    assert shown == newest_first
    assert (await page(stack, limit=1))["assistants"][0]["id"] == late
    for assistant_id in (started[0], started[2]):
        await stack.http.post(f"{ASSISTANTS}/{assistant_id}/cancel")


@pytest.mark.parametrize("widths", [(60,), (0, 1, 3), ()], ids=["the usual", "many windows", "all at once"])
async def test_every_run_is_on_exactly_one_page(
    stack: Stack, fresh: Fresh, monkeypatch: pytest.MonkeyPatch, widths: tuple[int, ...]
) -> None:
    """However the list looks back in time, in windows that hold many runs or none."""
    monkeypatch.setattr(api.services.run_list, "_WINDOWS", (*(timedelta(seconds=width) for width in widths), None))
    for number in range(4):
        newest = (await run(stack, fresh(f"Number {number}"), ANSWERED))["id"]
        await asyncio.sleep(0.5)
    await listed(stack, newest)
    found = [
        execution
        async for execution in stack.temporal.list_workflows(
            "WorkflowType IN ('AssistantWorkflow', 'BriefingWorkflow') AND RetinueOwner = 'local'"
        )
    ]
    newest_first = [found.id for found in sorted(found, key=lambda found: found.start_time, reverse=True)]
    assert await all_ids(stack, limit=max(2, len(newest_first) // 5)) == newest_first


async def test_a_line_of_the_list_says_what_a_person_looks_for(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com " + "and be long " * 20)
    view = await run(stack, message, ASKING)

    async def line() -> Any:
        shown = await page(stack, limit=100)
        return next((item for item in shown["assistants"] if item["id"] == view["id"]), None)

    waiting = await eventually(line, lambda line: line and line["status"] == "awaiting_approval")
    assert waiting["pending_approvals"] == 1
    assert waiting["message"][:119] == message[:119]
    assert len(waiting["message"]) == 120
    assert waiting["finished_at"] is None
    assert waiting["links"]["self"] == f"{ASSISTANTS}/{view['id']}"
    await stack.http.post(f"{ASSISTANTS}/{view['id']}/cancel")
    ended = await eventually(line, lambda line: line and line["status"] == "cancelled")
    assert ended["pending_approvals"] == 0
    assert ended["finished_at"] >= ended["started_at"]


async def test_the_list_can_be_filtered_by_status(stack: Stack, fresh: Fresh) -> None:
    """Also by that of a run that was terminated in Temporal and could not say so itself."""
    expected = {
        "completed": [(await run(stack, fresh("Done"), ANSWERED))["id"]],
        "awaiting_approval": [(await run(stack, fresh("Mail team@example.com"), ASKING))["id"]],
        "awaiting_input": [(await run(stack, fresh("What?"), plan_answer(question="Which?")))["id"]],
        "failed": [(await run(stack, fresh("Broken"), REFUSED))["id"]],
        "cancelled": [(await run(stack, fresh("Stopped"), ASKING))["id"]],
    }
    terminated = (await run(stack, fresh("Terminated"), ASKING))["id"]
    await stack.temporal.get_workflow_handle(terminated).terminate()
    expected["failed"].append(terminated)
    await stack.http.post(f"{ASSISTANTS}/{expected['cancelled'][0]}/cancel")
    ours = {assistant_id for ids in expected.values() for assistant_id in ids}

    async def by_status() -> dict[str, set[str]]:
        pages = {status: (await page(stack, status=status, limit=100))["assistants"] for status in expected}
        assert all(item["status"] == status for status, items in pages.items() for item in items)
        return {status: {item["id"] for item in items} & ours for status, items in pages.items()}

    await eventually(by_status, lambda found: found == {status: set(ids) for status, ids in expected.items()})
    for status in ("awaiting_approval", "awaiting_input"):
        await stack.http.post(f"{ASSISTANTS}/{expected[status][0]}/cancel")


async def test_a_terminated_run_says_so(stack: Stack, fresh: Fresh) -> None:
    view = await run(stack, fresh("Mail team@example.com"), ASKING)
    await stack.temporal.get_workflow_handle(view["id"]).terminate()
    ended = await stack.ended(view["id"])
    assert (ended["status"], ended["error"]["message"]) == ("failed", "the assistant was terminated in Temporal")
    refused(await stack.decide(view), 409, "has ended")


async def test_a_start_says_where_its_run_is(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, ANSWERED)
    response = await stack.http.post(ASSISTANTS, json={"message": message})
    assert response.status_code == 202
    assert response.headers["Location"] == response.json()["links"]["self"]
    assert (await stack.http.get(response.headers["Location"])).json()["message"] == message
    assert response.json()["links"]["temporal_ui"].endswith(f"/workflows/{response.json()['id']}")


async def test_waiting_ends_as_soon_as_a_person_is_needed(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, ASKING)
    began = time.monotonic()
    started = await stack.start(message, wait_seconds=30)
    read = (await stack.http.get(f"{ASSISTANTS}/{started['id']}", params={"wait_seconds": 30})).json()
    assert time.monotonic() - began < 20
    assert len(pending(started)) == len(pending(read)) == 1
    await stack.http.post(f"{ASSISTANTS}/{started['id']}/cancel")


async def test_waiting_ends_when_its_time_is_over(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, Answer(ANSWERED.text, delay=2.5))
    began = time.monotonic()
    view = await stack.start(message, wait_seconds=1)
    assert 1 <= time.monotonic() - began < 2.4
    assert view["status"] == "planning"
    assert (await stack.ended(view["id"]))["reply"] == "Hello!"


async def test_capabilities_show_who_is_there_to_work(stack: Stack) -> None:
    """One that was announced without a worker is shown as what it is."""
    name = f"ghost-{uuid.uuid4().hex[:8]}"
    spec = ToolSpec(name=f"{name}.haunt", title="Haunt", description="Haunt.", args_schema={}, plannable=False)
    await announce(
        stack.temporal,
        Manifest(name=name, version="1", description="Nobody is there.", task_queue=f"{name}-queue", tools=[spec]),
    )
    response = await stack.http.get("/v1/capabilities")
    assert response.status_code == 200
    found = {item["name"]: item for item in response.json()["capabilities"]}
    house = {"calendar", "contacts", "email", "reasoning", "weather"}
    assert house <= found.keys()
    assert (found[name]["pollers"], found[name]["healthy"]) == (0, False)
    assert all(found[item]["pollers"] > 0 and found[item]["healthy"] for item in house)
    send = next(tool for tool in found["email"]["tools"] if tool["name"] == "email.send")
    assert {"to", "subject", "body"} <= set(send["args_schema"]["required"])
    assert send["annotations"]["open_world"]


async def test_health_is_said_without_a_problem(stack: Stack) -> None:
    for path in ("/healthz", "/readyz"):
        response = await stack.http.get(path)
        assert (response.status_code, response.json()["status"]) == (200, "ok")


async def test_not_ready_before_what_was_waited_for_has_been_seen(stack: Stack) -> None:
    settings = ApiSettings(retinue_wait_for="weather, nobody,email")
    async with browsing(create_app(settings, client=stack.temporal)) as http:
        response = await http.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "status": "waiting",
            "waiting_for": ["nobody"],
            "detail": "nobody has not registered",
        }
        assert (await http.get(ASSISTANTS)).status_code == 200


async def test_metrics_count_requests_runs_and_decisions_but_name_nobody(stack: Stack, fresh: Fresh) -> None:
    async def counted(line: str) -> float:
        text = (await stack.http.get("/metrics")).text
        return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(f"{line} "))

    lines = [
        "retinue_assistants_started_total",
        'retinue_decisions_total{decision="approve"}',
        'retinue_http_requests_total{method="POST",route="/v1/assistants",status="202"}',
        'retinue_http_requests_total{method="GET",route="/v1/assistants/{assistant_id}",status="404"}',
        'retinue_http_request_seconds_count{method="POST",route="/v1/assistants"}',
    ]
    before = [await counted(line) for line in lines]
    view = await run(stack, fresh("Mail team@example.com"), ASKING)
    await stack.decide(view)
    await stack.http.get(f"{ASSISTANTS}/a-unknown")
    await stack.ended(view["id"])
    assert [await counted(line) for line in lines] == [count + 1 for count in before]
    response = await stack.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert view["id"] not in response.text
    assert "a-unknown" not in response.text


async def test_openapi_documents_every_answer_of_every_operation(stack: Stack) -> None:
    document = (await stack.http.get("/openapi.json")).json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
        and not path.startswith(("/v1/chat/", "/v1/responses", "/v1/models"))  # these speak OpenAI's words
    }
    assert len(operations) >= 8
    for name, operation in operations.items():
        responses = operation["responses"]
        good = [answer.get("content", {}) for status, answer in responses.items() if status.startswith(("2", "303"))]
        assert all("$ref" in json.dumps(kinds["application/json"]) for kinds in good if "application/json" in kinds), (
            name
        )
        assert good, name
        problems = {status: answer for status, answer in responses.items() if status.startswith(("4", "5"))}
        assert {"400", "404", "409", "413", "415", "422", "503"} <= problems.keys(), name
        for status, answer in problems.items():
            assert answer["content"].keys() == {"application/problem+json"}, (name, status)
            assert {"type", "title", "status", "detail"} <= answer["content"]["application/problem+json"]["schema"][
                "properties"
            ].keys()
        assert operation["summary"], name


AWAY = [
    ("GET", ASSISTANTS, None),
    ("GET", f"{ASSISTANTS}/a-1", None),
    ("GET", f"{ASSISTANTS}/a-1?wait_seconds=2", None),
    ("POST", ASSISTANTS, {"message": "hi"}),
    ("POST", f"{ASSISTANTS}/a-1/cancel", None),
    ("POST", f"{ASSISTANTS}/a-1/messages", {"message": "hi"}),
    ("POST", f"{ASSISTANTS}/a-1/approvals/ap-s1", {"decision": "approve", "args_hash": "0"}),
    ("GET", "/v1/approvals", None),
    ("GET", "/v1/capabilities", None),
]


async def refuses_in_time(http: httpx.AsyncClient) -> None:
    """Every route says within 10 seconds that Temporal is away, and the process itself is well."""

    async def one(method: str, path: str, body: Any) -> None:
        began = time.monotonic()
        response = await http.request(method, path, json=body)
        assert time.monotonic() - began < 20, path
        refused(response, 503, "try again in a few seconds")
        assert int(response.headers["Retry-After"]) >= 1

    await asyncio.gather(*[one(*call) for call in AWAY])
    assert (await http.get("/healthz")).status_code == 200
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["temporal"])


Door = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Opens a front door with its own key table and a lazy client, as `python -m api` has it."""

    @asynccontextmanager
    async def opened(address: str) -> AsyncIterator[httpx.AsyncClient]:
        client = await Client.connect(address, lazy=True, data_converter=DATA_CONVERTER)
        settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
        async with browsing(create_app(settings, client=client)) as http:
            yield http

    return opened


async def test_before_temporal_is_there_the_door_says_so(door: Door) -> None:
    async with door(f"127.0.0.1:{free_port()}") as http:
        await refuses_in_time(http)


async def test_a_server_that_accepts_and_never_answers_is_away_too(door: Door) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, door(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as http:
        await refuses_in_time(http)
        server.close()


async def test_while_temporal_is_lost_nothing_is_and_afterwards_all_goes_on(
    stack: Stack, fresh: Fresh, door: Door
) -> None:
    """The connection breaks after it was good; a request that was refused meanwhile works when it is repeated."""
    message = fresh("Hello")
    stack.model.script(message, ANSWERED)
    body = {"message": message, "wait_seconds": 20}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    line = Line(stack.temporal.service_client.config.target_host)
    await line.connect()
    async with door(f"127.0.0.1:{line.port}") as http:
        assert (await http.get("/readyz")).status_code == 200
        await line.cut()
        lost, _ = await asyncio.gather(http.post(ASSISTANTS, json=body, headers=headers), refuses_in_time(http))
        refused(lost, 503)
        await line.connect()
        await eventually(lambda: http.get("/readyz"), lambda response: response.status_code == 200)
        assert (await http.post(ASSISTANTS, json=body, headers=headers)).json()["reply"] == "Hello!"
    await line.cut()


class Line:
    """A TCP line to a server that can be cut and connected again on the same port."""

    def __init__(self, target: str) -> None:
        self._host, _, self._target_port = target.rpartition(":")
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._host, int(self._target_port))
        self._writers += [writer, downstream]
        await asyncio.gather(_pipe(reader, downstream), _pipe(upstream, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
