"""Decisions made while no workflow worker answers: stored, and delivered when one answers again.

They are about approvals (`Decide`), or about steps without a worker (`ChooseForStep`).

Each is one row with the update's id in Temporal, by which a run accepts it once, however often it is sent: by several
processes, or again after a crash. In the mode `proved` a row carries a MAC by the decision key, so that write access to
the API's database decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Row, insert, or_, select, update
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.storage.tables import PENDING_DECISIONS
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, ServiceUnavailable
from retinue.store import Store
from retinue.temporal.connection import of_workflow
from retinue.temporal.pollers import live_pollers
from retinue.temporal.proofs import keeps, kept_mac
from workflows.messages import (
    ApprovalStatus,
    AssistantView,
    ChooseForStep,
    Decide,
    RecordedDecision,
    RecordedState,
    StepStatus,
    WorkerChoice,
)

Decision = Decide | ChooseForStep
_UPDATES: dict[str, type[Decision]] = {"decide": Decide, "choose": ChooseForStep}
_T = PENDING_DECISIONS.c
_MOST_PER_RUN = 100
_AT_ONCE = 20
_LOOK_EVERY = 1.0
_CLAIM = timedelta(seconds=30)
"""Lease of one delivery; after it another process may deliver."""
_NEXT_TRY = timedelta(seconds=5)
_RPC = timedelta(seconds=5)
_UPDATE = timedelta(seconds=10)
_GIVEN_UP = timedelta(days=30)
_TOO_LATE = frozenset({"ApprovalDecided", "NotWaiting"})
"""Types of refusals that a decision gets, too, which was delivered before."""
_log = logging.getLogger("retinue.api")


@dataclass(frozen=True)
class StoredDecision:
    """The columns of a row that its delivery needs."""

    id: str
    assistant_id: str
    update: str
    owner: str
    payload: bytes
    mac: str
    recorded_at: datetime


class PendingDecisions:
    """The table of pending decisions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, client: Client, assistant_id: str, decision: Decision, *, update_id: str) -> None:
        """Store a decision until it can be delivered.

        Args:
            client: Its keys encrypt and prove the decision.
            assistant_id: The run.
            decision: The decision.
            update_id: Id of the first attempt, which may still arrive.

        Raises:
            Conflict: The same person has made another decision, or too many are pending.
        """
        [payload] = await of_workflow(client, assistant_id).encode([decision])
        update, subject = update_name(decision), _subject(decision)
        row = {
            "id": update_id,
            "assistant_id": assistant_id,
            "name": update,
            "approval_id": subject,
            "owner": decision.by,
            "decision": str(_choice(decision)),
            "payload": payload.SerializeToString(),
            "mac": kept_mac(client, assistant_id, update, update_id, [decision]),
            "recorded_at": datetime.now(UTC),
            "state": str(RecordedState.WAITING),
        }
        async with self._store.write() as session:
            connection = await session.connection()
            waiting = list((await connection.execute(_waiting().where(_T.assistant_id == assistant_id))).all())
            if any((one.name, one.approval_id, one.owner) == (update, subject, decision.by) for one in waiting):
                return  # sent twice at once: the first one wins
            if len(waiting) >= _MOST_PER_RUN:
                raise Conflict(f"{_MOST_PER_RUN} decisions of this assistant are already pending")
            await connection.execute(insert(PENDING_DECISIONS).values(row))

    async def is_pending(self, client: Client, assistant_id: str, decision: Decision) -> bool:
        """Return whether this person's decision about this approval or step is already pending.

        Raises:
            Conflict: It is another decision.
        """
        about = _waiting().where(
            _T.assistant_id == assistant_id,
            _T.name == update_name(decision),
            _T.approval_id == _subject(decision),
            _T.owner == decision.by,
        )
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(about)).first()
        if row is None:
            return False
        before = await _decoded(client, _stored(row))
        if before and _content(before) != _content(decision):
            raise Conflict(
                f"you have decided {_subject(decision)} already ({_choice(before)}); that is recorded, may have been "
                "delivered, and counts when a workflow worker answers again"
            )
        return True

    async def of(self, *run_ids: str) -> list[tuple[str, RecordedDecision]]:
        """Return the pending and refused decisions of some runs, by run."""
        if not run_ids:
            return []
        shown = [str(RecordedState.WAITING), str(RecordedState.REFUSED)]
        query = select(PENDING_DECISIONS).where(_T.assistant_id.in_(run_ids), _T.state.in_(shown))
        async with self._store.read() as session:
            rows = (await (await session.connection()).execute(query.order_by(_T.recorded_at))).all()
        return [(row.assistant_id, _shown(row)) for row in rows]

    async def due(self) -> list[StoredDecision]:
        """Return pending decisions that no process is delivering, oldest first."""
        query = _waiting().where(_is_free()).order_by(_T.recorded_at).limit(_AT_ONCE)
        async with self._store.read() as session:
            return [_stored(row) for row in (await (await session.connection()).execute(query)).all()]

    async def claim(self, stored: StoredDecision) -> bool:
        """Claim the delivery; return whether this process got it."""
        ours = update(PENDING_DECISIONS).where(_T.id == stored.id, _T.state == str(RecordedState.WAITING), _is_free())
        async with self._store.write() as session:
            claimed = ours.values(claimed_until=datetime.now(UTC) + _CLAIM)
            return (await (await session.connection()).execute(claimed)).rowcount == 1

    async def try_later(self, stored: StoredDecision) -> None:
        """Release the delivery: no worker accepted it."""
        await self._set(stored, claimed_until=datetime.now(UTC) + _NEXT_TRY)

    async def settle(self, stored: StoredDecision, state: RecordedState, detail: str | None = None) -> None:
        """Mark it as delivered, or as refused with `detail`, and delete its content."""
        await self._set(stored, state=str(state), detail=detail, payload=b"", settled_at=datetime.now(UTC))

    async def _set(self, stored: StoredDecision, **values: Any) -> None:
        changed = update(PENDING_DECISIONS).where(_T.id == stored.id, _T.state == str(RecordedState.WAITING))
        async with self._store.write() as session:
            await (await session.connection()).execute(changed.values(values))


def update_name(decision: Decision) -> str:
    """Return the name of the update that delivers it."""
    return "decide" if isinstance(decision, Decide) else "choose"


def _subject(decision: Decision) -> str:
    """Return the id of the approval or of the step."""
    return decision.approval_id if isinstance(decision, Decide) else decision.step_id


def _choice(decision: Decision) -> str:
    return decision.decision if isinstance(decision, Decide) else decision.choice


def _content(decision: Decision) -> tuple[object, ...]:
    """Return the part of a decision that repeated decisions have in common."""
    if isinstance(decision, Decide):
        return decision.decision, decision.args_hash, decision.args
    return (decision.choice,)


def _waiting() -> Any:
    return select(PENDING_DECISIONS).where(_T.state == str(RecordedState.WAITING))


def _is_free() -> Any:
    return or_(_T.claimed_until.is_(None), _T.claimed_until < datetime.now(UTC))


def _stored(row: Row[Any]) -> StoredDecision:
    return StoredDecision(row.id, row.assistant_id, row.name, row.owner, bytes(row.payload), row.mac, row.recorded_at)


def _shown(row: Row[Any]) -> RecordedDecision:
    return RecordedDecision(
        approval_id=row.approval_id if row.name == "decide" else None,
        step_id=row.approval_id if row.name == "choose" else None,
        decision=row.decision,
        by=row.owner,
        at=row.recorded_at,
        state=row.state,
        detail=row.detail,
    )


async def _decoded(client: Client, stored: StoredDecision) -> Decision | None:
    """Return the decision; None if it was changed in the database.

    Raises:
        Undecipherable: The keys of this process do not decrypt it.
    """
    try:
        payload = Payload.FromString(stored.payload)
        [decision] = await of_workflow(client, stored.assistant_id).decode([payload], [_UPDATES[stored.update]])
    except (DecodeError, ValueError, TypeError, RuntimeError, KeyError):
        return None
    return decision if isinstance(decision, Decision) else None


def words(one: RecordedDecision, *, reader: str) -> str:
    """Return the notice for a person."""
    whose = "Your decision" if one.by == reader else f"The decision of {one.by}"
    what = f"{whose} ({one.decision} {one.approval_id or one.step_id})"
    if one.state is RecordedState.WAITING:
        return f"{what} is recorded and takes effect when a workflow worker answers again."
    return f"{what} was recorded but refused: {one.detail}."


def with_recorded(view: AssistantView, recorded: Sequence[RecordedDecision], *, reader: str) -> AssistantView:
    """Return the view with pending and refused decisions.

    Args:
        view: The run. A decision that already took effect in it is not shown as pending.
        recorded: Decisions about it.
        reader: The person who sees it.
    """
    shown = [one for one in recorded if one.state is RecordedState.REFUSED or not _counts(view, one)]
    if not shown:
        return view
    waiting = {one.approval_id: words(one, reader=reader) for one in shown if one.state is RecordedState.WAITING}
    approvals = [approval.model_copy(update={"recorded": waiting.get(approval.id)}) for approval in view.approvals]
    notices = [*view.notices, *(words(one, reader=reader) for one in shown)]
    return view.model_copy(update={"notices": notices, "approvals": approvals, "recorded_decisions": shown})


def _counts(view: AssistantView, one: RecordedDecision) -> bool:
    """Return whether a run has already received a decision."""
    if one.step_id is not None:
        steps = view.plan.steps if view.plan else []
        return any(
            step.id == one.step_id and step.status not in (StepStatus.AWAITING_WORKER, StepStatus.AWAITING_ACCOUNT)
            for step in steps
        )
    found = next((approval for approval in view.approvals if approval.id == one.approval_id), None)
    return found is not None and (
        found.status is not ApprovalStatus.PENDING or one.by in {vote.by for vote in found.votes}
    )


async def deliver_for_ever(pending: PendingDecisions, client: Client, connected: Callable[[], Awaitable[None]]) -> None:
    """Deliver pending decisions whenever a workflow worker answers, as long as the process lives."""
    while True:
        try:
            if due := await pending.due():
                await connected()
                if await live_pollers(client, WORKFLOW_QUEUE, workflows=True):
                    await asyncio.gather(*[_deliver(pending, client, one) for one in due])
        except (ServiceUnavailable, RPCError) as error:
            _log.warning("recorded decisions are pending: %s", error.message)
        await asyncio.sleep(_LOOK_EVERY)


async def _deliver(pending: PendingDecisions, client: Client, stored: StoredDecision) -> None:
    if not await pending.claim(stored):
        return
    decision = await _decoded(client, stored)
    if decision is None or not keeps(client, stored.mac, stored.assistant_id, stored.update, stored.id, [decision]):
        await pending.settle(stored, RecordedState.REFUSED, "it was changed in the database; decide again")
    elif datetime.now(UTC) - stored.recorded_at > _GIVEN_UP:
        await pending.settle(stored, RecordedState.REFUSED, f"no workflow worker answered in {_GIVEN_UP.days} days")
    else:
        await _send(pending, client, stored, decision)


async def _send(pending: PendingDecisions, client: Client, stored: StoredDecision, decision: Decision) -> None:
    run = client.get_workflow_handle(stored.assistant_id)
    try:
        await run.execute_update(stored.update, decision, id=stored.id, rpc_timeout=_UPDATE)
    except WorkflowUpdateFailedError as error:
        await _refused(pending, client, stored, decision, error.cause)
    except RPCTimeoutOrCancelledError:
        await pending.try_later(stored)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            await pending.try_later(stored)
            raise
        await pending.settle(stored, RecordedState.REFUSED, "the assistant had already ended; nothing was changed")
    else:
        await pending.settle(stored, RecordedState.COUNTED)


async def _refused(
    pending: PendingDecisions, client: Client, stored: StoredDecision, decision: Decision, cause: BaseException
) -> None:
    kind = cause.type if isinstance(cause, ApplicationError) else None
    if kind == "NotProved":
        await pending.try_later(stored)  # not the decision's fault: keys or clocks are wrong at the moment
    elif kind in _TOO_LATE and await _stands(client, stored, decision):
        await pending.settle(stored, RecordedState.COUNTED)
    else:
        detail = cause.message if isinstance(cause, ApplicationError) else "the assistant did not accept it"
        await pending.settle(stored, RecordedState.REFUSED, detail)


async def _stands(client: Client, stored: StoredDecision, decision: Decision) -> bool:
    """Return whether the run already has this decision: delivered before a continue-as-new."""
    if isinstance(decision, ChooseForStep) and decision.choice is WorkerChoice.WAIT:
        return True  # a worker took the step
    try:
        content = await client.get_workflow_handle(stored.assistant_id).query(
            "view", result_type=dict[str, Any], rpc_timeout=_RPC
        )
    except (RPCError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError):
        return False
    view = AssistantView.model_validate(content)
    return _is_decided(view, decision) if isinstance(decision, Decide) else _is_chosen(view, decision)


def _is_decided(view: AssistantView, decide: Decide) -> bool:
    found = next((one for one in view.approvals if one.id == decide.approval_id), None)
    if found is None:
        return False
    voted = decide.by in {vote.by for vote in found.votes}
    return voted or (found.decided_by, found.decision) == (decide.by, decide.decision)


def _is_chosen(view: AssistantView, chosen: ChooseForStep) -> bool:
    steps = view.plan.steps if view.plan else []
    error = next((step.error for step in steps if step.id == chosen.step_id), None)
    wanted = "ChosenToSkip" if chosen.choice is WorkerChoice.SKIP else "ChosenToFail"
    return error is not None and error.type == wanted
