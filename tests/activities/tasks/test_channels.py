"""Telling the person of a reminder: by mail, by webhook, or by the list alone; over hours, on the time-skipping server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from sqlite3 import connect
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import AnyHttpUrl, SecretStr, ValidationError
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.email.contract import Email
from activities.email.settings import EmailSettings
from activities.email.worker import plugin as email_plugin
from activities.tasks.contract import Channel, Reminder, Tasks
from activities.tasks.settings import TasksSettings
from activities.tasks.worker import plugin as tasks_plugin
from retinue.network.webhooks import key_of, signature
from retinue.temporal.connection import DATA_CONVERTER
from retinue.times import present
from tests.conftest import patient
from workers import temporal_server
from workers.runner import SANDBOX, capability_worker, workflows_worker
from workflows.reminder import PAUSES

from .conftest import Timers
from .receiver import SECRET, Receiver, receiving

Call = Callable[..., Awaitable[dict[str, Any]]]
Comes = Callable[[Channel], Awaitable[dict[str, Any]]]
TRIES = 6
"""Attempts of one round, as the tool's options say."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server, with the workflow worker."""
    binary = temporal_server.binary().with_name("temporal-test-server")
    async with (
        await WorkflowEnvironment.start_time_skipping(
            data_converter=DATA_CONVERTER, test_server_existing_path=str(binary)
        ) as environment,
        patient(workflows_worker(environment.client, workflow_runner=SANDBOX)),
    ):
        yield environment


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    return tmp_path / "email.db"


@pytest.fixture
async def comes(skipping: WorkflowEnvironment, call: Call, list_url: str, mailbox: Path, receiver: Receiver) -> Comes:
    """Plans a reminder, lets its time come with workers that tell by a channel, and gives the task as listed then."""

    async def run(channel: Channel) -> dict[str, Any]:
        planned = await call("remind", title="Call  mum", at="2026-11-23T09:00:00+01:00")
        settings = TasksSettings(
            database_url=list_url,
            notify=channel,
            webhook_url=AnyHttpUrl(receiver.url),
            webhook_secret=SecretStr(SECRET),
        )
        mail = EmailSettings(database_url=f"sqlite+aiosqlite:///{mailbox}")
        async with AsyncExitStack() as open_things:
            for contract, plugin in ((Tasks, tasks_plugin(settings)), (Email, email_plugin(mail))):
                await open_things.enter_async_context(capability_worker(skipping.client, contract, plugin))
            at = await skipping.get_current_time() + timedelta(hours=1)
            await skipping.client.execute_workflow(
                "ReminderWorkflow",
                Reminder(task_id=planned["task_id"], title=planned["title"], at=at),
                id=f"reminder-{planned['task_id']}-{uuid.uuid4().hex}",
                task_queue="workflows",
            )
        tasks: list[dict[str, Any]] = (await call("list"))["tasks"]
        [task] = tasks
        return task

    return run


def _inbox(mailbox: Path) -> list[tuple[Any, ...]]:
    with closing(connect(mailbox)) as database:
        return database.execute("SELECT subject, recipients, lower(folder) FROM messages").fetchall()


async def test_by_default_the_list_alone_says_it(comes: Comes, receiver: Receiver, mailbox: Path) -> None:
    task = await comes(Channel.CONSOLE)

    assert task["reminded_at"] is not None
    assert task["reminder_problem"] is None
    assert (receiver.ids, _inbox(mailbox)) == ([], [])


async def test_a_mail_goes_to_oneself_and_to_nobody_else(comes: Comes, receiver: Receiver, mailbox: Path) -> None:
    task = await comes(Channel.MAIL)

    [(subject, recipients, folder)] = _inbox(mailbox)
    assert (subject, folder) == ("Reminder: Call mum", "inbox")
    assert "me@retinue.example" in str(recipients)
    assert (task["reminder_problem"], receiver.ids) == (None, [])


async def test_a_webhook_is_told_what_came_and_when(comes: Comes, receiver: Receiver) -> None:
    """The receiver checks signature and key itself."""
    task = await comes(Channel.WEBHOOK)

    [message] = receiver.messages
    assert message == {
        "task_id": task["task_id"],
        "title": "Call mum",
        "due": message["due"],
        "reminded_at": task["reminded_at"],
    }
    assert task["reminder_problem"] is None


async def test_a_lost_reply_is_sent_again_under_the_same_id(comes: Comes, receiver: Receiver) -> None:
    receiver.swallows = 1

    task = await comes(Channel.WEBHOOK)

    assert (len(receiver.ids), len(set(receiver.ids)), task["reminder_problem"]) == (2, 1, None)


async def test_a_webhook_that_is_away_for_hours_is_told_in_the_end(comes: Comes, receiver: Receiver) -> None:
    """Two rounds in vain; what the list said meanwhile is taken back."""
    receiver.answers = [500] * 2 * TRIES

    task = await comes(Channel.WEBHOOK)

    assert (len(receiver.ids), len(set(receiver.ids))) == (2 * TRIES + 1, 1)
    assert task["reminder_problem"] is None


async def test_a_webhook_that_stays_away_is_given_up_and_the_list_says_so(comes: Comes, receiver: Receiver) -> None:
    receiver.always = 500

    task = await comes(Channel.WEBHOOK)

    assert len(receiver.ids) == TRIES * (len(PAUSES) + 1)
    assert task["reminder_problem"] == "the webhook has an internal problem (HTTP 500); no further attempt is made"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not accept"),
        (403, "does not allow"),
        (410, "does not exist any more"),
        (301, "does not exist any more"),
    ],
)
async def test_a_webhook_that_never_will_is_given_up_at_once(
    comes: Comes, receiver: Receiver, status: int, words: str
) -> None:
    receiver.always = status

    task = await comes(Channel.WEBHOOK)

    assert len(receiver.ids) == 1
    assert words in task["reminder_problem"]
    assert "canary" not in task["reminder_problem"]


async def test_a_webhook_that_asks_for_an_hour_gets_it(comes: Comes, receiver: Receiver) -> None:
    receiver.answers = [429]

    task = await comes(Channel.WEBHOOK)

    assert (len(receiver.ids), task["reminder_problem"]) == (2, None)


@pytest.mark.parametrize("status", [400, 404, 408, 422])
async def test_what_a_receiver_refuses_may_be_taken_later(comes: Comes, receiver: Receiver, status: int) -> None:
    receiver.answers = [status]

    assert (await comes(Channel.WEBHOOK))["reminder_problem"] is None
    assert len(receiver.ids) == 2


def test_the_signature_is_the_one_of_the_standard() -> None:
    """The example that its libraries are tested with."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'

    assert (
        signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "needs TASKS_WEBHOOK_URL"),
        ({"webhook_url": "https://example.com"}, "needs TASKS_WEBHOOK_SECRET"),
        ({"webhook_url": "https://example.com", "webhook_secret": "canary"}, "24 to 64 bytes"),
        ({"webhook_url": "https://example.com", "webhook_secret": "whsec_Y2FuYXJ5"}, "24 to 64 bytes"),
    ],
)
def test_settings_that_cannot_work_say_so_without_the_secret(variables: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        TasksSettings.model_validate({"notify": "webhook", "database_url": "sqlite+aiosqlite://", **variables})

    assert "canary" not in str(refused.value)
    assert "Y2FuYXJ5" not in str(refused.value)


async def test_without_a_webhook_none_is_told(call: Call) -> None:
    moment = "2026-11-23T09:00:00+01:00"
    with pytest.raises(ApplicationError, match="no webhook is configured") as refused:
        await call("post_reminder", task_id="1", title="x", due=moment, reminded_at=moment)

    assert refused.value.non_retryable


async def test_a_note_about_a_deleted_task_is_lost_and_hurts_nobody(call: Call) -> None:
    assert await call("note_delivery", task_id="gone", problem="x") == {"task_id": "gone", "noted": False}


async def test_a_reminder_that_repeats_comes_on_each_of_its_days(
    skipping: WorkflowEnvironment, call: Call, timers: Timers, list_url: str, mailbox: Path
) -> None:
    """Three days of it: each time one mail, each timer started by the one before, and none after the last."""
    at = (present() + timedelta(hours=1)).replace(microsecond=0)
    planned = await call(
        "remind", title="Pills", at=at.isoformat(), repeats="FREQ=DAILY;COUNT=3", timezone="Europe/Berlin"
    )
    settings = TasksSettings(database_url=list_url, notify=Channel.MAIL)
    mail = EmailSettings(database_url=f"sqlite+aiosqlite:///{mailbox}")
    [first] = timers.started.values()
    async with AsyncExitStack() as open_things:
        for contract, plugin in ((Tasks, tasks_plugin(settings)), (Email, email_plugin(mail))):
            await open_things.enter_async_context(capability_worker(skipping.client, contract, plugin))
        await skipping.client.execute_workflow(first["type"], first["reminder"], id=first["id"], task_queue="workflows")
        await skipping.sleep(timedelta(days=5))
        for number in (1, 2):
            described = await skipping.client.get_workflow_handle(f"{first['id']}-{number}").describe()
            assert described.status is WorkflowExecutionStatus.COMPLETED
        with pytest.raises(RPCError):
            await skipping.client.get_workflow_handle(f"{first['id']}-3").describe()

    assert [subject for subject, _, _ in _inbox(mailbox)] == ["Reminder: Pills"] * 3
    ended = await call("look_up", task_id=planned["task_id"])
    last = (at + timedelta(days=2)).astimezone(ZoneInfo("Europe/Berlin"))
    assert ("repeats" in ended, datetime.fromisoformat(ended["remind_at"]).date()) == (False, last.date())
