"""The source of one run: its growing history and snapshots of its view.

Access is not checked here, but before a run is followed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistory,
)
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from api.events.drafts import RunDraft, writers, written
from api.events.snapshot import RunSnapshot
from api.services.run_views import (
    RPC,
    UNREADABLE,
    ended_view,
    retrying_notices,
    undo_steps,
    view_by_server,
    with_attempts,
    with_pending,
    with_undo,
)
from api.storage.idempotency import IdempotencyKeys
from retinue.errors import NotFound, ServiceUnavailable
from retinue.temporal.connection import decode_texts, of_workflow
from workflows.messages import AssistantView

_LONG_POLL = timedelta(seconds=70)
"""The server answers a long poll after a minute at the latest, empty if there is nothing new."""
_CATCH_UP = 5.0
_TELLING = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)
"""Events that can change a run's own view: workflow tasks and the end."""
_GOES_ON = frozenset(
    {EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW}
)
AWAY = (RPCError, RPCTimeoutOrCancelledError, ServiceUnavailable)
"""Temporal, or the worker, does not answer."""


class RunSource:
    """Reads one run.

    Attributes:
        moved: Set when the history has reached an event that may change the view.
        may_change_without_history: Whether the run may change without a history event, such as by a retry.
        writing: Whether a model is writing a text for the run.
        texts: The current drafts.
    """

    def __init__(self, client: Client, keys: IdempotencyKeys, assistant_id: str) -> None:
        self.assistant_id = assistant_id
        self.moved = asyncio.Event()
        self._grew = asyncio.Event()
        self._client = client
        self._keys = keys
        self._execution = ""
        self._last = 0
        self._seen = ("", 0)
        self._closed = False
        self._starts: list[HistoryEvent] = []
        self._queried: AssistantView | None = None
        self.may_change_without_history = True
        self.writing = False
        self.texts: list[RunDraft] = []

    async def follow(self) -> None:
        """Read the history as it grows, over all executions of a chat. Return when the run has ended.

        Raises:
            RPCError: Temporal does not answer.
        """
        while await self._follow_execution():
            pass

    async def _follow_execution(self) -> bool:
        """Read one execution from its beginning; return whether another one follows."""
        pages = self._handle().fetch_history_events(wait_new_event=True, skip_archival=True, rpc_timeout=_LONG_POLL)
        self._starts, self._last, self._execution = [], 0, ""
        last: HistoryEvent | None = None
        while last is None or pages.next_page_token is not None:
            await pages.fetch_next_page()
            page = pages.current_page or ()
            self._note(page)
            last = page[-1] if page else last
        return last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW

    def _note(self, page: Sequence[HistoryEvent]) -> None:
        for event in page:
            self._last = event.event_id
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                self._execution = event.workflow_execution_started_event_attributes.original_execution_run_id
                self.moved.set()
            elif event.event_type in _TELLING:
                self._closed = event.event_type not in _GOES_ON
                self.moved.set()
            else:
                self._note_activity(event)
        self._grew.set()

    def _note_activity(self, event: HistoryEvent) -> None:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            event.activity_task_scheduled_event_attributes.ClearField("input")
            self._starts.append(event)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            self._starts.append(event)

    async def look(self) -> RunSnapshot:
        """Read the current view, by a query while the run lives.

        Raises:
            RPCError: Temporal does not answer.
        """
        self.moved.clear()
        self._seen = (self._execution, self._last)
        self._queried = None
        if not self._closed:  # an ended run is read from its history: a query would cost a replay
            with contextlib.suppress(*UNREADABLE):
                self._queried = await self._query()
        return await self.look_again()

    async def look_again(self) -> RunSnapshot:
        """Read only what the server knows: attempts, and whether the run continues.

        Raises:
            RPCError: Temporal does not answer.
        """
        description = await self.describe()
        await self._note_texts(description)
        self.may_change_without_history = _may_change_by_itself(description)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return await self._ended(description)
        await self._catch_up(description)
        if self._queried is None:
            return self._snapshot(await view_by_server(description), description, whole=False)
        view = with_attempts(self._queried, self._noted())
        notices = [*view.notices, *retrying_notices(description, view)]
        view = with_pending(view, description).model_copy(update={"notices": notices})
        return self._snapshot(view, description, whole=True)

    async def look_at_texts(self) -> bool:
        """Read only the drafts; return whether a model is still writing.

        Raises:
            RPCError: Temporal does not answer.
        """
        before = self.texts
        await self._note_texts(await self._described())
        return self.texts != before

    async def _note_texts(self, description: WorkflowExecutionDescription) -> None:
        self.writing = bool(writers(description))
        self.texts = await written(description, self._converter()) if self.writing else []

    async def _catch_up(self, description: WorkflowExecutionDescription) -> None:
        """Wait until the view's history was read, too: only that has the numbers of attempts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP):
                while self._execution != description.run_id or self._last < _length(description):
                    self._grew.clear()
                    await self._grew.wait()

    async def _ended(self, description: WorkflowExecutionDescription) -> RunSnapshot:
        history = await self._handle().fetch_history(rpc_timeout=RPC)
        view, whole = await ended_view(description, history, self._converter(), self._query)
        with contextlib.suppress(ServiceUnavailable):
            undoings = await self._keys.undoings(self.assistant_id)
            view = with_undo(view, await undo_steps(self._client, self.assistant_id, undoings))
        return self._snapshot(view, description, whole=whole)

    def _snapshot(self, view: AssistantView, description: WorkflowExecutionDescription, *, whole: bool) -> RunSnapshot:
        execution, seen = self._seen
        confirmed_event = seen if execution == description.run_id else 0
        return RunSnapshot(
            view, whole, run=description.run_id, event=_length(description), confirmed_event=confirmed_event
        )

    def _noted(self) -> WorkflowHistory:
        return WorkflowHistory(self.assistant_id, self._starts)

    async def describe(self) -> WorkflowExecutionDescription:
        """Return the server's description of the run.

        Raises:
            NotFound: It is no longer stored.
        """
        description = await self._described()
        await decode_texts(description, self._converter())
        return description

    async def _described(self) -> WorkflowExecutionDescription:
        try:
            return await self._handle().describe(rpc_timeout=RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound("the assistant is no longer stored") from None
            raise

    def _converter(self) -> DataConverter:
        return of_workflow(self._client, self.assistant_id)

    async def _query(self) -> AssistantView:
        content = await self._handle().query("view", result_type=dict[str, Any], rpc_timeout=RPC)
        return AssistantView.model_validate(content)

    def _handle(self) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(self.assistant_id)


def _length(description: WorkflowExecutionDescription) -> int:
    return int(description.history_length)


def _may_change_by_itself(description: WorkflowExecutionDescription) -> bool:
    raw = description.raw_description
    return bool(raw.pending_activities) or raw.pending_workflow_task.attempt > 1
