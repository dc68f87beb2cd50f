"""After a backup was restored: what a run from before may have done since is looked up, or asked, and never done twice."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from sqlalchemy import MetaData
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from retinue.effect_status import EffectStatus, Outcome
from retinue.errors import Conflict, OutcomeUnknown, ServiceUnavailable
from retinue.ledger import Ledger
from retinue.settings import RESTORED_AT, RetinueSettings
from retinue.store import Store
from retinue.temporal.restored import CATCHING_UP
from tests.retinue.test_ledger import Outer, Word

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
Answer = TypeVar("Answer")


@dataclasses.dataclass
class Temporal:
    """Knows when runs began."""

    began: datetime = NOW - timedelta(days=1)
    away: bool = False

    def get_workflow_handle(self, workflow_id: str, *, run_id: str | None) -> Temporal:
        assert (workflow_id, run_id) == ("w", "r")
        return self

    async def describe(self, **_: Any) -> Any:
        if self.away:
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
        return dataclasses.make_dataclass("Described", ["start_time"])(self.began)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with Store(database_url, MetaData(), owner="test") as store:
        yield Ledger(store)


@pytest.fixture
def temporal_() -> Temporal:
    return Temporal()


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_RESTORED_AT", NOW.isoformat())


def running(
    temporal: Temporal,
    call: Callable[[], Awaitable[Answer]],
    *,
    step: str = "s1",
    tool: str = "post.send",
    **info: Any,
) -> asyncio.Future[Answer]:
    environment = ActivityEnvironment(client=cast(Client, temporal))
    said = {"workflow_id": "w", "workflow_run_id": "r", "activity_id": step, "activity_type": tool, **info}
    environment.info = dataclasses.replace(environment.info, **said)

    async def run() -> Answer:
        return await call()

    return asyncio.ensure_future(environment.run(run))


@pytest.mark.usefixtures("restored")
async def test_an_effect_that_the_ledger_does_not_know_is_asked_and_only_its_approved_repeat_acts(
    ledger: Ledger, temporal_: Temporal
) -> None:
    outer = Outer(ledger)
    for _ in range(3):
        with pytest.raises(OutcomeUnknown, match="a backup was restored after this assistant began"):
            await running(temporal_, outer.tool)
    assert outer.acted == 0
    assert (await running(temporal_, outer.tool, step="s1~1")).word == "done"
    assert (await running(temporal_, outer.tool, step="s1~1")).word == "done"
    assert outer.acted == 1


@pytest.mark.usefixtures("restored")
async def test_what_the_service_shows_counts_and_what_it_allows_again_is_asked_all_the_same(
    ledger: Ledger, temporal_: Temporal
) -> None:
    """That a key is not there proves nothing: the run may have planned it under another step."""
    outer = Outer(ledger)
    outer.harmless = True
    with pytest.raises(OutcomeUnknown, match="a backup was restored"):
        await running(temporal_, outer.tool)
    outer.shows = True
    assert (await running(temporal_, outer.tool)).word == "found"
    outer.shows = False
    assert (await running(temporal_, outer.tool)).word == "found"
    assert outer.acted == 0


@pytest.mark.usefixtures("restored")
async def test_what_the_ledger_knows_is_returned(
    ledger: Ledger, temporal_: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = Outer(ledger)
    monkeypatch.delenv("RETINUE_RESTORED_AT")
    assert (await running(temporal_, outer.tool)).word == "done"
    monkeypatch.setenv("RETINUE_RESTORED_AT", NOW.isoformat())
    assert (await running(temporal_, outer.tool)).word == "done"
    assert outer.acted == 1


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(days=1)])
async def test_later_runs_and_those_that_catch_up(ledger: Ledger, temporal_: Temporal, late: timedelta) -> None:
    outer = Outer(ledger)
    temporal_.began = NOW + CATCHING_UP + late
    assert (await running(temporal_, outer.tool)).word == "done"
    temporal_.began = NOW + CATCHING_UP - timedelta(seconds=1)
    with pytest.raises(OutcomeUnknown):
        await running(temporal_, outer.tool, step="s2")


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("scheduled", "asked"), [(timedelta(minutes=1), True), (timedelta(days=7), False)])
async def test_a_reminder_of_before_that_is_due_later_is_sent(
    ledger: Ledger, temporal_: Temporal, scheduled: timedelta, asked: bool
) -> None:
    """It has no plan that another life may have worked off under other steps."""
    outer = Outer(ledger)
    reminding = running(
        temporal_, outer.tool, step="mail", workflow_type="ReminderWorkflow", scheduled_time=NOW + scheduled
    )
    if asked:
        with pytest.raises(OutcomeUnknown):
            await reminding
    else:
        assert (await reminding).word == "done"
    assert outer.acted == (0 if asked else 1)


@pytest.mark.usefixtures("restored")
async def test_nothing_is_done_while_temporal_does_not_say_when_the_run_began(
    ledger: Ledger, temporal_: Temporal
) -> None:
    outer = Outer(ledger)
    temporal_.away = True
    with pytest.raises(ServiceUnavailable, match="when this run began"):
        await running(temporal_, outer.tool)
    assert outer.acted == 0


@pytest.mark.usefixtures("restored")
async def test_a_stopped_step_that_may_have_happened_is_not_called_cancelled(
    ledger: Ledger, temporal_: Temporal
) -> None:
    outer = Outer(ledger)

    async def close() -> EffectStatus:
        return await ledger.close("s1")

    for step in ("c1", "c2"):  # the answer may be lost, and it asks again
        assert (await running(temporal_, close, step=step)).outcome is Outcome.OPEN
    with pytest.raises((OutcomeUnknown, Conflict)):
        await running(temporal_, outer.tool)
    assert outer.acted == 0
    temporal_.began = NOW + timedelta(days=1)

    async def close_another() -> EffectStatus:
        return await ledger.close("s2")

    assert (await running(temporal_, close_another, step="c3")).outcome is Outcome.NOTHING


async def test_what_a_run_did_in_its_own_database_is_not_done_again_under_another_step(
    ledger: Ledger, temporal_: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal is older than the database: the run plans again, and calls the step otherwise."""
    made: list[str] = []

    async def tool(word: str = "tea") -> Word:
        async def effect(_: AsyncSession) -> Word:
            made.append(word)
            return Word(word="done")

        return await ledger.once(Word(word=word), Word, effect)

    await running(temporal_, tool)
    await running(temporal_, tool, step="s2")
    monkeypatch.setenv("RETINUE_RESTORED_AT", (datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    temporal_.began = datetime.now(UTC) - timedelta(hours=1)
    assert (await running(temporal_, tool)).word == "done"
    with pytest.raises(OutcomeUnknown, match="a backup was restored"):
        await running(temporal_, tool, step="s3")
    await running(temporal_, lambda: tool("coffee"), step="s4")
    await running(temporal_, tool, step="s3~1")
    await running(temporal_, tool, step="s5", tool="post.other")
    assert made == ["tea", "tea", "coffee", "tea", "tea"]


def test_the_data_folder_says_when_it_was_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    assert RetinueSettings().restored() is None
    (tmp_path / RESTORED_AT).write_text(f"{NOW.isoformat()}\n")
    assert RetinueSettings().restored() == NOW
    later = NOW + timedelta(days=1)
    monkeypatch.setenv("RETINUE_RESTORED_AT", later.isoformat())
    assert RetinueSettings().restored() == later
    monkeypatch.setenv("RETINUE_RESTORED_AT", "2026-12-01T12:00:00")
    with pytest.raises(ValueError, match="timezone"):
        RetinueSettings()
