"""A reminder: one execution that waits for its time and then reminds the person.

First the list says that the reminder came. If a mail or a webhook is to deliver it, the result of `tasks.notify` says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.email.contract import Email, NotifySelf
from activities.tasks.contract import (
    REMINDER_WORKFLOW,
    Channel,
    NoteDelivery,
    Notified,
    PostReminder,
    Reminder,
    StartReminder,
    Tasks,
)
from retinue.capability import Capability
from retinue.provenance.asked_by import AskedBy
from retinue.times import on_the_calendar
from workflows.failures import explain
from workflows.steps.activity import run_activity

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (5, 30, 120, 300, 600))
"""Pauses between rounds of delivery by another channel; after the last round delivery ends with a note."""
_PROBLEM_CHARS = 400
_SUBJECT_CHARS = 200
_PASSES = frozenset({"ServiceBusy"})
"""Transient errors that must not be retried immediately."""


@workflow.defn(name=REMINDER_WORKFLOW)
class ReminderWorkflow:
    """Reminds at a time. `tasks.remind` starts it with a delay; `tasks.cancel_reminder` cancels it."""

    @workflow.run
    async def run(self, start: StartReminder) -> None:
        """Wait for the time, then remind until it is done."""
        reminder = Reminder(task_id=start.task_id, title=start.title, at=start.at)
        tools = _Tools(start.owner)
        await _until_its_time(reminder)
        notified = await _until_done(
            lambda: tools.of_tasks("notify", reminder, result_type=Notified, summary=reminder.title)
        )
        if notified.channel is not Channel.CONSOLE:
            await _Delivery(reminder, notified, tools).run()


async def _until_its_time(reminder: Reminder) -> None:
    """Wait for the rest of the delay, since a signal or a cancellation ends the start delay early."""
    left = reminder.at - on_the_calendar(workflow.now())
    if left > timedelta():
        await workflow.sleep(left)


class _Delivery:
    """Delivers a reminder by another channel, in rounds with growing pauses."""

    def __init__(self, reminder: Reminder, notified: Notified, tools: _Tools) -> None:
        self._reminder = reminder
        self._notified = notified
        self._tools = tools
        self._notes = 0

    async def run(self) -> None:
        """Try until it works, fails for good, or takes too long. Notes at the task say so meanwhile."""
        for pause in (*PAUSES, None):
            problem = await self._try()
            if problem is None:
                break
            final = problem.final or pause is None
            if final or not self._notes:
                await self._note(
                    f"{problem.words}; {'no further attempt is made' if final else 'it is tried again for a day'}"
                )
            if final or pause is None:
                return
            await workflow.sleep(pause)
        if self._notes:
            await self._note(None)

    async def _try(self) -> _Problem | None:
        try:
            await (self._mail() if self._notified.channel is Channel.MAIL else self._post())
        except ActivityError as error:
            workflow.logger.warning("a reminder could not be delivered")
            return _Problem.of(error, who=f"the {self._notified.channel}")
        return None

    async def _mail(self) -> None:
        at = self._reminder.at.strftime("%Y-%m-%d %H:%M %z")
        note = NotifySelf(
            subject=" ".join(f"Reminder: {self._reminder.title}".split())[:_SUBJECT_CHARS],
            body=f"{self._reminder.title}\n\nYou asked to be reminded of this at {at}.\n",
        )
        await self._tools.run(Email, "notify_self", note, activity_id="mail", summary=self._reminder.title)

    async def _post(self) -> None:
        reminded_at = self._notified.reminded_at or on_the_calendar(workflow.now())
        content = PostReminder(
            task_id=self._reminder.task_id,
            title=self._reminder.title,
            due=self._reminder.at,
            reminded_at=reminded_at,
        )
        await self._tools.run(Tasks, "post_reminder", content, activity_id="webhook", summary=self._reminder.title)

    async def _note(self, problem: str | None) -> None:
        self._notes += 1
        note = NoteDelivery(task_id=self._reminder.task_id, problem=problem)
        workflow.set_current_details(problem or "delivered")
        await _until_done(lambda: self._tools.of_tasks("note_delivery", note, activity_id=f"note-{self._notes}"))


class _Problem:
    """Why a round failed, in words for the person, and whether a retry is useless."""

    def __init__(self, words: str, *, final: bool) -> None:
        self.words = words
        self.final = final

    @classmethod
    def of(cls, error: ActivityError, *, who: str) -> _Problem:
        said = explain(error, who=who)
        return cls(said.message[:_PROBLEM_CHARS], final=_is_final(error) and said.type not in _PASSES)


async def _until_done(act: Callable[[], Awaitable[Any]]) -> Any:
    """Run an activity of the tasks capability until it succeeds, however long its store is unavailable."""
    while True:
        try:
            return await act()
        except ActivityError as error:
            if _is_final(error):
                raise
            workflow.logger.warning("a reminder waits for a worker of tasks")


class _Tools:
    """Calls tools for the person whose reminder it is."""

    def __init__(self, owner: str | None) -> None:
        self._asked_by = None if owner is None else AskedBy(person=owner)

    async def of_tasks(self, method: str, argument: BaseModel, *, activity_id: str | None = None, **more: Any) -> Any:
        """Call a tool of the tasks capability."""
        return await self.run(Tasks, method, argument, activity_id=activity_id or method, **more)

    async def run(
        self,
        capability: type[Capability],
        method: str,
        argument: BaseModel,
        *,
        activity_id: str,
        summary: str | None = None,
        result_type: type | None = None,
    ) -> Any:
        """Call a tool by the name of its contract's method."""
        return await run_activity(
            f"{capability.name}.{method}",
            argument,
            task_queue=capability.task_queue(),
            options=capability.options(method),
            activity_id=activity_id,
            summary=summary,
            on_waiting=lambda _: workflow.logger.warning("a reminder waits for a worker of %s", capability.name),
            result_type=result_type,
            asked_by=self._asked_by,
        )


def _is_final(error: ActivityError) -> bool:
    """Whether the tool itself failed for good. A missing or broken worker is transient."""
    return isinstance(error.cause, ApplicationError) and error.cause.non_retryable
