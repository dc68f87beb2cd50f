"""Telling people's programs what a run wants of them, beside the run: a workflow of its own for each thing to tell.

A run only starts them, and only where its start says so (`StartAssistant.notify`). To whom a thing is told, and how, is
known at the queue `webhooks`, which the front door serves where webhooks are switched on. So a receiver that is slow or
away holds up nobody. Why so: docs/decisions/0023.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError

from retinue.times import Moment
from workflows.messages import ApprovalStatus, ApprovalView, AssistantStatus

NOTIFICATION_TYPE = "NotificationWorkflow"
WEBHOOK_QUEUE = "webhooks"
ADDRESSEES = "webhooks.addressees"
DELIVER = "webhooks.deliver"
_LONGEST = timedelta(days=14)
"""The receiver's side gives up after `RETINUE_WEBHOOK_RETRIES`; this only bounds what nobody serves any more."""
_ONE_TRY = timedelta(seconds=30)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=5)
)


class Occasion(StrEnum):
    """What there is to tell; the `type` of a message. Durable: receivers compare them."""

    APPROVAL_NEEDED = "approval.needed"
    APPROVAL_REMINDED = "approval.reminded"
    APPROVAL_ESCALATED = "approval.escalated"
    QUESTION_ASKED = "question.asked"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    TEST = "test"


_ENDS = {
    AssistantStatus.COMPLETED: Occasion.RUN_COMPLETED,
    AssistantStatus.FAILED: Occasion.RUN_FAILED,
    AssistantStatus.CANCELLED: Occasion.RUN_CANCELLED,
}


class Notification(BaseModel):
    """Input of `NotificationWorkflow`: ids and names, nothing that a stranger or a model wrote."""

    occasion: Occasion
    at: Moment
    owner: str = Field(description="whose run it is")
    assistant_id: str | None = None
    approval_id: str | None = None
    tool: str | None = None
    kind: str | None = None
    by: list[str] = Field(default_factory=list, description="who may decide, beside the owner; `*`: anybody")
    expires_at: Moment | None = None
    question_id: str | None = None
    only: str | None = Field(None, description="one webhook, and no other: for a test")


class Deliver(BaseModel):
    """Argument of `webhooks.deliver`."""

    webhook_id: str
    notification: Notification


class NotificationResult(BaseModel):
    """Result of `NotificationWorkflow`: how many webhooks took it, and how many did not until the end."""

    delivered: int = 0
    failed: int = 0


@workflow.defn(name=NOTIFICATION_TYPE)
class NotificationWorkflow:
    """Tells one thing to every webhook that wants to hear it, each at its own pace."""

    @workflow.run
    async def run(self, notification: Notification) -> NotificationResult:
        """Look up who wants to hear of it, now and not when the run began; then deliver until it is taken or given up."""
        webhooks: list[str] = await workflow.execute_activity(
            ADDRESSEES,
            notification,
            result_type=list[str],
            task_queue=WEBHOOK_QUEUE,
            start_to_close_timeout=_ONE_TRY,
            schedule_to_close_timeout=_LONGEST,
            retry_policy=_RETRY,
        )
        taken = await asyncio.gather(*(_delivered(webhook, notification) for webhook in webhooks))
        return NotificationResult(delivered=sum(taken), failed=len(taken) - sum(taken))


async def _delivered(webhook_id: str, notification: Notification) -> bool:
    """Whether it was taken in the end. The pauses between attempts are set by the activity's own errors."""
    try:
        await workflow.execute_activity(
            DELIVER,
            Deliver(webhook_id=webhook_id, notification=notification),
            task_queue=WEBHOOK_QUEUE,
            start_to_close_timeout=_ONE_TRY,
            schedule_to_close_timeout=_LONGEST,
            retry_policy=_RETRY,
        )
    except ActivityError:
        return False
    return True


class Notifier:
    """What of a run was told already, and what is to be told now. It costs nothing where nobody is told.

    Args:
        owner: Whose run it is.
        told: Approvals that were told before the run continued as new.
    """

    def __init__(self, *, owner: str, told: Sequence[ApprovalView] = ()) -> None:
        self._owner = owner
        self._told = {mark for approval in told for mark, _ in _occasions(approval)}
        self._starting: set[asyncio.Task[None]] = set()

    def look(self, approvals: Sequence[ApprovalView], question_id: str | None) -> None:
        """Tell what has come about since the last look."""
        for approval in approvals:
            for mark, occasion in _occasions(approval):
                self._tell_once(mark, self._of_approval(occasion, approval))
        if question_id:
            self._tell_once(question_id, self._new(Occasion.QUESTION_ASKED, question_id=question_id))

    def end(self, status: AssistantStatus) -> None:
        """Tell how the run ended."""
        self._tell_once("end", self._new(_ENDS[status]))

    async def settle(self) -> None:
        """Wait until all of it has been handed over to workflows of its own, whoever wants to stop this run meanwhile."""
        stopped: asyncio.CancelledError | None = None
        while self._starting:
            try:
                await workflow.wait_condition(lambda: not self._starting)
            except asyncio.CancelledError as error:
                stopped = error
        if stopped:
            raise stopped

    def _of_approval(self, occasion: Occasion, approval: ApprovalView) -> Notification:
        return self._new(
            occasion,
            approval_id=approval.id,
            tool=approval.tool,
            kind=str(approval.kind),
            by=approval.by,
            expires_at=approval.expires_at,
        )

    def _new(self, occasion: Occasion, **more: object) -> Notification:
        base = {
            "occasion": occasion,
            "at": workflow.now(),
            "owner": self._owner,
            "assistant_id": workflow.info().workflow_id,
        }
        return Notification.model_validate({**base, **{name: value for name, value in more.items() if value}})

    def _tell_once(self, mark: str, notification: Notification) -> None:
        if mark not in self._told:
            self._told.add(mark)
            task = asyncio.get_running_loop().create_task(_hand_over(notification))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)


def _occasions(approval: ApprovalView) -> Iterator[tuple[str, Occasion]]:
    """What there is or was to tell of an approval. What was decided before anybody heard of it is told no more."""
    if approval.status is not ApprovalStatus.PENDING:
        return
    yield f"{approval.id} needed", Occasion.APPROVAL_NEEDED
    for number in range(approval.reminders):
        yield f"{approval.id} reminded {number}", Occasion.APPROVAL_REMINDED
    if approval.escalated_at:
        yield f"{approval.id} escalated", Occasion.APPROVAL_ESCALATED


async def _hand_over(notification: Notification) -> None:
    """Start the workflow that tells it. It outlives this run, and its id says nothing."""
    try:
        await workflow.start_child_workflow(
            NOTIFICATION_TYPE,
            notification,
            id=f"notify-{workflow.uuid4().hex}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
    except FailureError:
        workflow.logger.warning("a notification could not be started")
