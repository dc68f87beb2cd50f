"""Workers: announcing until somebody listens, and telling when nobody ever will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    FixedSizeSlotSupplier,
    ResourceBasedSlotConfig,
    ResourceBasedSlotSupplier,
    ResourceBasedTunerConfig,
)

import activities
from activities.contacts.contract import Contacts
from retinue.capability import Manifest
from retinue.database import file_watch
from retinue.errors import InvalidArguments, ServiceUnavailable
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.registry import announce
from workers import runner, temporal_server


async def test_an_announcement_is_made_again_until_the_registry_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capability that starts long before the workflow worker is heard all the same."""
    answers: list[Exception | int] = [ServiceUnavailable("nobody"), ServiceUnavailable("still nobody"), 7]

    async def reluctant(*_: object) -> int:
        answer = answers.pop(0)
        return answer if isinstance(answer, int) else _raise(answer)

    monkeypatch.setattr(runner, "announce", reluctant)
    monkeypatch.setattr(runner, "_ANNOUNCE_PAUSE", 0.01)
    await runner.announce_until_heard(None, Contacts.manifest())  # type: ignore[arg-type]  # the replaced announce needs no client
    assert answers == []


class Database:
    """In place of an open database."""

    words = ""

    def lost(self) -> str:
        return ""

    async def problem(self) -> str:
        return self.words


async def test_the_problem_of_a_database_is_announced_with_each_manifest_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by those whose manifests change while they run, as of MCP servers."""
    told: list[tuple[str, str]] = []
    heard = asyncio.Event()

    async def announced(_client: object, manifest: Manifest, _update_id: str) -> int:
        told.append((manifest.version, manifest.problem))
        heard.set()
        return 1

    async def manifests() -> AsyncIterator[Manifest]:
        for version in ("1", "2"):
            yield Contacts.manifest().model_copy(update={"version": version})
            await heard.wait()

    database = Database()
    monkeypatch.setattr(runner, "announce", announced)
    monkeypatch.setattr(runner, "_PROBLEM_LOOK", 0)
    monkeypatch.setattr(file_watch, "OPEN", {database})
    announcements = runner.Announcements(None)  # type: ignore[arg-type]  # the replaced announce needs no client
    database.words = "its disk is full"
    watching = asyncio.ensure_future(announcements.watch())
    await asyncio.sleep(0.05)
    assert told == []
    await announcements.follow(manifests())
    heard.clear()
    database.words = ""
    await heard.wait()
    watching.cancel()
    assert told == [("1", "its disk is full"), ("2", "its disk is full"), ("2", "")]


async def test_a_notice_that_changes_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a person chooses a language model while the worker runs."""
    told: list[str] = []
    heard = asyncio.Event()

    async def announced(_client: object, manifest: Manifest, _update_id: str) -> int:
        told.append(manifest.notice)
        heard.set()
        return 1

    says = ["No model is set up."]
    monkeypatch.setattr(runner, "announce", announced)
    monkeypatch.setattr(runner, "_PROBLEM_LOOK", 0)
    monkeypatch.setattr(file_watch, "OPEN", set())
    manifest = Contacts.manifest(notice=says[0])
    watching = asyncio.ensure_future(runner.Announcements(None, manifest, lambda: says[0]).watch())  # type: ignore[arg-type]  # no client is asked
    await asyncio.sleep(0.05)
    assert told == []
    says[0] = ""
    await heard.wait()
    watching.cancel()
    assert told == [""]


def _raise(error: Exception) -> int:
    raise error


async def test_a_refused_announcement_ends_the_worker() -> None:
    """What runs beside a worker may not fail unseen."""

    async def refused() -> None:
        raise InvalidArguments("the registry refused it")

    with pytest.raises(InvalidArguments):
        await runner._until(asyncio.Event(), refused)


async def test_what_is_done_beside_does_not_end_the_worker() -> None:
    stop = asyncio.Event()

    async def quick() -> None:
        return None

    waiting = asyncio.ensure_future(runner._until(stop, quick))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    stop.set()
    await asyncio.wait_for(waiting, 1)


@pytest.mark.timeout(60)
async def test_an_announcement_without_a_workflow_worker_is_a_typed_error() -> None:
    """A real server on which nobody polls `workflows`."""
    binary = str(temporal_server.binary())
    async with await WorkflowEnvironment.start_local(
        data_converter=DATA_CONVERTER, dev_server_existing_path=binary, dev_server_log_level="error"
    ) as alone:
        with pytest.raises(ServiceUnavailable, match="did not answer"):
            await announce(alone.client, Contacts.manifest())


MAIL_SERVER = {
    "EMAIL_PROVIDER": "imap",
    "EMAIL_SMTP_URL": "smtp://127.0.0.1:25",
    "EMAIL_IMAP_URL": "imap://127.0.0.1:143",
    "EMAIL_FROM": "me@example.com",
}


@pytest.mark.parametrize(
    ("name", "variables", "says"),
    [
        ("weather", {"WEATHER_PROVIDER": "simulated"}, "The weather here is made up"),
        ("weather", {"WEATHER_PROVIDER": "open-meteo"}, ""),
        ("email", {"EMAIL_PROVIDER": "own"}, "nothing goes out"),
        ("email", MAIL_SERVER, ""),
        ("reasoning", {"RETINUE_MODEL": "offline"}, "No language model is set up"),
        ("reasoning", {"RETINUE_MODEL": "gpt-5-mini"}, ""),
    ],
)
def test_people_are_told_how_a_capability_works_here(
    name: str, variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    capability = activities.load(name)
    notice = capability.notice()
    assert says in notice
    assert bool(notice) == bool(says)
    assert capability.CONTRACT.manifest(notice=notice).notice == notice


@pytest.mark.parametrize(
    ("by_resources", "slots"),
    [
        (False, FixedSizeSlotSupplier(7)),
        (
            True,
            ResourceBasedSlotSupplier(
                ResourceBasedSlotConfig(minimum_slots=1, maximum_slots=7), ResourceBasedTunerConfig(0.8, 0.9)
            ),
        ),
    ],
)
def test_the_concurrency_is_the_number_of_slots_or_the_most_of_them(by_resources: bool, slots: object) -> None:
    tuner = runner._tuner(7, by_resources=by_resources)
    assert tuner._get_activity_task_slot_supplier() == slots
