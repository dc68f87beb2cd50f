"""A schema in a request is answered in that schema, or with a refusal that the official clients know."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from retinue.testing import Answer, plan_answer
from tests.api.protocols.openai.test_chat import event, mail, run_of, user
from tests.conftest import Stack

Fresh = Callable[[str], str]


class Weather(BaseModel):
    """What the client wants to have."""

    town: str
    dry: bool
    days: list[int]


FOUND = {"town": "Lisbon", "dry": True, "days": [1, 2]}


@pytest.mark.parametrize("acts", [False, True])
async def test_a_chat_is_answered_in_the_schema_of_the_request(
    stack: Stack, client: Any, fresh: Fresh, acts: bool
) -> None:
    message = fresh("weather in Lisbon")
    stack.model.script(message, event(fresh("Stand-up")) if acts else plan_answer(reply="Dry for two days."))
    stack.model.structured(message, Answer(json.dumps(FOUND)))
    answer = await client.chat.completions.parse(model="retinue", messages=[user(message)], response_format=Weather)
    assert answer.choices[0].message.parsed == Weather.model_validate(FOUND)
    assert answer.choices[0].message.refusal is None
    asked = json.loads(stack.model.requests_for(message)[-1]["messages"][-1]["content"])
    assert asked["draft"] == (None if acts else "Dry for two days.")


async def test_a_response_is_answered_in_the_schema_of_the_request(stack: Stack, client: Any, fresh: Fresh) -> None:
    message, more = fresh("weather in Lisbon"), fresh("and in Porto")
    stack.model.script(message, plan_answer(reply="Dry."), plan_answer(reply="Wet."), plan_answer(reply="In words."))
    stack.model.structured(message, Answer(json.dumps(FOUND)))
    stack.model.structured(more, Answer(json.dumps({**FOUND, "town": "Porto"})))
    one = await client.responses.parse(model="retinue", input=message, text_format=Weather)
    assert one.output_parsed == Weather.model_validate(FOUND)
    asked = {"model": "retinue", "input": more, "previous_response_id": one.id}
    async with client.responses.stream(**asked, text_format=Weather) as stream:
        two = await stream.get_final_response()
    assert two.output_parsed is not None
    assert (two.output_parsed.town, run_of(two)) == ("Porto", run_of(one))
    three = await client.responses.create(model="retinue", input=fresh("thanks"), previous_response_id=two.id)
    assert three.output_text == "In words."


@pytest.mark.parametrize("written", ["no JSON at all", json.dumps({**FOUND, "days": "two"})], ids=["words", "misfit"])
async def test_what_the_model_cannot_say_in_it_is_a_refusal_in_words(
    stack: Stack, client: Any, fresh: Fresh, written: str
) -> None:
    message = fresh("weather in Lisbon")
    stack.model.script(message, plan_answer(reply="Dry for two days."))
    stack.model.structured(message, *[Answer(written)] * 10)
    answer = await client.chat.completions.parse(model="retinue", messages=[user(message)], response_format=Weather)
    [choice] = answer.choices
    assert (choice.message.parsed, choice.message.refusal) == (None, "Dry for two days.")
    response = await client.responses.parse(model="retinue", input=message, text_format=Weather)
    assert response.output_parsed is None


async def test_an_approval_is_a_refusal_for_a_program(stack: Stack, client: Any, fresh: Fresh) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    async with client.responses.stream(model="retinue", input=message, text_format=Weather) as stream:
        kinds = {found.type async for found in stream}
        final = await stream.get_final_response()
    assert {"response.refusal.delta", "response.refusal.done"} <= kinds
    [part] = final.output[0].content
    assert "needs your approval" in part.refusal
    await stack.http.post(f"/v1/assistants/{run_of(final)}/cancel")


async def test_any_object_is_json_and_a_stream_has_it_too(stack: Stack, client: Any, fresh: Fresh) -> None:
    message, title = fresh("book it"), fresh("Stand-up")
    stack.model.script(message, event(title))
    stack.model.structured(message, Answer('{"booked": true}'))
    asked = {"model": "retinue", "messages": [user(message)], "stream": True}
    told = await client.chat.completions.create(**asked, response_format={"type": "json_object"})
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in told if chunk.choices])
    assert json.loads(text) == {"booked": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {}},
        {"type": "object", "properties": 7},
        {"type": "object", "properties": {"x": {"$ref": "https://example.org/x.json"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/none"}}},
        {"type": "object", "description": "x" * 20_000},
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/d0"}},
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}},
        },
    ],
    ids=["no object", "no schema", "elsewhere", "nowhere", "large", "grows"],
)
async def test_a_schema_that_cannot_be_used_is_refused_before_anything_begins(
    stack: Stack, schema: dict[str, Any]
) -> None:
    chat = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    for path, body in (
        ("chat/completions", {"messages": [user("hello")], "response_format": chat}),
        ("responses", {"input": "hello", "text": text}),
    ):
        answer = await stack.http.post(f"/v1/{path}", json={"model": "retinue", **body})
        assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request_error")
        assert "schema" in answer.json()["error"]["message"]


async def test_a_schema_that_leads_back_to_itself_is_taken(stack: Stack, client: Any, fresh: Fresh) -> None:
    message = fresh("a tree")
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}, "name": {"type": "string", "pattern": "(a+)+$"}}}
    stack.model.script(message, plan_answer(reply="A tree."))
    stack.model.structured(message, Answer(json.dumps({"child": {"name": "a" * 40 + "!"}})))
    form: Any = {"type": "json_schema", "json_schema": {"name": "tree", "schema": schema}}
    answer = await client.chat.completions.create(model="retinue", messages=[user(message)], response_format=form)
    assert json.loads(answer.choices[0].message.content or "")["child"]["name"].startswith("aaaa")
