"""A step whose account must be connected again, over real workers and the real service: it waits, and goes on afterwards."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.plugin import SimplePlugin

from api.auth.principals import Person, Role
from api.services.accounts import AccountsOfPerson
from retinue.accounts import caller_keys
from retinue.accounts.client import AccountsClient
from retinue.accounts.connection import Accounts
from retinue.activity_adapter import build_activities
from retinue.capability import Annotations, Capability, tool
from retinue.temporal.registry import announce
from retinue.testing import plan_answer
from tests.accounts.service import Service, service
from tests.conftest import Stack, steps
from tests.replay.test_replay import replayer
from workers.runner import capability_worker
from workflows.steps import account_waits

Fresh = Callable[[str], str]
READ = Annotations(read_only=True, destructive=False, open_world=False, personal=True)


class Read(BaseModel):
    by: str
    account: str


class Diary(Capability):
    """Reads a diary that is kept elsewhere."""

    name = "diary"
    version = "1"
    description = "A diary."
    instructions = ""

    @activity.defn(name="diary.read")
    @tool(title="Read the diary", annotations=READ)
    @abstractmethod
    async def read(self) -> Read:
        """Read the diary."""


class DiaryTools(Diary):
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.calls = 0

    async def read(self) -> Read:
        self.calls += 1
        found = await self._accounts.connection()
        assert found is not None
        return Read(by=found.secret.get_secret_value()[-3:], account=found.name)


@dataclass
class Running:
    """The stack with a worker of the diary, and the account of its one person."""

    stack: Stack
    service: Service
    tools: DiaryTools
    account_id: str

    async def ask(self, message: str) -> dict[str, Any]:
        """Ask for the diary while its account is disconnected; the view of the waiting run."""
        self.stack.model.script(message, plan_answer([{"id": "s1", "tool": "diary.read"}]), plan_answer(reply="Read."))
        view = await self.stack.start(message)
        return await self.stack.until(view["id"], lambda seen: seen["status"] == "awaiting_account")

    def handle(self, view: dict[str, Any]) -> WorkflowHandle[Any, Any]:
        return self.stack.temporal.get_workflow_handle(view["id"])

    async def refuse(self) -> None:
        """The provider refuses the account's password."""
        self.service.servers.passwords.clear()
        assert not (await self.service.of(LOCAL_OWNER).test(self.account_id)).works

    async def connect_again(self, *, tell: bool = True) -> None:
        """The person connects it again at the front door, which tells the runs that wait."""
        self.service.servers.passwords.add("canary-new")
        door = AccountsOfPerson(
            self.service.with_key(caller_keys.bearer_of_people(self.service.root)), PERSON, self.stack.temporal
        )
        again = await self.service.connect_calendar(LOCAL_OWNER, "work", "canary-new", self.account_id)
        if tell:
            await door._wake(again.waiting)


PERSON = Person(name="local", roles=frozenset(Role))
LOCAL_OWNER = PERSON.owner


@pytest.fixture
async def running(stack: Stack) -> AsyncIterator[Running]:
    database = stack.data / f"accounts-{uuid.uuid4().hex}.db"
    async with service(stack.data, accounts_database_url=f"sqlite+aiosqlite:///{database}") as one:
        account = (await one.connect_calendar(LOCAL_OWNER, "work")).account
        with sqlite3.connect(
            database
        ) as rows:  # what an account is used for is fixed, and this capability is the test's
            rows.execute("UPDATE account SET capabilities = ?", [json.dumps(["calendar", "diary"])])
        client = AccountsClient(one.with_key(caller_keys.bearer_of("diary", one.root)))
        tools = DiaryTools(client)
        await announce(stack.temporal, Diary.manifest())
        plugin = SimplePlugin("diary", activities=build_activities(tools))
        async with client, capability_worker(stack.temporal, Diary, plugin):
            running = Running(stack, one, tools, account.account_id)
            await running.refuse()
            yield running


async def test_a_step_waits_for_its_account_and_goes_on_after_it_was_connected_again(
    running: Running, fresh: Fresh
) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    [wait] = view["accounts_to_connect"]
    assert (wait["name"], wait["account_id"], wait["capability"]) == ("work", running.account_id, "diary")
    assert wait["steps"] == ["s1"]
    step = steps(view)["s1"]
    assert step["status"] == "awaiting_account"
    assert step["error"]["type"] == "AccountDisconnected"
    assert "work must be connected again" in step["error"]["message"]
    await running.connect_again()
    done = await running.stack.ended(view["id"])
    assert done["status"] == "completed"
    assert steps(done)["s1"]["result"] == {"by": "new", "account": "work"}
    assert done["accounts_to_connect"] == []
    assert steps(done)["s1"]["error"] is None


async def test_a_signal_without_a_connected_account_changes_nothing(running: Running, fresh: Fresh) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    before = running.tools.calls
    for _ in range(3):
        await running.handle(view).signal("account_connected")
    async with asyncio.timeout(20):
        while running.tools.calls == before:  # noqa: ASYNC110  # the tool says nothing when it is called
            await asyncio.sleep(0.1)
    waits = await running.stack.until(view["id"], lambda seen: seen["status"] == "awaiting_account")
    assert waits["accounts_to_connect"][0]["since"] == view["accounts_to_connect"][0]["since"]
    await running.connect_again()
    assert (await running.stack.ended(view["id"]))["status"] == "completed"


async def test_a_run_that_nobody_told_looks_itself(
    running: Running, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_waits, "_FIRST_LOOK", timedelta(seconds=2))
    view = await running.ask(fresh("What is in my diary?"))
    await running.connect_again(tell=False)
    assert (await running.stack.ended(view["id"]))["status"] == "completed"


async def test_an_account_that_stays_away_fails_the_step_in_the_end(
    running: Running, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_waits, "_FIRST_LOOK", timedelta(seconds=1))
    monkeypatch.setattr(account_waits, "LONGEST", timedelta(seconds=1))
    view = await running.ask(fresh("What is in my diary?"))
    failed = await running.stack.until(view["id"], lambda seen: steps(seen)["s1"]["status"] == "failed")
    assert steps(failed)["s1"]["error"]["type"] == "AccountDisconnected"
    await running.stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})


async def test_a_waiting_run_replays_also_on_a_worker_without_keys(
    running: Running, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    monkeypatch.delenv("RETINUE_ACCOUNTS_PASS_KEYS")
    await replayer().replay_workflow(await running.handle(view).fetch_history())
    await running.connect_again()
    await running.stack.ended(view["id"])
    await replayer().replay_workflow(await running.handle(view).fetch_history())


async def test_a_cancel_ends_the_waiting(running: Running, fresh: Fresh) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    await running.stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})
    ended = await running.stack.ended(view["id"])
    assert ended["status"] == "cancelled"
    assert steps(ended)["s1"]["status"] == "cancelled"
    await running.connect_again()  # a run that has ended is told nothing, and that is no error


async def test_a_person_can_leave_the_step_out(running: Running, fresh: Fresh) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    done = await running.stack.http.post(f"/v1/assistants/{view['id']}/steps/s1", json={"choice": "fail"})
    assert done.status_code == 200, done.text
    failed = steps(await running.stack.until(view["id"], lambda seen: steps(seen)["s1"]["status"] == "failed"))["s1"]
    assert "not connected again" in failed["error"]["message"]
    await running.stack.http.post(f"/v1/assistants/{view['id']}/cancel", json={})


async def test_no_secret_reaches_the_history(running: Running, fresh: Fresh) -> None:
    view = await running.ask(fresh("What is in my diary?"))
    await running.connect_again()
    await running.stack.ended(view["id"])
    history = (await running.handle(view).fetch_history()).to_json()
    assert "AccountDisconnected" in history
    for canary in ("canary-password", "canary-new", *(key.hex() for key in running.service.root.keys.values())):
        assert canary not in history
