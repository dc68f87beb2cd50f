"""Keys in a running installation: switched on, rotated, missing, wrong; and what strangers send to Temporal past them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.common import RawValue

from retinue.errors import Undecipherable
from retinue.temporal.codec import KEY_ID
from retinue.temporal.keyring import new_key
from retinue.testing import Answer, plan_answer
from tests.conftest import Stack, View, patient, pending
from tests.security.encryption.installation import Installation, fresh_installation
from workers import runner
from workers.runner import workflows_worker

pytestmark = pytest.mark.xdist_group("encryption")
Handle = WorkflowHandle[Any, Any]
MAIL = {"to": ["ana@example.com"], "subject": "Keys", "body": "about keys"}


def scripted(stack: Stack) -> str:
    """A message that leads to a mail, which is asked about."""
    message = f"Send a mail {uuid.uuid4().hex}"
    plan = plan_answer([{"id": "s1", "tool": "email.send", "args": MAIL}])
    stack.model.script(message, plan, replies=[Answer("Sent.")])
    return message


async def asked(stack: Stack) -> View:
    """A run that waits for an approval."""
    return await stack.asked((await stack.start(scripted(stack)))["id"])


async def approved(stack: Stack, assistant_id: str) -> View:
    """The run after its approval."""
    decided = await stack.decide(await stack.asked(assistant_id))
    assert decided.status_code == 200, decided.text
    return await stack.ended(assistant_id)


async def keys_of_results(handle: Handle) -> list[bytes]:
    """The ids of the keys under which the results of a run's activities stand, in order; empty where there is none."""
    return [
        event.activity_task_completed_event_attributes.result.payloads[0].metadata.get(KEY_ID, b"")
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    ]


def name_of(key: str) -> bytes:
    return key.partition(":")[0].encode()


async def test_runs_go_on_when_encryption_is_switched_on_and_keys_are_rotated() -> None:
    """Plain, then one key, then another: each run ends where it was, and new words are under the newest key."""
    first, second = new_key(), new_key()
    async with fresh_installation() as installation:
        async with installation.running(None) as stack:
            plain = await asked(stack)
        async with installation.running(first) as stack:
            assert (await approved(stack, plain["id"]))["reply"] == "Sent."
            begun = await asked(stack)
            handle = stack.temporal.get_workflow_handle(plain["id"])
            assert await keys_of_results(handle) == [b"", *[name_of(first)] * 2]
        async with installation.running(f"{second},{first}") as stack:
            assert (await approved(stack, begun["id"]))["reply"] == "Sent."
            handle = stack.temporal.get_workflow_handle(begun["id"])
            assert await keys_of_results(handle) == [name_of(first), *[name_of(second)] * 2]
            assert (await stack.view(plain["id"]))["reply"] == "Sent."


@pytest.fixture(scope="module")
async def opened(installation: Installation, key: str) -> AsyncIterator[None]:
    """The installation after somebody has worked with its key."""
    async with installation.running(key, required=True):
        yield


@pytest.mark.parametrize("keys", [None, "another"], ids=["no key", "another key"])
@pytest.mark.usefixtures("opened")
async def test_the_front_door_says_that_its_keys_are_wrong(installation: Installation, keys: str | None) -> None:
    client = await installation.client(keys and new_key())
    async with installation.front(client) as http:
        for answer in (await http.get("/v1/assistants"), await http.post("/v1/assistants", json={"message": "hi"})):
            assert (answer.status_code, "encrypted with the key" in answer.text) == (503, True), answer.text
        ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["encryption keys"])


@pytest.mark.usefixtures("opened")
async def test_a_worker_without_the_keys_takes_no_work(
    installation: Installation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits, says why and looks seldom; with the key it begins. `installation` sets the address that it uses."""
    monkeypatch.delenv("RETINUE_ENCRYPTION_KEYS", raising=False)
    stop = asyncio.Event()
    with caplog.at_level(logging.ERROR, "retinue.worker"):
        connecting = asyncio.ensure_future(runner._connected(stop))
        await until(lambda: bool(caplog.records))
        assert not connecting.done()
        stop.set()
        assert await connecting is None
    assert [record.message.partition(":")[0] for record in caplog.records] == ["waiting for the right encryption keys"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.05)


async def test_a_run_waits_for_a_worker_with_the_right_key() -> None:
    """A workflow worker that has only another key fails no run: the run goes on where it was, once the key is there."""
    key = new_key()
    async with fresh_installation() as installation:
        right, wrong = await installation.client(key), await installation.client(new_key())
        async with installation.front(right) as http:
            stack = Stack(http=http, temporal=right, model=installation.model, data=installation.data)
            assistant_id = (await stack.start(scripted(stack)))["id"]
            async with patient(workflows_worker(wrong)):
                handle = right.get_workflow_handle(assistant_id)
                async with asyncio.timeout(30):
                    while (await handle.describe()).raw_description.pending_workflow_task.attempt < 2:  # noqa: ASYNC110  # nor has the server
                        await asyncio.sleep(0.1)
        async with installation.running(key) as stack:
            assert (await approved(stack, assistant_id))["reply"] == "Sent."


Attack = Callable[[Handle, Any], Coroutine[Any, Any, None]]


async def signal(handle: Handle, argument: Any) -> None:
    await handle.signal("approve", argument)


async def update(handle: Handle, argument: Any) -> None:
    with pytest.raises(Undecipherable):  # the refusal is encrypted, too
        await handle.execute_update("decide", argument)


@pytest.mark.parametrize("attack", [signal, update])
async def test_where_encryption_is_required_plain_words_decide_nothing_and_stop_nothing(
    installation: Installation, key: str, attack: Attack
) -> None:
    stranger = await installation.client(None)
    async with installation.running(key, required=True) as stack:
        view = await asked(stack)
        approval = pending(view)[0]
        argument = {"approval_id": approval["id"], "args_hash": approval["args_hash"]}
        await attack(stranger.get_workflow_handle(view["id"]), {**argument, "decision": "approve", "by": "local"})
        assert [one["id"] for one in pending(await stack.view(view["id"]))] == [approval["id"]]
        assert (await approved(stack, view["id"]))["status"] == "completed"


async def test_what_was_taken_from_one_run_is_refused_in_another(installation: Installation, key: str) -> None:
    """Whoever writes to Temporal cannot have another person's words shown in a run of their own."""
    stranger = await installation.client(None)
    async with installation.running(key) as stack:
        victim, own = await questioned(stack), await questioned(stack)
        secret = f"my secret {uuid.uuid4().hex}"
        stack.model.script(secret, plan_answer(reply="Thanks"))
        said = await stack.http.post(f"/v1/assistants/{victim}/messages", json={"message": secret})
        assert said.status_code == 202, said.text
        taken = await said_in(stack.temporal.get_workflow_handle(victim))
        with pytest.raises(Undecipherable):
            await stranger.get_workflow_handle(own).execute_update("send_message", RawValue(taken))
        view = await stack.view(own)
        assert (view["status"], secret in str(view)) == ("awaiting_input", False)


async def questioned(stack: Stack) -> str:
    """A chat that waits for an answer."""
    message = f"Ask me {uuid.uuid4().hex}"
    stack.model.script(message, plan_answer(question="What?"), plan_answer(reply="Thanks"))
    view = await stack.start(message, mode="chat")
    await stack.until(view["id"], lambda v: v["status"] == "awaiting_input")
    return str(view["id"])


async def said_in(handle: Handle) -> Payload:
    """What a person said in a chat, as it stands in its history."""
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            accepted = event.workflow_execution_update_accepted_event_attributes
            return accepted.accepted_request.input.args.payloads[0]
    raise AssertionError("nobody said anything")


async def test_a_failure_that_is_retried_is_told_in_words(installation: Installation, key: str) -> None:
    """Its text is encrypted in Temporal, and the view is made from what Temporal says about attempts."""
    async with installation.running(key) as stack:
        message = scripted(stack)
        stack.model.script(message, Answer(status=503), Answer(status=503), plan_answer(reply="Hi"))
        view = await stack.start(message)
        view = await stack.until(view["id"], lambda v: any("failed" in notice for notice in v["notices"]))
        assert "language model" in str(view["notices"])
        assert (await stack.ended(view["id"], seconds=40))["reply"] == "Hi"
