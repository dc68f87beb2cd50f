"""Runs a plan in code: its typed calls as steps that people see, and the view that every run has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue
from temporalio import activity, workflow
from temporalio.exceptions import ActivityError, ApplicationError

from retinue.capability import Annotations, ToolOptions
from retinue.conversation import Message, Role, Usage
from retinue.json_values import cut
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.failures import non_retryable
from retinue.temporal.search_keys import STATUS
from workflows.failures import explain, used_by
from workflows.messages import (
    ENDED,
    AssistantStatus,
    AssistantView,
    PlanView,
    StepError,
    StepStatus,
    StepView,
    plain_conversation,
)
from workflows.run.result import to_result
from workflows.run.web_ui import current_details
from workflows.steps.activity import run_activity, stop_if_cancelled
from workflows.steps.unknown_outcome import UNKNOWN_OUTCOMES

Argument = TypeVar("Argument", bound=BaseModel)
Result = TypeVar("Result", bound=BaseModel)
PATIENCE = 60.0
"""Seconds that a step waits for a worker, unless its plan says otherwise, so that the plan does not wait a day for it."""
_SHOWN_BYTES = 2000


class StepFailed(ApplicationError):
    """A step of a plan in code failed for good. A plan that does not catch it fails with it."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message, type=error.type, non_retryable=True)
        self.error = error


class CodePlanRun:
    """The steps and the view of one plan in code.

    Args:
        message: Title of the run in lists.
        owner: Owner of the run.
    """

    def __init__(self, message: str, *, owner: str = "local") -> None:
        self._message = message
        self._owner = owner
        self._steps: dict[str, StepView] = {}
        self._status = AssistantStatus.RUNNING
        self._published = AssistantStatus.RUNNING
        self._since = workflow.now()
        self._reply: str | None = None
        self._error: StepError | None = None
        self._notices: list[str] = []
        self._usage = Usage()

    async def call(
        self,
        step_id: str,
        tool: Callable[[Any, Argument], Awaitable[Result]],
        argument: Argument,
        *,
        after: Sequence[str] = (),
        options: ToolOptions | None = None,
    ) -> Result:
        """Run one tool as a step, on its capability's own queue.

        Args:
            step_id: Names the step in the view, and its activity; unique in the run.
            tool: The method of the contract, as in `Weather.forecast`.
            argument: Its argument.
            after: The steps whose results went into the argument, for people to see.
            options: Instead of the contract's own with a patience of `PATIENCE` seconds.

        Raises:
            StepFailed: It failed for good, or no worker came in time.
            ApplicationError: `NeedsConsent`: the tool may need an approval.
        """
        name, result_type = _defined(tool)
        annotations: Annotations = _marks(tool)["annotations"]
        _refuse_consequences(name, annotations)
        self._steps[step_id] = _step(step_id, name, argument, after)
        try:
            result: Result = await run_activity(
                name,
                argument,
                task_queue=name.partition(".")[0],
                options=options or patient(tool),
                activity_id=step_id,
                on_waiting=lambda _: self._set(step_id, status=StepStatus.AWAITING_WORKER),
                result_type=result_type,
                asked_by=AskedBy(person=self._owner) if annotations.personal else None,
            )
        except ActivityError as error:
            self._usage += used_by(error) or Usage()
            failed = self._failed(step_id, explain(error, who=name))
            stop_if_cancelled()
            raise failed from None
        except asyncio.CancelledError:
            self._set(step_id, status=StepStatus.CANCELLED, finished_at=workflow.now())
            raise
        self._done(step_id, result)
        stop_if_cancelled()
        return result

    def notice(self, text: str) -> None:
        """Add a notice to the view."""
        self._notices = [*self._notices, text]

    async def finish(self, work: Awaitable[str]) -> dict[str, Any]:
        """Await the work; its text is the answer. Returns the view as the run's result.

        Raises:
            ApplicationError: The work failed; the error carries the view.
        """
        try:
            self._reply = await work
        except ApplicationError as error:
            self._error = explain(error, who="the plan")
            view = self._end(AssistantStatus.FAILED)
            raise ApplicationError(self._error.message, view, type=self._error.type, non_retryable=True) from None
        except asyncio.CancelledError:
            self._end(AssistantStatus.CANCELLED)
            raise
        return self._end(AssistantStatus.COMPLETED)

    def view(self) -> AssistantView:
        """Return the run as people see it, in the same shape as every other."""
        steps = list(self._steps.values())
        said = plain_conversation(self._message, self._reply)
        return AssistantView(
            id=workflow.info().workflow_id,
            status=self._now_status(),
            message=self._message,
            messages=[Message(role=Role(line["role"]), text=line["text"]) for line in said],
            plan=PlanView(steps=steps) if steps else None,
            reply=self._reply,
            error=self._error,
            notices=self._notices,
            usage=self._usage,
            owner=self._owner,
            status_since=self._since,
        )

    def _now_status(self) -> AssistantStatus:
        waits = any(step.status is StepStatus.AWAITING_WORKER for step in self._steps.values())
        return AssistantStatus.AWAITING_WORKER if waits and self._status not in ENDED else self._status

    def _set(self, step_id: str, **changes: Any) -> None:
        self._steps[step_id] = self._steps[step_id].model_copy(update=changes)
        self._publish()

    def _done(self, step_id: str, result: BaseModel) -> None:
        if isinstance(usage := getattr(result, "usage", None), Usage):
            self._notices = [
                *self._notices,
                *(sentence for sentence in usage.instead if sentence not in self._usage.instead),
            ]
            self._usage += usage
        self._set(step_id, status=StepStatus.COMPLETED, result=_json(result), finished_at=workflow.now())

    def _failed(self, step_id: str, error: StepError) -> StepFailed:
        status = StepStatus.UNKNOWN if error.type in UNKNOWN_OUTCOMES else StepStatus.FAILED
        self._set(step_id, status=status, error=error, finished_at=workflow.now())
        return StepFailed(error)

    def _publish(self) -> None:
        """Publish the status to lists and the Web UI; each change of the status is an event."""
        if (status := self._now_status()) is not self._published:
            workflow.upsert_search_attributes([STATUS.value_set(status)])
            self._published = status
            self._since = workflow.now()
        workflow.set_current_details(current_details(self.view()))

    def _end(self, status: AssistantStatus) -> dict[str, Any]:
        self._status = status
        self._publish()
        return to_result(self.view())


def patient(tool: Callable[..., Any], **changes: Any) -> ToolOptions:
    """Return a tool's options with `PATIENCE` and these changes."""
    options: ToolOptions = _marks(tool)["options"]
    return options.model_copy(update={"patience": PATIENCE} | changes)


def _defined(tool: Callable[..., Any]) -> tuple[str, type | None]:
    definition = activity._Definition.must_from_callable(tool)
    assert definition.name is not None
    return definition.name, definition.ret_type


def _marks(tool: Callable[..., Any]) -> dict[str, Any]:
    marks: dict[str, Any] = tool.__retinue_tool__  # type: ignore[attr-defined]  # set by @tool
    return marks


def _refuse_consequences(name: str, annotations: Annotations) -> None:
    """Raise `NeedsConsent` for a tool that may need an approval, since a plan in code cannot ask for one."""
    if not annotations.read_only and (annotations.open_world or annotations.destructive or annotations.sensitive):
        raise non_retryable("NeedsConsent", f"{name} needs a person's consent, which a plan in code cannot ask for")


def _step(step_id: str, name: str, argument: BaseModel, after: Sequence[str]) -> StepView:
    """Return the view of a step that starts, without long arguments: earlier steps in the view contain those data."""
    args = _json(argument)
    return StepView(
        id=step_id,
        tool=name,
        capability=name.partition(".")[0],
        args={key: cut(value, _SHOWN_BYTES) for key, value in args.items()},
        depends_on=list(after),
        status=StepStatus.RUNNING,
        started_at=workflow.now(),
    )


def _json(model: BaseModel) -> dict[str, JsonValue]:
    content: dict[str, JsonValue] = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return content
