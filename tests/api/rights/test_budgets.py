"""The day's budget is one for all credentials of a person: no request chooses the day on which it counts."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import plan_answer, serving
from tests.api.conftest import Fresh
from tests.api.rights.conftest import made
from tests.conftest import Patient, Stack, pending

ONE_REQUEST_A_DAY = '[policies.default]\nextends = "default"\nday_budget = { requests = 1 }\n'
EARLIEST, LATEST = "Pacific/Kiritimati", "Etc/GMT+12"
"""26 hours apart, so it is never the same day in both."""


@pytest.fixture
async def asks(stack: Stack, tmp_path: Path) -> AsyncIterator[Stack]:
    """Through a key that may not decide, of a person whom nobody else is."""
    file = tmp_path / "policy.toml"
    file.write_text(ONE_REQUEST_A_DAY)
    database = f"sqlite+aiosqlite:///{file.with_name('api.db')}"
    settings = ApiSettings(
        retinue_policy=file, retinue_user_header="X-User", retinue_timezone=EARLIEST, api_database_url=database
    )
    app = create_app(settings, client=stack.temporal)

    def seen(headers: dict[str, str]) -> Stack:
        transport = Patient(httpx.ASGITransport(app))
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60, headers=headers)
        return dataclasses.replace(stack, http=http)

    async with serving(app):
        key = await made(seen({"X-User": f"ana-{uuid.uuid4().hex[:8]}"}), "notes app", "read", "ask")
        yield seen({"Authorization": f"Bearer {key}"})


async def test_a_key_reaches_no_other_days_budget_by_its_time_zone(asks: Stack, fresh: Fresh) -> None:
    first, second = fresh("Hello"), fresh("Hello again")
    asks.model.script(first, plan_answer(reply="Hello."))
    await asks.ended((await asks.start(first, timezone=EARLIEST))["id"])
    view = await asks.asked((await asks.start(second, timezone=LATEST))["id"])
    assert [asked["reasons"] for asked in pending(view)] == [["1 of 1 requests to the language model of today"]]
    usage = (await asks.http.get("/v1/usage")).json()
    assert (usage["timezone"], usage["used"]["requests"]) == (EARLIEST, 1)
