"""S14: no operation that reads changes anything, whatever is behind it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from retinue.testing import plan_answer
from tests.conftest import Stack, View
from tests.scenarios.test_plans import event
from tests.test_main_job import mail

Fresh = Callable[[str], str]


@pytest.fixture
async def things(stack: Stack, fresh: Fresh) -> dict[str, list[str]]:
    """Something for every parameter of a path: a run that waits, one that has ended, a schedule, a key."""
    waits, ends = fresh("Mail"), fresh("Dentist")
    stack.model.script(waits, plan_answer([mail("s1")]))
    stack.model.script(ends, plan_answer([event()]))
    waiting, done = await stack.start(waits), await stack.start(ends, wait_seconds=20)
    schedule = await stack.http.post("/v1/schedules", json={"message": "Hello", "cron": "0 0 1 1 *"})
    key = await stack.http.post("/v1/keys", json={"name": "laptop"})
    await stack.asked(waiting["id"])
    await stack.ended(done["id"])
    return {
        "assistant_id": [waiting["id"], done["id"]],
        "schedule_id": [schedule.json()["id"]],
        "approval_id": ["ap-s1"],
        "step_id": ["s1"],
        "model": ["retinue"],
        "key_id": [key.json()["id"]],
    }


def paths(document: dict[str, Any], things: dict[str, list[str]]) -> Iterable[str]:
    """Every path that can be read, with every thing that we have for it."""
    for template, operations in document["paths"].items():
        if "get" in operations:
            [name] = [name for name in things if f"{{{name}}}" in template] or [""]
            for thing in things.get(name, [""]):
                yield template.replace(f"{{{name}}}", thing)


def stored(folder: Path) -> dict[str, list[str]]:
    """Everything in every database."""
    found = {}
    for file in sorted(folder.glob("*.db")):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            found[file.name] = list(database.iterdump())
    return found


async def length(stack: Stack, assistant_id: str) -> int:
    """Events in the history of a run."""
    return (await stack.temporal.get_workflow_handle(assistant_id).describe()).history_length


async def state(stack: Stack, things: dict[str, list[str]]) -> tuple[Any, ...]:
    """All that reading could have changed."""
    [schedule] = things["schedule_id"]
    views: list[View] = [await stack.view(assistant_id) for assistant_id in things["assistant_id"]]
    lengths = [await length(stack, assistant_id) for assistant_id in things["assistant_id"]]
    told = [(await stack.http.get(path)).json() for path in (f"/v1/schedules/{schedule}", "/v1/grants", "/v1/keys")]
    return views, lengths, told, stored(stack.data)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_no_reading_changes_anything(stack: Stack, things: dict[str, list[str]], method: str) -> None:
    """The stores and histories are as before, after everything was read that openapi.json names."""
    document = (await stack.http.get("/openapi.json")).json()
    found = list(paths(document, things))
    assert len(found) > 15
    before = await state(stack, things)
    for path in found:
        for asked in (path, f"{path}?decision=approve&method=POST&_method=DELETE"):
            answer = await read(stack.http, method, asked)
            # an id of a response is none of an assistant, there is no trigger, and accounts are switched off here
            unknown = 404 if path.startswith(("/v1/responses/", "/v1/triggers/{", "/v1/accounts")) else 200
            assert answer in (200, 204, 405, 422, unknown), (asked, answer)
    assert await state(stack, things) == before


async def read(http: httpx.AsyncClient, method: str, path: str) -> int:
    """The status; a stream that goes on is left after a while."""
    override = {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "POST"}
    try:
        async with asyncio.timeout(2):
            return (await http.request(method, path, headers=override)).status_code
    except TimeoutError:
        return 200
