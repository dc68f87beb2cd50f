"""One Idempotency-Key, one run, one answer: at once, later, after a failed start, after a restart, and when Temporal has
forgotten."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.services.schemas import StartBody
from api.settings import ApiSettings
from api.storage.idempotency import Claim, IdempotencyKeys
from retinue.testing import plan_answer
from tests.api.conftest import Fresh, Json, browsing, eventually, refused
from tests.conftest import Stack, View

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


async def test_of_two_keys_none_counts(stack: Stack, fresh: Fresh, key: str) -> None:
    """Two programs on the way could read two different ones."""
    message = fresh("Never started")
    for second in (key, "another"):
        headers = [("Idempotency-Key", key), ("Idempotency-Key", second)]
        refused(await stack.http.post(ASSISTANTS, json={"message": message}, headers=headers), 400, "several")
    assert plans(stack, message) == 0


def plans(stack: Stack, message: str) -> int:
    """How often the model was asked for a plan."""
    return sum("response_format" in request for request in stack.model.requests_for(message))


async def test_a_hundred_equal_requests_at_once_and_three_later_are_one_run_and_one_answer(
    stack: Stack, fresh: Fresh, key: str
) -> None:
    """Repeated ones wait a moment for the first answer, and are told to come again if it does not come."""
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 110)
    burst = await asyncio.gather(*[ask(stack.http, key, message) for _ in range(100)])
    answered = [response for response in burst if response.status_code == 202]
    assert {response.status_code for response in burst} <= {202, 409}
    assert {response.headers["Retry-After"] for response in burst if response.status_code == 409} <= {"2"}
    [first] = [response for response in answered if "Idempotency-Replayed" not in response.headers]
    assistant_id = first.json()["id"]
    done = await stack.ended(assistant_id)
    later = [await ask(stack.http, key, message) for _ in range(3)]
    for again in [*answered, *later]:
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["Location"] == f"{ASSISTANTS}/{assistant_id}"
    assert {again.headers["Idempotency-Replayed"] for again in later} == {"true"}
    assert (done["status"], done["reply"]) == ("completed", "Hello!")
    assert await runs_of(stack, assistant_id) == 1
    assert plans(stack, message) == 1


async def test_a_repeated_request_gets_the_first_answer_whatever_became_of_the_run(
    stack: Stack, fresh: Fresh, key: str
) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]), plan_answer([MAIL]))
    first = await ask(stack.http, key, message)
    assistant_id = first.json()["id"]
    await stack.asked(assistant_id)
    assert (await ask(stack.http, key, message)).content == first.content
    await stack.http.post(f"{ASSISTANTS}/{assistant_id}/cancel")
    await stack.ended(assistant_id)
    assert (await ask(stack.http, key, message)).content == first.content
    assert (await stack.view(assistant_id))["status"] == "cancelled"
    assert plans(stack, message) == 1


async def test_while_the_first_request_is_answered_a_repeated_one_is_told_to_wait(
    stack: Stack, fresh: Fresh, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.storage.idempotency._PATIENCE", 0.2)
    message = fresh("Mail team@example.com")
    stack.model.script(message, replace(plan_answer([MAIL]), delay=3))
    first = asyncio.create_task(ask(stack.http, key, message, wait_seconds=20))
    await eventually(lambda: claims(stack, key), bool)
    early = await ask(stack.http, key, message)
    refused(early, 409, "still in progress")
    assert early.headers["Retry-After"] == "2"
    refused(await ask(stack.http, key, "Something else"), 422, "another request")
    assert (await ask(stack.http, key, message)).status_code in (202, 409)
    answer = await first
    assert answer.json()["status"] == "awaiting_approval"
    assert (await ask(stack.http, key, message)).content == answer.content
    await stack.http.post(f"{ASSISTANTS}/{answer.json()['id']}/cancel")


async def claims(stack: Stack, key: str) -> int:
    """How many rows there are of this key of the local person."""
    key_id = hashlib.sha256(f"local\n{key}".encode()).hexdigest()
    with sqlite3.connect(stack.data / "api.db") as database:
        return int(database.execute("SELECT count(*) FROM idempotency_keys WHERE id = ?", (key_id,)).fetchone()[0])


async def test_what_was_refused_may_be_tried_again(stack: Stack, fresh: Fresh, key: str) -> None:
    """A refusal is no answer that is kept; but the key stays that of this request."""
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]))
    view = await stack.asked((await stack.start(message))["id"])
    url, headers = f"{ASSISTANTS}/{view['id']}", {"Idempotency-Key": key}
    refused(await stack.http.post(f"{url}/undo", headers=headers), 409, "has not ended")
    refused(await stack.http.post(f"{url}/cancel", headers=headers), 422, "another request")
    await stack.http.post(f"{url}/cancel")
    await stack.ended(view["id"])
    refused(await stack.http.post(f"{url}/undo", headers=headers), 409, "nothing to undo")


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
    assert first == again


@pytest.mark.parametrize("other", [{"message": "Something else"}, {"timezone": "Europe/Lisbon"}])
async def test_a_key_used_for_another_request_is_refused(
    stack: Stack, fresh: Fresh, key: str, other: dict[str, str]
) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    first = (await ask(stack.http, key, message, wait_seconds=20)).json()
    refused(
        await ask(stack.http, key, **{"message": message, **other}), 422, "use a new Idempotency-Key for a new request"
    )
    assert (await ask(stack.http, key, message)).json() == first


async def test_another_key_or_none_is_another_run(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 5)
    views: list[View] = [(await ask(stack.http, name, message)).json() for name in (key, key.upper() + "x")]
    views += [await stack.start(message), await stack.start(message)]
    assert len({view["id"] for view in views}) == 4
    assert {(await stack.ended(view["id"]))["status"] for view in views} == {"completed"}


async def test_a_request_whose_start_failed_works_when_repeated(stack: Stack, fresh: Fresh, key: str) -> None:
    """As after a crash between the two: the key is claimed, Temporal never heard of the run. A claim ends by itself."""
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    claim = await claimed(key, message)
    refused(await stack.http.get(f"{ASSISTANTS}/{claim.assistant_id}"), 404)
    started = (await ask(stack.http, key, message)).json()
    assert started["id"] == claim.assistant_id
    assert (await stack.ended(started["id"]))["reply"] == "Hello!"


async def test_a_crash_between_start_and_answer_leaves_a_key_that_finds_the_run(
    stack: Stack, fresh: Fresh, key: str
) -> None:
    """The run was started, the process died before it had kept the answer."""
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 2)
    first = (await ask(stack.http, key, message)).json()
    await stack.ended(first["id"])
    with sqlite3.connect(stack.data / "api.db") as database:
        unanswered = "UPDATE idempotency_answers SET status = NULL, body = NULL, claimed_until = '2020-01-01 00:00:00' "
        key_id = hashlib.sha256(f"local\n{key}".encode()).hexdigest()
        assert database.execute(f"{unanswered} WHERE id = ?", (key_id,)).rowcount == 1
    again = await ask(stack.http, key, message)
    assert (again.json()["id"], again.json()["status"]) == (first["id"], "completed")
    assert (await ask(stack.http, key, message)).content == again.content
    assert plans(stack, message) == 1


async def claimed(key: str, message: str) -> Claim:
    """Claim a key for a request and die right there; the claim is over at once."""
    keys = IdempotencyKeys(ApiSettings().api_database_url)
    await keys.open()
    body = StartBody(message=message).model_dump_json(exclude={"wait_seconds"}, exclude_defaults=True)
    claim = await keys.claim(owner="local", key=key, body=body, lasting=timedelta(0))
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
    refused(await ask(restarted, key, "Something else"), 422, "use a new Idempotency-Key")
    assert plans(stack, message) == 1


async def test_two_front_doors_at_once_start_one_run(
    stack: Stack, fresh: Fresh, key: str, restarted: httpx.AsyncClient
) -> None:
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 20)
    doors = [stack.http, restarted] * 10
    responses = await asyncio.gather(*[ask(http, key, message) for http in doors])
    [assistant_id] = {response.json()["id"] for response in responses}
    await stack.ended(assistant_id)
    assert await runs_of(stack, assistant_id) == 1
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
    assistant_id = (await claimed(key, message)).assistant_id
    _used_two_days_ago(stack, assistant_id)
    refused(await ask(stack.http, key, message), 409, "use a new Idempotency-Key to ask again")
    refused(await stack.http.get(f"{ASSISTANTS}/{assistant_id}"), 404)
    assert plans(stack, message) == 0


def _used_two_days_ago(stack: Stack, assistant_id: str) -> None:
    used = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.000000")
    with sqlite3.connect(stack.data / "api.db") as database:
        changed = database.execute(
            "UPDATE idempotency_keys SET used_at = ? WHERE assistant_id = ?", (used, assistant_id)
        )
    assert changed.rowcount == 1


async def test_the_table_holds_neither_key_nor_message(stack: Stack, fresh: Fresh, key: str) -> None:
    message = fresh("Something private")
    stack.model.script(message, plan_answer(reply="Hello!"))
    await ask(stack.http, key, message, wait_seconds=20)
    with sqlite3.connect(stack.data / "api.db") as database:
        rows = str(database.execute("SELECT * FROM idempotency_keys").fetchall())
        rows += str(database.execute("SELECT * FROM idempotency_answers").fetchall())
    assert key not in rows
    assert "private" not in rows


async def test_an_answer_that_somebody_changed_in_the_database_is_not_given(
    stack: Stack, fresh: Fresh, key: str
) -> None:
    """It is sealed with the key itself; what stands is shown instead."""
    message = fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 2)
    first = (await ask(stack.http, key, message)).json()
    done = await stack.ended(first["id"])
    with sqlite3.connect(stack.data / "api.db") as database:
        key_id = hashlib.sha256(f"local\n{key}".encode()).hexdigest()
        database.execute("UPDATE idempotency_answers SET body = zeroblob(length(body)) WHERE id = ?", (key_id,))
    again = await ask(stack.http, key, message)
    assert (again.json(), "Idempotency-Replayed" in again.headers) == (done, False)
    assert plans(stack, message) == 1


async def test_old_keys_are_forgotten_a_bounded_number_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.storage.idempotency._PRUNED_AT_ONCE", 3)
    keys = IdempotencyKeys(f"sqlite+aiosqlite:///{tmp_path}/api.db")
    await keys.open()
    for number in range(5):
        await keys.claim(owner="anna", key=f"old-{number}", body="x", lasting=timedelta(0))
    old = (datetime.now(UTC) - timedelta(days=31)).strftime("%Y-%m-%d %H:%M:%S.000000")
    with sqlite3.connect(tmp_path / "api.db") as database:
        database.execute("UPDATE idempotency_keys SET used_at = ?", (old,))
    await keys.claim(owner="anna", key="new", body="x", lasting=timedelta(0))
    assert [await keys.prune() for _ in range(3)] == [3, 2, 0]
    assert (await keys.claim(owner="anna", key="new", body="x")).repeated
    assert not (await keys.claim(owner="anna", key="old-1", body="another")).repeated
    await keys.close()


async def test_the_same_key_of_another_person_is_another_key(stack: Stack, fresh: Fresh, tmp_path: Path) -> None:
    """Neither what they asked nor that they used it shows; a proxy names the two."""
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_user_header="X-Person")
    key, message = str(uuid.uuid4()), fresh("Hello")
    stack.model.script(message, *[plan_answer(reply="Hello!")] * 2)
    async with browsing(create_app(settings, client=stack.temporal)) as http:

        async def by(person: str, words: str) -> httpx.Response:
            headers = {"X-Person": person, "Idempotency-Key": key}
            return await http.post(ASSISTANTS, json={"message": words}, headers=headers)

        annas, bobs = await by("anna", message), await by("bob", message)
        assert annas.json()["id"] != bobs.json()["id"]
        assert "Idempotency-Replayed" not in bobs.headers
        refused(await by("bob", "Something else"), 422)
        assert (await by("anna", message)).content == annas.content
