"""How many calls to Temporal a click costs, counted at the API's own connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal.connection import connect
from retinue.testing import plan_answer
from tests.api.conftest import browsing
from tests.conftest import Stack, pending
from tests.test_main_job import mail

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Counted:
    """A front door and the calls that it made to Temporal."""

    http: httpx.AsyncClient
    calls: list[str] = field(default_factory=list)


@pytest.fixture
async def counted(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counted]:
    client = await connect()
    calls: list[str] = []
    service = client.service_client
    call: Callable[..., Any] = service._rpc_call

    async def count(rpc: str, *args: Any, **more: Any) -> Any:
        calls.append(rpc)
        return await call(rpc, *args, **more)

    monkeypatch.setattr(service, "_rpc_call", count)
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db")
    async with browsing(create_app(settings, client=client)) as http:
        yield Counted(http, calls)


async def test_an_approval_costs_few_calls(counted: Counted, stack: Stack, fresh: Callable[[str], str]) -> None:
    """The form that is sent, and the page that the browser is led to."""
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    view = await stack.asked((await stack.start(message))["id"])
    approval = pending(view)[0]
    page = f"/assistants/{view['id']}"
    assert (await counted.http.get(page)).status_code == 200
    counted.calls.clear()
    form = {"decision": "approve", "args_hash": approval["args_hash"], "back": page}
    answer = await counted.http.post(f"/approvals/{view['id']}/{approval['id']}", content=urlencode(form), headers=FORM)
    assert answer.status_code == 303, answer.text
    assert (await counted.http.get(answer.headers["location"])).status_code == 200
    assert len(counted.calls) <= 6, counted.calls
