"""The to-do list's own store.

It knows nothing of Temporal: who calls the writing methods brings the session, and with it the transaction.
"""

import unicodedata
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import and_, col, delete, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.tasks.contract import TODO
from activities.tasks.models import KeptTasks, StoredTask
from retinue.errors import InvalidArguments, NotFound
from retinue.store import Store
from retinue.text import lookalikes, without_invisible

LONGEST_KEY = 320
KEPT_FOR = timedelta(days=180)
"""For how long a deletion can be undone."""


class TasksStore:
    """Tasks in the capability's own database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(
        self,
        *,
        words: Sequence[str] = (),
        include_done: bool = False,
        due_before: datetime | None = None,
        of_list: str | None = None,
    ) -> Sequence[StoredTask]:
        """Tasks whose title holds all the words, of all lists or one; cancelled reminders are none."""
        wanted = select(StoredTask).where(col(StoredTask.cancelled_at).is_(None))
        if not include_done:
            wanted = wanted.where(col(StoredTask.done_at).is_(None))
        if due_before is not None:
            wanted = wanted.where(_due_before(due_before))
        if of_list is not None:
            wanted = wanted.where(_is_on(list_key(of_list)))
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

    async def all(self, session: AsyncSession) -> Sequence[StoredTask]:
        """Return the tasks of all lists, done ones too, oldest first."""
        wanted = select(StoredTask).where(col(StoredTask.cancelled_at).is_(None))
        return (await session.exec(wanted.order_by(col(StoredTask.created_at), col(StoredTask.task_id)))).all()

    async def on_list(self, session: AsyncSession, name: str) -> Sequence[StoredTask]:
        """Return the tasks of one list, done ones too, oldest first.

        Raises:
            NotFound: There is no list of that name.
        """
        key = list_key(name)
        found = [task for task in await self.all(session) if task.list_key == key]
        if not found and key is not None:
            raise NotFound(f"there is no list {' '.join(name.split())!r}", hint="tasks.lists names the lists")
        return found

    async def put_on(self, session: AsyncSession, task: StoredTask, name: str | None) -> None:
        """Put a task on a list; one that exists keeps the spelling of its name.

        Raises:
            InvalidArguments: The name imitates another one's letters.
        """
        task.list_key = key = list_key(name or TODO)
        if key is None or name is None:
            task.list_name = None
            return
        known = await session.exec(select(StoredTask.list_name).where(col(StoredTask.list_key) == key).limit(1))
        task.list_name = known.first() or shown_name(name)

    async def follower(self, session: AsyncSession, task_id: str) -> StoredTask | None:
        """Return the task that goes on with a series after this one, unless it was done or cancelled too."""
        wanted = select(StoredTask).where(
            col(StoredTask.follows) == task_id,
            col(StoredTask.done_at).is_(None),
            col(StoredTask.cancelled_at).is_(None),
        )
        return (await session.exec(wanted.limit(1))).first()

    async def keep(self, session: AsyncSession, kept: str, tasks: Sequence[StoredTask], now: datetime) -> str:
        """Note what tasks are before they change, and forget notes that are too old; returns `kept`."""
        await session.exec(delete(KeptTasks).where(col(KeptTasks.kept_at) < now - KEPT_FOR))
        session.add(KeptTasks(kept=kept, tasks=[task.model_dump(mode="json") for task in tasks], kept_at=now))
        return kept

    async def restore(self, session: AsyncSession, kept: str) -> Sequence[StoredTask]:
        """Write back what was noted; returns the tasks. A reminder that is still to come needs another timer.

        Raises:
            NotFound: It is not kept any more.
        """
        noted = await session.get(KeptTasks, kept)
        if noted is None:
            raise NotFound("what the tasks were before is not kept any more")
        return [await self._write_back(session, values) for values in noted.tasks]

    async def timers(self, kept: str) -> dict[str, int]:
        """Return by task the number of the timer that it had when it was noted; empty if it is not kept."""
        async with self._store.read() as session:
            noted = await session.get(KeptTasks, kept)
            return {values["task_id"]: values["timer"] for values in noted.tasks} if noted is not None else {}

    async def _write_back(self, session: AsyncSession, values: dict[str, Any]) -> StoredTask:
        before = StoredTask.model_validate(values)
        present = await self.find(session, before.task_id)
        before.timer = max(before.timer, present.timer if present else 0) + 1
        return await session.merge(before)

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Return a session that only reads."""
        return self._store.read()

    async def find(self, session: AsyncSession, task_id: str) -> StoredTask | None:
        """Return one task, also a cancelled reminder, or None."""
        return await session.get(StoredTask, task_id)


def list_key(name: str) -> str | None:
    """Return what a list's name is compared by; None for the to-do list.

    Raises:
        InvalidArguments: Letters of it imitate others.
    """
    key = " ".join(without_invisible(unicodedata.normalize("NFKC", name)).casefold().split())[:LONGEST_KEY]
    if not key or any(lookalikes(word) for word in key.split()):
        raise InvalidArguments("the name of the list is empty or holds letters that look like others")
    return None if key.replace("-", "").replace(" ", "") == "todo" else key


def shown_name(name: str) -> str:
    """Return a list's name on one line."""
    return " ".join(without_invisible(name).split())


def _is_on(key: str | None) -> ColumnElement[bool]:
    return col(StoredTask.list_key).is_(None) if key is None else col(StoredTask.list_key) == key


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
