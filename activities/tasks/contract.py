"""Contract of the tasks capability, the only file of this folder that other packages may import."""

import re
from abc import abstractmethod
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from temporalio import activity

from retinue.capability import DESTRUCTIVE, NOT_FOR_PLANS, OWN_WRITE, READ, Capability, Id, ToolOptions, tool
from retinue.times import Moment

REMINDER_WORKFLOW = "ReminderWorkflow"
"""The workflow type that waits for a reminder's time; `workflows/reminder.py` is it."""

_OWN_WRITE = OWN_WRITE.replace(personal=True)
_DESTRUCTIVE = DESTRUCTIVE.replace(personal=True)
_READS = READ.replace(personal=True, own_errors=True, finds="task")
"""No result with a stored title is trusted, since the title may come from a stranger's mail."""


def _bare_date(value: object) -> object:
    """Parse a date as a date, since a time at midnight would need an offset."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return date.fromisoformat(value)
    return value


Due = Annotated[
    Moment | Annotated[date, Field(strict=True)],
    BeforeValidator(_bare_date),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
            "description": "ISO 8601 with offset, or a date alone for the whole day",
        }
    ),
]
"""When a task is due: a point in time, or some time on a day."""

Title = Annotated[str, Field(min_length=1, max_length=300, pattern=r"\S")]
ListName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]
"""Name of a list; upper and lower case and further spaces do not count."""
TODO = "to-do"
"""Name of the list that tasks without a list are on."""
MOST_AT_ONCE = 50
_ZONE = "IANA zone of `repeats`"


class Channel(StrEnum):
    """How a reminder is delivered, besides the list and its run."""

    CONSOLE = "console"
    MAIL = "mail"
    WEBHOOK = "webhook"


class Task(BaseModel):
    """One entry of the to-do list; an entry with `remind_at` has a reminder."""

    task_id: Id
    title: str
    due: Due | None = None
    done: bool = False
    notes: str | None = None
    remind_at: Moment | None = None
    reminded_at: Moment | None = Field(
        None, description="when the reminder came last; null if it has not come", json_schema_extra=NOT_FOR_PLANS
    )
    reminder_problem: str | None = Field(
        None, description="why a reminder that came could not be delivered", json_schema_extra=NOT_FOR_PLANS
    )
    list: str | None = Field(None, description="the list it is on; null for the to-do list")
    repeats: str | None = Field(None, description="its recurrence rule", json_schema_extra=NOT_FOR_PLANS)


class AddTask(BaseModel):
    """Arguments of `tasks.add`."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    due: Due | None = None
    notes: str | None = Field(None, max_length=4000)
    list: ListName | None = Field(None, description="as in 'groceries'; a new name is a new list")
    repeats: str | None = Field(
        None, max_length=500, description="RFC 5545 rule from `due` on, as in FREQ=WEEKLY;BYDAY=MO"
    )
    timezone: str | None = Field(None, max_length=64, description=_ZONE)

    @model_validator(mode="after")
    def _repeats_from_a_date(self) -> Self:
        if self.repeats is not None and self.due is None:
            raise ValueError("a task that `repeats` needs `due`, its first date")
        return self


class ListTasks(BaseModel):
    """Arguments of `tasks.list`; all optional."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(None, max_length=200, description="only tasks with all these words in the title")
    include_done: bool = False
    due_before: Moment | None = Field(None, description="only tasks due before it")
    list: ListName | None = Field(None, description="only this one, or 'to-do'")


class ListTasksResult(BaseModel):
    """Tasks, those that are due first; the ones without a date last."""

    tasks: list[Task]
    task_ids: list[Id] = Field(default_factory=list, description="the ids of all of them")
    match: Task | None = Field(None, description="the task, when exactly one was found; else null")
    truncated: bool = Field(False, description="true when there were more than fit (at most 200)")


class TaskRef(BaseModel):
    """Names one task: arguments of `tasks.delete` and `tasks.cancel_reminder`."""

    model_config = ConfigDict(extra="forbid")

    task_id: str = Field(max_length=64)


class MarkTask(TaskRef):
    """Arguments of `tasks.complete` and `tasks.reopen`."""

    changed: bool = Field(
        True,
        description="leave it out: only the undo of a call that changed nothing says false",
        json_schema_extra=NOT_FOR_PLANS,
    )


class TaskList(BaseModel):
    """One list: result of `tasks.look_up_list`."""

    name: str
    open: int = Field(description="tasks")
    done: int = Field(0, json_schema_extra=NOT_FOR_PLANS)
    titles: list[str] = Field(
        default_factory=list, description="of open tasks, at most 10", json_schema_extra=NOT_FOR_PLANS
    )


class TaskLists(BaseModel):
    """The lists by name, the to-do list first."""

    lists: list[TaskList]


class ListRef(BaseModel):
    """Names one list: arguments of `tasks.delete_list` and `tasks.look_up_list`."""

    model_config = ConfigDict(extra="forbid")

    list: ListName


class RenameList(ListRef):
    """Arguments of `tasks.rename_list`."""

    to: ListName


class RenamedList(BaseModel):
    """The list's name now."""

    list: str
    to: str = Field(description="the name that an undo gives back")
    tasks: int = Field(json_schema_extra=NOT_FOR_PLANS)


class MoveTask(TaskRef):
    """Arguments of `tasks.move`."""

    list: ListName | None = Field(description="null: the to-do list")


class MovedTask(BaseModel):
    """A task that was put on another list."""

    task_id: Id
    title: str
    list: str | None = Field(description="the list it was on before; null for the to-do list")


class TaskRefs(BaseModel):
    """Names several tasks: arguments of `tasks.delete_many`."""

    model_config = ConfigDict(extra="forbid")

    task_ids: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MOST_AT_ONCE)


class MarkedTask(Task):
    """The task as it is now."""

    changed: bool = Field(False, description="false when it was so already", json_schema_extra=NOT_FOR_PLANS)
    next: Task | None = Field(
        None, description="of one that repeats: the task for the next time", json_schema_extra=NOT_FOR_PLANS
    )


_KEPT = "of what it was before, for an undo only"


class DeletedTask(BaseModel):
    """The task that was deleted."""

    task_id: Id
    title: str
    deleted: bool = True
    remind_at: Moment | None = Field(
        None, description="of a reminder that went with it", json_schema_extra=NOT_FOR_PLANS
    )
    kept: Id | None = Field(None, description=_KEPT, json_schema_extra=NOT_FOR_PLANS)


class DeletedTasks(BaseModel):
    """The tasks that were deleted: all that were named."""

    deleted: list[DeletedTask] = Field(json_schema_extra=NOT_FOR_PLANS)
    kept: Id | None = Field(None, description=_KEPT, json_schema_extra=NOT_FOR_PLANS)


class SkippedTask(Task):
    """The task at its next time."""

    skipped: Due = Field(description="the time that was left out", json_schema_extra=NOT_FOR_PLANS)
    kept: Id = Field(description=_KEPT, json_schema_extra=NOT_FOR_PLANS)


class RestoreTasks(BaseModel):
    """Arguments of `tasks.restore`, as a change or a deletion returned them."""

    model_config = ConfigDict(extra="forbid")

    kept: str | None = Field(max_length=64)


class RestoredTasks(BaseModel):
    """The tasks as they are again."""

    tasks: list[Task]


class Remind(BaseModel):
    """Arguments of `tasks.remind`."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    at: Moment = Field(description="at most five years ahead")
    list: ListName | None = None
    repeats: str | None = Field(None, max_length=500, description="RFC 5545 rule from `at` on")
    timezone: str | None = Field(None, max_length=64, description=_ZONE)


class ReminderStatus(StrEnum):
    """What became of a reminder."""

    PLANNED = "planned"
    REMINDED = "reminded"
    CANCELLED = "cancelled"
    DONE = "done"
    DELETED = "deleted"


class PlannedReminder(BaseModel):
    """A reminder and what became of it."""

    task_id: Id
    title: str
    at: Moment
    status: ReminderStatus = Field(description="'planned'; 'cancelled', or 'reminded' when cancelling came too late")
    repeats: str | None = Field(None, json_schema_extra=NOT_FOR_PLANS)


class Reminder(BaseModel):
    """What waits for its time: arguments of `tasks.notify`."""

    task_id: str
    title: str
    at: Moment


class StartReminder(Reminder):
    """Input of `ReminderWorkflow`. `owner` is the person whose reminder it is; older ones do not say it."""

    owner: str | None = None


class Notified(BaseModel):
    """What a reminder found when its time came, and how to deliver it."""

    task_id: str
    status: ReminderStatus
    channel: Channel = Field(Channel.CONSOLE, description="'console' if there is no other delivery")
    reminded_at: Moment | None = Field(None, description="set if another channel is to deliver it")


class PostReminder(BaseModel):
    """Arguments of `tasks.post_reminder`, and what the webhook is sent."""

    task_id: str
    title: str
    due: Moment
    reminded_at: Moment


class PostedReminder(BaseModel):
    """A reminder that the webhook has accepted."""

    webhook_id: str


class NoteDelivery(BaseModel):
    """Arguments of `tasks.note_delivery`."""

    task_id: str
    problem: str | None = Field(None, max_length=600, description="null when it was delivered after all")


class NotedDelivery(BaseModel):
    """Whether the task is still there to carry the note."""

    task_id: str
    noted: bool


def reminder_id(task_id: str, timer: int = 0) -> str:
    """Return the id of the workflow that waits for a reminder, so that a second start finds the first.

    Each further time of a reminder that repeats, moves or comes back has a `timer` of the next number.
    """
    return f"reminder-{task_id}-{timer}" if timer else f"reminder-{task_id}"


class Tasks(Capability):
    """Contract of the tasks capability."""

    name = "tasks"
    version = "1.3.0"
    description = "The person's to-do list and other named lists: tasks, and reminders at a time, once or repeating."
    instructions = (
        "To change a task that the person names, first list with a `query` and refer to /match/task_id, which exists "
        "only when exactly one was found; done ones need include_done; several are /task_ids. A reminder needs a day "
        "and a time: never invent one. What repeats needs `timezone`."
    )

    @activity.defn(name="tasks.add")
    @tool(
        title="Add a task",
        summary="{title}",
        annotations=_OWN_WRITE.replace(trusted_output=True, undo="tasks.delete"),
    )
    @abstractmethod
    async def add(self, task: AddTask) -> Task:
        """Put one task on the to-do list or a named one. `due` only sorts it; nobody is reminded."""

    @activity.defn(name="tasks.list")
    @tool(title="List tasks", summary="{query}", annotations=_READS.replace(picks=("match", "tasks"), ordered=True))
    @abstractmethod
    async def list(self, wish: ListTasks) -> ListTasksResult:
        """List open tasks of all lists or one, earliest due first, at most 200."""

    @activity.defn(name="tasks.lists")
    @tool(
        title="Show the lists",
        annotations=_READS,
        examples=("which lists do I have?", "show me all my lists", "what lists are there?"),
        rare=True,
    )
    @abstractmethod
    async def lists(self) -> TaskLists:
        """Name the lists and count their tasks."""

    @activity.defn(name="tasks.move")
    @tool(
        title="Move a task to another list",
        summary="{task_id} to {list}",
        annotations=_OWN_WRITE.replace(
            idempotent=True, own_errors=True, lookups={"task_id": "tasks.look_up"}, undo="tasks.move"
        ),
        examples=("move the batteries to the hardware list", "put milk on the groceries list instead"),
        rare=True,
    )
    @abstractmethod
    async def move(self, task: MoveTask) -> MovedTask:
        """Put one task on another list."""

    @activity.defn(name="tasks.rename_list")
    @tool(
        title="Rename a list",
        summary="{list} to {to}",
        annotations=_OWN_WRITE.replace(idempotent=True, own_errors=True, undo="tasks.rename_list"),
        examples=("rename my shopping list to groceries", "call the list holiday from now on summer trip"),
        rare=True,
    )
    @abstractmethod
    async def rename_list(self, wish: RenameList) -> RenamedList:
        """Give a list a new name."""

    @activity.defn(name="tasks.delete_list")
    @tool(
        title="Delete a list",
        summary="{list}",
        annotations=_DESTRUCTIVE.replace(own_errors=True, lookups={"list": "tasks.look_up_list"}, undo="tasks.restore"),
        examples=("delete the packing list", "remove my groceries list"),
        rare=True,
    )
    @abstractmethod
    async def delete_list(self, wish: ListRef) -> DeletedTasks:
        """Delete a list with all its tasks, at most 200."""

    @activity.defn(name="tasks.complete")
    @tool(
        title="Complete a task",
        summary="{task_id}",
        annotations=_OWN_WRITE.replace(
            idempotent=True, own_errors=True, lookups={"task_id": "tasks.look_up"}, undo="tasks.reopen"
        ),
    )
    @abstractmethod
    async def complete(self, task: MarkTask) -> MarkedTask:
        """Mark one task as done; its reminder stays silent. One that repeats comes again at its next time."""

    @activity.defn(name="tasks.reopen")
    @tool(
        title="Reopen a task",
        summary="{task_id}",
        annotations=_OWN_WRITE.replace(
            idempotent=True, own_errors=True, lookups={"task_id": "tasks.look_up"}, undo="tasks.complete"
        ),
        rare=True,
    )
    @abstractmethod
    async def reopen(self, task: MarkTask) -> MarkedTask:
        """Mark one task as not done after all. A reminder whose time has not come will come."""

    @activity.defn(name="tasks.delete")
    @tool(
        title="Delete a task",
        summary="{task_id}",
        annotations=_DESTRUCTIVE.replace(own_errors=True, lookups={"task_id": "tasks.look_up"}, undo="tasks.restore"),
    )
    @abstractmethod
    async def delete(self, task: TaskRef) -> DeletedTask:
        """Delete one task with its reminder and all later times."""

    @activity.defn(name="tasks.delete_many")
    @tool(
        title="Delete several tasks",
        annotations=_DESTRUCTIVE.replace(own_errors=True, lookups={"task_ids": "tasks.look_up"}, undo="tasks.restore"),
        examples=("clear my shopping list", "delete all tasks about the move", "remove everything that is done"),
        rare=True,
    )
    @abstractmethod
    async def delete_many(self, tasks: TaskRefs) -> DeletedTasks:
        """Delete several tasks and their reminders, all or none."""

    @activity.defn(name="tasks.skip")
    @tool(
        title="Skip the next time",
        summary="{task_id}",
        annotations=_OWN_WRITE.replace(own_errors=True, lookups={"task_id": "tasks.look_up"}, undo="tasks.restore"),
        options=ToolOptions(attempts=20),
        examples=("skip the next bin reminder", "leave out watering the plants this week", "not this Monday's report"),
        rare=True,
    )
    @abstractmethod
    async def skip(self, task: TaskRef) -> SkippedTask:
        """Leave out the next time of a task or reminder that repeats."""

    @activity.defn(name="tasks.restore")
    @tool(
        title="Restore tasks",
        annotations=_OWN_WRITE.replace(idempotent=True, own_errors=True),
        options=ToolOptions(attempts=20),
        plannable=False,
    )
    @abstractmethod
    async def restore(self, wish: RestoreTasks) -> RestoredTasks:
        """Bring back what tasks were before a change or a deletion, with their reminders."""

    @activity.defn(name="tasks.remind")
    @tool(
        title="Set a reminder",
        summary="{title}, {at}",
        annotations=_OWN_WRITE.replace(trusted_output=True, undo="tasks.cancel_reminder"),
        # The timer is started after the commit: as long as Temporal does not take it, the step is tried again.
        options=ToolOptions(attempts=20),
    )
    @abstractmethod
    async def remind(self, wish: Remind) -> PlannedReminder:
        """Put a task on the list and remind the person of it at a time, once or repeatedly."""

    @activity.defn(name="tasks.cancel_reminder")
    @tool(
        title="Cancel a reminder",
        summary="{task_id}",
        annotations=_OWN_WRITE.replace(idempotent=True, own_errors=True, lookups={"task_id": "tasks.look_up"}),
        options=ToolOptions(attempts=20),
    )
    @abstractmethod
    async def cancel_reminder(self, task: TaskRef) -> PlannedReminder:
        """Cancel a reminder that has not come yet, with all later times, and take it off the list."""

    @activity.defn(name="tasks.notify")
    @tool(
        title="Remind",
        summary="{title}",
        annotations=_OWN_WRITE.replace(idempotent=True, trusted_output=True),
        options=ToolOptions(attempts=20, longest_pause=300, patience=7 * 24 * 3600),
        plannable=False,
    )
    @abstractmethod
    async def notify(self, reminder: Reminder) -> Notified:
        """Note that the reminder came, unless the task was done, deleted or its reminder cancelled meanwhile."""

    @activity.defn(name="tasks.post_reminder")
    @tool(
        title="Send a reminder to the webhook",
        summary="{title}",
        annotations=_OWN_WRITE.replace(idempotent=True, open_world=True, trusted_output=True),
        options=ToolOptions(attempts=6),
        plannable=False,
    )
    @abstractmethod
    async def post_reminder(self, reminder: PostReminder) -> PostedReminder:
        """Send a reminder that came to the configured webhook. One that it accepted is not sent again."""

    @activity.defn(name="tasks.note_delivery")
    @tool(
        title="Note how a reminder fared",
        summary="{task_id}",
        annotations=_OWN_WRITE.replace(idempotent=True, trusted_output=True),
        options=ToolOptions(attempts=20, longest_pause=300, patience=7 * 24 * 3600),
        plannable=False,
    )
    @abstractmethod
    async def note_delivery(self, note: NoteDelivery) -> NotedDelivery:
        """Note at the task why its reminder could not be delivered, or that it was delivered after all."""

    @activity.defn(name="tasks.look_up")
    @tool(
        title="Look up a task",
        summary="{task_id}",
        annotations=_READS,
        plannable=False,
    )
    @abstractmethod
    async def look_up(self, task: TaskRef) -> Task:
        """Read one task by its id, for a person who is asked about it."""

    @activity.defn(name="tasks.look_up_list")
    @tool(title="Look up a list", summary="{list}", annotations=_READS, plannable=False)
    @abstractmethod
    async def look_up_list(self, wish: ListRef) -> TaskList:
        """Read what is on one list, for a person who is asked about it."""
