"""What the tests of the front door share: how a refusal must look."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import Stack

Fresh = Callable[[str], str]
Json = dict[str, Any]
JSON = {"Content-Type": "application/json"}


def refused(response: httpx.Response, status: int, says: str = "") -> Json:
    """The problem detail of a refusal, after checking its form and that its detail says `says`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:retinue:problem:")
    assert problem["title"]
    assert says in problem["detail"]
    assert 10 <= len(problem["detail"]) <= 1500
    return problem


async def eventually(read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], *, seconds: float = 60) -> Any:
    """Read again until it holds: lists are eventually consistent. Fails with what was read last."""
    found: Any = None
    for _ in range(int(seconds / 0.1)):
        found = await read()
        if holds(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"did not come about in {seconds} s: {found}")


@asynccontextmanager
async def browsing(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an opened application in this process."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as http,
    ):
        yield http


@pytest.fixture(scope="session")
async def documented(stack: Stack) -> dict[tuple[str, re.Pattern[str]], dict[str, Json]]:
    """The responses that openapi.json names, by method and a pattern of the path."""
    paths = (await stack.http.get("/openapi.json")).json()["paths"]
    return {
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path))): operation["responses"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


@pytest.fixture(autouse=True)
async def _only_documented_statuses(
    stack: Stack, documented: dict[tuple[str, re.Pattern[str]], dict[str, Json]]
) -> AsyncIterator[None]:
    """Whatever a test of this folder does: no operation answers with a status that openapi.json does not name."""
    answers: list[tuple[str, str, str]] = []

    async def note(response: httpx.Response) -> None:
        path = response.request.url.raw_path.decode("ascii").partition("?")[0]
        answers.append((response.request.method, path, str(response.status_code)))

    stack.http.event_hooks["response"].append(note)
    yield
    stack.http.event_hooks["response"].remove(note)
    undocumented = [
        (method, path[:80], status)
        for method, path, status in answers
        for (its_method, template), statuses in documented.items()
        if method == its_method and template.fullmatch(path) and status not in statuses
    ]
    assert undocumented == []
