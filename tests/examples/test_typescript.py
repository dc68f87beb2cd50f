"""The capability in TypeScript: its worker announces itself, and is used in plans with no change elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retinue.settings import ROOT
from retinue.testing import plan_answer
from tests.conftest import Stack, steps

SOURCE = ROOT / "examples/typescript"
FILES = ("package.json", "package-lock.json", ".npmrc", "tsconfig.json", "src")
OLDEST_NODE = (20, 3)
Fresh = Callable[[str], str]

# One install for all of them; it loads packages from the registry, which takes its time on a machine that has none.
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("typescript"), pytest.mark.timeout(600)]


def npm(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="session")
def node() -> str:
    """The Node that runs the example."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("Node and npm are not installed: the TypeScript example did not run")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, said.strip().lstrip("v").split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"Node {said.strip()} is older than 20.3: the TypeScript example did not run")
    return found


def install(folder: Path) -> None:
    """Install what the lock names. A registry that fails once is asked again, from a clean folder: npm's own cleaning up
    after a failure runs into what it is still unpacking, and says only that.
    """
    for _ in range(3):
        installed = npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        if installed.returncode == 0:
            return
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
    raise AssertionError(installed.stderr)


@pytest.fixture(scope="session")
def built(node: str, request: pytest.FixtureRequest) -> Path:
    """The example, installed from its lock and compiled in pytest's cache folder; made anew when a file changed."""
    assert request.config.cache is not None
    files = [
        file for name in FILES for file in sorted([SOURCE / name, *(SOURCE / name).glob("**/*")]) if file.is_file()
    ]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    folder = request.config.cache.mkdir(f"typescript-{digest}")
    if (folder / "dist/worker.js").exists():
        return folder
    for name in FILES:
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, folder / name, dirs_exist_ok=True)  # an earlier attempt may have broken off
        else:
            shutil.copy(SOURCE / name, folder / name)
    if npm("view", "typescript", "version", folder=folder).returncode:
        pytest.skip("the npm registry does not answer: the TypeScript example did not run")
    install(folder)
    compiled = npm("run", "build", folder=folder)
    assert compiled.returncode == 0, compiled.stdout
    return folder


class Units:
    """The example's worker as a process."""

    def __init__(self, node: str, folder: Path, log: Path) -> None:
        self._command = [node, str(folder / "dist/worker.js")]
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdout=output, stderr=output, env={"PATH": os.environ["PATH"], **self._temporal()}
            )

    def _temporal(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_")}

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def units(stack: Stack, node: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Units]:
    """A running worker for all tests here: a start takes seconds. It is killed at the end, if it still runs."""
    worker = Units(node, built, tmp_path_factory.mktemp("units") / "units.log")
    yield worker
    worker.process.kill()
    worker.process.wait(10)


async def announced(stack: Stack) -> dict[str, Any]:
    """How the front door lists it, once a worker polls."""
    for _ in range(200):
        listed = (await stack.http.get("/v1/capabilities")).json()["capabilities"]
        found = [one for one in listed if one["name"] == "units" and one["healthy"]]
        if found:
            one: dict[str, Any] = found[0]
            return one
        await asyncio.sleep(0.1)
    raise AssertionError("units was not announced within 20 s")


def conversion(value: float, source: str, target: str, step_id: str = "s1") -> dict[str, Any]:
    return {"id": step_id, "tool": "units.convert", "args": {"value": value, "from": source, "to": target}}


async def test_it_announces_itself(stack: Stack, units: Units) -> None:
    found = await announced(stack)
    assert (found["version"], found["task_queue"], found["pollers"]) == ("1.0.0", "units", 1)
    assert [tool["name"] for tool in found["tools"]] == ["units.convert", "units.list"]
    assert found["tools"][0]["annotations"]["read_only"] is True


async def test_a_plan_uses_it_beside_a_capability_in_python(stack: Stack, units: Units, fresh: Fresh) -> None:
    await announced(stack)
    message = fresh("How long is a marathon? Note it as a task")
    task = {"id": "s2", "tool": "tasks.add", "args": {"title": {"$from": "s1", "path": "/text"}}}
    stack.model.script(message, plan_answer([conversion(26.2, "mi", "km"), task]))
    done = await stack.ended((await stack.start(message))["id"])
    assert (done["status"], done["approvals"]) == ("completed", [])
    assert steps(done)["s1"]["result"] == {"value": 42.1648, "unit": "km", "text": "26.2 mi = 42.1648 km"}
    assert steps(done)["s2"]["result"]["title"] == "26.2 mi = 42.1648 km"


@pytest.mark.parametrize(
    ("value", "source", "target", "converted"),
    [
        (100, "C", "F", 212),
        (-40, "F", "C", -40),
        (0, "K", "C", -273.15),
        (1, "t", "lb", 2204.62),
        (90, "km/h", "kn", 48.5961),
    ],
)
async def test_it_converts(
    stack: Stack, units: Units, fresh: Fresh, value: float, source: str, target: str, converted: float
) -> None:
    await announced(stack)
    message = fresh("Convert it")
    stack.model.script(message, plan_answer([conversion(value, source, target)]))
    done = await stack.ended((await stack.start(message))["id"])
    assert steps(done)["s1"]["result"]["value"] == converted


@pytest.mark.parametrize(
    ("value", "source", "target", "words"),
    [(1, "m", "kg", "m measures length and kg measures mass"), (1e308, "km", "mm", "too large")],
)
async def test_what_cannot_be_converted_is_told_at_once(
    stack: Stack, units: Units, fresh: Fresh, value: float, source: str, target: str, words: str
) -> None:
    await announced(stack)
    message = fresh("Convert nonsense")
    stack.model.script(message, plan_answer([conversion(value, source, target)]))
    failed = steps(await stack.ended((await stack.start(message))["id"]))["s1"]
    assert (failed["status"], failed["error"]["type"], failed["attempts"]) == ("failed", "InvalidArguments", 1)
    assert words in failed["error"]["message"]


async def test_a_step_waits_for_a_killed_worker_and_goes_on(stack: Stack, units: Units, fresh: Fresh) -> None:
    await announced(stack)
    units.stop(signal.SIGKILL)
    message = fresh("How warm is 100 C in F?")
    stack.model.script(message, plan_answer([conversion(100, "C", "F")]))
    assistant_id = (await stack.start(message))["id"]
    await stack.until(assistant_id, lambda view: view["status"] == "awaiting_worker")
    units.start()
    done = await stack.ended(assistant_id)
    assert steps(done)["s1"]["result"]["text"] == "100 C = 212 F"


async def test_it_stops_by_itself(stack: Stack, units: Units) -> None:
    await announced(stack)
    assert units.stop(signal.SIGTERM) == 0


def test_the_lock_names_no_registry() -> None:
    lock = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "://" not in lock  # npm writes where to pay for packages, too: take "funding" out
