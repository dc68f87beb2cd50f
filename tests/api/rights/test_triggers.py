"""Who may let strangers choose when an assistant acts, and what its runs may then do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.email.incoming import parse
from activities.email.settings import EmailSettings
from activities.email.store import MailStore
from retinue.temporal.tenant_header import working_for
from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, Json, eventually, refused
from tests.api.rights.conftest import POLICIES, Door
from tests.api.rights.test_grants import ASKED, COVERED, given, wanted
from tests.api.rights.test_taken_up_again import other_front
from tests.conftest import Stack, View
from tests.test_main_job import mail

TRIGGERS = "/v1/triggers"
NOTICE = "the trigger's own policy or budget holds no longer"


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[str]:
    """A sender of one mail in the inbox."""
    address = f"stranger-{uuid.uuid4().hex[:8]}@example.com"
    content = f"From: {address}\r\nSubject: Hi\r\nMessage-ID: <{uuid.uuid4().hex}@example.com>\r\n\r\nHi\r\n".encode()
    store = MailStore(EmailSettings().database_url)
    await store.open()
    with working_for("local"):
        await store.deliver(parse(content, now=datetime.now(UTC)), content)
    yield address
    await store.close()


async def trigger(caller: Stack, message: str, sender: str, **fields: Any) -> Json:
    body = {"event": "mail", "message": message, "conditions": {"senders": [sender]}, **fields}
    answer = await caller.http.post(TRIGGERS, json=body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def started(caller: Stack, trigger_id: str) -> str:
    answer = await caller.http.post(f"{TRIGGERS}/{trigger_id}/test", json={"start": True})
    assert answer.status_code == 200, answer.text
    run: str = answer.json()["assistant_id"]
    return run


async def outcome(caller: Stack, trigger_id: str) -> View:
    run = await started(caller, trigger_id)
    return await caller.until(run, lambda view: view["status"] in (COVERED, ASKED))


async def test_a_key_that_only_asks_creates_and_resumes_none(door: Door, fresh: Fresh, stranger: str) -> None:
    refused(await door.asks.http.post(TRIGGERS, json={"event": "mail", "message": "x"}), 403, "'decide'")
    made = await trigger(door.person, fresh("Tell me"), stranger)
    for what in ("resume", "test"):
        refused(await door.asks.http.post(f"{TRIGGERS}/{made['id']}/{what}", json={}), 403, "'decide'")
    paused = await door.asks.http.post(f"{TRIGGERS}/{made['id']}/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert (await door.asks.http.delete(f"{TRIGGERS}/{made['id']}")).status_code == 204


@pytest.mark.parametrize(("names_it", "status"), [(False, ASKED), (True, COVERED)])
async def test_a_grant_counts_only_where_it_names_the_trigger(
    door: Door, fresh: Fresh, address: str, stranger: str, names_it: bool, status: str
) -> None:
    message = fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([mail("s2", to=address)]))
    made = await trigger(door.person, message, stranger)
    named = {"schedule_id": made["id"]} if names_it else {"also_for": ["schedules", "keys"]}
    await given(door.person, wanted(address, **named))
    assert (await outcome(door.person, made["id"]))["status"] == status
    await door.person.http.delete(f"{TRIGGERS}/{made['id']}")


async def test_its_runs_follow_the_policy_file(
    door: Door, stack: Stack, tmp_path: Path, fresh: Fresh, address: str, stranger: str
) -> None:
    message = fresh(f"Mail {address}")
    stack.model.script(message, plan_answer([mail("s2", to=address)]), replies=[Answer("It is sent.")])
    made = await trigger(door.person, message, stranger, policy="lax")
    async with other_front(stack, tmp_path / "policy.toml", POLICIES.replace("policies.lax", "policies.other")):
        await eventually(lambda: start_of(stack, made["id"]), lambda notice: NOTICE in notice)
    view = await outcome(door.person, made["id"])
    assert (view["status"], [NOTICE in notice for notice in view["notices"]]) == (ASKED, [True])
    await door.person.http.delete(f"{TRIGGERS}/{made['id']}")


async def start_of(stack: Stack, trigger_id: str) -> str:
    """The notice that the trigger's next run would carry."""
    found = await stack.temporal.get_workflow_handle("watch-mail-local").query("view")
    [start] = [one["start"] for one in found["triggers"] if one["trigger_id"] == trigger_id]
    return str(start.get("notice", ""))
