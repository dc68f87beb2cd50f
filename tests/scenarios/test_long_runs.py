"""Chats that go on as new runs while people write and decide: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from retinue.temporal.search_keys import STATUS
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending
from tests.scenarios.test_people import Opened, rule, say
from tests.scenarios.test_plans import event
from tests.test_main_job import mail, sent_mails

Fresh = Callable[[str], str]
SENDERS = "ABC"
ANY_TENANT = 50
TURNS = len(SENDERS) * ANY_TENANT + 1
MAILS = EVENTS = TURNS // 10
FIVE_TURNS_A_RUN = rule('tools = ["weather.*"]\ndecide = "auto"')
"""Any policy will do: the front doors of `people` let a chat go on as new after five turns."""


def script(stack: Stack, texts: Sequence[str]) -> dict[str, str]:
    """Every tenth message wants a mail, which is asked, every tenth an event, which is automatic; the rest only answers.

    Returns the answer to each.
    """
    answers = {text: f"Answer to {text}" for text in texts}
    plans = [plan_answer(reply=answers[text]) for text in texts]
    plans[4::10] = [plan_answer([event("e", text)]) for text in texts[4::10]]
    plans[9::10] = [plan_answer([mail("m", body=text)]) for text in texts[9::10]]
    for text, plan in zip(texts, plans, strict=True):
        stack.model.script(text, plan)
    done = dict.fromkeys(texts[4::10], "calendar.create_event completed")
    return answers | done | dict.fromkeys(texts[9::10], "email.send completed")


async def run_ids(stack: Stack, chat_id: str) -> list[str]:
    """The runs of a chat, the last one first, each as the next one names it."""
    found = [str((await stack.temporal.get_workflow_handle(chat_id).describe()).run_id)]
    while before := await previous(stack, chat_id, found[-1]):
        found.append(before)
    return found


async def previous(stack: Stack, chat_id: str, run_id: str) -> str:
    events = stack.temporal.get_workflow_handle(chat_id, run_id=run_id).fetch_history_events(page_size=1)
    first = await anext(aiter(events))
    return str(first.workflow_execution_started_event_attributes.continued_execution_run_id)


def events_kept(stack: Stack, title: str) -> list[str]:
    """The titles in the calendar with this in them."""
    with sqlite3.connect(f"file:{stack.data}/calendar.db?mode=ro", uri=True) as database:
        return [found for (found,) in database.execute("SELECT title FROM event WHERE title LIKE ?", (f"%{title}%",))]


async def needs_a_person(handle: WorkflowHandle[Any, Any]) -> bool:
    published = (await handle.describe()).typed_search_attributes.get(STATUS)
    return published in ("awaiting_approval", "awaiting_input")


class Sender:
    """Somebody who writes one message after the other, every fifth of them twice at once, and notes what was answered."""

    def __init__(self, stack: Stack, chat_id: str, texts: Sequence[str]) -> None:
        self._stack = stack
        self._path = f"/v1/assistants/{chat_id}/messages"
        self._texts = texts
        self._pace = random.Random(texts[0])
        self.answers: Counter[str] = Counter()

    async def write(self) -> None:
        for number, text in enumerate(self._texts):
            await asyncio.sleep(self._pace.uniform(0, 0.3))
            await asyncio.gather(*[self._send(text, key=f"{id(self)}-{number}") for _ in range(1 + (number % 5 == 0))])

    async def _send(self, text: str, *, key: str) -> None:
        response = await self._stack.http.post(self._path, json={"message": text}, headers={"Idempotency-Key": key})
        self.answers[f"{response.status_code} {response.json().get('detail', '')}"] += 1


async def decide_everything(stack: Stack, chat_id: str) -> list[int]:
    """Approve what waits, until the chat has answered everybody; looks by the cheapest means, and often."""
    handle, answers, turns = stack.temporal.get_workflow_handle(chat_id), list[int](), 0
    while turns < TURNS:
        while not await needs_a_person(handle):  # noqa: ASYNC110  # a look at the server
            await asyncio.sleep(0.05)
        view = await stack.view(chat_id)
        turns = view["turns"]
        answers += [(await stack.decide(view, index=index)).status_code for index, _ in enumerate(pending(view))]
    return answers


@pytest.mark.long
@pytest.mark.parametrize("half", [1, 2])
async def test_three_hundred_messages_and_thirty_decisions_over_many_runs(
    stack: Stack, fresh: Fresh, people: Opened, half: int
) -> None:
    """A chat that goes on as new every five turns, while three people write to it and one decides; two such."""
    anna = (await people(FIVE_TURNS_A_RUN))("anna")
    mark = fresh(f"in chat {half}")
    first = f"Hello {mark}"
    texts = [[f"{name} says {number} {mark}" for number in range(ANY_TENANT)] for name in SENDERS]
    answers = script(anna, [first, *itertools.chain(*texts)])
    chat_id = (await anna.start(first, mode="chat"))["id"]
    await anna.temporal.get_workflow_handle(chat_id).signal("approve", {"approval_id": "ap-none"})
    senders = [Sender(anna, chat_id, own) for own in texts]
    decided, *_ = await asyncio.gather(decide_everything(anna, chat_id), *[sender.write() for sender in senders])
    view = await anna.until(chat_id, lambda v: v["status"] == "awaiting_input")

    assert [set(sender.answers) for sender in senders] == [{"202 "}] * len(SENDERS)
    heard = [message["text"] for message in view["messages"]]
    assert heard[1::2] == [answers[text] for text in heard[::2]]
    assert Counter(heard[::2]) == Counter([first, *itertools.chain(*texts)])
    assert [[text for text in heard if text in own] for own in texts] == texts
    assert view["turns"] == TURNS
    assert len(await run_ids(anna, chat_id)) - 1 >= TURNS // 5 - 1

    assert decided == [200] * MAILS
    assert len({text for _, text in sent_mails(anna, chat_id)}) == len(sent_mails(anna, chat_id)) == MAILS
    assert [approval["status"] for approval in view["approvals"]] == ["approved"] * MAILS
    assert view["usage"]["requests"] == len(anna.model.requests_for(mark)) == TURNS + MAILS + EVENTS
    assert ["ap-none" in notice for notice in view["notices"]] == [True]

    assert len(events_kept(anna, mark)) == EVENTS
    await anna.http.post(f"/v1/assistants/{chat_id}/cancel", json={"undo": True})
    with pytest.raises(WorkflowFailureError):
        await anna.temporal.get_workflow_handle(chat_id).result()
    done = await anna.view(chat_id)
    assert Counter(step["status"] for step in done["undo"]) == {"undone": EVENTS, "impossible": MAILS}
    assert events_kept(anna, mark) == []


async def test_what_was_done_in_one_turn_may_be_asked_for_again_in_another(stack: Stack, fresh: Fresh) -> None:
    """Only further plans for the same message may not repeat what was done or rejected."""
    first, again, more = fresh("Mail team@example.com"), fresh("All the same"), fresh("Once more")
    for message in (first, again, more):
        stack.model.script(message, plan_answer([mail("m")]))
    view = await stack.asked((await stack.start(first, mode="chat"))["id"])
    await stack.decide(view, "reject")
    await stack.until(view["id"], lambda v: v["status"] == "awaiting_input")
    rejected_before = await say(stack, view["id"], again)
    assert await statuses_after(stack, rejected_before) == ["completed"]
    done_before = await say(stack, view["id"], more)
    assert await statuses_after(stack, done_before) == ["completed"]
    assert len(sent_mails(stack, view["id"])) == 2
    await stack.http.post(f"/v1/assistants/{view['id']}/cancel")


async def statuses_after(stack: Stack, asked: View) -> list[str]:
    """The turn's steps once what it asked is approved."""
    assert (await stack.decide(asked)).status_code == 200
    view = await stack.until(asked["id"], lambda v: v["status"] == "awaiting_input")
    return [step["status"] for step in view["plan"]["steps"] if step["id"] == pending(asked)[0]["step_id"]]
