"""Workers that die or freeze while they hand mails to a real SMTP conversation: nobody gets a mail twice in silence."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from retinue.testing import plan_answer
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, Conversation, Dovecot, Sink, dovecot, sink
from tests.conftest import View, pending, steps
from tests.faults.conftest import FaultStack, respawn
from tests.faults.test_database_files import fill
from tests.retinue.test_store_files import small_disk
from workers.children import Child

__all__ = ["small_disk"]
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy")]
MAILS = 30
FROZEN_FOR = 25.0
SETTLE = 5
POINTS = ("RCPT", "DATA", "body", "dot", "replied", "RCPT", "DATA", "dot", "replied", "dot")
"""Where in the conversation a worker is frozen. The sink goes on: what it says then waits in the worker's socket.

At `body` it is often in the transaction of its commit, and keeps all others waiting: hence only one in ten."""


@pytest.fixture(scope="module")
def mailbox_server() -> Iterator[Dovecot]:
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot() as running:
        yield running


@pytest.fixture
async def post() -> AsyncIterator[Sink]:
    async with sink() as running:
        yield running


@dataclass
class Office:
    """The stack, the two mail servers, and what happens to the runs."""

    stack: FaultStack
    mailbox: Dovecot
    post: Sink
    user: str
    repeats: dict[str, str] = field(default_factory=dict)
    """What the person answers in doubt, by run; `reject` where nothing stands here."""
    views: dict[str, View] = field(default_factory=dict)

    def worker(self, name: str = "me", *, module: str = "workers", **environment: str) -> Child:
        return self.stack.worker(
            "email",
            module=module,
            EMAIL_PROVIDER="imap",
            EMAIL_FROM="me@retinue.test",
            EMAIL_SMTP_URL=self.post.url(name),
            EMAIL_IMAP_URL=self.mailbox.url(self.user),
            EMAIL_SETTLE_SECONDS=str(SETTLE),
            **environment,
        )

    async def start(self, number: int) -> str:
        """One run that sends one mail; its subject tells it apart."""
        to = f"p{number}@example.com"
        message = f"Write number {number} to {to}"
        args = {"to": [to], "subject": f"Number {number}", "body": "Hello"}
        plan = plan_answer([{"id": "s1", "tool": "email.send", "args": args}])
        self.stack.model.script(message, *[plan] * 4)
        return str((await self.stack.start(message))["id"])

    async def until_ended(self, ids: list[str], *, seconds: float) -> None:
        """Decide what is asked until every run has ended."""
        deadline = time.monotonic() + seconds
        while len(self.views) < len(ids) and time.monotonic() < deadline:
            for assistant_id in [assistant_id for assistant_id in ids if assistant_id not in self.views]:
                await self._advance(assistant_id)
            await asyncio.sleep(0.3)

    async def approve(self, view: View) -> None:
        """Approve what is pending."""
        for index in range(len(pending(view))):
            await self.stack.decide(view, index=index)

    async def _advance(self, assistant_id: str) -> None:
        view = await self.stack.view(assistant_id)
        for index, asked in enumerate(pending(view)):
            in_doubt = asked["kind"] == "repeat"
            decision = self.repeats.pop(assistant_id, "reject") if in_doubt else "approve"
            await self.stack.decide(view, decision, index=index)
        if view["status"] in {"completed", "failed", "cancelled"}:
            self.views[assistant_id] = view

    def outcome(self, assistant_id: str) -> str:
        return str(steps(self.views[assistant_id])["s1"]["status"])

    def at_the_sink(self) -> Counter[str]:
        """How often each mail went out, by subject."""
        return Counter(message_from_bytes(content)["Subject"] for _, content in self.post.taken)


@pytest.fixture
async def office(faulty: FaultStack, planner: None, mailbox_server: Dovecot, post: Sink) -> Office:
    return Office(faulty, mailbox_server, post, user=f"u{os.urandom(4).hex()}")


async def raise_the_dead(workers: list[Child], deaths: list[int]) -> None:
    while True:
        deaths.append(respawn(workers))
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_thirty_kills_between_the_servers_yes_and_the_record_repeat_no_mail(office: Office) -> None:
    """Every second mail is filed by the server itself, so that its step can be told to be done. The others end in doubt."""

    async def hook(point: str, conversation: Conversation) -> str | None:
        if point == "dot" and number_of(conversation) % 2 == 0:
            await asyncio.to_thread(office.mailbox.deliver, office.user, conversation.content, mailbox="Sent")
        return None

    office.post.hook = hook
    workers = [office.worker(RETINUE_FAULT="before_receipt:email") for _ in range(4)]
    deaths: list[int] = []
    with office.stack.workers(*workers):
        ids = [await office.start(number) for number in range(MAILS)]
        office.repeats[ids[1]] = "approve"
        raising = asyncio.create_task(raise_the_dead(workers, deaths))
        await office.until_ended(ids, seconds=200)
        raising.cancel()

    found = office.at_the_sink()
    assert sum(deaths) >= MAILS
    assert {number: office.outcome(ids[number]) for number in range(MAILS)} == {
        number: "unknown" if number % 2 else "completed" for number in range(MAILS)
    }
    assert found.pop("Number 1") == 2, "the person said that it is to be sent again"
    assert found == {f"Number {number}": 1 for number in range(MAILS) if number != 1}
    filed = Counter(message_from_bytes(content)["Subject"] for content in office.mailbox.mails(office.user, "Sent"))
    assert filed == {f"Number {number}": 1 for number in range(0, MAILS, 2)}


@dataclass
class Freezer:
    """A sink's hook that stops the first worker with each mail, at a point of the mail's own, and lets it go on later.

    A worker that is stopped in the middle of a transaction keeps the others from writing, as it would in earnest.
    """

    pids: dict[str, int]
    thawing: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    async def hook(self, point: str, conversation: Conversation) -> str | None:
        number = number_of(conversation)
        if POINTS[number % len(POINTS)] == point and number not in self.thawing:
            os.kill(self.pids[conversation.user], signal.SIGSTOP)
            self.thawing[number] = asyncio.create_task(self._thaw(self.pids[conversation.user]))
        return None

    async def _thaw(self, pid: int) -> None:
        try:
            await asyncio.sleep(FROZEN_FOR)
        finally:
            os.kill(pid, signal.SIGCONT)


def number_of(conversation: Conversation) -> int:
    """Which mail it is about, as far as that was said."""
    return int(conversation.recipients[0][1:].partition("@")[0]) if conversation.recipients else -1


@pytest.mark.timeout(240)
async def test_thirty_workers_that_freeze_and_wake_up_again_send_no_mail_twice(office: Office) -> None:
    workers = {f"w{number}": office.worker(f"w{number}") for number in range(MAILS)}
    with office.stack.workers(*workers.values()):
        freezer = Freezer({name: worker.process.pid or 0 for name, worker in workers.items() if worker.process})
        office.post.hook = freezer.hook
        ids = [await office.start(number) for number in range(MAILS)]
        await office.until_ended(ids, seconds=200)
        await asyncio.gather(*freezer.thawing.values())
        await asyncio.sleep(2)  # whoever woke up last may still be at it

    found = office.at_the_sink()
    outcomes = {assistant_id: office.outcome(assistant_id) for assistant_id in ids}
    assert set(freezer.thawing) == set(range(MAILS))
    assert set(outcomes.values()) <= {"completed", "unknown"}
    assert {subject: times for subject, times in found.items() if times > 1} == {}
    assert [
        number for number in range(MAILS) if outcomes[ids[number]] == "completed" and not found[f"Number {number}"]
    ] == []


@pytest.mark.timeout(200)
async def test_a_mail_that_went_out_is_recorded_when_the_disk_has_room_again_and_nobody_is_asked(
    office: Office, small_disk: Path
) -> None:
    async def hook(point: str, conversation: Conversation) -> str | None:
        if point == "dot":
            fill(small_disk / "filler")
        return None

    office.post.hook = hook
    worker = office.worker(EMAIL_DATABASE_URL=f"sqlite+aiosqlite:///{small_disk / 'email.db'}")
    with office.stack.workers(worker):
        assistant_id = await office.start(0)
        view = await office.stack.view(assistant_id)
        while view["status"] != "awaiting_worker" and not asked_again(view):
            await office.approve(view)
            await asyncio.sleep(0.3)
            view = await office.stack.view(assistant_id)
        assert not asked_again(view)
        (small_disk / "filler").unlink()
        await office.until_ended([assistant_id], seconds=60)

    assert view["waiting_for"][0]["reason"] == (
        "it was done, but cannot be recorded: the database of email does not work at the moment: its disk is full"
    )
    assert (office.outcome(assistant_id), asked_again(office.views[assistant_id])) == ("completed", [])
    assert office.at_the_sink() == {"Number 0": 1}


def asked_again(view: View) -> list[str]:
    """The questions whether to do something again of which nobody knows whether it was done."""
    return [one["id"] for one in view["approvals"] if one["kind"] == "repeat"]


async def until(true: Any, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_without_the_point_of_no_return_the_same_kill_sends_twice(office: Office) -> None:
    """The tests' own test."""
    worker = office.worker(module="tests.faults.uncommitted", RETINUE_FAULT="before_receipt:email")
    with office.stack.workers(worker):
        assistant_id = await office.start(0)
        running = asyncio.create_task(office.until_ended([assistant_id], seconds=60))
        raising = asyncio.create_task(raise_the_dead([worker], []))
        await until(lambda: office.at_the_sink()["Number 0"] > 1, seconds=60)
        running.cancel()
        raising.cancel()
