"""The core in all interleavings: two attempts of one effect and the end of their run; decisions; announcements.

Each check is tried on code that is broken on purpose too, and finds it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, select
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from retinue import ledger as ledger_module
from retinue.capability import Annotations, Manifest, ToolSpec
from retinue.database.ledger_table import LEDGER
from retinue.effect_status import EffectStatus, Outcome
from retinue.errors import OutcomeUnknown
from retinue.ledger import Commit, Ledger
from retinue.store import Store
from tests.prove.interleavings import Schedule, Violation, explore, gate
from workflows.consent import approvals as approvals_module
from workflows.consent.approvals import Approvals, Question, args_hash
from workflows.messages import ApprovalKind, ApprovalStatus, Decide, DecisionKind
from workflows.registry import RegistryWorkflow
from workflows.rules.policy import AtExpiry, Decision, Verdict

METADATA = MetaData()
MADE = Table("made", METADATA, Column("number", Integer, primary_key=True))


class Word(BaseModel):
    word: str


class GatedStore(Store):
    """A store whose transactions begin when it is their actor's turn."""

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        await gate("transaction")
        async with super().write() as session:
            yield session


@dataclasses.dataclass
class House:
    """Three processes of one capability over one database: two workers and one that is asked at the end of a run."""

    stores: list[GatedStore]
    acted: int = 0

    async def clear(self) -> None:
        """Forget everything, as before the first attempt."""
        self.acted = 0
        for store in self.stores:
            ledger_module._OPEN_EFFECTS.pop(store, None)
        async with self.stores[0].write() as session:
            connection = await session.connection()
            await connection.execute(delete(LEDGER))
            await connection.execute(delete(MADE))

    async def made(self) -> int:
        """How many rows effects have written."""
        async with self.stores[0].read() as session:
            return int(
                (await (await session.connection()).execute(select(func.count()).select_from(MADE))).scalar_one()
            )

    def outside(self, process: int) -> Callable[[], Coroutine[Any, Any, Word]]:
        """An attempt at a service that nobody can ask whether it acted."""

        async def act(commit: Commit) -> Word:
            await commit()
            await gate("act")
            self.acted += 1
            return Word(word="done")

        async def verify() -> Word | None:
            raise OutcomeUnknown("nobody knows")

        async def tool() -> Word:
            ledger = Ledger(self.stores[process])
            return await ledger.once_outside(Word(word="x"), Word, act=act, verify=verify, settle=0)

        return _activity(tool, activity_id="s1")

    def inside(self, process: int) -> Callable[[], Coroutine[Any, Any, Word]]:
        """An attempt in the capability's own database."""

        async def effect(session: AsyncSession) -> Word:
            await (await session.connection()).execute(insert(MADE))
            return Word(word="done")

        async def tool() -> Word:
            return await Ledger(self.stores[process]).once(Word(word="x"), Word, effect)

        return _activity(tool, activity_id="s1")

    def end(self, process: int) -> Callable[[], Coroutine[Any, Any, EffectStatus]]:
        """The run is stopped and asks what became of the step."""

        async def close() -> EffectStatus:
            return await Ledger(self.stores[process]).close("s1")

        return _activity(close, activity_id="close")


def _activity(
    body: Callable[[], Coroutine[Any, Any, Any]], *, activity_id: str
) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def run() -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, workflow_id="w", activity_id=activity_id)
        return await environment.run(body)

    return run


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    stores = [GatedStore(f"sqlite+aiosqlite:///{tmp_path}/x.db", METADATA, owner="test") for _ in range(3)]
    for store in stores:
        await store.open()
    yield House(stores)
    for store in stores:
        await store.close()


def check(effects: int, results: dict[str, Any]) -> None:
    """What must hold however it went."""
    assert effects <= 1, f"the effect happened {effects} times"
    for name, result in results.items():
        if isinstance(result, Word):
            assert effects == 1, f"{name} says that it is done"
        if isinstance(result, EffectStatus) and result.outcome is not Outcome.OPEN:
            assert effects == (result.outcome is Outcome.DONE), f"{name} was told {result.outcome}"


def outside_scenario(house: House, *, end: bool = True) -> Callable[[Schedule], Coroutine[Any, Any, None]]:
    async def scenario(schedule: Schedule) -> None:
        await house.clear()
        actors: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "first attempt": house.outside(0),
            "second attempt": house.outside(1),
        }
        results = await schedule.run(actors | ({"end of the run": house.end(2)} if end else {}))
        check(house.acted, results)

    return scenario


@pytest.mark.timeout(180)
async def test_two_attempts_and_the_end_of_their_run_act_once_at_an_outer_service(house: House) -> None:
    assert await explore(outside_scenario(house)) >= 100


async def test_two_attempts_act_once_at_an_outer_service(house: House) -> None:
    assert await explore(outside_scenario(house, end=False)) >= 20


async def test_two_attempts_and_the_end_of_their_run_write_once_in_the_own_database(house: House) -> None:
    async def scenario(schedule: Schedule) -> None:
        await house.clear()
        actors = {"first attempt": house.inside(0), "second attempt": house.inside(1), "end": house.end(2)}
        results = await schedule.run(actors)
        check(await house.made(), results)

    assert await explore(scenario) >= 6


async def test_an_attempt_that_does_not_pass_the_point_of_no_return_alone_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken on purpose: whoever comes to the commit passes."""

    async def passes(*_arguments: Any, **_more: Any) -> None:
        await gate("transaction")

    monkeypatch.setattr(Ledger, "_move", passes)
    with pytest.raises(Violation, match="happened 2 times"):
        await explore(outside_scenario(house, end=False))


async def test_an_end_that_does_not_close_what_has_not_begun_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken on purpose: the run is told that nothing happened, and a frozen attempt wakes up."""

    async def forgets(_self: Ledger, activity_id: str) -> EffectStatus:
        return EffectStatus(outcome=Outcome.NOTHING)

    monkeypatch.setattr(Ledger, "close", forgets)
    with pytest.raises(Violation, match="was told nothing"):
        await explore(outside_scenario(house))


NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
SHOWN, CHANGED = {"to": "a@example.com"}, {"to": "b@example.com"}
OWNER, OTHER = "ana", "ben"
Act = Callable[[Approvals, datetime], None]


def decided(decision: DecisionKind, by: str, shown: dict[str, Any] = SHOWN, args: dict[str, Any] | None = None) -> Act:
    """A person's decision, as the workflow takes it: checked, then recorded."""

    def act(approvals: Approvals, now: datetime) -> None:
        decide = Decide(approval_id="a", decision=decision, args_hash=args_hash(shown), args=args, by=by)
        approvals.check(decide, now=now)
        approvals.record(decide, now=now)

    return act


def _expire(approvals: Approvals, now: datetime) -> None:
    approvals._process_due("a", now)


def _close(approvals: Approvals, now: datetime) -> None:
    approvals.close()


ACTS: dict[str, Act] = {
    "approve": decided(DecisionKind.APPROVE, OWNER),
    "approve once more": decided(DecisionKind.APPROVE, OWNER),
    "approve as somebody else": decided(DecisionKind.APPROVE, OTHER),
    "approve what an edit changed": decided(DecisionKind.APPROVE, OTHER, CHANGED),
    "reject": decided(DecisionKind.REJECT, OTHER),
    "edit": decided(DecisionKind.EDIT, OWNER, SHOWN, CHANGED),
    "its time is over": _expire,
    "the run ends": _close,
}
LATE = NOW + timedelta(hours=1)


def tried(names: tuple[str, ...], *, approvers: int) -> None:
    """Do these in this order and check after each what must hold; from `its time is over` on it is late."""
    terms = Verdict(
        decision=Decision.ASK, approvers=approvers, by=[OWNER, OTHER], expires_after=1800, at_expiry=AtExpiry.DENY
    )
    approvals = Approvals(requester=OWNER, on_change=lambda: None)
    question = Question("a", "email.send", "Send", dict(SHOWN), terms, judge=lambda _: terms, kind=ApprovalKind.ACTION)
    approvals.ask(question, now=NOW)
    now, took = NOW, []
    for name in names:
        now = LATE if name == "its time is over" else now
        before = approvals.get("a")
        try:
            ACTS[name](approvals, now)
        except ApplicationError:
            assert approvals.get("a") is before, f"a refused {name!r} left a trace"
            continue
        after = approvals.get("a")
        if after is before:
            continue
        assert before.status is ApprovalStatus.PENDING, f"{name!r} changed what was {before.status}"
        took.append(name)
        if after.status is ApprovalStatus.APPROVED:
            voters = {vote.by for vote in after.votes}
            assert len(voters) >= approvers, f"approved by {voters}"
            assert now == NOW, f"{name!r} approved it after its time"
            assert (after.args == CHANGED) == ("edit" in took), f"{after.args} were approved"
            assert after.args_hash == args_hash(after.args), "the hash is of other arguments"


def in_every_order(*, approvers: int) -> None:
    for names in permutations(ACTS, 5):
        tried(names, approvers=approvers)


@pytest.mark.parametrize("approvers", [1, 2])
def test_decisions_in_every_order(approvers: int) -> None:
    """Five of eight acts in every order: one outcome, by enough people, in time, of the arguments that they saw."""
    in_every_order(approvers=approvers)


@pytest.mark.parametrize(
    ("broken", "words"),
    [("_check_person", "approved by|left a trace|approved"), ("check", "changed what was|approved")],
)
def test_decisions_that_are_not_checked_are_found(monkeypatch: pytest.MonkeyPatch, broken: str, words: str) -> None:
    """Broken on purpose."""
    monkeypatch.setattr(approvals_module.Approvals, broken, lambda *_, **__: None)
    with pytest.raises(AssertionError, match=words):
        in_every_order(approvers=2)


def manifest(version: str) -> Manifest:
    spec = ToolSpec(
        name="notes.add",
        title="Add",
        description="Adds.",
        args_schema={"type": "object"},
        annotations=Annotations(read_only=False, destructive=False, open_world=False),
    )
    return Manifest(name="notes", version=version, description="Notes.", task_queue="notes", tools=[spec])


ANNOUNCED = (
    ("announce", "1"),
    ("announce", "2"),
    ("announce", "1"),
    ("announce", "3"),
    ("replace", "1"),
    ("announce", "2"),
)


@pytest.mark.parametrize("keeps_newest", [True, False])
async def test_announcements_in_every_order(monkeypatch: pytest.MonkeyPatch, keeps_newest: bool) -> None:
    """Workers of three versions, and one that goes back: the newest since then stays, and each change is counted."""
    monkeypatch.setattr(workflow, "patched", lambda _: True)
    monkeypatch.setattr(workflow, "upsert_memo", lambda _: None)
    if not keeps_newest:
        monkeypatch.setattr("workflows.registry._is_newer", lambda *_: False)
    wrong = 0
    for order in permutations(ANNOUNCED):
        registry, expected, changes = RegistryWorkflow(), "", 0
        for update, version in order:
            goes_ahead = update == "replace" or version > expected
            changes += goes_ahead and version != expected
            expected = version if goes_ahead else expected
            revision = await getattr(registry, update)(manifest(version))
            wrong += revision != changes
        [held] = registry.capabilities()
        wrong += held.version != expected
    assert (wrong == 0) is keeps_newest
