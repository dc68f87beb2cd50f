"""A watch over days, on the time-skipping server: quiet hours, failures, accounts that go away, and histories that grow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.email.contract import Automatic, Email, MailChange, MailChanges
from api.services.triggers import first_step
from retinue.capability import WORKFLOW_QUEUE
from retinue.temporal.connection import DATA_CONVERTER, add_search_attributes
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from tests.api.conftest import eventually
from workers import temporal_server
from workflows import account_watch
from workflows.account_watch import AccountWatchWorkflow, StartAccountWatch, Trigger, WatchView
from workflows.messages import StartAssistant
from workflows.rules.triggers import Conditions, Limited, QuietHours, TriggerEvent

FIRST = first_step(TriggerEvent.MAIL, Email.manifest())


@workflow.defn(name="AssistantWorkflow")
class Started:
    """What a watch starts."""

    @workflow.run
    async def run(self, start: StartAssistant) -> str:
        """End at once."""
        return start.message


@dataclass
class Mailbox:
    """`email.changes` over a list of mails; a cursor is how many were seen."""

    mails: list[MailChange] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)
    fails: list[ApplicationError] = field(default_factory=list)
    reset: str = ""
    account: str = ""
    offset: int = 0

    def arrive(self, subject: str, **fields: Any) -> None:
        """A mail comes in."""
        known: dict[str, Any] = {"change_id": uuid.uuid4().hex, "sender": "ana@example.com", "date": datetime.now(UTC)}
        self.mails.append(MailChange(**{"message_id": f"<{subject}>", "subject": subject, **known, **fields}))

    def activity(self) -> Any:
        """The tool."""

        @activity.defn(name="email.changes")
        async def changes(arguments: dict[str, Any]) -> dict[str, Any]:
            self.cursors.append(arguments.get("cursor"))
            if self.fails:
                raise self.fails.pop(0)
            seen = int(arguments.get("cursor") or len(self.mails) + self.offset) - self.offset
            found = MailChanges(
                changes=self.mails[max(0, seen) :], cursor=str(len(self.mails) + self.offset), account=self.account
            )
            said, self.reset = self.reset, ""
            return found.model_copy(update={"reset": said}).model_dump(mode="json", by_alias=True)

        return changes


@dataclass
class Watching:
    """A running watch and its mailbox."""

    client: Client
    environment: WorkflowEnvironment | None
    mailbox: Mailbox
    handle: WorkflowHandle[Any, Any]

    async def view(self) -> WatchView:
        found: WatchView = await self.handle.query("view", result_type=WatchView)
        return found

    async def skip(self, **length: float) -> None:
        assert self.environment is not None
        await self.environment.sleep(timedelta(**length))

    async def until(self, holds: Callable[[WatchView], Any], *, each: float = 30, times: int = 400) -> WatchView:
        """Skip until something holds."""
        for _ in range(times):
            if holds(view := await self.view()):
                return view
            await self.skip(seconds=each)
        raise AssertionError(f"did not come about: {await self.view()}")


def trigger(**fields: Any) -> Trigger:
    given: dict[str, Any] = {
        "trigger_id": f"t-{uuid.uuid4().hex}",
        "name": "x",
        "event": TriggerEvent.MAIL,
        "start": StartAssistant(message="Tell me"),
        "first": FIRST,
        "reads_by": "message_id",
        "created_at": datetime.now(UTC),
    }
    return Trigger(**given | fields)


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    binary = temporal_server.binary().with_name("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER, test_server_existing_path=str(binary)
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        yield environment


Watch = Callable[..., Any]


@asynccontextmanager
async def watches(client: Client, environment: WorkflowEnvironment | None = None) -> AsyncIterator[Watch]:
    """Starts watches of mailboxes, on queues of their own where the server is shared."""
    async with AsyncExitStack() as things:

        async def start(*triggers: Trigger, mailbox: Mailbox | None = None, **more: Any) -> Watching:
            box = mailbox or Mailbox()
            kinds = [AccountWatchWorkflow, Started]
            runner = UnsandboxedWorkflowRunner()
            for worker in (
                Worker(client, task_queue=WORKFLOW_QUEUE, workflows=kinds, workflow_runner=runner),
                Worker(client, task_queue="email", activities=[box.activity()]),
            ):
                await things.enter_async_context(worker)
            given = StartAccountWatch(owner="local", event=TriggerEvent.MAIL, triggers=list(triggers), **more)
            handle = await client.start_workflow(
                "AccountWatchWorkflow", given, id=f"watch-{uuid.uuid4().hex}", task_queue=WORKFLOW_QUEUE
            )
            return Watching(client, environment, box, handle)

        yield start


@pytest.fixture
async def watch(skipping: WorkflowEnvironment) -> AsyncIterator[Watch]:
    """Watches where time is skipped."""
    async with watches(skipping.client, skipping) as start:
        yield start


def _all_watch(view: WatchView) -> bool:
    return view.watching_since is not None and all(one.since for one in view.triggers)


def subjects(view: WatchView, number: int = 0) -> list[str]:
    return [run.because.rpartition(": ")[2] for run in view.triggers[number].recent]


def quiet_for_now(hours: float, now: datetime) -> QuietHours:
    """Quiet hours that have begun an hour ago."""
    return QuietHours(begins=(now - timedelta(hours=1)).time(), ends=(now + timedelta(hours=hours)).time())


async def test_what_arrives_in_quiet_hours_starts_its_run_when_they_end(
    watch: Watch, skipping: WorkflowEnvironment
) -> None:
    now = await skipping.get_current_time()
    quiet = trigger(quiet_hours=quiet_for_now(3, now), limits=Limited(per_hour=2))
    watching = await watch(quiet, trigger(conditions=Conditions(words=["nothing"])), every=600)
    await watching.until(_all_watch)
    for number in range(3):
        watching.mailbox.arrive(f"m{number}")
    view = await watching.until(lambda view: view.triggers[0].waiting, each=300)
    assert (len(view.triggers[0].waiting), view.triggers[0].left_out, subjects(view)) == (2, 1, [])
    view = await watching.until(lambda view: len(subjects(view)) == 2, each=600)
    assert (subjects(view), view.triggers[0].waiting) == (["m0", "m1"], [])
    assert view.triggers[0].recent[0].at - now >= timedelta(hours=3) - timedelta(seconds=1)


async def test_while_all_are_quiet_the_account_is_not_asked_and_nothing_is_lost(
    watch: Watch, skipping: WorkflowEnvironment
) -> None:
    now = await skipping.get_current_time()
    begins = (now + timedelta(minutes=30)).time()
    quiet = QuietHours(begins=begins, ends=(now + timedelta(hours=8)).time())
    watching = await watch(trigger(quiet_hours=quiet), every=600)
    await watching.until(_all_watch)
    await watching.skip(minutes=40)
    asked = len(watching.mailbox.cursors)
    watching.mailbox.arrive("At night")
    await watching.skip(hours=6)
    assert (len(watching.mailbox.cursors), subjects(await watching.view())) == (asked, [])
    assert subjects(await watching.until(subjects, each=600)) == ["At night"]


async def test_an_account_that_fails_is_asked_less_and_less_and_nothing_is_lost(watch: Watch) -> None:
    watching = await watch(trigger(), every=60)
    await watching.until(_all_watch)
    watching.mailbox.fails = [ApplicationError("no answer", type="ServiceRefused", non_retryable=True)] * 6
    watching.mailbox.arrive("Meanwhile")
    view = await watching.until(lambda view: view.problem)
    assert view.problem == "no answer"
    before = len(watching.mailbox.cursors)
    await watching.skip(minutes=10)
    assert len(watching.mailbox.cursors) - before <= 4
    view = await watching.until(subjects, each=600)
    assert (subjects(view), view.problem) == (["Meanwhile"], "")


async def test_a_disconnected_account_is_asked_once_an_hour_and_at_once_when_it_is_back(watch: Watch) -> None:
    watching = await watch(trigger(), every=60)
    await watching.until(_all_watch)
    watching.mailbox.arrive("Meanwhile")
    lost = ApplicationError("Google must be connected again", type="AccountDisconnected", non_retryable=True)
    watching.mailbox.fails = [lost] * 10
    await watching.until(lambda view: view.problem)
    asked = len(watching.mailbox.cursors)
    await watching.skip(minutes=150)
    assert len(watching.mailbox.cursors) - asked in (2, 3)
    watching.mailbox.fails = []
    await watching.handle.signal("account_connected")
    assert subjects(await watching.until(subjects, each=1)) == ["Meanwhile"]


async def test_another_account_begins_again_and_its_old_mails_start_nothing(watch: Watch) -> None:
    watching = await watch(trigger(), mailbox=Mailbox(account="one"), every=60)
    await watching.until(_all_watch)
    watching.mailbox.arrive("Of one")
    await watching.until(lambda view: subjects(view) == ["Of one"])
    watching.mailbox.account = "two"
    for number in range(3):
        watching.mailbox.arrive(f"Old mail {number} of two")
    view = await watching.until(lambda view: view.resets)
    assert "another one now" in view.resets[0]
    await watching.until(_all_watch)
    watching.mailbox.arrive("New")
    view = await watching.until(lambda view: len(subjects(view)) == 2)
    assert subjects(view) == ["Of one", "New"]


async def test_a_cursor_that_begins_again_is_said_and_starts_nothing_twice(watch: Watch) -> None:
    watching = await watch(trigger(), every=60)
    await watching.until(_all_watch)
    watching.mailbox.arrive("Once")
    await watching.until(subjects)
    watching.mailbox.reset, watching.mailbox.offset = "numbered again", 1
    watching.mailbox.arrive("Then")
    view = await watching.until(lambda view: len(subjects(view)) == 2)
    assert subjects(view) == ["Once", "Then"]
    assert [text.partition(": ")[2] for text in view.resets] == ["numbered again"]


@pytest.fixture
async def alone() -> AsyncIterator[Client]:
    """A real server of its own: on the shared one the product serves these queues."""
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER, dev_server_existing_path=str(temporal_server.binary())
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        yield environment.client


async def test_it_goes_on_over_many_runs_of_its_own(alone: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real server; the time-skipping one does not come back from this."""
    monkeypatch.setattr(account_watch, "_LOOKS_PER_RUN", 3)
    async with watches(alone) as watch:
        watching = await watch(trigger(limits=Limited(per_hour=100)), every=0.1)
        await eventually(watching.view, _all_watch)
        for number in range(12):
            watching.mailbox.arrive(f"m{number}")
            await asyncio.sleep(0.1)
        view = await eventually(watching.view, lambda view: len(view.triggers[0].started) == 12)
        assert subjects(view) == [f"m{number}" for number in range(2, 12)]
        described = await watching.handle.describe()
        assert described.raw_description.workflow_execution_info.first_run_id != described.run_id
        await watching.handle.terminate()


async def test_limits_open_again_as_time_goes_by(watch: Watch) -> None:
    watching = await watch(trigger(limits=Limited(per_hour=1, per_day=3)), every=600)
    await watching.until(_all_watch)
    for number in range(6):
        watching.mailbox.arrive(f"m{number}")
        await watching.until(lambda view: _handled(view) == number + 1, each=300)  # noqa: B023  # awaited within this turn of the loop
        await watching.skip(hours=1)
    view = await watching.view()
    assert (subjects(view), view.triggers[0].left_out) == (["m0", "m1", "m2"], 3)
    await watching.skip(hours=20)
    watching.mailbox.arrive("Tomorrow")
    assert subjects(await watching.until(lambda view: len(subjects(view)) == 4, each=600))[-1] == "Tomorrow"


def _handled(view: WatchView) -> int:
    return len(view.triggers[0].recent) + view.triggers[0].left_out


async def test_without_a_trigger_it_ends(watch: Watch) -> None:
    watching = await watch(every=60)
    await asyncio.wait_for(watching.handle.result(), 20)
    assert watching.mailbox.cursors == []


@pytest.mark.parametrize(
    ("fields", "starts"),
    [
        ({}, True),
        ({"own": True}, False),
        ({"automatic": Automatic.REPLIED}, False),
        ({"automatic": Automatic.GENERATED}, False),
        ({"automatic": Automatic.LIST}, False),
    ],
)
async def test_what_programs_and_we_ourselves_wrote_starts_nothing(
    watch: Watch, fields: dict[str, Any], starts: bool
) -> None:
    watching = await watch(trigger(), every=60)
    await watching.until(_all_watch)
    watching.mailbox.arrive("First", **fields)
    watching.mailbox.arrive("Last")
    view = await watching.until(lambda view: "Last" in subjects(view))
    assert subjects(view) == ["First"] * starts + ["Last"]


def test_quiet_hours_need_two_times() -> None:
    with pytest.raises(ValueError, match="two different times"):
        QuietHours(begins=time(7), ends=time(7))
