"""Every address names all the methods that it takes, and answers HEAD as it answers GET, without a body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import plan_answer, serving
from tests.api.conftest import Json, refused
from tests.conftest import Stack


@pytest.fixture
async def address(stack: Stack) -> AsyncIterator[str]:
    """On a real port: a server there checks that a HEAD has no body."""
    async with serving(create_app(ApiSettings(), client=stack.temporal)) as found:
        yield found


async def test_allow_names_every_method_of_every_documented_address(stack: Stack) -> None:
    paths: dict[str, Json] = (await stack.http.get("/openapi.json")).json()["paths"]
    wrong = {}
    for path, operations in paths.items():
        methods = {method.upper() for method in operations}
        expected = methods | ({"HEAD"} if "GET" in methods else set())
        other = "PATCH" if "PUT" in methods else "PUT"
        answer = await stack.http.request(other, path.replace("{", "").replace("}", ""))
        if set(answer.headers.get("allow", "").split(", ")) != expected or answer.status_code != 405:
            wrong[path] = (answer.status_code, answer.headers.get("allow"), sorted(expected))
    assert len(paths) > 25
    assert wrong == {}


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz", "/metrics", "/v1/me", "/v1/models", "/.well-known/agent-card.json", "/openapi.json", "/v1/none"],
)
async def test_a_head_is_a_get_without_its_body(address: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        got, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.keys() == got.headers.keys()
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_head_of_a_stream_ends_and_the_connection_goes_on(
    stack: Stack, address: str, fresh: Callable[[str], str]
) -> None:
    message = fresh("ask me")
    stack.model.script(message, plan_answer(question="Which?"))
    run = await stack.until((await stack.start(message))["id"], lambda view: view["status"] == "awaiting_input")

    def asked() -> list[tuple[int, str | None, bytes]]:
        connection = HTTPConnection(urlsplit(address).netloc, timeout=10)
        answers = []
        for path in (f"/v1/assistants/{run['id']}/events", "/healthz"):
            connection.request("HEAD", path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.getheader("content-type"), answer.read()))
        connection.close()
        return answers

    told = await asyncio.to_thread(asked)
    assert [(status, body) for status, _, body in told] == [(200, b""), (200, b"")]
    assert "text/event-stream" in str(told[0][1])
    await stack.http.post(f"/v1/assistants/{run['id']}/cancel")


async def test_a_head_counts_under_its_route(stack: Stack) -> None:
    await stack.http.head("/v1/models/retinue")
    assert 'method="HEAD",route="/v1/models/{model}",status="200"' in (await stack.http.get("/metrics")).text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 404),
        ("GET", "/v1/chat", 404),
        ("GET", "/v1/files/file-1", 404),
        ("DELETE", "/v1/chat/completions", 405),
    ],
)
async def test_addresses_of_openai_answer_in_its_form(stack: Stack, method: str, path: str, status: int) -> None:
    answer = await stack.http.request(method, path, json={} if method == "POST" else None)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/none", "/v1/assistant", "/v1/assistants/a-1/none", "/chat/completions"])
async def test_other_addresses_answer_with_problem_details(stack: Stack, path: str) -> None:
    refused(await stack.http.get(path), 404)


async def test_a_closed_door_has_no_words(stack: Stack) -> None:
    app = create_app(ApiSettings(retinue_doors="-"), client=stack.temporal)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        refused(await http.post("/v1/embeddings", json={}), 404)
