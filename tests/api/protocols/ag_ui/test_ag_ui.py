"""Runs over AG-UI: what is told, what interrupts, who may resume, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from ag_ui.core import EventType

from api.app import create_app
from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer, serving
from tests.api.conftest import browsing, refused
from tests.api.protocols.ag_ui.conftest import AgUi, Json
from tests.api.protocols.conftest import NewKey
from tests.conftest import Stack, pending

Fresh = Callable[[str], str]
Client = Callable[[], AgUi]
TO = "guest@example.org"


def mail(subject: str = "Lunch") -> Answer:
    args = {"to": [TO], "subject": subject, "body": "at noon"}
    return plan_answer([{"id": "s1", "tool": "email.send", "args": args}])


def resolved(interrupt: Any, **payload: Any) -> Json:
    return {"interruptId": interrupt.id, "status": "resolved", "payload": payload}


def approved(interrupt: Any) -> Json:
    return resolved(interrupt, decision="approve", args_hash=interrupt.metadata["retinue"]["args_hash"])


async def test_a_run_tells_its_phases_its_calls_its_state_and_its_answer(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("weather")
    plan = plan_answer([{"id": "s1", "tool": "weather.current", "args": {"place": "Lisbon"}}])
    stack.model.script(message, plan, replies=[Answer("Mild and dry.")])
    run = await client().say(message)
    assert (run.kinds[0], run.outcome, run.text) == ("RUN_STARTED", "success", "Mild and dry.")
    assert run.events[0].protocol_version == "1.0"
    [call], [result] = run.of(EventType.TOOL_CALL_START), run.of(EventType.TOOL_CALL_RESULT)
    assert (call.tool_call_name, result.tool_call_id) == ("weather.current", call.tool_call_id)
    assert json.loads(run.of(EventType.TOOL_CALL_ARGS)[0].delta) == {"place": "Lisbon"}
    assert json.loads(result.content)["place"]
    begun = [event.step_name for event in run.of(EventType.STEP_STARTED)]
    assert "s1: weather.current" in begun
    assert sorted(begun) == sorted(event.step_name for event in run.of(EventType.STEP_FINISHED))
    assert run.events[-1].usage[0].total_tokens == 30
    view = await stack.view(run.assistant_id)
    assert (view["mode"], view["status"], view["reply"]) == ("chat", "awaiting_input", "Mild and dry.")


async def test_an_approval_is_an_interrupt_and_the_decision_resumes_it(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Sent.")])
    talk = client()
    first = await talk.say(message)
    [asked] = first.interrupts
    [call] = first.of(EventType.TOOL_CALL_START)
    assert (asked.reason, asked.tool_call_id) == ("tool_call", call.tool_call_id)
    assert f"- to {TO}: " in asked.message
    assert "Asked because:\n- it reaches other people or systems" in asked.message
    assert asked.message.lower().count("cannot be undone") == 1
    [approval] = (await stack.view(first.assistant_id))["approvals"]
    for name in ("preview", "card", "reasons", "undo"):
        assert asked.metadata["retinue"][name] == approval[name]
    assert asked.response_schema["properties"]["args_hash"] == {"const": approval["args_hash"]}
    then = await talk.run(resume=[approved(asked)])
    assert (then.outcome, then.text) == ("success", "Sent.")
    assert then.of(EventType.TOOL_CALL_START) == []
    [result] = then.of(EventType.TOOL_CALL_RESULT)
    assert result.tool_call_id == call.tool_call_id
    assert json.loads(result.content)["message_id"]


async def test_words_approve_nothing(stack: Stack, client: Client, fresh: Fresh) -> None:
    """Neither in the chat, where the same interrupt comes again, nor as an answer to the interrupt."""
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Not sent.")])
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    again = await talk.say("yes, approve it, decision=approve")
    assert [found.id for found in again.interrupts] == [asked.id]
    for payload in ("yes", True, {"approved": True}, {"decision": "approve"}, None):
        answer: Json = {"interruptId": asked.id, "status": "resolved", "payload": payload}
        assert (await talk.run(resume=[answer])).outcome == "RUN_ERROR"
    stale = await talk.run(resume=[resolved(asked, decision="approve", args_hash="0" * 16)])
    assert "does not match" in stale.events[-1].message
    view = await stack.view(again.assistant_id)
    assert [found["status"] for found in view["approvals"]] == ["pending"]
    await talk.run(resume=[resolved(asked, decision="reject", args_hash=asked.metadata["retinue"]["args_hash"])])
    view = await stack.view(again.assistant_id)
    assert [said["text"] for said in view["messages"]] == [message, "Not sent."]


@pytest.mark.parametrize("answer", [{"status": "cancelled"}, {"status": "resolved", "payload": {"decision": "reject"}}])
async def test_what_is_rejected_or_abandoned_is_not_done(
    stack: Stack, client: Client, fresh: Fresh, answer: Json
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Not sent.")])
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    payload = answer.get("payload", {}) | {"args_hash": asked.metadata["retinue"]["args_hash"]}
    run = await talk.run(resume=[{"interruptId": asked.id} | answer | {"payload": payload}])
    assert (run.outcome, run.text) == ("success", "Not sent.")
    [result] = run.of(EventType.TOOL_CALL_RESULT)
    assert json.loads(result.content) == {
        "status": "rejected",
        "error": {"type": "Rejected", "message": "you rejected it"},
    }
    [decided] = (await stack.view(run.assistant_id))["approvals"]
    assert decided["comment"] is None


async def test_an_edit_is_what_is_done(stack: Stack, client: Client, fresh: Fresh) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Sent.")])
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    seen = asked.metadata["retinue"]
    args = seen["args"] | {"subject": "Dinner"}
    decision = resolved(asked, decision="edit", args_hash=seen["args_hash"], args=args)
    run = await talk.run(resume=[decision])
    assert run.outcome == "success"
    assert (await talk.run(resume=[decision])).outcome == "success"
    view = await stack.view(run.assistant_id)
    assert view["plan"]["steps"][0]["args"]["subject"] == "Dinner"


async def test_a_resume_that_comes_again_is_safe_and_another_one_is_told_what_is_recorded(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Sent.")])
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    runs = await asyncio.gather(*(talk.post(resume=[approved(asked)]) for _ in range(5)))
    assert [answer.status_code for answer in runs] == [200] * 5
    assert all('"success"' in answer.text for answer in runs), [answer.text[-500:] for answer in runs]
    late = await talk.run(
        resume=[resolved(asked, decision="reject", args_hash=approved(asked)["payload"]["args_hash"])]
    )
    assert (late.outcome, late.events[-1].code) == ("RUN_ERROR", "Conflict")
    assert "already approved" in late.events[-1].message
    view = await stack.view(late.assistant_id)
    assert [(step["status"], step["attempts"]) for step in view["plan"]["steps"]] == [("completed", 1)]


async def test_a_decision_made_elsewhere_is_told_to_whoever_resumes_late(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("Not sent.")])
    talk = client()
    first = await talk.say(message)
    view = await stack.view(first.assistant_id)
    assert (await stack.decide(view, "reject")).status_code == 200
    late = await talk.run(resume=[approved(first.interrupts[0])])
    assert "already rejected" in late.events[-1].message
    heard = await talk.run()
    assert (heard.outcome, late.text + heard.text) == ("success", "Not sent.")


async def test_answers_to_other_threads_interrupts_count_for_nothing(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    """Nor those of a thread that nobody knows; each is answered as one that does not exist."""
    one, other = fresh("mail the guest"), fresh("mail another")
    stack.model.script(one, mail())
    stack.model.script(other, mail())
    mine = client()
    await mine.say(one)
    theirs = await client().say(other)
    [asked] = theirs.interrupts
    run = await mine.run(resume=[approved(asked), approved(asked) | {"interruptId": "a-none/approval/ap-s1"}])
    assert (run.outcome, run.events[-1].code) == ("RUN_ERROR", "NotFound")
    refused(await client().post(resume=[approved(asked)]), 404, "no pending interrupt")
    assert len(pending(await stack.view(theirs.assistant_id))) == 1


async def test_of_several_answers_each_counts_by_itself(stack: Stack, client: Client, fresh: Fresh) -> None:
    message = fresh("mail both")
    two = [
        {"id": f"s{number}", "tool": "email.send", "args": {"to": [TO], "subject": f"{number}", "body": "x"}}
        for number in (1, 2)
    ]
    stack.model.script(message, plan_answer(two), replies=[Answer("Done.")])
    talk = client()
    first = await talk.say(message)
    one, other = first.interrupts
    run = await talk.run(resume=[approved(one), resolved(other, decision="approve", args_hash="0")])
    assert run.events[-1].message.startswith("1 answers were recorded, others not: ")
    [left] = (await talk.run()).interrupts
    assert left.id == other.id
    both = await talk.run(resume=[approved(one), approved(left)])
    assert (both.outcome, both.text) == ("success", "Done.")


@pytest.mark.parametrize(
    "answer",
    [
        lambda talk, asked: talk.run(resume=[resolved(asked, answer="Monday")]),
        lambda talk, asked: talk.run(resume=[resolved(asked) | {"payload": "Monday"}]),
        lambda talk, asked: talk.say("Monday"),
    ],
    ids=["as its schema says", "as a text", "as the next message"],
)
async def test_a_question_is_an_interrupt_that_an_answer_resolves(
    stack: Stack, client: Client, fresh: Fresh, answer: Callable[[AgUi, Any], Awaitable[Any]]
) -> None:
    message = fresh("book it")
    stack.model.script(message, plan_answer(question="Which day?"), plan_answer(reply="Noted: Monday."))
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    assert (asked.reason, asked.message) == ("input_required", "Which day?")
    run = await answer(talk, asked)
    assert (run.outcome, run.text) == ("success", "Noted: Monday.")


async def test_a_question_that_is_abandoned_waits_for_the_next_message(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("book it")
    stack.model.script(message, plan_answer(question="Which day?"), plan_answer(reply="Noted: Monday."))
    talk = client()
    [asked] = (await talk.say(message)).interrupts
    assert (await talk.run(resume=[{"interruptId": asked.id, "status": "cancelled"}])).outcome == "cancelled"
    assert (await talk.say("Monday")).text == "Noted: Monday."
    late = await talk.run(resume=[resolved(asked, answer="Tuesday")])
    assert "is not open" in late.events[-1].message


async def test_a_thread_is_one_assistant_and_each_run_tells_only_what_is_new(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message, other = fresh("first"), fresh("second")
    weather = plan_answer([{"id": "s1", "tool": "weather.current", "args": {"place": "Lisbon"}}])
    stack.model.script(message, weather, plan_answer(reply="And that."), replies=[Answer("Mild.")])
    stack.model.script(other, plan_answer(reply="And that."))
    talk = client()
    first = await talk.say(message)
    talk.messages = [said for said in talk.messages if said["role"] == "user"]  # a client that keeps little
    second = await talk.say(other)
    assert (first.text, second.text) == ("Mild.", "And that.")
    assert first.assistant_id == second.assistant_id
    assert second.of(EventType.TOOL_CALL_START) == []
    assert (await talk.run()).kinds == ["RUN_STARTED", "STATE_SNAPSHOT", "RUN_FINISHED"]


async def test_the_same_run_and_the_same_message_again_are_read_once(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello."))
    talk = client()
    talk.said(message)
    body = talk.input()
    answers = await asyncio.gather(*(talk.http.post("/ag-ui", json=body) for _ in range(5)))
    assert all("Hello." in answer.text for answer in answers), [answer.text for answer in answers]
    assert "Hello." in (await talk.http.post("/ag-ui", json=body | {"runId": uuid.uuid4().hex})).text
    body["messages"] = [{"id": "m", "role": "user", "content": "another"}]
    refused(await talk.http.post("/ag-ui", json=body), 422, "this runId was used for another request")
    view = await stack.view((await talk.run()).assistant_id)
    assert [said["text"] for said in view["messages"]] == [message, "Hello."]


async def test_whoever_hangs_up_hears_the_rest_in_the_next_run(stack: Stack, client: Client, fresh: Fresh) -> None:
    message = fresh("slow")
    stack.model.script(message, Answer(plan_answer(reply="At last.").text, delay=1.0))
    talk = client()
    talk.said(message)
    async with talk.http.stream("POST", "/ag-ui", json=talk.input()) as answer:
        assert (await anext(answer.aiter_lines())).startswith("data: ")
    assert (await talk.run()).text == "At last."


async def test_a_failure_is_told_and_ends_the_run_as_failed(client: Client, fresh: Fresh) -> None:
    """The model refuses what nobody scripted."""
    run = await client().say(fresh("nobody knows"))
    assert run.outcome == "RUN_ERROR"
    assert run.text.startswith("That did not work: ")


async def test_a_stopped_assistant_is_told_as_cancelled_and_the_thread_goes_on_with_another(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    message, other = fresh("mail the guest"), fresh("never mind")
    stack.model.script(message, mail())
    stack.model.script(other, plan_answer(reply="As you like."))
    talk = client()
    first = await talk.say(message)
    assert (await stack.http.post(f"/v1/assistants/{first.assistant_id}/cancel")).status_code == 202
    assert (await talk.run()).outcome == "cancelled"
    late = await talk.run(resume=[approved(first.interrupts[0])])
    assert late.outcome == "RUN_ERROR"
    then = await talk.say(other)
    assert (then.outcome, then.text) == ("success", "As you like.")
    assert then.assistant_id != first.assistant_id


async def test_a_key_that_may_not_decide_decides_nothing(
    stack: Stack, client: Client, fresh: Fresh, new_key: NewKey, door: str
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    headers = {"Authorization": f"Bearer {await new_key('read', 'ask')}"}
    async with httpx.AsyncClient(base_url=door, timeout=60, headers=headers) as http:
        talk = AgUi(http)
        [asked] = (await talk.say(message)).interrupts
        for answer in (approved(asked), {"interruptId": asked.id, "status": "cancelled"}):
            run = await talk.run(resume=[answer])
            assert (run.outcome, run.events[-1].code) == ("RUN_ERROR", "NotAllowed")
    assert len(pending(await stack.view(run.assistant_id))) == 1
    async with httpx.AsyncClient(base_url=door, headers={"Authorization": f"Bearer {await new_key('read')}"}) as http:
        refused(await AgUi(http).post(), 403, "ask")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"messages": []}, 404, "this thread has no messages"),
        ({"messages": [{"id": "1", "role": "user", "content": "x" * 10_001}]}, 422, "shorten it"),
        ({"messages": [{"id": "1", "role": "user", "content": [{"type": "image", "source": {}}]}]}, 404, "no messages"),
        ({"messages": "x"}, 422, "messages"),
        ({"threadId": ""}, 422, "threadId"),
        ({"runId": None}, 422, "runId"),
        ({"resume": [{"interruptId": "x", "status": "approved"}]}, 422, "status"),
        ({"messages": [{"id": "1", "role": "user", "content": "\ud800"}]}, 422, "content"),
    ],
)
async def test_what_cannot_be_run_is_refused_before_it_begins(
    client: Client, body: Json, status: int, says: str
) -> None:
    talk = client()
    content = json.dumps(talk.input() | body)
    answer = await talk.http.post("/ag-ui", content=content, headers={"Content-Type": "application/json"})
    refused(answer, status, says)


async def test_a_thread_of_somebody_else_is_another_thread(stack: Stack, fresh: Fresh) -> None:
    """The same thread id, the same message, and the interrupt's own id: nothing of it leads to another's assistant."""
    message = fresh("mail the guest")
    stack.model.script(message, mail(), mail())
    app = create_app(ApiSettings(retinue_user_header="X-User", retinue_chat_turns=1), client=stack.temporal)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:
        talks = [AgUi(http, {"X-User": name}) for name in ("anna", "eve")]
        talks[1].thread = talks[0].thread
        talks[0].said(message)
        talks[1].messages = list(talks[0].messages)
        anna, eve = [await talk.run() for talk in talks]
        assert anna.assistant_id != eve.assistant_id
        stolen = await talks[1].run(resume=[approved(anna.interrupts[0])])
        assert (stolen.outcome, stolen.events[-1].code) == ("RUN_ERROR", "NotFound")
        assert len((await talks[0].run()).interrupts) == 1


async def test_a_thread_goes_on_over_all_executions_of_its_chat(stack: Stack, fresh: Fresh) -> None:
    app = create_app(ApiSettings(retinue_chat_turns=1), client=stack.temporal)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:
        talk, said = AgUi(http), []
        for number in range(2):
            message = fresh(f"turn {number}")
            stack.model.script(message, plan_answer(reply=f"answer {number}"))
            said.append((run := await talk.say(message)).text)
    assert said == [f"answer {number}" for number in range(2)]
    assert (await stack.view(run.assistant_id))["turns"] == 2


async def test_a_stream_shows_that_it_lives_and_ends_before_the_work_if_that_takes_too_long(
    stack: Stack, client: Client, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.protocols.ag_ui.routes.ALIVE", 0.1)
    monkeypatch.setattr("api.protocols.ag_ui.routes.LONGEST", 0.8)
    message = fresh("slow")
    stack.model.script(message, Answer(plan_answer(reply="At last.").text, delay=2.0))
    talk = client()
    talk.said(message)
    answer = await talk.post()
    assert ": the assistant is running\n\n" in answer.text
    assert '"code":"still-at-work"' in answer.text
    monkeypatch.undo()
    assert (await talk.run()).text == "At last."


async def test_what_is_told_stays_small_whatever_the_run_holds(stack: Stack, client: Client, fresh: Fresh) -> None:
    """Clients send everything back with the next request, which may have 64 KiB; approvals are whole, and not sent back."""
    message, body = fresh("a long mail"), "word " * 1500
    steps = [
        {"id": f"s{number}", "tool": "email.send", "args": {"to": [TO], "subject": str(number), "body": body}}
        for number in range(5)
    ]
    stack.model.script(message, plan_answer(steps))
    talk = client()
    run = await talk.say(message)
    assert all(asked.metadata["retinue"]["args"]["body"] == body for asked in run.interrupts)
    told = [event.delta for event in run.of(EventType.TOOL_CALL_ARGS)]
    assert len(told) == 5
    assert max(map(len, told)) < 5000
    assert len(json.dumps(run.of(EventType.STATE_SNAPSHOT)[-1].snapshot)) < 5000
    assert (await talk.run()).outcome == "interrupt"


async def test_nobody_is_served_where_the_door_is_closed(stack: Stack, tmp_path: Path) -> None:
    settings = ApiSettings(api_database_url=f"sqlite+aiosqlite:///{tmp_path}/api.db", retinue_doors="mcp")
    async with browsing(create_app(settings, client=stack.temporal)) as http:
        assert (await AgUi(http).post()).status_code == 404


WORDS = "".join(f"word{number} " for number in range(40))


def written(stack: Stack, message: str) -> asyncio.Event:
    """Let a model begin an answer, and end it when the event is set."""
    goes_on = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield WORDS
        async with asyncio.timeout(40):
            await goes_on.wait()
        yield "and the end."

    plan = plan_answer([{"id": "s1", "tool": "weather.current", "args": {"place": "Lisbon"}}])
    stack.model.script(message, plan, replies=[Answer(pieces=pieces)])
    return goes_on


async def content(answer: httpx.Response) -> AsyncIterator[Json]:
    """The pieces of text that a stream tells."""
    async for line in answer.aiter_lines():
        event = json.loads(line.partition(": ")[2]) if line.startswith("data: ") else {}
        if event.get("type") == "TEXT_MESSAGE_CONTENT":
            yield event


async def test_an_answer_is_told_while_it_is_written(stack: Stack, client: Client, fresh: Fresh) -> None:
    talk, message = client(), fresh("tell me")
    goes_on = written(stack, message)
    talk.said(message)
    async with talk.http.stream("POST", "/ag-ui", json=talk.input()) as answer:
        told = content(answer)
        assert (await anext(told))["delta"] == WORDS
        goes_on.set()
        assert "".join([event["delta"] async for event in told]) == "and the end."


async def test_who_hung_up_in_the_middle_of_an_answer_hears_the_rest_of_it(
    stack: Stack, client: Client, fresh: Fresh
) -> None:
    talk, message = client(), fresh("tell me")
    goes_on = written(stack, message)
    talk.said(message)
    async with talk.http.stream("POST", "/ag-ui", json=talk.input()) as answer:
        first = await anext(content(answer))
    talk.messages.append({"id": first["messageId"], "role": "assistant", "content": first["delta"]})
    goes_on.set()
    after = await talk.run()
    assert (after.outcome, after.text) == ("success", "and the end.")
