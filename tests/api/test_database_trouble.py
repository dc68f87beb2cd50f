"""The API's own database is full or read-only for a while, or lost: the front door says so, and works again after it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from api.app import create_app
from api.settings import ApiSettings
from api.storage import idempotency as keys_module
from retinue.runtime.process import DATABASE_LOST
from retinue.settings import ROOT
from tests.conftest import Stack
from tests.faults.test_database_files import fill
from tests.retinue.test_store_files import immutable, small_disk
from workers.temporal_server import free_port

__all__ = ["small_disk"]


@asynccontextmanager
async def door(client: Client, file: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(ApiSettings(api_database_url=f"sqlite+aiosqlite:///{file}"), client=client)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            yield http


async def start(http: httpx.AsyncClient) -> httpx.Response:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    return await http.post("/v1/assistants", json={"message": f"Hello {uuid.uuid4().hex}"}, headers=headers)


async def waits_for(http: httpx.AsyncClient, words: str) -> None:
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["waiting_for"] == [f"the database of api does not work at the moment: {words}"]


@pytest.fixture(autouse=True)
def _asked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_PROBE_PAUSE", 0)


async def test_a_full_disk_is_said_by_readyz_and_the_door_works_again(stack: Stack, small_disk: Path) -> None:
    async with door(stack.temporal, small_disk / "api.db") as http:
        assert (await http.get("/readyz")).status_code == 200
        fill(small_disk / "filler")
        refused = [await start(http) for _ in range(40)][-1]
        assert refused.status_code == 503, refused.text
        assert "its disk is full" in refused.json()["detail"]
        await waits_for(http, "its disk is full")
        (small_disk / "filler").unlink()
        assert (await http.get("/readyz")).status_code == 200
        assert (await start(http)).status_code == 202


async def test_a_read_only_file_is_said_by_readyz_and_the_door_works_again(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "api.db"
    async with door(stack.temporal, file):
        pass
    with immutable(file):
        opened = door(stack.temporal, file)
        http = await opened.__aenter__()
        await waits_for(http, "its file is read-only")
        assert (await start(http)).status_code == 503
    assert (await http.get("/readyz")).status_code == 200
    assert (await start(http)).status_code == 202
    await opened.__aexit__(None, None, None)


@pytest.mark.usefixtures("stack")
async def test_an_api_whose_database_is_deleted_ends_and_says_why(tmp_path: Path) -> None:
    """Its supervisor starts it again, and then it works on what stands there."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RETINUE_DATA_DIR": str(tmp_path),
        "RETINUE_PORT": str(port),
        "API_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/api.db",
    }
    process = started(environment, tmp_path / "log")
    try:
        await answers(port)
        with closing(sqlite3.connect(tmp_path / "api.db")) as database:
            assert database.execute("SELECT count(*) FROM secrets").fetchone() == (1,)
        (tmp_path / "api.db").unlink()
        code = await asyncio.to_thread(process.wait, 20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    assert code == DATABASE_LOST
    assert "deleted or replaced" in (tmp_path / "log").read_text()


def started(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "api"], env=environment, stdout=output, stderr=output, cwd=ROOT
        )


async def answers(port: int) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while True:
            try:
                await http.get(f"http://127.0.0.1:{port}/healthz")
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
            else:
                return
