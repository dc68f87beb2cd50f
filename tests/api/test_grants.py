"""Standing permissions and usage through the front door."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retinue.temporal import person
from retinue.times import present
from tests.api.conftest import Json, refused
from tests.conftest import Stack
from workflows.rules.grants import Amounts, CheckGrant, CheckGrantResult, DayUsage, RecordUsage

GRANTS = "/v1/grants"


@pytest.fixture
def address() -> str:
    return f"{uuid.uuid4().hex[:8]}@example.com"


def body(address: str, **fields: Any) -> Json:
    return {"tool": "email.send", "args": {"/to": [address], "/cc": []}, **fields}


async def added(stack: Stack, content: Json, **headers: str) -> Json:
    response = await stack.http.post(GRANTS, json=content, headers=headers)
    assert response.status_code == 201, response.text
    grant: Json = response.json()
    return grant


async def listed(stack: Stack, query: str = "") -> dict[str, Json]:
    response = await stack.http.get(f"{GRANTS}{query}")
    assert response.status_code == 200, response.text
    return {grant["grant_id"]: grant for grant in response.json()["grants"]}


async def consult(stack: Stack, address: str) -> CheckGrantResult:
    key = f"a-{uuid.uuid4().hex}/s1"
    question = CheckGrant(key=key, assistant_id=key[:-3], tool="email.send", args={"to": [address]})
    return await person.ask(stack.temporal, "local", person.CHECK_GRANT, question, answer=CheckGrantResult)


async def test_a_grant_is_shown_in_plain_words_and_used(stack: Stack, address: str) -> None:
    until = datetime.now(UTC) + timedelta(days=9)
    grant = await added(stack, body(address, uses=2, expires_at=until.isoformat()))
    assert grant["says"].startswith(f"Allowed: email.send, to exactly {address}, no cc, 2 more times, until 20")
    assert (grant["created_by"], grant["live"], grant["from_approval"]) == ("local", True, None)
    assert (await consult(stack, address)).grant_id == grant["grant_id"]
    shown = (await listed(stack))[grant["grant_id"]]
    assert (shown["uses"], shown["used"], len(shown["log"])) == (1, 1, 1)
    assert "once more" in shown["says"]


async def test_a_revoked_grant_is_gone_at_once(stack: Stack, address: str) -> None:
    grant_id = (await added(stack, body(address)))["grant_id"]
    for _ in range(2):
        response = await stack.http.delete(f"{GRANTS}/{grant_id}")
        assert (response.status_code, response.json()["live"]) == (200, False)
    assert (await consult(stack, address)).grant_id is None
    assert grant_id not in await listed(stack)
    assert (await listed(stack, "?all=true"))[grant_id]["revoked_at"]


async def test_a_used_up_grant_is_only_shown_among_all(stack: Stack, address: str) -> None:
    grant_id = (await added(stack, body(address, uses=1)))["grant_id"]
    assert (await consult(stack, address)).grant_id == grant_id
    assert grant_id not in await listed(stack)
    assert (await listed(stack, "?all=true"))[grant_id]["uses"] == 0


async def test_the_same_request_twice_is_one_grant(stack: Stack, address: str) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, again = [await added(stack, body(address), **key) for _ in range(2)]
    assert first == again
    other = await stack.http.post(GRANTS, json=body(f"x{address}"), headers=key)
    refused(other, 422, "was used for another request")


async def test_any_arguments_must_be_said_and_are_spelled_out(stack: Stack) -> None:
    refused(await stack.http.post(GRANTS, json={"tool": "weather.current"}), 422, "/args")
    grant = await added(stack, {"tool": "weather.current", "args": {}})
    assert "WHATEVER its arguments are, any number of times, until it is revoked" in grant["says"]
    await stack.http.delete(f"{GRANTS}/{grant['grant_id']}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tool": "email.sendd"}, "there is no tool 'email.sendd'"),
        ({"args": {"/too": []}}, "email.send has no argument at /too; it has"),
        ({"args": {"to": ["x"]}}, "/args"),
        ({"args": {"/to": "x"}}, "/args"),
        ({"args": {"/to": ["x" * 1501]}}, "/args"),
        ({"uses": 0}, "/uses"),
        ({"uses": 1001}, "/uses"),
        ({"expires_at": "2027-01-01T00:00:00"}, "offset"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "must be in the future"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "at most one year"),
        ({"created_by": "mallory"}, "/created_by"),
        ({"grant_id": "g-mine"}, "/grant_id"),
        ({"closed": True}, "/closed"),
    ],
)
async def test_a_wrong_grant_is_refused(stack: Stack, address: str, change: Json, says: str) -> None:
    refused(await stack.http.post(GRANTS, json=body(address) | change), 422, says)
    assert address not in str(await listed(stack, "?all=true"))


@pytest.mark.parametrize("grant_id", ["g-none", "..", "%00", "x" * 150])
async def test_an_unknown_grant_cannot_be_revoked(stack: Stack, grant_id: str) -> None:
    refused(await stack.http.delete(f"{GRANTS}/{grant_id}"), 404)


async def test_usage_is_of_today(stack: Stack) -> None:
    before = (await stack.http.get("/v1/usage")).json()
    spent = RecordUsage(key=uuid.uuid4().hex, day=present().date(), delta=Amounts(tokens=5, cost=0.25))
    await person.ask(stack.temporal, "local", person.RECORD_USAGE, spent, answer=DayUsage)
    after = (await stack.http.get("/v1/usage")).json()
    assert (after["day"], after["timezone"], after["budget"]) == (spent.day.isoformat(), "UTC", None)
    assert after["used"]["tokens"] >= before["used"]["tokens"] + 5
