"""Versions of workers on a real server: new work follows the current version, and what waits is carried through."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
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
from temporalio.service import RPCError, RPCStatusCode

from api.app import create_app
from api.settings import ApiSettings
from cli import deploying
from cli.exits import ExitCode
from retinue.capability import WORKFLOW_QUEUE
from retinue.plan import PlanStep, bind_call
from retinue.settings import ROOT
from retinue.temporal import deployments
from retinue.temporal.pollers import live_builds
from retinue.temporal.registry import Directory
from tests.deploy.rolling import Drawer, NewDrawer
from tests.faults.conftest import Server, connected
from workflows.messages import Mode, StartAssistant

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
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
        await deployments.make_current(self.client, deployments.version_of(name, build))

    async def is_known(self, build: str) -> bool:
        """Whether the server has heard of a version of the workflows."""
        return build in await live_builds(self.client, WORKFLOW_QUEUE)

    async def is_served(self, build: str) -> bool:
        """Whether the operator sees workers of a version: a moment after the server has heard of it."""
        listed = json.loads(await self.deploy("status", "--json"))
        versions = [version for one in listed["deployments"] for version in one["versions"]]
        return any(version["build_id"] == build and version["polls"] for version in versions)

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

    async def deploy(self, *arguments: str) -> str:
        """`retinue deploy`, as a process; its output."""
        code, output = await self._deploy(*arguments)
        assert code == ExitCode.DONE, output
        return output

    async def refused(self, *arguments: str, code: ExitCode = ExitCode.FAILED) -> str:
        """The same where it is refused."""
        found, output = await self._deploy(*arguments)
        assert found == code, output
        return output

    async def _deploy(self, *arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli", "deploy", *arguments),
            cwd=ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """Start new runs without end."""
        stream = Stream(self)
        starting = asyncio.ensure_future(stream.flow())
        try:
            yield stream
        finally:
            starting.cancel()
        assert starting.cancelled() or not starting.done() or starting.exception() is None

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


@dataclass
class Stream:
    """Runs that are started one after the other."""

    installation: Installation
    handles: list[Handle] = field(default_factory=list)

    async def flow(self) -> None:
        """Start them. Never ends."""
        while True:
            self.handles.append(await self.installation.run(Mode.TASK))
            await asyncio.sleep(0.1)

    async def more(self, count: int) -> list[Handle]:
        """The next runs, without the one that is being started now, once each waits for a person."""
        first = len(self.handles) + 1
        await self.installation.until(self._has(first + count))
        handles = self.handles[first : first + count]
        await self.installation.until(lambda: self.installation.all_wait(handles))
        return handles

    def _has(self, count: int) -> Callable[[], Awaitable[bool]]:
        async def has() -> bool:
            return len(self.handles) >= count

        return has


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


@pytest.mark.parametrize(
    ("waiting", "percent", "ramped"),
    [
        pytest.param(12, 50, (1, 12), id="12 runs"),
        pytest.param(500, 10, (1, 30), id="500 runs", marks=[pytest.mark.deploy, pytest.mark.timeout(1500)]),
    ],
)
async def test_a_ramp_a_rollout_and_a_rollback_under_waiting_runs_and_a_stream_of_new_ones(
    installation: Installation, waiting: int, percent: int, ramped: tuple[int, int]
) -> None:
    """The second version replays no run of the first. Every run ends on the code it began with; every effect happens once."""
    installation.start("tests.deploy.rolling", Drawer.version)
    installation.workflows("one", leads=True)
    old = await installation.waiting(waiting)
    second = installation.workflows("two", "changed")
    await installation.until(lambda: installation.is_served("two"))

    async with installation.stream() as stream:
        await installation.deploy("ramp", "two", str(percent))
        during = await stream.more(max(waiting // 5, 12))
        await installation.deploy("promote", "two")
        after = await stream.more(max(waiting // 25, 3))
        assert "is the current version and gets new work" in await installation.refused("drain", "two")
        still = await installation.refused("drain", "one")
        await installation.approve(old[: waiting // 2])
        await installation.deploy("rollback")
        last = await stream.more(3)
    assert "open assistants are on one: keep its workers" in still
    new = stream.handles
    await installation.approve([*old[waiting // 2 :], *new])
    await installation.deploy("drain", "two", "--wait")
    second.terminate()
    assert await asyncio.to_thread(second.wait, 30) == 0
    assert "no worker of two polls" in await installation.refused("promote", "two")

    code = dict(zip(new, [await code_of(handle) for handle in new], strict=True))
    assert {build for handle in old for build in await code_of(handle)} == {"one"}
    assert [builds for builds in code.values() if len(builds) != 1] == []
    assert ramped[0] <= sum(code[handle] == {"two"} for handle in during) <= ramped[1]
    assert {build for handle in after for build in code[handle]} == {"two"}
    assert {build for handle in last for build in code[handle]} == {"one"}
    assert installation.given() == sorted(installation.things[handle.id] for handle in [*old, *new])


async def test_the_operator_sees_the_versions_and_is_told_what_to_do(installation: Installation) -> None:
    assert "No worker has a version" in await installation.deploy("status")
    assert "it knows those of: none" in await installation.refused("promote", "one", code=ExitCode.WRONG_USAGE)
    installation.workflows("one")
    await installation.until(lambda: installation.is_served("one"))
    assert "no version is current" in await installation.refused("ramp", "one", "10")
    await installation.deploy("promote", "one")
    assert "already" in await installation.deploy("promote", "one")
    assert "it has: one" in await installation.refused("promote", "two", code=ExitCode.WRONG_USAGE)
    assert "current version, and gets" in await installation.refused("ramp", "one", "10")
    assert "name one with --to" in await installation.refused("rollback")
    listed = json.loads(await installation.deploy("status", "--of", "workflows", "--json"))
    [version] = listed["deployments"][0]["versions"]
    assert version.pop("last_current")
    assert version == {
        "build_id": "one",
        "status": "current",
        "percentage": 100.0,
        "polls": True,
        "open_runs": 0,
        "backlog": 0,
    }
    assert re.search(r"workflows +one +current 100 % +yes +0 +0", await installation.deploy("status"))
    installation.environment["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    assert "cannot be reached" in await installation.refused("status", code=ExitCode.UNREACHABLE)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RPCStatusCode.PERMISSION_DENIED, ExitCode.NOT_ALLOWED),
        (RPCStatusCode.UNAVAILABLE, ExitCode.UNREACHABLE),
        (RPCStatusCode.FAILED_PRECONDITION, ExitCode.FAILED),
    ],
)
def test_an_answer_of_temporal_has_its_exit_code(status: RPCStatusCode, code: ExitCode) -> None:
    assert deploying._refused(RPCError("why", status, b"")).exit_code == code


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
    monkeypatch.setattr(deployments, "WITHIN", 0.5)
    with pytest.raises(deployments.NotCurrent, match="NOT_FOUND"):
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


async def code_of(handle: Handle) -> set[str]:
    """The builds that completed workflow tasks of a run, by its history."""
    history = await handle.fetch_history()
    return {
        event.workflow_task_completed_event_attributes.deployment_version.build_id
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    }


async def workers_of(handle: Handle) -> set[int]:
    """The processes that began activities of a run."""
    history = await handle.fetch_history()
    started = [
        event.activity_task_started_event_attributes.identity
        for event in history.events
        if event.HasField("activity_task_started_event_attributes")
    ]
    return {int(identity.partition("@")[0]) for identity in started}
