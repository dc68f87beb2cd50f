"""Capabilities as AWS Lambda functions: on the runtime emulator, a real PostgreSQL and a real Temporal server that invokes them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

import activities
from retinue.temporal.pollers import live_pollers
from retinue.temporal.registry import Directory, announce
from retinue.testing import plan_answer
from tests.conftest import View, steps
from tests.databases.borrowed import count
from tests.databases.postgresql import PostgreSQL, postgresql, postgresql_url
from tests.deploy.lambda_emulator import ARN, EXTERNAL_ID, ROLE, Function, LambdaApi, function, lambda_api
from tests.faults.conftest import FaultStack, faulty
from workers import temporal_server
from workers.runner import build_id, capability_worker

__all__ = ["PostgreSQL", "faulty", "postgresql", "postgresql_url"]
pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
HANDLER = "workers.lambda_function.handler"
CALENDAR = activities.load("calendar").CONTRACT
DEPLOYMENT = ("--deployment-name", "retinue-calendar")
WAKES = (
    "workercontroller.enabled=true",
    'workercontroller.compute_providers.enabled=["aws-lambda"]',
    'workercontroller.scaling_algorithms.enabled=["no-sync"]',
)
"""By which a server invokes functions when steps wait for them."""
TOOLS = {"calendar.create_event", "drawer.put"}
EVENT = {"title": "Lunch", "start": "2026-12-01T12:00:00+00:00", "end": "2026-12-01T13:00:00+00:00"}


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LambdaApi]:
    """AWS, as the Temporal server that is started next meets it."""
    async with lambda_api() as api:
        monkeypatch.setattr(temporal_server, "DYNAMIC_CONFIG", (*temporal_server.DYNAMIC_CONFIG, *WAKES))
        for name, value in (("ENDPOINT_URL", api.address), ("REGION", "eu-central-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "test")
        yield api


@dataclass
class Serverless:
    """The product, but for the calendar, which is a function on PostgreSQL."""

    stack: FaultStack
    aws: LambdaApi
    url: str
    variables: dict[str, str]
    events: Callable[[], int] = field(init=False)

    def __post_init__(self) -> None:
        self.events = count(self.url, "event")

    def temporal(self, *arguments: str) -> str:
        """Run the `temporal` command line."""
        address = ("--address", f"127.0.0.1:{self.stack.server.port}")
        done = subprocess.run(
            [str(temporal_server.binary()), *arguments, *address], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def create_version(self) -> None:
        """Tell Temporal which function it is to invoke for steps of the calendar, as docs/serverless.md does."""
        await asyncio.to_thread(self.temporal, "worker", "deployment", "create", "--name", "retinue-calendar")
        invoked = (
            *("--aws-lambda-function-arn", ARN, "--aws-lambda-assume-role-arn", ROLE),
            *("--aws-lambda-assume-role-external-id", EXTERNAL_ID),
        )
        version = (*DEPLOYMENT, "--build-id", build_id(CALENDAR))
        await asyncio.to_thread(self.temporal, "worker", "deployment", "create-version", *version, *invoked)

    async def is_announced(self, name: str = "calendar") -> bool:
        """Whether plans may use it."""
        return name in {manifest.name for manifest in await Directory(self.stack.temporal).manifests()}

    async def no_worker_polls(self) -> bool:
        """Whether the function sleeps."""
        return not await live_pollers(self.stack.temporal, CALENDAR.task_queue())

    async def start(self, message: str, tool: str = "calendar.create_event", **args: Any) -> View:
        """A run of one step, which enters an event unless another tool is named."""
        step: dict[str, Any] = {"id": "s1", "tool": tool, "args": args or EVENT, "depends_on": []}
        self.stack.model.script(message, plan_answer([step]))
        return await self.stack.start(message)

    def function(
        self, *, timeout: int = 45, handler: str = HANDLER, **variables: str
    ) -> AbstractContextManager[Function]:
        """The calendar as a function, or another one."""
        return function(self.stack.data, {**self.variables, **variables}, timeout=timeout, handler=handler)

    async def deployed(self, calendar: Function) -> None:
        """Have Temporal invoke the function, once it sees that it works; again where the machine is too busy for one invocation."""
        self.aws.current = calendar
        await self.create_version()
        while not await self.is_announced():
            await until(self.is_announced_or_idle)
            await asyncio.sleep(2)
            if not calendar.is_busy and not await self.is_announced():
                await calendar.invoke()

    async def is_announced_or_idle(self) -> bool:
        function = self.aws.current
        return await self.is_announced() or bool(function and function.answers and not function.is_busy)

    async def tries(self, assistant_id: str) -> int:
        """How often the only step of a run was begun: attempts of its activity, or further activities."""
        history = await self.stack.temporal.get_workflow_handle(assistant_id).fetch_history()
        scheduled = {
            event.event_id
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name in TOOLS
        }
        started = [event.activity_task_started_event_attributes for event in history.events]
        return len(scheduled) + sum(one.attempt - 1 for one in started if one.scheduled_event_id in scheduled)


@pytest.fixture
async def serverless(
    aws: LambdaApi, faulty: FaultStack, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Serverless]:
    variables = {
        **faulty.environment,
        "RETINUE_CAPABILITY": "calendar",
        "RETINUE_MAKE_CURRENT": "true",
        "RETINUE_ONLY_PERSON": "local",
        "CALENDAR_DATABASE_URL": postgresql_url,
    }
    module = activities.load("reasoning")
    await announce(faulty.temporal, module.CONTRACT.manifest())
    async with capability_worker(faulty.temporal, module.CONTRACT, module.plugin()):
        yield Serverless(faulty, aws, postgresql_url, variables)


def said(figures: str) -> None:
    """Show what was measured; `pytest -rP` prints it."""
    sys.stderr.write(f"{figures}\n")


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 90) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.2)


async def test_temporal_wakes_a_function_when_a_step_waits_for_it(serverless: Serverless) -> None:
    """No worker of the calendar runs. The function makes its version current and announces it when it is first invoked."""
    with serverless.function() as first:
        await serverless.deployed(first)
        await first.idle()
    with serverless.function() as calendar:
        serverless.aws.current = calendar
        seconds = []
        for number in (1, 2):
            await until(serverless.no_worker_polls)
            began = time.monotonic()
            run = await serverless.start(f"Enter lunch {number}")
            view = await serverless.stack.ended(run["id"], seconds=60)
            seconds.append(time.monotonic() - began)
            assert (view["status"], steps(view)["s1"]["status"]) == ("completed", "completed"), view
            assert serverless.events() == number
            await calendar.idle()
    assert set(calendar.answers) == {"null"}
    said(
        f"a run took {seconds[0]:.1f} s on a cold function ({calendar.init_seconds()[0]:.1f} s to load), {seconds[1]:.1f} s warm"
    )


async def test_an_effect_of_a_killed_invocation_is_not_done_again_by_the_next(serverless: Serverless) -> None:
    """The first one dies right after it entered the event, before it could say so."""
    with serverless.function(RETINUE_FAULT="after_effect:calendar") as calendar:
        await serverless.deployed(calendar)
        run = await serverless.start("Enter lunch")
        view = await serverless.stack.ended(run["id"], seconds=120)
        await calendar.idle()
    assert view["status"] == "completed", view
    assert [answer for answer in calendar.answers if "signal: killed" in answer], calendar.answers
    assert await serverless.tries(run["id"]) > 1
    assert serverless.events() == 1


async def test_a_step_that_runs_at_the_deadline_is_finished(serverless: Serverless, postgresql_url: str) -> None:
    """It begins while the function polls, and lasts longer than that."""
    polling = 26.0
    variables = {"DRAWER_DATABASE_URL": postgresql_url}
    with serverless.function(timeout=60, handler="tests.deploy.lambda_drawer.handler", **variables) as drawer:
        invocation = asyncio.create_task(drawer.invoke())
        await until(lambda: serverless.is_announced("drawer"))
        run = await serverless.start("Put away a spoon", "drawer.put", thing="spoon", seconds=polling + 1)
        view = await serverless.stack.ended(run["id"], seconds=90)
        assert await invocation == "null"
    assert view["status"] == "completed", view
    assert await serverless.tries(run["id"]) == 1
    assert drawer.seconds[0] > polling
    said(f"polled for {polling} s, ended after {drawer.seconds[0]:.1f} s")


async def test_a_function_refuses_a_database_that_is_a_file(serverless: Serverless) -> None:
    with serverless.function(CALENDAR_DATABASE_URL="sqlite+aiosqlite:////tmp/retinue-function.db") as calendar:
        answer = await calendar.invoke()
    assert "a function keeps no files" in answer
