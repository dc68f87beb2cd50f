"""Runs plans: every step whose dependencies are done starts at once, on its capability's own queue."""

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

from activities.reasoning.contract import CallOutcome, Progress, Reasoning, StepReport
from retinue.conversation import Usage
from retinue.effect_status import Outcome
from retinue.errors import Ambiguous, BrokenReference, StoreUnavailable
from retinue.json_values import json_size
from retinue.plan import BoundPlan, BoundStep, check_args, resolve_args
from retinue.provenance.asked_by import AskedBy, How
from workflows.consent import lookups
from workflows.consent.approvals import args_hash
from workflows.consent.budget_guard import BudgetStopped, ReserveBudget
from workflows.consent.gate import ActionDenied, Authorization, Consent, ProposedAction
from workflows.failures import explain, found_no_worker, used_by
from workflows.messages import (
    AccountWait,
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
from workflows.rules.policy import Decision
from workflows.rules.provenance import Source, Taint, Words, addresses, describe, trace
from workflows.steps import account_waits, records
from workflows.steps.account_choice import PATCH as ACCOUNTS
from workflows.steps.account_choice import account_of_references, choose_account
from workflows.steps.account_waits import AccountSignals, Disconnected, disconnected_account
from workflows.steps.activity import Waiting, may_have_acted, run_activity
from workflows.steps.delegation import Delegation, DelegationContext
from workflows.steps.filling_in import filled_in, filling_call
from workflows.steps.nothing_found import empty_references, nothing_for_list, nothing_found
from workflows.steps.progress import error_is_ours, progress
from workflows.steps.unknown_outcome import is_outcome_unknown, query_effect, run_until_known

_REPORTS_BYTES = 200_000
_MAX_ARGS_BYTES = 128 * 1024
_PROBLEMS = 5
"""Problems of a call that are reported; finding all of them may take long."""
_AFTER_THE_EFFECT = frozenset({"ResultTooLarge", "InternalError"})
_MANY = 20
"""The number of concurrent steps from which on results are debounced."""
_WAITING = frozenset({StepStatus.AWAITING_WORKER, StepStatus.AWAITING_ACCOUNT})
_OPEN = _WAITING | {StepStatus.PENDING, StepStatus.AWAITING_APPROVAL, StepStatus.RUNNING}
_SETBACKS = frozenset({StepStatus.FAILED, StepStatus.REJECTED})
_HOPELESS = frozenset({"NoWorker", "ChosenToFail", "BudgetStopped"})
"""Errors that another plan would meet again."""
NOTHING_FOUND = "NothingFound"
NO_ITEMS = "an empty list is nothing found"
"""Error type of a step that needs what a look-up did not find. It is no failure; another plan may look elsewhere."""
_ROUNDS_TO_ARRIVE = 8
"""Rounds of the event loop within which a result reaches its step. A result in the same workflow task as the
cancellation would otherwise be lost: temporalio 1.35 raises `CancelledError` where such an activity is awaited, and an
effect that was done would be shown as cancelled. One round is enough there; more cost nothing."""
_MODEL_USE: Mapping[str, float] = {"requests": 1, "tokens": 0, "cost": 0}


@dataclass(frozen=True)
class RunContext:
    """What an execution needs from its run."""

    consent: Consent
    reserve: ReserveBudget
    words: Callable[[], Words]
    on_change: Callable[[], None]
    on_usage: Callable[[Usage, int], None]
    """Takes a model's usage, and how many of its requests were reserved."""
    on_stop: Callable[[], None]
    choose: Callable[[Choice], Awaitable[Option | None]]
    """Asks the person which of several is meant; None if they choose none."""
    timezone: str
    asker: Callable[[], AskedBy]
    """Returns for whom the run works, and through which key."""


@dataclass
class StepRun:
    """One step of a run and its state.

    Args:
        step: As it runs: as planned, with references to the arguments that were filled in.
        view: As people see it.
        result: Its result, if any.
        has_result: Whether it has a result, since null is one too.
        task: Runs it now.
        choice: The person's choice while no worker took it.
        unknown: Why its outcome is unknown, if it is.
        attempted: Whether an attempt ran before its worker was lost.
        key: The id of its latest activity.
        planned: The step without the arguments that were filled in, if any were.
        disconnected: The account that must be connected again before it goes on.
    """

    step: BoundStep
    view: StepView
    result: JsonValue = None
    has_result: bool = False
    task: asyncio.Task[None] | None = None
    choice: WorkerChoice | None = None
    unknown: StepError | None = None
    attempted: bool = False
    key: str = ""
    planned: BoundStep | None = None
    disconnected: Disconnected | None = None


class Execution:
    """The steps of a run, their states, and the loop that advances them."""

    def __init__(self, context: RunContext, kept: Sequence[KeptStep] = ()) -> None:
        self._context = context
        self._runs: dict[str, StepRun] = {}
        self._settled: dict[tuple[str, str], str] = {}
        self._stopping = False
        self._accounts = AccountSignals()
        self._asking = asyncio.Lock()
        self._effects: list[str] = []
        self._turn: list[str] = []
        self._round: list[str] = []
        for step in kept:
            self._keep(step)

    def _keep(self, kept: KeptStep) -> None:
        step = kept.bound
        view = records.initial_view(step).model_copy(
            update={
                "status": StepStatus.COMPLETED,
                "args": kept.args,
                "result": kept.result,
                "consent": kept.consent,
                "finished_at": kept.at,
                "reused_from": kept.assistant_id,
            }
        )
        self._runs[step.id] = StepRun(step, view, result=kept.result, has_result=True)
        self._turn.append(step.id)
        self._settle(step, kept.args)

    def begin_turn(self) -> None:
        """Begin a turn for a new message; only the last turn's finished steps can be referred to."""
        turn = set(self._turn)
        self._runs = {
            step_id: run
            for step_id, run in self._runs.items()
            if step_id in turn and run.view.status is StepStatus.COMPLETED
        }
        self._turn = []
        self._settled = {}  # a new message may request again what was done or rejected

    async def run(self, plan: BoundPlan) -> None:
        """Add a plan's steps and run them to their end; a failed step does not raise."""
        self._round = [step.id for step in plan.steps]
        for step in plan.steps:
            self._add(step)
        try:
            while self._advance():
                await workflow.wait(self._tasks(), return_when=asyncio.FIRST_COMPLETED)
                self._reap()
                if len(self._tasks()) >= _MANY:
                    await lookups.debounce()
                    self._reap()
        except asyncio.CancelledError:
            await self._stop()
            raise

    def _add(self, step: BoundStep, *, parent: str | None = None) -> None:
        self._runs[step.id] = StepRun(step, records.initial_view(step, parent))
        self._turn.append(step.id)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [run.task for run in self._runs.values() if run.task is not None]

    def _of_round(self) -> list[StepRun]:
        return [self._runs[step_id] for step_id in self._round]

    def _of_turn(self) -> list[StepRun]:
        return [self._runs[step_id] for step_id in self._turn]

    def _advance(self) -> bool:
        """Start the steps that can start and skip those that never can. Returns whether any step runs."""
        self._skip_what_cannot_run()
        for run in self._ready():
            run.task = asyncio.create_task(self._run_step(run.step))
        return bool(self._tasks())

    def _ready(self) -> list[StepRun]:
        return [
            run
            for run in self._of_round()
            if run.view.status is StepStatus.PENDING
            and run.task is None
            and all(self._runs[other].view.status is StepStatus.COMPLETED for other in run.step.depends_on)
        ]

    def _reap(self) -> None:
        for run in self._runs.values():
            task = run.task
            if task is not None and task.done():
                run.task = None
                task.result()  # a bug in our own code must surface, not vanish with its task

    def _skip_what_cannot_run(self) -> None:
        """Skip each step with a dependency that ended without a result, transitively."""
        while lost := self._newly_lost():
            for step_id, other in lost.items():
                reason = f"it needs step {other}, which was {self._runs[other].view.status}"
                self._set(step_id, status=StepStatus.SKIPPED, error=StepError(type="Skipped", message=reason))

    def _newly_lost(self) -> dict[str, str]:
        return {
            run.step.id: other
            for run in self._of_round()
            if run.view.status is StepStatus.PENDING
            for other in run.step.depends_on
            if self._runs[other].view.status not in _OPEN | {StepStatus.COMPLETED}
        }

    async def _run_step(self, step: BoundStep) -> None:
        try:
            await self._make_clear(step)
            args = resolve_args(step.args, self.results())
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
            if self._runs[step.id].choice is None:
                raise
            self._end_as_chosen(step)

    def _end_broken(self, step: BoundStep, error: BrokenReference) -> None:
        """End a step with an unresolvable reference: skipped if a look-up found nothing, else failed."""
        if missing := nothing_found(step, self._plan(), self.results(), workflow.now()):
            self._end(step, StepStatus.SKIPPED, StepError(type=NOTHING_FOUND, message=missing))
        else:
            self._fail(step, explain(error, who=step.tool))

    async def _make_clear(self, step: BoundStep) -> None:
        """Ask the person which is meant if an earlier step found several; one question at a time."""
        while self._open_choice(step):
            async with self._asking:
                # another step may have asked the same question meanwhile
                if (choice := self._open_choice(step)) is None:
                    continue
                option = await self._context.choose(choice)
                if option is None:
                    raise Ambiguous("several matches, and none was chosen")
                self._settle_choice(choice, option)

    def _open_choice(self, step: BoundStep) -> Choice | None:
        return open_choice(
            step,
            self._plan(),
            self.results(),
            args=lambda step_id: self._runs[step_id].view.args,
            unseen=self._round,
        )

    def _settle_choice(self, choice: Choice, option: Option) -> None:
        run = self._runs[choice.step_id]
        run.result = result = choice.settled(run.result, option)
        self._set(choice.step_id, result=result, picked=True)

    async def _call(self, step: BoundStep, args: dict[str, JsonValue]) -> None:
        """Make one tool call, from its resolved arguments to its result."""
        if problems := list(_problems(step, args)):
            missing = nothing_for_list(step, args, self._plan(), workflow.now())
            if missing and workflow.patched(NO_ITEMS):
                self._end(step, StepStatus.SKIPPED, StepError(type=NOTHING_FOUND, message=missing))
            else:
                empty = list(empty_references(step, self._plan(), self.results()))
                self._fail(step, StepError(type="InvalidArguments", message="; ".join(empty or problems)))
            return
        self._set(step.id, args=args)
        if wanted := [name for name in step.annotations.fills_in if args.get(name)]:
            if (filled := await self._fill_in(step, wanted)) is None:
                return
            step, args = filled, resolve_args(filled.args, self.results())
            if problems := list(_problems(step, args)):
                self._fail(step, StepError(type="InvalidArguments", message="; ".join(problems)))
                return
            self._set(step.id, args=args)
        self._refuse_a_repeat(step, args)
        action = self._wish(step, args)
        if self._shows_account(action):
            try:
                action = await self._with_chosen_account(action)
            except ActivityError as error:
                self._fail(step, explain(error, who=step.tool))
                return
        cleared = await self._cleared(action)
        await self._context.reserve(steps=1, tool_calls=1, **(_MODEL_USE if step.capability == Reasoning.name else {}))
        if cleared.hold:
            await self._hold(step, cleared.hold)
        await self._perform(replace(action, args=cleared.args))

    async def _fill_in(self, step: BoundStep, wanted: Sequence[str]) -> BoundStep | None:
        """Let read-only tools of the step's capability fill in further arguments.

        Each call is a step of its own, so that the values have an origin.

        Args:
            step: The step.
            wanted: The arguments whose tools are called.

        Returns:
            The step with references to the filled-in values; None if a call failed, which ends the step.
        """
        found = await lookups.tools(sorted({step.annotations.fills_in[name] for name in wanted}))
        tools = {tool.spec.name: tool for tool in found or ()}
        for name in wanted:
            call = filling_call(step, name, tools.get(step.annotations.fills_in[name]))
            if call is None:
                message = f"nobody can tell what {step.annotations.fills_in[name]} would fill in"
                self._fail(step, StepError(type="NoWorker", message=message))
                return None
            await self._perform_calls([call])
            view = self._runs[call.id].view
            if view.status is not StepStatus.COMPLETED:
                self._end(step, view.status, view.error or StepError(type="Skipped", message="it was not read"))
                return None
            run = self._runs[step.id]
            run.planned = run.planned or run.step
            run.step = step = filled_in(step, call.id, view.result)
        return step

    def _wish(self, step: BoundStep, args: dict[str, JsonValue]) -> ProposedAction:
        context = self._context
        origins = trace(
            step,
            self._plan(),
            context.words(),
            results=self.results(),
            known=self._known_addresses() if step.annotations.sensitive else (),
            after_strangers=step.steered,
        )
        about = describe(step.args, self.results())
        return ProposedAction(step, args, origins, about, step.steered)

    def _shows_account(self, action: ProposedAction) -> bool:
        """Whether somebody decides about the action, or a grant does, and it may use one of several accounts."""
        asked = action.step.annotations.accounts and self._context.consent.judge(action).decision is Decision.ASK
        return asked and workflow.patched(ACCOUNTS)

    async def _with_chosen_account(self, action: ProposedAction) -> ProposedAction:
        """Return the action with the account that it uses, whichever is the person's default one when it runs."""
        step = action.step
        account = await choose_account(
            step,
            action.args,
            key=f"{step.id}.account",
            asked_by=self._asker_of(step),
            on_waiting=lambda waiting: self._waits(step.id, waiting),
        )
        if self._runs[step.id].view.status is StepStatus.AWAITING_WORKER:
            self._set(step.id, status=StepStatus.PENDING, waiting_since=None, error=None)
        return replace(action, account=account)

    def _asker_of(self, step: BoundStep) -> AskedBy:
        """Return for whom a step is done, and on the account from which its references come."""
        asker = self._context.asker()
        account = account_of_references(step, self._plan(), self.results())
        return asker.model_copy(update={"account": account}) if account else asker

    async def _cleared(self, action: ProposedAction) -> Authorization:
        step = action.step
        cleared = await self._context.consent.clear(
            action, on_asking=lambda: self._set(step.id, status=StepStatus.AWAITING_APPROVAL)
        )
        if not step.annotations.read_only:
            self._set(step.id, consent=cleared.consent)
        return cleared

    def _known_addresses(self) -> set[str]:
        """Return every address that the person's contacts returned in this run."""
        return {
            address
            for run in self._runs.values()
            if run.has_result
            for address in addresses(run.result, run.step.annotations.known_destinations)
        }

    def _refuse_a_repeat(self, step: BoundStep, args: Mapping[str, JsonValue]) -> None:
        """Deny a call that was already done or rejected and that a later round or an agent requests again."""
        earlier = self._settled.get((step.tool, args_hash(args)))
        again = earlier is not None and (earlier not in self._round or self._runs[step.id].view.parent is not None)
        if again and not step.annotations.read_only:
            raise ActionDenied(
                "Repeated", f"this exact call was already {self._done_or_rejected(str(earlier))} as step {earlier}"
            )

    def _done_or_rejected(self, step_id: str) -> str:
        run = self._runs.get(step_id)
        return "rejected" if run and run.view.status is StepStatus.REJECTED else "done"

    def _settle(self, step: BoundStep, args: Mapping[str, JsonValue]) -> None:
        self._settled.setdefault((step.tool, args_hash(args)), step.id)

    async def _hold(self, step: BoundStep, seconds: float) -> None:
        """Delay an irreversible action that was allowed without asking, so that a cancel can still stop it."""
        until = workflow.now() + timedelta(seconds=seconds)
        self._set(step.id, status=StepStatus.PENDING, held_until=until)
        await workflow.sleep(seconds)

    async def _perform(self, action: ProposedAction) -> None:
        step, args = action.step, action.args
        self._set(step.id, status=StepStatus.RUNNING, args=args, started_at=workflow.now())
        try:
            result = await run_until_known(
                step.id,
                lambda key: self._tool(action, key),
                lambda error, number: self._may_repeat(action, explain(error, who=step.tool), number),
            )
        except ActivityError as error:
            self._end_failed(step, error)
        except asyncio.CancelledError:
            if not await self._was_done(step, args):
                raise
        else:
            self._complete(step, args, result)

    async def _was_done(self, step: BoundStep, args: Mapping[str, JsonValue]) -> bool:
        """Whether a cancelled step was done: no attempt runs now, but an earlier one may have acted.

        The capability's ledger answers, and prevents an effect that has not begun. Without an answer the outcome is
        unknown.
        """
        run = self._runs[step.id]
        status = run.view.status
        tried = status is StepStatus.AWAITING_ACCOUNT or (status is StepStatus.AWAITING_WORKER and run.attempted)
        running = status is StepStatus.RUNNING or tried
        if step.annotations.read_only or not running:
            return False
        known = run.unknown is not None
        if not known:
            run.unknown = StepError(
                type="OutcomeUnknown",
                message="it was stopped, and it is unknown whether it had happened before that",
            )
        effect = await query_effect(step.task_queue, run.key)
        if effect.outcome is Outcome.DONE:
            self._complete(step, args, effect.result)
            self._set(step.id, looked_up=True)
        elif effect.outcome is Outcome.NOTHING and not known:
            run.unknown = None
        return effect.outcome is Outcome.DONE

    async def _tool(self, action: ProposedAction, key: str) -> JsonValue:
        step, args = action.step, action.args
        self._runs[step.id].key = key

        async def run() -> JsonValue:
            result: JsonValue = await run_activity(
                step.tool,
                args,
                task_queue=step.task_queue,
                options=step.options,
                activity_id=key,
                summary=records.summary(step, args),
                on_waiting=lambda waiting: self._waits(step.id, waiting),
                asked_by=self._asked_by(action) if step.annotations.personal else None,
            )
            return result

        result = await self._with_account(step, run)
        if step.annotations.personal:
            await lookups.note_facts(self._context.asker().person, result)
        return result

    async def _with_account(self, step: BoundStep, run: Callable[[], Awaitable[JsonValue]]) -> JsonValue:
        """Run a step's activity; while its account is disconnected, wait until the person has connected it again.

        It runs again under the same key, so that an effect of an earlier attempt is found.

        Raises:
            ActivityError: It failed for another reason, or the account was not connected in time.
        """
        since, looks = None, 0
        while True:
            seen = self._accounts.count
            try:
                return await run()
            except ActivityError as error:
                account = disconnected_account(error)
                if account is None or not workflow.patched(account_waits.PATCH):
                    raise
                since = since or workflow.now()
                if workflow.now() - since > account_waits.LONGEST:
                    raise
                self._runs[step.id].disconnected = account
                problem = explain(error, who=step.tool)
                self._set(step.id, status=StepStatus.AWAITING_ACCOUNT, waiting_since=since, error=problem)
            await self._accounts.next(seen, looks=looks)
            looks += 1
            self._set(step.id, status=StepStatus.RUNNING, error=None, waiting_since=None)

    def account_connected(self) -> None:
        """Let steps that wait for an account try again."""
        self._accounts.connected()

    def account_waits(self) -> Iterator[AccountWait]:
        """Return the accounts that steps wait for."""
        found: dict[tuple[str, str], list[StepRun]] = {}
        for run in self._runs.values():
            if run.view.status is StepStatus.AWAITING_ACCOUNT and run.disconnected:
                found.setdefault((run.view.capability, run.disconnected.account_id), []).append(run)
        for (capability, _), runs in found.items():
            account, problem = runs[0].disconnected, runs[0].view.error
            assert account is not None
            yield AccountWait(
                **account.model_dump(),
                capability=capability,
                since=min(run.view.waiting_since for run in runs if run.view.waiting_since),
                steps=[run.view.id for run in runs],
                reason=problem.message if problem else "",
            )

    def _asked_by(self, action: ProposedAction) -> AskedBy:
        """Return what a capability with data of one person is told of a step."""
        asker = self._asker_of(action.step)
        if action.account is not None:
            asker = asker.model_copy(update={"account": action.account.account})
        consent = self._runs[action.step.id].view.consent
        if consent is None:
            return asker
        approved = consent.how == "approval"
        typed = all(origin.source is Source.USER for origin in action.origins)
        how = How.APPROVED if approved else How.TYPED if typed else How.ALLOWED
        return asker.model_copy(update={"how": how, "message": len(self._context.words().said)})

    async def _may_repeat(self, action: ProposedAction, problem: StepError, number: int) -> bool:
        """Ask the person whether to repeat. Until they answer, a cancel leaves the outcome unknown."""
        step_id = action.step.id
        if action.step.annotations.read_only or self._stopping:
            return False  # an ending run cannot be answered any more
        self._runs[step_id].unknown = problem
        self._set(step_id, status=StepStatus.AWAITING_APPROVAL, error=problem, waiting_since=None)
        if not await self._context.consent.again(action, problem.message, number):
            return False
        await self._context.reserve(tool_calls=1)
        self._set(step_id, status=StepStatus.RUNNING, error=None)
        return True

    def _end_failed(self, step: BoundStep, error: ActivityError) -> None:
        """End a failed step. A failed repeat says nothing about an earlier effect with an unknown outcome."""
        if step.capability == Reasoning.name and (used := used_by(error)) is not None:
            self._context.on_usage(used, 1)
        problem, unknown = explain(error, who=step.tool), self._runs[step.id].unknown
        if unknown is not None and unknown.message != problem.message:
            problem = StepError(type=unknown.type, message=f"{unknown.message}; the repeat failed: {problem.message}")
        self._fail(step, problem, unknown=unknown is not None or self._may_have_happened(step, error))

    def _may_have_happened(self, step: BoundStep, error: ActivityError) -> bool:
        """Whether an effect may have happened although its attempt timed out, or failed after the effect."""
        timed_out = isinstance(error.cause, TimeoutError) and (not found_no_worker(error) or may_have_acted(error))
        lost_result = isinstance(error.cause, ApplicationError) and error.cause.type in _AFTER_THE_EFFECT
        lost = timed_out or lost_result or is_outcome_unknown(error) or self._runs[step.id].attempted
        return lost and not step.annotations.read_only

    def _complete(self, step: BoundStep, args: Mapping[str, JsonValue], result: JsonValue) -> None:
        run = self._runs[step.id]
        run.result, run.has_result, run.unknown = result, True, None
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
        """Run the capability's own agent; each call that it requests becomes a step of this run."""
        if problems := list(_problems(step, args)):
            self._fail(step, StepError(type="InvalidArguments", message="; ".join(problems)))
            return
        await self._context.reserve(steps=1)
        self._set(step.id, status=StepStatus.RUNNING, args=args, started_at=workflow.now())
        strangers = any(not origin.trusted for origin in trace(step, self._plan(), Words(), results=self.results()))
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
            asker=self._context.asker,
        )

    async def _perform_calls(self, calls: Sequence[BoundStep]) -> list[CallOutcome]:
        """Run an agent's calls concurrently; a denied or failed one is an outcome too."""
        parent = calls[0].id.rpartition(".")[0]
        for call in calls:
            self._add(call, parent=parent)
        runs = [self._runs[call.id] for call in calls]
        tasks = [asyncio.create_task(self._run_step(run.step)) for run in runs]
        for run, task in zip(runs, tasks, strict=True):
            run.task = task
        try:
            await asyncio.gather(*tasks)
        finally:
            for run in runs:
                run.task = None
        return [records.outcome(run.view) for run in runs]

    def choose(self, step_id: str, choice: WorkerChoice) -> None:
        """Apply a person's choice about a step that no worker takes."""
        run = self._runs[step_id]
        if choice is not WorkerChoice.WAIT and run.task is not None:
            run.choice = choice
            run.task.cancel()

    def awaits_worker(self, step_id: str) -> bool:
        """Whether the step waits for a worker or an account."""
        run = self._runs.get(step_id)
        return run is not None and run.view.status in _WAITING and run.task is not None

    def _end_as_chosen(self, step: BoundStep) -> None:
        run = self._runs[step.id]
        if run.choice is WorkerChoice.SKIP:
            self._end(step, StepStatus.SKIPPED, StepError(type="ChosenToSkip", message="you chose to skip it"))
        else:
            missing = "its account was not connected again" if run.disconnected else f"no worker took {step.tool}"
            message = f"{missing}, and you chose not to wait"
            self._end(step, StepStatus.FAILED, StepError(type="ChosenToFail", message=message))

    def _waits(self, step_id: str, waiting: Waiting) -> None:
        if waiting.attempted:
            self._runs[step_id].attempted = True
        problem = StepError(type=StoreUnavailable.__name__, message=waiting.reason) if waiting.reason else None
        self._set(step_id, status=StepStatus.AWAITING_WORKER, waiting_since=workflow.now(), error=problem)

    def _reject(self, step: BoundStep, refused: ActionDenied) -> None:
        self._settle(step, self._runs[step.id].view.args)
        self._end(step, StepStatus.REJECTED, StepError(type=refused.kind, message=refused.message))

    def _fail(self, step: BoundStep, error: StepError, *, unknown: bool = False) -> None:
        if unknown:
            self._settle(step, self._runs[step.id].view.args)
            self._effects.append(step.id)
        self._end(step, StepStatus.UNKNOWN if unknown else StepStatus.FAILED, error)

    def _end(self, step: BoundStep, status: StepStatus, error: StepError) -> None:
        if status is not StepStatus.UNKNOWN and (unknown := self._runs[step.id].unknown):
            self._fail(
                step, unknown, unknown=True
            )  # skipped or stopped before the repeat, but not before the first attempt
            return
        self._set(step.id, status=status, error=error, waiting_since=None, finished_at=workflow.now())

    def _set(self, step_id: str, **changes: Any) -> None:
        run = self._runs[step_id]
        run.view = run.view.model_copy(update=changes)
        self._context.on_change()

    async def _stop(self) -> None:
        """Cancel running steps, wait for those that cannot be cancelled any more, and mark the rest."""
        self._stopping = True
        self._context.on_stop()  # first, so that nothing can be approved while running steps end
        self._leave_in_doubt(StepStatus.AWAITING_APPROVAL)
        for view in self.views():
            if view.status in (StepStatus.PENDING, StepStatus.AWAITING_APPROVAL):
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())
        for _ in range(_ROUNDS_TO_ARRIVE):
            await asyncio.sleep(0)
        stopping = self._tasks()
        for task in stopping:
            task.cancel()
        if stopping:
            await asyncio.gather(*stopping, return_exceptions=True)
        self._leave_in_doubt(*_OPEN)
        for view in self.views():
            if view.status in _OPEN:
                self._set(view.id, status=StepStatus.CANCELLED, finished_at=workflow.now())

    def _leave_in_doubt(self, *statuses: StepStatus) -> None:
        """Mark steps whose effect may have happened as unknown instead of cancelled."""
        for run in list(self._runs.values()):
            if run.unknown is not None and run.view.status in statuses:
                self._fail(run.step, run.unknown, unknown=True)

    def views(self) -> list[StepView]:
        """Return all steps as people see them, an agent's calls after the delegated step."""
        return [run.view for run in self._runs.values()]

    def failed(self) -> bool:
        """Whether a step of the last plan failed or has an unknown outcome."""
        statuses = {run.view.status for run in self._of_round()}
        return StepStatus.FAILED in statuses or any(view.status is StepStatus.UNKNOWN for view in self.views())

    def met_setback(self) -> bool:
        """Whether another plan may help: a step failed or was rejected, and no outcome is unknown."""
        views = [run.view for run in self._of_turn()]
        if any(view.status is StepStatus.UNKNOWN for view in views):
            return False  # another plan could repeat what may have happened
        return any(_may_go_better(run.view) for run in self._of_round())

    def any_waits(self) -> bool:
        """Whether any step waits for a worker."""
        return any(view.status is StepStatus.AWAITING_WORKER for view in self.views())

    def waits(self) -> Iterator[WorkerWait]:
        """Return the capabilities that steps wait for, since when, and until when at most."""
        by_capability: dict[str, list[StepView]] = {}
        for view in self.views():
            if view.status is StepStatus.AWAITING_WORKER and view.waiting_since:
                owner = Reasoning.name if self._runs[view.id].step.agent else view.capability
                by_capability.setdefault(owner, []).append(view)
        for capability, views in by_capability.items():
            ends = [view.waiting_since + _patience(self._runs[view.id].step) for view in views if view.waiting_since]
            since = min(view.waiting_since for view in views if view.waiting_since)
            yield WorkerWait(
                capability=capability,
                since=since,
                steps=[view.id for view in views],
                times_out_at=min(ends),
                reason=next((view.error.message for view in views if view.error), ""),
            )

    def works(self) -> bool:
        """Whether any step runs or waits for a worker; waiting for a person does not count."""
        return any(view.status in (StepStatus.RUNNING, StepStatus.AWAITING_WORKER) for view in self.views())

    def progress(self) -> list[Progress]:
        """Return the steps so far, as a planner may see them."""
        return progress(self.views(), self._plan(), self._taint())

    def has_steps(self) -> bool:
        """Whether this turn has any step to report."""
        return bool(self._turn)

    def reports(self) -> list[StepReport]:
        """Return a report of each step of this turn for the final answer, together small enough for one payload."""
        runs = self._of_turn()
        share = _REPORTS_BYTES // max(1, len(runs))
        return [records.report(run.view, run.step, share) for run in runs]

    def read_strangers(self) -> bool:
        """Whether any result or error message of this turn may contain strangers' words."""
        taint = self._taint()
        return any(self._says_strangers(step_id, taint) for step_id in self._turn)

    def _says_strangers(self, step_id: str, taint: Taint) -> bool:
        run = self._runs[step_id]
        if run.view.error and not error_is_ours(run.view, run.step, taint):
            return True
        return run.has_result and taint.strangers_in(step_id)

    def _taint(self) -> Taint:
        return Taint(self._plan(), self.results())

    def results(self) -> Mapping[str, JsonValue]:
        """Return the steps' results by id."""
        return {step_id: run.result for step_id, run in self._runs.items() if run.has_result}

    def kept(self) -> list[KeptStep]:
        """Return the finished steps of this turn, for a later turn in another run, without agents' calls."""
        return [
            records.kept(run.step, run.view)
            for run in self._of_turn()
            if run.view.status is StepStatus.COMPLETED and run.view.parent is None
        ]

    def bound(self) -> list[BoundStep]:
        """Return all steps as they run."""
        return list(self._plan().values())

    def planned(self) -> list[BoundStep]:
        """Return all steps as planned, for a fork: without filled-in arguments, which are read again, and their calls."""
        return [run.planned or run.step for run in self._runs.values() if not self._fills_in(run)]

    def _fills_in(self, run: StepRun) -> bool:
        parent = self._runs.get(run.view.parent or "")
        return parent is not None and not parent.step.agent

    def _plan(self) -> dict[str, BoundStep]:
        return {step_id: run.step for step_id, run in self._runs.items()}

    def effects(self) -> list[DoneEffect]:
        """Return the effects not yet taken by `take_effects`, in the order in which they happened."""
        return [records.effect(self._runs[step_id].view, self._runs[step_id].step) for step_id in self._effects]

    def take_effects(self) -> list[DoneEffect]:
        """Return the effects and clear the list: the caller owns them now."""
        taken = self.effects()
        self._effects = []
        return taken

    def mark_undone(self, step_id: str) -> None:
        """Mark a step as undone."""
        if step_id in self._runs:
            self._set(step_id, status=StepStatus.UNDONE)


def _may_go_better(view: StepView) -> bool:
    """Whether a step ended without success, and another plan may succeed."""
    kind = view.error.type if view.error else ""
    return kind == NOTHING_FOUND or (view.status in _SETBACKS and kind not in _HOPELESS)


def _patience(step: BoundStep) -> timedelta:
    return timedelta(seconds=step.options.patience)


def _problems(step: BoundStep, args: dict[str, JsonValue]) -> Iterable[str]:
    """Yield what is wrong with a call's resolved arguments, such as a size that must not enter a history."""
    if (size := json_size(args)) > _MAX_ARGS_BYTES:
        yield f"the arguments have {size // 1024} KiB; at most {_MAX_ARGS_BYTES // 1024} KiB are allowed, so use less"
        return
    if step.args_schema:
        yield from islice(check_args(args, step.args_schema), _PROBLEMS)
    yield from refused_destinations(args, step.annotations.sensitive)
