"""Effects at an outer service of which nobody knows whether they happened: a person decides, and only a yes repeats one."""

from __future__ import annotations

import asyncio
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import MetaData
from temporalio import activity
from temporalio.worker import Worker

from retinue.activity_adapter import build_activities
from retinue.capability import Annotations, Capability, ToolOptions, tool
from retinue.errors import OutcomeUnknown, ServiceBusy, ServiceRefused
from retinue.ledger import Commit, Ledger
from retinue.store import Store
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.conftest import Stack, View, pending, steps

Fresh = Callable[[str], str]
LOST = "the post office did not answer; nobody knows whether the letter is on its way"


class Letter(BaseModel):
    to: str


@dataclass
class PostOffice:
    """The outer service: which letters it took, and how often it still swallows its reply."""

    taken: list[str] = field(default_factory=list)
    swallows: int = 0
    shows: bool = False
    closed: bool = False
    settles: float = 0
    busy: bool = False
    forgets: bool = False
    """The worker loses the result after it was recorded."""
    pause: float = 15
    """Seconds until the next attempt; mostly nobody waits for it."""
    worker: Worker | None = None


class Post(Capability):
    """Sends letters."""

    name = "post"
    version = "1"
    description = "Letters."
    instructions = ""

    @activity.defn(name="post.send")
    @tool(
        title="Send a letter",
        annotations=Annotations(read_only=False, sensitive=("/to",)),
        options=ToolOptions(start_to_close=10, first_retry_after=0.1, attempts=2),
    )
    @abstractmethod
    async def send(self, letter: Letter) -> Letter:
        """Send a letter."""


class PostTools(Post):
    """The tool over `once_outside`, as a provider writes it."""

    def __init__(self, store: Store, office: PostOffice) -> None:
        self.ledger: Ledger = Ledger(store)
        self._office = office

    async def send(self, letter: Letter) -> Letter:
        """Send it; the office may swallow its reply."""

        async def act(commit: Commit) -> Letter:
            if self._office.busy:
                raise ServiceBusy("the office is full", retry_after=self._office.pause)
            await commit()
            if self._office.closed:
                raise ServiceRefused("the office is closed; nothing was sent")
            self._office.taken.append(letter.to)
            if self._office.swallows:
                self._office.swallows -= 1
                raise OutcomeUnknown(LOST)
            return letter

        async def verify() -> Letter | None:
            if self._office.shows:
                return letter
            raise OutcomeUnknown(LOST)

        sent = await self.ledger.once_outside(letter, Letter, act=act, verify=verify, settle=self._office.settles)
        if self._office.forgets:
            raise ServiceBusy("the worker died", retry_after=self._office.pause)
        return sent


@pytest.fixture
async def office(stack: Stack, tmp_path: Path) -> AsyncIterator[PostOffice]:
    """A post office with a capability of its own, on the stack."""
    office = PostOffice()
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/post.db", MetaData(), owner="post")
    await store.open()
    async with Worker(
        stack.temporal, task_queue="post", activities=build_activities(PostTools(store, office)), build_id="post"
    ) as office.worker:
        await announce(stack.temporal, Post.manifest())
        yield office
    await store.close()


async def approved_letter(stack: Stack, fresh: Fresh, **body: Any) -> View:
    """A run whose letter was approved."""
    to = f"ana-{uuid.uuid4().hex[:6]}@example.com"
    message = fresh(f"Send a letter to {to}")
    after = {"id": "s2", "tool": "tasks.add", "args": {"title": "Wait for an answer"}, "depends_on": ["s1"]}
    stack.model.script(message, plan_answer([{"id": "s1", "tool": "post.send", "args": {"to": to}}, after]))
    view = await stack.asked((await stack.start(message, **body))["id"])
    assert (await stack.decide(view)).status_code == 200
    return view


async def letter_in_doubt(stack: Stack, fresh: Fresh, office: PostOffice, **body: Any) -> View:
    """The same, and the office says nothing about it."""
    office.swallows = 1
    view = await approved_letter(stack, fresh, **body)
    return await stack.until(view["id"], lambda v: [a["kind"] for a in pending(v)] == ["repeat"])


async def left_by_its_worker(stack: Stack, fresh: Fresh, office: PostOffice) -> View:
    """A run whose letter was sent, and whose worker went away between two attempts."""
    view = await approved_letter(stack, fresh)
    async with asyncio.timeout(10):
        while not office.taken:  # noqa: ASYNC110  # the office is a plain list and tells nobody
            await asyncio.sleep(0.05)
    assert office.worker is not None
    await office.worker.shutdown()
    return view


async def cancelled_before_the_next_attempt(stack: Stack, fresh: Fresh) -> View:
    """A run that is cancelled after its letter's first attempt failed, long before the second."""
    view = await approved_letter(stack, fresh)

    async def tried() -> bool:
        run = await stack.temporal.get_workflow_handle(view["id"]).describe()
        return any(activity.HasField("last_failure") for activity in run.raw_description.pending_activities)

    for _ in range(200):
        if await tried():
            break
        await asyncio.sleep(0.05)
    assert await tried()
    assert (await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})).status_code == 202
    return await stack.ended(view["id"])


def found(view: View) -> dict[str, Any]:
    return {step_id: step["status"] for step_id, step in steps(view).items()}


async def test_the_person_is_asked_and_a_yes_repeats_it(stack: Stack, fresh: Fresh, office: PostOffice) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    asked = pending(view)[0]
    assert "may have happened already" in asked["preview"]
    assert asked["reasons"][0] == LOST
    assert (await stack.decide(view)).status_code == 200
    view = await stack.ended(view["id"])
    assert found(view) == {"s1": "completed", "s2": "completed"}
    assert steps(view)["s1"]["result"] == {"to": office.taken[0]}
    assert len(office.taken) == 2


async def test_a_no_leaves_it_in_the_dark(stack: Stack, fresh: Fresh, office: PostOffice) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    assert (await stack.decide(view, "reject")).status_code == 200
    view = await stack.ended(view["id"])
    assert (view["status"], found(view)) == ("failed", {"s1": "unknown", "s2": "skipped"})
    assert len(office.taken) == 1


async def test_a_reply_that_came_meanwhile_counts_and_nothing_is_repeated(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    office.shows = True
    assert (await stack.decide(view)).status_code == 200
    view = await stack.ended(view["id"])
    assert found(view) == {"s1": "completed", "s2": "completed"}
    assert len(office.taken) == 1


async def test_a_cancel_while_it_is_asked_does_not_say_that_nothing_happened(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    assert (await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})).status_code == 202
    view = await stack.ended(view["id"])
    assert (view["status"], found(view)) == ("cancelled", {"s1": "unknown", "s2": "cancelled"})
    receipt = (await stack.http.get(f"/v1/assistants/{view['id']}/receipt")).json()
    assert [deed["status"] for deed in receipt["did"]] == ["unknown"]


async def test_it_is_repeated_only_as_it_was(stack: Stack, fresh: Fresh, office: PostOffice) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    refused = await stack.decide(view, "edit", args={"to": "ben@example.com"})
    assert (refused.status_code, "with the same arguments" in refused.text) == (422, True)
    assert (await stack.decide(view, "reject")).status_code == 200
    await stack.ended(view["id"])
    assert len(office.taken) == 1


async def test_an_attempt_that_never_reports_is_asked_about_when_the_attempts_are_used_up(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    """It is not a failure, after which a plan could send a second letter."""
    office.settles = 3600
    view = await letter_in_doubt(stack, fresh, office)
    assert "may still report" in pending(view)[0]["reasons"][0]
    assert (await stack.decide(view, "reject")).status_code == 200
    view = await stack.ended(view["id"])
    assert (found(view)["s1"], len(office.taken)) == ("unknown", 1)


async def test_a_repeat_that_fails_leaves_the_first_effect_in_the_dark(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    """That the second letter was refused says nothing about the first: no other plan may send a third."""
    view = await letter_in_doubt(stack, fresh, office)
    office.closed = True
    assert (await stack.decide(view)).status_code == 200
    view = await stack.ended(view["id"])
    assert (found(view)["s1"], len(office.taken)) == ("unknown", 1)
    said = steps(view)["s1"]["error"]["message"]
    assert (LOST in said, "the office is closed" in said) == (True, True)


async def test_a_cancel_while_it_is_looked_for_again_does_not_say_that_nothing_happened(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    view = await letter_in_doubt(stack, fresh, office)
    office.settles = 3600
    assert (await stack.decide(view)).status_code == 200
    await stack.until(view["id"], lambda v: steps(v)["s1"]["status"] == "running")
    assert (await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})).status_code == 202
    view = await stack.ended(view["id"])
    assert (view["status"], found(view)["s1"], len(office.taken)) == ("cancelled", "unknown", 1)


async def test_a_chat_goes_on_after_a_doubt_and_can_be_cancelled(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    view = await letter_in_doubt(stack, fresh, office, mode="chat")
    assert (await stack.decide(view, "reject")).status_code == 200
    await stack.until(view["id"], lambda v: v["status"] == "awaiting_input")
    more = fresh("And one to ben@example.com")
    stack.model.script(more, plan_answer([{"id": "s1", "tool": "post.send", "args": {"to": "ben@example.com"}}]))
    run = f"/v1/assistants/{view['id']}"
    assert (await stack.http.post(f"{run}/messages", json={"message": more})).status_code < 300
    await stack.until(view["id"], lambda v: bool(pending(v)))
    assert (await stack.http.post(f"{run}/cancel", json={})).status_code == 202
    assert (await stack.ended(view["id"]))["status"] == "cancelled"


async def test_a_cancel_between_two_attempts_does_not_say_that_nothing_happened(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    office.swallows, office.settles = 1, 3600
    view = await cancelled_before_the_next_attempt(stack, fresh)
    assert (view["status"], found(view)) == ("cancelled", {"s1": "unknown", "s2": "cancelled"})
    assert "it is unknown whether" in steps(view)["s1"]["error"]["message"]
    receipt = (await stack.http.get(f"/v1/assistants/{view['id']}/receipt")).json()
    assert [deed["status"] for deed in receipt["did"]] == ["unknown"]
    assert len(office.taken) == 1


async def test_a_cancel_after_it_was_done_and_its_result_was_lost_says_that_it_was_done(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    office.forgets = True
    view = await cancelled_before_the_next_attempt(stack, fresh)
    assert (view["status"], found(view)) == ("cancelled", {"s1": "completed", "s2": "cancelled"})
    assert steps(view)["s1"]["result"] == {"to": office.taken[0]}


async def test_a_cancel_between_two_attempts_of_which_none_acted_is_a_cancel(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    office.busy = True
    view = await cancelled_before_the_next_attempt(stack, fresh)
    assert (view["status"], found(view)) == ("cancelled", {"s1": "cancelled", "s2": "cancelled"})
    assert office.taken == []


async def test_a_cancel_while_nobody_can_be_asked_leaves_it_in_the_dark(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    office.forgets = True
    view = await left_by_its_worker(stack, fresh, office)
    assert (await stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})).status_code == 202
    view = await stack.ended(view["id"])
    assert (view["status"], found(view)["s1"]) == ("cancelled", "unknown")


async def test_a_step_that_is_skipped_while_it_waits_for_a_worker_is_not_said_to_have_been_skipped(
    stack: Stack, fresh: Fresh, office: PostOffice
) -> None:
    """An attempt had acted before its worker went away."""
    office.forgets, office.pause = True, 2
    view = await left_by_its_worker(stack, fresh, office)
    await stack.until(view["id"], lambda v: steps(v)["s1"]["status"] == "awaiting_worker")
    chosen = await stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": "skip"})
    assert chosen.status_code < 300, chosen.text
    assert found(await stack.ended(view["id"])) == {"s1": "unknown", "s2": "skipped"}
