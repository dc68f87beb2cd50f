"""Two hundred readers of twenty runs, two processes of the API, and then Temporal and both of them killed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

import activities
from retinue.client import AsyncClient, ClientError
from retinue.temporal.registry import announce
from retinue.testing import ScriptedModel, plan_answer, scripted_model
from tests.api.events.folding import Folded, Told, once, same
from tests.faults.conftest import Server, connected, kill
from tests.test_main_job import mail
from workers import children, temporal_server
from workers.children import Child
from workers.runner import capability_worker, workflows_worker

pytestmark = pytest.mark.long

RUNS, READERS = 20, 10
"""Of each run."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Everything is on this machine; without this, each client would read the system's certificates."""


class As(httpx.AsyncHTTPTransport):
    """Somebody's requests, as a proxy that has recognised them passes them on."""

    def __init__(self, person: str) -> None:
        super().__init__(verify=NO_TLS, limits=httpx.Limits(max_connections=2 * READERS))
        self._person = person

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-User"] = self._person
        return await super().handle_async_request(request)


@dataclass
class Api:
    """A process of the API."""

    environment: dict[str, str]
    log: Path
    port: int = field(default_factory=temporal_server.free_port)

    def start(self) -> None:
        variables = {**self.environment, "RETINUE_PORT": str(self.port)}
        self.child = Child(name="api", module="api", arguments=[], environment=variables, log=self.log)
        self.child.start()

    def kill(self) -> None:
        kill(self.child)

    async def ready(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            while not await _answers(http):  # noqa: ASYNC110  # another process, which sets no event here
                await asyncio.sleep(0.1)

    async def view(self, run: Run) -> dict[str, Any]:
        """As its person sees it."""
        async with httpx.AsyncClient(transport=As(run.person), timeout=30) as http:
            found: dict[str, Any] = (await http.get(f"http://127.0.0.1:{self.port}/v1/assistants/{run.id}")).json()
        return found

    def client(self, person: str) -> AsyncClient:
        """For somebody."""
        return AsyncClient(f"http://127.0.0.1:{self.port}", "", timeout=40, transport=As(person))


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Killable:
    """A product of which everything but the workers can be killed."""

    server: Server
    one: Api
    other: Api
    model: ScriptedModel


@pytest.fixture
async def killable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Killable]:
    server = Server(tmp_path)
    server.start()
    async with AsyncExitStack() as things:
        things.callback(server.kill)
        model = await things.enter_async_context(scripted_model())
        shared = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
            "RETINUE_DATA_DIR": str(tmp_path),
            "RETINUE_USER_HEADER": "X-User",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-canary-0123456789",
            "RETINUE_MODEL": "scripted",
        }
        for name, value in shared.items():
            monkeypatch.setenv(name, value)
        children.prepare()
        doors = [Api(shared, tmp_path / f"api-{number}.log") for number in range(2)]
        for door in doors:
            door.start()
            things.callback(door.kill)
        client = await connected()
        await things.enter_async_context(workflows_worker(client))
        module = activities.load("reasoning")
        for name in ("email", "reasoning"):
            await announce(client, activities.load(name).CONTRACT.manifest())
        await things.enter_async_context(capability_worker(client, module.CONTRACT, module.plugin()))
        for door in doors:
            await door.ready()
        yield Killable(server, doors[0], doors[1], model)


@dataclass
class Run:
    """One run, and those who read it."""

    person: str
    id: str
    readers: list[Folded] = field(default_factory=lambda: [Folded() for _ in range(READERS)])

    async def read(self, client: AsyncClient, folded: Folded, until: str) -> None:
        """Fold what is told until the first event of a kind; comes back where the reader had left."""
        async for event in client.assistants.events(self.id, after=folded.last_id):
            folded.fold(Told(event.kind, dict(event.data), event.id or ""))
            if event.kind == until:
                return

    async def decide(self, client: AsyncClient) -> None:
        """Reject, as often as it takes until everything is there again."""
        approval = self.readers[0].approvals["ap-m"]
        async with asyncio.timeout(40):
            while True:
                try:
                    await client.approvals.decide(self.id, "ap-m", "reject", args_hash=approval["args_hash"])
                except ClientError:
                    await asyncio.sleep(0.5)
                else:
                    return


async def started(api: Api, model: ScriptedModel, number: int) -> Run:
    """A run of a person of its own, which will wait for an approval."""
    message, person = f"Mail it, run {number}", f"person-{number}"
    write = {"id": "s1", "tool": "reasoning.compose", "args": {"instruction": message, "inputs": {}}}
    model.script(message, plan_answer([write, mail("m", depends_on=["s1"])]))
    async with api.client(person) as client:
        return Run(person, (await client.assistants.start(message)).id)


async def test_two_hundred_readers_hear_everything_once_and_in_order_though_all_is_killed(killable: Killable) -> None:
    doors = [killable.one, killable.other]
    runs = await asyncio.gather(*[started(doors[number % 2], killable.model, number) for number in range(RUNS)])
    async with AsyncExitStack() as things:
        at_one = [await things.enter_async_context(killable.one.client(run.person)) for run in runs]
        at_other = [await things.enter_async_context(killable.other.client(run.person)) for run in runs]
        stay = [
            asyncio.create_task(run.read(client, folded, "end"))
            for run, client in zip(runs, at_one, strict=True)
            for folded in run.readers[::2]
        ]
        async with asyncio.timeout(40):
            await asyncio.gather(
                *[
                    run.read(client, folded, "approval")
                    for run, client in zip(runs, at_other, strict=True)
                    for folded in run.readers[1::2]
                ]
            )
            while not all(folded.approvals for run in runs for folded in run.readers):  # noqa: ASYNC110  # 100 tasks
                await asyncio.sleep(0.05)

        for killed in (killable.one, killable.other, killable.server):
            killed.kill()
        killable.server.start()
        killable.one.start()
        await killable.one.ready()
        come_back = [
            asyncio.create_task(run.read(client, folded, "end"))
            for run, client in zip(runs, at_one, strict=True)
            for folded in run.readers[1::2]
        ]
        await asyncio.gather(*[run.decide(client) for run, client in zip(runs, at_one, strict=True)])
        async with asyncio.timeout(40):
            await asyncio.gather(*stay, *come_back)
        for run in runs:
            view = await killable.one.view(run)
            for folded in run.readers:
                heard_once_and_in_order(folded, view)


def heard_once_and_in_order(folded: Folded, view: dict[str, Any]) -> None:
    ids = [event.id for event in folded.told if event.kind != "text"]
    assert len(set(ids)) == len(ids)
    places = [int(event_id.split(".")[1]) for event_id in ids]
    assert places == sorted(places)
    assert folded.ended
    assert folded.approvals["ap-m"]["status"] == "rejected"
    assert [step["status"] for step in folded.steps] == ["completed", "rejected"]
    once(folded)
    same(folded, view)
