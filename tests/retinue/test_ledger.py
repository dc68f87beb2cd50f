"""The ledger: cancellation, and effects at outer services. Each capability and the kill tests show the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import BaseModel
from sqlalchemy import MetaData, text
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.testing import ActivityEnvironment

from retinue import ledger as ledger_module
from retinue.effect_status import EffectStatus, Outcome
from retinue.errors import Conflict, OutcomeNotRecorded, OutcomeOpen, OutcomeUnknown, ServiceRefused, ServiceUnavailable
from retinue.ledger import Commit, Ledger
from retinue.store import Store

Step = Callable[[], Awaitable[None]]
Answer = TypeVar("Answer")


class Word(BaseModel):
    word: str


async def nothing() -> None:
    pass


async def die() -> None:
    raise RuntimeError("as a killed worker would")


async def test_a_cancelled_effect_tells_what_really_happened(tmp_path: Path) -> None:
    """Cancelled in the middle of its transaction, it finishes it and returns the result, not `cancelled`."""
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/x.db", MetaData(), owner="test")
    await store.open()
    began = asyncio.Event()

    async def effect(session: AsyncSession) -> Word:
        began.set()
        await asyncio.sleep(0.2)
        return Word(word="done")

    async def tool() -> Word:
        return await Ledger(store).once(Word(word="asked"), Word, effect)

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_id="w", activity_id="s1")
    running = asyncio.ensure_future(environment.run(tool))
    await began.wait()
    running.cancel()
    assert (await running).word == "done"
    async with store.read() as session:
        rows = await (await session.connection()).execute(text("SELECT key FROM ledger"))
        assert rows.scalars().all() == ["w/s1"]
    await store.close()


class Outer:
    """An outer service that a test lets act, lose its reply, or refuse; it counts how often it acted."""

    def __init__(self, ledger: Ledger, *, settle: float = 0) -> None:
        self.acted = 0
        self.shows = False
        self.harmless = False
        self.mute = False
        self._ledger = ledger
        self._settle = settle

    async def tool(
        self, *, before: Step = nothing, after: Step = nothing, looking: Step = nothing, word: str = "asked"
    ) -> Word:
        """The effect, with what a test wants to happen before the commit, after the act, and before it is looked for."""

        async def act(commit: Commit) -> Word:
            await before()
            await commit()
            self.acted += 1
            await after()
            return Word(word="done")

        async def verify() -> Word | None:
            await looking()
            if self.mute:
                raise ServiceUnavailable("it does not answer")
            if self.shows:
                return Word(word="found")
            if self.harmless:
                return None
            raise OutcomeUnknown("nobody knows")

        return await self._ledger.once_outside(Word(word=word), Word, act=act, verify=verify, settle=self._settle)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/x.db", MetaData(), owner="test")
    await store.open()
    yield Ledger(store)
    await store.close()


def running(call: Callable[[], Awaitable[Answer]], *, activity_id: str) -> asyncio.Future[Answer]:
    """An activity of the same run."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_id="w", activity_id=activity_id)

    async def run() -> Answer:
        return await call()

    return asyncio.ensure_future(environment.run(run))


def attempt(tool: Callable[[], Awaitable[Word]]) -> asyncio.Future[Word]:
    """One attempt of the same step."""
    return running(tool, activity_id="s1")


async def refuse() -> None:
    raise ServiceRefused("no")


async def fail() -> None:
    raise ServiceUnavailable("not now")


async def lose() -> None:
    raise OutcomeUnknown("the reply was lost")


async def test_an_outer_effect_happens_once_and_later_attempts_get_its_record(ledger: Ledger) -> None:
    outer = Outer(ledger)
    assert [(await attempt(outer.tool)).word for _ in range(3)] == ["done"] * 3
    assert outer.acted == 1


async def test_other_arguments_under_the_same_key_are_refused(ledger: Ledger) -> None:
    outer = Outer(ledger)
    await attempt(outer.tool)
    with pytest.raises(Conflict):
        await attempt(lambda: outer.tool(word="other"))


async def test_a_frozen_attempt_that_wakes_up_must_not_act(ledger: Ledger) -> None:
    """It stood before the point of no return while another attempt took the step over and did it."""
    outer = Outer(ledger)
    frozen, awake = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        frozen.set()
        await awake.wait()

    zombie = attempt(lambda: outer.tool(before=freeze))
    await frozen.wait()
    assert (await attempt(outer.tool)).word == "done"
    awake.set()
    with pytest.raises(OutcomeOpen):
        await zombie
    assert outer.acted == 1


async def test_two_attempts_at_once_act_once(ledger: Ledger) -> None:
    outer = Outer(ledger)
    outcomes = await asyncio.gather(*(attempt(outer.tool) for _ in range(10)), return_exceptions=True)
    assert outer.acted == 1
    assert {type(outcome) for outcome in outcomes} <= {Word, OutcomeOpen, OutcomeUnknown}


async def test_what_a_dead_attempt_left_is_looked_into(ledger: Ledger) -> None:
    """It died after the service had acted: found there, it counts; not found, a person must decide."""
    outer = Outer(ledger)
    with pytest.raises(RuntimeError):
        await attempt(lambda: outer.tool(after=die))
    with pytest.raises(OutcomeUnknown):
        await attempt(outer.tool)
    outer.shows = True
    assert (await attempt(outer.tool)).word == "found"
    assert outer.acted == 1


async def test_an_attempt_that_may_still_report_is_waited_for(ledger: Ledger) -> None:
    outer = Outer(ledger, settle=60)
    with pytest.raises(RuntimeError):
        await attempt(lambda: outer.tool(after=die))
    with pytest.raises(OutcomeOpen):
        await attempt(outer.tool)


async def test_an_attempt_that_wakes_up_late_still_records_what_it_did(ledger: Ledger) -> None:
    outer = Outer(ledger)
    acted, awake = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        acted.set()
        await awake.wait()

    zombie = attempt(lambda: outer.tool(after=freeze))
    await acted.wait()
    with pytest.raises(OutcomeUnknown):
        await attempt(outer.tool)
    awake.set()
    assert [(await zombie).word, (await attempt(outer.tool)).word] == ["done", "done"]
    assert outer.acted == 1


async def test_what_is_recorded_first_is_what_every_attempt_returns(ledger: Ledger) -> None:
    outer = Outer(ledger)
    outer.shows = True
    acted, awake = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        acted.set()
        await awake.wait()

    zombie = attempt(lambda: outer.tool(after=freeze))
    await acted.wait()
    assert (await attempt(outer.tool)).word == "found"
    awake.set()
    assert [(await zombie).word, (await attempt(outer.tool)).word] == ["found", "found"]


async def test_an_attempt_that_looked_too_slowly_does_not_act_beside_another(ledger: Ledger) -> None:
    """Both found that a dead attempt may be repeated; while one acts, the other must not."""
    outer = Outer(ledger)
    outer.harmless = True
    with pytest.raises(RuntimeError):
        await attempt(lambda: outer.tool(after=die))
    looking, look, acting, done = (asyncio.Event() for _ in range(4))

    async def look_slowly() -> None:
        looking.set()
        await look.wait()

    async def act_slowly() -> None:
        acting.set()
        await done.wait()

    slow = attempt(lambda: outer.tool(looking=look_slowly))
    await looking.wait()
    other = attempt(lambda: outer.tool(after=act_slowly))
    await acting.wait()
    look.set()
    with pytest.raises(OutcomeOpen):
        await slow
    done.set()
    assert (await other).word == "done"
    assert outer.acted == 2  # the dead attempt, and one of these two


async def test_a_refusal_means_that_nothing_happened_and_may_be_tried_again(ledger: Ledger) -> None:
    outer = Outer(ledger)
    with pytest.raises(ServiceRefused):
        await attempt(lambda: outer.tool(after=refuse))
    assert (await attempt(outer.tool)).word == "done"


async def test_a_lost_reply_is_looked_into_at_once(ledger: Ledger) -> None:
    outer = Outer(ledger)
    outer.shows = True
    assert (await attempt(lambda: outer.tool(after=lose))).word == "found"
    assert outer.acted == 1


async def test_a_cancel_before_the_commit_stops_the_effect(ledger: Ledger) -> None:
    outer = Outer(ledger)
    began = asyncio.Event()

    async def linger() -> None:
        began.set()
        await asyncio.sleep(0.2)

    running = attempt(lambda: outer.tool(before=linger))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert outer.acted == 0


async def test_a_cancel_after_the_commit_tells_what_really_happened(ledger: Ledger) -> None:
    outer = Outer(ledger)
    began = asyncio.Event()

    async def linger() -> None:
        began.set()
        await asyncio.sleep(0.2)

    running = attempt(lambda: outer.tool(after=linger))
    await began.wait()
    running.cancel()
    assert (await running).word == "done"


async def test_what_was_done_and_not_recorded_has_not_failed_and_is_recorded_later(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The database is locked right after the act: a step that failed would be planned anew, and done twice."""
    outer = Outer(ledger)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:

        async def lock() -> None:
            other.execute("BEGIN IMMEDIATE")

        for after in (lock, nothing):
            with pytest.raises(OutcomeOpen):
                await attempt(partial(outer.tool, after=after))
    assert ((await attempt(outer.tool)).word, outer.acted) == ("done", 1)


async def test_what_could_not_be_recorded_is_recorded_for_the_attempts_of_other_processes(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_RECORD_AGAIN", 0.05)
    outer = Outer(ledger)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:

        async def lock() -> None:
            other.execute("BEGIN IMMEDIATE")

        with pytest.raises(
            OutcomeNotRecorded, match=r"it was done, but cannot be recorded: .* another process holds it"
        ):
            await attempt(partial(outer.tool, after=lock))
    await ledger._recording["w/s1"]
    assert (await closed_by_another(tmp_path)).outcome is Outcome.DONE
    assert outer.acted == 1


async def closed_by_another(folder: Path) -> EffectStatus:
    """What the ledger of a process that did not act says of it."""
    store = Store(f"sqlite+aiosqlite:///{folder}/x.db", MetaData(), owner="test")
    await store.open()
    try:
        return await closed(Ledger(store))
    finally:
        await store.close()


async def test_what_was_done_before_its_ledger_was_deleted_is_not_tried_again_without_a_question(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The next worker finds an empty ledger, in which nothing was ever done."""

    async def delete() -> None:
        for part in tmp_path.glob("x.db*"):
            part.unlink()

    with pytest.raises(OutcomeUnknown, match=r"it was done, but cannot be recorded: .* deleted or replaced"):
        await attempt(partial(Outer(ledger).tool, after=delete))


async def test_a_service_that_cannot_be_asked_leaves_the_outcome_open(ledger: Ledger) -> None:
    outer = Outer(ledger)
    outer.mute = True
    for _ in range(3):
        with pytest.raises(OutcomeOpen):
            await attempt(lambda: outer.tool(after=lose))
    assert outer.acted == 1


@pytest.mark.parametrize(("then", "kind"), [(lose, OutcomeOpen), (refuse, OutcomeUnknown), (fail, OutcomeOpen)])
async def test_after_a_lost_reply_no_later_attempt_says_that_it_failed(
    ledger: Ledger, then: Step, kind: type[Exception]
) -> None:
    """Doing it again is harmless under this key; under the key of another plan it would be a second effect."""
    outer = Outer(ledger)
    outer.harmless = True
    with pytest.raises(OutcomeOpen):
        await attempt(lambda: outer.tool(after=lose))
    with pytest.raises(kind):
        await attempt(lambda: outer.tool(before=then))


def closed(ledger: Ledger) -> asyncio.Future[EffectStatus]:
    """What the ledger says when the run is stopped: asked by another activity of the same run."""
    return running(lambda: ledger.close("s1"), activity_id="7")


async def test_what_has_not_begun_when_the_run_is_stopped_never_begins(ledger: Ledger) -> None:
    outer = Outer(ledger)
    assert await closed(ledger) == EffectStatus(outcome=Outcome.NOTHING)
    with pytest.raises(Conflict, match="stopped"):
        await attempt(outer.tool)
    assert outer.acted == 0


async def test_an_attempt_that_was_frozen_while_the_run_was_stopped_does_not_act(ledger: Ledger) -> None:
    outer = Outer(ledger)
    frozen, awake = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        frozen.set()
        await awake.wait()

    zombie = attempt(lambda: outer.tool(before=freeze))
    await frozen.wait()
    assert (await closed(ledger)).outcome is Outcome.NOTHING
    awake.set()
    with pytest.raises(OutcomeOpen):
        await zombie
    assert outer.acted == 0


async def test_what_was_done_before_the_run_was_stopped_is_told_with_its_result(ledger: Ledger) -> None:
    await attempt(Outer(ledger).tool)
    assert await closed(ledger) == EffectStatus(outcome=Outcome.DONE, result={"word": "done"})


async def test_an_attempt_that_never_reported_leaves_it_open_when_the_run_is_stopped(ledger: Ledger) -> None:
    outer = Outer(ledger)
    with pytest.raises(RuntimeError):
        await attempt(lambda: outer.tool(after=die))
    assert (await closed(ledger)).outcome is Outcome.OPEN


async def test_a_lost_reply_leaves_it_open_even_where_repeating_were_harmless(ledger: Ledger) -> None:
    outer = Outer(ledger)
    outer.harmless = True
    with pytest.raises(OutcomeOpen):
        await attempt(lambda: outer.tool(after=lose))
    assert (await closed(ledger)).outcome is Outcome.OPEN


async def test_what_was_done_and_not_recorded_is_recorded_when_the_run_is_stopped(
    ledger: Ledger, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:

        async def lock() -> None:
            other.execute("BEGIN IMMEDIATE")

        with pytest.raises(OutcomeOpen):
            await attempt(lambda: Outer(ledger).tool(after=lock))
    assert (await closed(ledger)).outcome is Outcome.DONE
