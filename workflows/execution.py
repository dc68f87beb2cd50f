"""Running a plan: every step whose dependencies are done starts at once, on its capability's own queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

from activities.reasoning.contract import Reasoning, StepReport, Usage
from retinue.errors import BrokenReference
from retinue.plan import BoundPlan, BoundStep, check_args, cut, json_size, resolve_args
from workflows.approvals import Approvals
from workflows.dispatch import found_no_worker, run_activity
from workflows.failures import explain
from workflows.messages import ApprovalStatus, StepError, StepStatus, StepView
from workflows.origins import describe, trace
from workflows.policy import reasons_to_ask

_REPORTS_BYTES = 200_000
_MAX_ARGS_BYTES = 128 * 1024
_AFTER_THE_EFFECT = frozenset({"ResultTooLarge", "InternalError"})
_OPEN = frozenset({StepStatus.PENDING, StepStatus.AWAITING_APPROVAL, StepStatus.AWAITING_WORKER, StepStatus.RUNNING})


class Execution:
    """The steps of one plan, what became of each, and the loop that advances them."""

    def __init__(
        self,
        plan: BoundPlan,
        *,
        approvals: Approvals,
        said: Sequence[str],
        on_change: Callable[[], None],
    ) -> None:
        self._steps = {step.id: step for step in plan.steps}
        self._views = {step.id: _view(step) for step in plan.steps}
        self._results: dict[str, JsonValue] = {}
        self._approvals = approvals
        self._said = said
        self._on_change = on_change

    async def run(self) -> None:
        """Run all steps to their end. Returns when none is open; a failing step never raises here."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while self._unfinished():
                self._skip_what_cannot_run()
                for step in self._ready():
                    if step.id not in running:
                        running[step.id] = asyncio.create_task(self._run_step(step))
                if not running:
                    return
                await workflow.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
                running = _still_running(running)
        except asyncio.CancelledError:
            await self._stop(running.values())
            raise

    def views(self) -> list[StepView]:
        """All steps as people see them, in the order of the plan."""
        return list(self._views.values())

    def has(self, status: StepStatus) -> bool:
        """Whether any step stands so."""
        return any(view.status is status for view in self._views.values())

    def reports(self) -> list[StepReport]:
        """What became of each step, for the final answer; together small enough for one payload."""
        share = _REPORTS_BYTES // max(1, len(self._views))
        return [_report(view, share) for view in self.views()]

    def usage(self) -> Usage:
        """What the steps themselves used of the model."""
        used = Usage()
        for view in self._views.values():
            if view.capability == Reasoning.name and isinstance(view.result, dict) and "usage" in view.result:
                used += Usage.model_validate(view.result["usage"])
        return used

    def _unfinished(self) -> bool:
        return any(view.status in _OPEN for view in self._views.values())

    def _ready(self) -> list[BoundStep]:
        return [
            step
            for step in self._steps.values()
            if self._views[step.id].status is StepStatus.PENDING
            and all(self._views[other].status is StepStatus.COMPLETED for other in step.depends_on)
        ]

    def _skip_what_cannot_run(self) -> None:
        """A step whose dependency ended without a result never runs; that holds for what depends on it in turn."""
        while lost := self._newly_lost():
            for step_id, other in lost.items():
                reason = f"it needs step {other}, which was {self._views[other].status}"
                self._set(step_id, status=StepStatus.SKIPPED, error=StepError(type="Skipped", message=reason))

    def _newly_lost(self) -> dict[str, str]:
        return {
            view.id: other
            for view in self._views.values()
            if view.status is StepStatus.PENDING
            for other in self._steps[view.id].depends_on
            if self._views[other].status not in _OPEN | {StepStatus.COMPLETED}
        }

    async def _run_step(self, step: BoundStep) -> None:
        try:
            args = await self._cleared_args(step)
            if args is not None:
                await self._perform(step, args)
        except BrokenReference as error:
            self._fail(step, explain(error, who=step.tool))

    async def _cleared_args(self, step: BoundStep) -> dict[str, JsonValue] | None:
        """The arguments to run with, after references, validation and consent; None if the step ended here."""
        args = resolve_args(step.args, self._results)
        if problems := list(_problems(step, args)):
            self._fail(step, StepError(type="InvalidArguments", message="; ".join(problems[:5])))
            return None
        self._set(step.id, args=args)
        origins = trace(step, self._steps, self._said)
        if not (reasons := reasons_to_ask(step, origins)):
            return args
        about = describe(step.args, self._results)
        approval_id = self._approvals.ask(step, args, reasons=reasons, origins=origins, about=about, now=workflow.now())
        return await self._decided_args(step, approval_id)

    async def _decided_args(self, step: BoundStep, approval_id: str) -> dict[str, JsonValue] | None:
        self._set(step.id, status=StepStatus.AWAITING_APPROVAL)
        await workflow.wait_condition(lambda: self._approvals.is_decided(approval_id))
        approval = self._approvals.get(approval_id)
        if approval.status is ApprovalStatus.APPROVED:
            return approval.args
        reason = "you rejected it" + (f": {approval.comment}" if approval.comment else "")
        self._set(
            step.id,
            status=StepStatus.REJECTED,
            error=StepError(type="Rejected", message=reason),
            finished_at=workflow.now(),
        )
        return None

    async def _perform(self, step: BoundStep, args: dict[str, JsonValue]) -> None:
        self._set(step.id, status=StepStatus.RUNNING, args=args, started_at=workflow.now())
        try:
            result = await run_activity(
                step.tool,
                args,
                task_queue=step.task_queue,
                options=step.options,
                activity_id=step.id,
                summary=summary(step, args),
                on_waiting=lambda: self._set(step.id, status=StepStatus.AWAITING_WORKER),
            )
        except ActivityError as error:
            self._fail(step, explain(error, who=step.tool), unknown=_may_have_happened(step, error))
        else:
            self._results[step.id] = result
            self._set(step.id, status=StepStatus.COMPLETED, result=result, finished_at=workflow.now())

    def _fail(self, step: BoundStep, error: StepError, *, unknown: bool = False) -> None:
        status = StepStatus.UNKNOWN if unknown else StepStatus.FAILED
        self._set(step.id, status=status, error=error, finished_at=workflow.now())

    def _set(self, step_id: str, **changes: Any) -> None:
        self._views[step_id] = self._views[step_id].model_copy(update=changes)
        self._on_change()

    async def _stop(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Cancel what runs, wait for what cannot be cancelled any more, and mark the rest."""
        self._approvals.close()  # first: nothing may be approved while we wait for what still runs
        for view in self.views():
            if view.status in (StepStatus.PENDING, StepStatus.AWAITING_APPROVAL):
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())
        stopping = list(tasks)
        for task in stopping:
            task.cancel()
        if stopping:
            await asyncio.gather(*stopping, return_exceptions=True)
        for view in self.views():
            if view.status in _OPEN:
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())


def summary(step: BoundStep, args: Mapping[str, JsonValue]) -> str:
    """One line about a call for the Web UI: `email.send to team@example.com`."""
    names = [name for _, name, _, _ in Formatter().parse(step.summary) if name]
    values = {name: _short(args.get(name)) for name in names}
    return f"{step.tool} {step.summary.format(**values)}".strip() if any(values.values()) else step.tool


def _short(value: JsonValue) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _view(step: BoundStep) -> StepView:
    return StepView(
        id=step.id,
        tool=step.tool,
        capability=step.capability,
        args=step.args,
        depends_on=step.depends_on,
        why=step.why,
        status=StepStatus.PENDING,
    )


def _report(view: StepView, share: int) -> StepReport:
    said: dict[str, JsonValue] = {"result": cut(view.result, share)} if view.result is not None else {}
    if view.error:
        said["error"] = view.error.message
    return StepReport.model_validate({"id": view.id, "tool": view.tool, "status": view.status, **said})


def _still_running(tasks: Mapping[str, asyncio.Task[None]]) -> dict[str, asyncio.Task[None]]:
    for task in tasks.values():
        if task.done():
            task.result()  # a bug in our own code must surface, not vanish with its task
    return {step_id: task for step_id, task in tasks.items() if not task.done()}


def _problems(step: BoundStep, args: dict[str, JsonValue]) -> Iterator[str]:
    """What forbids a call once its references are resolved. Nothing that large may enter a history."""
    if (size := json_size(args)) > _MAX_ARGS_BYTES:
        yield f"the arguments have {size // 1024} KiB; at most {_MAX_ARGS_BYTES // 1024} KiB are allowed, so use less"
    elif step.args_schema:
        yield from check_args(args, step.args_schema)


def _may_have_happened(step: BoundStep, error: ActivityError) -> bool:
    """An effect whose attempt timed out, or failed where its result is handed over, may be done all the same."""
    timed_out = isinstance(error.cause, TimeoutError) and not found_no_worker(error)
    lost_result = isinstance(error.cause, ApplicationError) and error.cause.type in _AFTER_THE_EFFECT
    return (timed_out or lost_result) and not step.annotations.read_only
