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
    TODO,
    AddTask,
    Channel,
    DeletedTask,
    DeletedTasks,
    Due,
    ListRef,
    ListTasks,
    ListTasksResult,
    MarkedTask,
    MarkTask,
    MovedTask,
    MoveTask,
    NotedDelivery,
    NoteDelivery,
    Notified,
    PlannedReminder,
    PostedReminder,
    PostReminder,
    Remind,
    Reminder,
    ReminderStatus,
    RenamedList,
    RenameList,
    RestoredTasks,
    RestoreTasks,
    SkippedTask,
    StartReminder,
    Task,
    TaskList,
    TaskLists,
    TaskRef,
    TaskRefs,
    Tasks,
    reminder_id,
)
from activities.tasks.models import StoredTask
from activities.tasks.repeating import begin_series, next_time, set_time
from activities.tasks.store import TasksStore, list_key, shown_name
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import InvalidArguments, ServiceRefused, ServiceUnavailable
from retinue.ledger import Commit, Ledger, effect_key, lasting_key
from retinue.network.webhooks import Webhook
from retinue.store import Store
from retinue.temporal.person_header import asked_by
from retinue.temporal.tenant_header import current_tenant
from retinue.tenancy import ANY_TENANT, HOME
from retinue.times import present

MOST_LISTED = 200
LISTED_BYTES = 200 * 1024
"""The most bytes of a list; it stays below the limit of a result, and longer lists are cut."""
MOST_SHOWN = 10
"""Titles of a list that a person is shown before it is deleted."""
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
            entered = await self._enter(session, task.title, task.list)
            entered.notes = task.notes
            _set_due(entered, task.due.replace(microsecond=0) if isinstance(task.due, datetime) else task.due)
            if task.repeats is not None:
                begin_series(entered, task.repeats, task.timezone)
            return entered.as_task()

        return await self.ledger.once(task, Task, effect)

    async def list(self, wish: ListTasks) -> ListTasksResult:
        """List tasks; a whole title beats titles that only contain it."""
        words = (wish.query or "").casefold().split()
        found = await self._tasks.list(
            words=words, include_done=wish.include_done, due_before=wish.due_before, of_list=wish.list
        )
        match = _only(found) or _only([task for task in found if task.title.casefold().split() == words])
        listed = [*_fitting(found[:MOST_LISTED])]
        return ListTasksResult(
            tasks=listed,
            task_ids=[task.task_id for task in listed],
            match=match.as_task() if match is not None else None,
            truncated=len(listed) < len(found),
        )

    async def lists(self) -> TaskLists:
        """Group the tasks by their lists."""
        async with self._tasks.reading() as session:
            tasks = await self._tasks.all(session)
        by_key: dict[str | None, Sequence[StoredTask]] = {None: ()}
        for task in tasks:
            by_key[task.list_key] = [*by_key.get(task.list_key, ()), task]
        return TaskLists(
            lists=[_list_of(by_key[key]) for key in sorted(by_key, key=lambda key: key or "")][:MOST_LISTED]
        )

    async def look_up_list(self, wish: ListRef) -> TaskList:
        """Return what is on the list."""
        async with self._tasks.reading() as session:
            return _list_of(await self._tasks.on_list(session, wish.list))

    async def move(self, task: MoveTask) -> MovedTask:
        """Put the task on the list once."""

        async def effect(session: AsyncSession) -> MovedTask:
            moved = await self._tasks.get(session, task.task_id)
            before = moved.list_name
            await self._tasks.put_on(session, moved, task.list)
            return MovedTask(task_id=moved.task_id, title=moved.title, list=before)

        return await self.ledger.once(task, MovedTask, effect)

    async def rename_list(self, wish: RenameList) -> RenamedList:
        """Rename the list once."""

        async def effect(session: AsyncSession) -> RenamedList:
            key, name = list_key(wish.to), shown_name(wish.to)
            tasks = await self._tasks.on_list(session, wish.list)
            taken = {task.list_key for task in await self._tasks.all(session)} - {list_key(wish.list)}
            if key is None or list_key(wish.list) is None or key in taken:
                raise InvalidArguments(
                    "the to-do list has no other name, and a new name must be free", hint="tasks.move moves a task"
                )
            before = tasks[0].list_name or wish.list
            for task in tasks:
                task.list_key, task.list_name = key, name
            return RenamedList(list=name, to=before, tasks=len(tasks))

        return await self.ledger.once(wish, RenamedList, effect)

    async def delete_list(self, wish: ListRef) -> DeletedTasks:
        """Delete all rows of the list in one transaction, then the timers."""

        async def effect(session: AsyncSession) -> DeletedTasks:
            tasks = await self._tasks.on_list(session, wish.list)
            if len(tasks) > MOST_LISTED:
                raise InvalidArguments(
                    f"more than {MOST_LISTED} tasks are on this list", hint="delete some of them first"
                )
            return await self._delete(session, tasks)

        return await self._without_timers(await self.ledger.once(wish, DeletedTasks, effect))

    async def delete_many(self, tasks: TaskRefs) -> DeletedTasks:
        """Delete the rows in one transaction, then the timers."""

        async def effect(session: AsyncSession) -> DeletedTasks:
            found = [await self._tasks.get(session, task_id) for task_id in dict.fromkeys(tasks.task_ids)]
            return await self._delete(session, found)

        return await self._without_timers(await self.ledger.once(tasks, DeletedTasks, effect))

    async def _delete(self, session: AsyncSession, tasks: Sequence[StoredTask]) -> DeletedTasks:
        kept = await self._keep(session, tasks)
        deleted = [
            DeletedTask(task_id=task.task_id, title=task.title, remind_at=task.as_task().remind_at) for task in tasks
        ]
        for task in tasks:
            await session.delete(task)
        return DeletedTasks(deleted=deleted, kept=kept)

    async def _keep(self, session: AsyncSession, tasks: Sequence[StoredTask]) -> str:
        kept = hashlib.sha256(f"{effect_key()}/kept".encode()).hexdigest()[:32]
        return await self._tasks.keep(session, kept, tasks, self._clock())

    async def _without_timers(self, deleted: DeletedTasks) -> DeletedTasks:
        timers = await self._tasks.timers(deleted.kept or "")
        for task in deleted.deleted:
            if task.remind_at is not None:
                await _stop_timer(task.task_id, timers.get(task.task_id, 0))
        return deleted

    async def restore(self, wish: RestoreTasks) -> RestoredTasks:
        """Write the rows back once, then start the timers of those that are to be reminded of."""

        async def effect(session: AsyncSession) -> RestoredTasks:
            tasks = await self._tasks.restore(session, wish.kept or "")
            return RestoredTasks(tasks=[*_fitting(tasks)])

        restored = await self.ledger.once(wish, RestoredTasks, effect)
        for task_id in await self._tasks.timers(wish.kept or ""):
            await self._follow_timer(task_id)
        return restored

    async def skip(self, task: TaskRef) -> SkippedTask:
        """Move the task on once, then its timer."""

        async def effect(session: AsyncSession) -> SkippedTask:
            skipped = await self._tasks.get(session, task.task_id)
            before = skipped.as_task()
            time = None if skipped.repeats is None else next_time(skipped, self._clock())
            left_out = before.remind_at or before.due
            if time is None or left_out is None or before.done:
                raise InvalidArguments("this task has no later time", hint="complete or delete it instead")
            kept = await self._keep(session, [skipped])
            set_time(skipped, time)
            return SkippedTask(**skipped.as_task().model_dump(), skipped=left_out, kept=kept)

        moved = await self.ledger.once(task, SkippedTask, effect)
        await self._follow_timer(moved.task_id)
        return moved

    async def complete(self, task: MarkTask) -> MarkedTask:
        """Close the task once; the next one of a series takes its place."""
        marked = await self._mark(task, done=True)
        if marked.next is not None:
            await self._follow_timer(marked.next.task_id)
        return marked

    async def reopen(self, task: MarkTask) -> MarkedTask:
        """Open the task once; it takes its series back from the task that followed."""
        marked = await self._mark(task, done=False)
        if marked.repeats is not None:
            await self._follow_timer(marked.task_id)
        return marked

    async def delete(self, task: TaskRef) -> DeletedTask:
        """Remove the row, then the timer where there is one."""

        async def effect(session: AsyncSession) -> DeletedTask:
            several = await self._delete(session, [await self._tasks.get(session, task.task_id)])
            return several.deleted[0].model_copy(update={"kept": several.kept})

        deleted = await self.ledger.once(task, DeletedTask, effect)
        await self._without_timers(DeletedTasks(deleted=[deleted], kept=deleted.kept))
        return deleted

    async def remind(self, wish: Remind) -> PlannedReminder:
        """Enter the reminder once, then start its timer."""

        async def effect(session: AsyncSession) -> PlannedReminder:
            self._check_ahead(wish.at)
            task = await self._enter(session, wish.title, wish.list)
            at = wish.at if wish.repeats is None else wish.at.replace(microsecond=0)  # as far as a rule can tell
            task.remind_at, task.offset = at, _offset(at)
            if wish.repeats is not None:
                begin_series(task, wish.repeats, wish.timezone)
            return PlannedReminder(
                task_id=task.task_id,
                title=task.title,
                at=at,
                status=ReminderStatus.PLANNED,
                repeats=task.repeats,
            )

        planned = await self.ledger.once(wish, PlannedReminder, effect)
        await self._start_timer(_timer_of(planned.task_id, planned.title, planned.at))
        return planned

    async def cancel_reminder(self, task: TaskRef) -> PlannedReminder:
        """Mark the row, so that a timer that still fires does nothing; then cancel the timer."""

        async def effect(session: AsyncSession) -> PlannedReminder:
            return self._cancel(await self._tasks.get(session, task.task_id))

        cancelled = await self.ledger.once(task, PlannedReminder, effect)
        async with self._tasks.reading() as session:
            found = await self._tasks.find(session, cancelled.task_id)
        await _stop_timer(cancelled.task_id, found.timer if found else 0)
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
            if task.timer and task.remind_at != reminder.at:  # the timer of an earlier time
                return Notified(task_id=task.task_id, status=ReminderStatus.CANCELLED)
            if task.reminder_status is not ReminderStatus.PLANNED:
                return self._to_be_told(task, task.reminder_status)
            task.reminded_at, task.reminder_problem = self._clock(), None
            told = self._to_be_told(task, ReminderStatus.REMINDED)
            self._go_on(task)
            return told

        notified = await self.ledger.once(reminder, Notified, effect)
        await self._follow_timer(notified.task_id, stop_earlier=False)
        # The title stays out: it is the person's own affair, and logs are read by others.
        activity.logger.info("reminder came", extra={"task_id": notified.task_id, "status": notified.status.value})
        return notified

    def _go_on(self, task: StoredTask) -> None:
        """Set the next time of a reminder that repeats; after its last one it is an ordinary one that came."""
        if task.repeats is None:
            return
        if (time := next_time(task, self._clock())) is not None:
            set_time(task, time)
        else:
            task.repeats = None

    def _to_be_told(self, task: StoredTask, status: ReminderStatus) -> Notified:
        notified = Notified(task_id=task.task_id, status=status)
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

        return await self.ledger.once_outside(reminder, PostedReminder, act=act, verify=verify, receiver_knows_key=True)

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
            following = None
            if changed:
                task.done_at = self._clock() if done else None
                following = await (self._pass_on(session, task) if done else self._take_back(session, task))
            following_task = following.as_task() if following is not None else None
            return MarkedTask(**task.as_task().model_dump(), changed=changed, next=following_task)

        return await self.ledger.once(wish, MarkedTask, effect)

    async def _pass_on(self, session: AsyncSession, task: StoredTask) -> StoredTask | None:
        """Enter the task for the next time of a series, which is that one's from now on; None if there is no next time."""
        if task.repeats is None:
            return None
        # a reminder that came waits for its next time already
        time = task.remind_at if task.remind_at and task.reminded_at else next_time(task, self._clock())
        if time is None:
            task.repeats = None
            return None
        following = StoredTask(**task.model_dump())
        following.task_id = hashlib.sha256(f"{effect_key()}/next".encode()).hexdigest()[:32]
        following.follows, following.created_at = task.task_id, self._clock()
        following.done_at = following.reminded_at = following.reminder_problem = None
        set_time(following, time)
        following.timer = 0
        session.add(following)
        task.repeats, task.remind_at = None, task.reminded_at or task.remind_at
        return following

    async def _take_back(self, session: AsyncSession, task: StoredTask) -> None:
        """Let a task that is open again go on with its series, unless the task that followed is done too."""
        following = await self._tasks.follower(session, task.task_id)
        if following is None:
            return
        task.repeats = following.repeats
        if task.remind_at and task.reminded_at:
            task.remind_at = following.remind_at
            task.timer += 1
        elif task.remind_at and task.remind_at <= self._clock():
            self._go_on(task)
        await session.delete(following)

    async def _enter(self, session: AsyncSession, title: str, list_name: str | None) -> StoredTask:
        """Add a row under an id that only this step has, whichever attempt it is."""
        task_id = hashlib.sha256(effect_key().encode()).hexdigest()[:32]
        task = StoredTask(task_id=task_id, title=" ".join(title.split()), created_at=self._clock())
        await self._tasks.put_on(session, task, list_name)
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
        if task.reminder_status is not ReminderStatus.REMINDED:
            task.cancelled_at = self._clock()
        return PlannedReminder(
            task_id=task.task_id,
            title=task.title,
            at=task.on_its_clock(task.remind_at),
            status=task.reminder_status,
            repeats=task.repeats,
        )

    async def _follow_timer(self, task_id: str, *, stop_earlier: bool = True) -> None:
        """Let the timer follow the row as it is now: start the one that it wants, and stop the one before."""
        async with self._tasks.reading() as session:
            task = await self._tasks.find(session, task_id)
        if task is None or task.remind_at is None or task.reminder_status is not ReminderStatus.PLANNED:
            return
        if task.timer and stop_earlier:
            await _stop_timer(task_id, task.timer - 1)
        at = task.on_its_clock(task.remind_at)
        await self._start_timer(_timer_of(task_id, task.title, at), task.timer)

    async def _start_timer(self, reminder: StartReminder, timer: int = 0) -> None:
        """Start the workflow that waits, unless an earlier attempt did.

        Raises:
            ServiceUnavailable: Temporal did not take it; the row stands, and the next attempt tries again.
        """
        try:
            await activity.client().start_workflow(
                REMINDER_WORKFLOW,
                reminder,
                id=reminder_id(reminder.task_id, timer),
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


def _timer_of(task_id: str, title: str, at: datetime) -> StartReminder:
    """Return the start of a timer, for the person of the running step."""
    return StartReminder(task_id=task_id, title=title, at=at, owner=asked_by(current_tenant()).person)


async def _stop_timer(task_id: str, timer: int) -> None:
    """Cancel the workflow that waits; there may be none, or it may have ended.

    Raises:
        ServiceUnavailable: Temporal did not take it.
    """
    try:
        await activity.client().get_workflow_handle(reminder_id(task_id, timer)).cancel(rpc_timeout=_RPC_TIMEOUT)
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


def _list_of(tasks: Sequence[StoredTask]) -> TaskList:
    """Return a list by its tasks; the to-do list may have none."""
    open_titles = [task.title for task in tasks if task.done_at is None]
    name = next((task.list_name for task in tasks if task.list_name), TODO)
    return TaskList(
        name=name, open=len(open_titles), done=len(tasks) - len(open_titles), titles=open_titles[:MOST_SHOWN]
    )


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
