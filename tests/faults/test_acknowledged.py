"""What the front door acknowledges is durable, and what is not durable it does not acknowledge."""

from __future__ import annotations

import asyncio
import signal
import uuid
from functools import partial

import httpx
import pytest

from tests.api.conftest import eventually, refused
from tests.faults.conftest import FaultStack

pytestmark = pytest.mark.long

ASSISTANTS = "/v1/assistants"


async def ask(http: httpx.AsyncClient, key: str) -> httpx.Response:
    return await http.post(ASSISTANTS, json={"message": f"Hello {key}"}, headers={"Idempotency-Key": key})


async def test_a_server_that_dies_between_request_and_answer_leaves_nothing_acknowledged_that_is_lost(
    faulty: FaultStack,
) -> None:
    """The server is held while requests are on their way, killed, and started again on its file."""
    before, during = [str(uuid.uuid4()) for _ in range(3)], [str(uuid.uuid4()) for _ in range(5)]
    acknowledged = {key: (await ask(faulty.http, key)).json()["id"] for key in before}
    faulty.server.process.send_signal(signal.SIGSTOP)
    on_their_way = [asyncio.create_task(ask(faulty.http, key)) for key in during]
    await asyncio.sleep(0.3)
    faulty.server.kill()
    for answer in await asyncio.gather(*on_their_way):
        refused(answer, 503, "try again")
        assert int(answer.headers["Retry-After"]) >= 1
    faulty.server.start()
    for assistant_id in acknowledged.values():
        read = partial(faulty.http.get, f"{ASSISTANTS}/{assistant_id}")
        await eventually(read, lambda answer: answer.status_code == 200)
    again = [await ask(faulty.http, key) for key in [*before, *during]]
    assert {answer.status_code for answer in again} == {202}
    ids = [answer.json()["id"] for answer in again]
    assert ids[:3] == list(acknowledged.values())
    found = await eventually(
        lambda: faulty.temporal.count_workflows("WorkflowType = 'AssistantWorkflow'"), lambda runs: runs.count >= 8
    )
    assert (len(set(ids)), found.count) == (8, 8)
