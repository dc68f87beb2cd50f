"""Workers killed while mails arrive that start runs: none is lost, none starts two. In the mode `proved`, with real processes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import activities
from activities.email.incoming import parse
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from retinue.temporal.registry import announce
from retinue.temporal.tenant_header import working_for
from retinue.testing import plan_answer, scripted_model
from tests.faults.conftest import Server, connected, kill
from tests.faults.test_kept_decisions import House
from workers import children

pytestmark = [pytest.mark.xdist_group("heavy"), pytest.mark.timeout(240)]
MAILS = 16
MESSAGE = "Tell me what it says"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    server = Server(tmp_path)
    server.start()
    async with scripted_model() as model:
        environment = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{server.port}",
            "RETINUE_DATA_DIR": str(tmp_path),
            "RETINUE_DECISIONS": "proved",
            "RETINUE_TRIGGER_SECONDS": "1",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-canary-0123456789",
            "RETINUE_MODEL": "scripted",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        children.prepare()
        client = await connected()
        built = House(tmp_path, environment, model)
        processes = [built.apis[0], built.workflows, *built.others]
        for process in processes:
            process.start()
        for name in ("email", "reasoning"):
            await announce(client, activities.load(name).CONTRACT.manifest())
        await built.answers(0)
        yield built
        for process in processes:
            kill(process)
    server.kill()


async def test_killed_workers_lose_no_mail_and_start_none_twice(house: House, tmp_path: Path) -> None:
    house.model.script(MESSAGE, *[plan_answer()] * MAILS)
    body = {"event": "mail", "message": MESSAGE, "conditions": {"senders": ["@example.com"]}, "per_hour": 100}
    made = (await house.post("/v1/triggers", body)).json()
    await until(house, made["id"], lambda view: view["watching_since"])
    store = MailStore(EmailSettings(database_url=f"sqlite+aiosqlite:///{tmp_path}/email.db").database_url)
    async with store.database:
        for number in range(MAILS):
            content = (
                f"From: a@example.com\r\nSubject: m{number}\r\nMessage-ID: <{uuid.uuid4().hex}@x.example>\r\n\r\nHi\r\n"
            )
            with working_for("local"):
                await store.deliver(parse(content.encode(), now=datetime.now(UTC)), content.encode())
            await asyncio.sleep(0.4)
            victim = (house.workflows, house.others[0])[number % 2]
            kill(victim)
            victim.start()
    view = await until(house, made["id"], lambda view: started(view) >= min(MAILS, 10))
    assert (view["left_out"], view["resets"]) == (0, [])
    runs = await until_all(house)
    assert sorted(because(runs)) == sorted(f"m{number}" for number in range(MAILS))


def started(view: dict[str, Any]) -> int:
    return len(view["recent_runs"])


def because(runs: list[dict[str, Any]]) -> list[str]:
    """The subjects of the mails that the runs read."""
    return [run["plan"]["steps"][0]["result"]["subject"] for run in runs]


async def read(house: House, path: str) -> dict[str, Any]:
    """What the API says; a problem while its workers are gone."""
    async with httpx.AsyncClient(timeout=60) as http:
        found: dict[str, Any] = (await http.get(f"{house.url(0)}{path}")).json()
        return found


async def until(house: House, trigger_id: str, holds: Any) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for _ in range(600):
        view = await read(house, f"/v1/triggers/{trigger_id}")
        if "id" in view and holds(view):
            return view
        await asyncio.sleep(0.2)
    raise AssertionError(f"did not come about: {view}")


async def until_all(house: House) -> list[dict[str, Any]]:
    """Every run once all have ended, and a while later, in which another one would have begun."""
    listed: list[dict[str, Any]] = []
    for _ in range(600):
        listed = (await read(house, "/v1/assistants")).get("assistants", [])
        if len(listed) >= MAILS and all(run["status"] == "completed" for run in listed):
            await asyncio.sleep(3)
            listed = (await read(house, "/v1/assistants"))["assistants"]
            return [await house.get(run["id"]) for run in listed]
        await asyncio.sleep(0.2)
    raise AssertionError(f"did not come about: {[run['status'] for run in listed]}")
