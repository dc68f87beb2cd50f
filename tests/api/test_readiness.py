"""`/readyz` and the doctor name what really waits, on a server whose registry does not answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.app import create_app
from api.routes import health
from api.settings import ApiSettings
from cli import doctor
from cli.findings import Level
from retinue.capability import WORKFLOW_QUEUE
from retinue.temporal import registry
from retinue.temporal.connection import DATA_CONVERTER, connect
from retinue.temporal.pollers import last_start
from retinue.temporal.registry import REGISTRY_ID
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from retinue.testing import serving
from tests.conftest import Stack
from workers import temporal_server
from workers.workflow_tasks import WatchedRunner, WorkflowTasks

MUTE = threading.Event()


@workflow.defn(name="RegistryWorkflow")
class MuteRegistry:
    """Its first task does not end, so it answers nothing."""

    @workflow.run
    async def run(self) -> None:
        MUTE.wait(50)


@pytest.fixture
def mute() -> Iterator[None]:
    MUTE.clear()
    yield
    MUTE.set()


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A server of its own."""
    attributes = [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=str(temporal_server.binary()),
        dev_server_log_level="error",
        dev_server_extra_args=[part for each in attributes for part in ("--search-attribute", each)],
    ) as environment:
        monkeypatch.setenv("TEMPORAL_ADDRESS", environment.client.service_client.config.target_host)
        yield await connect()


def worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        workflows=[MuteRegistry],
        workflow_runner=WatchedRunner(UnsandboxedWorkflowRunner(), WorkflowTasks()),
        build_id="test",
    )


async def once_polled(http: httpx.AsyncClient) -> httpx.Response:
    """The first answer after the server has heard of the worker."""
    for _ in range(200):
        ready = await http.get("/readyz")
        if ready.json()["waiting_for"] != ["workflow worker"]:
            break
        await asyncio.sleep(0.1)
    return ready


@pytest.mark.usefixtures("mute")
async def test_a_registry_that_does_not_answer_is_named_with_the_restart_of_its_worker(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_RPC_TIMEOUT", registry._RPC_TIMEOUT / 5)
    monkeypatch.setattr(health, "_FRESH", 0)
    monkeypatch.setattr(health, "last_start", at(datetime(2027, 1, 2, 8, 15, tzinfo=UTC)))
    async with (
        serving(create_app(ApiSettings(), client=client)) as url,
        httpx.AsyncClient(base_url=url) as http,
        worker(client),
    ):
        assert (await once_polled(http)).json()["status"] == "ok"
        await client.start_workflow("RegistryWorkflow", id=REGISTRY_ID, task_queue=WORKFLOW_QUEUE)
        monkeypatch.setattr(health, "last_start", at(datetime(2027, 1, 2, 9, 41, tzinfo=UTC)))
        ready = await http.get("/readyz")
        monkeypatch.setattr(health, "last_start", at(None))
        found = await asyncio.to_thread(doctor.api, url)
        MUTE.set()
    assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["registry"])
    assert ready.json()["detail"] == "the registry does not answer; workflow worker restarted 09:41 UTC"
    assert ready.json()["detail"] in found.found


def at(moment: datetime | None) -> Callable[..., Awaitable[datetime | None]]:
    """In place of the server, which does not know any more once the worker's heartbeats end."""

    async def started(_client: Client, _queue: str) -> datetime | None:
        return moment

    return started


async def test_the_server_tells_when_a_worker_started(temporal: Client, stack: Stack) -> None:
    before = datetime.now(UTC)
    async with Worker(
        temporal, task_queue="started-now", workflows=[MuteRegistry], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        for _ in range(200):
            if started := await last_start(temporal, "started-now"):
                break
            await asyncio.sleep(0.1)
    assert started is not None
    assert abs(started - before) < timedelta(minutes=5)


async def test_a_door_that_was_ready_notices_a_registry_that_answers_no_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs could not be planned, so requests would be taken that nobody works on."""
    assert (await stack.http.get("/readyz")).status_code == 200
    monkeypatch.setattr(health, "_FRESH", 0)
    monkeypatch.setattr(registry, "_RPC_TIMEOUT", registry._RPC_TIMEOUT / 5000)
    ready = await stack.http.get("/readyz")
    assert ready.json()["waiting_for"] == ["registry"]


async def test_a_capability_that_is_gone_is_named_and_the_door_stays_ready(stack: Stack) -> None:
    app = create_app(ApiSettings(retinue_wait_for="ghost"), client=stack.temporal)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        before = await http.get("/readyz")
        app.state.house.ready = True
        ready = await http.get("/readyz")
        found = await asyncio.to_thread(doctor.api, url)
    assert (before.status_code, before.json()["waiting_for"]) == (503, ["ghost"])
    assert (ready.status_code, ready.json()["waiting_for"]) == (200, [])
    assert ready.json()["detail"] == "ghost has not registered; its steps wait"
    assert (found.level, ready.json()["detail"] in found.found) == (Level.WARN, True)
