"""The official A2A client as another agent uses it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.client import Client
from a2a.types import Message, Part, Role, SendMessageConfiguration, SendMessageRequest, StreamResponse, Task
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from api.app import create_app
from api.auth.principals import Person
from api.auth.principals import Role as PersonRole
from api.deps import caller
from api.settings import ApiSettings
from tests.conftest import Stack

Opened = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="session")
async def stranger(stack: Stack) -> AsyncIterator[Client]:
    """A client that somebody of another organisation uses at the same front door."""
    app = create_app(ApiSettings(), client=stack.temporal)
    app.dependency_overrides[caller] = lambda: Person("eve", frozenset({PersonRole.OWNER}), "umbrella")
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            config = ClientConfig(streaming=True, httpx_client=http)
            yield await create_client("http://localhost", client_config=config)


@pytest.fixture
def opened(door: str) -> Opened:
    """Opens a client that has read the card, with or without a key, streaming or not."""

    @contextlib.asynccontextmanager
    async def client(*, key: str | None = None, streaming: bool = False) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            yield await create_client(door, client_config=ClientConfig(streaming=streaming, httpx_client=http))

    return client


def request(
    text: str = "",
    *,
    data: Mapping[str, Any] | None = None,
    task: str = "",
    context: str = "",
    message_id: str = "",
    at_once: bool = False,
) -> SendMessageRequest:
    """A message, ready to send."""
    parts = [Part(text=text)] if text else []
    if data is not None:
        parts.append(Part(data=ParseDict(dict(data), Value())))
    message = Message(
        message_id=message_id or uuid.uuid4().hex, role=Role.ROLE_USER, parts=parts, task_id=task, context_id=context
    )
    return SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=at_once))


async def sent(client: Client, wanted: SendMessageRequest) -> Task:
    """Send a message without streaming; gives the task as it stands then."""
    [answer] = [answer async for answer in client.send_message(wanted)]
    return answer.task


async def streamed(client: Client, wanted: SendMessageRequest) -> list[StreamResponse]:
    """Send a message and hear everything that comes of it."""
    return [answer async for answer in client.send_message(wanted)]


def approval(task_status: Any) -> dict[str, Any]:
    """The first approval in a status, as data."""
    found = [MessageToDict(part.data) for part in task_status.message.parts if part.WhichOneof("content") == "data"]
    waits: dict[str, Any] = found[0]["approval"]
    return waits


def words(task_status: Any) -> str:
    """What a status says in words."""
    return "\n".join(part.text for part in task_status.message.parts if part.text)
