"""Answers and requests that the assistant offers: shown beside the question, and never counted as typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from retinue.testing import plan_answer
from tests.conftest import Stack, pending
from tests.scenarios.test_long_runs import run_ids
from tests.scenarios.test_rejections import one_turn_a_run  # noqa: F401  # a fixture
from tests.test_main_job import forecast

Fresh = Callable[[str], str]
OFFERED = "offered@elsewhere.example"
SEND = {"id": "s1", "tool": "email.send", "args": {"to": [OFFERED], "subject": "Hello", "body": "Hi"}}


async def test_an_offered_answer_is_chosen_by_sending_its_text(stack: Stack, fresh: Fresh) -> None:
    message = fresh("What will the weather be?")
    stack.model.script(
        message, plan_answer(question="Where?", options=["In Porto", "In\u202eFaro"]), plan_answer(reply="Sunny.")
    )
    asking = await stack.until((await stack.start(message))["id"], lambda view: bool(view["question"]))
    assert asking["options"] == [{"text": "In Porto", "label": ""}, {"text": "InFaro", "label": ""}]
    await stack.http.post(f"/v1/assistants/{asking['id']}/messages", json={"message": "In Porto"})
    done = await stack.ended(asking["id"])
    assert (done["reply"], done["options"]) == ("Sunny.", [])
    assert [said["offered"] for said in done["messages"] if said["role"] == "user"] == [False, True]


@pytest.mark.parametrize(("answer", "source"), [(OFFERED, "model"), (f"To {OFFERED}, please", "user")])
async def test_an_address_that_the_model_offered_and_a_person_clicked_is_not_typed(
    stack: Stack, fresh: Fresh, answer: str, source: str
) -> None:
    message = fresh("Mail her")
    stack.model.script(message, plan_answer(question="Which address?", options=[OFFERED]), plan_answer([SEND]))
    asking = await stack.until((await stack.start(message))["id"], lambda view: bool(view["question"]))
    await stack.http.post(f"/v1/assistants/{asking['id']}/messages", json={"message": answer})
    view = await stack.until(asking["id"], lambda view: bool(pending(view)))
    assert [origin["source"] for origin in pending(view)[0]["origins"]] == [source]
    await stack.http.post(f"/v1/assistants/{asking['id']}/cancel", json={})


async def test_requests_are_offered_beside_a_reply_until_the_next_message(stack: Stack, fresh: Fresh) -> None:
    message, then = fresh("Fiddlesticks"), fresh("What is on today?")
    stack.model.script(message, plan_answer(reply="I cannot do that.", options=[then, "Show my tasks"]))
    stack.model.script(then, plan_answer(reply="Nothing."))
    chat = await stack.start(message, mode="chat")
    view = await stack.until(chat["id"], lambda view: view["turns"] == 1)
    assert [option["text"] for option in view["options"]] == [then, "Show my tasks"]
    await stack.http.post(f"/v1/assistants/{chat['id']}/messages", json={"message": then})
    view = await stack.until(chat["id"], lambda view: view["turns"] == 2)
    assert (view["reply"], view["options"]) == ("Nothing.", [])
    await stack.http.post(f"/v1/assistants/{chat['id']}/cancel", json={})


async def origin_of_the_address(stack: Stack, chat: str) -> str:
    """Whose the recipient is of the mail that the assistant asks about, by its card."""
    view = await stack.until(chat, lambda view: bool(pending(view)))
    [origin] = pending(view)[0]["origins"]
    source: str = origin["source"]
    return source


async def say(stack: Stack, chat: str, text: str) -> None:
    answer = await stack.http.post(f"/v1/assistants/{chat}/messages", json={"message": text})
    assert answer.status_code == 202, answer.text


async def test_a_second_click_is_not_typed_either(stack: Stack, fresh: Fresh) -> None:
    message = fresh("Mail her")
    stack.model.script(message, plan_answer(question="Which address?", options=[OFFERED]))
    stack.model.script(OFFERED, plan_answer(reply="Fine."), plan_answer([SEND]))
    chat = (await stack.start(message, mode="chat"))["id"]
    await stack.until(chat, lambda view: bool(view["question"]))
    await say(stack, chat, OFFERED)
    await stack.until(chat, lambda view: view["turns"] == 1)
    await say(stack, chat, OFFERED)
    assert await origin_of_the_address(stack, chat) == "model"
    await stack.http.post(f"/v1/assistants/{chat}/cancel", json={})


async def test_a_click_on_an_old_page_is_not_typed(
    stack: Stack,
    one_turn_a_run: Stack,  # noqa: F811  # the fixture
    fresh: Fresh,
) -> None:
    """Also where the chat has gone on as a new run since."""
    message, then = fresh("Mail her"), fresh("Thank you")
    stack.model.script(message, plan_answer(reply="To whom?", options=[OFFERED]))
    stack.model.script(then, plan_answer(reply="You are welcome."))
    stack.model.script(OFFERED, plan_answer([SEND]))
    chat = (await one_turn_a_run.start(message, mode="chat"))["id"]
    await stack.until(chat, lambda view: view["turns"] == 1)
    await say(one_turn_a_run, chat, then)
    await stack.until(chat, lambda view: view["turns"] == 2)
    await say(one_turn_a_run, chat, OFFERED)
    assert await origin_of_the_address(stack, chat) == "model"
    assert len(await run_ids(stack, chat)) > 1
    await stack.http.post(f"/v1/assistants/{chat}/cancel", json={})


async def test_a_fork_with_an_offered_text_as_its_message_has_not_typed_it(stack: Stack, fresh: Fresh) -> None:
    message = fresh("The weather, and mail her")
    stack.model.script(
        message, plan_answer([forecast("s1")], final=False), plan_answer(question="To whom?", options=[OFFERED])
    )
    stack.model.script(OFFERED, plan_answer([SEND | {"id": "s2"}]))
    asking = await stack.until((await stack.start(message))["id"], lambda view: bool(view["question"]))
    body = {"from_step": "s1", "message": OFFERED}
    forked = await stack.http.post(f"/v1/assistants/{asking['id']}/fork", json=body)
    assert forked.status_code == 202, forked.text
    assert await origin_of_the_address(stack, forked.json()["id"]) == "model"
    for run in (asking["id"], forked.json()["id"]):
        await stack.http.post(f"/v1/assistants/{run}/cancel", json={})
