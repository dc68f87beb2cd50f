"""The effect ledger makes every effect happen once, although activities run at least once.

Each capability's database has a table `ledger` with one row per effect. The row's key is `workflow id / step id`, which
stays the same over retries, worker crashes, resets and continue-as-new. A later or concurrent attempt finds the row and
returns the recorded result.

An effect in the capability's own database is committed together with its row (`once`). One at an outer service shares no
transaction with it (`once_outside`), so its row goes through states:

    intended --commit()--> acting --receipt--> done
        ^                    |
        `--nothing happened--'

Only one attempt at a time can pass from `intended` to `acting`; this also stops a worker that was frozen and wakes up. A
row left in `acting` is verified before anything is repeated, and if no check can tell, a person decides.

After a backup was restored the ledger may be older, and Temporal may be older than the ledger. Effects of runs from before
that the ledger does not know are then verified, and if no check can tell, a person decides
(`retinue.temporal.restored`, docs/backup.md).

When a run is stopped between two attempts, it queries the ledger (`close`): an effect that has not begun is closed for
ever, so that not even a frozen attempt can make it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from pydantic import BaseModel
from sqlalchemy import Update, insert, select, update
from sqlalchemy.exc import IntegrityError
from temporalio import activity

from retinue.database.ledger_table import LEDGER
from retinue.effect_status import EffectStatus, Outcome, first_key
from retinue.errors import (
    Conflict,
    OutcomeNotRecorded,
    OutcomeOpen,
    OutcomeUnknown,
    RetinueError,
    ServiceBusy,
    ServiceError,
    ServiceUnavailable,
    StoreLost,
    StoreUnavailable,
)
from retinue.runtime import faults, telemetry
from retinue.temporal import metrics
from retinue.temporal.restored import restored_since_start

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from retinue.store import Store

Result = TypeVar("Result", bound=BaseModel)

SETTLE = 40.0
"""Seconds after which an attempt in `acting` that has not reported counts as dead."""
_LOOK_AGAIN = 12.0
_ASK_AGAIN = 5.0
"""Seconds until the own database, or an unavailable service, is tried again."""
_RECORD_AGAIN = 2.0
"""Seconds until recording a done effect is tried again."""
_MOST_OPEN = 1000
_RESTORED = "restored"
"""The attempt of an effect that may have happened after the backup was made."""
_IN_DOUBT = "a backup was restored after this assistant began, and this may have been done before that"


def effect_key(activity_id: str | None = None) -> str:
    """Return the idempotency key of the running activity, or of another one of its workflow: workflow id and activity id.

    An activity's id is that of its step. An activity without a workflow has a unique id.
    """
    info = activity.info()
    return f"{info.workflow_id or 'standalone'}/{activity_id or info.activity_id}"


def lasting_key() -> str:
    """Return the key for deriving visible ids: of mails, events, contacts, messages.

    It is the key of the step's first effect even in a repeat, so that a receiver of both can tell that they are the same.
    """
    return first_key(effect_key())


class EffectState(StrEnum):
    """State of an effect at an outer service."""

    INTENDED = "intended"
    ACTING = "acting"
    DONE = "done"
    CLOSED = "closed"


class Commit(Protocol):
    """Passes the point of no return: call it once, right before the outer service acts."""

    def __call__(self) -> Awaitable[None]:
        """Record that this attempt acts now.

        Raises:
            OutcomeOpen: Another attempt has taken over this step, so this one must not act.
            asyncio.CancelledError: The step was cancelled before anything happened.
        """


@dataclass(frozen=True)
class _Incomplete:
    """The ledger's record of an effect that is not done."""

    state: EffectState
    attempt: str
    silent_for: float


_OPEN_EFFECTS: WeakKeyDictionary[Store, dict[str, BaseModel | None]] = WeakKeyDictionary()
_RECORDINGS: WeakKeyDictionary[Store, dict[str, asyncio.Future[None]]] = WeakKeyDictionary()


class Ledger:
    """Runs effects once. Several over the same store know of each other's effects."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = _OPEN_EFFECTS.setdefault(store, {})
        """Effects of this process that are not yet recorded, with their results if known."""
        self._recording = _RECORDINGS.setdefault(store, {})

    async def once(
        self, arguments: BaseModel, result_type: type[Result], effect: Callable[[AsyncSession], Awaitable[Result]]
    ) -> Result:
        """Run `effect` in one transaction with its ledger row, or return what an earlier attempt recorded.

        `effect` must only use its session, since nothing else is rolled back with it. A cancelled attempt waits for its
        transaction, so that the caller learns what happened.

        Raises:
            Conflict: The same step already ran with other arguments.
            OutcomeUnknown: A backup was restored, and another step of this run had done exactly this before.
            ServiceUnavailable: The database does not answer; nothing happened.
        """
        work = asyncio.ensure_future(self._observed(self._once(arguments, result_type, effect)))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            return await work

    async def _observed(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await an effect, as a span of the step's trace, and count it."""
        capability = self._store.owner
        with telemetry.span("effect", retinue__capability=capability, retinue__tool=activity.info().activity_type):
            try:
                result = await work
            except OutcomeUnknown:
                metrics.count(metrics.LEDGER_DOUBTS, capability=capability)
                raise
        metrics.count(metrics.EFFECTS, capability=capability)
        return result

    async def _once(
        self, arguments: BaseModel, result_type: type[Result], effect: Callable[[AsyncSession], Awaitable[Result]]
    ) -> Result:
        key, args_hash = effect_key(), _hash(arguments)
        restored_at = await _restored_at(key)
        try:
            async with self._store.write() as session:
                if recorded := await self._recorded(session, key, args_hash, result_type):
                    return recorded
                if restored_at is not None:
                    await self._refuse_done_before(session, args_hash, restored_at)
                result = await effect(session)
                await session.flush()
                await self._record(session, key, args_hash, result)
        except _DoneMeanwhile:
            return await self._once(arguments, result_type, effect)
        faults.after_effect(self._store.owner)
        return result

    async def once_outside(
        self,
        arguments: BaseModel,
        result_type: type[Result],
        *,
        act: Callable[[Commit], Awaitable[Result]],
        verify: Callable[[], Awaitable[Result | None]],
        settle: float = SETTLE,
        receiver_knows_key: bool = False,
    ) -> Result:
        """Make an outer service act once, or return what an earlier attempt recorded.

        A cancel before `commit` stops the effect. After `commit` the cancel waits for the attempt to end, since only the
        attempt knows the outcome.

        Args:
            arguments: Of the step; every attempt must pass the same.
            result_type: Of the recorded result.
            act: Acts, and awaits its argument `commit` right before the point of no return. A `RetinueError` from it
                means that nothing happened, except `OutcomeUnknown`. It must have its own timeout.
            verify: Checks whether an attempt that never reported has acted. It returns the result if so; None only if
                acting again is harmless, whatever that attempt still does; otherwise it raises `OutcomeUnknown`. If it
                cannot check (`ServiceError`), the outcome stays open.
            settle: Seconds for which an earlier attempt may still report.
            receiver_knows_key: The receiver ignores what it got before under this key, and no other step does the same:
                then nobody is asked after a backup was restored.

        Raises:
            Conflict: The same step already ran with other arguments.
            OutcomeOpen: An attempt may have acted: it may still report, could not be verified, or was not recorded.
            OutcomeNotRecorded: An attempt may have acted, and the database is unavailable. This process records the
                outcome as soon as it can, and a later attempt returns it.
            OutcomeUnknown: It is unknown whether it happened, or the ledger was lost after it had. It will not be
                repeated under this key.
            ServiceUnavailable: The database does not answer; as far as this worker knows, nothing happened.
        """
        cancelled = asyncio.Event()
        checked = verify if receiver_knows_key else _after_restore(verify)
        outside = self._once_outside(arguments, result_type, act, verify, checked, settle, cancelled)
        work = asyncio.ensure_future(self._observed(outside))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled.set()
            return await work

    async def _once_outside(
        self,
        arguments: BaseModel,
        result_type: type[Result],
        act: Callable[[Commit], Awaitable[Result]],
        verify: Callable[[], Awaitable[Result | None]],
        verify_restored: Callable[[], Awaitable[Result | None]],
        settle: float,
        cancelled: asyncio.Event,
    ) -> Result:
        key, args_hash = effect_key(), _hash(arguments)
        attempt = uuid4().hex
        restored_at = await _restored_at(key)
        try:
            found = await self._begin(key, args_hash, attempt, result_type, in_doubt=restored_at is not None)
        except ServiceUnavailable as error:
            raise self._still_open(key, error) from None
        if isinstance(found, _Incomplete):
            known = self._open.get(key)
            check = verify_restored if found.attempt == _RESTORED else verify
            happened = known if isinstance(known, result_type) else await self._look(found, check, settle)
            if happened is not None:
                return await self._receipt(key, happened)
            self._keep_open(key, None)
            await self._move(key, found.attempt, EffectState.ACTING, EffectState.INTENDED, to_attempt=attempt)
        elif found is not None:
            return found

        async def commit() -> None:
            if cancelled.is_set():
                raise asyncio.CancelledError
            await self._move(key, attempt, EffectState.INTENDED, EffectState.ACTING)

        try:
            result = await act(commit)
        except OutcomeUnknown as problem:
            self._keep_open(key, None)
            happened = await self._look(_Incomplete(EffectState.ACTING, attempt, 0), verify, settle)
            if happened is None:
                await self._nothing_happened(key, attempt)
                raise OutcomeOpen(problem.message, retry_after=1) from None
            result = happened
        except RetinueError as error:
            await self._nothing_happened(key, attempt)
            raise self._still_open(key, error) from None
        faults.before_receipt(self._store.owner)
        result = await self._receipt(key, result)
        faults.after_effect(self._store.owner)
        return result

    async def close(self, activity_id: str) -> EffectStatus:
        """Return the status of an effect of the calling workflow, and prevent one that has not begun.

        Raises:
            ServiceUnavailable: The database does not answer.
        """
        key = effect_key(activity_id)
        restored_at = await _restored_at(key)
        if (known := self._open.get(key)) is not None:
            await self._receipt(key, known)
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                row = (await connection.execute(select(LEDGER).where(LEDGER.c.key == key))).one_or_none()
                if row is None and restored_at is not None:
                    await self._insert(session, key, "", "null", state=EffectState.ACTING, attempt=_RESTORED)
                    return EffectStatus(outcome=Outcome.OPEN)
                if row is None:
                    await self._insert(session, key, "", "null", state=EffectState.CLOSED)
                elif row.state == EffectState.DONE:
                    return EffectStatus(outcome=Outcome.DONE, result=json.loads(row.result))
                elif row.state == EffectState.ACTING:
                    return EffectStatus(outcome=Outcome.OPEN)
                else:
                    await connection.execute(_set(key, state=EffectState.CLOSED))
        except _DoneMeanwhile:
            return await self.close(activity_id)
        return EffectStatus(outcome=Outcome.OPEN if key in self._open else Outcome.NOTHING)

    async def _begin(
        self, key: str, args_hash: str, attempt: str, result_type: type[Result], *, in_doubt: bool
    ) -> Result | _Incomplete | None:
        """Record the intent, or take over one that never acted, and return None; else return the existing record.

        One that is `in_doubt` and unknown is recorded as if an attempt had acted and never reported.
        """
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                row = (await connection.execute(select(LEDGER).where(LEDGER.c.key == key))).one_or_none()
                if row is None and in_doubt:
                    await self._insert(session, key, args_hash, "", state=EffectState.ACTING, attempt=_RESTORED)
                    return _Incomplete(EffectState.ACTING, _RESTORED, math.inf)
                if row is None:
                    await self._insert(session, key, args_hash, "", state=EffectState.INTENDED, attempt=attempt)
                    return None
                _check_same(row, args_hash)
                if row.state == EffectState.DONE:
                    return result_type.model_validate_json(row.result)
                if row.state == EffectState.ACTING:
                    silent_for = math.inf if row.attempt == _RESTORED else _seconds_since(row.recorded_at)
                    return _Incomplete(EffectState.ACTING, row.attempt, silent_for)
                await connection.execute(_set(key, attempt=attempt))
                return None
        except _DoneMeanwhile:
            return await self._begin(key, args_hash, attempt, result_type, in_doubt=in_doubt)

    async def _look(
        self, found: _Incomplete, verify: Callable[[], Awaitable[Result | None]], settle: float
    ) -> Result | None:
        try:
            return await verify()
        except OutcomeUnknown:
            if found.silent_for >= settle:
                raise
            pause = min(_LOOK_AGAIN, settle - found.silent_for + 0.5)
            raise OutcomeOpen("an earlier attempt may still report", retry_after=pause) from None
        except ServiceError as error:
            pause = error.retry_after if isinstance(error, ServiceBusy) else _ASK_AGAIN
            raise OutcomeOpen(f"an earlier attempt may have acted, but {error.message}", retry_after=pause) from None

    async def _move(
        self, key: str, attempt: str, before: EffectState, after: EffectState, *, to_attempt: str | None = None
    ) -> None:
        """Change the row's state by compare-and-set: only the attempt that holds the row in that state may do it."""
        async with self._store.write() as session:
            connection = await session.connection()
            held = (LEDGER.c.attempt == attempt) & (LEDGER.c.state == before)
            moved = await connection.execute(_set(key, state=after, attempt=to_attempt or attempt).where(held))
        if moved.rowcount != 1:
            raise OutcomeOpen("another attempt has taken over this step", retry_after=1)

    async def _nothing_happened(self, key: str, attempt: str) -> None:
        async with self._store.write() as session:
            connection = await session.connection()
            held = (LEDGER.c.attempt == attempt) & (LEDGER.c.state == EffectState.ACTING)
            await connection.execute(_set(key, state=EffectState.INTENDED).where(held))

    def _keep_open(self, key: str, result: BaseModel | None) -> None:
        self._open[key] = result
        while len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]

    def _still_open(self, key: str, error: RetinueError) -> RetinueError:
        """Return the error of a failed attempt: if an earlier one may have acted, the outcome stays open."""
        if key not in self._open or isinstance(error, OutcomeOpen):
            return error
        if self._open[key] is None:
            said = f"an earlier attempt may have done it; then {error.message}"
        else:
            said = f"it was done, but cannot be recorded: {error.message}"
        if isinstance(error, StoreLost) or not error.retryable:
            return OutcomeUnknown(said)
        kind = OutcomeNotRecorded if isinstance(error, StoreUnavailable) else OutcomeOpen
        return kind(said, retry_after=getattr(error, "retry_after", _ASK_AGAIN))

    async def _receipt(self, key: str, result: Result) -> Result:
        """Record the outcome; if that fails, this process retries until it succeeds.

        Raises:
            OutcomeOpen: The database does not answer.
            OutcomeUnknown: Its file was deleted or replaced.
        """
        self._keep_open(key, result)
        try:
            recorded = await self._recorded_as(key, result)
        except ServiceUnavailable as error:
            self._record_later(key, result)
            raise self._still_open(key, error) from None
        self._open.pop(key, None)
        return recorded

    def _record_later(self, key: str, result: BaseModel) -> None:
        """Record the outcome as soon as the database works, since the next attempt may run in another process."""
        if key not in self._recording:
            self._recording[key] = asyncio.ensure_future(self._record_again(key, result))
            self._recording[key].add_done_callback(lambda _: self._recording.pop(key, None))

    async def _record_again(self, key: str, result: BaseModel) -> None:
        with contextlib.suppress(StoreLost):
            while key in self._open:
                await asyncio.sleep(_RECORD_AGAIN)
                with _while_unavailable():
                    await self._recorded_as(key, result)
                    self._open.pop(key, None)

    async def _recorded_as(self, key: str, result: Result) -> Result:
        """Return the recorded result; if another attempt recorded first, its result."""
        async with self._store.write() as session:
            connection = await session.connection()
            open_ = LEDGER.c.state != EffectState.DONE
            recorded = _set(key, state=EffectState.DONE, result=result.model_dump_json(by_alias=True)).where(open_)
            if (await connection.execute(recorded)).rowcount == 1:
                return result
            row = (await connection.execute(select(LEDGER.c.result).where(LEDGER.c.key == key))).one()
            return type(result).model_validate_json(row.result)

    async def _recorded(
        self, session: AsyncSession, key: str, args_hash: str, result_type: type[Result]
    ) -> Result | None:
        connection = await session.connection()
        row = (await connection.execute(select(LEDGER).where(LEDGER.c.key == key))).one_or_none()
        if row is None:
            return None
        _check_same(row, args_hash)
        return result_type.model_validate_json(row.result)

    async def _refuse_done_before(self, session: AsyncSession, args_hash: str, restored_at: datetime) -> None:
        """Refuse what another step of this run did before the restore: Temporal was older, and the run planned again.

        Raises:
            OutcomeUnknown: A step with the same tool and arguments did it.
        """
        info = activity.info()
        same = select(LEDGER.c.key).where(
            LEDGER.c.key.startswith(f"{info.workflow_id}/", autoescape=True),
            LEDGER.c.tool == info.activity_type,
            LEDGER.c.args_hash == args_hash,
            LEDGER.c.state == EffectState.DONE,
            LEDGER.c.recorded_at < restored_at.astimezone(UTC),
        )
        connection = await session.connection()
        if (await connection.execute(same)).first() is not None:
            raise OutcomeUnknown(_IN_DOUBT)

    async def _record(self, session: AsyncSession, key: str, args_hash: str, result: BaseModel) -> None:
        await self._insert(session, key, args_hash, result.model_dump_json(by_alias=True))

    async def _insert(
        self,
        session: AsyncSession,
        key: str,
        args_hash: str,
        result: str,
        *,
        state: EffectState = EffectState.DONE,
        attempt: str = "",
    ) -> None:
        """Insert the row. If a concurrent attempt was first, the key conflicts and the transaction is rolled back."""
        values = {
            "key": key,
            "tool": activity.info().activity_type,
            "args_hash": args_hash,
            "result": result,
            "recorded_at": datetime.now(UTC),
            "state": state,
            "attempt": attempt,
        }
        connection = await session.connection()
        try:
            await connection.execute(insert(LEDGER).values(values))
        except IntegrityError as error:
            raise _DoneMeanwhile from error


async def _restored_at(key: str) -> datetime | None:
    """Return when a backup was restored, if this effect may have happened before that; a person approved its repeats.

    Raises:
        ServiceUnavailable: Temporal does not say when the run began.
    """
    return await restored_since_start() if key == first_key(key) else None


def _after_restore(verify: Callable[[], Awaitable[Result | None]]) -> Callable[[], Awaitable[Result | None]]:
    """Return a check that never allows to act: after a restore another step of the run may have done the same."""

    async def checked() -> Result | None:
        try:
            happened = await verify()
        except OutcomeUnknown as error:
            raise OutcomeUnknown(f"{_IN_DOUBT}: {error.message}") from None
        if happened is None:
            raise OutcomeUnknown(_IN_DOUBT)
        return happened

    return checked


def _hash(arguments: BaseModel) -> str:
    return hashlib.sha256(arguments.model_dump_json().encode()).hexdigest()


def _check_same(row: Any, args_hash: str) -> None:
    if row.state == EffectState.CLOSED:
        raise Conflict("its run was stopped before this was done, so it cannot be done any more")
    if row.args_hash != args_hash:
        raise Conflict("this step was already done with other arguments; it is not done again")


def _set(key: str, **values: Any) -> Update:
    return update(LEDGER).where(LEDGER.c.key == key).values(recorded_at=datetime.now(UTC), **values)


def _seconds_since(moment: datetime) -> float:
    """Return the seconds since a stored time, which is UTC, though SQLite drops the zone."""
    return (datetime.now(UTC) - moment.replace(tzinfo=moment.tzinfo or UTC)).total_seconds()


@contextlib.contextmanager
def _while_unavailable() -> Iterator[None]:
    """Ignore errors of a database that may work later.

    Raises:
        StoreLost: It cannot work any more.
    """
    try:
        yield
    except StoreLost:
        raise
    except ServiceUnavailable:
        pass


class _DoneMeanwhile(Exception):
    """A concurrent attempt committed the same key between this attempt's read and write."""
