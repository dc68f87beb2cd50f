"""The to-do list's own store.

It knows nothing of Temporal: who calls the writing methods brings the session, and with it the transaction.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, time, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.tasks.models import StoredTask
from retinue.errors import NotFound
from retinue.store import Store


class TasksStore:
    """Tasks in the capability's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(
        self, *, words: Sequence[str] = (), include_done: bool = False, due_before: datetime | None = None
    ) -> Sequence[StoredTask]:
        """Tasks whose title holds all the words; cancelled reminders are none."""
        wanted = select(StoredTask).where(col(StoredTask.cancelled_at).is_(None))
        if not include_done:
            wanted = wanted.where(col(StoredTask.done_at).is_(None))
        if due_before is not None:
            wanted = wanted.where(_due_before(due_before))
        async with self._store.read() as session:
            found = (await session.exec(wanted)).all()
        return sorted((task for task in found if _holds(task.title, words)), key=_by_due)

    async def get(self, session: AsyncSession, task_id: str) -> StoredTask:
        """Return one task.

        Raises:
            NotFound: There is none of that id; a cancelled reminder counts as none.
        """
        task = await self.find(session, task_id)
        if task is None or task.cancelled_at is not None:
            raise NotFound("there is no such task on the list", hint="tasks.list gives the ids")
        return task

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Return a session that only reads."""
        return self._store.read()

    async def find(self, session: AsyncSession, task_id: str) -> StoredTask | None:
        """Return one task, also a cancelled reminder, or None."""
        return await session.get(StoredTask, task_id)


def _due_before(moment: datetime) -> ColumnElement[bool]:
    """Return the condition "due before `moment`"; a day counts from its beginning in the time zone of `moment`."""
    next_day = moment.date() if moment.time() == time() else moment.date() + timedelta(days=1)
    return or_(
        col(StoredTask.due_at) < moment,
        col(StoredTask.due_on) < next_day,
        and_(col(StoredTask.due_at).is_(None), col(StoredTask.due_on).is_(None), col(StoredTask.remind_at) < moment),
    )


def _holds(title: str, words: Sequence[str]) -> bool:
    """Whether a title contains all words, compared here, since SQLite folds only ASCII letters."""
    folded = title.casefold()
    return all(word in folded for word in words)


def _by_due(task: StoredTask) -> tuple[bool, str, datetime, str]:
    """By date, then by time; of one date the whole day first. A reminder is due when it comes."""
    moment = task.due_at or task.remind_at
    due = str(task.due_on) if task.due_on else moment.isoformat() if moment else ""
    return not due, due, task.created_at, task.task_id
