"""Reads the view of a run: from a worker, from its history, or from the server alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from api.services.pending_decisions import PendingDecisions, with_recorded, words
from api.services.run_access import RPC, Access, RunAccess, no_such_assistant
from api.services.run_views import (
    NO_WORKER_NOTICE,
    UNREADABLE,
    ended_view,
    retrying_notices,
    undo_steps,
    view_by_server,
    with_attempts,
    with_pending,
    with_undo,
)
from api.services.view_cache import KnownViews
from api.storage.idempotency import IdempotencyKeys
from retinue.errors import Conflict, NotFound, ServiceUnavailable
from retinue.temporal.connection import of_workflow
from retinue.temporal.search_keys import OWNER, PENDING_APPROVALS, STATUS
from workflows.messages import (
    ENDED,
    ApprovalStatus,
    ApprovalView,
    AssistantStatus,
    AssistantView,
    MessagePage,
    RecordedState,
    SaidBefore,
    StepStatus,
    UndoStep,
)

_SETTLED = ENDED | {
    AssistantStatus.AWAITING_APPROVAL,
    AssistantStatus.AWAITING_INPUT,
    AssistantStatus.AWAITING_ACCOUNT,
}
_LOOK_EVERY = 1.5
_FIRST_TASK = 5
"""Events of a run that ended in its first workflow task."""


class RunReader(RunAccess):
    """Reads single runs.

    Args:
        client: Of Temporal.
        owner: The caller.
        keys: The table of idempotency keys.
        known: Cached views.
        audits: As for `RunAccess`.
    """

    def __init__(
        self, client: Client, *, owner: str, keys: IdempotencyKeys, known: KnownViews, audits: bool = False
    ) -> None:
        super().__init__(client, owner=owner, audits=audits)
        self._keys = keys
        self._known = known
        self._pending = PendingDecisions(keys.store)

    async def _describe(self, assistant_id: str, *, to: Access = Access.CHANGE) -> WorkflowExecutionDescription:
        description = await super()._describe(assistant_id, to=to)
        if description.typed_search_attributes.get(OWNER) == self._owner:
            self._known.note_owner(assistant_id, self._owner)
        return description

    async def _check(self, assistant_id: str, *, to: Access) -> None:
        """Check the caller's access to a run; without a call to Temporal if it is known to be theirs."""
        if self._known.owner(assistant_id) != self._owner:
            await self._describe(assistant_id, to=to)

    async def view(self, assistant_id: str) -> AssistantView:
        """Return the assistant's current view, with pending decisions.

        Raises:
            NotFound: It does not exist, or belongs to another person.
        """
        return await self.view_of(await self._describe(assistant_id, to=Access.READ))

    async def view_of(self, description: WorkflowExecutionDescription) -> AssistantView:
        """Return the view of a run that `readable` has just described."""
        return await self._with_recorded(await self._view(description))

    async def _with_recorded(self, view: AssistantView) -> AssistantView:
        recorded = [one for _, one in await self._pending.of(view.id)]
        mine = view.owner == self._owner or not view.facts
        seen = (
            view if mine else view.model_copy(update={"facts": []})
        )  # of what is remembered of them, others see nothing
        return with_recorded(seen, recorded, reader=self._owner)

    async def recorded(self, run_ids: Sequence[str]) -> dict[tuple[str, str], str]:
        """Return the notices of the caller's own pending decisions, by run and approval."""
        found = await self._pending.of(*run_ids)
        return {
            (assistant_id, one.approval_id): words(one, reader=self._owner)
            for assistant_id, one in found
            if one.approval_id and one.by == self._owner and one.state is RecordedState.WAITING
        }

    async def view_without_worker(self, assistant_id: str) -> AssistantView:
        """Return the view without asking a workflow worker: none has just answered."""
        description = await self._describe(assistant_id, to=Access.READ)
        return await self._with_recorded(await self._view_without_worker(description))

    async def _view(self, description: WorkflowExecutionDescription) -> AssistantView:
        """Read a run once: the server's description, and the run's view unless it is unchanged."""
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return await self._with_undo(await self._known.of(description, self._final_view))
        try:
            view = await self._known.of(description, self._live_view)
        except UNREADABLE as error:
            view = await self._view_without_worker(description)
            problem = (
                [f"the assistant's state could not be read: {error}"]
                if isinstance(error, WorkflowQueryFailedError)
                else []
            )
            return view.model_copy(update={"notices": [*view.notices, *problem]})
        notices = [*view.notices, *retrying_notices(description, view)]
        return with_pending(view, description).model_copy(update={"notices": notices})

    async def _live_view(self, description: WorkflowExecutionDescription) -> tuple[AssistantView, bool]:
        view, _ = await self._read_run(description)
        if view.plan and any(step.status is not StepStatus.PENDING for step in view.plan.steps):
            view = with_attempts(view, await self._handle(description.id).fetch_history(rpc_timeout=RPC))
        return view, True

    async def _with_undo(self, view: AssistantView) -> AssistantView:
        """Add the effects that were undone after the run's end."""
        return with_undo(view, await self._undo_steps(view.id)) if view.status in ENDED else view

    async def _undo_steps(self, assistant_id: str) -> list[UndoStep]:
        return await undo_steps(self._client, assistant_id, await self._keys.undoings(assistant_id))

    async def failed_at_once(self, assistant_id: str) -> AssistantView | None:
        """Return the view of a run that failed at its start; None for any other run, or if unknown."""
        try:
            description = await self._describe(assistant_id, to=Access.READ)
        except (NotFound, RPCError):
            return None
        at_once = description.status is WorkflowExecutionStatus.FAILED and description.history_length <= _FIRST_TASK
        return await self.view_of(description) if at_once else None

    async def _final_view(self, description: WorkflowExecutionDescription) -> tuple[AssistantView, bool]:
        assistant_id = description.id
        history = await self._handle(assistant_id).fetch_history(rpc_timeout=RPC)
        converter = of_workflow(self._client, assistant_id)
        return await ended_view(description, history, converter, lambda: self._queried(assistant_id))

    async def _read_run(self, description: WorkflowExecutionDescription) -> tuple[AssistantView, bool]:
        return await self._queried(description.id), True

    async def _queried(self, assistant_id: str) -> AssistantView:
        content = await self._handle(assistant_id).query("view", result_type=dict[str, Any], rpc_timeout=RPC)
        return AssistantView.model_validate(content)

    async def _asked(self, assistant_id: str, query: str, answer: type[Any], *arguments: Any) -> Any:
        """Query a run, ended or not.

        Raises:
            ServiceUnavailable: No workflow worker answers.
            Conflict: The run has no such query.
        """
        try:
            return await self._handle(assistant_id).query(query, args=arguments, result_type=answer, rpc_timeout=RPC)
        except WorkflowQueryFailedError:
            raise Conflict("this run does not support that") from None
        except (RPCError, RPCTimeoutOrCancelledError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                raise no_such_assistant(assistant_id) from None
            raise ServiceUnavailable("no workflow worker answered in time") from None

    async def _view_without_worker(self, description: WorkflowExecutionDescription) -> AssistantView:
        """Return a view while no workflow worker answers: the run is safe and waits for one.

        Approvals are shown if this process has cached them and the server says that they are still pending.
        """
        asks = description.typed_search_attributes.get(PENDING_APPROVALS) or 0
        if asks and (last := self._known.last(description)) and asks == sum(map(_waits, last.approvals)):
            return last.model_copy(update={"notices": [*last.notices, NO_WORKER_NOTICE]})
        return await view_by_server(description)

    async def settled(self, assistant_id: str, *, seconds: float, mine: bool = False) -> AssistantView:
        """Return the view once the run has ended or needs a person, at the latest after `seconds`.

        Args:
            assistant_id: The assistant.
            seconds: How long to wait at most.
            mine: The caller has just started or changed it, so its owner need not be checked.

        Raises:
            NotFound: It does not exist, or belongs to another person.
        """
        if not mine:
            await self._check(assistant_id, to=Access.READ)
        closing = asyncio.ensure_future(self._closed(assistant_id))
        try:
            await self._until_settled(assistant_id, closing, seconds=seconds)
        finally:
            closing.cancel()
        return await self.view(assistant_id)

    async def _until_settled(self, assistant_id: str, closing: asyncio.Future[None], *, seconds: float) -> None:
        """Wait for the run's last event by one long poll, and check rarely whether it needs a person."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait([closing], timeout=min(_LOOK_EVERY, left))
            if closing.done() or await self._published(assistant_id) in _SETTLED:
                return

    async def _closed(self, assistant_id: str) -> None:
        """Return when the run has ended: a long poll on its history, without a worker."""
        events = self._handle(assistant_id).fetch_history_events(
            wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
        async for _ in events:
            return

    async def _published(self, assistant_id: str) -> str | None:
        return (await self._describe(assistant_id, to=Access.READ)).typed_search_attributes.get(STATUS)

    async def messages(self, assistant_id: str, *, before: int, limit: int) -> MessagePage:
        """Return at most `limit` messages before position `before`.

        Raises:
            Conflict: The run has no conversation.
        """
        await self._describe(assistant_id, to=Access.READ)
        page: MessagePage = await self._asked(assistant_id, "said", MessagePage, SaidBefore(before=before, limit=limit))
        return page


def _waits(approval: ApprovalView) -> bool:
    return approval.status is ApprovalStatus.PENDING
