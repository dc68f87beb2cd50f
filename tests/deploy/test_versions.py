"""Versions of workers on a real server: new work follows the current version, and what waits is carried through."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from api.app import create_app
from api.settings import ApiSettings
from retinue.capability import WORKFLOW_QUEUE
from retinue.plan import PlanStep, bind_call
from retinue.settings import ROOT
from retinue.temporal.pollers import live_builds
from retinue.temporal.registry import Directory
from tests.deploy.rolling import Drawer, NewDrawer
from tests.faults.conftest import Server, connected
from workers import deployment
from workflows.messages import Mode, StartAssistant

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
WAITING = 200
View = dict[str, Any]
Handle = WorkflowHandle[Any, View]


@dataclass
class Installation:
    """A server of its own, and workers as processes."""

    client: Client
    data: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    things: dict[str, str] = field(default_factory=dict)
    """What each run is to give away."""

    def start(self, *module: str, build: str = "", leads: bool = False) -> subprocess.Popen[bytes]:
        """Start a worker; `build` makes it a version, `leads` the current one."""
        variables = {"RETINUE_BUILD_ID": build, "RETINUE_MAKE_CURRENT": str(leads).lower()}
        with (self.data / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", *module],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**self.environment, **variables},
            )
        self.processes.append(process)
        return process

    def workflows(self, build: str, code: str = "plain", *, leads: bool = False) -> subprocess.Popen[bytes]:
        """A workflow worker, of this code or of one that has one command more in each run."""
        return self.start("tests.deploy.builds", code, build=build, leads=leads)

    async def operator_sets(self, name: str, build: str) -> None:
        """Make a version the current one, as an operator does once its workers poll."""
        await deployment.make_current(self.client, deployment.version_of(name, build))

    async def is_known(self, build: str) -> bool:
        """Whether the server has heard of a version of the workflows."""
        return build in await live_builds(self.client, WORKFLOW_QUEUE)

    async def announces(self, version: str) -> bool:
        """Whether the registry holds the manifest of this version."""
        return version in {manifest.version for manifest in await Directory(self.client).manifests()}

    async def ready(self) -> httpx.Response:
        """What /readyz says."""
        app = create_app(ApiSettings(), client=self.client)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            return await http.get("/readyz")

    async def is_ready(self) -> bool:
        return (await self.ready()).status_code == httpx.codes.OK

    async def waiting(self, count: int, mode: Mode = Mode.TASK) -> list[Handle]:
        """New runs, once each waits for a person."""
        handles = [await self.run(mode) for _ in range(count)]
        await self.until(lambda: self.all_wait(handles))
        return handles

    async def run(self, mode: Mode) -> Handle:
        """A run of one step that gives something away."""
        thing = f"thing {uuid.uuid4().hex}"
        step = PlanStep(id="s1", tool="drawer.give", args={"thing": thing})
        [spec] = [tool for tool in Drawer.manifest().tools if tool.name == step.tool]
        call = bind_call(step, spec, capability="drawer", task_queue=Drawer.task_queue())
        handle: Handle = await self.client.start_workflow(
            "AssistantWorkflow",
            StartAssistant(message=thing, call=call, mode=mode),
            id=f"a-{uuid.uuid4().hex}",
            task_queue="workflows",
            result_type=View,
        )
        self.things[handle.id] = thing
        return handle

    async def all_wait(self, handles: Sequence[Handle]) -> bool:
        known = {run.id async for run in self.client.list_workflows("RetinueStatus = 'awaiting_approval'")}
        return known >= {handle.id for handle in handles}

    async def approve(self, handles: Sequence[Handle]) -> list[View]:
        """Approve each; the final views, once all have completed."""
        for handle in handles:
            await handle.signal("approve", {"approval_id": "ap-s1"})
        async with asyncio.timeout(120):
            views = await asyncio.gather(*(handle.result() for handle in handles))
        assert {view["status"] for view in views} == {"completed"}
        return views

    async def builds(self, handles: Sequence[Handle]) -> set[str]:
        """The builds to which these runs are pinned."""
        found = [await handle.describe() for handle in handles]
        infos = [one.raw_description.workflow_execution_info.versioning_info for one in found]
        return {info.deployment_version.build_id for info in infos}

    def given(self) -> list[str]:
        """What the drawer has given, by its own database."""
        with sqlite3.connect(f"file:{self.data}/drawer.db?mode=ro", uri=True) as database:
            return sorted(row[0] for row in database.execute("SELECT thing FROM thing"))

    def kill(self) -> None:
        """End the workers."""
        for process in self.processes:
            process.kill()
            process.wait()

    async def until(self, holds: Callable[[], Awaitable[bool]], *, seconds: float = 240) -> None:
        """Look until it holds."""
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  # the server tells nobody by itself
                await asyncio.sleep(0.3)


@pytest.fixture
async def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    server = Server(tmp_path)
    server.start()
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    variables = {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
        "RETINUE_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    with contextlib.ExitStack() as ends:
        ends.callback(server.kill)
        made = Installation(await connected(), tmp_path, variables)
        ends.callback(made.kill)
        yield made


@pytest.mark.long
async def test_a_rollout_and_a_rollback_leave_runs_to_the_version_they_began_on(installation: Installation) -> None:
    """The second version replays no run of the first. 200 runs wait at each change; every effect happens once."""
    installation.start("tests.deploy.rolling", Drawer.version)
    installation.workflows("one", leads=True)
    old = await installation.waiting(WAITING)

    installation.workflows("two", "changed")
    await installation.operator_sets("workflows", "two")
    new = await installation.waiting(5)
    await installation.approve(old[:5])

    await installation.operator_sets("workflows", "one")
    last = await installation.waiting(5)
    await installation.approve([*old[5:], *new, *last])
    found = [await installation.builds(handles) for handles in (old, new, last)]
    assert found == [{"one"}, {"two"}, {"one"}]
    assert installation.given() == sorted(installation.things[handle.id] for handle in [*old, *new, *last])


async def test_runs_whose_version_has_no_workers_go_on_with_the_next_start(installation: Installation) -> None:
    """As with `up` after a change of code, which stands behind `workflow.patched`: the worker that starts takes over."""
    installation.start("tests.deploy.rolling", Drawer.version)
    old = installation.workflows("one", leads=True)
    handles = await installation.waiting(3)
    old.terminate()
    assert await asyncio.to_thread(old.wait, 30) == 0
    installation.workflows("two", "patched", leads=True)
    await installation.approve(handles)
    assert await installation.builds(handles) == {"two"}
    assert installation.given() == sorted(installation.things.values())


async def test_a_chat_goes_over_to_the_new_version_after_its_turn(installation: Installation) -> None:
    installation.start("tests.deploy.rolling", Drawer.version)
    installation.workflows("one", leads=True)
    [chat] = await installation.waiting(1, mode=Mode.CHAT)
    installation.workflows("two", "changed")
    await installation.operator_sets("workflows", "two")
    await chat.signal("approve", {"approval_id": "ap-s1"})

    async def is_on_two() -> bool:
        return await installation.builds([installation.client.get_workflow_handle(chat.id)]) == {"two"}

    await installation.until(is_on_two)
    assert installation.given() == [installation.things[chat.id]]


async def test_a_worker_killed_before_its_version_was_current_is_made_up_for_by_the_next(
    installation: Installation,
) -> None:
    """Until then /readyz says why nothing goes on."""
    killed = installation.workflows("one")
    await installation.until(lambda: installation.is_known("one"))
    waiting = (await installation.ready()).json()
    assert waiting["waiting_for"] == ["workflow worker"]
    assert "these poll: retinue-workflows one; the current version is: none" in waiting["detail"]
    killed.kill()
    installation.workflows("one", leads=True)
    await installation.until(installation.is_ready)


async def test_a_version_that_nobody_polls_is_given_up(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "WITHIN", 0.5)
    with pytest.raises(deployment.NotCurrent, match="NOT_FOUND"):
        await installation.operator_sets("workflows", "nobody")


async def test_steps_and_manifests_follow_the_current_version_of_a_capability(installation: Installation) -> None:
    installation.workflows("one", leads=True)
    workers = {
        version: installation.start("tests.deploy.rolling", version, build="any")
        for version in (Drawer.version, NewDrawer.version)
    }
    handles = await installation.waiting(3)
    for handle, version in zip(handles, (Drawer.version, NewDrawer.version, Drawer.version), strict=True):
        await installation.operator_sets("drawer", f"drawer-{version}")
        await installation.until(functools.partial(installation.announces, version))
        await installation.approve([handle])
        assert await workers_of(handle) == {workers[version].pid}
        for _ in range(8):
            assert await installation.announces(version)
            await asyncio.sleep(0.2)


async def test_a_worker_that_makes_its_version_current_is_announced_though_a_newer_one_lives(
    installation: Installation,
) -> None:
    installation.workflows("one", leads=True)
    for version in (NewDrawer.version, Drawer.version):
        installation.start("tests.deploy.rolling", version, build="any", leads=True)
        await installation.until(functools.partial(installation.announces, version))


async def workers_of(handle: Handle) -> set[int]:
    """The processes that began activities of a run."""
    history = await handle.fetch_history()
    started = [
        event.activity_task_started_event_attributes.identity
        for event in history.events
        if event.HasField("activity_task_started_event_attributes")
    ]
    return {int(identity.partition("@")[0]) for identity in started}
