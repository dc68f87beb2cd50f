"""Notifications to people's webhooks: one workflow per notification, separate from the run.

A run starts them if its start says so (`StartAssistant.notify`). The API serves the queue `webhooks` if webhooks are
switched on; it knows the receivers. So a slow receiver delays no run. Why: docs/decisions/0023.
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
"""The delivery gives up after `RETINUE_WEBHOOK_RETRIES`; this bounds a queue that no worker serves."""
_ONE_TRY = timedelta(seconds=30)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=5)
)


class Occasion(StrEnum):
    """The `type` of a notification. Durable: receivers compare them."""

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
    owner: str = Field(description="the owner of the run")
    assistant_id: str | None = None
    approval_id: str | None = None
    tool: str | None = None
    kind: str | None = None
    by: list[str] = Field(default_factory=list, description="who may decide besides the owner; `*`: anybody")
    expires_at: Moment | None = None
    question_id: str | None = None
    only: str | None = Field(None, description="the only webhook to send it to, for a test")


class Deliver(BaseModel):
    """Argument of `webhooks.deliver`."""

    webhook_id: str
    notification: Notification


class NotificationResult(BaseModel):
    """Result of `NotificationWorkflow`: how many webhooks accepted it, and how many did not."""

    delivered: int = 0
    failed: int = 0


@workflow.defn(name=NOTIFICATION_TYPE)
class NotificationWorkflow:
    """Delivers one notification to every subscribed webhook, concurrently."""

    @workflow.run
    async def run(self, notification: Notification) -> NotificationResult:
        """Look up the current subscribers, then deliver to each until it accepts or the retries are used up."""
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
    """Return whether the webhook accepted it. The activity's errors set the pauses between attempts."""
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
    """Sends each notification of a run once.

    Args:
        owner: The owner of the run.
        notified: Approvals that were notified before the run continued as new.
    """

    def __init__(self, *, owner: str, notified: Sequence[ApprovalView] = ()) -> None:
        self._owner = owner
        self._notified = {mark for approval in notified for mark, _ in _occasions(approval)}
        self._starting: set[asyncio.Task[None]] = set()

    def look(self, approvals: Sequence[ApprovalView], question_id: str | None) -> None:
        """Notify of what is new in these approvals and this question."""
        for approval in approvals:
            for mark, occasion in _occasions(approval):
                self._notify_once(mark, self._of_approval(occasion, approval))
        if question_id:
            self._notify_once(question_id, self._new(Occasion.QUESTION_ASKED, question_id=question_id))

    def end(self, status: AssistantStatus) -> None:
        """Notify how the run ended."""
        self._notify_once("end", self._new(_ENDS[status]))

    async def settle(self) -> None:
        """Wait until every notification's workflow has started, also when the run is cancelled meanwhile."""
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

    def _notify_once(self, mark: str, notification: Notification) -> None:
        if mark not in self._notified:
            self._notified.add(mark)
            task = asyncio.get_running_loop().create_task(_start_delivery(notification))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)


def _occasions(approval: ApprovalView) -> Iterator[tuple[str, Occasion]]:
    """Yield an approval's occasions so far, each with a unique mark; none once it is decided."""
    if approval.status is not ApprovalStatus.PENDING:
        return
    yield f"{approval.id} needed", Occasion.APPROVAL_NEEDED
    for number in range(approval.reminders):
        yield f"{approval.id} reminded {number}", Occasion.APPROVAL_REMINDED
    if approval.escalated_at:
        yield f"{approval.id} escalated", Occasion.APPROVAL_ESCALATED


async def _start_delivery(notification: Notification) -> None:
    """Start the workflow that delivers it. It outlives this run, and its id reveals nothing."""
    try:
        await workflow.start_child_workflow(
            NOTIFICATION_TYPE,
            notification,
            id=f"notify-{workflow.uuid4().hex}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
    except FailureError:
        workflow.logger.warning("a notification could not be started")
