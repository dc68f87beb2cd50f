"""Standing permissions: who may give one, for what, and for which runs it then counts."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.temporal import person
from retinue.testing import Answer, plan_answer, serving
from tests.api.conftest import Fresh, Json, refused
from tests.api.rights.conftest import Door, made
from tests.api.rights.test_policies import over_mcp
from tests.conftest import Stack, View, pending, steps
from tests.test_main_job import mail, sent_mails
from workflows.rules.grants import Grant, NewGrant


def wanted(address: str, **fields: Any) -> Json:
    return {"tool": "email.send", "args": {"/to": [address], "/cc": []}, **fields}


async def given(caller: Stack, body: Json) -> Json:
    answer = await caller.http.post("/v1/grants", json=body)
    assert answer.status_code == 201, answer.text
    grant: Json = answer.json()
    return grant


async def mailed(caller: Stack, message: str, address: str) -> View:
    """A run that is to send a mail, once it has ended or waits."""
    caller.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    run = (await caller.start(message))["id"]
    return await caller.until(run, lambda view: view["status"] in ("completed", "awaiting_approval"))


async def test_a_key_that_may_only_ask_gives_itself_nothing(door: Door, fresh: Fresh, address: str) -> None:
    refused(await door.asks.http.post("/v1/grants", json=wanted(address, also_for=["keys"])), 403, "'decide'")
    view = await mailed(door.asks, fresh(f"Mail {address}"), address)
    assert (view["status"], sent_mails(door.asks, view["id"])) == ("awaiting_approval", [])


async def test_what_others_decide_about_too_cannot_be_allowed_alone(door: Door) -> None:
    body = {"tool": "tasks.delete", "args": {}}
    refused(await door.person.http.post("/v1/grants", json=body), 403, "two-for-tasks")


async def test_a_grant_does_not_count_where_several_decide(door: Door, fresh: Fresh) -> None:
    """Not even one that was written behind the front door's back, or before the rule was made."""
    message, name = fresh("Delete the task"), uuid.uuid4().hex
    new = NewGrant(grant_id=f"g-{name}", tool="tasks.delete", args={"/task_id": [name]})
    await person.ask(door.person.temporal, "local", person.ADD_GRANT, new, answer=Grant)
    step = {"id": "s1", "tool": "tasks.delete", "args": {"task_id": name}}
    door.person.model.script(message, plan_answer([step]))
    view = await door.person.asked((await door.person.start(message))["id"])
    assert (pending(view)[0]["approvers"], steps(view)["s1"]["status"]) == (2, "awaiting_approval")


async def test_an_approval_allows_no_more_than_its_giver_decides_alone(door: Door, fresh: Fresh, address: str) -> None:
    """A mail to a friend is one person's to decide, a mail to the board is not, and the grant would cover both."""
    message = fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    view = await door.person.asked((await door.person.start(message, policy="board"))["id"])
    refused(await door.person.decide(view, grant={"args": {}}), 403, "to-the-board")
    assert (await door.person.decide(view, grant={"args": {"/to": [address]}})).status_code == 200


COVERED, ASKED = "completed", "awaiting_approval"


@pytest.mark.parametrize(
    ("giver", "also_for", "asker", "status"),
    [
        ("person", [], "person", COVERED),
        ("person", [], "decides", ASKED),
        ("person", [], "asks", ASKED),
        ("person", ["schedules"], "asks", ASKED),
        ("person", ["keys"], "asks", COVERED),
        ("decides", [], "decides", COVERED),
        ("decides", [], "person", COVERED),
        ("decides", [], "asks", ASKED),
    ],
)
async def test_a_grant_counts_for_the_runs_that_were_chosen_with_it(
    door: Door, fresh: Fresh, address: str, giver: str, also_for: list[str], asker: str, status: str
) -> None:
    grant = await given(getattr(door, giver), wanted(address, also_for=also_for))
    view = await mailed(getattr(door, asker), fresh(f"Mail {address}"), address)
    assert view["status"] == status
    assert len(sent_mails(door.person, view["id"])) == int(status == COVERED)
    assert grant["also_for"] == also_for


async def test_a_grant_given_with_an_approval_is_for_what_is_asked_in_person(
    door: Door, fresh: Fresh, address: str
) -> None:
    view = await mailed(door.person, fresh(f"Mail {address}"), address)
    assert (await door.person.decide(view, grant={})).status_code == 200
    view = await door.person.until(view["id"], lambda seen: bool(seen["approvals"][0]["grant_id"]))
    [said] = [
        grant["says"]
        for grant in (await door.person.http.get("/v1/grants?all=true")).json()["grants"]
        if grant["grant_id"] == view["approvals"][0]["grant_id"]
    ]
    assert said.endswith("only when you ask in person")
    assert (await mailed(door.person, fresh(f"Mail {address} again"), address))["status"] == COVERED
    assert (await mailed(door.asks, fresh(f"Mail {address} once more"), address))["status"] == ASKED


async def test_a_message_through_a_key_makes_the_whole_chat_one_that_keys_asked_for(
    door: Door, fresh: Fresh, address: str
) -> None:
    await given(door.person, wanted(address))
    message, then = fresh("Hello"), fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([], reply="Hello."), plan_answer([mail("s1", to=address)]))
    chat = (await door.person.start(message, mode="chat"))["id"]
    await door.person.until(chat, lambda view: view["status"] == "awaiting_input")
    said = await door.asks.http.post(f"/v1/assistants/{chat}/messages", json={"message": then})
    assert said.status_code == 202, said.text
    view = await door.person.asked(chat)
    assert sent_mails(door.person, chat) == []
    assert view["messages"][-1]["through"]["name"] == "notes app"


async def test_a_call_of_a_tool_through_a_key_is_no_asking_in_person(door: Door, address: str) -> None:
    await given(door.person, wanted(address))
    args = {"to": [address], "subject": "Hi", "body": "Hello"}
    told = await over_mcp(door.asks, "send", at="/mcp/email", **args)
    assert told["isError"]
    assert "Not done: it waits for approval" in str(told["content"])


@pytest.mark.parametrize(("also_for", "status"), [([], ASKED), (["schedules"], COVERED)])
async def test_a_grant_counts_in_scheduled_runs_only_where_that_was_chosen(
    door: Door, fresh: Fresh, address: str, also_for: list[str], status: str
) -> None:
    message = fresh(f"Mail {address}")
    await given(door.person, wanted(address, also_for=also_for))
    door.person.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    made = await door.person.http.post("/v1/schedules", json={"message": message, "cron": "0 4 1 1 *"})
    assert made.status_code == 201, made.text
    started = await door.person.http.post(f"/v1/schedules/{made.json()['id']}/run")
    run = started.json()["recent_runs"][0]["assistant_id"]
    view = await door.person.until(run, lambda view: view["status"] in (COVERED, ASKED))
    assert view["status"] == status
    await door.person.http.delete(f"/v1/schedules/{made.json()['id']}")


async def test_a_grant_that_a_key_created_ends_with_the_key(door: Door, fresh: Fresh, address: str) -> None:
    """Whoever stole the key may have given it; grants given in person stay."""
    name = uuid.uuid4().hex
    secret = await made(door.person, name)
    thief = httpx.AsyncClient(base_url=door.address, headers={"Authorization": f"Bearer {secret}"}, timeout=60)
    async with thief:
        through = await given(dataclasses.replace(door.person, http=thief), wanted(address, also_for=["keys"]))
    mine = await given(door.person, wanted(f"x{address}"))
    [key] = [key for key in (await door.person.http.get("/v1/keys")).json()["keys"] if key["name"] == name]
    assert (await door.person.http.delete(f"/v1/keys/{key['id']}")).status_code == 204
    shown = {
        grant["grant_id"]: grant["revoked_at"]
        for grant in (await door.person.http.get("/v1/grants?all=true")).json()["grants"]
    }
    assert (shown[through["grant_id"]] is not None, shown[mine["grant_id"]]) == (True, None)
    assert (await mailed(door.person, fresh(f"Mail {address}"), address))["status"] == ASKED
    refused(await door.person.http.delete(f"/v1/keys/{key['id']}"), 404, "no such key")


async def test_a_key_ends_where_its_grants_cannot_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    database = f"sqlite+aiosqlite:///{tmp_path / 'api.db'}"
    away = create_app(ApiSettings(api_database_url=database))
    async with serving(away) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:
        made_key = (await http.post("/v1/keys", json={"name": "k"})).json()
        refused(await http.delete(f"/v1/keys/{made_key['id']}"), 503, "the key is revoked, but grants")
        as_key = {"Authorization": f"Bearer {made_key['key']}"}
        refused(await http.get("/v1/me", headers=as_key), 401)
