"""What a run shows: its view from a worker, from its history, or from what is known without either."""

from __future__ import annotations

import asyncio
import contextlib
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
    NOBODY_ANSWERS,
    closed_from_outside,
    failure_of,
    recorded_view,
    retrying_notices,
    with_attempts,
    with_pending,
    with_undo,
)
from api.services.view_cache import KnownViews
from api.storage.idempotency import IdempotencyKeys
from retinue.conversation import Message, Role
from retinue.errors import Conflict, NotFound, ServiceUnavailable
from retinue.temporal.connection import of_workflow
from retinue.temporal.search_keys import PENDING_APPROVALS, STATUS
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
    UndoView,
)
from workflows.undo import undo_id

MESSAGE_MEMO = "message"
_SETTLED = ENDED | {AssistantStatus.AWAITING_APPROVAL, AssistantStatus.AWAITING_INPUT}
_LOOK_EVERY = 1.5
_FIRST_TASK = 5
"""Events of a run that ended in its first workflow task."""


class _ShowsNothing(ServiceUnavailable):
    """A workflow worker answers, and the run itself cannot: it failed before it could, or its start cannot be read."""


class RunReader(RunAccess):
    """Reads single runs.

    Args:
        client: Of Temporal.
        owner: The caller.
        keys: The table of idempotency keys.
        known: Views that were read before, by whomever.
        audits: As for `RunAccess`.
    """

    def __init__(
        self, client: Client, *, owner: str, keys: IdempotencyKeys, known: KnownViews, audits: bool = False
    ) -> None:
        super().__init__(client, owner=owner, audits=audits)
        self._keys = keys
        self._known = known
        self._pending = PendingDecisions(keys.store)

    async def view(self, assistant_id: str) -> AssistantView:
        """The assistant as it stands, with decisions that wait for a workflow worker.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        return await self._with_recorded(await self._view(assistant_id))

    async def _with_recorded(self, view: AssistantView) -> AssistantView:
        recorded = [one for _, one in await self._pending.of(view.id)]
        return with_recorded(view, recorded, reader=self._owner)

    async def recorded(self, run_ids: Sequence[str]) -> dict[tuple[str, str], str]:
        """By run and approval: what is recorded of the caller's own decisions and does not count yet, in words."""
        found = await self._pending.of(*run_ids)
        return {
            (assistant_id, one.approval_id): words(one, reader=self._owner)
            for assistant_id, one in found
            if one.by == self._owner and one.state is RecordedState.WAITING
        }

    async def view_without_worker(self, assistant_id: str) -> AssistantView:
        """The same, without asking a workflow worker: none has just answered."""
        description = await self._describe(assistant_id, to=Access.READ)
        return await self._with_recorded(await self._view_without_worker(description))

    async def _view(self, assistant_id: str) -> AssistantView:
        description = await self._describe(assistant_id, to=Access.READ)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return await self._with_undo(await self._final_view(assistant_id))
        try:
            view = self._known.note(description, await self._queried(assistant_id))
        except (RPCError, RPCTimeoutOrCancelledError):
            return await self._view_without_worker(description)
        except _ShowsNothing as error:
            view = await self._view_without_worker(description)
            return view.model_copy(update={"notices": [*view.notices, error.message]})
        if view.plan and any(step.status is not StepStatus.PENDING for step in view.plan.steps):
            view = with_attempts(view, await self._handle(assistant_id).fetch_history(rpc_timeout=RPC))
        notices = [*view.notices, *retrying_notices(description, view)]
        return with_pending(view, description).model_copy(update={"notices": notices})

    async def _with_undo(self, view: AssistantView) -> AssistantView:
        """Add what was taken back after the run's end, if anything was."""
        return with_undo(view, await self._undo_steps(view.id)) if view.status in ENDED else view

    async def _undo_steps(self, assistant_id: str) -> list[UndoStep]:
        """What became of the effects that were to be taken back after the end; of each the last try."""
        found: dict[str, UndoStep] = {}
        for number in range(1, 1 + await self._keys.undoings(assistant_id)):
            with contextlib.suppress(NotFound):  # noted, and then Temporal was away when it should have begun
                undo: UndoView = await self._asked(undo_id(assistant_id, number), "view", UndoView)
                found |= {step.step_id: step for step in undo.steps}
        return list(found.values())

    async def failed_at_once(self, assistant_id: str) -> AssistantView | None:
        """The view of a run that failed before it began to work; None where it is any other, or nobody knows."""
        try:
            description = await self._describe(assistant_id, to=Access.READ)
        except (NotFound, RPCError):
            return None
        at_once = description.status is WorkflowExecutionStatus.FAILED and description.history_length <= _FIRST_TASK
        return await self.view(assistant_id) if at_once else None

    async def _final_view(self, assistant_id: str) -> AssistantView:
        history = await self._handle(assistant_id).fetch_history(rpc_timeout=RPC)
        if recorded := await recorded_view(history, of_workflow(self._client, assistant_id)):
            return recorded
        description = await self._describe(assistant_id, to=Access.READ)
        try:
            view = await self._queried(assistant_id)
        except (RPCError, RPCTimeoutOrCancelledError, _ShowsNothing):
            view = await self._view_without_worker(description)
            notices = [notice for notice in view.notices if notice != NOBODY_ANSWERS]
            view = view.model_copy(update={"notices": notices})
        problem = await failure_of(history, of_workflow(self._client, assistant_id))
        return closed_from_outside(with_attempts(view, history), description.status, problem)

    async def _queried(self, assistant_id: str) -> AssistantView:
        try:
            content = await self._handle(assistant_id).query("view", result_type=dict[str, Any], rpc_timeout=RPC)
        except WorkflowQueryFailedError as error:
            raise _ShowsNothing(f"the run cannot show itself: {error}") from error
        return AssistantView.model_validate(content)

    async def _asked(self, assistant_id: str, query: str, answer: type[Any], *arguments: Any) -> Any:
        """Query a run, ended or not.

        Raises:
            ServiceUnavailable: No workflow worker answers.
            Conflict: It is a run that cannot say such a thing.
        """
        try:
            return await self._handle(assistant_id).query(query, args=arguments, result_type=answer, rpc_timeout=RPC)
        except WorkflowQueryFailedError:
            raise Conflict("this kind of run has nothing of that sort") from None
        except (RPCError, RPCTimeoutOrCancelledError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                raise no_such_assistant(assistant_id) from None
            raise ServiceUnavailable("no workflow worker answered in time") from None

    async def _view_without_worker(self, description: WorkflowExecutionDescription) -> AssistantView:
        """What can be said while no workflow worker answers: the run is safe and waits for one.

        Where this process has seen what it asks for, and the server says that it still asks, that is shown.
        """
        asks = description.typed_search_attributes.get(PENDING_APPROVALS) or 0
        if asks and (last := self._known.last(description)) and asks == sum(map(_waits, last.approvals)):
            return last.model_copy(update={"notices": [*last.notices, NOBODY_ANSWERS]})
        message = await description.memo_value(MESSAGE_MEMO, "", type_hint=str)
        return AssistantView(
            id=description.id,
            status=AssistantStatus.AWAITING_WORKER,
            message=message,
            messages=[Message(role=Role.USER, text=message)],
            notices=retrying_notices(description) or [NOBODY_ANSWERS],
        )

    async def settled(self, assistant_id: str, *, seconds: float, mine: bool = False) -> AssistantView:
        """The view once the run has ended or needs a person, or after `seconds` as it then stands.

        Args:
            assistant_id: The assistant.
            seconds: How long to wait at most.
            mine: The caller has just started or changed it, so whose it is need not be asked again.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        if not mine:
            await self._describe(assistant_id, to=Access.READ)
        closing = asyncio.ensure_future(self._closed(assistant_id))
        try:
            view = await self._settled(assistant_id, closing, seconds=seconds)
        finally:
            closing.cancel()
        return view if mine else await self._with_undo(view)

    async def _settled(self, assistant_id: str, closing: asyncio.Future[None], *, seconds: float) -> AssistantView:
        """Wait for the run's last event, which costs one long poll, and look only now and then whether it asks."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait([closing], timeout=min(_LOOK_EVERY, left))
            if closing.done():
                return await self._final_view(assistant_id)
            if await self._published(assistant_id) in _SETTLED:
                break
        return await self.view(assistant_id)

    async def _closed(self, assistant_id: str) -> None:
        """Return when the run has ended; a long poll on its history, so nobody's worker is asked."""
        events = self._handle(assistant_id).fetch_history_events(
            wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
        async for _ in events:
            return

    async def _published(self, assistant_id: str) -> str | None:
        return (await self._describe(assistant_id, to=Access.READ)).typed_search_attributes.get(STATUS)

    async def messages(self, assistant_id: str, *, before: int, limit: int) -> MessagePage:
        """A part of a conversation: at most `limit` messages before the one at position `before`.

        Raises:
            Conflict: It is a run that holds no conversation.
        """
        await self._describe(assistant_id, to=Access.READ)
        page: MessagePage = await self._asked(assistant_id, "said", MessagePage, SaidBefore(before=before, limit=limit))
        return page


def _waits(approval: ApprovalView) -> bool:
    return approval.status is ApprovalStatus.PENDING
