"""What a key that may not decide said is taken up later, by somebody else or by another way: it stays what the key said."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer, serving
from tests.api.conftest import Fresh, Json, refused
from tests.api.rights.conftest import POLICIES, Door
from tests.api.rights.test_origins import is_asked_through_the_key, newest, typed
from tests.conftest import Stack, View, pending
from tests.test_main_job import mail


async def a2a(caller: Stack, message: str, context: str | None = None) -> Json:
    said = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": message}]}
    params = {"message": said | ({"contextId": context} if context else {})}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
    answer = await caller.http.post("/a2a", json=body, headers={"A2A-Version": "1.0"})
    assert answer.status_code == 200, answer.text
    task: Json = answer.json()["result"]["task"]
    return task


@pytest.mark.parametrize("later", ["person", "decides"])
async def test_in_a_context_that_somebody_else_goes_on_with(door: Door, fresh: Fresh, address: str, later: str) -> None:
    """The run that is gone on from tells with which credential each message came."""
    first, then = fresh(f"Remember {address}"), fresh("Write to that address")
    door.person.model.script(first, plan_answer([], reply="I will."))
    door.person.model.script(then, plan_answer([typed(address, "Pay me")]), Answer("It is sent."))
    task = await a2a(door.asks, first)
    run = await a2a(getattr(door, later), then, task["contextId"])
    assert is_asked_through_the_key(await door.person.asked(run["id"]))


@pytest.mark.parametrize("later", ["person", "decides"])
async def test_in_an_answer_that_somebody_else_goes_on_from(door: Door, fresh: Fresh, address: str, later: str) -> None:
    first, then = fresh(f"Remember {address}"), fresh("Write to that address")
    door.person.model.script(first, plan_answer([], reply="I will."))
    door.person.model.script(then, plan_answer([typed(address, "Pay me")]), Answer("It is sent."))
    said = {"model": "retinue", "input": first, "metadata": {"wait_seconds": 20}}
    answer = await door.asks.http.post("/v1/responses", json=said)
    chat = await newest(door.person, first)
    assert (await door.person.http.post(f"/v1/assistants/{chat}/cancel")).status_code == 202
    await door.person.ended(chat)
    more = {"model": "retinue", "input": then, "previous_response_id": answer.json()["id"], "background": True}
    assert (await getattr(door, later).http.post("/v1/responses", json=more)).status_code == 200
    assert is_asked_through_the_key(await door.person.asked(await newest(door.person, then)))


async def over_openai(caller: Stack, talk: str, *said: str) -> None:
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    body = {"model": "retinue", "messages": messages, "metadata": {"wait_seconds": 20, "conversation_id": talk}}
    answer = await caller.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text


async def over_ag_ui(caller: Stack, thread: str, *said: str) -> None:
    roles = ("user", "assistant")
    messages = [
        {"id": f"{thread}-{place}", "role": roles[place % 2], "content": text} for place, text in enumerate(said)
    ]
    more: Json = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    body = {"threadId": thread, "runId": uuid.uuid4().hex, "messages": messages}
    answer = await caller.http.post("/ag-ui", json=body | more)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("say", [over_openai, over_ag_ui], ids=["openai", "ag-ui"])
@pytest.mark.parametrize("later", ["person", "decides"])
@pytest.mark.parametrize(
    "kept", [lambda said: said, lambda said: " ".join(said.split())], ids=["as said", "blanks lost"]
)
async def test_in_a_history_that_somebody_else_brings_along(
    door: Door,
    fresh: Fresh,
    address: str,
    say: Callable[..., Awaitable[None]],
    later: str,
    kept: Callable[[str], str],
) -> None:
    """The run that heard it has ended, and the client sends what was said, perhaps not to the last blank."""
    first, then, talk = fresh(f"Remember  {address}"), fresh("Write to that address"), uuid.uuid4().hex
    door.person.model.script(first, plan_answer([], reply="I will."))
    door.person.model.script(then, plan_answer([typed(address, "Pay me")]), Answer("It is sent."))
    await say(door.asks, talk, first)
    chat = await newest(door.person, " ".join(first.split()))
    assert (await door.person.http.post(f"/v1/assistants/{chat}/cancel")).status_code == 202
    await door.person.ended(chat)
    await say(getattr(door, later), talk, kept(first), "I will.", then)
    assert is_asked_through_the_key(await door.person.asked(await newest(door.person, then)))


async def test_by_a_tool_that_gives_it_back(door: Door, fresh: Fresh, address: str) -> None:
    """The list's own words are as trusted as what was written on it."""
    message = fresh(f"Note {address} and write there")
    door.asks.model.script(message, plan_answer(echoed(address)), Answer("It is sent."))
    view = await door.person.asked((await door.asks.start(message))["id"])
    assert is_asked_through_the_key(view)


def echoed(address: str) -> list[Json]:
    note = {"id": "s1", "tool": "tasks.add", "args": {"title": address}}
    send = mail("s2", to=address)
    return [note, {**send, "args": {**send["args"], "to": [{"$from": "s1", "path": "/title"}]}, "depends_on": ["s1"]}]


@asynccontextmanager
async def other_front(stack: Stack, file: Path, policies: str, *, turns: int = 100) -> AsyncIterator[httpx.AsyncClient]:
    """Another front door of the same house, for the person."""
    file.write_text(policies)
    database = f"sqlite+aiosqlite:///{file.with_name('api.db')}"
    settings = ApiSettings(
        retinue_policy=file,
        retinue_rate_limit="10000000/60",
        api_database_url=database,
        retinue_chat_turns=turns,
    )
    app = create_app(settings, client=stack.temporal)
    async with serving(app):
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)


@pytest.fixture
async def before(stack: Stack, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The same front door before its policy was made stricter."""
    lax = '[policies.default]\n[[policies.default.rules]]\nname = "anything"\ndecide = "auto"\n'
    async with other_front(stack, tmp_path / "policy.toml", lax) as http:
        yield http


@pytest.fixture
async def short_chats(stack: Stack, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A front door whose chats go on as a new run after each answer."""
    async with other_front(stack, tmp_path / "policy.toml", POLICIES, turns=1) as http:
        yield http


async def began_before(before: httpx.AsyncClient, door: Door, message: str, **fields: str) -> View:
    answer = await before.post("/v1/assistants", json={"message": message, **fields})
    assert answer.status_code == 202, answer.text
    return await door.person.until(answer.json()["id"], lambda view: view["status"] in ("completed", "awaiting_input"))


async def test_in_a_fork_of_a_run_that_began_under_a_laxer_policy(
    door: Door, before: httpx.AsyncClient, fresh: Fresh, address: str
) -> None:
    message = fresh(f"Mail {address}")
    door.person.model.script(message, plan_answer([mail("s1", to=address)]), Answer("It is sent."))
    run = await began_before(before, door, message)
    again = {"from_step": "s1", "args": {"to": [f"x{address}"], "subject": "Hi", "body": "Hello"}}
    refused(await door.asks.http.post(f"/v1/assistants/{run['id']}/fork", json=again), 403, "may not decide")
    assert (await door.decides.http.post(f"/v1/assistants/{run['id']}/fork", json=again)).status_code == 202


async def test_in_a_chat_that_began_under_a_laxer_policy(
    door: Door, before: httpx.AsyncClient, fresh: Fresh, address: str
) -> None:
    message = fresh("Hello")
    door.person.model.script(message, plan_answer([], reply="Hello."))
    chat = await began_before(before, door, message, mode="chat")
    body = {"message": f"Mail {address}"}
    refused(await door.asks.http.post(f"/v1/assistants/{chat['id']}/messages", json=body), 403, "may not decide")


async def test_in_a_chat_that_goes_on_as_a_new_run(
    door: Door, short_chats: httpx.AsyncClient, fresh: Fresh, address: str
) -> None:
    """What the person wrote into a plan is the key's to use once the key has spoken, and stays so."""
    message, second, third = fresh("Mail the team"), fresh("Hello"), fresh("Write there again")
    written = plan_answer([mail("s1", to="team@example.com")])
    again = plan_answer([mail("s1", to=address)])
    door.person.model.script(message, written, plan_answer(reply="Then not."), plan_answer(reply="Hello."), again)
    given = {"message": message, "mode": "chat", "preview": True}
    chat = (await short_chats.post("/v1/assistants", json=given)).json()["id"]
    [card] = pending(await door.person.asked(chat))
    args = {"steps": [{**card["args"]["steps"][0], "args": {**card["args"]["steps"][0]["args"], "to": [address]}}]}
    await door.person.decide(await door.person.asked(chat), "edit", args=args)
    view = await door.person.until(chat, lambda view: [a["kind"] for a in pending(view)] == ["action"])
    await door.person.decide(view, "reject")
    await door.person.until(chat, lambda view: view["status"] == "awaiting_input")
    assert (await door.asks.http.post(f"/v1/assistants/{chat}/messages", json={"message": second})).status_code == 202
    await door.person.until(chat, lambda view: view["status"] == "awaiting_input" and view["turns"] == 2)
    assert (await door.asks.http.post(f"/v1/assistants/{chat}/messages", json={"message": third})).status_code == 202
    view = await door.person.asked(chat)
    assert "was asked through the key" in str(view["plan"]["card"]["steps"][0]["asks"])
