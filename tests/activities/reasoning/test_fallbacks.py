"""Several models: which one answers, when another steps in, how often they are asked, and what it cost."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.reasoning.contract import ComposeRequest, ConverseRequest
from activities.reasoning.model import LanguageModel
from activities.reasoning.settings import Duty, ReasoningSettings
from activities.reasoning.tools import ReasoningTools
from retinue.activity_adapter import build_activities
from retinue.conversation import ModelUse, Transcript, Usage
from retinue.errors import CutAnswer, RetinueError, ServiceBusy, ServiceRefused, ServiceUnavailable
from retinue.testing import Answer, activities_by_name
from tests.activities.reasoning.conftest import NOW, fixed_manifests, store_at
from tests.activities.reasoning.endpoints import Endpoints, many_models

TEXT = [{"role": "user", "content": "hello"}]
TOO_LONG = Answer(status=400, raw=json.dumps({"error": {"code": "context_length_exceeded", "message": "x"}}).encode())
NO_QUOTA = Answer(status=429, raw=json.dumps({"error": {"code": "insufficient_quota", "message": "x"}}).encode())
HTML = Answer(raw=b"<html>Sign in</html>")


def busy(seconds: float) -> Answer:
    return Answer(status=429, headers={"Retry-After": str(seconds)})


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as running:
        running.says("good", Answer("from good"))
        yield running


Models = Callable[..., LanguageModel]


@pytest.fixture
async def models(endpoints: Endpoints) -> AsyncIterator[Models]:
    """Makes language models with settings of their own."""
    made: list[LanguageModel] = []

    def one(listed: str, **settings: Any) -> LanguageModel:
        said = {"api_key": "sk-canary", "base_url": endpoints.url, "timeout": 2, "model": listed, **settings}
        made.append(LanguageModel(ReasoningSettings(**said)))
        return made[-1]

    yield one
    for model in made:
        await model.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=500), "failed with status 500"),
        (Answer(status=401), "refused the key"),
        (Answer(status=404), "knows no model 'first'"),
        (NO_QUOTA, "its quota is used up"),
        (busy(60), "it is busy and asked for a pause"),
        (Answer(status=503, headers={"Retry-After": "60"}), "it is busy and asked for a pause"),
        (Answer("late", delay=4), "did not answer within 2 seconds"),
        (HTML, "did not answer with a chat completion"),
        (TOO_LONG, "the conversation is longer than the language model at 127.0.0.1 reads"),
        (Answer(status=400), "refused the request with status 400"),
    ],
)
async def test_the_next_model_steps_in_at_once_and_it_is_told(
    endpoints: Endpoints, models: Models, answer: Answer, reason: str
) -> None:
    endpoints.says("first", answer)
    began = time.monotonic()
    text, usage = await models("first, good").complete(TEXT)
    assert (text, endpoints.order()) == ("from good", ["first", "good"])
    assert time.monotonic() - began < 3.5
    assert [reason in told and told.startswith("good answered instead of first: ") for told in usage.instead] == [True]
    assert usage.requests == 2
    first = usage.models["first"].model_copy(update={"seconds": 0})
    assert first == ModelUse(requests=1, input_tokens=first.estimated_tokens, estimated_tokens=first.estimated_tokens)
    assert usage.models["good"].model_copy(update={"seconds": 0}) == ModelUse(
        requests=1, input_tokens=10, output_tokens=5
    )


async def test_a_short_pause_is_waited_for(endpoints: Endpoints, models: Models) -> None:
    endpoints.says("first", busy(5))
    with pytest.raises(ServiceBusy) as caught:
        await models("first, good").complete(TEXT)
    assert (caught.value.retry_after, endpoints.order()) == (5, ["first"])


async def test_how_long_a_pause_may_be_is_a_setting(endpoints: Endpoints, models: Models) -> None:
    endpoints.says("first", busy(5))
    text, _ = await models("first, good", patience=2).complete(TEXT)
    assert text == "from good"


async def test_a_model_that_failed_stands_back_and_it_is_still_told(endpoints: Endpoints, models: Models) -> None:
    endpoints.says("first", Answer(status=500))
    model = models("first, good")
    await model.complete(TEXT)
    _, usage = await model.complete(TEXT)
    assert endpoints.order() == ["first", "good", "good"]
    assert (usage.requests, "failed with status 500" in usage.instead[0]) == (1, True)


async def test_a_first_choice_that_answers_is_nothing_to_tell(endpoints: Endpoints, models: Models) -> None:
    _, usage = await models("good, first").complete(TEXT)
    assert (usage.instead, list(usage.models)) == ([], ["good"])


async def test_what_does_not_fit_goes_only_to_a_model_that_reads_more(
    endpoints: Endpoints, models: Models, tmp_path: Any
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f"""
[models.small]
base_url = "{endpoints.url}"
model = "good"
max_input_tokens = 100
[models.large]
base_url = "{endpoints.url}"
model = "large"
max_input_tokens = 100000
""")
    endpoints.says("first", TOO_LONG)
    endpoints.says("large", Answer("from large"))
    with pytest.raises(ServiceRefused, match="the conversation is longer than"):
        await models("first, small", max_input_tokens=200, models=file).complete(TEXT)
    assert endpoints.order() == ["first"]
    text, _ = await models("first, small, large", max_input_tokens=200, models=file).complete(TEXT)
    assert (text, endpoints.order()[1:]) == ("from large", ["first", "good", "large"][::2])


async def test_what_is_known_not_to_fit_is_not_even_sent(endpoints: Endpoints, models: Models) -> None:
    with pytest.raises(ServiceRefused, match="longer than the 10 tokens that good reads"):
        await models("good", max_input_tokens=10).complete([{"role": "user", "content": "x" * 100}])
    assert endpoints.requests == []


@pytest.mark.parametrize(("finish", "kept"), [("length", 8000), ("content_filter", 9000)])
async def test_a_cut_answer_is_not_asked_of_a_model_that_writes_no_more(
    endpoints: Endpoints, models: Models, tmp_path: Any, finish: str, kept: int
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[models.other]\nbase_url = "{endpoints.url}"\nmodel = "good"\nmax_output_tokens = {kept}\n')
    endpoints.says("first", Answer("x", finish_reason=finish))
    with pytest.raises(CutAnswer):
        await models("first, other", models=file).complete(TEXT)
    assert endpoints.order() == ["first"]


async def test_a_cut_answer_is_asked_of_a_model_that_writes_more(
    endpoints: Endpoints, models: Models, tmp_path: Any
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[models.other]\nbase_url = "{endpoints.url}"\nmodel = "good"\nmax_output_tokens = 9000\n')
    endpoints.says("first", Answer("x", finish_reason="length"))
    text, _ = await models("first, other", models=file).complete(TEXT)
    assert text == "from good"
    assert endpoints.asked("good")[0]["max_completion_tokens"] == 9000


@pytest.mark.parametrize(
    ("first", "second", "kind", "retryable", "says"),
    [
        (Answer(status=401), Answer(status=500), ServiceUnavailable, True, "status 500; no answer came from a either"),
        (Answer(status=500), Answer(status=401), ServiceUnavailable, True, "status 500; no answer came from b either"),
        (Answer(status=401), Answer(status=404), ServiceRefused, False, "refused the key; no answer came from b"),
        (busy(600), busy(30), ServiceBusy, True, "no answer came from a"),
        (busy(600), busy(700), ServiceBusy, False, "UTC; no answer came from b"),
    ],
)
async def test_when_none_answers_the_most_hopeful_reason_is_told(
    endpoints: Endpoints,
    models: Models,
    first: Answer,
    second: Answer,
    kind: type[RetinueError],
    retryable: bool,
    says: str,
) -> None:
    endpoints.says("a", first)
    endpoints.says("b", second)
    with pytest.raises(RetinueError) as caught:
        await models("a, b").complete(TEXT)
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert says in caught.value.message
    assert "sk-canary" not in repr(caught.value)


# --- duties and agents


async def test_each_duty_and_each_agent_has_its_models(
    endpoints: Endpoints, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALENDAR_MODEL", "m-calendar")
    for name in ("m", "m-plan", "m-reply", "m-agent", "m-calendar"):
        endpoints.says(name, Answer(f"from {name}"))
    model = models("m", model_plan="m-plan", model_reply="m-reply", model_agent="m-agent")
    await model.complete(TEXT, duty=Duty.PLAN)
    await model.complete(TEXT, duty=Duty.REPLY)
    await model.converse(TEXT, agent="email", functions=[])
    await model.converse(TEXT, agent="calendar", functions=[])
    assert endpoints.order() == ["m-plan", "m-reply", "m-agent", "m-calendar"]


async def test_every_duty_falls_back_on_the_one_model(endpoints: Endpoints, models: Models) -> None:
    model = models("good")
    await model.complete(TEXT, duty=Duty.PLAN)
    await model.complete(TEXT)
    await model.converse(TEXT, agent="calendar", functions=[])
    assert endpoints.order() == ["good"] * 3


# --- at most four requests a step, whatever happens, over all of Temporal's attempts


def compose_of(model: LanguageModel, tmp_path: Any) -> Callable[..., Any]:
    tools = ReasoningTools(model, fixed_manifests, store_at(tmp_path / "reasoning.db"))
    return activities_by_name(build_activities(tools))["reasoning.compose"]


async def attempts(run: Callable[..., Any], arguments: Any) -> tuple[int, str]:
    """What Temporal does with an activity that may be tried four times; tells how often it was, and the last error."""
    error = "none"
    for attempt in range(1, 5):
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=attempt)
        try:
            await environment.run(run, arguments)
            return attempt, error
        except ApplicationError as failed:
            error = str(failed.type)
            if failed.non_retryable:
                return attempt, error
    return 4, error


@pytest.mark.parametrize(("listed", "tried"), [("a", 4), ("a,b", 3), ("a,b,c", 2), ("a,b,c,d", 1)])
@pytest.mark.parametrize("answer", [Answer(status=500), HTML, Answer(" ")], ids=["500", "html", "empty"])
async def test_a_step_makes_four_requests_at_most(
    endpoints: Endpoints, models: Models, tmp_path: Any, listed: str, tried: int, answer: Answer
) -> None:
    for name in "abcd":
        endpoints.says(name, answer)
    run = compose_of(models(listed), tmp_path)
    made, _ = await attempts(run, ComposeRequest(instruction="x").model_dump(mode="json"))
    assert (made, len(endpoints.requests)) == (tried, 4)


async def test_a_later_attempt_asks_the_model_that_did_not_fail_last(
    endpoints: Endpoints, models: Models, tmp_path: Any
) -> None:
    endpoints.says("a", Answer(status=500))
    endpoints.says("b", Answer(status=500), Answer(status=500), Answer("from b"))
    run = compose_of(models("a,b"), tmp_path)
    made, _ = await attempts(run, ComposeRequest(instruction="x").model_dump(mode="json"))
    assert (made, endpoints.order()) == (3, ["a", "b", "a", "b"])


CALL = {"tool": "calendar.list_events", "args": "{broken"}


@pytest.mark.parametrize(
    "answers", [[Answer(calls=[CALL])], [Answer(status=500)], [Answer(calls=[CALL]), Answer(status=500)] * 4]
)
@pytest.mark.parametrize("listed", ["a", "a,b"])
async def test_a_turn_makes_four_requests_at_most(
    endpoints: Endpoints, models: Models, tmp_path: Any, listed: str, answers: list[Answer]
) -> None:
    for name in "ab":
        endpoints.says(name, *answers)
    tools = ReasoningTools(models(listed), fixed_manifests, store_at(tmp_path / "reasoning.db"))
    run = activities_by_name(build_activities(tools))["reasoning.converse"]
    turn = ConverseRequest(agent="calendar", goal="g", timezone="UTC", now=NOW, transcript=Transcript(key="k"))
    _, error = await attempts(run, turn.model_dump(mode="json"))
    assert 2 <= len(endpoints.requests) <= 4
    assert error in ("UnusableAnswer", "ServiceUnavailable")
    await tools._transcripts.close()


async def test_a_hanging_model_leaves_time_for_the_next(
    endpoints: Endpoints, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.reasoning.tries._SECONDS", 5.5)
    monkeypatch.setattr("activities.reasoning.tries._KEPT_FOR_EACH_LATER", 3.0)
    endpoints.says("first", Answer("late", delay=9))
    began = time.monotonic()
    text, _ = await models("first, good", timeout=60).complete(TEXT)
    assert text == "from good"
    assert time.monotonic() - began < 3.5


async def test_an_answer_that_drips_is_too_slow(models: Models) -> None:
    """A client's own time-out counts silences; here none is long."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n")
        for _ in range(20):
            writer.write(b" ")
            await asyncio.sleep(0.2)
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(ServiceUnavailable, match="within 1 seconds"):
            await models("first", base_url=address, timeout=1).complete(TEXT)


# --- what it cost


def with_usage(**usage: Any) -> Answer:
    body = json.loads(bytes(Answer("x").response().body)) | {"usage": usage}
    return Answer(raw=json.dumps(body).encode())


async def test_each_model_has_its_own_prices_and_cached_tokens_cost_less(
    endpoints: Endpoints, models: Models, tmp_path: Any
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        f'[models.dear]\nbase_url = "{endpoints.url}"\nmodel = "big"\nprice_input = 10\nprice_output = 100\n'
    )
    used = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}}
    endpoints.says("cheap", with_usage(**used))
    endpoints.says("big", with_usage(**used))
    cheap, dear = models("cheap", price_input=1, price_cached=0.1, price_output=2), models("dear", models=file)
    _, one = await cheap.complete(TEXT)
    _, two = await dear.complete(TEXT)
    assert one.cost == pytest.approx((600 + 40 + 20) / 1e6)
    assert two.cost == pytest.approx((10_000 + 1000) / 1e6)
    total = one + two
    assert set(total.models) == {"cheap", "dear"}
    assert total.cost == pytest.approx(sum(use.cost for use in total.models.values()))
    assert (total.input_tokens, total.cached_tokens, total.requests) == (2000, 800, 2)


@pytest.mark.parametrize(
    "details", [None, 7, {"cached_tokens": "many"}, {"cached_tokens": -1}, {"cached_tokens": 10**9}]
)
async def test_odd_bookkeeping_refuses_no_good_answer(endpoints: Endpoints, models: Models, details: Any) -> None:
    endpoints.says("m", with_usage(prompt_tokens=10, completion_tokens=1, prompt_tokens_details=details))
    text, usage = await models("m", price_input=1).complete(TEXT)
    assert (text, usage.input_tokens) == ("x", 10)
    assert 0 <= usage.cached_tokens <= 10


def test_sums_tell_each_replacement_once() -> None:
    one = Usage.of({"a": ModelUse(requests=1)}, ["b answered instead of a: x"])
    total = one + one + Usage(requests=1)
    assert (total.instead, total.requests, total.models["a"].requests) == (["b answered instead of a: x"], 3, 2)


async def test_the_worst_call_is_that_of_the_dearest_model(endpoints: Endpoints, models: Models, tmp_path: Any) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[models.dear]\nbase_url = "{endpoints.url}"\nmodel = "big"\nprice_output = 100\n')
    worst = models("good, dear", models=file, max_output_tokens=1000).worst_call(TEXT)
    assert (worst.requests, worst.output_tokens) == (1, 1000)
    assert worst.cost == pytest.approx(0.1)


def refusal(message: str, status: int = 400, **fields: Any) -> Answer:
    return Answer(status=status, raw=json.dumps({"error": {"message": message, "code": status, **fields}}).encode())


TOGETHER = refusal(
    "This model's maximum context length is 8192 tokens. However, you requested 9100 tokens (1100 in the messages, 8000 in "
    "the completion). Please reduce the length of the messages or completion.",
    code="context_length_exceeded",
)


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        (
            refusal(
                "request (16412 tokens) exceeds the available context size (4096 tokens), try increasing it",
                type="exceed_context_size_error",
                n_prompt_tokens=16412,
                n_ctx=4096,
            ),
            " (it reads 4096 tokens, about 16412 were sent)",
        ),
        (refusal("the request exceeds the available context size. try increasing the context size", 500), ""),
        (
            refusal("The decoder prompt (length 5120) is longer than the maximum model length of 4096."),
            " (it reads 4096 tokens)",
        ),
        (refusal("input length exceeds the context length"), ""),
        (refusal("prompt too long; exceeded max context length by 90 tokens"), ""),
        (
            refusal(
                "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with "
                "context length of only 4096 tokens, which is not enough."
            ),
            " (it reads 4096 tokens)",
        ),
        (refusal("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", 422), ""),
        (
            refusal(
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"
            ),
            " (it reads 32768 tokens, about 40000 were sent)",
        ),
        (refusal("The input token count (9) exceeds the maximum number of tokens allowed (8)."), ""),
    ],
)
async def test_a_conversation_that_is_too_long_is_told_in_words_with_what_helps(
    endpoints: Endpoints, models: Models, answer: Answer, numbers: str
) -> None:
    endpoints.says("one", answer)
    with pytest.raises(ServiceRefused) as caught:
        await models("one").complete(TEXT)
    assert caught.value.message == f"the conversation is longer than the language model at 127.0.0.1 reads{numbers}"
    assert "REASONING_MAX_INPUT_TOKENS" in str(caught.value.hint)
    assert len(endpoints.requests) == 1


async def test_a_service_that_counts_the_longest_answer_too_is_asked_once_more_for_a_shorter_one(
    endpoints: Endpoints, models: Models
) -> None:
    endpoints.says("one", TOGETHER)
    with pytest.raises(ServiceRefused, match=r"it reads 8192 tokens, about 9100 were sent"):
        await models("one").complete(TEXT)
    assert [body["max_completion_tokens"] for body in endpoints.requests] == [8000, 2048]
