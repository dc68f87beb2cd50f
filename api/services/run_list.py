"""Lists of runs: newest first, or with pending approvals; their cursors and summaries."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from api.services.run_access import RPC, TYPE, TYPES, Access
from api.services.run_reader import RunReader
from api.services.run_views import MESSAGE_MEMO, UNREADABLE, execution_status
from retinue.errors import InvalidArguments
from retinue.temporal.search_attributes import is_exactly
from retinue.temporal.search_keys import APPROVERS, OWNER, PENDING_APPROVALS, STATUS, TENANT
from retinue.tenancy import anybody
from workflows.messages import AssistantStatus, AssistantView, RunOutcome

_SECOND = timedelta(seconds=1)
_WINDOWS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=2), timedelta(days=1), None)
"""Time windows of a list: short when many runs were started recently, unlimited when few were."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_LISTED = {status: f"ExecutionStatus = 'Running' AND {STATUS.name} = '{status}'" for status in AssistantStatus} | {
    AssistantStatus.PLANNING: f"ExecutionStatus = 'Running' AND {STATUS.name} = 'running'",
    AssistantStatus.COMPLETED: "ExecutionStatus = 'Completed'",
    AssistantStatus.FAILED: "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')",
    AssistantStatus.CANCELLED: "ExecutionStatus = 'Canceled'",
}
"""Search conditions. Ended runs are listed by Temporal's status: a terminated run could not publish its own."""


@dataclass(frozen=True)
class Waiting:
    """A page of runs with pending approvals."""

    views: Sequence[AssistantView]
    unreadable: Sequence[str]
    """Ids of runs whose approvals cannot be read."""
    assistants: int
    """Total number of such runs, as exactly as the server compares names."""
    next_cursor: str | None


class RunList(RunReader):
    """Lists runs."""

    async def page(
        self, *, status: AssistantStatus | None, limit: int, cursor: str | None, mine: bool = True
    ) -> tuple[list[WorkflowExecution], str | None]:
        """Return a page of runs, newest first, and the next cursor. Without `mine`: all runs that the caller audits.

        Raises:
            InvalidArguments: The cursor is not valid.
        """
        position = _position(cursor)
        access = Access.CHANGE if mine or not self._audits else Access.READ
        query = f"{self._listed(access)} AND {_LISTED[status]}" if status else self._listed(access)
        found: list[WorkflowExecution] = []
        async for window in self._windows(query, until=position[0] if position else datetime.now(UTC)):
            found += [run for run in window if self._may(run, access) and (not position or _place(run) < position)]
            if len(found) > limit:
                break
        shown = sorted(found, key=_place, reverse=True)[:limit]
        return shown, _cursor(shown[-1]) if len(found) > limit else None

    async def _windows(self, query: str, *, until: datetime) -> AsyncIterator[list[WorkflowExecution]]:
        """Yield runs by start time, latest window first: the server can only order by close time."""
        latest = end = until.replace(microsecond=0) + _SECOND
        for width in _WINDOWS:
            since = None if width is None else latest - width
            bounds = f" AND StartTime < '{end.isoformat()}'" + (
                f" AND StartTime >= '{since.isoformat()}'" if since else ""
            )
            found = self._client.list_workflows(query + bounds, page_size=1000, rpc_timeout=RPC)
            yield [run async for run in found]
            end = since or end

    async def waiting_for_decision(self, *, limit: int, cursor: str | None = None) -> Waiting:
        """Return runs with approvals for the caller, newest first.

        Args:
            limit: How many to read. The others are only counted, which is cheap.
            cursor: The next cursor of an earlier page.

        Raises:
            InvalidArguments: The cursor is not valid.
        """
        position = _position(cursor)
        names = [is_exactly(APPROVERS.name, name) for name in (self._owner, anybody(self._owner))]
        to_decide = f"({' OR '.join([is_exactly(OWNER.name, self._owner), *names])})"
        query = (
            f"WorkflowType = '{TYPE}' AND {to_decide} AND ExecutionStatus = 'Running' AND {PENDING_APPROVALS.name} > 0"
        )
        found, counted = await asyncio.gather(
            self._latest(query, position, limit), self._client.count_workflows(query, rpc_timeout=RPC)
        )
        is_all = limit > 0 and position is None and len(found) <= limit
        gate = asyncio.Semaphore(10)

        async def read(assistant_id: str) -> AssistantView | str:
            async with gate:
                try:
                    description = await self._handle(assistant_id).describe(rpc_timeout=RPC)
                    return await self._known.of(description, self._read_run, with_attempts=False)
                except UNREADABLE:
                    return assistant_id

        read_ones = await asyncio.gather(*[read(run.id) for run in found[:limit]])
        return Waiting(
            views=[view for view in read_ones if isinstance(view, AssistantView)],
            unreadable=[assistant_id for assistant_id in read_ones if isinstance(assistant_id, str)],
            assistants=len(found) if is_all else counted.count,
            next_cursor=_cursor(found[limit - 1]) if len(found) > limit > 0 else None,
        )

    async def _latest(self, query: str, position: tuple[datetime, str] | None, limit: int) -> list[WorkflowExecution]:
        """Return up to `limit + 1` running runs, newest first, which is the server's order of open workflows."""
        if not limit:
            return []
        before = f" AND StartTime <= '{position[0].isoformat()}'" if position else ""
        listed = self._client.list_workflows(query + before, page_size=limit + 2, rpc_timeout=RPC)
        found: list[WorkflowExecution] = []
        async for run in listed:
            if self._may(run, Access.DECIDE) and (not position or _place(run) < position):
                found.append(run)
            if len(found) > limit:
                break
        return sorted(found, key=_place, reverse=True)

    def _listed(self, access: Access) -> str:
        kinds = ", ".join(f"'{kind}'" for kind in sorted(TYPES))
        whole = is_exactly(TENANT.name, self._tenant) if self._tenant else f"{TENANT.name} IS NULL"
        whose = whole if access is Access.READ else is_exactly(OWNER.name, self._owner)
        return f"WorkflowType IN ({kinds}) AND {whose}"


def pending_approvals(execution: WorkflowExecution) -> int:
    """Return the number of pending approvals of a listed run."""
    waiting = execution.typed_search_attributes.get(PENDING_APPROVALS) or 0
    return waiting if execution.status is WorkflowExecutionStatus.RUNNING else 0


def listed_status(execution: WorkflowExecution) -> AssistantStatus:
    """Return the status of a listed run."""
    return execution_status(execution.status, execution.typed_search_attributes.get(STATUS))


def listed_outcome(execution: WorkflowExecution) -> RunOutcome | None:
    """Return the outcome of a listed run; None before it has completed."""
    if listed_status(execution) is not AssistantStatus.COMPLETED:
        return None
    said = execution.typed_search_attributes.get(STATUS)
    return RunOutcome(said) if said in set(RunOutcome) else RunOutcome.DONE


def listed_owner(execution: WorkflowExecution) -> str:
    """Return the owner of a listed run."""
    return execution.typed_search_attributes.get(OWNER) or ""


async def listed_message(execution: WorkflowExecution) -> str:
    """Return the beginning of a listed run's message."""
    message: str = await execution.memo_value(MESSAGE_MEMO, "", type_hint=str)
    return message


def _place(run: WorkflowExecution) -> tuple[datetime, str]:
    return run.start_time, run.id


def _cursor(run: WorkflowExecution) -> str:
    return base64.urlsafe_b64encode(f"{run.start_time.isoformat()} {run.id}".encode()).decode()


def _position(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        moment, assistant_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split(" ", 1)
        started = datetime.fromisoformat(moment).astimezone(UTC)
        if started < _LONG_AGO:
            raise ValueError(moment)
    except (ValueError, OverflowError):
        raise InvalidArguments("this cursor is not valid", hint="start again without one") from None
    return min(started, datetime.now(UTC)), assistant_id
