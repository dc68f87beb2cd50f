"""The official OpenAI client talks to the assistant by the Responses API, which today's SDKs begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from retinue.testing import Answer, plan_answer
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.openai.test_chat import event, heard, mail, run_of
from tests.conftest import Stack, pending

Fresh = Callable[[str], str]


async def ask(client: AsyncOpenAI, said: Any, **more: Any) -> Any:
    return await client.responses.create(model="retinue", input=said, **more)


async def test_an_answer_has_everything_that_a_client_reads(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello to you."))
    answer = await ask(client, message, metadata={"conversation": "of mine"})
    assert (answer.status, answer.output_text, answer.model) == ("completed", "Hello to you.", "retinue")
    assert [item.type for item in answer.output] == ["message"]
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert answer.metadata == {"conversation": "of mine"}
    assert answer.error is None
    assert (await stack.view(run_of(answer)))["message"] == message
    assert await ask(client, message, metadata={"conversation": "of mine"}) == answer.model_copy(
        update={"usage": (await ask(client, message)).usage}
    )


async def test_a_response_is_read_again_by_its_id(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello to you."))
    answer = await ask(client, message)
    again = await client.responses.retrieve(answer.id)
    assert (again.id, again.status, again.output_text) == (answer.id, "completed", "Hello to you.")
    assert again.created_at == answer.created_at


async def test_a_response_follows_the_one_that_it_names(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    first, second = fresh("book it"), fresh("Monday")
    stack.model.script(first, plan_answer(question="Which day?"), plan_answer(reply="Noted: Monday."))
    one = await ask(client, first)
    assert one.output_text == "Which day?"
    two = await ask(client, second, previous_response_id=one.id)
    assert (two.output_text, two.previous_response_id, run_of(two)) == ("Noted: Monday.", one.id, run_of(one))
    again = await ask(client, second, previous_response_id=one.id)
    assert (again.id, again.output_text) == (two.id, two.output_text)
    assert await heard(stack, run_of(one)) == [first, second]
    assert (await client.responses.retrieve(one.id)).output_text == "Which day?"


async def test_a_response_may_follow_in_a_run_that_has_ended(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    first, second = fresh("hello"), fresh("still there?")
    stack.model.script(first, plan_answer(reply="Hello."))
    stack.model.script(second, plan_answer(reply="Yes."))
    one = await ask(client, first)
    await stack.http.post(f"/v1/assistants/{run_of(one)}/cancel")
    await stack.ended(run_of(one))
    two = await ask(client, second, previous_response_id=one.id)
    assert two.output_text == "Yes."
    assert run_of(two) != run_of(one)
    [asked] = stack.model.requests_for(second)
    assert first in str(asked)
    assert "Hello." not in str(asked["messages"])
    assert (await client.responses.retrieve(one.id)).output_text == "Hello."


async def test_a_client_that_keeps_the_history_itself_goes_on_too(
    stack: Stack, client: AsyncOpenAI, fresh: Fresh
) -> None:
    first, second = fresh("hello"), fresh("and now?")
    stack.model.script(first, plan_answer(reply="Hello."), plan_answer(reply="Now too."))
    one = await ask(client, [{"role": "user", "content": first}])
    history = [
        {"role": "user", "content": [{"type": "input_text", "text": first}]},
        *(item.model_dump() for item in one.output),
        {"type": "function_call_output", "call_id": "c", "output": "passed over"},
        {"role": "user", "content": second},
    ]
    two = await ask(client, history)
    assert (two.output_text, run_of(two)) == ("Now too.", run_of(one))


async def test_no_words_approve_anything_and_the_decision_brings_the_outcome(
    stack: Stack, client: AsyncOpenAI, fresh: Fresh
) -> None:
    message, thanks = fresh("mail the guest"), fresh("and?")
    stack.model.script(message, mail(), replies=[Answer("The mail is sent.")])
    stack.model.script(thanks, plan_answer(reply="That was all."))
    explained = await ask(client, message)
    view = await stack.view(run_of(explained))
    [approval] = pending(view)
    assert approval["preview"] in explained.output_text
    said = await ask(client, "approve", previous_response_id=explained.id)
    assert said.output_text == explained.output_text
    assert pending(await stack.view(view["id"])) == [approval]
    await stack.decide(view)
    await stack.until(view["id"], lambda found: found["status"] == "awaiting_input")
    assert "The mail is sent." in (await client.responses.retrieve(explained.id)).output_text


async def test_a_stream_has_the_events_that_clients_know(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message, title = fresh("book it"), fresh("Stand-up")
    long = "word " * 300
    stack.model.script(message, event(title), replies=[Answer(long)])
    async with client.responses.stream(model="retinue", input=message) as stream:
        events = [found async for found in stream]
        final = await stream.get_final_response()
    kinds = [found.type for found in events]
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert kinds.count("response.output_text.delta") > 1
    assert [found.sequence_number for found in events] == list(range(len(events)))
    assert final.output_text == (await client.responses.retrieve(final.id)).output_text
    assert final.output_text.strip() == long.strip()


async def test_what_is_asked_in_the_background_is_read_later(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message = fresh("slow one")
    stack.model.script(message, Answer(plan_answer(reply="At last.").text, delay=2))
    at_once = await ask(client, message, background=True)
    assert at_once.status == "in_progress"
    await stack.until(run_of(at_once), lambda found: found["status"] == "awaiting_input")
    later = await client.responses.retrieve(at_once.id)
    assert (later.status, later.output_text) == ("completed", "At last.")


async def test_a_run_that_was_stopped_is_said_to_be(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    asked = await ask(client, message)
    await stack.http.post(f"/v1/assistants/{run_of(asked)}/cancel")
    await stack.ended(run_of(asked))
    assert (await client.responses.retrieve(asked.id)).status == "cancelled"


def words_of(item: Any) -> tuple[str, str, str]:
    """An item of an input as who said what, and its kind of content."""
    [part] = item.content
    return item.role, part.type, part.text


async def test_what_a_response_was_made_from_is_listed(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    first, second = fresh("book it"), fresh("Monday")
    stack.model.script(first, plan_answer(question="Which day?"), plan_answer(reply="Noted: Monday."))
    one = await ask(client, first)
    two = await ask(client, second, previous_response_id=one.id)
    said = [("user", "input_text", first), ("assistant", "output_text", "Which day?"), ("user", "input_text", second)]
    assert [words_of(item) for item in (await client.responses.input_items.list(one.id)).data] == said[:1]
    newest_first = (await client.responses.input_items.list(two.id)).data
    assert [words_of(item) for item in newest_first] == said[::-1]
    listed = [item async for item in client.responses.input_items.list(two.id, order="asc", limit=1)]
    assert [words_of(item) for item in listed] == said
    assert [item.id for item in listed] == [item.id for item in newest_first][::-1]
    assert len({item.id for item in listed}) == 3
    with pytest.raises(openai.UnprocessableEntityError, match="after"):
        await client.responses.input_items.list(two.id, after="msg_unknown")


async def test_a_response_that_is_at_work_is_cancelled(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    message = fresh("slow one")
    stack.model.script(message, Answer(plan_answer(reply="At last.").text, delay=30))
    asked = await ask(client, message, background=True)
    assert (await client.responses.cancel(asked.id)).status == "cancelled"
    assert (await stack.view(run_of(asked)))["status"] == "cancelled"
    assert (await client.responses.cancel(asked.id)).status == "cancelled"


async def test_what_waits_for_a_decision_is_not_done_once_its_response_is_cancelled(
    stack: Stack, client: AsyncOpenAI, fresh: Fresh
) -> None:
    message = fresh("mail the guest")
    stack.model.script(message, mail())
    asked = await ask(client, message)
    assert (await client.responses.cancel(asked.id)).status == "cancelled"
    assert (await stack.ended(run_of(asked)))["approvals"][0]["status"] == "cancelled"


async def test_cancelling_an_answered_response_changes_nothing(stack: Stack, client: AsyncOpenAI, fresh: Fresh) -> None:
    first, second = fresh("hello"), fresh("mail the guest")
    stack.model.script(first, plan_answer(reply="Hello."), mail())
    one = await ask(client, first)
    assert (await client.responses.cancel(one.id)).output_text == "Hello."
    two = await ask(client, second, previous_response_id=one.id)
    assert run_of(two) == run_of(one)
    assert (await client.responses.cancel(one.id)).status == "completed"
    assert (await stack.view(run_of(two)))["status"] == "awaiting_approval"
    await client.responses.cancel(two.id)


async def test_no_response_is_deleted_and_the_refusal_says_what_to_do(
    stack: Stack, client: AsyncOpenAI, fresh: Fresh
) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello."))
    answer = await ask(client, message)
    with pytest.raises(openai.UnprocessableEntityError, match=r"not deleted here, .* cancel it"):
        await client.responses.delete(answer.id)
    assert (await client.responses.retrieve(answer.id)).output_text == "Hello."


async def test_what_is_not_known_is_not_found(client: AsyncOpenAI) -> None:
    for wrong in ("resp_1", f"resp_{'0' * 64}"):
        for call in (
            client.responses.retrieve(wrong),
            client.responses.input_items.list(wrong),
            client.responses.cancel(wrong),
            client.responses.delete(wrong),
            ask(client, "hello", previous_response_id=wrong),
        ):
            with pytest.raises(openai.NotFoundError):
                await call


async def test_another_persons_response_is_like_none(
    stack: Stack, client: AsyncOpenAI, stranger: httpx.AsyncClient, fresh: Fresh
) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello."))
    answer = await ask(client, message)
    said = []
    for response_id in (answer.id, f"resp_{'0' * 64}"):
        body = {"model": "retinue", "input": "more", "previous_response_id": response_id}
        for refused in (
            await stranger.get(f"/v1/responses/{response_id}"),
            await stranger.get(f"/v1/responses/{response_id}/input_items"),
            await stranger.post(f"/v1/responses/{response_id}/cancel"),
            await stranger.delete(f"/v1/responses/{response_id}"),
            await stranger.post("/v1/responses", json=body),
        ):
            assert refused.status_code == 404
            said.append(refused.json()["error"]["message"])
    assert len(set(said)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"model": "retinue", "input": []},
        {"model": "retinue", "input": "x" * 10_001},
        {"model": "retinue", "input": [{"role": "assistant", "content": "x"}]},
        {"model": "retinue", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"model": "retinue", "input": "x", "previous_response_id": "resp_1", "metadata": {"conversation_id": "c"}},
        {"input": "x"},
    ],
)
async def test_what_is_wrong_is_said_in_the_clients_words(stack: Stack, body: dict[str, Any]) -> None:
    answer = await stack.http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request_error")


async def test_a_key_that_may_not_ask_reads_only(
    stack: Stack, client: AsyncOpenAI, door: str, new_key: NewKey, fresh: Fresh
) -> None:
    message = fresh("hello")
    stack.model.script(message, plan_answer(reply="Hello."))
    answer = await ask(client, message)
    async with AsyncOpenAI(base_url=f"{door}/v1", api_key=await new_key("read"), max_retries=0) as reader:
        with pytest.raises(openai.PermissionDeniedError, match="ask"):
            await ask(reader, "x")
        for call in (reader.responses.cancel(answer.id), reader.responses.delete(answer.id)):
            with pytest.raises(openai.PermissionDeniedError, match="ask"):
                await call
        [item] = (await reader.responses.input_items.list(answer.id)).data
        assert words_of(item) == ("user", "input_text", message)
