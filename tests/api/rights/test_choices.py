"""Which of several people is meant is a decision: a key that may not decide makes it only in what it has asked for itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable

import pytest

from retinue.testing import plan_answer
from tests.api.conftest import Fresh, Json, refused
from tests.api.rights.conftest import Door
from tests.api.rights.test_origins import is_asked_through_the_key, said, to_of
from tests.api.rights.test_policies import over_mcp
from tests.conftest import Stack, View, pending

REFUSED = "only a key that may decide can answer"


@pytest.fixture
async def anas(door: Door) -> list[str]:
    """A name that two people have, and their addresses."""
    name = f"Ana{uuid.uuid4().hex[:8]}"
    people = {f"{name} {family}": f"{name}.{family}@example.com".lower() for family in ("Ruiz", "Bo")}
    steps = [
        {"id": f"s{number}", "tool": "contacts.add", "args": {"name": whole, "email": email}}
        for number, (whole, email) in enumerate(people.items())
    ]
    message = f"Add {', '.join(people.values())}"
    door.person.model.script(message, plan_answer(steps))
    assert (await door.person.ended((await door.person.start(message))["id"]))["status"] == "completed"
    return [name, *people.values()]


def mail(name: str) -> list[Json]:
    to = [{"$from": "s1", "path": "/match/email"}]
    return [
        {"id": "s1", "tool": "contacts.find", "args": {"name": name}},
        {"id": "s2", "tool": "email.send", "args": {"to": to, "subject": "Hi", "body": "Hello"}, "depends_on": ["s1"]},
    ]


async def asks_which(door: Door, run: str) -> View:
    return await door.person.until(run, lambda view: view["status"] == "awaiting_input" and view["question"])


async def over_http(asks: Stack, view: View, words: str) -> str:
    problem = refused(
        await asks.http.post(f"/v1/assistants/{view['id']}/messages", json={"message": words}), 403, REFUSED
    )
    return str(problem)


async def over_mcp_door(asks: Stack, view: View, words: str) -> str:
    told = await over_mcp(asks, "send_message", assistant_id=view["id"], message=words)
    assert told["isError"]
    return json.dumps(told)


async def over_a2a(asks: Stack, view: View, words: str) -> str:
    message = {
        "messageId": uuid.uuid4().hex,
        "taskId": view["id"],
        "role": "ROLE_USER",
        "parts": [{"text": words}],
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    return (await asks.http.post("/a2a", json=body, headers={"A2A-Version": "1.0"})).text


@pytest.mark.parametrize("answer", [over_http, over_mcp_door, over_a2a], ids=lambda answer: answer.__name__)
async def test_the_key_does_not_choose_in_what_the_person_asked(
    door: Door, fresh: Fresh, anas: list[str], answer: Callable[[Stack, View, str], Awaitable[str]]
) -> None:
    message = fresh(f"Write to {anas[0]}")
    door.person.model.script(message, plan_answer(mail(anas[0])))
    view = await asks_which(door, (await door.person.start(message))["id"])
    assert REFUSED in await answer(door.asks, view, anas[2])
    assert (await door.person.view(view["id"]))["question_id"] == view["question_id"]
    await said(door.decides, view["id"], anas[1])
    asked = await door.person.asked(view["id"])
    assert (pending(asked)[0]["args"]["to"], to_of(asked)["source"]) == ([anas[1]], "contacts")


OPENAI = "/v1/chat/completions"
AG_UI = "/ag-ui"


def openai(place: str, *words: str) -> Json:
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(words)]
    return {"model": "retinue", "messages": messages, "metadata": {"wait_seconds": 20, "conversation_id": place}}


def ag_ui(place: str, *words: str) -> Json:
    roles = ("user", "assistant")
    messages = [
        {"id": f"{place}-{number}", "role": roles[number % 2], "content": text} for number, text in enumerate(words)
    ]
    more: Json = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    return {"threadId": place, "runId": uuid.uuid4().hex, "messages": messages} | more


@pytest.mark.parametrize(("path", "body"), [(OPENAI, openai), (AG_UI, ag_ui)], ids=["openai", "ag-ui"])
async def test_nor_in_a_chat_that_the_person_has_in_another_client(
    door: Door, fresh: Fresh, anas: list[str], path: str, body: Callable[..., Json]
) -> None:
    message, place = fresh(f"Write to {anas[0]}"), uuid.uuid4().hex
    door.person.model.script(message, plan_answer(mail(anas[0])))
    assert (await door.person.http.post(path, json=body(place, message))).status_code == 200
    [run] = [
        run["id"]
        for run in (await door.person.http.get("/v1/assistants")).json()["assistants"]
        if run["message"] == message
    ]
    view = await asks_which(door, run)
    answer = await door.asks.http.post(path, json=body(place, message, view["question"], anas[2]))
    assert REFUSED in answer.text
    view = await door.person.view(run)
    assert (view["status"], view["approvals"]) == ("awaiting_input", [])
    await door.person.http.post(f"/v1/assistants/{run}/cancel")


async def test_a_message_that_waits_in_a_chat_is_no_answer_either(door: Door, fresh: Fresh, anas: list[str]) -> None:
    """It was sent before the question, which would take it for the answer."""
    first, message = fresh("Mail the team"), fresh(f"Write to {anas[0]}")
    to_the_team = {"id": "s1", "tool": "email.send", "args": {"to": ["t@example.com"], "subject": "Hi", "body": "Hi"}}
    door.person.model.script(
        first, plan_answer([to_the_team]), plan_answer(reply="Then not."), plan_answer(mail(anas[0]))
    )
    chat = (await door.person.start(first, mode="chat"))["id"]
    busy = await door.person.asked(chat)
    await said(door.person, chat, message)
    await said(door.asks, chat, anas[2])
    await door.person.decide(busy, "reject")
    view = await asks_which(door, chat)
    await said(door.person, chat, anas[1])
    asked = await door.person.asked(chat)
    assert (pending(asked)[0]["args"]["to"], asked["question_id"]) == ([anas[1]], None)
    assert view["question_id"] == "q1"
    await door.person.http.post(f"/v1/assistants/{chat}/cancel")


async def test_in_its_own_run_it_chooses_and_the_card_says_so(door: Door, fresh: Fresh, anas: list[str]) -> None:
    message = fresh(f"Write to {anas[0]}")
    door.asks.model.script(message, plan_answer(mail(anas[0])))
    view = await asks_which(door, (await door.asks.start(message))["id"])
    await said(door.asks, view["id"], anas[2])
    asked = await door.person.asked(view["id"])
    assert pending(asked)[0]["args"]["to"] == [anas[2]]
    assert is_asked_through_the_key(asked)


async def test_and_another_key_does_not(door: Door, fresh: Fresh, anas: list[str]) -> None:
    message = fresh(f"Write to {anas[0]}")
    door.asks.model.script(message, plan_answer(mail(anas[0])))
    view = await asks_which(door, (await door.asks.start(message))["id"])
    made = await door.person.http.post("/v1/keys", json={"name": "other", "scopes": ["read", "ask"]})
    other = {"Authorization": f"Bearer {made.json()['key']}"}
    answer = await door.person.http.post(
        f"/v1/assistants/{view['id']}/messages", json={"message": anas[2]}, headers=other
    )
    refused(answer, 403, REFUSED)
    await said(door.person, view["id"], anas[2])
    assert to_of(await door.person.asked(view["id"]))["source"] == "contacts"
