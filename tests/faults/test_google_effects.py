"""Workers that die, and replies that are lost, between a mail or an event at Google and its record: nothing is done twice."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

import httpx
import pytest

from retinue.accounts.connection import Connection
from retinue.testing import plan_answer
from tests.accounts.emulators import Emulators, emulators
from tests.accounts.google_account import connection, google_connection
from tests.accounts.google_calendar import GoogleCalendar, google_calendar
from tests.activities.contacts.between import lost, standing_between
from tests.conftest import View, pending, steps
from tests.faults.conftest import FaultStack, respawn
from workers.children import Child

__all__ = ["emulators"]
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(300)]
RUNS = 30
EVENTS = "/calendar/v3/calendars/primary/events"


@dataclass
class Office:
    """The stack, and what became of its runs."""

    stack: FaultStack
    views: dict[str, View] = field(default_factory=dict)

    def worker(self, capability: str, account: Connection, **environment: str) -> Child:
        told = {**account.model_dump(mode="json"), "secret": account.secret.get_secret_value()}
        return self.stack.worker(
            capability, module="tests.faults.at_google", TEST_CONNECTION=json.dumps(told), **environment
        )

    async def start(self, number: int, tool: str, args: dict[str, Any]) -> str:
        message = f"Do number {number}"
        plan = plan_answer([{"id": "s1", "tool": tool, "args": args}])
        self.stack.model.script(message, *[plan] * 4)
        return str((await self.stack.start(message))["id"])

    async def until_ended(self, ids: list[str], *, seconds: float) -> Counter[str]:
        """Approve what is asked, and repeat nothing that is in doubt; returns how the steps ended."""
        deadline = time.monotonic() + seconds
        while len(self.views) < len(ids) and time.monotonic() < deadline:
            for assistant_id in [assistant_id for assistant_id in ids if assistant_id not in self.views]:
                view = await self.stack.view(assistant_id)
                for index, asked in enumerate(pending(view)):
                    decision = "reject" if asked["kind"] == "repeat" else "approve"
                    await self.stack.decide(view, decision, index=index)
                if view["status"] in {"completed", "failed", "cancelled"}:
                    self.views[assistant_id] = view
            await asyncio.sleep(0.3)
        assert set(self.views) == set(ids)
        return Counter(str(steps(view)["s1"]["status"]) for view in self.views.values())

    async def run(self, workers: list[Child], tool: str, arguments: list[dict[str, Any]]) -> tuple[Counter[str], int]:
        """Run a step once for each arguments, while dead workers are started again; returns how they ended, and the deaths."""
        deaths: list[int] = []

        async def raise_the_dead() -> None:
            while True:
                deaths.append(respawn(workers))
                await asyncio.sleep(0.1)

        with self.stack.workers(*workers):
            ids = [await self.start(number, tool, args) for number, args in enumerate(arguments)]
            raising = asyncio.create_task(raise_the_dead())
            ended = await self.until_ended(ids, seconds=270)
            raising.cancel()
        return ended, sum(deaths)


@pytest.fixture
async def office(faulty: FaultStack, planner: None) -> Office:
    return Office(faulty)


@pytest.fixture
def google() -> Iterator[GoogleCalendar]:
    with google_calendar() as running:
        yield running


def mails() -> list[dict[str, Any]]:
    return [{"to": [f"p{number}@example.com"], "subject": f"Mail {number}", "body": "Hello"} for number in range(RUNS)]


def events() -> list[dict[str, Any]]:
    day = "2026-12-{:02}T{}:00:00+01:00"
    return [
        {"title": f"Event {number}", "start": day.format(number + 1, "09"), "end": day.format(number + 1, "10")}
        for number in range(RUNS)
    ]


@pytest.fixture
def account(emulators: Emulators) -> Connection:
    """Cleo's account at the emulator, without events."""
    found = google_connection(emulators, "cleo")
    with as_cleo(found) as http:
        for each in http.get(EVENTS, params={"maxResults": 250}).json()["items"]:
            http.delete(f"{EVENTS}/{each['id']}").raise_for_status()
    return found


def as_cleo(account: Connection) -> httpx.Client:
    headers = {"Authorization": f"Bearer {account.secret.get_secret_value()}"}
    return httpx.Client(base_url=account.endpoints["api"], headers=headers, timeout=20)


def sent(account: Connection) -> Counter[str]:
    """How often each mail went out, by subject."""
    found: Counter[str] = Counter()
    url = "/gmail/v1/users/me/messages"
    with as_cleo(account) as http:
        for each in http.get(url, params={"labelIds": "SENT", "maxResults": 500}).json()["messages"]:
            raw = http.get(f"{url}/{each['id']}", params={"format": "raw"}).json()["raw"]
            found[message_from_bytes(base64.urlsafe_b64decode(raw + "=="))["Subject"]] += 1
    return found


@pytest.mark.parametrize("fault", ["killed", "lost"])
async def test_thirty_mails_are_found_at_gmail_and_sent_once(
    office: Office, emulators: Emulators, account: Connection, fault: str
) -> None:
    before = sent(account)
    environment = {"RETINUE_FAULT": "before_receipt:email"} if fault == "killed" else {}
    if fault == "lost":
        emulators.fault("google", "/gmail/v1/users/me/messages/send", kind="lost", count=RUNS)
    workers = [office.worker("email", account, EMAIL_SETTLE_SECONDS="5", **environment) for _ in range(4)]

    ended, deaths = await office.run(workers, "email.send", mails())

    assert ended == {"completed": RUNS}
    assert sent(account) - before == {f"Mail {number}": 1 for number in range(RUNS)}
    assert deaths >= RUNS or fault == "lost"


@pytest.mark.parametrize("fault", ["killed", "lost"])
async def test_thirty_events_are_found_by_their_ids_and_entered_once(
    office: Office, google: GoogleCalendar, fault: str
) -> None:
    environment = {"RETINUE_FAULT": "before_receipt:calendar"} if fault == "killed" else {}
    with standing_between(google.url) as between:
        between.after["POST"] = [lost] * (RUNS if fault == "lost" else 0)
        account = connection(between.url, "token")
        workers = [office.worker("calendar", account, **environment) for _ in range(4)]

        ended, deaths = await office.run(workers, "calendar.create_event", events())

    assert ended == {"completed": RUNS}
    assert Counter(each["summary"] for each in google.shown()) == {f"Event {number}": 1 for number in range(RUNS)}
    assert between.asked.count("POST") == RUNS
    assert deaths >= RUNS or fault == "lost"


async def test_thirty_events_at_the_emulator_are_entered_once_and_asked_about(
    office: Office, emulators: Emulators, account: Connection
) -> None:
    """emulate gives events ids of its own and shows none by its id, so nobody can tell: the person is asked."""
    emulators.fault("google", EVENTS, method="POST", kind="lost", count=RUNS)
    workers = [office.worker("calendar", account) for _ in range(4)]

    ended, _ = await office.run(workers, "calendar.create_event", events())

    with as_cleo(account) as http:
        items = http.get(EVENTS, params={"maxResults": 250}).json()["items"]
    assert ended == {"unknown": RUNS}
    assert Counter(each["summary"] for each in items) == {f"Event {number}": 1 for number in range(RUNS)}
