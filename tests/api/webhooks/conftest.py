"""A front door that delivers to webhooks, and programs that are told: each on a path of its own of one real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request, Response

from api.app import create_app
from api.auth.principals import Permission, Person, Role
from api.deps import caller
from api.settings import ApiSettings
from retinue.testing import plan_answer, serving
from tests.api.conftest import Fresh, Json, eventually
from tests.conftest import Stack, View
from tests.test_main_job import mail

PUBLIC = "https://assistant.example.com"
PAUSES = "0.05,0.05"
POLICIES = """
[[policies.ben.rules]]
name = "ben"
decide = "ask"
by = ["ben"]

[[policies.anybody.rules]]
name = "anybody"
decide = "ask"
by = ["*"]

[[policies.urgent.rules]]
name = "urgent"
decide = "ask"
remind_after = [1]
escalate_after = 2
escalate_to = ["ben"]
"""


@dataclass
class Answers:
    """What a program answers: a status, headers; held back until `release` is set."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    release: asyncio.Event | None = None


@dataclass
class Program:
    """One program that is told, and knows its secret."""

    url: str
    secret: str = ""
    answers: list[Answers] = field(default_factory=list)
    always: Answers = field(default_factory=Answers)
    messages: list[Json] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    forged: int = 0
    at: list[float] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.forged += not self.is_genuine(request.headers, body)
        self.messages.append(json.loads(body))
        self.ids.append(request.headers["webhook-id"])
        self.at.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if self.answers else self.always
        if answer.release:
            await answer.release.wait()
        return Response(status_code=answer.status, headers=answer.headers)

    def is_genuine(self, headers: Any, body: bytes) -> bool:
        """As the specification of Standard Webhooks tells receivers to look; nothing of ours takes part."""
        key = base64.b64decode(self.secret.split("_", 1)[1])
        content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return any(hmac.compare_digest(f"v1,{expected}", part) for part in headers["webhook-signature"].split())

    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]

    async def heard(self, what: str, *, count: int = 1) -> Json:
        """The message of a type, once so many of it have come."""

        async def read() -> list[Json]:
            return [message for message in self.messages if message["type"] == what]

        messages: list[Json] = await eventually(read, lambda found: len(found) >= count)
        return messages[-1]


@dataclass
class Programs:
    """All programs of this machine that listen."""

    address: str = ""
    by_path: dict[str, Program] = field(default_factory=dict)

    def new(self) -> Program:
        path = uuid.uuid4().hex
        made = self.by_path[path] = Program(f"{self.address}/{path}?token=canary-url")
        return made

    async def take(self, request: Request, path: str) -> Response:
        return await self.by_path[path].take(request)


@pytest.fixture(scope="session")
async def programs() -> AsyncIterator[Programs]:
    listening, app = Programs(), FastAPI()
    app.post("/{path}")(listening.take)
    async with serving(app) as listening.address:
        yield listening


def _from_headers(
    x_name: Annotated[str, Header()] = "local",
    x_tenant: Annotated[str, Header()] = "",
    x_roles: Annotated[str, Header()] = "owner",
    x_scopes: Annotated[str, Header()] = "",
) -> Person:
    scopes = frozenset(Permission(scope) for scope in x_scopes.split()) if x_scopes else None
    return Person(x_name, frozenset(Role(role) for role in x_roles.split()), x_tenant, scopes)


@dataclass
class Door:
    """A front door at which people say who they are."""

    stack: Stack
    programs: Programs

    def person(self, name: str, tenant: str = "", **more: str) -> Door:
        """The door as somebody else finds it."""
        headers = {"X-Name": name, "X-Tenant": tenant, **{f"X-{key}": value for key, value in more.items()}}
        transport = self.stack.http._transport
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60, headers=headers)
        return Door(replace(self.stack, http=http), self.programs)

    async def program(self, **body: Any) -> tuple[str, Program]:
        """A program of this person's that is told: the id of its webhook, and itself."""
        program = self.programs.new()
        made = await self.stack.http.post("/v1/webhooks", json={"url": program.url, **body})
        assert made.status_code == 201, made.text
        program.secret = made.json()["secret"]
        return made.json()["id"], program

    async def webhook(self, webhook_id: str) -> Json:
        """One webhook as its person sees it."""
        listed = (await self.stack.http.get("/v1/webhooks")).json()["webhooks"]
        [found] = [webhook for webhook in listed if webhook["id"] == webhook_id]
        shown: Json = found
        return shown

    async def tested(self, webhook_id: str, becomes: Callable[[Json], bool]) -> Json:
        """Send a test message; the webhook once its last delivery is so."""
        answer = await self.stack.http.post(f"/v1/webhooks/{webhook_id}/test")
        assert answer.status_code == 202, answer.text

        async def read() -> Json:
            return await self.webhook(webhook_id)

        found: Json = await eventually(read, lambda webhook: becomes(webhook["last_delivery"] or {}))
        return found

    async def asked(self, message: str, **body: Any) -> View:
        """A run that waits for consent to a mail."""
        self.stack.model.script(message, plan_answer([mail("s1")]))
        return await self.stack.asked((await self.stack.start(message, **body))["id"])


Opens = Callable[..., Any]


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("webhooks") / "policy.toml"
    file.write_text(POLICIES)
    return file


@pytest.fixture(scope="session")
def opened(stack: Stack, programs: Programs, policies: Path) -> Opens:
    """Opens a front door; give what its settings are to be beyond those of all."""
    place = programs.address.removeprefix("http://")

    @asynccontextmanager
    async def open_one(**settings: Any) -> AsyncIterator[Door]:
        chosen: dict[str, Any] = {
            "retinue_webhooks": True,
            "retinue_webhook_allow": place,
            "retinue_webhook_retries": PAUSES,
            "retinue_public_url": PUBLIC,
            "retinue_policy": policies,
        }
        app = create_app(ApiSettings(**chosen | settings), client=stack.temporal)
        app.dependency_overrides[caller] = _from_headers
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as http,
        ):
            yield Door(replace(stack, http=http), programs)

    return open_one


@pytest.fixture
async def anna(door: Door) -> Door:
    """Somebody who has nothing yet, in an organisation that only this test has."""
    return door.person("anna", f"acme-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def message(fresh: Fresh) -> str:
    """What is asked for; no message may repeat it."""
    return fresh("Mail the canary to team@example.com")
