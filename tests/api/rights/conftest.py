"""A front door with policies of its own, and keys of one person that may do more or less there."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import serving
from tests.conftest import Patient, Stack

POLICIES = """
[policies.default]
extends = "default"
hold = 0

[[policies.default.rules]]
name = "two-for-tasks"
tools = ["tasks.delete"]
decide = "ask"
approvers = 2
by = ["ana", "bob"]

[[policies.default.rules]]
name = "typed-recipients"
tools = ["email.send"]
args = { "/subject" = ["Typed *"] }
origins = ["user"]
decide = "auto"

[policies.lax]
hold = 0

[[policies.lax.rules]]
name = "anything"
decide = "auto"

[policies.board]
extends = "default"
[[policies.board.rules]]
name = "to-the-board"
tools = ["email.send"]
args_any = { "/to" = ["*@board.example"] }
decide = "ask"
approvers = 2
by = ["ana", "bob"]

[policies.no-deletion]
extends = "default"
[[policies.no-deletion.rules]]
name = "no-deletion"
tools = ["calendar.delete_*"]
decide = "deny"
"""
NAME = "notes app"


@dataclass
class Door:
    """The front door as seen through credentials of the one person, and its address on a real port."""

    person: Stack
    asks: Stack
    decides: Stack
    asking_key: str
    address: str


@pytest.fixture(scope="session")
async def door(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """In person without any credential, through a key that reads and asks, through one that may do everything."""
    file = tmp_path_factory.mktemp("rights") / "policy.toml"
    file.write_text(POLICIES)
    database = f"sqlite+aiosqlite:///{file.with_name('api.db')}"
    settings = ApiSettings(retinue_policy=file, retinue_rate_limit="10000000/60", api_database_url=database)
    async with AsyncExitStack() as open_things:
        app = create_app(settings, client=stack.temporal)
        address = await open_things.enter_async_context(serving(app))

        def seen(key: str | None = None) -> Stack:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            transport = Patient(httpx.ASGITransport(app))
            http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60, headers=headers)
            return dataclasses.replace(stack, http=http)

        person = seen()
        asking = await made(person, NAME, "read", "ask")
        deciding = await made(person, "my terminal")
        yield Door(person, seen(asking), seen(deciding), asking, address)


async def made(person: Stack, name: str, *scopes: str) -> str:
    """A new key's secret."""
    answer = await person.http.post("/v1/keys", json={"name": name, "scopes": list(scopes) or None})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


@pytest.fixture
def address() -> str:
    """An address that no other test writes to."""
    return f"{uuid.uuid4().hex[:8]}@example.com"
