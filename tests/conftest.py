"""What all tests share: one real Temporal dev server per test process, and one whole stack on it.

The stack is the product itself: API, workflow worker, one worker per capability with its own SQLite file. Only the
language model is scripted. Tests keep apart by fresh messages, keys and names.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from hypothesis import settings
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import activities
from api.app import create_app
from api.settings import ApiSettings
from retinue.accounts import caller_keys
from retinue.capability import Annotations, Capability, Manifest, ToolSpec
from retinue.settings import LOCAL_PERSON, ONLY_PERSON
from retinue.temporal.connection import DATA_CONVERTER, connect
from retinue.temporal.registry import announce
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from retinue.testing import ScriptedModel, scripted_model, serving
from workers import temporal_server
from workers.runner import capability_worker, workflows_worker

pytest_plugins = ["tests.guard"]
os.environ["REASONING_STRUCTURED"] = "json_schema"
"""Else each model is asked once more, before it first plans; the tests of that say so."""
os.environ["RETINUE_TRIGGER_SECONDS"] = "1"
"""The watch of a mailbox lasts as long as the stack, and keeps the pause with which the first test's trigger began it."""
settings.register_profile("search", deadline=None, max_examples=2000)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
"""The same examples in every run, so that a change is not refused for what was there before it. New counterexamples are
searched by `--hypothesis-profile=search`; what is found becomes an `@example`."""
View = dict[str, Any]
ENDED = {"completed", "failed", "cancelled"}
LONGEST_ID = 80


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test by what it needs: `make test-unit` runs those that need neither a server nor processes."""
    item.add_marker(_need(item))


def _need(item: pytest.Item) -> str:
    """Return `processes` if the test or one of its fixtures starts some, `stack` for Temporal's server, else `unit`."""
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009  # mypy knows no such attribute
    modules = {item.path.stem: vars(getattr(item, "module"))}  # noqa: B009  # mypy knows no such attribute
    modules |= {made.func.__module__: made.func.__globals__ for several in fixtures.values() for made in several}
    if any("subprocess" in names for names in modules.values()):
        return "processes"
    return "stack" if "temporal" in fixtures else "unit"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one group share a worker; xdist says so in their ids, which only some versions of pytest let it do."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        lost = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        assert not lost, f"this pytest ignores xdist_group, so suites run apart that belong together: {lost[:3]}"


@pytest.fixture(autouse=True)
def one_person(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that call tools or stores themselves do it as the one person of an installation; the stack has several."""
    with pytest.MonkeyPatch.context() as patch:
        if "temporal" not in request.fixturenames:
            patch.setenv(ONLY_PERSON, LOCAL_PERSON)
        yield


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keep ids short: they stand in the environment of every process that a test starts, which has a limit."""
    if not isinstance(val, str | bytes) or len(val) <= LONGEST_ID:
        return None
    content = val if isinstance(val, bytes) else val.encode("utf-8", "surrogatepass")
    return f"{val[: LONGEST_ID // 2]!a}-{hashlib.sha256(content).hexdigest()[:8]}"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how it went, for the hard exit below."""
    session.config.stash[_STATUS] = int(exitstatus)


_STATUS = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without the interpreter's teardown, which aborts at random after a Temporal client was used."""
    if _STATUS in config.stash and "PYTEST_XDIST_WORKER" not in os.environ:
        import sys

        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of a real dev server in memory, with the flags of the product."""
    attributes = SEARCH_ATTRIBUTES
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=str(temporal_server.binary()),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *(part for name, kind in attributes.items() for part in ("--search-attribute", f"{name}={kind}")),
            *(part for value in temporal_server.DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)),
            *("--http-port", str(temporal_server.free_port())),
        ],
    ) as environment:
        os.environ["TEMPORAL_ADDRESS"] = environment.client.service_client.config.target_host
        yield await connect()


@pytest.fixture(scope="session")
async def model() -> AsyncIterator[ScriptedModel]:
    """The scripted language model of the stack."""
    async with scripted_model() as scripted:
        yield scripted


@dataclass
class Website:
    """The one site of this machine that the stack may read, and which of its paths were asked for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)

    def page(self, path: str) -> HTMLResponse:
        """A page that says its path."""
        self.asked.append(path)
        return HTMLResponse(f"<title>A page</title><p>This is the page {path}.</p>")


@pytest.fixture(scope="session")
async def website() -> AsyncIterator[Website]:
    """A site outside, to which addresses in plans may lead."""
    site, app = Website(), FastAPI()
    app.get("/{path:path}")(site.page)
    async with serving(app) as site.address:
        yield site


_STARTS = 10


class Patient(httpx.AsyncBaseTransport):
    """Reads again what was answered by 503, as clients do: the machine may be busy, and then so is Temporal."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is another, or the last of three."""
        for _ in range(2):
            response = await self._inner.handle_async_request(request)
            if request.method != "GET" or response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            await response.aclose()
            await asyncio.sleep(1)
        return await self._inner.handle_async_request(request)


@dataclass
class Stack:
    """The running product."""

    http: httpx.AsyncClient
    temporal: Client
    model: ScriptedModel
    data: Path

    async def start(self, message: str, **body: Any) -> View:
        """POST an assistant and return its first view; again with the same key when told to try later, as clients do."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        for _ in range(_STARTS):
            response = await self.http.post("/v1/assistants", json={"message": message, **body}, headers=key)
            if "retry-after" not in response.headers:
                break
            await asyncio.sleep(float(response.headers["retry-after"]))
        assert response.status_code == 202, response.text
        view: View = response.json()
        return view

    async def view(self, assistant_id: str) -> View:
        """GET an assistant."""
        response = await self.http.get(f"/v1/assistants/{assistant_id}")
        assert response.status_code == 200, response.text
        view: View = response.json()
        return view

    async def until(self, assistant_id: str, condition: Callable[[View], bool], *, seconds: float = 30) -> View:
        """Poll the view until `condition` holds; fails with the last view when it does not in time."""
        view: View = {}
        for _ in range(int(seconds / 0.1)):
            view = await self.view(assistant_id)
            if condition(view):
                return view
            if view["status"] in ENDED:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(f"did not come about in {seconds} s: {view}")

    async def ended(self, assistant_id: str, *, seconds: float = 30) -> View:
        """The final view."""
        return await self.until(assistant_id, lambda view: view["status"] in ENDED, seconds=seconds)

    async def asked(self, assistant_id: str, *, count: int = 1) -> View:
        """The view once `count` approvals wait."""
        return await self.until(assistant_id, lambda view: len(pending(view)) >= count)

    async def decide(self, view: View, decision: str = "approve", index: int = 0, **body: Any) -> httpx.Response:
        """Decide one pending approval of a view."""
        approval = pending(view)[index]
        return await self.http.post(
            f"/v1/assistants/{view['id']}/approvals/{approval['id']}",
            json={"decision": decision, "args_hash": approval["args_hash"], **body},
        )


def pending(view: View) -> list[View]:
    """The approvals of a view that wait."""
    return [approval for approval in view["approvals"] if approval["status"] == "pending"]


def steps(view: View) -> dict[str, View]:
    """The steps of a view by id."""
    return {step["id"]: step for step in view["plan"]["steps"]}


@pytest.fixture(scope="session")
async def stack(
    temporal: Client, model: ScriptedModel, website: Website, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """The whole product in this process, on the real dev server."""
    data = tmp_path_factory.mktemp("data")
    os.environ |= {
        "RETINUE_DATA_DIR": str(data),
        "WEATHER_PROVIDER": "simulated",
        "WEB_ALLOW_HOSTS": website.address.removeprefix("http://"),
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": "sk-canary-0123456789",
        "RETINUE_MODEL": "scripted",
        "REASONING_TIMEOUT": "5",
        "RETINUE_ACCOUNTS_PASS_KEYS": caller_keys.pass_keys(caller_keys.local_root(data)),
    }
    app = create_app(ApiSettings(), client=temporal)
    async with AsyncExitStack() as open_things:
        await open_things.enter_async_context(patient(workflows_worker(temporal)))
        for name in activities.folders():
            await _start_capability(open_things, temporal, name)
        await open_things.enter_async_context(app.router.lifespan_context(app))
        transport = Patient(httpx.ASGITransport(app))
        http = await open_things.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)
        )
        yield Stack(http=http, temporal=temporal, model=model, data=data)


async def _shut_down_in_time(worker: Worker) -> None:
    """Fail when a worker does not stop: one whose core has panicked never does, and the run would wait for ever."""
    stopping = asyncio.ensure_future(_shut_down(worker))
    done, _ = await asyncio.wait([stopping], timeout=_STOPS_WITHIN)
    assert done, f"the worker of the queue {worker.task_queue} did not stop within {_STOPS_WITHIN} s"
    stopping.result()


_STOPS_WITHIN = 40
_shut_down = Worker.shutdown
Worker.shutdown = _shut_down_in_time  # type: ignore[method-assign,assignment]  # all fixtures and tests leave workers by it


def patient(worker: Worker) -> Worker:
    """A worker that calls a workflow deadlocked later than after two seconds.

    On a machine that runs killed workers beside the tests, two are not enough, and a worker with such a
    workflow never stops. There is no public setting.
    """
    assert worker._workflow_worker is not None
    worker._workflow_worker._deadlock_timeout_seconds = 20
    return worker


async def _start_capability(open_things: AsyncExitStack, client: Client, name: str) -> None:
    module = activities.load(name)
    contract: type[Capability] = module.CONTRACT
    await open_things.enter_async_context(capability_worker(client, contract, module.plugin()))
    await announce(client, contract.manifest())


@pytest.fixture
async def lonely(stack: Stack) -> str:
    """A capability that was announced and that no worker serves."""
    name = f"lonely{uuid.uuid4().hex[:8]}"
    spec = ToolSpec(
        name=f"{name}.ask",
        title="Ask",
        description="Asks.",
        args_schema={"type": "object"},
        annotations=Annotations(read_only=True, destructive=False, open_world=False),
    )
    await announce(
        stack.temporal, Manifest(name=name, version="1", description="Alone.", task_queue=name, tools=[spec])
    )
    return name


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Makes a message of its own for this test, so that scripts and runs never meet others'."""
    mark = uuid.uuid4().hex[:8]
    return lambda text: f"{text} #{mark}"


Ask = Callable[[str], Awaitable[View]]
