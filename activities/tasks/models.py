"""The to-do list's tables."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Index, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from activities.tasks.contract import ReminderStatus, Task
from retinue.database.migrations import migrated
from retinue.database.people import OfPerson
from retinue.store import UtcDateTime
from retinue.zones import zone_of


class TasksBase(SQLModel, registry=registry(metadata=migrated(Path(__file__).parent / "migrations"))):
    """Base of the to-do list's tables; its own registry separates them from other capabilities' tables."""


class StoredTask(OfPerson, TasksBase, table=True):
    """One task. It is due on a day or at a moment, never both. A cancelled reminder stays, so that it never comes."""

    __tablename__ = "task"
    __table_args__ = (
        Index("ix_task_person_list_key", "person", "list_key"),
        Index("ix_task_person_follows", "person", "follows"),
    )

    task_id: str = Field(primary_key=True, max_length=32)
    title: str = Field(max_length=300)
    notes: str | None = Field(default=None, sa_column=Column(Text))
    due_on: date | None = None
    due_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    offset: int = Field(default=0, description="seconds that the person's clock is ahead of UTC at that time")
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    done_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    remind_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    reminded_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    cancelled_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    reminder_problem: str | None = Field(default=None, max_length=600)
    list_name: str | None = Field(default=None, max_length=80, description="null for the to-do list")
    list_key: str | None = Field(default=None, max_length=320, description="what the name is compared by")
    repeats: str | None = Field(
        default=None, max_length=500, description="its rule; only the open task of a series has it"
    )
    repeats_from: datetime | None = Field(
        default=None, sa_column=Column(UtcDateTime), description="first time of its series; of dates their midnight UTC"
    )
    timezone: str | None = Field(default=None, max_length=64, description="zone of a series; else `offset` holds")
    timer: int = Field(
        default=0, sa_column_kwargs={"server_default": "0"}, description="number of the workflow that waits"
    )
    follows: str | None = Field(default=None, max_length=32, description="the done task of the time before")

    @property
    def reminder_status(self) -> ReminderStatus:
        """Return the status of a task's reminder; one that came stays so, even if the task changes.

        Of one that repeats it is that of its next time.
        """
        if self.reminded_at is not None and self.repeats is None:
            return ReminderStatus.REMINDED
        if self.cancelled_at is not None:
            return ReminderStatus.CANCELLED
        return ReminderStatus.PLANNED if self.done_at is None else ReminderStatus.DONE

    def as_task(self) -> Task:
        """Return the task as the contract shows it."""
        return Task(
            task_id=self.task_id,
            title=self.title,
            due=self.due_on or (self.due_at and self.on_its_clock(self.due_at)),
            done=self.done_at is not None,
            notes=self.notes,
            remind_at=self.remind_at and self.on_its_clock(self.remind_at),
            reminded_at=self.reminded_at and self.on_its_clock(self.reminded_at),
            reminder_problem=self.reminder_problem,
            list=self.list_name,
            repeats=self.repeats,
        )

    def on_its_clock(self, moment: datetime) -> datetime:
        """Return the moment in the zone of the series, or in the offset in which the person gave the task's time."""
        if self.timezone:
            return moment.astimezone(zone_of(self.timezone))
        return moment.astimezone(timezone(timedelta(seconds=self.offset)) if self.offset else UTC)


class KeptTasks(OfPerson, TasksBase, table=True):
    """What tasks were before a change or a deletion, for an undo."""

    __tablename__ = "kept_tasks"
    __table_args__ = (Index("ix_kept_tasks_person_kept_at", "person", "kept_at"),)

    kept: str = Field(primary_key=True, max_length=64)
    tasks: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    kept_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
