"""The server as the real OpenAI client sees it, over HTTP."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from activities.reasoning import form_probe
from activities.reasoning.settings import Structured
from offline.app import create_app

from .conftest import NOW, ZONE, planning_messages

PLAN: Any = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {"type": "object"}}}
SIMULATED = {
    "place": "Lisbon, Portugal",
    "source": "simulated",
    "notice": None,
    "days": [
        {
            "date": "2026-11-27",
            "summary": "light rain",
            "temperature_min_c": 11.5,
            "temperature_max_c": 17,
            "precipitation_mm": 2.4,
            "wind_kmh": 22,
        }
    ],
}
EVENT = {
    "event_id": "e1",
    "title": "Standup",
    "start": "2026-11-27T08:00:00+00:00",
    "end": "2026-11-27T08:15:00+00:00",
    "timezone": ZONE,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A running server, in a thread of its own so that it serves tests of any event loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    serving.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    serving.join()


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, pointed at the server."""
    async with AsyncOpenAI(base_url=url, api_key="offline", max_retries=0) as sdk:
        yield sdk


async def _plan(client: AsyncOpenAI, messages: Any) -> dict[str, Any]:
    completion = await client.chat.completions.create(model="offline", messages=messages, response_format=PLAN)
    plan: dict[str, Any] = json.loads(completion.choices[0].message.content or "")
    return plan


async def _text(client: AsyncOpenAI, task: dict[str, Any]) -> str:
    messages: Any = [{"role": "system", "content": "Write."}, {"role": "user", "content": json.dumps(task)}]
    completion = await client.chat.completions.create(model="offline", messages=messages)
    return completion.choices[0].message.content or ""


async def _reply(client: AsyncOpenAI, *steps: dict[str, Any]) -> str:
    numbered = [{"id": f"s{at}", "result": None, "error": None, **step} for at, step in enumerate(steps, 1)]
    return await _text(
        client,
        {
            "task": "reply",
            "now": NOW,
            "timezone": ZONE,
            "conversation": [{"role": "user", "text": "?"}],
            "steps": numbered,
        },
    )


async def test_there_is_one_model(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["offline"]
    assert (await client.models.retrieve("offline")).id == "offline"


async def test_a_plan_is_answered_with_usage(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    messages: Any = planning_messages(agents, "Will it rain in Oslo tomorrow?")
    completion = await client.chat.completions.create(model="offline", messages=messages, response_format=PLAN)
    plan = json.loads(completion.choices[0].message.content or "")
    assert plan["steps"][0]["tool"] == "weather.forecast"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 100


async def test_what_can_be_meant_and_the_nearest_requests_are_offered(
    client: AsyncOpenAI, agents: list[dict[str, Any]]
) -> None:
    asked = await _plan(client, planning_messages(agents, "Remind me to call mum tomorrow at 5"))
    assert (asked["question"], asked["options"]) == ("Do you mean 5 am or 5 pm?", ["5 am", "5 pm"])
    unread = await _plan(client, planning_messages(agents, "Fix the flux capacitor"))
    assert all(f'"{option}"' in unread["reply"] for option in unread["options"])
    for option in unread["options"]:
        assert (await _plan(client, planning_messages(agents, option)))["steps"], option


async def test_how_it_answers_in_json_is_found_out(client: AsyncOpenAI) -> None:
    messages: Any = form_probe.MESSAGES

    async def ask(extra: dict[str, Any]) -> Any:
        return await client.chat.completions.create(model="offline", messages=messages, **extra)

    assert (await form_probe.find_form(ask))[0] is Structured.JSON_SCHEMA


async def test_a_refused_plan_is_not_tried_again(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    """The same rules would give the same plan for ever, so the second answer says what was wrong."""
    messages = planning_messages(agents, "weather in Rome tomorrow", '{"steps": []}', "Plan refused: no tool x")
    plan = await _plan(client, messages)
    assert "no tool x" in plan["reply"]


async def test_a_stream_carries_the_same_text(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    messages: Any = planning_messages(agents, "Schedule lunch with Ana")
    stream = await client.chat.completions.create(
        model="offline", messages=messages, response_format=PLAN, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(text)["question"] == "On which day and at what time?"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None


async def test_other_text_is_told_what_this_is(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model="offline", messages=[{"role": "user", "content": "Hi"}])
    assert "offline model server" in (completion.choices[0].message.content or "")


async def test_malformed_requests_are_refused_in_openais_shape(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.chat.completions.create(model="offline", messages=[])
    assert refused.value.type == "invalid_request_error"
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "weather in Rome tomorrow"}],
        [{"role": "system", "content": "Capabilities and tools:\n- a.b(x -> y"}, {"role": "user", "content": "hi"}],
        [{"role": "system", "content": "Capabilities and tools:\n- a.b(x) reads"}, {"role": "user", "content": "hi"}],
        [
            {"role": "system", "content": "Capabilities and tools:\n"},
            {"role": "system", "content": 'Context (JSON):\n{"now": "soon"}'},
            {"role": "user", "content": "hi"},
        ],
        [
            {"role": "system", "content": "Capabilities and tools:\n"},
            {"role": "system", "content": 'Context (JSON):\n{"timezone": "../etc/passwd"}'},
            {"role": "user", "content": "hi"},
        ],
    ],
)
async def test_a_planning_request_without_its_parts_is_refused(client: AsyncOpenAI, messages: Any) -> None:
    with pytest.raises(BadRequestError):
        await _plan(client, messages)


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError):
        await client.models.retrieve("gpt-x")


async def test_simulated_weather_is_called_simulated(client: AsyncOpenAI) -> None:
    text = await _reply(client, {"tool": "weather.forecast", "status": "completed", "result": SIMULATED})
    assert "Friday 27 November 2026: light rain, 11.5 to 17 °C, 2.4 mm of rain" in text
    assert "simulated" in text


async def test_a_notice_is_repeated(client: AsyncOpenAI) -> None:
    result = {**SIMULATED, "source": "open-meteo", "notice": "Data are two hours old."}
    text = await _reply(client, {"tool": "weather.forecast", "status": "completed", "result": result})
    assert "Data are two hours old." in text
    assert "simulated" not in text


async def test_events_are_told_in_local_time(client: AsyncOpenAI) -> None:
    result = {"events": [EVENT], "match": EVENT, "truncated": False}
    text = await _reply(client, {"tool": "calendar.list_events", "status": "completed", "result": result})
    assert "Friday 27 November 2026, 09:00 to 09:15: Standup" in text


async def test_a_mail_in_the_own_store_is_not_called_delivered(client: AsyncOpenAI) -> None:
    result = {"message_id": "m1", "status": "sent", "delivery": "own-store"}
    text = await _reply(client, {"tool": "email.send", "status": "completed", "result": result})
    assert "own Sent folder" in text
    assert "has not left this machine" in text


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("rejected", "you rejected it", "You rejected sending the mail, so it was not done."),
        (
            "rejected",
            "you rejected it: not now",
            "You rejected sending the mail, so it was not done. Your comment: not now.",
        ),
        ("rejected", "ben rejected it: no", "Sending the mail was not done: ben rejected it: no."),
        (
            "rejected",
            "the policy forbids it: no mail",
            "Sending the mail was not done: the policy forbids it: no mail.",
        ),
        ("rejected", None, "You rejected sending the mail, so it was not done."),
        ("failed", "mailbox full", "Sending the mail failed: mailbox full."),
        ("skipped", None, "Sending the mail was skipped, since a step before it did not complete."),
        ("cancelled", None, "Sending the mail was cancelled."),
        ("unknown", None, "It is not known whether sending the mail was done; please check."),
        ("running", None, "Sending the mail has not been done (status: running)."),
    ],
)
async def test_what_did_not_complete_is_never_claimed(
    client: AsyncOpenAI, status: str, error: str | None, expected: str
) -> None:
    result = {"message_id": "m1", "status": "sent", "delivery": "smtp"}
    text = await _reply(client, {"tool": "email.send", "status": status, "error": error, "result": result})
    assert text == expected


async def test_steps_that_only_fed_another_are_left_out(client: AsyncOpenAI) -> None:
    found = {"events": [EVENT], "match": EVENT, "truncated": False}
    text = await _reply(
        client,
        {"tool": "calendar.list_events", "status": "completed", "result": found},
        {"tool": "calendar.delete_event", "status": "completed", "result": {"event_id": "e1", "title": "Standup"}},
    )
    assert text == 'The event "Standup" is deleted.'


async def test_several_hits_explain_why_nothing_followed(client: AsyncOpenAI) -> None:
    found = {"events": [EVENT, {**EVENT, "event_id": "e2"}], "match": None, "truncated": False}
    text = await _reply(
        client,
        {"tool": "calendar.list_events", "status": "completed", "result": found},
        {"tool": "calendar.delete_event", "status": "failed", "error": "nothing at /match/event_id"},
    )
    assert "More than one fits" in text
    assert "Deleting the event failed" in text


@pytest.mark.parametrize("result", [None, "text", 5, [], {}, {"days": 3, "source": None}, {"a": {"b": [1, None]}}])
@pytest.mark.parametrize("tool", ["weather.forecast", "calendar.create_event", "email.search", "games.play"])
async def test_results_of_any_shape_are_told(client: AsyncOpenAI, tool: str, result: Any) -> None:
    assert await _reply(client, {"tool": tool, "status": "completed", "result": result})


async def test_a_text_is_composed_from_data(client: AsyncOpenAI) -> None:
    inputs = ["Hello team,", SIMULATED, {"slots": [{"start": EVENT["start"], "end": EVENT["end"]}]}]
    text = await _text(client, {"task": "compose", "instruction": "Write a short mail.", "inputs": inputs})
    assert text.startswith("Hello team,\n\nWeather for Lisbon, Portugal:")
    assert "simulated" in text
    assert "08:00 to 08:15 UTC" in text


@pytest.mark.parametrize("inputs", [None, [], "only text", {"a": SIMULATED}, 3, [[SIMULATED], None]])
async def test_any_inputs_become_a_text(client: AsyncOpenAI, inputs: Any) -> None:
    assert await _text(client, {"task": "compose", "instruction": "Write.", "inputs": inputs})


def _tools(agents: list[dict[str, Any]], agent: str) -> Any:
    found = next(item for item in agents if item["name"] == agent)["tools"]
    return [
        {"type": "function", "function": {"name": tool["name"].replace(".", "__"), "parameters": tool["args"]}}
        for tool in found
    ]


async def test_an_agents_loop_runs_to_its_answer(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    """Two rounds of calls, the second with what the first returned, then the answer."""
    messages: Any = [*planning_messages([], "Cancel the standup on Friday")]
    tools = _tools(agents, "calendar")
    results = [{"events": [EVENT], "match": EVENT}, {"event_id": "e1", "title": "Standup", "deleted": True}]
    called = []
    for result in results:
        completion = await client.chat.completions.create(model="offline", messages=messages, tools=tools)
        assert completion.choices[0].finish_reason == "tool_calls"
        message = completion.choices[0].message
        [call] = message.tool_calls or []
        called.append((call.function.name, json.loads(call.function.arguments)))  # type: ignore[union-attr]  # only function calls are offered
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}]
    final = await client.chat.completions.create(model="offline", messages=messages, tools=tools)
    assert [name for name, _ in called] == ["calendar__list_events", "calendar__delete_event"]
    assert called[1][1] == {"event_id": "e1"}
    assert final.choices[0].message.content == 'The event "Standup" is deleted.'


async def test_a_loop_says_when_nothing_was_found(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    messages: Any = [*planning_messages([], "Cancel the standup on Friday")]
    tools = _tools(agents, "calendar")
    first = await client.chat.completions.create(model="offline", messages=messages, tools=tools)
    [call] = first.choices[0].message.tool_calls or []
    nothing = json.dumps({"events": [], "match": None})
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": nothing}]
    final = await client.chat.completions.create(model="offline", messages=messages, tools=tools)
    assert "There are no events" in (final.choices[0].message.content or "")
    assert "Deleting the event failed" in (final.choices[0].message.content or "")


async def test_a_loop_streams_its_calls(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    messages: Any = planning_messages([], "What's on my calendar tomorrow?")
    stream = await client.chat.completions.create(
        model="offline", messages=messages, tools=_tools(agents, "calendar"), stream=True
    )
    deltas = [chunk.choices[0].delta async for chunk in stream]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function] == ["calendar__list_events"]


async def test_a_loop_does_not_leave_its_agent(client: AsyncOpenAI, agents: list[dict[str, Any]]) -> None:
    messages: Any = planning_messages([], "What's the weather in Rome tomorrow?")
    completion = await client.chat.completions.create(
        model="offline", messages=messages, tools=_tools(agents, "calendar")
    )
    assert "no weather agent" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("said", "tool", "args"),
    [
        (
            "Remind me to call mum tomorrow at 9am",
            "tasks.remind",
            {"title": "call mum", "at": "2026-11-23T09:00:00+01:00"},
        ),
        (
            "remind me on Friday at 10:00 to pay rent",
            "tasks.remind",
            {"title": "pay rent", "at": "2026-11-27T10:00:00+01:00"},
        ),
        ("Add a task to buy milk", "tasks.add", {"title": "buy milk"}),
        ("show my tasks", "tasks.list", {}),
        ("Read https://example.com/news", "web.fetch", {"url": "https://example.com/news"}),
    ],
)
async def test_agents_that_join_later_are_used(client: AsyncOpenAI, said: str, tool: str, args: dict[str, Any]) -> None:
    """The planner knows tasks and web pages, and plans them as soon as a request offers them."""
    names = ("tasks.remind", "tasks.add", "tasks.list", "tasks.complete", "web.fetch")
    later = [{"name": "later", "section": "\n".join(f"- {name}() -> object # writes: It joined." for name in names)}]
    plan = await _plan(client, planning_messages(later, said))
    assert [(step["tool"], step["args"]) for step in plan["steps"]] == [(tool, args)]
