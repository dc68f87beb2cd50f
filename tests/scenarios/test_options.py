"""Answers and requests that the assistant offers: shown beside the question, and never counted as typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from retinue.testing import plan_answer
from tests.conftest import Stack, pending

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
