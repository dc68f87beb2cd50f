"""A capability is rolled to a new version while runs are in flight: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retinue.capability import Manifest
from retinue.settings import ROOT
from retinue.temporal import registry
from retinue.temporal.pollers import live_builds
from retinue.testing import plan_answer
from tests.conftest import Stack, View, steps
from tests.deploy.rolling import Drawer, NewDrawer
from workers import runner

OLD, NEW = Drawer.version, NewDrawer.version
Fresh = Callable[[str], str]

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy")]


class Versions:
    """Workers of the drawer, each a process as a container would be."""

    def __init__(self, stack: Stack, log: Path) -> None:
        self._stack, self._log = stack, log
        self._started: list[subprocess.Popen[bytes]] = []

    async def start(self, version: str) -> subprocess.Popen[bytes]:
        """Start a worker and wait until the server has seen it poll."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220  # it starts in milliseconds, and its end is waited for elsewhere
                [sys.executable, "-P", "-m", "tests.deploy.rolling", version],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**_environment(), "PYTHONPATH": str(ROOT), "RETINUE_DATA_DIR": str(self._stack.data)},
            )
        self._started.append(process)
        await eventually(lambda: self._polls(version))
        return process

    async def _polls(self, version: str) -> bool:
        return f"drawer-{version}" in await live_builds(self._stack.temporal, "drawer")

    def stop(self) -> None:
        """Asked, and not killed: the server would count one that vanished as live for a while."""
        for process in self._started:
            process.terminate()
            process.wait(20)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("TEMPORAL_", "PATH"))}


async def eventually(holds: Callable[[], Any], *, seconds: float = 25) -> None:
    for _ in range(int(seconds / 0.1)):
        if await holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"did not come about within {seconds} s")


@pytest.fixture
def versions(stack: Stack, tmp_path: Path) -> Iterator[Versions]:
    running = Versions(stack, tmp_path / "drawer.log")
    yield running
    running.stop()


async def announced(stack: Stack, version: str) -> bool:
    listed = (await stack.http.get("/v1/capabilities")).json()["capabilities"]
    return any(one["name"] == "drawer" and one["version"] == version for one in listed)


async def started(stack: Stack, message: str, *plan: dict[str, Any]) -> str:
    stack.model.script(message, plan_answer(list(plan)))
    return str((await stack.start(message))["id"])


def step(step_id: str, tool: str, thing: str, **args: Any) -> dict[str, Any]:
    return {"id": step_id, "tool": f"drawer.{tool}", "args": {"thing": thing, **args}}


def things(stack: Stack, run_ids: list[str]) -> list[str]:
    """What the drawer holds of these runs, by its own ledger."""
    with sqlite3.connect(f"file:{stack.data}/drawer.db?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT l.key, t.thing FROM thing t JOIN ledger l ON t.thing_id = l.result ->> 'thing_id'"
        ).fetchall()
    return sorted(thing for key, thing in rows if key.partition("/")[0] in run_ids)


def first_step(*statuses: str) -> Callable[[View], bool]:
    return lambda view: view["plan"] is not None and steps(view)["s1"]["status"] in statuses


async def test_rolling_forward_loses_nothing(stack: Stack, fresh: Fresh, versions: Versions) -> None:
    old = await versions.start(OLD)
    await eventually(lambda: announced(stack, OLD))
    waiting = [await started(stack, fresh(f"Give {n}"), step("s1", "give", f"given {n}")) for n in range(3)]
    for assistant_id in waiting:
        await stack.asked(assistant_id)
    short = await started(stack, fresh("Slowly"), step("s1", "put", "drained", seconds=4))
    long = await started(
        stack, fresh("Very slowly"), step("s1", "put", "moved", seconds=40), step("s2", "give", "late")
    )
    for assistant_id in (short, long):
        await stack.until(assistant_id, first_step("running"))

    await versions.start(NEW)
    await eventually(lambda: announced(stack, NEW))
    new = [
        await started(
            stack, fresh(f"New {n}"), step("s1", "count", "one"), step("s2", "put", f"labelled {n}", label="blue")
        )
        for n in range(5)
    ]
    old.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(old.wait, 20) == 0

    for assistant_id in [*waiting, long]:
        await stack.decide(await stack.asked(assistant_id))
    done = {assistant_id: await stack.ended(assistant_id, seconds=45) for assistant_id in [*waiting, short, long, *new]}
    assert {assistant_id: outcome(view) for assistant_id, view in done.items() if outcome(view) != "completed"} == {}
    assert steps(done[long])["s1"]["attempts"] > 1
    assert {steps(done[assistant_id])["s2"]["result"]["label"] for assistant_id in new} == {"blue"}
    labelled = [f"labelled {n}" for n in range(5)]
    assert things(stack, list(done)) == sorted(["given 0", "given 1", "given 2", "drained", "moved", "late", *labelled])


def outcome(view: View) -> Any:
    return view["status"] if view["status"] == "completed" else (view["status"], view["error"], view["plan"])


async def test_a_step_of_the_new_version_waits_for_it_while_only_old_workers_live(
    stack: Stack, fresh: Fresh, versions: Versions
) -> None:
    """The manifest is new, the workers are not yet: nothing fails meanwhile."""
    await versions.start(OLD)
    await registry.announce(stack.temporal, NewDrawer.manifest())
    tool = await started(stack, fresh("Count"), step("s1", "count", "one"))
    field = await started(stack, fresh("Label"), step("s1", "put", "early", label="red"))
    for assistant_id in (tool, field):
        await stack.until(assistant_id, first_step("awaiting_worker"), seconds=40)
    await versions.start(NEW)
    for assistant_id in (tool, field):
        assert outcome(await stack.ended(assistant_id, seconds=40)) == "completed"
    assert things(stack, [field]) == ["early"]


async def test_a_late_old_worker_does_not_put_its_manifest_back(stack: Stack, versions: Versions) -> None:
    await versions.start(NEW)
    await eventually(lambda: announced(stack, NEW))
    await versions.start(OLD)
    assert await registry.announce(stack.temporal, Drawer.manifest()) >= 1
    assert await announced(stack, NEW)


async def test_going_back_takes_no_more_than_stopping_the_new_version(
    stack: Stack, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and with short looks: what an old worker does beside its work."""
    monkeypatch.setattr(runner, "_LOOK_PAUSE", 0.5)
    new = await versions.start(NEW)
    await eventually(lambda: announced(stack, NEW))
    beside = asyncio.create_task(runner.stay_announced(stack.temporal, Drawer.manifest()))
    await asyncio.sleep(3)
    assert await announced(stack, NEW)
    assert not beside.done()
    new.send_signal(signal.SIGTERM)
    await eventually(lambda: announced(stack, OLD))
    await beside


@pytest.mark.parametrize(
    ("version", "other", "older"),
    [
        ("1.9.0", "1.10.0", True),
        ("1.10.0", "1.9.0", False),
        ("1.0", "1.0", False),
        ("1", "1.0.1", True),
        ("2.0.0-rc1", "1.0.0", False),
        ("mcp", "mcp", False),
        ("1.0.0", "nightly", False),
    ],
)
def test_versions_are_compared_as_numbers_or_not_at_all(version: str, other: str, older: bool) -> None:
    assert registry.is_older(version, other) is older


async def test_what_cannot_be_compared_replaces_as_ever(stack: Stack, fresh: Fresh) -> None:
    name = f"shelf{fresh('').strip(' #')}"
    for version in ("2.0", "nightly", "1.0"):
        manifest = Drawer.manifest().model_dump(mode="json") | {"name": name, "task_queue": name, "version": version}
        manifest["tools"] = [{**manifest["tools"][0], "name": f"{name}.put"}]
        await registry.announce(stack.temporal, Manifest.model_validate(manifest))
    listed = (await stack.http.get("/v1/capabilities")).json()["capabilities"]
    assert {one["version"] for one in listed if one["name"] == name} == {"1.0"}
