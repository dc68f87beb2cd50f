"""S12 and S13: what is somebody else's answers like what does not exist, and nobody becomes somebody else by a body."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth.principals import Person
from api.storage.idempotency import IdempotencyKeys
from retinue.testing import plan_answer
from tests.api.conftest import eventually, refused
from tests.api.tenancy.conftest import As
from tests.conftest import Stack, View, pending
from tests.scenarios.test_plans import event
from tests.test_main_job import mail

Fresh = Callable[[str], str]
Organisations = Callable[[str], str]
PAIRS = 1000
AT_ONCE = 10
YEARLY = {"message": "Say hello", "cron": "0 0 1 1 *"}
GRANT = {"tool": "email.send", "args": {"/to": ["other@example.com"]}}
DECISION = {"decision": "approve", "args_hash": "0" * 64}
ON_RUNS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "?wait_seconds=0.1", None),
    ("GET", "/messages", None),
    ("GET", "/receipt", None),
    ("GET", "/events", None),
    ("POST", "/messages", {"message": "Hello"}),
    ("POST", "/cancel", {"undo": True}),
    ("POST", "/undo", {}),
    ("POST", "/fork", {"from_step": "s1"}),
    ("POST", "/steps/s1", {"choice": "skip"}),
    ("POST", "/approvals/ap-s1", DECISION),
]
ON_SCHEDULES: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("POST", "/pause", {}),
    ("POST", "/resume", None),
    ("POST", "/run", None),
    ("DELETE", "", None),
]
ON_TRIGGERS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("POST", "/pause", {}),
    ("POST", "/resume", None),
    ("POST", "/test", {"start": True}),
    ("DELETE", "", None),
]
MCP: dict[str, dict[str, Any]] = {
    "assistant_status": {},
    "decide_approval": {"approval_id": "ap-s1", **DECISION},
    "send_message": {"message": "Hello"},
    "cancel_assistant": {"undo": True},
}

Told = tuple[int, dict[str, str], str]
Ask = tuple[str, str, str, Any]


@dataclass
class Belongings:
    """What one person has."""

    person: Stack
    waiting: View
    done: View
    schedule: str
    trigger: str
    grant: str
    key: str

    def ids(self) -> list[str]:
        return [self.waiting["id"], self.done["id"], self.schedule, self.trigger, self.grant, self.key]


async def belongings(person: Stack, message: str) -> Belongings:
    """A run that waits, one that has ended and can be undone, a schedule, a trigger, a grant and an API key."""
    waits, ends = f"Mail, {message}", f"Dentist, {message}"
    person.model.script(waits, plan_answer([mail("s1")]))
    person.model.script(ends, plan_answer([event()]))
    waiting, done, schedule, trigger, grant, key = await asyncio.gather(
        person.start(waits),
        person.start(ends, wait_seconds=20),
        person.http.post("/v1/schedules", json=YEARLY),
        person.http.post("/v1/triggers", json={"event": "mail", "message": "Say hello"}),
        person.http.post("/v1/grants", json=GRANT),
        person.http.post("/v1/keys", json={"name": "laptop"}),
    )
    return Belongings(
        person,
        await person.asked(waiting["id"]),
        await person.ended(done["id"]),
        schedule.json()["id"],
        trigger.json()["id"],
        grant.json()["grant_id"],
        key.json()["id"],
    )


def asks(theirs: Belongings) -> Iterable[Ask]:
    """Every question about somebody's things: their id, method, path with `{}` for it, body."""
    for assistant_id in (theirs.waiting["id"], theirs.done["id"]):
        yield from ((assistant_id, method, f"/v1/assistants/{{}}{rest}", body) for method, rest, body in ON_RUNS)
    yield from ((theirs.schedule, method, f"/v1/schedules/{{}}{rest}", body) for method, rest, body in ON_SCHEDULES)
    yield from ((theirs.trigger, method, f"/v1/triggers/{{}}{rest}", body) for method, rest, body in ON_TRIGGERS)
    yield theirs.grant, "DELETE", "/v1/grants/{}", None
    yield theirs.key, "DELETE", "/v1/keys/{}", None


def like(known: str) -> str:
    """An id of the same form that nothing has."""
    return f"{known[:2]}{uuid.uuid4().hex[: len(known) - 2]}"


def told(answer: httpx.Response, asked_for: str) -> Told:
    """Everything that an answer tells, but for the id that was asked for and how many more may be asked."""
    headers = {name: value for name, value in answer.headers.items() if not name.startswith("ratelimit")}
    return answer.status_code, headers, answer.text.replace(asked_for, "{}")


@pytest.fixture(scope="module")
async def everybody(people: As) -> list[Belongings]:
    """People whose names are alike, in two organisations and in none. Who uses them leaves them as they are."""
    mark = uuid.uuid4().hex[:8]
    acme, umbrella = f"acme-{mark}", f"umbrella-{mark}"
    who = [("anna", acme), ("anna", umbrella), (f"anna-{mark}", ""), ("Anna", acme), ("ben", acme)]
    return list(await asyncio.gather(*[belongings(people(*one), f"{mark} {n}") for n, one in enumerate(who)]))


@pytest.mark.long
async def test_foreign_ids_answer_like_unknown_ones_a_thousand_times(everybody: list[Belongings]) -> None:
    """Over random pairs of a person and a question about somebody else's things; then all is as it was."""
    chance = random.Random(512)
    gate = asyncio.Semaphore(AT_ONCE)

    async def answered(me: Belongings, known: str, method: str, path: str, body: Any) -> Told:
        async with gate:
            return told(await me.person.http.request(method, path.format(known), json=body), known)

    questions = [(like(known), *rest) for known, *rest in asks(everybody[0])]
    unknown = {
        question[1:3]: answer
        for question, answer in zip(
            questions, await asyncio.gather(*[answered(everybody[0], *question) for question in questions]), strict=True
        )
    }
    pairs = [
        (me, *chance.choice(list(asks(theirs)))) for me, theirs in (chance.sample(everybody, 2) for _ in range(PAIRS))
    ]
    foreign = await asyncio.gather(*[answered(*pair) for pair in pairs])
    assert {answer[0] for answer in unknown.values()} == {404}
    assert [
        (pair[1:], answer) for pair, answer in zip(pairs, foreign, strict=True) if answer != unknown[pair[2:4]]
    ] == []
    for one in everybody:
        now = await one.person.view(one.waiting["id"])
        assert (now["status"], now["approvals"]) == ("awaiting_approval", one.waiting["approvals"])
        assert (await one.person.view(one.done["id"]))["undo"] == []
        schedule = (await one.person.http.get(f"/v1/schedules/{one.schedule}")).json()
        assert (schedule["paused"], schedule["recent_runs"]) == (False, [])
        assert [key["id"] for key in (await one.person.http.get("/v1/keys")).json()["keys"]] == [one.key]
        assert [grant["live"] for grant in (await one.person.http.get("/v1/grants")).json()["grants"]] == [True]


@pytest.mark.parametrize("tool", MCP)
async def test_the_door_of_mcp_knows_nothing_of_foreign_ids(everybody: list[Belongings], tool: str) -> None:
    """The same by the tools: what is somebody else's is told in the words of what does not exist."""
    me, others = everybody[0], everybody[1:]

    async def answered(known: str) -> str:
        call = {"name": tool, "arguments": {"assistant_id": known, **MCP[tool]}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = await me.person.http.post("/mcp", json=body, headers={"Accept": "application/json, text/event-stream"})
        return f"{answer.status_code} {answer.text.replace(known, '{}')}"

    unknown = await answered(like(others[0].done["id"]))
    assert "there is no assistant" in unknown
    foreign = [await answered(known) for one in others for known in (one.waiting["id"], one.done["id"])]
    assert set(foreign) == {unknown}


async def test_a_foreign_decision_in_a_batch_reads_like_an_unknown_one(everybody: list[Belongings]) -> None:
    me, theirs = everybody[0], everybody[1]
    hash_ = pending(theirs.waiting)[0]["args_hash"]
    ids = [theirs.waiting["id"], like(theirs.waiting["id"])]
    body = [{**DECISION, "args_hash": hash_, "assistant_id": known, "approval_id": "ap-s1"} for known in ids]
    outcomes = (await me.person.http.post("/v1/approvals", json={"decisions": body})).json()["outcomes"]
    foreign, unknown = [
        {**outcome, "assistant_id": "", "detail": outcome["detail"].replace(known, "")}
        for known, outcome in zip(ids, outcomes, strict=True)
    ]
    assert foreign == unknown
    assert foreign["status"] == 404


async def test_lists_hold_nothing_of_others(everybody: list[Belongings]) -> None:
    lists = (
        "/v1/assistants?limit=100",
        "/v1/approvals",
        "/v1/schedules",
        "/v1/triggers",
        "/v1/grants?all=true",
        "/v1/keys",
        "/v1/usage",
    )

    async def all_lists(one: Belongings) -> str:
        return "\n".join([(await one.person.http.get(path)).text for path in lists])

    for one in everybody:
        text = await eventually(partial(all_lists, one), partial(names_all, one.ids()))
        assert [known for other in everybody if other is not one for known in other.ids() if known in text] == []


def names_all(ids: list[str], text: str) -> bool:
    return all(known in text for known in ids)


async def test_a_key_makes_other_runs_for_other_people(people: As, organisations: Organisations, fresh: Fresh) -> None:
    key, message = {"Idempotency-Key": uuid.uuid4().hex}, fresh("Hello")
    ids = []
    for one in (people("anna", organisations("acme")), people("anna", organisations("umbrella")), people("anna")):
        one.model.script(message, plan_answer(reply="Hello!"))
        answers = [await one.http.post("/v1/assistants", json={"message": message}, headers=key) for _ in range(2)]
        [known] = {answer.json()["id"] for answer in answers}
        ids.append(known)
    assert len(set(ids)) == 3


async def test_who_knows_a_person_and_their_key_cannot_work_out_the_id(tmp_path: Path) -> None:
    """It takes the secret of the installation: another one gives the same request another id, this one the same."""
    ids = []
    for file in ("one.db", "one.db", "other.db"):
        keys = IdempotencyKeys(f"sqlite+aiosqlite:///{tmp_path / file}")
        await keys.open()
        claim = await keys.claim(owner="acme:anna", key="key", body="{}")
        ids.append(claim.assistant_id)
        await keys.give_back(claim)
        await keys.close()
    assert ids[0] == ids[1] != ids[2]
    assert sqlite3.connect(tmp_path / "one.db").execute("SELECT length(value) FROM secrets").fetchall() == [(32,)]


@pytest.mark.parametrize(
    ("name", "tenant"), [("acme:anna", ""), ("b:anna", "a"), ("anna", "a:b"), ("*", "acme"), ("", "acme")]
)
def test_no_name_can_be_read_as_that_of_somebody_elsewhere(name: str, tenant: str) -> None:
    with pytest.raises(ValueError, match="must not contain ':' or"):
        Person(name, frozenset(), tenant)


EXTRA = [
    {"owner": "acme:ben"},
    {"tenant": "umbrella"},
    {"by": "ben"},
    {"status": "approved"},
    {"user": "ben", "roles": ["auditor"]},
    {"id": "a-1", "created_by": "ben"},
]
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/assistants", {"message": "Hello"}),
    ("/v1/assistants/a-1/messages", {"message": "Hello"}),
    ("/v1/assistants/a-1/cancel", {}),
    ("/v1/assistants/a-1/undo", {}),
    ("/v1/assistants/a-1/fork", {"from_step": "s1"}),
    ("/v1/assistants/a-1/steps/s1", {"choice": "skip"}),
    ("/v1/assistants/a-1/approvals/ap-s1", DECISION),
    ("/v1/schedules", YEARLY),
    ("/v1/schedules/s-1/pause", {}),
    ("/v1/triggers", {"event": "mail", "message": "Hello"}),
    ("/v1/triggers/t-1/pause", {}),
    ("/v1/grants", GRANT),
]


@pytest.mark.parametrize("extra", EXTRA, ids=str)
async def test_nobody_becomes_somebody_else_by_what_a_body_says(
    people: As, organisations: Organisations, extra: dict[str, Any]
) -> None:
    anna = people("anna", organisations("acme"))
    for path, body in BODIES:
        refused(await anna.http.post(path, json={**body, **extra}), 422, next(iter(extra)))
    batch = {**DECISION, "assistant_id": "a-1", "approval_id": "ap-s1"}
    refused(await anna.http.post("/v1/approvals", json={"decisions": [{**batch, **extra}]}), 422)
    refused(await anna.http.post("/v1/approvals", json={"decisions": [batch], **extra}), 422)
    wish = {**DECISION, "grant": {"uses": 1, **extra}}
    refused(await anna.http.post("/v1/assistants/a-1/approvals/ap-s1", json=wish), 422)
    assert (await anna.http.get("/v1/assistants", params={"owner": "ben", "tenant": "x"})).json()["assistants"] == []


async def test_who_decides_and_owns_is_who_called(people: As, fresh: Fresh, organisations: Organisations) -> None:
    acme = organisations("acme")
    mine = await belongings(people("anna", acme), fresh("mine"))
    await mine.person.decide(mine.waiting)
    done = await mine.person.ended(mine.waiting["id"])
    assert (done["owner"], done["approvals"][0]["decided_by"]) == (f"{acme}:anna", f"{acme}:anna")
    [grant] = (await mine.person.http.get("/v1/grants")).json()["grants"]
    assert grant["created_by"] == f"{acme}:anna"
    started = await mine.person.http.post("/v1/assistants", json={"message": fresh("Day"), "plan": "briefing"})
    assert (await mine.person.ended(started.json()["id"]))["owner"] == f"{acme}:anna"
