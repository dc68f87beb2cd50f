"""The client on the running product, sync and async: what it says and what the engine does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidArguments,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OneDecision,
)
from retinue.client.models import Assistant, Event
from retinue.testing import plan_answer, serving
from tests.conftest import Stack
from tests.days import SOON
from tests.scenarios.test_plans import event
from tests.test_main_job import forecast, mail, sent_mails

Fresh = Callable[[str], str]
DAY = {"start": SOON, "end": SOON}


@pytest.fixture(scope="module")
async def url(stack: Stack) -> AsyncIterator[str]:
    """The front door on a real port."""
    door = create_app(ApiSettings(), client=stack.temporal)
    async with door.router.lifespan_context(door), serving(door) as address:
        yield address


@pytest.fixture
async def retinue(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url, "") as client:
        yield client


async def test_a_run_is_started_waited_for_decided_and_receipted(
    stack: Stack, fresh: Fresh, retinue: AsyncClient
) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    started = await retinue.assistants.start(message)
    asked = await retinue.assistants.wait(started.id, seconds=30)
    assert (asked.status, asked.settled, asked.ended) == ("awaiting_approval", True, False)
    [approval] = asked.pending
    inbox = await retinue.approvals.list()
    assert started.id in {item.assistant_id for item in inbox.approvals}
    with pytest.raises(Conflict):
        await retinue.approvals.decide(started.id, approval.id, "approve", args_hash="0" * 64)
    await retinue.approvals.decide(started.id, approval.id, "approve", args_hash=approval.args_hash)
    done = await retinue.assistants.wait(started.id, seconds=30)
    assert (done.status, [step.status for step in done.steps]) == ("completed", ["completed"])
    assert len(sent_mails(stack, started.id)) == 1
    receipt = await retinue.assistants.receipt(started.id)
    assert [deed.tool for deed in receipt.did] == ["email.send"]
    assert "email.send" in await retinue.assistants.receipt_text(started.id)
    with pytest.raises(Conflict):
        await retinue.assistants.cancel(started.id)


async def test_what_is_sent_again_under_one_key_is_the_same_run(
    stack: Stack, fresh: Fresh, retinue: AsyncClient
) -> None:
    message, key = fresh("Hello"), str(uuid.uuid4())
    stack.model.script(message, plan_answer(reply="Hi"))
    again = [await retinue.assistants.start(message, idempotency_key=key) for _ in range(2)]
    assert again[0].id == again[1].id
    with pytest.raises(InvalidArguments):
        await retinue.assistants.start(f"{message}!", idempotency_key=key)


async def test_wrong_values_are_named_one_by_one(retinue: AsyncClient) -> None:
    with pytest.raises(InvalidArguments) as caught:
        await retinue.assistants.start("Hello", timezone="Mars", wait_seconds=99)
    assert {wrong.pointer for wrong in caught.value.errors} == {"/timezone", "/wait_seconds"}
    assert caught.value.status == 422


@pytest.mark.parametrize("assistant_id", ["a-unknown", "../approvals", "a?b=c#d", "a%2Fb"])
async def test_whatever_stands_in_an_id_it_is_an_unknown_run(retinue: AsyncClient, assistant_id: str) -> None:
    with pytest.raises(NotFound):
        await retinue.assistants.get(assistant_id)


async def test_lists_are_read_page_by_page(stack: Stack, fresh: Fresh, retinue: AsyncClient) -> None:
    messages = [fresh(f"Hello {number}") for number in range(3)]
    for message in messages:
        stack.model.script(message, plan_answer(reply="Hi"))
    started = [(await retinue.assistants.start(message, wait_seconds=20)).id for message in messages]
    page = await retinue.assistants.page(limit=1)
    assert (len(page.assistants), page.next_cursor is None) == (1, False)
    listed = [run.id async for run in retinue.assistants.list()]
    assert [run for run in listed if run in started] == started[::-1]


async def test_a_chat_is_talked_on_and_read_whole(stack: Stack, fresh: Fresh, retinue: AsyncClient) -> None:
    first = fresh("Hello")
    stack.model.script(first, plan_answer(reply="Hi"), plan_answer(reply="Still here"))
    chat = await retinue.assistants.start(first, mode="chat", wait_seconds=20)
    assert chat.turn_is_over
    said = await retinue.assistants.send_message(chat.id, "And now?", wait_seconds=20)
    assert said.reply == "Still here"
    conversation = await retinue.assistants.conversation(chat.id)
    assert [message.text for message in conversation] == [first, "Hi", "And now?", "Still here"]
    part = await retinue.assistants.messages(chat.id, before=1, limit=1)
    assert [message.text for message in part.messages] == [first]
    await retinue.assistants.cancel(chat.id)


async def test_a_run_is_forked_and_its_effects_are_undone(stack: Stack, fresh: Fresh, retinue: AsyncClient) -> None:
    message = fresh("Dentist, then the weather")
    stack.model.script(message, plan_answer([event(title=message), {**forecast("s2"), "depends_on": ["s1"]}]))
    old = await retinue.assistants.start(message, wait_seconds=20)
    forked = await retinue.assistants.fork(old.id, "s2", args={"place": "Rome", **DAY}, wait_seconds=20)
    assert (forked.forked_from, forked.steps[0].reused_from) == (old.id, old.id)
    undone = await retinue.assistants.undo(old.id, wait_seconds=20)
    assert [step.status for step in undone.undo] == ["undone"]


async def test_several_are_decided_at_once(stack: Stack, fresh: Fresh, retinue: AsyncClient) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([mail("s1")]))
    asked = await retinue.assistants.start(message, wait_seconds=20)
    [approval] = asked.pending
    good = OneDecision(assistant_id=asked.id, approval_id=approval.id, decision="reject", args_hash=approval.args_hash)
    bad = OneDecision(assistant_id="a-none", approval_id="ap-s1", decision="approve", args_hash="0")
    outcomes = (await retinue.approvals.decide_all([good, bad])).outcomes
    assert [(outcome.recorded, outcome.status) for outcome in outcomes] == [(True, 200), (False, 404)]


async def test_grants_and_schedules_come_and_go(fresh: Fresh, retinue: AsyncClient) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    grant = await retinue.grants.add("email.send", {"/to": ["*@quay.example"], "/cc": []}, uses=2, expires_at=until)
    assert (grant.live, grant.uses) == (True, 2)
    assert grant.grant_id in {one.grant_id for one in (await retinue.grants.list()).grants}
    assert not (await retinue.grants.revoke(grant.grant_id)).live
    assert grant.grant_id in {one.grant_id for one in (await retinue.grants.list(everything=True)).grants}
    schedule = await retinue.schedules.add("0 8 * * mon-fri", message=fresh("What is on?"), timezone="Europe/Lisbon")
    assert (await retinue.schedules.pause(schedule.id, note="away")).note == "away"
    assert not (await retinue.schedules.resume(schedule.id)).paused
    assert (await retinue.schedules.get(schedule.id)).cron == "0 8 * * mon-fri"
    assert schedule.id in {one.id for one in (await retinue.schedules.list()).schedules}
    await retinue.schedules.delete(schedule.id)
    with pytest.raises(NotFound):
        await retinue.schedules.get(schedule.id)


async def test_the_house_says_what_it_can_and_how_it_is(retinue: AsyncClient) -> None:
    found = {one.name: one for one in (await retinue.capabilities()).capabilities}
    assert found["calendar"].healthy
    assert "calendar.create_event" in {tool.name for tool in found["calendar"].tools}
    assert (await retinue.usage()).timezone == "UTC"
    assert (await retinue.health()).status == (await retinue.readiness()).status == "ok"


def _folded(events: list[Event]) -> set[str]:
    return {event.kind for event in events}


async def test_events_are_told_until_the_end_and_go_on_after_any_of_them(
    stack: Stack, fresh: Fresh, retinue: AsyncClient
) -> None:
    message = fresh("The weather, twice")
    stack.model.script(message, plan_answer([forecast("s1"), {**forecast("s2", "Rome"), "depends_on": ["s1"]}]))
    started = await retinue.assistants.start(message)
    told = [event async for event in retinue.assistants.events(started.id)]
    assert told[-1].kind == "end"
    assert {"plan", "step"} & _folded(told)
    named = [event for event in told if event.id]
    again = [event async for event in retinue.assistants.events(started.id, after=named[0].id)]
    assert again[-1].kind == "end"
    with pytest.raises(NotFound):
        [_ async for _ in retinue.assistants.events("a-none")]


async def test_the_sync_client_does_the_same(stack: Stack, fresh: Fresh, url: str) -> None:
    message = fresh("The weather")
    stack.model.script(message, plan_answer([forecast("s1")]))

    def work() -> tuple[Assistant, list[Event], list[str]]:
        with Client(url, "") as client:
            run = client.assistants.start(message)
            events = list(client.assistants.events(run.id))
            listed = [one.id for one in client.assistants.list(status="completed")]
            return client.assistants.wait(run.id, seconds=30), events, listed

    done, events, listed = await asyncio.to_thread(work)
    assert (done.status, events[-1].kind) == ("completed", "end")
    assert done.id in listed


async def test_a_key_does_what_it_is_limited_to_until_it_is_revoked(url: str, retinue: AsyncClient) -> None:
    assert (await retinue.me()).name == "local"
    made = await retinue.keys.add("docs", scopes=["read"])
    assert made.id in {key.id for key in (await retinue.keys.list()).keys}
    async with AsyncClient(url, made.key) as limited:
        assert (await limited.me()).permissions == ["read"]
        with pytest.raises(NotAllowed):
            await limited.assistants.start("Hello")
        await retinue.keys.revoke(made.id)
        with pytest.raises(NotAuthenticated):
            await limited.me()
