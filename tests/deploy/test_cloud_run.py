"""The API under the contract of platforms such as Cloud Run: the port they name, no files, gone within 10 s of SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import yaml

from retinue.settings import ROOT
from retinue.testing import plan_answer
from tests.conftest import ENDED, Stack
from tests.databases.postgresql import PostgreSQL, postgresql, postgresql_url
from tests.docs.test_env_example import NAMES, READ_BY_THE_SDK
from workers.temporal_server import free_port

__all__ = ["PostgreSQL", "postgresql", "postgresql_url"]
pytestmark = [
    pytest.mark.xdist_group("heavy"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit"),
]
NO_FILES = ("prlimit", "--fsize=0", "--core=0")
"""Whatever a process writes to a file fails."""
NOWHERE = "/proc/retinue"
"""A folder that nobody can make."""


@contextmanager
def api(port: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The API as the platform starts it."""
    outside = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    image = {"RETINUE_HOST": "0.0.0.0", "RETINUE_PORT": "8000", "RETINUE_DATA_DIR": NOWHERE}
    platform = {"PORT": str(port), "K_SERVICE": "retinue-api", "RETINUE_PRIVATE_ADDRESS": "true"}
    process = subprocess.Popen(
        [*NO_FILES, sys.executable, "-P", "-m", "api"],
        env={**outside, **image, **platform, "TEMPORAL_ADDRESS": os.environ["TEMPORAL_ADDRESS"], **variables},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def ready(http: httpx.AsyncClient, process: subprocess.Popen[str]) -> None:
    last = ""
    for _ in range(300):
        try:
            answer = await http.get("/readyz")
            if answer.is_success:
                return
            last = answer.text
        except httpx.TransportError:
            assert process.poll() is None, process.communicate()[1]
        await asyncio.sleep(0.1)
    raise AssertionError(f"the API is not ready: {last}")


async def test_the_api_needs_no_file_and_ends_in_time(
    stack: Stack, postgresql_url: str, fresh: Callable[[str], str]
) -> None:
    """A stream of events is open when it is told to end. What it started is seen at another instance."""
    port, message = free_port(), fresh("What is there")
    stack.model.script(message, plan_answer(reply="Nothing."))
    # stands for a bucket: what the workers wrote can be read, nothing can be written
    with api(port, API_DATABASE_URL=postgresql_url, RETINUE_BLOB_DIR=str(stack.data / "blobs")) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            await ready(http, process)
            run = (await http.post("/v1/assistants", json={"message": message, "mode": "chat"})).json()
            async with http.stream("GET", f"/v1/assistants/{run['id']}/events") as events:
                assert await anext(events.aiter_lines())
                process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                code = await asyncio.to_thread(process.wait, 20)
    assert (code, time.monotonic() - began < 10) == (0, True)
    view = await stack.until(run["id"], lambda view: view["status"] in {*ENDED, "awaiting_input"})
    assert view["message"] == message


async def test_a_database_that_is_a_file_is_refused_by_the_platform(stack: Stack) -> None:
    """The test's own test: nothing can be written."""
    with api(free_port()) as process:
        _, said = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode != 0
    assert NOWHERE in said


def test_the_variables_of_the_service_are_known() -> None:
    service = yaml.safe_load((ROOT / "deploy/cloud-run/api.yaml").read_text(encoding="utf-8"))
    [container] = service["spec"]["template"]["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert [name for name in names if name not in NAMES and not name.startswith(READ_BY_THE_SDK)] == []
