"""One Idempotency-Key, one run: at once, later, after a failed start, after a restart, and when Temporal has forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from api.keys import Claim, IdempotencyKeys
from api.models import StartBody
from api.settings import ApiSettings
from retinue.testing import plan_answer
from tests.api.conftest import Fresh, Json, browsing, eventually, refused
from tests.conftest import Stack, View, pending

ASSISTANTS = "/v1/assistants"
MAIL = {"id": "s1", "tool": "email.send", "args": {"to": ["team@example.com"], "subject": "x", "body": "y"}}


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


async def ask(http: httpx.AsyncClient, key: str, message: str, **body: object) -> httpx.Response:
    return await http.post(ASSISTANTS, json={"message": message, **body}, headers={"Idempotency-Key": key})


async def runs_of(stack: Stack, assistant_id: str) -> int:
    """How many executions Temporal knows under this id, once it lists any."""

    async def count() -> int:
        return (await stack.temporal.count_workflows(f"WorkflowId = '{assistant_id}'")).count

    counted: int = await eventually(count, bool)
    return counted


def plans(stack: Stack, message: str) -> int:
    """How often the model was asked for a plan."""
    return sum("response_format" in request for request in stack.model.requests_for(message))


async def test_fifty_equal_requests_at_once_and_three_later_are_one_run(stack: Stack, fresh: Fresh, key: str) -> None:
    """The run ends within the burst, which is when default policies start a second one."""
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 60)
    burst = await asyncio.gather(*[ask(stack.http, key, message) for _ in range(50)])
    assert {response.status_code for response in burst} == {202}
    [run_id] = {response.json()["id"] for response in burst}
    assert {response.headers["Location"] for response in burst} == {f"{ASSISTANTS}/{run_id}"}
    done = await stack.ended(run_id)
    later = [await ask(stack.http, key, message) for _ in range(3)]
    assert [response.json() for response in later] == [done] * 3
    assert (done["status"], done["reply"]) == ("completed", "Hello!")
    assert await runs_of(stack, run_id) == 1
    assert plans(stack, message) == 1


async def test_a_repeated_request_shows_the_run_as_it_stands(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]))
    first = (await ask(stack.http, key, message)).json()
    waiting = await stack.asked(first["id"])
    again = await ask(stack.http, key, message)
    assert again.status_code == 202
    assert again.json() == waiting
    assert len(pending(again.json())) == 1
    await stack.http.post(f"{ASSISTANTS}/{first['id']}/cancel")


async def test_a_cancelled_run_is_not_started_again_by_its_key(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]), plan_answer([MAIL]))
    run_id = (await ask(stack.http, key, message)).json()["id"]
    await stack.asked(run_id)
    await stack.http.post(f"{ASSISTANTS}/{run_id}/cancel")
    await stack.ended(run_id)
    again = (await ask(stack.http, key, message)).json()
    assert (again["id"], again["status"]) == (run_id, "cancelled")
    assert plans(stack, message) == 1


SAME: dict[str, Json] = {
    "another wait": {"wait_seconds": 5},
    "defaults written out": {"mode": "task", "timezone": None, "wait_seconds": 0},
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
async def test_what_does_not_change_the_request_is_the_same_request(
    stack: Stack, fresh: Fresh, key: str, same: Json
) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    first, again = (await ask(stack.http, key, message)).json(), (await ask(stack.http, key, message, **same)).json()
    assert first["id"] == again["id"]


@pytest.mark.parametrize("other", [{"message": "Something else"}, {"timezone": "Europe/Lisbon"}])
async def test_a_key_used_for_another_request_is_refused(
    stack: Stack, fresh: Fresh, key: str, other: dict[str, str]
) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    first = (await ask(stack.http, key, message, wait_seconds=20)).json()
    refused(await ask(stack.http, key, **{"message": message, **other}), 422, "use a new key for a new request")
    assert (await ask(stack.http, key, message)).json() == first


async def test_another_key_or_none_is_another_run(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 5)
    views: list[View] = [(await ask(stack.http, name, message)).json() for name in (key, key.upper() + "x")]
    views += [await stack.start(message), await stack.start(message)]
    assert len({view["id"] for view in views}) == 4
    assert {(await stack.ended(view["id"]))["status"] for view in views} == {"completed"}


async def test_a_request_whose_start_failed_works_when_repeated(stack: Stack, fresh: Fresh, key: str) -> None:
    """As after a crash between the two: the key is claimed, Temporal never heard of the run."""
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    claim = await claimed(key, message)
    refused(await stack.http.get(f"{ASSISTANTS}/{claim.assistant_id}"), 404)
    started = (await ask(stack.http, key, message)).json()
    assert started["id"] == claim.assistant_id
    assert (await stack.ended(started["id"]))["reply"] == "Hello!"


async def claimed(key: str, message: str) -> Claim:
    """Claim a key for a request and stop there."""
    keys = IdempotencyKeys(ApiSettings().api_database_url)
    await keys.open()
    body = StartBody(message=message).model_dump_json(exclude={"wait_seconds"}, exclude_defaults=True)
    claim = await keys.claim(owner="local", key=key, body=body)
    await keys.close()
    return claim


@pytest.fixture
async def restarted(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A second front door on the same database file, as after a restart."""
    async with browsing(create_app(ApiSettings(), client=stack.temporal)) as http:
        yield http


async def test_a_key_outlives_the_process(stack: Stack, fresh: Fresh, key: str, restarted: httpx.AsyncClient) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 2)
    first = (await ask(stack.http, key, message, wait_seconds=20)).json()
    assert (await ask(restarted, key, message)).json() == first
    refused(await ask(restarted, key, "Something else"), 422, "use a new key")
    assert plans(stack, message) == 1


async def test_two_front_doors_at_once_start_one_run(
    stack: Stack, fresh: Fresh, key: str, restarted: httpx.AsyncClient
) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 20)
    doors = [stack.http, restarted] * 10
    responses = await asyncio.gather(*[ask(http, key, message) for http in doors])
    [run_id] = {response.json()["id"] for response in responses}
    await stack.ended(run_id)
    assert await runs_of(stack, run_id) == 1
    assert plans(stack, message) == 1


async def test_an_old_key_shows_its_run_as_long_as_it_is_kept(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 2)
    done = (await ask(stack.http, key, message, wait_seconds=20)).json()
    _used_two_days_ago(stack, done["id"])
    assert (await ask(stack.http, key, message)).json() == done
    assert plans(stack, message) == 1


async def test_an_old_key_whose_run_is_no_longer_kept_never_runs_again(stack: Stack, fresh: Fresh, key: str) -> None:
    """Temporal forgets a run after its retention; the table of keys does not."""
    message = fresh("Hello")
    run_id = (await claimed(key, message)).assistant_id
    _used_two_days_ago(stack, run_id)
    refused(await ask(stack.http, key, message), 409, "use a new key to ask again")
    refused(await stack.http.get(f"{ASSISTANTS}/{run_id}"), 404)
    assert plans(stack, message) == 0


def _used_two_days_ago(stack: Stack, run_id: str) -> None:
    used = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.000000")
    with sqlite3.connect(stack.data / "api.db") as database:
        changed = database.execute("UPDATE idempotency_keys SET used_at = ? WHERE assistant_id = ?", (used, run_id))
    assert changed.rowcount == 1


async def test_the_table_holds_neither_key_nor_message(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Something private")
    stack.model.script(message, plan_answer(reply="Hello!"))
    await ask(stack.http, key, message, wait_seconds=20)
    with sqlite3.connect(stack.data / "api.db") as database:
        rows = str(database.execute("SELECT * FROM idempotency_keys").fetchall())
    assert key not in rows
    assert "private" not in rows
