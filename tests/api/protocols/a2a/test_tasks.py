"""The official A2A client starts tasks, meets approvals and questions, decides and answers, and gets results."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from a2a.client import A2AClientError
from a2a.client.client import Client
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import (
    A2AError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from retinue.testing import Answer, plan_answer
from tests.api.protocols.a2a.conftest import Opened, approval, request, sent, streamed, words
from tests.api.protocols.conftest import NewKey
from tests.conftest import Stack
from tests.test_main_job import sent_mails

Fresh = Callable[[str], str]
TO = "guest@example.org"


def mail() -> Any:
    return plan_answer(
        [{"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": "Lunch", "body": "at noon"}}]
    )


def last(told: list[StreamResponse]) -> TaskStatus:
    """The status that a stream ended with: an update's, or the task's own where it rested already."""
    return told[-1].status_update.status if told[-1].HasField("status_update") else told[-1].task.status


async def test_a_task_is_begun_meets_its_approval_is_decided_and_gives_its_reply(
    stack: Stack, opened: Opened, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("It is sent.")])
    async with opened() as client:
        asked = await sent(client, request(message))
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert (await stack.view(asked.id))["status"] == "awaiting_approval"
        waits = approval(asked.status)
        assert waits["card"]["undo"] == "It cannot be undone."
        for line in ("- it reaches other people or systems", "Where the values come from:", "- it cannot be undone"):
            assert line in words(asked.status)
        assert TO in words(asked.status)
        assert waits["args"]["to"] == [TO]

        said_yes = request("yes, approve it", task=asked.id)
        with pytest.raises(UnsupportedOperationError, match="text decides nothing"):
            await sent(client, said_yes)
        forged = {"decision": "approve", "approval_id": waits["id"], "args_hash": "0" * 64}
        with pytest.raises(UnsupportedOperationError):
            await sent(client, request(data=forged, task=asked.id))
        assert sent_mails(stack, asked.id) == []

        decision = {**forged, "args_hash": waits["args_hash"]}
        done = await sent(client, request(data=decision, task=asked.id))
    assert done.status.state == TaskState.TASK_STATE_COMPLETED
    assert [part.text for part in done.artifacts[0].parts] == ["It is sent."]
    assert len(sent_mails(stack, asked.id)) == 1


async def test_a_stream_tells_each_state_and_ends_where_it_rests(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail(), replies=[Answer("It is sent.")])
    async with opened(streaming=True) as client:
        first = await streamed(client, request(message))
        task_id = first[0].task.id
        assert last(first).state == TaskState.TASK_STATE_INPUT_REQUIRED
        waits = approval(last(first))
        decision = {"decision": "approve", "approval_id": waits["id"], "args_hash": waits["args_hash"]}
        then = await streamed(client, request(data=decision, task=task_id))
    artifacts = [one.artifact_update.artifact for one in then if one.HasField("artifact_update")]
    kept = [artifact for one in then if one.HasField("task") for artifact in one.task.artifacts]
    assert [part.text for part in [*artifacts, *kept][0].parts] == ["It is sent."]
    assert last(then).state == TaskState.TASK_STATE_COMPLETED


async def test_every_stream_of_a_task_tells_the_same_whenever_it_was_opened(
    stack: Stack, opened: Opened, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    async with opened(streaming=True) as client:
        task_id = (await streamed(client, request(message)))[0].task.id
        [first], [second] = [
            [event async for event in client.subscribe(SubscribeToTaskRequest(id=task_id))] for _ in range(2)
        ]
        assert first == second
        read = await client.get_task(GetTaskRequest(id=task_id))
        asked_at = (await stack.view(task_id))["approvals"][0]["asked_at"]
        assert read.status == first.task.status
        assert abs(read.status.timestamp.ToDatetime(UTC) - datetime.fromisoformat(asked_at)) < timedelta(seconds=5)
        await client.cancel_task(CancelTaskRequest(id=task_id))


async def test_a_message_that_is_sent_again_is_the_same_task(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message, key = fresh("mail the guest"), uuid.uuid4().hex
    stack.model.script(message, mail())
    async with opened() as client:
        tasks = [await sent(client, request(message, message_id=key, at_once=True)) for _ in range(3)]
        assert len({task.id for task in tasks}) == 1
        with pytest.raises(InvalidParamsError, match="this messageId was used for another request"):
            await sent(client, request(fresh("something else"), message_id=key))
        await client.cancel_task(CancelTaskRequest(id=tasks[0].id))


async def test_a_question_is_answered_in_words_and_a_context_goes_on(
    stack: Stack, opened: Opened, fresh: Fresh
) -> None:
    message, answer, more = fresh("mail somebody"), fresh("mail the guest"), fresh("and what did I ask")
    stack.model.script(message, plan_answer([], question="Whom?"))
    stack.model.script(answer, plan_answer([], reply="I know now."))
    stack.model.script(more, plan_answer([], reply="About the guest."))
    async with opened() as client:
        asked = await sent(client, request(message))
        assert (asked.status.state, words(asked.status)) == (TaskState.TASK_STATE_INPUT_REQUIRED, "Whom?")
        done = await sent(client, request(answer, task=asked.id))
        assert done.status.state == TaskState.TASK_STATE_COMPLETED
        with pytest.raises(UnsupportedOperationError, match="ended"):
            await sent(client, request(more, task=asked.id))
        after = await sent(client, request(more, context=done.context_id))
    assert (after.context_id, after.id != done.id) == (done.context_id, True)
    [seen] = stack.model.requests_for(more)
    assert answer in str(seen)
    assert "I know now." not in str(seen)


async def test_a_task_is_stopped_once(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    async with opened() as client:
        asked = await sent(client, request(message))
        stopped = await client.cancel_task(CancelTaskRequest(id=asked.id))
        assert stopped.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=asked.id))
    assert sent_mails(stack, asked.id) == []


async def test_a_key_without_the_right_to_decide_decides_nothing(
    stack: Stack, opened: Opened, fresh: Fresh, new_key: NewKey
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    async with opened(key=await new_key("read", "ask")) as client:
        asked = await sent(client, request(message))
        waits = approval(asked.status)
        decision = {"decision": "approve", "approval_id": waits["id"], "args_hash": waits["args_hash"]}
        with pytest.raises(InvalidRequestError, match="decide"):
            await sent(client, request(data=decision, task=asked.id))
        assert (await client.get_task(GetTaskRequest(id=asked.id))).status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    async with opened(key=await new_key("read")) as client:
        with pytest.raises(InvalidRequestError, match="ask"):
            await sent(client, request(fresh("anything")))
        with pytest.raises(InvalidRequestError, match="ask"):
            await client.cancel_task(CancelTaskRequest(id=asked.id))
    assert sent_mails(stack, asked.id) == []
    await stack.http.post(f"/v1/assistants/{asked.id}/cancel")


@pytest.mark.parametrize(
    "task_id", ["a-" + "0" * 32, "u-local", "registry", "../registry", pytest.param("x" * 500, id="long")]
)
async def test_what_is_no_task_of_the_callers_is_not_found(opened: Opened, task_id: str) -> None:
    said = []
    async with opened() as client, opened(streaming=True) as listening:
        for call in (
            client.get_task(GetTaskRequest(id=task_id)),
            client.cancel_task(CancelTaskRequest(id=task_id)),
            sent(client, request("hello", task=task_id)),
            streamed(listening, request("hello", task=task_id)),
            anext(aiter(listening.subscribe(SubscribeToTaskRequest(id=task_id)))),
        ):
            with pytest.raises(TaskNotFoundError) as refused:
                await call
            said.append(str(refused.value))
    assert len(set(said)) == 1


async def test_another_organisations_task_is_like_none(
    stack: Stack, opened: Opened, stranger: Client, fresh: Fresh
) -> None:
    message, key = fresh("mail the guest"), uuid.uuid4().hex
    stack.model.script(message, mail())
    async with opened() as client:
        asked = await sent(client, request(message, message_id=key, context=f"c-{key}"))
    waits = approval(asked.status)
    decision = {"decision": "approve", "approval_id": waits["id"], "args_hash": waits["args_hash"]}
    said = []
    for call in (
        stranger.get_task(GetTaskRequest(id="a-" + "0" * 32)),
        stranger.get_task(GetTaskRequest(id=asked.id)),
        stranger.cancel_task(CancelTaskRequest(id=asked.id)),
        streamed(stranger, request("hello", task=asked.id)),
        streamed(stranger, request("hello", task=asked.id, context=f"c-{key}")),
        streamed(stranger, request(data=decision, task=asked.id)),
        anext(aiter(stranger.subscribe(SubscribeToTaskRequest(id=asked.id)))),
    ):
        with pytest.raises(TaskNotFoundError) as refused:
            await call
        said.append(str(refused.value))
    assert len(set(said)) == 1
    listed = await stranger.list_tasks(ListTasksRequest(page_size=20))
    assert asked.id not in {task.id for task in listed.tasks}
    assert sent_mails(stack, asked.id) == []
    other = fresh("say hello")
    stack.model.script(other, plan_answer([], reply="Hello."))
    theirs = await streamed(stranger, request(other, message_id=key, context=f"c-{key}"))
    assert last(theirs).state == TaskState.TASK_STATE_COMPLETED
    assert theirs[0].task.id != asked.id
    assert message not in str(stack.model.requests_for(other))
    await stack.http.post(f"/v1/assistants/{asked.id}/cancel")


@pytest.mark.parametrize("streaming", [False, True])
async def test_wrong_credentials_reach_nothing(opened: Opened, streaming: bool) -> None:
    async with opened(key="rtn_wrong", streaming=streaming) as client:
        with pytest.raises(A2AClientError, match="401"):
            await streamed(client, request("hello"))


async def test_a_message_to_a_task_of_another_context_is_refused(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message = fresh("mail somebody")
    stack.model.script(message, plan_answer([], question="Whom?"))
    async with opened() as client:
        asked = await sent(client, request(message))
        with pytest.raises(InvalidParamsError, match="another context"):
            await sent(client, request("the guest", task=asked.id, context="elsewhere"))
        await client.cancel_task(CancelTaskRequest(id=asked.id))


@pytest.mark.parametrize("size", [-1, 0, 101])
async def test_a_list_has_a_bounded_page(opened: Opened, size: int) -> None:
    async with opened() as client:
        with pytest.raises(InvalidParamsError, match="page size"):
            await client.list_tasks(ListTasksRequest(page_size=size))


async def test_the_list_holds_the_callers_tasks(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message = fresh("say hello")
    stack.model.script(message, plan_answer([], reply="Hello."))
    async with opened() as client:
        done = await sent(client, request(message))
        found = await client.list_tasks(ListTasksRequest(page_size=5, include_artifacts=True))
    assert done.id in {task.id for task in found.tasks}


@pytest.mark.parametrize(
    "wanted",
    [
        request(),
        request("x" * 20_000),
        request("hello", context="c" * 500),
        request("hello", data={"decision": "approve"}),
    ],
)
async def test_what_says_nothing_usable_is_refused_in_words(opened: Opened, wanted: Any) -> None:
    async with opened() as client:
        with pytest.raises(A2AError) as refused:
            await sent(client, wanted)
    assert "internal error" not in str(refused.value)


@pytest.mark.parametrize("with_words", [True, False])
async def test_json_that_comes_with_a_new_task_is_read(
    stack: Stack, opened: Opened, fresh: Fresh, with_words: bool
) -> None:
    """The card offers `application/json`."""
    words, place = fresh("How far is it"), fresh("Lisbon")
    data = {"to": place, "days": 3, "by": ["train", None]}
    told = json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True)
    message = f"{words}\n\n{told}" if with_words else told
    stack.model.script(message, plan_answer([], reply="Far."))
    async with opened() as client:
        done = await sent(client, request(words if with_words else "", data=data))
    assert done.artifacts[0].parts[0].text == "Far."
    assert (await stack.view(done.id))["message"] == message


async def test_json_answers_a_question_too(stack: Stack, opened: Opened, fresh: Fresh) -> None:
    message, day = fresh("book it"), fresh("Monday")
    stack.model.script(message, plan_answer([], question="Which day?"), plan_answer([], reply="Noted."))
    async with opened() as client:
        asked = await sent(client, request(message))
        done = await sent(client, request(data={"day": day}, task=asked.id))
    assert done.artifacts[0].parts[0].text == "Noted."
    assert day in str(stack.model.requests_for(message)[-1])


async def test_a_decision_without_its_task_is_refused_in_words(opened: Opened) -> None:
    decision = {"decision": "approve", "approval_id": "ap-s1", "args_hash": "0" * 64}
    async with opened() as client:
        with pytest.raises(InvalidParamsError, match="taskId"):
            await sent(client, request("hello", data=decision))


async def test_a_caller_that_has_the_card_is_told_so(door: str) -> None:
    async with httpx.AsyncClient(base_url=door) as http:
        card = await http.get("/.well-known/agent-card.json")
        again = await http.get("/.well-known/agent-card.json", headers={"If-None-Match": card.headers["etag"]})
        other = await http.get(
            "/.well-known/agent-card.json",
            headers={"If-None-Match": card.headers["etag"], "Authorization": "Bearer rtn_wrong"},
        )
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", card.headers["etag"])
    assert "max-age" in card.headers["cache-control"]
    assert other.status_code == 200


@pytest.mark.parametrize("path", ["/a2a", "/a2a/"])
async def test_a_client_finds_the_door_with_and_without_a_slash(door: str, path: str) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "a-" + "0" * 32}}
    async with httpx.AsyncClient(base_url=door) as http:
        answer = await http.post(path, json=call, headers={"A2A-Version": "1.0"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32001)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("message/send", {}),
        ("message/send", {"message": {"role": "user"}}),
        ("message/stream", {"message": "hello"}),
        ("tasks/get", {"id": 7}),
        ("tasks/cancel", None),
    ],
)
async def test_wrong_params_of_the_version_before_are_called_so(door: str, method: str, params: Any) -> None:
    call = {"jsonrpc": "2.0", "id": "x", "method": method, "params": params}
    async with httpx.AsyncClient(base_url=door) as http:
        answer = (await http.post("/a2a", json=call)).json()
    assert (answer["id"], answer["error"]["code"]) == ("x", -32602)
    assert "/params" in answer["error"]["message"]


async def test_wrong_params_without_an_id_are_called_so_too(door: str) -> None:
    call = {"jsonrpc": "2.0", "method": "message/send", "params": {"": "not a message"}}
    async with httpx.AsyncClient(base_url=door) as http:
        answer = (await http.post("/a2a", json=call)).json()
    assert (answer["id"], answer["error"]["code"]) == (None, -32602)


async def test_the_card_says_where_and_how(door: str, new_key: NewKey) -> None:
    async with httpx.AsyncClient(base_url=door) as http:
        card = (await http.get("/.well-known/agent-card.json")).json()
        wrong = await http.get("/.well-known/agent-card.json", headers={"Authorization": "Bearer rtn_wrong"})
    assert {one["url"] for one in card["supportedInterfaces"]} == {f"{door}/a2a"}
    assert {"assistant", "email", "calendar"} <= {skill["id"] for skill in card["skills"]}
    assert [skill["id"] for skill in wrong.json()["skills"]] == ["assistant"]
    assert wrong.json()["securitySchemes"]["bearer"]


async def test_a_client_of_the_version_before_is_served_too(stack: Stack, door: str, fresh: Fresh) -> None:
    message = fresh("say hello")
    stack.model.script(message, plan_answer([], reply="Hello."))
    said = {"messageId": uuid.uuid4().hex, "role": "user", "parts": [{"kind": "text", "text": message}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": said}}
    async with httpx.AsyncClient(base_url=door, timeout=60) as http:
        task = (await http.post("/a2a", json=call)).json()["result"]
    assert (task["kind"], task["status"]["state"]) == ("task", "completed")
    assert task["artifacts"][0]["parts"][0]["text"] == "Hello."
