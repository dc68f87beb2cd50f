"""Models through the front door, on two reasoning workers that share a database: what runs do, and what their views say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner, Result

from activities.reasoning.contract import Reasoning
from activities.reasoning.pauses import GAP
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.worker import plugin
from api.app import create_app
from api.settings import ApiSettings
from cli.app import app as commands
from retinue.network import model_servers
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import announce
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from retinue.testing import Answer, ScriptedModel, plan_answer, serving
from tests.activities.reasoning.endpoints import Endpoints, many_models
from tests.conftest import Stack, patient
from workers import temporal_server
from workers.runner import SANDBOX, capability_worker, workflows_worker

pytestmark = pytest.mark.asyncio(loop_scope="session")
HELLO = plan_answer(reply="Hello!")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client() -> AsyncIterator[Client]:
    """A server of its own, since the queue of the shared one is served by workers with another model."""
    attributes = [part for name, kind in SEARCH_ATTRIBUTES.items() for part in ("--search-attribute", f"{name}={kind}")]
    speed = ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"]
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=str(temporal_server.binary()),
        dev_server_log_level="error",
        dev_server_extra_args=[*attributes, *speed, "--http-port", str(temporal_server.free_port())],
    ) as environment:
        yield environment.client


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        yield running


@pytest.fixture
async def own(client: Client, endpoints: Endpoints, tmp_path: Path) -> AsyncIterator[Stack]:
    """API, workflows and two reasoning workers, whose models are `first` and `second`."""
    settings = _settings(tmp_path, base_url=endpoints.url, model="first, second", price_input=1000)
    async with _stack(client, settings, tmp_path) as stack:
        yield stack


def _settings(data: Path, **settings: Any) -> ReasoningSettings:
    return ReasoningSettings(
        api_key="k", timeout=5, database_url=f"sqlite+aiosqlite:///{data}/reasoning.db", **settings
    )


@asynccontextmanager
async def _stack(client: Client, settings: ReasoningSettings, tmp_path: Path) -> AsyncIterator[Stack]:
    app = create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db"), client=client)
    async with AsyncExitStack() as open_things:
        await open_things.enter_async_context(patient(workflows_worker(client, workflow_runner=SANDBOX)))
        address = client.service_client.config.target_host
        for _ in range(2):
            connection = await Client.connect(address, data_converter=DATA_CONVERTER)
            worker = capability_worker(connection, Reasoning, plugin(settings), concurrency=4)
            await open_things.enter_async_context(worker)
        await announce(client, Reasoning.manifest())
        await open_things.enter_async_context(app.router.lifespan_context(app))
        http = await open_things.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)
        )
        yield Stack(http=http, temporal=client, model=ScriptedModel(), data=tmp_path)


async def run(stack: Stack, message: str = "Hi") -> dict[str, Any]:
    """A run to its end."""
    return await stack.ended((await stack.start(message))["id"])


async def test_the_view_says_that_another_model_answered_what_it_cost_and_why(own: Stack, endpoints: Endpoints) -> None:
    endpoints.says("first", Answer(status=500))
    endpoints.says("second", HELLO)
    view = await run(own)
    told = "second answered instead of first: the language model at 127.0.0.1 failed with status 500"
    assert (view["status"], view["reply"], view["notices"]) == ("completed", "Hello!", [told])
    assert view["usage"]["instead"] == [told]
    assert view["usage"]["models"]["first"]["requests"] == 1
    assert view["usage"]["models"]["second"]["input_tokens"] == 10
    assert view["usage"]["cost"] == view["usage"]["models"]["second"]["cost"] == 0.01
    assert view["usage"]["requests"] == 2


async def test_a_run_whose_first_choice_answers_has_no_notice(own: Stack, endpoints: Endpoints) -> None:
    endpoints.says("first", HELLO)
    view = await run(own)
    assert (view["notices"], list(view["usage"]["models"])) == ([], ["first"])


async def test_runs_on_two_workers_keep_one_pause_and_come_back_one_by_one(own: Stack, endpoints: Endpoints) -> None:
    """The first run is told to wait three seconds; six more come meanwhile, on both workers."""
    endpoints.says("first", Answer(status=429, headers={"Retry-After": "3"}), HELLO)
    first = asyncio.ensure_future(run(own, "Hi 0"))
    await endpoints.was_asked.wait()
    views = await asyncio.gather(first, *[run(own, f"Hi {n}") for n in range(1, 7)])
    assert [view["status"] for view in views] == ["completed"] * 7
    told, *back = endpoints.times
    assert len(back) == 7
    assert min(back) - told >= 3
    assert max(back) - min(back) >= 4 * GAP


async def test_a_run_that_no_model_answers_ends_after_four_requests(own: Stack, endpoints: Endpoints) -> None:
    endpoints.says("first", Answer(status=500))
    endpoints.says("second", Answer(status=503))
    view = await run(own)
    assert (view["status"], view["error"]["type"]) == ("failed", "ServiceUnavailable")
    assert "failed with status 50" in view["error"]["message"]
    assert len(endpoints.requests) == 4


async def test_a_pause_of_years_is_shown_and_ended_over_the_api(own: Stack, endpoints: Endpoints) -> None:
    endpoints.says("first", Answer(status=429, headers={"Retry-After": "315360000"}), HELLO)
    endpoints.says("second", Answer(status=429, headers={"Retry-After": "315360000"}), HELLO)
    view = await run(own)
    assert view["error"]["type"] == "ServiceBusy"
    assert "until 20" in view["error"]["message"]
    assert "doctor --clear-pauses" in view["error"]["message"]
    shown = (await own.http.get("/v1/pauses")).json()["pauses"]
    place = endpoints.url.removeprefix("http://")
    assert [pause["model"] for pause in shown] == [f"first@{place}", f"second@{place}"]
    assert [pause["asked_seconds"] for pause in shown] == [315360000] * 2
    until = datetime.fromisoformat(shown[0]["until"])
    assert until < datetime.now(UTC) + timedelta(seconds=930)
    ended = await own.http.delete("/v1/pauses")
    assert (ended.status_code, ended.json()) == (200, {"pauses": []})
    assert (await own.http.get("/v1/pauses")).json() == {"pauses": []}
    assert (await run(own))["reply"] == "Hello!"


@pytest.fixture
async def choosing(
    client: Client, endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stack]:
    """The same without a model in the environment, and with a server of models on this machine: `endpoints`."""
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RETINUE_MODEL_SERVERS", endpoints.url)
    monkeypatch.setattr(model_servers, "WITHIN", 20.0)
    async with many_models() as built_in:
        built_in.says("offline", plan_answer(reply="From the built-in one."))
        async with _stack(client, _settings(tmp_path, base_url=built_in.url, model="offline"), tmp_path) as stack:
            yield stack


async def test_a_chosen_model_plans_the_next_run_on_every_worker(choosing: Stack, endpoints: Endpoints) -> None:
    """By the command line and by the console; nothing is sent to the server before the yes."""
    endpoints.says("qwen3", HELLO)
    assert (await run(choosing))["reply"] == "From the built-in one."
    app: Any = choosing.http._transport.app  # type: ignore[attr-defined]  # of the test transport
    async with serving(app) as address:

        async def retinue(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, commands, ["--url", address, "model", *arguments])

        listed = await retinue("list")
        assert "the built-in one" in listed.output
        assert f"Ollama at {endpoints.url} offers:\n  qwen3\n" in listed.output
        unsure = await retinue("use", "qwen3")
        assert (unsure.exit_code, "add --yes if you agree" in unsure.output) == (2, True)
        assert f"qwen3 at {endpoints.url} will be sent your messages" in unsure.output
        assert (await retinue("use", "llama3", "--yes")).exit_code == 2
        assert (await run(choosing))["reply"] == "From the built-in one."
        assert endpoints.requests == []
        assert (await retinue("use", "qwen3", "--yes")).exit_code == 0
        assert {(await run(choosing, f"Hi {number}"))["reply"] for number in range(4)} == {"Hello!"}
        endpoints.says("qwen3", Answer('{"ready": true}'))
        tested = await retinue("test")
        assert (tested.exit_code, "it answered with the JSON" in tested.output) == (0, True)
        endpoints.says("qwen3", Answer(status=500))
        assert (await retinue("test")).exit_code == 1
        assert (await retinue("use", "offline")).exit_code == 0
    assert (await run(choosing))["reply"] == "From the built-in one."


async def test_the_console_uses_another_model_after_a_yes(choosing: Stack, endpoints: Endpoints) -> None:
    endpoints.says("qwen3", HELLO)
    wanted = {"server": endpoints.url, "model": "qwen3"}
    asked = (await choosing.http.get("/model", params=wanted)).text
    assert "Use qwen3?" in asked
    assert "will be sent your messages" in asked
    assert (await run(choosing))["reply"] == "From the built-in one."
    own = {"Origin": "http://localhost"}
    used = await choosing.http.post("/model", data={"do": "use", **wanted}, headers=own)
    assert (used.status_code, used.headers["location"]) == (303, "/model?said=model")
    assert (await run(choosing))["reply"] == "Hello!"
    assert "It works" not in (await choosing.http.get("/model")).text
    refused = await choosing.http.post("/model", data={"do": "use", **wanted, "model": "x"}, headers=own)
    assert refused.status_code == 409
    assert "offers a model" in refused.text
    assert (await choosing.http.post("/model", data={"do": "reset"}, headers=own)).status_code == 303
    assert (await run(choosing))["reply"] == "From the built-in one."
