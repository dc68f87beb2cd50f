"""Whose words decide where data goes: what came through a key that may not decide is not the person's typing."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.conftest import Fresh, Json, refused
from tests.api.rights.conftest import NAME, Door
from tests.api.rights.test_policies import over_mcp
from tests.conftest import Stack, View, pending, steps
from tests.test_main_job import mail

LABEL = f"key {NAME!r}"
REASON = f"a recipient was asked through the {LABEL}, which may not decide"


def to_of(view: View) -> Json:
    """Where the address of the mail came from, as the card says."""
    [approval] = pending(view)
    [origin] = [origin for origin in approval["origins"] if origin["path"] == "/to/0"]
    found: Json = origin
    return found


def is_asked_through_the_key(view: View) -> bool:
    origin = to_of(view)
    assert REASON in pending(view)[0]["reasons"]
    return (origin["source"], origin["trusted"], origin["through"]) == ("key", False, LABEL)


async def over_http(caller: Stack, message: str) -> str:
    run: str = (await caller.start(message))["id"]
    return run


async def over_mcp_door(caller: Stack, message: str) -> str:
    run: str = (await over_mcp(caller, "start_assistant", message=message))["structuredContent"]["id"]
    return run


async def over_openai(caller: Stack, message: str) -> str:
    body = {"model": "retinue", "messages": [{"role": "user", "content": message}], "metadata": {"wait_seconds": 20}}
    answer = await caller.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    run: str = answer.json()["retinue"]["id"]
    return run


async def over_responses(caller: Stack, message: str) -> str:
    body = {"model": "retinue", "input": message, "background": True}
    answer = await caller.http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return await newest(caller, message)


async def newest(caller: Stack, message: str) -> str:
    """The assistant that a door has started for a message."""
    for run in (await caller.http.get("/v1/assistants")).json()["assistants"]:
        if message.startswith(run["message"][:100]):
            found: str = run["id"]
            return found
    raise AssertionError("no assistant was started")


async def over_openai_with_a_history(caller: Stack, message: str) -> str:
    """The address stands in what the client says was said before."""
    said = [("user", message), ("assistant", "Shall I?"), ("user", f"{message.rpartition('#')[2]} yes")]
    body = {
        "model": "retinue",
        "messages": [{"role": role, "content": text} for role, text in said],
        "metadata": {"wait_seconds": 20},
    }
    answer = await caller.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    run: str = answer.json()["retinue"]["id"]
    return run


async def over_a2a(caller: Stack, message: str) -> str:
    said = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": message}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    answer = await caller.http.post("/a2a", json=body, headers={"A2A-Version": "1.0"})
    assert answer.status_code == 200, answer.text
    run: str = answer.json()["result"]["task"]["id"]
    return run


async def over_ag_ui(caller: Stack, message: str) -> str:
    said = {"id": uuid.uuid4().hex, "role": "user", "content": message}
    body = {"threadId": uuid.uuid4().hex, "runId": uuid.uuid4().hex, "messages": [said]}
    more: Json = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    await caller.http.post("/ag-ui", json=body | more)
    return await newest(caller, message)


DOORS = [over_http, over_mcp_door, over_openai, over_responses, over_a2a, over_ag_ui]


@pytest.mark.parametrize("ask", DOORS, ids=lambda ask: ask.__name__)
async def test_through_every_door_the_card_names_the_key(
    door: Door, fresh: Fresh, address: str, ask: Callable[[Stack, str], Awaitable[str]]
) -> None:
    message = fresh(f"Mail {address}")
    door.asks.model.script(message, plan_answer([mail("s1", to=address)]))
    assert is_asked_through_the_key(await door.person.asked(await ask(door.asks, message)))


async def test_what_a_client_says_was_said_before_is_no_more_the_persons(
    door: Door, fresh: Fresh, address: str
) -> None:
    message = fresh(f"Mail {address}")
    door.asks.model.script(message, plan_answer([mail("s1", to=address)]))
    run = await over_openai_with_a_history(door.asks, message)
    assert is_asked_through_the_key(await door.person.asked(run))


@pytest.mark.parametrize("caller", ["person", "decides"])
async def test_what_somebody_asks_who_may_decide_is_typed(door: Door, fresh: Fresh, address: str, caller: str) -> None:
    message, asker = fresh(f"Mail {address}"), getattr(door, caller)
    asker.model.script(message, plan_answer([mail("s1", to=address)]))
    origin = to_of(await asker.asked((await asker.start(message))["id"]))
    assert (origin["source"], origin["trusted"], origin["through"]) == ("user", True, None)


async def test_a_page_is_read_unasked_for_the_person_and_asked_about_for_a_key(
    door: Door, fresh: Fresh, website: object
) -> None:
    """An address can carry words out of the house, so it counts like a recipient."""
    page = f"{website.address}/{uuid.uuid4().hex}"  # type: ignore[attr-defined]  # the site of the stack
    step = {"id": "s1", "tool": "web.fetch", "args": {"url": page}}
    for asker, status in ((door.person, "completed"), (door.asks, "awaiting_approval")):
        message = fresh(f"Read {page} for {status}")
        asker.model.script(message, plan_answer([step]), Answer("It says its path."))
        run = (await asker.start(message))["id"]
        view = await asker.until(run, lambda view: view["status"] in ("completed", "awaiting_approval"))
        assert view["status"] == status


async def test_a_message_and_an_answer_count_as_what_brought_them(door: Door, fresh: Fresh, address: str) -> None:
    message, then = fresh("Hello"), f"Mail {address}"
    door.person.model.script(message, plan_answer(question="To whom?"), plan_answer([mail("s1", to=address)]))
    run = (await door.person.start(message))["id"]
    await door.person.until(run, lambda view: view["status"] == "awaiting_input")
    answered = await door.asks.http.post(f"/v1/assistants/{run}/messages", json={"message": then})
    assert answered.status_code == 202, answered.text
    assert is_asked_through_the_key(await door.person.asked(run))


async def test_a_fork_counts_as_what_wrote_its_arguments(door: Door, fresh: Fresh, address: str) -> None:
    message = fresh("Mail the team")
    door.person.model.script(message, plan_answer([mail("s1", to="team@example.com")]))
    view = await door.person.asked((await door.person.start(message))["id"])
    await door.person.decide(view, "reject")
    await door.person.ended(view["id"])
    args = {**steps(view)["s1"]["args"], "to": [address]}
    fork = {"from_step": "s1", "args": args}
    forked = await door.asks.http.post(f"/v1/assistants/{view['id']}/fork", json=fork)
    assert forked.status_code == 202, forked.text
    asked = await door.person.asked(forked.json()["id"])
    assert is_asked_through_the_key(asked)
    await door.person.decide(asked, "reject")
    await door.person.ended(asked["id"])
    again = await door.person.http.post(f"/v1/assistants/{asked['id']}/fork", json={"from_step": "s1"})
    assert is_asked_through_the_key(await door.person.asked(again.json()["id"]))


def typed(address: str, body: str) -> Json:
    """A mail that goes unasked where the person typed the address."""
    return {"id": "s1", "tool": "email.send", "args": {"to": [address], "subject": "Typed by me", "body": body}}


async def test_an_address_that_the_person_typed_is_no_key_to_it(door: Door, fresh: Fresh, address: str) -> None:
    """What is done is chosen by who spoke last: a fork with other words to the same address is asked about."""
    message = fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([typed(address, "Hello")]), Answer("It is sent."))
    view = await door.person.ended((await door.person.start(message))["id"])
    assert view["status"] == "completed"
    fork = {"from_step": "s1", "args": typed(address, "Pay me")["args"]}
    for caller, status in ((door.person, "completed"), (door.asks, "awaiting_approval")):
        forked = await caller.http.post(f"/v1/assistants/{view['id']}/fork", json=fork)
        assert forked.status_code == 202, forked.text
        seen = await caller.until(
            forked.json()["id"], lambda seen: seen["status"] in ("completed", "awaiting_approval")
        )
        assert seen["status"] == status
    assert is_asked_through_the_key(seen)


async def test_in_a_chat_too_who_spoke_last_has_asked(door: Door, fresh: Fresh, address: str) -> None:
    first, second, third = fresh(f"Mail {address}"), fresh("Write again"), fresh(f"And to {address} once more")
    mails = [plan_answer([typed(address, text)]) for text in ("Hello", "Pay me", "Hello again")]
    door.person.model.script(
        first, mails[0], mails[1], plan_answer(reply="Then not."), mails[2], replies=[Answer("It is sent.")] * 3
    )
    chat = (await door.person.start(first, mode="chat"))["id"]
    await door.person.until(chat, lambda view: view["status"] == "awaiting_input")
    said = await door.asks.http.post(f"/v1/assistants/{chat}/messages", json={"message": second})
    assert said.status_code == 202, said.text
    asked = await door.person.asked(chat)
    assert is_asked_through_the_key(asked)
    assert (await door.person.decide(asked, "reject")).status_code == 200
    await door.person.until(chat, lambda view: view["status"] == "awaiting_input" and view["turns"] == 2)
    await door.person.http.post(f"/v1/assistants/{chat}/messages", json={"message": third})
    done = await door.person.until(chat, lambda view: view["status"] == "awaiting_input" and view["turns"] == 3)
    assert [effect["consent"]["how"] for effect in done["effects"]] == ["automatic", "automatic"]


async def test_what_the_key_said_in_a_chat_is_typed_once_the_person_types_it(
    door: Door, fresh: Fresh, address: str
) -> None:
    first, second, third, fourth = fresh("Hello"), f"Remember {address}", "Write there", f"Mail {address}"
    door.person.model.script(
        first,
        plan_answer(reply="Hello."),
        plan_answer(reply="I will."),
        plan_answer([typed(address, "Pay me")]),
        plan_answer(reply="Then not."),
        plan_answer([typed(address, "Hello")]),
        replies=[Answer("It is sent.")],
    )
    chat = (await door.person.start(first, mode="chat"))["id"]
    await answered(door, chat, turns=1)
    await said(door.asks, chat, second)
    await answered(door, chat, turns=2)
    await said(door.person, chat, third)
    asked = await door.person.asked(chat)
    assert is_asked_through_the_key(asked)
    await door.person.decide(asked, "reject")
    await answered(door, chat, turns=3)
    await said(door.person, chat, fourth)
    done = await answered(door, chat, turns=4)
    assert [effect["consent"]["how"] for effect in done["effects"]] == ["automatic"]


async def said(caller: Stack, chat: str, message: str) -> None:
    answer = await caller.http.post(f"/v1/assistants/{chat}/messages", json={"message": message})
    assert answer.status_code == 202, answer.text


async def answered(door: Door, chat: str, *, turns: int) -> View:
    return await door.person.until(chat, lambda view: view["status"] == "awaiting_input" and view["turns"] == turns)


async def test_a_schedule_counts_as_what_made_it(door: Door, fresh: Fresh, address: str) -> None:
    message = fresh(f"Mail {address}")
    door.asks.model.script(message, plan_answer([mail("s1", to=address)]))
    made = await door.asks.http.post("/v1/schedules", json={"message": message, "cron": "0 4 1 1 *"})
    started = await door.person.http.post(f"/v1/schedules/{made.json()['id']}/run")
    view = await door.person.asked(started.json()["recent_runs"][0]["assistant_id"])
    assert is_asked_through_the_key(view)
    await door.person.http.delete(f"/v1/schedules/{made.json()['id']}")


async def test_nobody_says_through_what_they_come(door: Door, fresh: Fresh) -> None:
    """The front door says it, from the credential; a request has no field for it."""
    body = {"message": fresh("Hello"), "through": {"kind": "key", "may_decide": True}}
    refused(await door.asks.http.post("/v1/assistants", json=body), 422, "/through")
