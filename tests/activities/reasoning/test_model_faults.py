"""Every way in which a language model can fail, through the front door: bounded, typed, told to the person, no secrets.

The runs go on side by side, since most of their time is the pause between attempts; the tests then look at what became
of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.reasoning.contract import PlanRequest
from activities.reasoning.model import LanguageModel
from activities.reasoning.models import ReasoningBase
from activities.reasoning.plan_format import AnswerFormat
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import TranscriptStore
from activities.reasoning.tools import ReasoningTools
from retinue.activity_adapter import build_activities
from retinue.capability import Manifest
from retinue.conversation import Message, Role
from retinue.errors import (
    CutAnswer,
    MalformedAnswer,
    RefusedAnswer,
    RetinueError,
    ServiceBusy,
    ServiceRefused,
    ServiceUnavailable,
)
from retinue.store import Store
from retinue.testing import Answer, ScriptedModel, plan_answer
from tests.conftest import ENDED, Stack, View, pending, steps
from tests.days import SOON

pytestmark = pytest.mark.xdist_group("model-faults")  # the runs are made once, in this order
KEY = "sk-canary-0123456789"
ECHO = json.dumps(
    {"error": {"message": f"Incorrect API key provided: {KEY}. Traceback (most recent call last)"}}
).encode()
GOOD = plan_answer(reply="Hello!")
FORECAST = {
    "id": "s1",
    "tool": "weather.forecast",
    "args": {"place": "Lisbon", "start": SOON, "end": SOON},
}
MAIL: dict[str, Any] = {
    "id": "s2",
    "tool": "email.send",
    "args": {"to": ["team@example.com"], "subject": "x", "body": "y"},
}


def using(reference: dict[str, str], **fields: Any) -> dict[str, Any]:
    """A mail whose text is taken from another step."""
    return {**MAIL, "args": {**MAIL["args"], "body": {"$from": "s1", **reference}}, **fields}


def completion(**choice: Any) -> Answer:
    """A chat completion of one odd choice, as raw bytes."""
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, **choice}]}
    return Answer(raw=json.dumps(body).encode())


@dataclass(frozen=True)
class Fault:
    """What the model answers, and what must come of it. A list of answers that runs out is refused with 400."""

    answers: Sequence[Answer]
    requests: int
    status: str = "failed"
    error: str | None = None
    says: str = ""
    notice: str | None = None
    at_least: float = 0
    replies: Sequence[Answer] = ()


BROKEN_PLANS = {
    "a plan in a circle": (
        plan_answer([{**FORECAST, "depends_on": ["s2"]}, {**MAIL, "depends_on": ["s1"]}]),
        "wait for each other in a circle",
    ),
    "an unknown tool": (plan_answer([{**FORECAST, "tool": "bank.transfer"}]), "there is no tool 'bank.transfer'"),
    "an internal tool": (plan_answer([{**FORECAST, "tool": "reasoning.plan"}]), "there is no tool 'reasoning.plan'"),
    "invalid arguments": (plan_answer([{**FORECAST, "args": {"place": 7}}]), "step s1"),
    "a reference to no step": (plan_answer([MAIL, using({"path": "/text"}, id="s3")]), "s1, which is no step"),
    "a reference to no field": (plan_answer([FORECAST, using({"path": "/secret"})]), "'/secret' is not a field"),
    "truncated JSON": (Answer('{"steps": [{"id": "s1", "to'), "it ends in the middle"),
    "prose": (Answer("Sure! Here is your plan."), "holds no JSON object"),
    "a list": (Answer("[]"), "made no valid plan"),
    "nothing to do": (plan_answer(), "no steps, no question and no reply"),
    "two steps of one id": (plan_answer([FORECAST, {**MAIL, "id": "s1"}]), "two steps have the id s1"),
    "101 steps": (plan_answer([{**FORECAST, "id": f"s{n}"} for n in range(101)]), "at most 100"),
    "nested 8,000 times": (
        Answer('{"steps": [{"id": "s1", "tool": "weather.current", "args": ' + '{"a":' * 8_000),
        "made no valid plan",
    ),
}

FAULTS: dict[str, Fault] = {
    "429 once, wait 1": Fault(
        [Answer(status=429, headers={"Retry-After": "1"}), GOOD],
        requests=2,
        status="completed",
        at_least=1,
    ),
    "429 once, wait 4": Fault(
        [Answer(status=429, headers={"Retry-After": "4"}), GOOD],
        requests=2,
        status="completed",
        at_least=4,
    ),
    "429, wait 600": Fault(
        [Answer(status=429, headers={"Retry-After": "600"}), GOOD],
        requests=1,
        error="ServiceBusy",
        says="busy and asks to wait 600 seconds",
    ),
    "429 always": Fault(
        [Answer(status=429, headers={"Retry-After": "1"})] * 9,
        requests=4,
        error="ServiceBusy",
        says="busy",
        notice="reasoning.plan failed 1 times and is retried: the language model is busy",
        at_least=3,
    ),
    "500 always": Fault(
        [Answer(status=500, raw=ECHO)] * 9,
        requests=4,
        error="ServiceUnavailable",
        says="failed with status 500",
        notice="failed with status 500",
        at_least=5,
    ),
    "503, then good": Fault([Answer(status=503), GOOD], requests=2, status="completed", at_least=1),
    "401 that repeats the key": Fault(
        [Answer(status=401, raw=ECHO)] * 9, requests=1, error="ServiceRefused", says="check OPENAI_API_KEY"
    ),
    "403": Fault([Answer(status=403)] * 9, requests=1, error="ServiceRefused", says="check OPENAI_API_KEY"),
    "400": Fault(
        [Answer(status=400, raw=ECHO)] * 9,
        requests=1,
        error="ServiceRefused",
        says="the conversation may be too long",
    ),
    "404": Fault([Answer(status=404)] * 9, requests=1, error="ServiceRefused", says="check RETINUE_MODEL"),
    "silence, then good": Fault(
        [Answer(GOOD.text, delay=6), GOOD],
        requests=2,
        status="completed",
        at_least=5,
    ),
    "truncated body": Fault(
        [Answer(raw=b'{"id": "x", "choices": [{"index": 0, "mess')] * 9,
        requests=4,
        error="MalformedAnswer",
        says="did not answer with a chat completion",
        notice="did not answer with a chat completion",
    ),
    "HTML": Fault(
        [Answer(raw=b"<html>Sign in</html>", headers={"Content-Type": "text/html"})] * 9,
        requests=4,
        error="MalformedAnswer",
        says="the language model's service",
        notice="the language model's service",
    ),
    "a JSON list": Fault([Answer(raw=b"[]")] * 9, requests=4, error="MalformedAnswer", says="the language model's"),
    "no choices": Fault(
        [Answer(raw=b'{"id": "x", "object": "chat.completion", "choices": []}'), GOOD],
        requests=2,
        status="completed",
    ),
    "choices is a number": Fault([Answer(raw=b'{"id": "x", "choices": 7}'), GOOD], requests=2, status="completed"),
    "no message": Fault([completion(finish_reason="stop"), GOOD], requests=2, status="completed"),
    "a refusal without content": Fault(
        [completion(finish_reason="stop", message={"role": "assistant", "content": None, "refusal": "No."}), GOOD],
        requests=1,
        error="RefusedAnswer",
        says="the language model refused: No.",
    ),
    "odd usage": Fault(
        [Answer(raw=json.dumps(json.loads(bytes(GOOD.response().body)) | {"usage": {"prompt_tokens": "?"}}).encode())],
        requests=1,
        status="completed",
    ),
    "cut at the token limit": Fault(
        [Answer(GOOD.text, finish_reason="length")] * 9, requests=1, error="CutAnswer", says="token limit"
    ),
    "withheld": Fault(
        [Answer(GOOD.text, finish_reason="content_filter")] * 9, requests=1, error="CutAnswer", says="withheld"
    ),
    "empty": Fault([Answer(" \n "), GOOD], requests=2, status="completed"),
    "3 MiB": Fault(
        [Answer("x" * 3 * 1024 * 1024)] * 9,
        requests=1,
        error="CutAnswer",
        says="at most 100000 are read",
    ),
    "3 MiB of JSON": Fault(
        [plan_answer(reply="x" * 3 * 1024 * 1024)] * 9, requests=1, error="CutAnswer", says="at most 100000 are read"
    ),
    **{
        f"{name}, always": Fault([answer] * 9, requests=3, error="NoPlan", says=says)
        for name, (answer, says) in BROKEN_PLANS.items()
    },
    **{
        f"{name}, mended": Fault([answer, GOOD], requests=2, status="completed")
        for name, (answer, _) in BROKEN_PLANS.items()
    },
    "500 when answering": Fault(
        [plan_answer([FORECAST])],
        replies=[Answer(status=500, raw=ECHO)] * 9,
        requests=5,
        status="completed",
        notice="failed with status 500",
        at_least=5,
    ),
    "cut when answering": Fault(
        [plan_answer([FORECAST])],
        replies=[Answer("too lo", finish_reason="length")] * 9,
        requests=2,
        status="completed",
    ),
    "3 MiB when answering": Fault(
        [plan_answer([FORECAST])],
        replies=[Answer("x" * 3 * 1024 * 1024)] * 9,
        requests=2,
        status="completed",
        notice="at most 100000 are read",
    ),
}
FAILED = {name for name, fault in FAULTS.items() if fault.status == "failed"}
NOTICED = {name for name, fault in FAULTS.items() if fault.notice}
PAUSING = {name for name in FAULTS if name.startswith("429")}
ANSWERED_BY_CODE = {name for name, fault in FAULTS.items() if fault.replies and fault.notice}


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    view: View
    notices: set[str]
    seconds: float
    requests: int
    history: WorkflowHistory


Outcomes = dict[str, Outcome]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def waited(stack: Stack) -> Outcomes:
    """The runs whose pauses all others would keep, one after the other."""
    mark, found = uuid.uuid4().hex[:8], {}
    for name in sorted(PAUSING):
        found[name] = await _outcome(stack, f"{name} #{mark}", FAULTS[name])
        _forget_pauses(stack)
    return found


async def test_runs_that_were_told_to_wait_end(waited: Outcomes) -> None:
    """They come first, and by themselves, so that they have the time of a test for themselves."""
    assert set(waited) == PAUSING


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outcomes(stack: Stack, waited: Outcomes) -> Outcomes:
    """All runs; the others sixteen at a time, watched to their ends."""
    mark = uuid.uuid4().hex[:8]
    gate = asyncio.Semaphore(16)

    async def one(name: str, fault: Fault) -> Outcome:
        async with gate:
            return await _outcome(stack, f"{name} #{mark}", fault)

    together = {name: fault for name, fault in FAULTS.items() if name not in waited}
    found = await asyncio.gather(*[one(name, fault) for name, fault in together.items()])
    return waited | dict(zip(together, found, strict=True))


def _forget_pauses(stack: Stack) -> None:
    with contextlib.closing(sqlite3.connect(stack.data / "reasoning.db", timeout=5)) as database:
        database.execute("DELETE FROM pauses")
        database.commit()


async def _outcome(stack: Stack, message: str, fault: Fault) -> Outcome:
    stack.model.script(message, *fault.answers, replies=fault.replies)
    began = time.monotonic()
    assistant_id = (await stack.start(message))["id"]
    view = await stack.view(assistant_id)
    notices = set(view["notices"])
    while view["status"] not in ENDED and time.monotonic() - began < 50:
        await asyncio.sleep(0.5)
        view = await stack.view(assistant_id)
        notices |= set(view["notices"])
    execution = await stack.temporal.get_workflow_handle(assistant_id).describe()
    assert execution.close_time, view
    return Outcome(
        view=view,
        notices=notices,
        seconds=(execution.close_time - execution.start_time).total_seconds(),
        requests=len(stack.model.requests_for(message)),
        history=await stack.temporal.get_workflow_handle(assistant_id).fetch_history(),
    )


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_as_it_should_in_bounded_requests_and_time(outcomes: Outcomes, name: str) -> None:
    fault, outcome = FAULTS[name], outcomes[name]
    assert (outcome.view["status"], outcome.requests) == (fault.status, fault.requests), outcome.view["error"]
    assert fault.at_least <= outcome.seconds <= 40


@pytest.mark.parametrize("name", sorted(FAILED))
async def test_a_failure_is_typed_and_told(outcomes: Outcomes, name: str) -> None:
    error = outcomes[name].view["error"]
    assert error["type"] == FAULTS[name].error
    assert FAULTS[name].says in error["message"]
    assert "language model" in error["message"] or "knows no model" in error["message"]
    assert len(error["message"]) < 2000
    assert outcomes[name].view["reply"] is None


@pytest.mark.parametrize("name", sorted(NOTICED))
async def test_the_person_sees_why_it_takes_so_long(outcomes: Outcomes, name: str) -> None:
    wanted = FAULTS[name].notice
    assert wanted
    assert any(wanted in notice for notice in outcomes[name].notices), outcomes[name].notices


@pytest.mark.parametrize("name", FAULTS)
async def test_no_secret_no_trace_and_nothing_large_stays_in_the_history(outcomes: Outcomes, name: str) -> None:
    history = outcomes[name].history
    payloads = [payload for event in history.events for payload in _payloads(event)]
    assert payloads
    readable = history.to_json() + b"\n".join(payloads).decode()
    for forbidden in (KEY, "Traceback", 'File "'):
        assert forbidden not in readable
    assert max(map(len, payloads)) <= 256 * 1024
    assert KEY not in json.dumps(outcomes[name].view)


def _payloads(message: Any) -> Iterator[bytes]:
    """The data of all payloads anywhere inside a history event."""
    if message.DESCRIPTOR.full_name == "temporal.api.common.v1.Payload":
        yield message.data
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [item for item in value.values() if hasattr(item, "DESCRIPTOR")]
        else:
            inner = list(value) if hasattr(value, "__len__") else [value]
        for item in inner:
            yield from _payloads(item)


@pytest.mark.parametrize("name", sorted(ANSWERED_BY_CODE))
async def test_what_was_done_stays_done_when_the_answer_fails(outcomes: Outcomes, name: str) -> None:
    """Code then says what was done, and the notices say why it was not the model."""
    view, notice = outcomes[name].view, FAULTS[name].notice
    assert notice
    assert steps(view)["s1"]["status"] == "completed"
    assert view["reply"] == (
        "The language model could not write an answer. This is what was done:\n- weather.forecast: completed"
    )
    assert [text for text in view["notices"] if notice in text]
    assert view["error"] is None


def test_an_answer_that_was_cut_is_shown_with_a_mark(outcomes: Outcomes) -> None:
    view = outcomes["cut when answering"].view
    assert (view["reply"], view["notices"]) == ("too lo\n\n(cut at the model's limit)", [])


async def test_an_effect_stays_done_and_told_when_the_answer_fails(stack: Stack, fresh: Any) -> None:
    message = fresh("Mail team@example.com")
    stack.model.script(message, plan_answer([MAIL]), replies=[Answer(status=401, raw=ECHO)])
    waiting = await stack.asked((await stack.start(message))["id"])
    assert (await stack.decide(waiting)).status_code == 200
    done = await stack.ended(waiting["id"])
    assert (done["status"], pending(done)) == ("completed", [])
    assert "- email.send: completed" in done["reply"]
    assert done["notices"] == [notice for notice in done["notices"] if "OPENAI_API_KEY" in notice] != []


# --- the model and its activity alone, where waiting through the front door would take too long


@pytest.fixture
async def quick(model: ScriptedModel) -> AsyncIterator[LanguageModel]:
    """A model with a timeout of 3 s: short, yet a busy machine answers within it."""
    settings = ReasoningSettings(api_key=KEY, base_url=model.url, model="scripted", timeout=3)
    language_model = LanguageModel(settings)
    yield language_model
    await language_model.close()


def untouched() -> TranscriptStore:
    """A store that nothing may open: its folder is no folder."""
    return TranscriptStore(
        Store("sqlite+aiosqlite:////dev/null/x.db", ReasoningBase.metadata, owner="reasoning", with_ledger=False)
    )


async def ask(model: LanguageModel, message: str) -> str:
    text, _ = await model.complete(
        [{"role": "user", "content": message}], answer_format=AnswerFormat("plan", {"type": "object"})
    )
    return text


async def asked(model: LanguageModel, script: ScriptedModel, answer: Answer) -> RetinueError:
    """The error that an answer leads to."""
    message = uuid.uuid4().hex
    script.script(message, answer)
    with pytest.raises(RetinueError) as caught:
        await ask(model, message)
    assert len(script.requests_for(message)) == 1
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (Answer("late", delay=6), ServiceUnavailable, True),
        (Answer(status=500), ServiceUnavailable, True),
        (Answer(status=408), ServiceUnavailable, True),
        (Answer(status=409), ServiceUnavailable, True),
        (Answer(status=529), ServiceUnavailable, True),
        (Answer(status=429), ServiceBusy, True),
        (Answer(status=422), ServiceRefused, False),
        (Answer(status=413), ServiceRefused, False),
        (Answer(raw=b""), MalformedAnswer, True),
        (Answer(raw=b"null"), MalformedAnswer, True),
        (Answer(raw=b"\xff\xfe"), MalformedAnswer, True),
        (Answer(raw=b"{}"), MalformedAnswer, True),
        (Answer(raw=b"[]"), MalformedAnswer, True),
        (Answer(raw=b'{"choices": []}'), MalformedAnswer, True),
        (Answer(raw=b'{"choices": 7}'), MalformedAnswer, True),
        (Answer(raw=b'{"choices": {"0": 1}}'), MalformedAnswer, True),
        (Answer(" \n "), MalformedAnswer, True),
        (completion(finish_reason="stop"), MalformedAnswer, True),
        (completion(finish_reason="stop", message={"content": None, "refusal": "no"}), RefusedAnswer, False),
        (completion(finish_reason="length", message={"content": "x"}), CutAnswer, False),
        (completion(finish_reason="stop", message={"content": ["x"]}), MalformedAnswer, True),
        (completion(finish_reason="stop", message="x"), MalformedAnswer, True),
    ],
)
async def test_each_answer_has_its_error(
    quick: LanguageModel, model: ScriptedModel, answer: Answer, kind: type[RetinueError], retryable: bool
) -> None:
    began = time.monotonic()
    error = await asked(quick, model, answer)
    assert (type(error), error.retryable) == (kind, retryable)
    assert time.monotonic() - began < 5.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("120", 120),
        ("600", 600),
        ("", 5),
        ("soon", 5),
        ("nan", 5),
        ("inf", 5),
        ("1e999", 5),
        ("Mon, 32 Foo 2026 99:99:99 GMT", 5),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
async def test_retry_after_is_read_in_every_form(
    quick: LanguageModel, model: ScriptedModel, value: str, seconds: float
) -> None:
    error = await asked(quick, model, Answer(status=429, headers={"Retry-After": value}))
    assert isinstance(error, ServiceBusy)
    assert error.retry_after == seconds
    assert error.retryable is (seconds <= 120)


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
async def test_retry_after_may_be_a_date(quick: LanguageModel, model: ScriptedModel, zone: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True).replace("GMT", zone)
    error = await asked(quick, model, Answer(status=429, headers={"Retry-After": date}))
    assert isinstance(error, ServiceBusy)
    assert error.retry_after == pytest.approx(60, abs=3)


async def test_a_model_that_is_not_there_is_unavailable() -> None:
    nobody = LanguageModel(ReasoningSettings(api_key=KEY, base_url="http://127.0.0.1:9/v1", timeout=3))
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1 cannot be reached"):
        await ask(nobody, "hi")
    await nobody.close()


@pytest.mark.parametrize(
    ("answer", "kind", "final", "pause"),
    [
        (Answer("late", delay=6), "ServiceUnavailable", False, None),
        (Answer(status=429, headers={"Retry-After": "600"}), "ServiceBusy", True, None),
        (Answer(status=429, headers={"Retry-After": "60"}), "ServiceBusy", False, timedelta(seconds=60)),
        (Answer(status=401, raw=ECHO), "ServiceRefused", True, None),
        (Answer("x", finish_reason="length"), "CutAnswer", True, None),
        (Answer(""), "MalformedAnswer", False, None),
    ],
)
async def test_the_activity_says_whether_trying_again_may_help(
    quick: LanguageModel, model: ScriptedModel, answer: Answer, kind: str, final: bool, pause: timedelta | None
) -> None:
    """And after which pause; Temporal then does what the error says."""
    message = uuid.uuid4().hex
    model.script(message, answer)

    async def none(max_age: float) -> list[Manifest]:
        return []

    plan = next(
        run
        for run in build_activities(ReasoningTools(quick, none, untouched()))
        if "plan" in run.__temporal_activity_definition.name  # type: ignore[attr-defined]  # set by @activity.defn
    )
    request = PlanRequest(messages=[Message(role=Role.USER, text=message)], timezone="UTC", now=datetime.now(UTC))
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(plan, request.model_dump(mode="json"))
    assert (caught.value.type, caught.value.non_retryable) == (kind, final)
    assert caught.value.next_retry_delay == pause
    assert KEY not in str(caught.value)
