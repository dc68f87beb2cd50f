"""A capability that is scaled by its backlog, from no worker on: runs wait, are shown as waiting, and all are done once."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import uuid
from dataclasses import asdict
from pathlib import Path

import pytest
from temporalio.client import Client

from retinue.plan import PlanStep, bind_call
from retinue.temporal import deployments
from tests.deploy.autoscaler import Autoscaler, Sample, chart
from tests.deploy.rolling import Drawer
from tests.deploy.test_versions import Handle, Installation, View, installation
from workflows.messages import StartAssistant

__all__ = ["installation"]
pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
CONCURRENCY = 5
VERSION = deployments.version_of("drawer", f"drawer-{Drawer.version}")


async def start_run(client: Client, thing: str, seconds: float, turns: asyncio.Semaphore) -> Handle:
    """A run that puts a thing into the drawer, slowly, and asks nobody."""
    step = PlanStep(id="s1", tool="drawer.put", args={"thing": thing, "seconds": seconds})
    [spec] = [tool for tool in Drawer.manifest().tools if tool.name == step.tool]
    call = bind_call(step, spec, capability="drawer", task_queue=Drawer.task_queue())
    async with turns:
        handle: Handle = await client.start_workflow(
            "AssistantWorkflow",
            StartAssistant(message=thing, call=call),
            id=f"a-{uuid.uuid4().hex}",
            task_queue="workflows",
            result_type=View,
        )
    return handle


async def scaled_to_zero(installation: Installation) -> Autoscaler:
    """The autoscaler of a capability whose version is current, and which has no worker."""
    installation.environment["RETINUE_WORKER_CONCURRENCY"] = str(CONCURRENCY)
    installation.workflows("one", leads=True)

    def start() -> subprocess.Popen[bytes]:
        return installation.start("tests.deploy.rolling", Drawer.version, build="any", leads=True)

    once = start()
    await installation.until(lambda: deployments.is_current(installation.client, VERSION))
    await installation.until(lambda: installation.announces(Drawer.version))
    once.terminate()
    assert await asyncio.to_thread(once.wait, 30) == 0
    return Autoscaler(installation.client, Drawer.task_queue(), VERSION, start)


@pytest.mark.parametrize(
    ("runs", "seconds", "workers", "by_resources"),
    [
        pytest.param(3, 0.1, 1, "true", id="3 runs"),
        pytest.param(1000, 2.0, 4, "false", id="1000 runs", marks=[pytest.mark.deploy, pytest.mark.timeout(1800)]),
    ],
)
async def test_runs_that_arrive_at_once_are_done_by_workers_that_come_and_go(
    installation: Installation, tmp_path: Path, runs: int, seconds: float, workers: int, by_resources: str
) -> None:
    installation.environment["RETINUE_WORKER_RESOURCES"] = by_resources
    scaler = await scaled_to_zero(installation)
    turns = asyncio.Semaphore(100)
    things = [f"thing {number}" for number in range(runs)]
    handles = await asyncio.gather(*(start_run(installation.client, thing, seconds, turns) for thing in things))

    async def is_shown() -> bool:
        return (await scaler.look()).awaiting_worker > 0

    await installation.until(is_shown)
    scaling = asyncio.ensure_future(scaler.run())

    async def is_over() -> bool:
        return scaling.done() or (scaler.samples[-1].ended == runs and not scaler.workers)

    await installation.until(is_over, seconds=1500)
    scaling.cancel()
    assert {view["status"] for view in await asyncio.gather(*(handle.result() for handle in handles))} == {"completed"}
    assert installation.given() == sorted(things)
    assert max(sample.workers for sample in scaler.samples) == workers
    await record(scaler.samples, installation.client, tmp_path, seconds)


async def record(samples: list[Sample], client: Client, folder: Path, seconds: float) -> None:
    """Write what was seen beside the test's data: docs/capacity.md shows such a run."""
    taken = [
        (run.close_time - run.start_time).total_seconds() - seconds
        async for run in client.list_workflows("WorkflowType = 'AssistantWorkflow'")
        if run.close_time
    ]
    waited = {"p50": statistics.median(taken), "p95": sorted(taken)[int(len(taken) * 0.95)], "longest": max(taken)}
    note = f"{len(taken)} runs at once: half waited {waited['p50']:.0f} s, the last {waited['longest']:.0f} s"
    (folder / "autoscaling.json").write_text(json.dumps({"waited": waited, "samples": [*map(asdict, samples)]}))
    (folder / "autoscaling.svg").write_text(chart(samples, note))


def test_workers_follow_the_backlog_and_go_after_the_cooldown() -> None:
    scaler = Autoscaler(None, "drawer", VERSION, lambda: None, target=20, most=4, cooldown=5)  # type: ignore[arg-type,return-value]
    backlogs = {0: 0, 1: 1, 2: 21, 3: 1000, 4: 0, 7.9: 0, 8.1: 0}
    assert [scaler.desired(backlog, now) for now, backlog in backlogs.items()] == [0, 1, 2, 4, 4, 4, 0]
