"""Each image holds its process and nothing else: proven by running what the Dockerfile copies, on the packages it locks."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

import activities
from deploy import lock_parts
from retinue.settings import ROOT
from tests.deploy.image import Image, build, normal, pins
from tests.faults.conftest import Server
from workers import temporal_server

FOLDERS = sorted(set(lock_parts.parts()) - set(lock_parts.ROOMS))
Built = Callable[[str], Image]

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """Builds the image of a part: a target of the Dockerfile, or a capability."""

    def run(part: str) -> Image:
        target, arguments = (part, {}) if part in lock_parts.ROOMS else ("capability", {"PART": part})
        return build(target, tmp_path / part, **arguments)

    return run


@pytest.mark.parametrize("part", lock_parts.parts())
def test_an_image_finds_all_it_needs_in_itself(built: Built, part: str) -> None:
    image = built(part)
    assert image.checks
    assert [(done.returncode, done.stderr) for done in map(image.run, image.checks)] == [(0, "")] * len(image.checks)


def test_a_package_that_is_missing_in_a_lock_is_found(built: Built, tmp_path: Path) -> None:
    """The test's own test."""
    image = built("weather")
    (image.root / "packages" / "httpx").unlink()
    done = image.run(image.checks[0])
    assert done.returncode != 0
    assert "No module named 'httpx'" in done.stderr


@pytest.mark.parametrize("name", FOLDERS)
def test_the_image_of_a_capability_holds_no_other(built: Built, name: str) -> None:
    image = built(name)
    held = {path.name for path in (image.app / "activities").iterdir() if path.is_dir()}
    assert held == {name}
    assert {path.name for path in image.app.iterdir() if path.is_dir()} == {
        "activities",
        "deploy",
        "retinue",
        "workers",
    }


@pytest.mark.parametrize("part", ["api", "workflows"])
def test_other_images_hold_of_a_capability_its_contract_alone(built: Built, part: str) -> None:
    image = built(part)
    files = {path.name for path in (image.app / "activities").rglob("*") if path.is_file()}
    assert files == {"__init__.py", "contract.py"}


def loaded_packages(module: str) -> set[str]:
    """The packages whose code stands in memory after an import, in an interpreter that could import all of them."""
    program = (
        f"import sys; before = set(sys.modules); import {module}; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    owners = metadata.packages_distributions()
    return {normal(owner) for name in done.stdout.split() for owner in owners.get(name, [])}


def of_others(part: str) -> set[str]:
    """What the other extras ask for, and the lock of `part` does not have. Libraries use `rich` where they find it."""
    wanted = {
        normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for lines in lock_parts.extras().values() for line in lines
    }
    return wanted - set(pins(lock_parts.LOCKS / f"{part}.lock")) - {"rich"}


@pytest.mark.parametrize("name", activities.folders())
def test_a_worker_loads_no_package_of_anothers_extra(name: str) -> None:
    """Also where all are installed, as on a laptop: nothing is picked up by chance."""
    assert loaded_packages(f"activities.{name}.worker, workers.runner") & of_others(name) == set()


@pytest.mark.parametrize("name", activities.folders())
def test_a_contract_needs_the_ground_floor_alone(name: str) -> None:
    loaded = loaded_packages(f"activities.{name}.contract")
    assert {"pydantic", "temporalio"} <= loaded
    assert loaded & (of_others("workflows") | {"sqlalchemy", "sqlmodel", "alembic", "aiosqlite", "asyncpg"}) == set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Temporal server of its own."""
    (tmp_path / "temporal").mkdir()
    one = Server(tmp_path / "temporal")
    one.start()
    yield one
    one.kill()


class Fleet:
    """Processes of built images; ended in the order in which they were started."""

    def __init__(self, folder: Path, shared: dict[str, str]) -> None:
        self._folder, self._shared = folder, shared
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, image: Image, command: list[str], **environment: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*image.python(), "-P", "-m", *command],
                cwd=image.root,
                env=image.environment(**self._shared, **environment),
                stdout=log,
                stderr=log,
            )

    def stop(self) -> dict[str, int]:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(20) for name, process in self.processes.items()}

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Iterator[Fleet]:
    """Nothing runs in it yet; nothing is left at the end."""
    shared = {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
        "RETINUE_BLOB_DIR": str(tmp_path / "blobs"),
        "WEATHER_PROVIDER": "simulated",
    }
    one = Fleet(tmp_path, shared)
    yield one
    one.kill()


async def answered(http: httpx.AsyncClient, path: str, condition: Callable[[Any], bool]) -> Any:
    """The answer of a route, once it is as wanted."""
    last: Any = None
    for _ in range(400):
        try:
            response = await http.get(path)
            last = response.json()
            if response.is_success and condition(last):
                return last
        except httpx.TransportError as error:
            last = error
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} did not answer as wanted within 40 s: {last}")


@pytest.mark.long
@pytest.mark.timeout(120)  # a dozen processes start on two cores
async def test_the_whole_product_runs_from_its_images(fleet: Fleet, built: Built) -> None:
    """Every process sees its own code and packages only, and a request still goes through all of them."""
    model_port, port = temporal_server.free_port(), temporal_server.free_port()
    capabilities = activities.folders()
    model = {"OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1", "OPENAI_API_KEY": "x", "RETINUE_MODEL": "offline"}
    fleet.start("offline", built("offline"), ["offline", "--host", "127.0.0.1", "--port", str(model_port)])
    workflows = built("workflows")
    fleet.start("workflows", workflows, workflows.command)
    for name in capabilities:
        fleet.start(name, built(name), ["workers", name], **(model if name == "reasoning" else {}))
    door = {"RETINUE_HOST": "127.0.0.1", "RETINUE_PORT": str(port), "RETINUE_WAIT_FOR": ",".join(capabilities)}
    fleet.start("api", built("api"), ["api"], **door)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        await answered(http, "/readyz", lambda health: health["status"] == "ok")
        request = {"message": "Remind me to call Ana tomorrow at 9am", "timezone": "UTC"}
        run = (await http.post("/v1/assistants", json=request)).json()
        view = await answered(http, f"/v1/assistants/{run['id']}", lambda view: view["status"] not in BUSY)
        listed = (await http.get("/v1/capabilities")).json()["capabilities"]
    assert (view["status"], view["error"]) == ("completed", None), view
    assert [one["name"] for one in listed if one["healthy"]] == capabilities
    ended = fleet.stop()
    assert {name: ended[name] for name in ("workflows", *capabilities)} == dict.fromkeys(
        ("workflows", *capabilities), 0
    )
    assert {ended[name] for name in ("api", "offline")} <= {0, -signal.SIGTERM}  # uvicorn dies of the signal, drained


BUSY = {"planning", "running", "awaiting_worker"}
