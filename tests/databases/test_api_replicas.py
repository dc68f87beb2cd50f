"""Two API processes over one PostgreSQL database and one Temporal are one front door: for keys, rates, sessions, decisions."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from retinue.settings import ROOT
from retinue.temporal.keyring import new_key
from retinue.testing import plan_answer
from tests.api.conftest import Fresh, eventually, refused
from tests.conftest import ENDED, Stack, pending
from tests.databases.borrowed import rows
from tests.databases.postgresql import PostgreSQL
from workers.temporal_server import free_port

pytestmark = pytest.mark.timeout(240)
ASSISTANTS = "/v1/assistants"
ANA, BEN, CARL, DORA, EVE = ({"X-Person": name} for name in ("ana", "ben", "carl", "dora", "eve"))
"""Each test has its own person, since each has one budget of requests."""
RATE = 40
MAIL = {"id": "s1", "tool": "email.send", "args": {"to": ["team@example.com"], "subject": "x", "body": "y"}}


@dataclass
class Replicas:
    """Two processes, their clients, and their database."""

    first: httpx.AsyncClient
    second: httpx.AsyncClient
    url: str


def started(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "api"], env=environment, stdout=output, stderr=output, cwd=ROOT
        )


async def serves(http: httpx.AsyncClient) -> None:
    async def status() -> int:
        try:
            return (await http.get("/healthz")).status_code
        except httpx.HTTPError:
            return 0

    await eventually(status, lambda found: found == 200, seconds=180)


@pytest.fixture(scope="module")
async def replicas(
    stack: Stack, postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replicas]:
    """Two API processes that start at the same time on an empty database, each with a data folder of its own."""
    tmp_path, postgresql_url = tmp_path_factory.mktemp("replicas"), await postgresql.create()
    together = os.environ | {
        "PYTHONPATH": str(ROOT),
        "API_DATABASE_URL": postgresql_url,
        "RETINUE_USER_HEADER": "X-Person",
        "RETINUE_RATE_LIMIT": f"{RATE}/600",
        "RETINUE_FAILED_LOGINS": "6/600",
        "RETINUE_DECISIONS": "open",
        "RETINUE_DECISION_KEYS": new_key(),
        "RETINUE_BLOB_DIR": str(stack.data / "blobs"),
    }
    processes, clients = [], []
    try:
        for number in (1, 2):
            port, folder = free_port(), tmp_path / str(number)
            folder.mkdir()
            own = {"RETINUE_PORT": str(port), "RETINUE_DATA_DIR": str(folder)}
            processes.append(started(together | own, folder / "log"))
            clients.append(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60))
        await asyncio.gather(*map(serves, clients))
        yield Replicas(clients[0], clients[1], postgresql_url)
    finally:
        for client in clients:
            await client.aclose()
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


async def ask(http: httpx.AsyncClient, key: str, message: str, who: dict[str, str] = ANA) -> httpx.Response:
    return await http.post(ASSISTANTS, json={"message": message}, headers={"Idempotency-Key": key, **who})


async def until(http: httpx.AsyncClient, assistant_id: str, holds: Any, who: dict[str, str]) -> Any:
    async def view() -> Any:
        """Few requests: each waits for the end, or for something that a person must do."""
        found = await http.get(f"{ASSISTANTS}/{assistant_id}", headers=who, params={"wait_seconds": 20})
        return found.json()

    return await eventually(view, holds)


async def test_one_key_is_one_run_and_one_answer_through_both_also_at_the_same_time(
    replicas: Replicas, stack: Stack, fresh: Fresh
) -> None:
    message, key = fresh("Hello"), str(uuid.uuid4())
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 12)
    burst = await asyncio.gather(*(ask(http, key, message) for http in (replicas.first, replicas.second) * 6))
    answered = [response for response in burst if response.status_code == 202]
    assert {response.status_code for response in burst} <= {202, 409}
    [first] = [response for response in answered if "Idempotency-Replayed" not in response.headers]
    later = [await ask(http, key, message) for http in (replicas.first, replicas.second)]
    assert {response.content for response in [*answered, *later]} == {first.content}
    assert {response.headers["Idempotency-Replayed"] for response in later} == {"true"}
    refused(await ask(replicas.second, key, fresh("Something else")), 422, "another request")
    kept = rows(replicas.url, "SELECT assistant_id FROM idempotency_keys")
    assert kept == [{"assistant_id": first.json()["id"]}]
    await until(replicas.second, first.json()["id"], lambda view: view["status"] == "completed", ANA)
    assert sum("response_format" in request for request in stack.model.requests_for(message)) == 1


async def test_one_rate_budget_for_both_and_another_persons_is_their_own(replicas: Replicas) -> None:
    listed = [await http.get(ASSISTANTS, headers=CARL) for http in (replicas.first, replicas.second) * (RATE // 2)]
    assert {response.status_code for response in listed} == {200}
    left = [int(response.headers["RateLimit"].split("r=")[1].split(";")[0]) for response in listed]
    assert left == sorted(left, reverse=True)
    assert left[-1] <= 3, "in 600 s it fills by one in 15 s"
    over = await asyncio.gather(*(http.get(ASSISTANTS, headers=CARL) for http in (replicas.first, replicas.second) * 8))
    allowed = [response for response in over if response.status_code == 200]
    assert len(allowed) <= 4
    for response in over:
        if response.status_code != 200:
            refused(response, 429, "rate limit exceeded")
            assert 1 <= int(response.headers["Retry-After"]) <= 16
    assert (await replicas.second.get(ASSISTANTS, headers=EVE)).status_code == 200
    stored = rows(replicas.url, "SELECT id FROM rate_limits")
    assert len(stored) >= 2
    assert all(len(row["id"]) == 64 for row in stored), "hashes, since some are addresses"


async def test_a_session_and_a_key_of_one_are_valid_at_the_other_and_end_at_both(replicas: Replicas) -> None:
    made = (await replicas.first.post("/v1/keys", json={"name": "phone"}, headers=BEN)).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert (await replicas.second.get(ASSISTANTS, headers=bearer)).status_code == 200
    ours = {"Origin": str(replicas.first.base_url).rstrip("/")}
    signed_in = await replicas.first.post("/v1/session", headers=bearer | ours)
    assert signed_in.status_code == 201, signed_in.text
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    replicas.first.cookies.clear()  # the client would send it with the other tests' requests too
    for http in (replicas.first, replicas.second):
        assert (await http.get(ASSISTANTS, headers=cookie)).status_code == 200
    ended = await replicas.second.delete(f"/v1/keys/{made['id']}", headers=BEN)
    assert ended.status_code in (200, 204), ended.text
    for http in (replicas.first, replicas.second):
        assert (await http.get(ASSISTANTS, headers=cookie)).status_code == 401
        assert (await http.get(ASSISTANTS, headers=bearer)).status_code == 401


async def test_an_approval_given_at_one_is_seen_at_the_other(replicas: Replicas, stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]))
    started_at_one = (await ask(replicas.first, str(uuid.uuid4()), message, DORA)).json()
    waits = [await until(http, started_at_one["id"], pending, DORA) for http in (replicas.first, replicas.second)]
    [approval], [same] = map(pending, waits)
    assert approval == same
    decided = await replicas.first.post(
        f"{ASSISTANTS}/{started_at_one['id']}/approvals/{approval['id']}",
        json={"decision": "approve", "args_hash": approval["args_hash"]},
        headers=DORA,
    )
    assert decided.status_code == 200, decided.text
    again = await replicas.second.post(
        f"{ASSISTANTS}/{started_at_one['id']}/approvals/{approval['id']}",
        json={"decision": "reject", "args_hash": approval["args_hash"]},
        headers=DORA,
    )
    refused(again, 409)
    done = await until(replicas.second, started_at_one["id"], lambda view: view["status"] in ENDED, DORA)
    assert done["status"] == "completed"
    assert not pending(done)


async def test_failed_sign_ins_at_one_count_at_the_other(replicas: Replicas) -> None:
    """The last test: the address is refused from then on."""
    wrong = {"Authorization": "Bearer rtn_wrong"}
    tried = [(await http.get(ASSISTANTS, headers=wrong)).status_code for http in (replicas.first, replicas.second) * 5]
    assert tried == sorted(tried)
    assert set(tried) == {401, 429}
    for http in (replicas.first, replicas.second):
        refused(await http.get(ASSISTANTS, headers=wrong), 429, "too many failed sign-ins")
        assert (await http.get(ASSISTANTS, headers=EVE)).status_code == 200
