"""A person's standing things on a real server: everything counts once, nothing outlives its revocation, nothing is lost."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.memory.contract import FactCount
from retinue.errors import Conflict, InvalidArguments, NotFound
from retinue.temporal import person
from retinue.times import on_the_calendar, present
from tests.conftest import Stack
from workers.local_activities import LocalActivities
from workflows import person as person_workflow
from workflows.consent import lookups
from workflows.person import PersonWorkflow
from workflows.registry import RegistryWorkflow
from workflows.rules.grants import (
    Amounts,
    CheckGrant,
    CheckGrantResult,
    DayUsage,
    Grant,
    GrantRequest,
    NewGrant,
    RecordApproval,
    RecordUsage,
    Revoke,
    Scope,
    Use,
)

Answer = TypeVar("Answer")
SENSITIVE = ("/to", "/cc")
MAIL: dict[str, Any] = {"to": ["anna@example.com"], "subject": "Hi", "body": "Hello"}
ANNA = {"/to": ["anna@example.com"], "/cc": []}
UNSANDBOXED = UnsandboxedWorkflowRunner()


@dataclass
class Owner:
    """A fresh person and the updates that one can send about them."""

    client: Client
    name: str

    async def ask(self, update: str, argument: Any, answer: type[Answer]) -> Answer:
        return await person.ask(self.client, self.name, update, argument, answer=answer)

    async def consult(self, key: str, **fields: Any) -> CheckGrantResult:
        question = CheckGrant(
            **{"key": key, "assistant_id": "a-1", "tool": "email.send", "args": MAIL, "sensitive": SENSITIVE, **fields}
        )
        return await self.ask("check_grant", question, CheckGrantResult)

    async def approved(self, key: str, **fields: Any) -> Grant | None:
        approval = RecordApproval(**{"key": key, "tool": "email.send", "args": MAIL, "sensitive": SENSITIVE, **fields})
        return await self.ask("record_approval", approval, Grant)

    async def add(self, **fields: Any) -> Grant:
        new = NewGrant(**{"grant_id": f"g-{uuid.uuid4().hex}", "tool": "email.send", "args": ANNA, **fields})
        return await self.ask("add_grant", new, Grant)

    async def revoke(self, grant_id: str) -> Grant:
        return await self.ask("revoke_grant", Revoke(grant_id=grant_id), Grant)

    async def spend(self, key: str, day: Any = None, **delta: Any) -> DayUsage:
        spent = RecordUsage(key=key, day=day or present().date(), delta=Amounts(**delta))
        return await self.ask("record_usage", spent, DayUsage)

    async def grants(self) -> list[Grant]:
        return await person.query(self.client, self.name, "grants", answer=list[Grant])

    async def grant(self, grant_id: str) -> Grant:
        [found] = [grant for grant in await self.grants() if grant.grant_id == grant_id]
        return found

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(person.person_id(self.name))


@pytest.fixture
async def owner(temporal: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    name = f"owner-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(person, "PERSON_QUEUE", name)
    async with Worker(
        temporal, task_queue=name, workflows=[PersonWorkflow], workflow_runner=UNSANDBOXED, build_id="test"
    ):
        yield Owner(temporal, name)


async def test_the_same_question_uses_a_grant_once(owner: Owner) -> None:
    given = await owner.add(uses=2)
    answers = [await owner.consult("a-1/s1") for _ in range(3)]
    assert {answer.grant_id for answer in answers} == {given.grant_id}
    after = await owner.grant(given.grant_id)
    assert (after.uses, after.used, [use.key for use in after.log]) == (1, 1, ["a-1/s1"])


async def test_twenty_at_once_get_exactly_the_uses_there_are(owner: Owner) -> None:
    given = await owner.add(uses=5)
    answers = await asyncio.gather(*[owner.consult(f"a-1/s{n}") for n in range(20)])
    assert Counter(answer.grant_id for answer in answers) == {given.grant_id: 5, None: 15}
    assert (await owner.grant(given.grant_id)).uses == 0
    again = await asyncio.gather(*[owner.consult(f"a-1/s{n}") for n in range(20)])
    assert [answer.grant_id for answer in again] == [answer.grant_id for answer in answers]


async def test_a_key_does_not_carry_a_grant_over_to_other_arguments(owner: Owner) -> None:
    await owner.add()
    assert (await owner.consult("a-1/s1")).grant_id
    assert (await owner.consult("a-1/s1", args=MAIL | {"to": ["mark@attacker.example"]})).grant_id is None


async def test_a_revoked_grant_never_matches_again(owner: Owner) -> None:
    given = await owner.add()
    assert (await owner.consult("a-1/s1")).grant_id == given.grant_id
    first = await owner.revoke(given.grant_id)
    assert (await owner.consult("a-1/s2")).grant_id is None
    assert (await owner.consult("a-1/s1")).grant_id is None
    assert (await owner.revoke(given.grant_id)).revoked_at == first.revoked_at is not None


async def test_grants_without_a_count_are_used_first(owner: Owner) -> None:
    await owner.add(uses=1)
    endless = await owner.add()
    assert (await owner.consult("a-1/s1")).grant_id == endless.grant_id


async def test_an_expired_grant_is_over(owner: Owner) -> None:
    await owner.add(expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    assert (await owner.consult("a-1/s1")).grant_id
    await asyncio.sleep(0.6)
    assert (await owner.consult("a-1/s2")).grant_id is None


async def test_a_grant_is_offered_after_three_equal_approvals(owner: Owner) -> None:
    offers = []
    for number in range(4):
        offers.append((await owner.consult(f"a-{number}/s1")).offer)
        for _ in range(2):  # the same approval twice counts once
            assert await owner.approved(f"a-{number}/s1", args=MAIL | {"subject": str(number)}) is None
    assert offers == [None, None, None, Scope(args=ANNA)]
    assert (await owner.consult("a-9/s1", args=MAIL | {"cc": ["x@y.z"]})).offer is None


async def test_who_revokes_is_not_offered_the_same_at_once(owner: Owner) -> None:
    for number in range(3):
        await owner.approved(f"a-{number}/s1")
    given = await owner.add()
    await owner.revoke(given.grant_id)
    assert (await owner.consult("a-9/s1")).offer is None


async def test_an_approval_for_good_makes_one_grant(owner: Owner) -> None:
    wish = GrantRequest(uses=5)
    first, again = [await owner.approved("a-1/s1", wish=wish, approval="a-1/ap-s1", by="anna") for _ in range(2)]
    assert first is not None
    assert first == again
    assert (first.args, first.uses, first.from_approval, first.created_by) == (ANNA, 5, "a-1/ap-s1", "anna")
    assert len(await owner.grants()) == 1
    assert (await owner.consult("a-2/s1")).grant_id == first.grant_id


async def test_a_wish_may_name_its_own_scope(owner: Owner) -> None:
    given = await owner.approved("a-1/s1", wish=GrantRequest(args={"/to": ["*@example.com"]}))
    assert given is not None
    assert (await owner.consult("a-2/s1", args=MAIL | {"to": ["bob@example.com"]})).grant_id == given.grant_id


async def test_what_is_spent_counts_once_and_by_the_day(owner: Owner) -> None:
    today = present().date()
    for _ in range(2):
        total = await owner.spend("a-1/1", requests=2, cost=0.1, seconds=1.5)
    other = await owner.spend("a-1/2", requests=1, cost=0.2)
    yesterday = await owner.spend("a-1/3", today - timedelta(days=1), tokens=7)
    assert (total.requests, other.requests, other.cost, other.seconds) == (2, 3, 0.3, 1.5)
    assert (yesterday.tokens, yesterday.requests) == (7, 0)
    assert await owner.handle.query("usage_of_day", today, result_type=DayUsage) == other


@pytest.mark.parametrize("days", [-4, 4])
async def test_a_day_that_nobody_has_now_is_refused(owner: Owner, days: int) -> None:
    with pytest.raises(InvalidArguments, match="not today in any time zone"):
        await owner.spend("a-1/1", present().date() + timedelta(days=days), requests=1)


async def test_wrong_things_are_refused_by_type(owner: Owner) -> None:
    with pytest.raises(NotFound, match="no grant 'g-none'"):
        await owner.revoke("g-none")
    with pytest.raises(InvalidArguments, match="at most one year"):
        await owner.add(expires_at=datetime.now(UTC) + timedelta(days=400))
    with pytest.raises(InvalidArguments, match="must be in the future"):
        await owner.approved("a-1/s1", wish=GrantRequest(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(InvalidArguments, match="too many values"):
        await owner.approved("a-1/s2", args=MAIL | {"to": [f"{n}@x.y" for n in range(60)]}, wish=GrantRequest())
    with pytest.raises(InvalidArguments):
        await owner.ask("check_grant", {"garbage": 1}, CheckGrantResult)
    assert await owner.grants() == []


async def test_live_grants_are_bounded_and_ended_ones_make_room(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_workflow, "_LIVE_GRANTS", 3)
    monkeypatch.setattr(person_workflow, "_ENDED_GRANTS", 2)
    given = [await owner.add() for _ in range(3)]
    with pytest.raises(Conflict, match="revoke some first"):
        await owner.add()
    assert await owner.add(grant_id=given[0].grant_id) == given[0]
    for grant in given:
        await owner.revoke(grant.grant_id)
    new = await owner.add()
    assert [grant.grant_id for grant in await owner.grants()] == [given[1].grant_id, given[2].grant_id, new.grant_id]


async def test_old_keys_are_forgotten_first(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_workflow, "_KEYS", 3)
    for number in range(4):
        await owner.spend(str(number), requests=1)
    assert (await owner.spend("3", requests=1)).requests == 4
    assert (await owner.spend("0", requests=1)).requests == 5


async def test_it_goes_on_as_new_and_loses_nothing(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred updates by five writers over many runs; all of them sent again at the end change nothing."""
    monkeypatch.setattr(person_workflow, "_UPDATES_PER_RUN", 20)
    given = await owner.add()
    gone = await owner.revoke((await owner.add(args={"/to": ["gone@x.y"]})).grant_id)
    for number in range(3):
        await owner.approved(f"a-0/d{number}", tool="calendar.delete_event", args={"event_id": "e1"}, sensitive=())
    first = (await owner.handle.describe()).run_id

    async def write(writer: int) -> None:
        for number in range(33):
            key = f"a-{writer}/s{number}"
            assert (await owner.consult(key)).grant_id == given.grant_id
            await owner.approved(key, tool="calendar.delete_event", args={"event_id": key}, sensitive=())
            await owner.spend(key, requests=1, cost=0.01)

    await asyncio.gather(*map(write, range(5)))
    after = await owner.grant(given.grant_id)
    assert (await owner.handle.describe()).run_id != first
    assert (after.used, len(after.log)) == (165, 50)
    assert (await owner.spend("a-0/s0", requests=1)).requests == 165
    assert (await owner.spend("a-4/s32", cost=1)).cost == 1.65
    assert (await owner.consult("a-0/s0")).grant_id == given.grant_id
    assert (await owner.grant(given.grant_id)).used == 165
    assert (await owner.grant(gone.grant_id)).revoked_at == gone.revoked_at
    offer = await owner.consult("z", tool="calendar.delete_event", args={"event_id": "e1"}, sensitive=())
    assert offer.offer == Scope(args={"/event_id": ["e1"]}, closed=True)


def test_the_fullest_state_fits_into_a_new_run() -> None:
    """Temporal takes 2 MiB and no more; a run that could not continue would be stuck for ever."""
    now = datetime.now(UTC)
    use = Use(key="k" * 200, assistant_id="a" * 200, at=now)
    grant = Grant(
        grant_id="g" * 34, tool="email.send", args={"/to": ["x" * 800]}, created_at=now, log=[use] * 50, created_by="x"
    )
    full = PersonWorkflow.__new__(PersonWorkflow)
    full._grants = {str(n): grant.model_copy(update={"grant_id": f"{n:034}"}) for n in range(700)}
    full._keys = {f"{n:016}": "g" * 34 for n in range(person_workflow._KEYS)}
    full._approvals = {f"{n:016}": 9 for n in range(person_workflow._APPROVALS)}
    full._days = {}
    full._facts = FactCount()
    assert sum(map(person_workflow._size, full._grants.values())) > 600 * 1024
    assert len(full._carried().model_dump_json(exclude_unset=True)) < 1.8 * 1024 * 1024


def test_a_person_has_one_workflow_whatever_the_name() -> None:
    names = ["local", "anna@example.com", "Anna B", "../x", "~6dd1c8", "x" * 101, "", "a/b", "é"]
    ids = [person.person_id(name) for name in names]
    assert ids[:2] == ["person-local", "person-anna@example.com"]
    assert len(set(ids)) == len(names)
    assert all(len(found) <= 110 and found.isascii() and "/" not in found for found in ids)


@workflow.defn
class Asker:
    """Asks as an assistant does: by `workflows/consent/lookups.py`."""

    @workflow.run
    async def run(self, owner: str) -> dict[str, Any]:
        step = f"{workflow.info().workflow_id}/s1"
        question = CheckGrant(
            key=step,
            assistant_id="a",
            tool="email.send",
            args=MAIL | {"body": "y" * 60_000},
            sensitive=SENSITIVE,
        )
        told = RecordApproval(key=step, tool="email.send", args=MAIL, sensitive=SENSITIVE, wish=GrantRequest(uses=1))
        return {
            "without": await lookups.check_grant(owner, question),
            "plain": await lookups.record_approval(owner, told.model_copy(update={"wish": None, "key": f"{step}-"})),
            "grant": await lookups.record_approval(owner, told),
            "with": await lookups.check_grant(owner, question),
            "day": await lookups.record_usage(
                owner, RecordUsage(key=step, day=on_the_calendar(workflow.now()).date(), delta=Amounts(steps=2))
            ),
            "tools": await lookups.tools(["email.send", "no.such", "weather.forecast"]),
            "agent": await lookups.agent("contacts"),
            "nobody": await lookups.agent("nobody"),
        }


async def asked(client: Client, owner: str) -> tuple[dict[str, Any], list[str]]:
    """The answers that a workflow got, and the events that they cost."""
    queue = f"ask-{uuid.uuid4().hex[:8]}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Asker, RegistryWorkflow],
        activities=LocalActivities(client).all(),
        no_remote_activities=True,
        workflow_runner=UNSANDBOXED,
        build_id="test",
    ):
        handle = await client.start_workflow("Asker", owner, id=queue, task_queue=queue)
        answers: dict[str, Any] = await handle.result()
        history = await handle.fetch_history()
    return answers, [str(event.WhichOneof("attributes")) for event in history.events]


async def test_a_workflow_asks_by_local_activities(stack: Stack) -> None:
    answers, events = await asked(stack.temporal, f"owner-{uuid.uuid4().hex[:8]}")
    assert (answers["without"], answers["plain"]) == ({"offer": None}, None)
    assert answers["with"]["grant_id"] == answers["grant"]["grant_id"]
    assert answers["day"]["steps"] == 2
    assert [found["spec"]["name"] for found in answers["tools"]] == ["email.send", "weather.forecast"]
    assert [found["task_queue"] for found in answers["tools"]] == ["email", "weather"]
    assert {found["spec"]["name"] for found in answers["agent"]} >= {"contacts.find", "contacts.list"}
    assert answers["nobody"] == []
    assert Counter(events)["marker_recorded_event_attributes"] == 8
    assert "activity_task_scheduled_event_attributes" not in events


async def test_standing_things_that_are_away_neither_allow_nor_block(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person, "PERSON_QUEUE", f"nobody-{uuid.uuid4().hex[:8]}")
    monkeypatch.setattr(person, "_RPC_TIMEOUT", timedelta(seconds=0.3))
    answers, _ = await asked(stack.temporal, f"owner-{uuid.uuid4().hex[:8]}")
    assert [answers[name] for name in ("without", "plain", "grant", "with", "day")] == [{}, None, None, {}, None]
    assert answers["tools"]
