"""Messages to an A2A agent: once, whatever happens; what comes back; what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from retinue.settings import ROOT
from tests.activities.a2a.agent_server import POISON, lives_at, served
from tests.activities.a2a.conftest import Elsewhere
from tests.activities.mcp.conftest import Running, running
from tests.activities.mcp.web_server import TOKEN

BOOKED = {
    "text": "booked Ghent",
    "state": "completed",
    "artifacts": [{"name": "ticket", "text": "ticket Ghent", "files": []}],
    "truncated": False,
}
BROKEN: list[dict[str, Any]] = [{"status": 500, "swallow": False}, {"swallow": True}]


async def refused(agent: Running, message: str, step: str = "s1", **arguments: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as raised:
        await agent.call("ask", step=step, message=message, **arguments)
    assert POISON not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("spoken", [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3")], ids=str)
async def test_a_message_is_answered_over_each_transport(elsewhere: Elsewhere, spoken: tuple[str, str]) -> None:
    elsewhere.door.app = served(elsewhere.travel, elsewhere.card, legacy=True)
    lives_at(elsewhere.card, elsewhere.url, *spoken)
    async with running(elsewhere.configured()) as agent:
        found = await agent.call("ask", message="book Ghent")
        at_once = await agent.call("ask", message="hello")
    assert (at_once["text"], at_once["task_id"], at_once["state"]) == ("hello yourself", "", "completed")
    assert {**BOOKED, "task_id": found["task_id"]} == found
    assert elsewhere.travel.received == ["book Ghent", "hello"]


async def test_what_is_done_is_not_sent_again(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        first = await agent.call("ask", step="s1", message="book Ghent")
        assert await agent.call("ask", step="s1", message="book Ghent") == first
        await agent.call("ask", step="s2", message="book Ghent")
    assert elsewhere.travel.received == ["book Ghent"] * 2
    assert len({message.message_id for message in elsewhere.travel.messages}) == 2


async def test_a_task_is_waited_for(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        call = asyncio.ensure_future(agent.call("ask", message="wait"))
        async with asyncio.timeout(10):
            while not elsewhere.travel.received:  # noqa: ASYNC110  # the agent is another program
                await asyncio.sleep(0.02)
        elsewhere.travel.go_on.set()
        assert (await call)["text"] == "at last"


async def test_a_task_that_takes_longer_comes_back_working_and_can_be_looked_at(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured(wait_seconds=0.5)) as agent:
        found = await agent.call("ask", message="wait")
        assert found["state"] == "working"
        elsewhere.travel.go_on.set()
        done = await agent.call("check_task", task_id=found["task_id"])
    assert (done["state"], done["text"]) == ("completed", "at last")


async def test_a_question_is_a_result_and_the_answer_goes_into_the_same_task(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        asked = await agent.call("ask", message="ask me")
        assert (asked["state"], asked["text"]) == ("input-required", "Which day?")
        done = await agent.call("ask", message="book Monday", task_id=asked["task_id"])
    assert (done["state"], done["text"], done["task_id"]) == ("completed", "booked Monday", asked["task_id"])
    assert elsewhere.travel.received == ["ask me", "book Monday"]


async def test_a_task_that_is_over_is_only_referred_to(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        first = await agent.call("ask", message="book Ghent")
        second = await agent.call("ask", message="book Bruges", task_id=first["task_id"])
    assert first["task_id"] != second["task_id"]
    assert list(elsewhere.travel.messages[1].reference_task_ids) == [first["task_id"]]
    assert elsewhere.travel.messages[0].context_id == elsewhere.travel.messages[1].context_id


@pytest.mark.parametrize("verb", ["ask", "check_task"])
async def test_only_the_conversation_in_which_a_task_began_can_name_it(elsewhere: Elsewhere, verb: str) -> None:
    """A made up id would carry data out, and a guessed one would show what another person asked."""
    async with running(elsewhere.configured()) as agent:
        asked = await agent.call("ask", message="ask me")
        arguments = {"ask": {"message": "book Monday"}, "check_task": {}}[verb]
        seen = len(elsewhere.door.seen)
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, activity_type=f"{agent.name}.{verb}", workflow_id="another", activity_id="s1"
        )
        raw = RawValue(environment.payload_converter.to_payload({**arguments, "task_id": asked["task_id"]}))
        with pytest.raises(ApplicationError, match="no such task in this conversation"):
            await environment.run(agent.run, [raw])
        assert len(elsewhere.door.seen) == seen
    assert elsewhere.travel.received == ["ask me"]


@pytest.mark.parametrize(
    ("message", "said"),
    [("fail", "it failed"), ("reject", "does not want"), ("sign-in", "sign in")],
)
async def test_what_is_no_result_is_an_error_without_the_agents_words(
    elsewhere: Elsewhere, message: str, said: str
) -> None:
    async with running(elsewhere.configured()) as agent:
        for _ in range(2):
            error = await refused(agent, message)
            assert (error.type, error.non_retryable) == ("ServiceRefused", True)
            assert said in str(error)
    assert elsewhere.travel.received == [message]


@pytest.mark.parametrize("how", BROKEN, ids=str)
async def test_a_message_whose_answer_was_lost_is_found_again(elsewhere: Elsewhere, how: dict[str, Any]) -> None:
    """Where it arrived the agent's list of tasks tells so, and where it did not a person is asked."""
    async with running(elsewhere.configured()) as agent:
        elsewhere.door.misbehave(swallow=True)
        assert (await agent.call("ask", step="s1", message="book Ghent"))["text"] == "booked Ghent"
        elsewhere.door.misbehave(**how)
        for _ in range(2):
            assert (await refused(agent, "hello", "s2")).type == "OutcomeUnknown"
    assert elsewhere.travel.received == ["book Ghent", *["hello"] * how["swallow"]]


async def test_only_an_agent_that_is_called_idempotent_gets_a_message_again_under_the_same_id(
    elsewhere: Elsewhere,
) -> None:
    async with running(elsewhere.configured(idempotent=True)) as agent:
        elsewhere.door.misbehave(swallow=True)
        assert (await refused(agent, "hello")).type == "OutcomeOpen"
        assert (await agent.call("ask", step="s1", message="hello"))["text"] == "hello yourself"
    assert elsewhere.travel.received == ["hello"] * 2
    assert len({message.message_id for message in elsewhere.travel.messages}) == 1


async def test_a_message_that_a_person_had_sent_again_keeps_its_id(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        await agent.call("ask", step="s1", message="hello")
        await agent.call("ask", step="s1~1", message="hello")
    assert len({message.message_id for message in elsewhere.travel.messages}) == 1


async def test_an_answer_to_a_question_that_was_lost_is_found_in_its_task(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        asked = await agent.call("ask", message="ask me")
        elsewhere.door.misbehave(swallow=True)
        done = await agent.call("ask", message="book Monday", task_id=asked["task_id"])
    assert done["text"] == "booked Monday"
    assert elsewhere.travel.received == ["ask me", "book Monday"]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retried"),
    [
        (401, {}, "ServiceRefused", False),
        (404, {}, "ServiceRefused", False),
        (429, {"retry-after": "7"}, "ServiceBusy", True),
        (302, {"location": "http://evil.example/"}, "ServiceRefused", False),
    ],
)
async def test_what_the_agent_refused_did_not_happen(
    elsewhere: Elsewhere, status: int, headers: dict[str, str], kind: str, retried: bool
) -> None:
    async with running(elsewhere.configured()) as agent:
        elsewhere.door.misbehave(status, headers=headers, body=TOKEN.encode())
        error = await refused(agent, "book Ghent")
        assert (error.type, error.non_retryable) == (kind, not retried)
        assert TOKEN not in str(error)
        assert (await agent.call("ask", step="s1", message="book Ghent"))["text"] == "booked Ghent"
    assert elsewhere.travel.received == ["book Ghent"]


async def test_an_answer_that_is_none_leaves_the_outcome_in_the_dark(elsewhere: Elsewhere) -> None:
    bodies = [b"no", b"[]", b'{"result": 7}', b'{"jsonrpc": "2.0", "id": 1, "result": {}}', b"\xff", b"[" * 100_000]
    async with running(elsewhere.configured()) as agent:
        for number, body in enumerate(bodies):
            elsewhere.door.misbehave(200, headers={"content-type": "application/json"}, body=body)
            assert (await refused(agent, "book Ghent", f"s{number}")).type == "OutcomeUnknown"
    assert elsewhere.travel.received == []


async def test_an_agent_that_forgot_the_task_leaves_the_outcome_in_the_dark(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured(wait_seconds=0.5)) as agent:
        assert (await agent.call("ask", step="s1", message="wait"))["state"] == "working"
        elsewhere.forget()
        error = await refused(agent, "wait")
        assert (error.type, "forgotten" in str(error)) == ("OutcomeUnknown", True)
    assert elsewhere.travel.received == ["wait"]


async def test_what_is_long_is_cut_and_what_is_endless_is_no_answer(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        found = await agent.call("ask", message="big 900")
        assert (len(found["text"]) < 130 * 1024, found["truncated"]) == (True, True)
        assert found["text"].endswith("[cut: the rest did not fit]")
        elsewhere.door.misbehave(
            200, headers={"content-type": "application/json"}, body=b'"' + b"x" * 5 * 1024 * 1024 + b'"'
        )
        assert (await refused(agent, "hello", "s2")).type == "OutcomeUnknown"


async def test_what_the_agent_repeats_of_our_secrets_is_hidden(elsewhere: Elsewhere) -> None:
    async with running(elsewhere.configured()) as agent:
        assert (await agent.call("ask", message="lie"))["text"] == f"{POISON} [secret]"


async def test_arguments_that_do_not_fit_are_not_sent(elsewhere: Elsewhere) -> None:
    wrong: list[dict[str, Any]] = [{}, {"message": ""}, {"message": "x" * 30_001}, {"message": "a", "canary": 1}]
    async with running(elsewhere.configured()) as agent:
        for arguments in wrong:
            with pytest.raises(ApplicationError, match="do not fit its schema"):
                await agent.call("ask", **arguments)
    assert elsewhere.travel.received == []


async def test_a_worker_that_is_killed_between_the_answer_and_its_record_sends_nothing_again(
    elsewhere: Elsewhere,
) -> None:
    name = elsewhere.configured()
    program = (
        "import asyncio\n"
        "from tests.activities.mcp.conftest import running\n"
        "async def main():\n"
        f"    async with running({name!r}) as agent:\n"
        "        await agent.call('ask', step='s1', message='book Ghent')\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RETINUE_FAULT": f"before_receipt:{name}"},
        timeout=50,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert elsewhere.travel.received == ["book Ghent"]
    async with running(name) as agent:
        assert (await agent.call("ask", step="s1", message="book Ghent"))["text"] == "booked Ghent"
    assert elsewhere.travel.received == ["book Ghent"]
