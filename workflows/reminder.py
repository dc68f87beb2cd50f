"""A reminder: one execution that waits for its time and then has the person reminded."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.tasks.contract import REMINDER_WORKFLOW, Reminder, Tasks
from workflows.dispatch import run_activity


@workflow.defn(name=REMINDER_WORKFLOW)
class ReminderWorkflow:
    """Started by `tasks.remind` with a delay up to the reminder's time; cancelled by `tasks.cancel_reminder`."""

    @workflow.run
    async def run(self, reminder: Reminder) -> None:
        """Wait, and go on until the reminder has come; only a bug of ours ends it as failed."""
        await _until_its_time(reminder)
        while True:
            try:
                await _notify(reminder)
            except ActivityError as error:
                if _is_final(error):
                    raise
                workflow.logger.warning("a reminder could not come yet")
            else:
                return


async def _until_its_time(reminder: Reminder) -> None:
    """A signal or a cancellation ends the delay of the start early, which must not make the reminder come early."""
    left = reminder.at - workflow.now()
    if left > timedelta():
        await workflow.sleep(left)


async def _notify(reminder: Reminder) -> None:
    await run_activity(
        "tasks.notify",
        reminder,
        task_queue=Tasks.task_queue(),
        options=Tasks.options("notify"),
        activity_id="notify",
        summary=reminder.title,
        on_waiting=lambda: workflow.logger.warning("a reminder waits for a worker of the tasks"),
    )


def _is_final(error: ActivityError) -> bool:
    """Whether the tool itself refused for good; that no worker came, or none was well, passes."""
    return isinstance(error.cause, ApplicationError) and error.cause.non_retryable
