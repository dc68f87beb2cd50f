"""Wrong input at the front door: each is refused with a problem detail that says what to do, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from api.http.body_limits import DRAINED, MAX_BODY
from retinue.temporal.search_keys import OWNER
from retinue.testing import plan_answer
from tests.api.conftest import JSON, Fresh, Json, eventually, refused
from tests.conftest import Stack, View, pending, steps

ASSISTANTS = "/v1/assistants"
STALE = "0" * 64
MAIL = {"to": ["team@example.com"], "subject": "Lisbon", "body": "Hello"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.fixture
async def waiting(stack: Stack, fresh: Fresh) -> AsyncIterator[View]:
    """A run that waits for consent to a mail; cancelled afterwards unless it has ended."""
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([{"id": "s1", "tool": "email.send", "args": MAIL}]))
    view = await stack.asked((await stack.start(message))["id"])
    yield view
    await stack.http.post(f"{ASSISTANTS}/{view['id']}/cancel")


def decision_url(view: View, approval_id: str = "ap-s1") -> str:
    return f"{ASSISTANTS}/{view['id']}/approvals/{approval_id}"


async def still_waits(stack: Stack, view: View) -> None:
    """The run waits as before with the same approval, and consent still leads to the effect."""
    now = await stack.view(view["id"])
    assert now["status"] == "awaiting_approval"
    assert now["approvals"] == view["approvals"]
    assert (await stack.decide(now)).status_code == 200
    done = await stack.ended(view["id"])
    assert done["status"] == "completed"
    assert steps(done)["s1"]["args"] == MAIL


async def still_answers(stack: Stack, fresh: Fresh) -> None:
    """A usual request after the bad one is carried through."""
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    assert (await stack.start(message, wait_seconds=20))["reply"] == "Hello!"


START_BODIES = {
    "no message": ({}, 422, "/message: Field required"),
    "empty message": ({"message": ""}, 422, "say what you want done"),
    "blank message": ({"message": " \n\t "}, 422, "say what you want done"),
    "long message": ({"message": "x" * 20_000}, 422, "at most 10000 characters"),
    "message is a number": ({"message": 7}, 422, "/message: Input should be a valid string"),
    "message is a list": ({"message": ["hi"]}, 422, "/message: Input should be a valid string"),
    "message is null": ({"message": None}, 422, "/message: Input should be a valid string"),
    "unknown zone": ({"message": "hi", "timezone": "Mars/Base"}, 422, "use one like 'Europe/Lisbon'"),
    "zone is a path": ({"message": "hi", "timezone": "../../etc/passwd"}, 422, "use one like 'Europe/Lisbon'"),
    "zone is a folder": ({"message": "hi", "timezone": "Europe"}, 422, "use one like 'Europe/Lisbon'"),
    "zone with a null": ({"message": "hi", "timezone": "UTC\0"}, 422, "use one like 'Europe/Lisbon'"),
    "long zone": ({"message": "hi", "timezone": "x" * 1000}, 422, "/timezone: String should have at most 64"),
    "zone is a number": ({"message": "hi", "timezone": 1}, 422, "/timezone: Input should be a valid string"),
    "unknown mode": ({"message": "hi", "mode": "daemon"}, 422, "/mode: Input should be 'task'"),
    "owner given": ({"message": "hi", "owner": "bob"}, 422, "/owner: Extra inputs are not permitted"),
    "status given": ({"message": "hi", "status": "completed"}, 422, "/status: Extra inputs are not permitted"),
    "id given": ({"message": "hi", "id": "a-1"}, 422, "/id: Extra inputs are not permitted"),
    "field with slashes": ({"message": "hi", "a/b~c": 1}, 422, "/a~1b~0c: Extra inputs are not permitted"),
    "wait below zero": ({"message": "hi", "wait_seconds": -1}, 422, "/wait_seconds: Input should be greater than"),
    "wait too long": ({"message": "hi", "wait_seconds": 31}, 422, "/wait_seconds: Input should be less than"),
    "wait is a word": ({"message": "hi", "wait_seconds": "soon"}, 422, "/wait_seconds: must be a number"),
    "a list": ([], 422, "/: Input should be a valid dictionary"),
    "a text": ("hi", 422, "/: Input should be a valid dictionary"),
    "null": (None, 422, "some values are invalid"),
}


@pytest.mark.parametrize(("body", "status", "says"), START_BODIES.values(), ids=START_BODIES)
async def test_a_wrong_start_is_refused_with_what_to_do(
    stack: Stack, fresh: Fresh, body: object, status: int, says: str
) -> None:
    problem = refused(await stack.http.post(ASSISTANTS, content=json.dumps(body), headers=JSON), status, says)
    assert "Value error" not in problem["detail"]
    assert {error["pointer"] for error in problem["errors"]}
    await still_answers(stack, fresh)


RAW_BODIES = {
    "half JSON": (b'{"message":', JSON, 400, "cannot be read as JSON"),
    "no JSON": (b"message=hi", JSON, 400, "cannot be read as JSON"),
    "latin-1": ('{"message": "é"}'.encode("latin-1"), JSON, 400, "UTF-8"),
    "nested as deep as fits": (b"[" * 32_000 + b"]" * 32_000, JSON, 400, "more than 100 levels deep"),
    "nested in the message": (
        b'{"message":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        JSON,
        400,
        "more than 100 levels deep",
    ),
    "nested 100,000 times": (b"[" * 100_000 + b"]" * 100_000, JSON, 413, "64 KiB"),
    "an endless number": (b'{"message": "hi", "wait_seconds": 1' + b"0" * 6000 + b"}", JSON, 400, "cannot be read"),
    "half a character": (b'{"message": "\\ud800"}', JSON, 422, "/message"),
    "not a number": (b'{"message": "hi", "wait_seconds": NaN}', JSON, 422, "/wait_seconds"),
    "no body": (b"", JSON, 422, "/: Field required"),
    "no body and no type": (b"", {}, 415, "Content-Type: application/json"),
    "text": (b'{"message": "hi"}', {"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
    "form": (b"message=hi", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    "no type": (b'{"message": "hi"}', {}, 415, "Content-Type: application/json"),
    "64 KiB and one byte": (b'{"message": "hi"}'.ljust(64 * 1024 + 1), JSON, 413, "send less"),
    "said to be endless": (b"{}", {**JSON, "Content-Length": "99999999999"}, 413, "send less"),
    "said to be a word": (b"{}", {**JSON, "Content-Length": "many"}, 413, "send less"),
}


@pytest.mark.parametrize(("content", "headers", "status", "says"), RAW_BODIES.values(), ids=RAW_BODIES)
async def test_a_body_that_cannot_be_read_is_refused(
    stack: Stack, fresh: Fresh, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    refused(await stack.http.post(ASSISTANTS, content=content, headers=headers), status, says)
    await still_answers(stack, fresh)


async def test_the_largest_allowed_body_is_read(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Hello")
    stack.model.script(message, plan_answer(reply="Hello!"))
    content = json.dumps({"message": message}).encode().ljust(64 * 1024)
    assert (await stack.http.post(ASSISTANTS, content=content, headers=JSON)).status_code == 202


async def test_a_streamed_body_is_cut_off_at_the_limit(stack: Stack, fresh: Fresh) -> None:
    """Without a Content-Length. What is over the limit is read and dropped, and that within a bound too."""
    sent, part = 0, 64 * 1024

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(4 * DRAINED // part):
            sent += part
            yield b" " * part

    request = stack.http.build_request("POST", ASSISTANTS, content=endless(), headers=JSON)
    assert "content-length" not in request.headers
    refused(await stack.http.send(request), 413, "64 KiB")
    assert sent <= MAX_BODY + DRAINED + 2 * part
    await still_answers(stack, fresh)


async def test_ten_thousand_wide_characters_are_carried_through(stack: Stack, fresh: Fresh) -> None:
    """Four bytes each: the longest message that is allowed, in every place where it is kept."""
    message = fresh("😀" * 9_900)
    stack.model.script(message, plan_answer(reply="ok"))
    content = json.dumps({"message": message, "wait_seconds": 20}, ensure_ascii=False).encode()
    view = (await stack.http.post(ASSISTANTS, content=content, headers=JSON)).json()
    assert (view["status"], view["message"]) == ("completed", message)


UNKNOWN_IDS = {
    "well formed": "a-0123456789abcdef0123456789abcdef",
    "the registry": "retinue-registry",
    "long": "x" * 900,
    "longer than Temporal allows": "x" * 2000,
    "60 KB": "x" * 60_000,
    "unicode": "ü✓😀",
    "not UTF-8": "%ff%fe",
    "null": "a%00b",
    "line break": "a%0d%0ab",
    "parent folder": "%2e%2e",
    "path": "..%2f..%2fetc%2fpasswd",
    "quote": "a'%20OR%201=1--",
    "blank": "%20",
}
CALLS: dict[str, tuple[str, str, Json | None]] = {
    "read": ("GET", "", None),
    "read and wait": ("GET", "?wait_seconds=1", None),
    "message": ("POST", "/messages", {"message": "hi"}),
    "cancel": ("POST", "/cancel", None),
    "cancel and undo": ("POST", "/cancel", {"undo": True}),
    "undo": ("POST", "/undo", None),
    "fork": ("POST", "/fork", {"from_step": "s1"}),
    "choose": ("POST", "/steps/s1", {"choice": "skip"}),
    "receipt": ("GET", "/receipt", None),
    "messages": ("GET", "/messages", None),
    "decide": ("POST", "/approvals/ap-s1", {"decision": "approve", "args_hash": STALE}),
}


@pytest.mark.parametrize("unknown", UNKNOWN_IDS.values(), ids=UNKNOWN_IDS)
@pytest.mark.parametrize(("method", "path", "body"), CALLS.values(), ids=CALLS)
async def test_an_unknown_assistant_is_not_found(
    stack: Stack, unknown: str, method: str, path: str, body: Json | None
) -> None:
    refused(await stack.http.request(method, f"{ASSISTANTS}/{unknown}{path}", json=body), 404, "there is no")


async def test_the_registry_lives_on_after_a_try_to_cancel_it(stack: Stack, fresh: Fresh) -> None:
    refused(await stack.http.post(f"{ASSISTANTS}/retinue-registry/cancel"), 404)
    assert len((await stack.http.get("/v1/capabilities")).json()["capabilities"]) >= 5
    await still_answers(stack, fresh)


FOREIGN = {"another owner": ("AssistantWorkflow", "bob"), "another type": ("ReminderWorkflow", "local")}


@pytest.mark.parametrize(("workflow_type", "owner"), FOREIGN.values(), ids=FOREIGN)
async def test_a_workflow_that_is_not_mine_looks_like_an_unknown_one(
    stack: Stack, fresh: Fresh, workflow_type: str, owner: str
) -> None:
    """The same words as for an id that was never used, and nothing is done to it."""
    handle = await stack.temporal.start_workflow(
        workflow_type,
        {"message": fresh("A secret"), "owner": owner},
        id=f"a-{uuid.uuid4().hex}",
        task_queue="nobody-polls-this",
        search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, owner)]),
    )
    for method, path, body in CALLS.values():
        problem = refused(await stack.http.request(method, f"{ASSISTANTS}/{handle.id}{path}", json=body), 404)
        assert problem["detail"] == f"there is no assistant {handle.id!r} (GET /v1/assistants lists yours)"
    await eventually(lambda: stack.temporal.count_workflows(f"WorkflowId = '{handle.id}'"), lambda found: found.count)
    ids = {item["id"] for item in (await stack.http.get(ASSISTANTS, params={"limit": 100})).json()["assistants"]}
    assert handle.id not in ids
    untouched = ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]
    kinds = [EventType.Name(event.event_type) for event in (await handle.fetch_history()).events]
    assert kinds == [f"EVENT_TYPE_{name}" for name in untouched]
    await handle.terminate()


def approve(view: View, **changes: object) -> Json:
    return {"decision": "approve", "args_hash": pending(view)[0]["args_hash"], **changes}


def edit(view: View, args: object, **changes: object) -> Json:
    return approve(view, decision="edit", args=args, **changes)


DECISIONS: dict[str, tuple[Json, int, str]] = {
    "nothing": ({"decision": None, "args_hash": None}, 422, "/decision"),
    "unknown decision": ({"decision": "maybe"}, 422, "'approve', 'reject' or 'edit'"),
    "wrong hash": ({"args_hash": STALE}, 409, "read it again"),
    "empty hash": ({"args_hash": ""}, 409, "read it again"),
    "foreign letters in the hash": ({"args_hash": "é" * 64}, 409, "read it again"),
    "long hash": ({"args_hash": "0" * 65}, 422, "/args_hash: String should have at most 64"),
    "hash is a number": ({"args_hash": 7}, 422, "/args_hash: Input should be a valid string"),
    "approve with args": ({"args": MAIL}, 422, "are allowed with the decision 'edit' only"),
    "reject with args": ({"decision": "reject", "args": MAIL}, 422, "are allowed with the decision 'edit' only"),
    "edit without args": ({"decision": "edit"}, 422, "needs the new `args`, all of them"),
    "edit with no args": ({"decision": "edit", "args": {}}, 422, "'to' is a required property"),
    "edit that lacks one": (
        {"decision": "edit", "args": {"to": ["a@example.com"], "subject": "x"}},
        422,
        "'body' is a required property",
    ),
    "edit of the wrong type": ({"decision": "edit", "args": {**MAIL, "to": 7}}, 422, "to: 7 is not of type 'array'"),
    "edit with an unknown arg": ({"decision": "edit", "args": {**MAIL, "bribe": 1}}, 422, "'bribe' was unexpected"),
    "edit nested deeply": ({"decision": "edit", "args": {**MAIL, "body": nested(90)}}, 422, "body"),
    "edit nested too deeply": (
        {"decision": "edit", "args": {**MAIL, "body": nested(150)}},
        400,
        "more than 100 levels deep",
    ),
    "edit that is a list": ({"decision": "edit", "args": [MAIL]}, 422, "/args: Input should be a valid dictionary"),
    "edit with NaN": ({"decision": "edit", "args": {**MAIL, "body": float("nan")}}, 422, "send plain JSON values"),
    "edit with half a character": ({"decision": "edit", "args": {**MAIL, "body": "\ud800"}}, 422, "plain JSON values"),
    "long comment": ({"comment": "x" * 2001}, 422, "/comment: String should have at most 2000 characters"),
    "by given": ({"by": "boss"}, 422, "/by: Extra inputs are not permitted"),
    "status given": ({"status": "approved"}, 422, "/status: Extra inputs are not permitted"),
    "wait too long": ({"wait_seconds": 31}, 422, "/wait_seconds"),
}


@pytest.mark.parametrize(("changes", "status", "says"), DECISIONS.values(), ids=DECISIONS)
async def test_a_wrong_decision_changes_nothing(
    stack: Stack, waiting: View, changes: Json, status: int, says: str
) -> None:
    content = json.dumps(approve(waiting, **changes))
    refused(await stack.http.post(decision_url(waiting), content=content, headers=JSON), status, says)
    await still_waits(stack, waiting)


@pytest.mark.parametrize(
    ("approval_id", "status", "says"),
    [
        ("ap-s9", 404, "waiting: ap-s1"),
        ("AP-S1", 404, "waiting: ap-s1"),
        ("ü%00", 404, "waiting: ap-s1"),
        ("x" * 101, 422, "/path/approval_id: String should have at most 100 characters"),
        ("..%2fap-s1", 404, "no such address"),
    ],
)
async def test_an_unknown_approval_changes_nothing(
    stack: Stack, waiting: View, approval_id: str, status: int, says: str
) -> None:
    refused(await stack.http.post(decision_url(waiting, approval_id), json=approve(waiting)), status, says)
    await still_waits(stack, waiting)


async def test_a_decision_of_64_kib_and_more_never_reaches_the_run(stack: Stack, waiting: View) -> None:
    """One such update would kill a workflow."""
    body = edit(waiting, {**MAIL, "body": "x" * (3 * 1024 * 1024)})
    refused(await stack.http.post(decision_url(waiting), json=body), 413, "64 KiB")
    await still_waits(stack, waiting)


async def test_an_approval_cannot_be_decided_twice(stack: Stack, waiting: View) -> None:
    """The second is told who decided, whatever it says, and whether or not the run has ended."""
    assert (await stack.decide(waiting)).status_code == 200
    refused(await stack.decide(waiting, "reject"), 409)
    done = await stack.ended(waiting["id"])
    assert done["approvals"][0]["status"] == "approved"
    refused(await stack.decide(waiting), 409, "has ended")
    assert await stack.view(waiting["id"]) == done


async def test_the_second_decision_of_a_living_run_is_told_who_made_the_first(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail team@example.com twice")
    mails = [{"id": name, "tool": "email.send", "args": MAIL} for name in ("s1", "s2")]
    stack.model.script(message, plan_answer(mails))
    view = await stack.asked((await stack.start(message))["id"], count=2)
    assert (await stack.decide(view)).status_code == 200
    refused(await stack.decide(view, "reject"), 409, "already approved by local; nothing was changed")
    assert pending(await stack.view(view["id"]))[0]["id"] == "ap-s2"
    await stack.http.post(f"{ASSISTANTS}/{view['id']}/cancel")


async def test_after_cancel_nothing_can_be_decided_said_or_cancelled(stack: Stack, waiting: View) -> None:
    url = f"{ASSISTANTS}/{waiting['id']}"
    assert (await stack.http.post(f"{url}/cancel")).status_code == 202
    done = await stack.ended(waiting["id"])
    refused(await stack.decide(waiting), 409, "has ended")
    refused(await stack.http.post(f"{url}/messages", json={"message": "hi"}), 409, "has ended")
    refused(await stack.http.post(f"{url}/cancel"), 409, "nothing to cancel")
    assert await stack.view(waiting["id"]) == done


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"message": "hello?"}, 409, "has not asked anything"),
        ({"message": " "}, 422, "say what you want done"),
        ({"message": "x" * 10_001}, 422, "at most 10000 characters"),
        ({"text": "hi"}, 422, "/message: Field required"),
        ({"message": "hi", "role": "assistant"}, 422, "/role: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_message_changes_nothing(stack: Stack, waiting: View, body: Json, status: int, says: str) -> None:
    refused(await stack.http.post(f"{ASSISTANTS}/{waiting['id']}/messages", json=body), status, says)
    await still_waits(stack, waiting)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"status": "asleep"}, "/query/status: Input should be 'planning'"),
        ({"status": "completed' OR WorkflowType='RegistryWorkflow"}, "/query/status"),
        ({"limit": "0"}, "/query/limit: Input should be greater than or equal to 1"),
        ({"limit": "101"}, "/query/limit: Input should be less than or equal to 100"),
        ({"limit": "many"}, "/query/limit: Input should be a valid integer"),
        ({"cursor": ""}, "start again without one"),
        ({"cursor": "nonsense"}, "start again without one"),
        ({"cursor": "!!!"}, "start again without one"),
        ({"cursor": "ü"}, "start again without one"),
        ({"cursor": "bm9uZQ=="}, "start again without one"),
        ({"cursor": "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMCBhLTE="}, "start again without one"),
        ({"cursor": "x" * 5000}, "/query/cursor: String should have at most"),
    ],
)
async def test_a_wrong_list_query_is_refused(stack: Stack, query: dict[str, str], says: str) -> None:
    refused(await stack.http.get(ASSISTANTS, params=query), 422, says)
    assert (await stack.http.get(ASSISTANTS)).status_code == 200


@pytest.mark.parametrize("seconds", ["-1", "31", "soon", "NaN"])
async def test_a_wrong_wait_is_refused(stack: Stack, waiting: View, seconds: str) -> None:
    url = f"{ASSISTANTS}/{waiting['id']}"
    refused(await stack.http.get(url, params={"wait_seconds": seconds}), 422, "/query/wait_seconds")


@pytest.mark.parametrize(
    "key",
    [b"", b" ", b"two words", b"x" * 201, b"x" * 10_000, b"a\x01b", b"a\r\nX-Owner: bob", "ü".encode(), b"\xff"],
    ids=["empty", "blank", "words", "201", "10 kB", "control", "CRLF", "UTF-8", "no UTF-8"],
)
async def test_a_bad_idempotency_key_is_refused_and_starts_nothing(stack: Stack, fresh: Fresh, key: bytes) -> None:
    message = fresh("Never started")
    response = await stack.http.post(ASSISTANTS, json={"message": message}, headers=[(b"Idempotency-Key", key)])
    refused(response, 400, "1 to 200 visible ASCII characters")
    await still_answers(stack, fresh)
    assert stack.model.requests_for(message) == []


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("PUT", ASSISTANTS, 405, "does not support this method"),
        ("DELETE", f"{ASSISTANTS}/a-1", 405, "does not support this method"),
        ("GET", f"{ASSISTANTS}/a-1/approvals/ap-s1", 405, "does not support this method"),
        ("GET", "/v1/nothing", 404, "no such address"),
        ("GET", "/%2e%2e/etc/passwd", 404, "no such address"),
    ],
)
async def test_a_wrong_address_or_method_is_a_problem_too(
    stack: Stack, method: str, path: str, status: int, says: str
) -> None:
    refused(await stack.http.request(method, path), status, says)


async def test_many_bad_requests_at_once_harm_nobody(stack: Stack, fresh: Fresh, waiting: View) -> None:
    def bad(number: int) -> asyncio.Future[httpx.Response]:
        content = [b"[" * 32_000, b"x" * 70_000, b'{"message": 1}'][number % 3]
        return asyncio.ensure_future(stack.http.post(decision_url(waiting), content=content, headers=JSON))

    codes = {response.status_code for response in await asyncio.gather(*map(bad, range(60)))}
    assert codes == {400, 413, 422}
    await still_answers(stack, fresh)
    await still_waits(stack, waiting)


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), ("http://localhost", 404)]
)
async def test_another_sites_page_changes_nothing(stack: Stack, origin: str, status: int) -> None:
    """`cancel` has no body, so a form of any page could send it; a browser says which page it was."""
    response = await stack.http.post("/v1/assistants/a-nowhere/cancel", headers={"Origin": origin})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1:80.evil.example", 403),
        ("", 403),
        ("[::1]:8000", 200),
        ("localhost:9", 200),
    ],
)
async def test_a_name_that_is_not_ours_reads_nothing(stack: Stack, host: str, status: int) -> None:
    """A stranger's name can be made to lead to this machine; a page under it would be of our own origin."""
    response = await stack.http.get("/v1/approvals", headers={"Host": host, "Origin": f"http://{host}"})
    assert response.status_code == status


async def test_a_probe_may_come_by_any_name(stack: Stack) -> None:
    assert (await stack.http.get("/healthz", headers={"Host": "10.0.0.7:8000"})).status_code == 200
