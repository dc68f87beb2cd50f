"""Running plans: every step whose dependencies are done starts at once, on its capability's own queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, TimeoutError

from activities.reasoning.contract import CallOutcome, Progress, Reasoning, StepReport, Usage
from retinue.effect_status import Outcome
from retinue.errors import Ambiguous, BrokenReference, StoreUnavailable
from retinue.json_values import json_size
from retinue.plan import BoundPlan, BoundStep, check_args, resolve_args
from workflows.consent import lookups
from workflows.consent.approvals import args_hash
from workflows.consent.budget_guard import BudgetStopped, ReserveBudget
from workflows.consent.gate import ActionDenied, Authorization, Consent, ProposedAction
from workflows.failures import explain, found_no_worker, used_by
from workflows.messages import (
    DoneEffect,
    KeptStep,
    StepError,
    StepStatus,
    StepView,
    WorkerChoice,
    WorkerWait,
)
from workflows.rules.destinations import refused_destinations
from workflows.rules.disambiguation import Choice, Option, open_choice
from workflows.rules.provenance import Taint, Words, addresses, describe, trace
from workflows.steps import records
from workflows.steps.activity import Waiting, run_activity, was_begun
from workflows.steps.delegation import Delegation, DelegationContext
from workflows.steps.nothing_found import nothing_found
from workflows.steps.progress import error_is_ours, progress
from workflows.steps.unknown_outcome import is_outcome_unknown, query_effect, run_until_known

_REPORTS_BYTES = 200_000
_MAX_ARGS_BYTES = 128 * 1024
_PROBLEMS = 5
"""Problems of a call that are told; finding all of them may take long."""
_AFTER_THE_EFFECT = frozenset({"ResultTooLarge", "InternalError"})
_MANY = 20
"""Steps that run at once, from which on their results are gathered."""
_OPEN = frozenset({StepStatus.PENDING, StepStatus.AWAITING_APPROVAL, StepStatus.AWAITING_WORKER, StepStatus.RUNNING})
_SETBACKS = frozenset({StepStatus.FAILED, StepStatus.REJECTED})
_HOPELESS = frozenset({"NoWorker", "ChosenToFail", "BudgetStopped"})
"""Errors that another plan would only meet again."""
NOTHING_FOUND = "NothingFound"
"""Ends a step that needs what a look-up did not find. It is no failure, and another plan may look elsewhere."""
_ROUNDS_TO_ARRIVE = 8
"""Rounds of the event loop within which a result reaches its step. One that comes in the same workflow task as the
cancellation would else be lost: temporalio 1.35 raises `CancelledError` where such an activity is awaited, and an effect
that was done would be shown as cancelled. There one round is enough; more cost nothing."""
_MODEL_USE: Mapping[str, float] = {"requests": 1, "tokens": 0, "cost": 0}


@dataclass(frozen=True)
class RunContext:
    """What an execution needs of the run around it."""

    consent: Consent
    reserve: ReserveBudget
    words: Callable[[], Words]
    on_change: Callable[[], None]
    on_usage: Callable[[Usage, int], None]
    """Takes what a model used, and how many requests of it were counted beforehand."""
    on_stop: Callable[[], None]
    choose: Callable[[Choice], Awaitable[Option | None]]
    """Asks the person which of several is meant; None when it stays open."""
    gathers: bool
    """Whether to let the results of many steps arrive together."""
    timezone: str


class Execution:
    """The steps of a run, what became of each, and the loop that advances them."""

    def __init__(self, context: RunContext, kept: Sequence[KeptStep] = ()) -> None:
        self._context = context
        self._steps: dict[str, BoundStep] = {}
        self._views: dict[str, StepView] = {}
        self._results: dict[str, JsonValue] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._choices: dict[str, WorkerChoice] = {}
        self._settled: dict[tuple[str, str], str] = {}
        self._in_doubt: dict[str, StepError] = {}
        self._begun: set[str] = set()
        self._keys: dict[str, str] = {}
        self._occasions: dict[str, str] = {}
        self._stopping = False
        self._asking = asyncio.Lock()
        self._effects: list[str] = []
        self._turn: list[str] = []
        self._round: list[str] = []
        for step in kept:
            self._keep(step)

    def _keep(self, kept: KeptStep) -> None:
        step = kept.bound
        self._steps[step.id] = step
        self._results[step.id] = kept.result
        self._views[step.id] = records.initial_view(step).model_copy(
            update={
                "status": StepStatus.COMPLETED,
                "args": kept.args,
                "result": kept.result,
                "consent": kept.consent,
                "finished_at": kept.at,
                "reused_from": kept.assistant_id,
            }
        )
        self._turn.append(step.id)
        self._settle(step, kept.args)

    def begin_turn(self) -> None:
        """A new message is worked on: of the turns before, only the last one's finished steps can be referred to."""
        for step_id in list(self._steps):
            if step_id not in self._turn or self._views[step_id].status is not StepStatus.COMPLETED:
                self._forget(step_id)
        self._turn = []
        self._settled = {}  # what was done or rejected before may be wanted again by a new message

    def _forget(self, step_id: str) -> None:
        for known in (self._steps, self._views, self._results, self._tasks, self._in_doubt, self._keys):
            known.pop(step_id, None)
        self._begun.discard(step_id)
        self._occasions.pop(step_id, None)

    async def run(self, plan: BoundPlan) -> None:
        """Add a plan's steps and run them to their end; a failing step never raises here."""
        self._round = [step.id for step in plan.steps]
        for step in plan.steps:
            self._add(step, occasion=plan.steps[0].id)
        try:
            while self._advance():
                await workflow.wait(list(self._tasks.values()), return_when=asyncio.FIRST_COMPLETED)
                self._reap()
                if len(self._tasks) >= _MANY and self._context.gathers:
                    await lookups.debounce()
                    self._reap()
        except asyncio.CancelledError:
            await self._stop()
            raise

    def _add(self, step: BoundStep, *, occasion: str, parent: str | None = None) -> None:
        self._steps[step.id] = step
        self._occasions[step.id] = occasion
        self._views[step.id] = records.initial_view(step, parent)
        self._turn.append(step.id)

    def _advance(self) -> bool:
        """Start what can start and skip what cannot any more; whether anything runs then."""
        self._skip_what_cannot_run()
        for step in self._ready():
            self._tasks[step.id] = asyncio.create_task(self._run_step(step))
        return bool(self._tasks)

    def _ready(self) -> list[BoundStep]:
        return [
            step
            for step_id in self._round
            if self._views[step_id].status is StepStatus.PENDING and step_id not in self._tasks
            for step in [self._steps[step_id]]
            if all(self._views[other].status is StepStatus.COMPLETED for other in step.depends_on)
        ]

    def _reap(self) -> None:
        for step_id, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[step_id]
                task.result()  # a bug in our own code must surface, not vanish with its task

    def _skip_what_cannot_run(self) -> None:
        """A step whose dependency ended without a result never runs; that holds for what depends on it in turn."""
        while lost := self._newly_lost():
            for step_id, other in lost.items():
                reason = f"it needs step {other}, which was {self._views[other].status}"
                self._set(step_id, status=StepStatus.SKIPPED, error=StepError(type="Skipped", message=reason))

    def _newly_lost(self) -> dict[str, str]:
        return {
            step_id: other
            for step_id in self._round
            if self._views[step_id].status is StepStatus.PENDING
            for other in self._steps[step_id].depends_on
            if self._views[other].status not in _OPEN | {StepStatus.COMPLETED}
        }

    async def _run_step(self, step: BoundStep) -> None:
        try:
            await self._make_clear(step)
            args = resolve_args(step.args, self._results)
            if step.agent:
                await self._delegate(step, args)
            else:
                await self._call(step, args)
        except BrokenReference as error:
            self._end_broken(step, error)
        except Ambiguous as error:
            self._fail(step, explain(error, who=step.tool))
        except ActionDenied as refused:
            self._reject(step, refused)
        except BudgetStopped:
            message = "the budget was used up and you chose to stop"
            self._end(step, StepStatus.SKIPPED, StepError(type="BudgetStopped", message=message))
        except asyncio.CancelledError:
            if step.id not in self._choices:
                raise
            self._end_as_chosen(step)

    def _end_broken(self, step: BoundStep, error: BrokenReference) -> None:
        """A step whose reference leads nowhere. Where a look-up found nothing, that is its answer and no failure."""
        if missing := nothing_found(step, self._steps, self._results, workflow.now()):
            self._end(step, StepStatus.SKIPPED, StepError(type=NOTHING_FOUND, message=missing))
        else:
            self._fail(step, explain(error, who=step.tool))

    async def _make_clear(self, step: BoundStep) -> None:
        """Have the person say which is meant where an earlier step found several; one question at a time."""
        while self._open_choice(step):
            async with self._asking:
                # Another step may have asked the same meanwhile.
                if (choice := self._open_choice(step)) is None:
                    continue
                option = await self._context.choose(choice)
                if option is None:
                    raise Ambiguous("several fit, and it stayed open which one is meant")
                self._settle_choice(choice, option)

    def _open_choice(self, step: BoundStep) -> Choice | None:
        return open_choice(
            step, self._steps, self._results, args=lambda step_id: self._views[step_id].args, unseen=self._round
        )

    def _settle_choice(self, choice: Choice, option: Option) -> None:
        result = choice.settled(self._results[choice.step_id], option)
        self._results[choice.step_id] = result
        self._set(choice.step_id, result=result, picked=True)

    async def _call(self, step: BoundStep, args: dict[str, JsonValue]) -> None:
        """One tool call, from its resolved arguments to its result."""
        if problems := list(_problems(step, args)):
            self._fail(step, StepError(type="InvalidArguments", message="; ".join(problems)))
            return
        self._set(step.id, args=args)
        self._refuse_a_repeat(step, args)
        wish = self._wish(step, args)
        cleared = await self._cleared(wish)
        await self._context.reserve(steps=1, tool_calls=1, **(_MODEL_USE if step.capability == Reasoning.name else {}))
        if cleared.hold:
            await self._hold(step, cleared.hold)
        await self._perform(replace(wish, args=cleared.args))

    def _wish(self, step: BoundStep, args: dict[str, JsonValue]) -> ProposedAction:
        context = self._context
        origins = trace(
            step,
            self._steps,
            context.words(),
            results=self._results,
            known=self._known_addresses() if step.annotations.sensitive else (),
            after_strangers=step.steered,
        )
        about = describe(step.args, self._results)
        return ProposedAction(step, args, origins, about, step.steered, self._occasions[step.id])

    async def _cleared(self, wish: ProposedAction) -> Authorization:
        step = wish.step
        cleared = await self._context.consent.clear(
            wish, on_asking=lambda: self._set(step.id, status=StepStatus.AWAITING_APPROVAL)
        )
        if not step.annotations.read_only:
            self._set(step.id, consent=cleared.consent)
        return cleared

    def _known_addresses(self) -> set[str]:
        """Every address that the person's own contacts gave in this run."""
        return {
            address
            for step_id, result in self._results.items()
            for address in addresses(result, self._steps[step_id].annotations.known_destinations)
        }

    def _refuse_a_repeat(self, step: BoundStep, args: Mapping[str, JsonValue]) -> None:
        """A later round, or an agent in its loop, may not do again what was done, nor ask again what was rejected."""
        earlier = self._settled.get((step.tool, args_hash(args)))
        again = earlier is not None and (earlier not in self._round or self._views[step.id].parent is not None)
        if again and not step.annotations.read_only:
            raise ActionDenied("Repeated", f"exactly this was {self._fate(str(earlier))} as step {earlier}")

    def _fate(self, step_id: str) -> str:
        view = self._views.get(step_id)
        return "rejected" if view and view.status is StepStatus.REJECTED else "done"

    def _settle(self, step: BoundStep, args: Mapping[str, JsonValue]) -> None:
        self._settled.setdefault((step.tool, args_hash(args)), step.id)

    async def _hold(self, step: BoundStep, seconds: float) -> None:
        """Wait a little before what cannot be taken back was allowed without asking: a cancel still stops it."""
        until = workflow.now() + timedelta(seconds=seconds)
        self._set(step.id, status=StepStatus.PENDING, held_until=until)
        await workflow.sleep(seconds)

    async def _perform(self, wish: ProposedAction) -> None:
        step, args = wish.step, wish.args
        self._set(step.id, status=StepStatus.RUNNING, args=args, started_at=workflow.now())
        try:
            result = await run_until_known(
                step.id,
                lambda key: self._tool(step, args, key),
                lambda error, number: self._may_repeat(wish, explain(error, who=step.tool), number),
            )
        except ActivityError as error:
            self._end_failed(step, error)
        except asyncio.CancelledError:
            if not await self._was_done(step, args):
                raise
        else:
            self._complete(step, args, result)

    async def _was_done(self, step: BoundStep, args: Mapping[str, JsonValue]) -> bool:
        """Whether a stopped step was done all the same: no attempt ran, but one before may have acted.

        Its ledger says, and sees to it that what has not begun never will. Where it cannot say, the step is in the dark.
        """
        status = self._views[step.id].status
        running = status is StepStatus.RUNNING or (status is StepStatus.AWAITING_WORKER and step.id in self._begun)
        if step.annotations.read_only or not running:
            return False
        known = step.id in self._in_doubt
        if not known:
            self._in_doubt[step.id] = StepError(
                type="OutcomeUnknown",
                message="it was stopped, and nobody could say whether it had happened before that",
            )
        effect = await query_effect(step.task_queue, self._keys[step.id])
        if effect.outcome is Outcome.DONE:
            self._complete(step, args, effect.result)
            self._set(step.id, looked_up=True)
        elif effect.outcome is Outcome.NOTHING and not known:
            del self._in_doubt[step.id]
        return effect.outcome is Outcome.DONE

    async def _tool(self, step: BoundStep, args: dict[str, JsonValue], key: str) -> JsonValue:
        self._keys[step.id] = key
        result: JsonValue = await run_activity(
            step.tool,
            args,
            task_queue=step.task_queue,
            options=step.options,
            activity_id=key,
            summary=records.summary(step, args),
            on_waiting=lambda waiting: self._waits(step.id, waiting),
        )
        return result

    async def _may_repeat(self, wish: ProposedAction, problem: StepError, number: int) -> bool:
        """Ask the person. Until they answer, a cancel leaves the step as it is: in the dark."""
        step_id = wish.step.id
        if wish.step.annotations.read_only or self._stopping:
            return False  # when the run is being stopped nobody can answer any more
        self._in_doubt[step_id] = problem
        self._set(step_id, status=StepStatus.AWAITING_APPROVAL, error=problem, waiting_since=None)
        if not await self._context.consent.again(wish, problem.message, number):
            return False
        await self._context.reserve(tool_calls=1)
        self._set(step_id, status=StepStatus.RUNNING, error=None)
        return True

    def _end_failed(self, step: BoundStep, error: ActivityError) -> None:
        """A repeat that fails, or is not even begun, says nothing about the effect that was in doubt before."""
        if step.capability == Reasoning.name and (used := used_by(error)) is not None:
            self._context.on_usage(used, 1)
        problem, doubt = explain(error, who=step.tool), self._in_doubt.get(step.id)
        if doubt is not None and doubt.message != problem.message:
            problem = StepError(type=doubt.type, message=f"{doubt.message}; doing it again failed: {problem.message}")
        self._fail(step, problem, unknown=doubt is not None or self._may_have_happened(step, error))

    def _may_have_happened(self, step: BoundStep, error: ActivityError) -> bool:
        """An effect whose attempt timed out, or failed where its result is handed over, may be done all the same."""
        timed_out = isinstance(error.cause, TimeoutError) and (not found_no_worker(error) or was_begun(error))
        lost_result = isinstance(error.cause, ApplicationError) and error.cause.type in _AFTER_THE_EFFECT
        lost = timed_out or lost_result or is_outcome_unknown(error) or step.id in self._begun
        return lost and not step.annotations.read_only

    def _complete(self, step: BoundStep, args: Mapping[str, JsonValue], result: JsonValue) -> None:
        self._results[step.id] = result
        self._in_doubt.pop(step.id, None)
        if not step.annotations.read_only:
            self._settle(step, args)
            self._effects.append(step.id)
        if step.capability == Reasoning.name and isinstance(result, dict) and "usage" in result:
            self._context.on_usage(Usage.model_validate(result["usage"]), 1)
        self._set(
            step.id,
            status=StepStatus.COMPLETED,
            result=result,
            error=None,
            waiting_since=None,
            finished_at=workflow.now(),
        )

    async def _delegate(self, step: BoundStep, args: dict[str, JsonValue]) -> None:
        """Let the capability's own agent work; each call that it wants becomes a step of this run."""
        if problems := list(_problems(step, args)):
            self._fail(step, StepError(type="InvalidArguments", message="; ".join(problems)))
            return
        await self._context.reserve(steps=1)
        self._set(step.id, status=StepStatus.RUNNING, args=args, started_at=workflow.now())
        strangers = any(not origin.trusted for origin in trace(step, self._steps, Words(), results=self._results))
        try:
            result = await Delegation(step, args, self._of_delegations(), after_strangers=strangers).run()
        except (ApplicationError, ActivityError, ChildWorkflowError) as error:
            cause = error.cause if isinstance(error, ChildWorkflowError) and error.cause else error
            self._fail(step, explain(cause, who=f"the agent of {step.capability}"))
        else:
            self._complete(step, args, result)

    def _of_delegations(self) -> DelegationContext:
        return DelegationContext(
            perform=self._perform_calls,
            says_strangers=lambda step_id: self._says_strangers(step_id, self._taint()),
            reserve=self._context.reserve,
            on_usage=self._context.on_usage,
            on_waiting=lambda step_id: self._waits(step_id, Waiting()),
            on_working=lambda step_id: self._set(step_id, status=StepStatus.RUNNING, waiting_since=None),
            timezone=self._context.timezone,
        )

    async def _perform_calls(self, calls: Sequence[BoundStep]) -> list[CallOutcome]:
        """Run an agent's calls beside each other; one that may not run, or fails, is an outcome like any other."""
        parent = calls[0].id.rpartition(".")[0]
        for call in calls:
            self._add(call, occasion=calls[0].id, parent=parent)
        tasks = {call.id: asyncio.create_task(self._run_step(call)) for call in calls}
        self._tasks |= tasks
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for call_id in tasks:
                self._tasks.pop(call_id, None)
        return [records.outcome(self._views[call.id]) for call in calls]

    def choose(self, step_id: str, choice: WorkerChoice) -> None:
        """Do what a person wants about a step that no worker takes."""
        if choice is not WorkerChoice.WAIT:
            self._choices[step_id] = choice
            self._tasks[step_id].cancel()

    def awaits_worker(self, step_id: str) -> bool:
        """Whether that step waits for a worker."""
        view = self._views.get(step_id)
        return view is not None and view.status is StepStatus.AWAITING_WORKER and step_id in self._tasks

    def _end_as_chosen(self, step: BoundStep) -> None:
        if self._choices[step.id] is WorkerChoice.SKIP:
            self._end(step, StepStatus.SKIPPED, StepError(type="ChosenToSkip", message="you chose to skip it"))
        else:
            message = f"no worker took {step.tool}, and you chose not to wait"
            self._end(step, StepStatus.FAILED, StepError(type="ChosenToFail", message=message))

    def _waits(self, step_id: str, waiting: Waiting) -> None:
        if waiting.begun:
            self._begun.add(step_id)
        problem = StepError(type=StoreUnavailable.__name__, message=waiting.reason) if waiting.reason else None
        self._set(step_id, status=StepStatus.AWAITING_WORKER, waiting_since=workflow.now(), error=problem)

    def _reject(self, step: BoundStep, refused: ActionDenied) -> None:
        self._settle(step, self._views[step.id].args)
        self._end(step, StepStatus.REJECTED, StepError(type=refused.kind, message=refused.message))

    def _fail(self, step: BoundStep, error: StepError, *, unknown: bool = False) -> None:
        if unknown:
            self._settle(step, self._views[step.id].args)
            self._effects.append(step.id)
        self._end(step, StepStatus.UNKNOWN if unknown else StepStatus.FAILED, error)

    def _end(self, step: BoundStep, status: StepStatus, error: StepError) -> None:
        if status is not StepStatus.UNKNOWN and (doubt := self._in_doubt.get(step.id)):
            self._fail(step, doubt, unknown=True)  # skipped or stopped before it was done again, not before it was done
            return
        self._set(step.id, status=status, error=error, waiting_since=None, finished_at=workflow.now())

    def _set(self, step_id: str, **changes: Any) -> None:
        self._views[step_id] = self._views[step_id].model_copy(update=changes)
        self._context.on_change()

    async def _stop(self) -> None:
        """Cancel what runs, wait for what cannot be cancelled any more, and mark the rest."""
        self._stopping = True
        self._context.on_stop()  # first: nothing may be approved while we wait for what still runs
        self._leave_in_doubt(StepStatus.AWAITING_APPROVAL)
        for view in self.views():
            if view.status in (StepStatus.PENDING, StepStatus.AWAITING_APPROVAL):
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())
        for _ in range(_ROUNDS_TO_ARRIVE):
            await asyncio.sleep(0)
        stopping = list(self._tasks.values())
        for task in stopping:
            task.cancel()
        if stopping:
            await asyncio.gather(*stopping, return_exceptions=True)
        self._leave_in_doubt(*_OPEN)
        for view in self.views():
            if view.status in _OPEN:
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())

    def _leave_in_doubt(self, *statuses: StepStatus) -> None:
        """What may have happened does not count as cancelled, whether it is asked about or done again."""
        for step_id, problem in self._in_doubt.items():
            if self._views[step_id].status in statuses:
                self._fail(self._steps[step_id], problem, unknown=True)

    def views(self) -> list[StepView]:
        """All steps as people see them, an agent's calls after the step that was delegated."""
        return list(self._views.values())

    def failed(self) -> bool:
        """Whether the last plan left a step failed, or one of which nobody knows whether it happened."""
        statuses = {self._views[step_id].status for step_id in self._round}
        return StepStatus.FAILED in statuses or any(view.status is StepStatus.UNKNOWN for view in self.views())

    def met_setback(self) -> bool:
        """Whether another plan may help: something failed or was rejected, and nothing is in the dark."""
        views = [self._views[step_id] for step_id in self._turn]
        if any(view.status is StepStatus.UNKNOWN for view in views):
            return False  # planning anew could do a second time what may have happened
        return any(_may_go_better(self._views[step_id]) for step_id in self._round)

    def any_waits(self) -> bool:
        """Whether any step waits for a worker."""
        return any(view.status is StepStatus.AWAITING_WORKER for view in self._views.values())

    def waits(self) -> Iterator[WorkerWait]:
        """The capabilities that steps wait for, since when, and until when at most."""
        by_capability: dict[str, list[StepView]] = {}
        for view in self._views.values():
            if view.status is StepStatus.AWAITING_WORKER and view.waiting_since:
                owner = Reasoning.name if self._steps[view.id].agent else view.capability
                by_capability.setdefault(owner, []).append(view)
        for capability, views in by_capability.items():
            ends = [view.waiting_since + _patience(self._steps[view.id]) for view in views if view.waiting_since]
            since = min(view.waiting_since for view in views if view.waiting_since)
            yield WorkerWait(
                capability=capability,
                since=since,
                steps=[view.id for view in views],
                times_out_at=min(ends),
                reason=next((view.error.message for view in views if view.error), ""),
            )

    def works(self) -> bool:
        """Whether any step runs or waits for a worker, rather than for a person."""
        return any(view.status in (StepStatus.RUNNING, StepStatus.AWAITING_WORKER) for view in self._views.values())

    def progress(self) -> list[Progress]:
        """The steps so far, as a planner may see them."""
        return progress(self.views(), self._steps, self._taint())

    def has_steps(self) -> bool:
        """Whether this turn has any step to report."""
        return bool(self._turn)

    def reports(self) -> list[StepReport]:
        """What became of each step of this turn, for the final answer; together small enough for one payload."""
        views = [self._views[step_id] for step_id in self._turn]
        share = _REPORTS_BYTES // max(1, len(views))
        return [records.report(view, share) for view in views]

    def read_strangers(self) -> bool:
        """Whether any result of this turn, or what a tool said when it failed, may hold the words of strangers."""
        taint = self._taint()
        return any(self._says_strangers(step_id, taint) for step_id in self._turn)

    def _says_strangers(self, step_id: str, taint: Taint) -> bool:
        view = self._views[step_id]
        if view.error and not error_is_ours(view, self._steps[step_id], taint):
            return True
        return step_id in self._results and taint.strangers_in(step_id)

    def _taint(self) -> Taint:
        return Taint(self._steps, self._results)

    def results(self) -> Mapping[str, JsonValue]:
        """What the steps returned, by their ids."""
        return self._results

    def kept(self) -> list[KeptStep]:
        """The finished steps of this turn, for a later turn in another run. An agent's calls stay with their step."""
        return [
            records.kept(self._steps[step_id], self._views[step_id]) for step_id in self._turn if self._is_kept(step_id)
        ]

    def _is_kept(self, step_id: str) -> bool:
        view = self._views[step_id]
        return view.status is StepStatus.COMPLETED and view.parent is None

    def bound(self) -> list[BoundStep]:
        """All steps as planned."""
        return list(self._steps.values())

    def effects(self) -> list[DoneEffect]:
        """The effects that nobody has taken over yet, in the order in which they happened."""
        return [records.effect(self._views[step_id], self._steps[step_id]) for step_id in self._effects]

    def take_effects(self) -> list[DoneEffect]:
        """The same, and from now on they are somebody else's to remember."""
        taken = self.effects()
        self._effects = []
        return taken

    def mark_undone(self, step_id: str) -> None:
        """Its effect was taken back."""
        if step_id in self._views:
            self._set(step_id, status=StepStatus.UNDONE)


def _may_go_better(view: StepView) -> bool:
    """Whether a step ended without doing its work, and another plan may do it."""
    kind = view.error.type if view.error else ""
    return kind == NOTHING_FOUND or (view.status in _SETBACKS and kind not in _HOPELESS)


def _patience(step: BoundStep) -> timedelta:
    return timedelta(seconds=step.options.patience)


def _problems(step: BoundStep, args: dict[str, JsonValue]) -> Iterable[str]:
    """What forbids a call once its references are resolved. Nothing that large may enter a history."""
    if (size := json_size(args)) > _MAX_ARGS_BYTES:
        yield f"the arguments have {size // 1024} KiB; at most {_MAX_ARGS_BYTES // 1024} KiB are allowed, so use less"
        return
    if step.args_schema:
        yield from islice(check_args(args, step.args_schema), _PROBLEMS)
    yield from refused_destinations(args, step.annotations.sensitive)
