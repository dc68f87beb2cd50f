"""The to-do list's tools on its own store, and the timers of its reminders in Temporal.

A reminder is a row here and a workflow there. The row decides: it is committed first, and a timer that comes looks at
it. The timer is started (or cancelled) after the commit, at every attempt and under an id that the step's key gives, so
that a crash in between loses nothing and nothing is started twice.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.tasks.contract import (
    REMINDER_WORKFLOW,
    AddTask,
    Channel,
    DeletedTask,
    Due,
    ListTasks,
    ListTasksResult,
    MarkedTask,
    MarkTask,
    NotedDelivery,
    NoteDelivery,
    Notified,
    PlannedReminder,
    PostedReminder,
    PostReminder,
    Remind,
    Reminder,
    ReminderStatus,
    Task,
    TaskRef,
    Tasks,
    reminder_id,
)
from activities.tasks.models import StoredTask
from activities.tasks.store import TasksStore
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import InvalidArguments, ServiceRefused, ServiceUnavailable
from retinue.ledger import Commit, Ledger, effect_key, lasting_key
from retinue.network.webhooks import Webhook
from retinue.store import Store
from retinue.temporal.tenant_header import current_tenant
from retinue.tenancy import ANY_TENANT, HOME
from retinue.times import present

MOST_LISTED = 200
LISTED_BYTES = 200 * 1024
"""The most bytes of a list; it stays below the limit of a result, and longer lists are cut."""
FURTHEST = timedelta(days=5 * 366)
_RPC_TIMEOUT = timedelta(seconds=5)


class TasksTools(Tasks):
    """The contract, kept by `TasksStore`; every change goes through the ledger."""

    def __init__(
        self,
        store: Store,
        *,
        channel: Channel = Channel.CONSOLE,
        webhook: Webhook | None = None,
        hears: str = HOME,
        clock: Callable[[], datetime] = present,
    ) -> None:
        """Keep the list.

        Args:
            store: Where it is.
            channel: How people are told of reminders beside it.
            webhook: Where `channel` is that.
            hears: The organisation whose reminders it hears, since it is one address of somebody's; `EACH` for all.
            clock: The present.
        """
        self.ledger: Ledger = Ledger(store)
        self._tasks = TasksStore(store)
        self._channel = channel
        self._webhook = webhook
        self._hears = hears
        self._clock = clock

    async def add(self, task: AddTask) -> Task:
        """Enter the task once."""

        async def effect(session: AsyncSession) -> Task:
            entered = self._enter(session, task.title)
            entered.notes = task.notes
            _set_due(entered, task.due)
            return entered.as_task()

        return await self.ledger.once(task, Task, effect)

    async def list(self, wish: ListTasks) -> ListTasksResult:
        """List tasks; a whole title beats titles that only contain it."""
        words = (wish.query or "").casefold().split()
        found = await self._tasks.list(words=words, include_done=wish.include_done, due_before=wish.due_before)
        match = _only(found) or _only([task for task in found if task.title.casefold().split() == words])
        listed = [*_fitting(found[:MOST_LISTED])]
        return ListTasksResult(
            tasks=listed, match=match.as_task() if match is not None else None, truncated=len(listed) < len(found)
        )

    async def complete(self, task: MarkTask) -> MarkedTask:
        """Close the task once."""
        return await self._mark(task, done=True)

    async def reopen(self, task: MarkTask) -> MarkedTask:
        """Open the task once."""
        return await self._mark(task, done=False)

    async def delete(self, task: TaskRef) -> DeletedTask:
        """Remove the row, then the timer where there is one."""

        async def effect(session: AsyncSession) -> DeletedTask:
            gone = await self._tasks.get(session, task.task_id)
            await session.delete(gone)
            return DeletedTask(task_id=gone.task_id, title=gone.title, remind_at=gone.as_task().remind_at)

        deleted = await self.ledger.once(task, DeletedTask, effect)
        if deleted.remind_at is not None:
            await _stop_timer(deleted.task_id)
        return deleted

    async def remind(self, wish: Remind) -> PlannedReminder:
        """Enter the reminder once, then start its timer."""

        async def effect(session: AsyncSession) -> PlannedReminder:
            self._check_ahead(wish.at)
            task = self._enter(session, wish.title)
            task.remind_at, task.offset = wish.at, _offset(wish.at)
            return PlannedReminder(task_id=task.task_id, title=task.title, at=wish.at, status=ReminderStatus.PLANNED)

        planned = await self.ledger.once(wish, PlannedReminder, effect)
        await self._start_timer(Reminder(task_id=planned.task_id, title=planned.title, at=planned.at))
        return planned

    async def cancel_reminder(self, task: TaskRef) -> PlannedReminder:
        """Mark the row, so that a timer that still fires does nothing; then cancel the timer."""

        async def effect(session: AsyncSession) -> PlannedReminder:
            return self._cancel(await self._tasks.get(session, task.task_id))

        cancelled = await self.ledger.once(task, PlannedReminder, effect)
        await _stop_timer(cancelled.task_id)
        return cancelled

    async def look_up(self, task: TaskRef) -> Task:
        """Return the task."""
        async with self._tasks.reading() as session:
            return (await self._tasks.get(session, task.task_id)).as_task()

    async def notify(self, reminder: Reminder) -> Notified:
        """Mark the row as reminded, where it still wants to be."""

        async def effect(session: AsyncSession) -> Notified:
            task = await self._tasks.find(session, reminder.task_id)
            if task is None:
                return Notified(task_id=reminder.task_id, status=ReminderStatus.DELETED)
            if task.reminder_status is ReminderStatus.PLANNED:
                task.reminded_at = self._clock()
            return self._to_be_told(task)

        notified = await self.ledger.once(reminder, Notified, effect)
        # The title stays out: it is the person's own affair, and logs are read by others.
        activity.logger.info("reminder came", extra={"task_id": notified.task_id, "status": notified.status.value})
        return notified

    def _to_be_told(self, task: StoredTask) -> Notified:
        notified = Notified(task_id=task.task_id, status=task.reminder_status)
        if notified.status is not ReminderStatus.REMINDED or self._channel is Channel.CONSOLE:
            return notified
        if self._channel is Channel.WEBHOOK and not self._is_heard():
            return notified
        return notified.model_copy(
            update={"channel": self._channel, "reminded_at": task.reminded_at and task.on_its_clock(task.reminded_at)}
        )

    def _is_heard(self) -> bool:
        return self._hears in (ANY_TENANT, current_tenant())

    async def post_reminder(self, reminder: PostReminder) -> PostedReminder:
        """Send it until it is taken; after a lost reply again, since the receiver knows it by its id."""
        webhook = self._webhook
        if webhook is None:
            raise ServiceRefused("no webhook is configured", hint="set TASKS_NOTIFY, TASKS_WEBHOOK_URL and its secret")
        if not self._is_heard():
            raise ServiceRefused("the webhook does not belong to your organisation", hint="see TASKS_ORGANISATION")
        message_id = f"msg_{hashlib.sha256(lasting_key().encode()).hexdigest()[:32]}"

        async def act(commit: Commit) -> PostedReminder:
            await commit()
            content = reminder.model_dump(mode="json")
            await webhook.post(message_id, content, timestamp=int(self._clock().timestamp()))
            return PostedReminder(webhook_id=message_id)

        async def verify() -> None:
            """Return None: a webhook cannot be checked, and sending again is harmless."""

        return await self.ledger.once_outside(reminder, PostedReminder, act=act, verify=verify)

    async def note_delivery(self, note: NoteDelivery) -> NotedDelivery:
        """Note it at the row, where it is still there."""

        async def effect(session: AsyncSession) -> NotedDelivery:
            task = await self._tasks.find(session, note.task_id)
            if task is not None:
                task.reminder_problem = note.problem
            return NotedDelivery(task_id=note.task_id, noted=task is not None)

        return await self.ledger.once(note, NotedDelivery, effect)

    async def _mark(self, wish: MarkTask, *, done: bool) -> MarkedTask:
        async def effect(session: AsyncSession) -> MarkedTask:
            task = await self._tasks.get(session, wish.task_id)
            changed = wish.changed and (task.done_at is not None) is not done
            if changed:
                task.done_at = self._clock() if done else None
            return MarkedTask(**task.as_task().model_dump(), changed=changed)

        return await self.ledger.once(wish, MarkedTask, effect)

    def _enter(self, session: AsyncSession, title: str) -> StoredTask:
        """Add a row under an id that only this step has, whichever attempt it is."""
        task_id = hashlib.sha256(effect_key().encode()).hexdigest()[:32]
        task = StoredTask(task_id=task_id, title=" ".join(title.split()), created_at=self._clock())
        session.add(task)
        return task

    def _check_ahead(self, at: datetime) -> None:
        """Checked only when the row is made: a later attempt may come after the reminder's time."""
        now = self._clock()
        if at <= now:
            raise InvalidArguments(f"{at.isoformat()} is past", hint="a reminder needs a time in the future")
        if at > now + FURTHEST:
            raise InvalidArguments(f"{at.isoformat()} is more than five years ahead")

    def _cancel(self, task: StoredTask) -> PlannedReminder:
        if task.remind_at is None:
            raise InvalidArguments("this task has no reminder", hint="tasks.delete deletes a task")
        if task.reminded_at is None:
            task.cancelled_at = self._clock()
        return PlannedReminder(
            task_id=task.task_id, title=task.title, at=task.on_its_clock(task.remind_at), status=task.reminder_status
        )

    async def _start_timer(self, reminder: Reminder) -> None:
        """Start the workflow that waits, unless an earlier attempt did.

        Raises:
            ServiceUnavailable: Temporal did not take it; the row stands, and the next attempt tries again.
        """
        try:
            await activity.client().start_workflow(
                REMINDER_WORKFLOW,
                reminder,
                id=reminder_id(reminder.task_id),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_delay=max(reminder.at - self._clock(), timedelta()),
                static_summary=f"Reminder: {reminder.title}"[:200],
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise _no_timer(error) from error


async def _stop_timer(task_id: str) -> None:
    """Cancel the workflow that waits; there may be none, or it may have ended.

    Raises:
        ServiceUnavailable: Temporal did not take it.
    """
    try:
        await activity.client().get_workflow_handle(reminder_id(task_id)).cancel(rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise _no_timer(error) from error


def _no_timer(error: RPCError) -> ServiceUnavailable:
    return ServiceUnavailable(f"the reminder's timer cannot be reached at the moment: {error.status.name}")


def _set_due(task: StoredTask, due: Due | None) -> None:
    """A moment is a date too, as Python sees it, so it is asked for first."""
    if isinstance(due, datetime):
        task.due_at, task.offset = due, _offset(due)
    else:
        task.due_on = due


def _offset(moment: datetime) -> int:
    return round((moment.utcoffset() or timedelta()).total_seconds())


def _only(tasks: Sequence[StoredTask]) -> StoredTask | None:
    return tasks[0] if len(tasks) == 1 else None


def _fitting(tasks: Iterable[StoredTask]) -> Iterator[Task]:
    size = 0
    for stored in tasks:
        task = stored.as_task()
        size += len(json.dumps(task.model_dump(mode="json")))
        if size > LISTED_BYTES:
            return
        yield task
