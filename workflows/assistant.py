"""One conversation or task: understand, plan, run, answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue, ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.memory.contract import RecalledFact
from activities.reasoning.contract import (
    PlanRequest,
    PlanResult,
    Reasoning,
    RefusedPlan,
    RememberedFact,
    ReplyRequest,
    TextResult,
)
from retinue.conversation import Message, Usage
from retinue.plan import LONGEST_OPTION, BoundPlan, BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.provenance.credential import Credential, decides, key_of
from retinue.temporal import metrics
from retinue.temporal.failures import non_retryable
from retinue.temporal.proofs import began_proved, reason_without_proof
from retinue.temporal.search_keys import APPROVERS, PENDING_APPROVALS, STATUS
from retinue.text import one_line
from retinue.times import local, on_the_calendar
from workflows.consent.approvals import MAX_KEPT, SIGNAL, Approvals, RefusedSignals, quoted
from workflows.consent.budget_guard import BudgetGuard, BudgetStopped
from workflows.consent.gate import Consent
from workflows.consent.lookups import proved_cancellation
from workflows.failures import explain, used_by
from workflows.messages import (
    ENDED,
    ApprovalStatus,
    AssistantStatus,
    AssistantView,
    ChooseForStep,
    ContinuedState,
    Decide,
    DecisionKind,
    DecisionSignal,
    Fork,
    MessagePage,
    Mode,
    PlanCard,
    PlanView,
    RunOutcome,
    SaidBefore,
    SendMessage,
    StartAssistant,
    StartUndo,
    StepError,
    SuggestedAnswer,
    WorkerWait,
)
from workflows.notification import Notifier
from workflows.rules.disambiguation import Choice, Option, gives_up
from workflows.rules.policy import DEFAULT_POLICY
from workflows.rules.provenance import TypedValue, Words
from workflows.run import plan_preview
from workflows.run.conversation import MAX_WAITING, Conversation, said_by_person, was_offered
from workflows.run.recall import PATCH, UNREADABLE, recall
from workflows.run.result import to_result
from workflows.run.web_ui import current_details
from workflows.steps.activity import Waiting, run_activity, stop_if_cancelled
from workflows.steps.executor import Execution, RunContext
from workflows.steps.records import outcome_of_run
from workflows.undo import UNDO, Compensation

MAX_REPAIRS = 2
MAX_NEEDS = 2
"""How often a planner may ask for tools that it was not shown, in one round."""
"""How often a plan that fails validation goes back to the model."""
MAX_QUESTIONS = 5
MAX_CHOICE_QUESTIONS = 3
MAX_ROUNDS = 4
"""How many plans one message may take, the first included."""
MAX_NOTICES = 20
MAX_EFFECTS = 300
"""How many effects of a chat can still be undone at its end; the oldest are dropped first."""
MAX_SHOWN = 500
"""Messages in a view; the query `said` returns earlier ones."""
MAX_HISTORY_BYTES = 1024 * 1024
_OFFERED_BEFORE = "offered-before"
"""Runs from before it count a text that was offered with an earlier message as typed."""
_WAITS_FOR_PEOPLE = frozenset(
    {AssistantStatus.AWAITING_APPROVAL, AssistantStatus.AWAITING_INPUT, AssistantStatus.AWAITING_ACCOUNT}
)


@workflow.defn(name="AssistantWorkflow")
class AssistantWorkflow:
    """Carries out one request in plain language, or one chat."""

    @workflow.init
    def __init__(self, start: StartAssistant) -> None:
        continued = start.continued or ContinuedState(messages=_first_messages(start))
        self._start = start
        self._talk = Conversation(
            continued.messages,
            key=workflow.info().workflow_id if start.mode is Mode.CHAT else None,
            continued=start.continued,
            answer_schema=start.answer_schema,
        )
        self._approvals = Approvals(requester=start.owner, on_change=self._publish, continued=continued.approvals)
        self._notifier = Notifier(owner=start.owner, notified=continued.approvals) if start.notify else None
        self._consent = Consent(
            start, self._approvals, asked_through=self._keys, asker=self._asker, on_notice=self._notice
        )
        self._budget_guard = BudgetGuard(start, self._approvals)
        self._execution = self._new_execution(start.fork.kept if start.fork else continued.kept)
        self._phase = AssistantStatus.PLANNING
        self._published: tuple[str, int, list[str]] = (str(AssistantStatus.RUNNING), 0, [])
        self._since: tuple[AssistantStatus | None, datetime | None] = (None, None)
        self._details_are_due = False
        self._reasoning_waits: datetime | None = None
        self._reasoning_problem = ""
        self._question: str | None = None
        self._choosing = False
        self._options: list[SuggestedAnswer] = []
        self._questions = continued.questions
        self._between_turns = False
        self._round = start.fork.round if start.fork else continued.round
        self._rounds_left = MAX_ROUNDS
        self._facts: list[RecalledFact] | None = None
        self._turns = continued.turns
        self._card: PlanCard | None = None
        self._typed = list(start.fork.typed if start.fork else continued.typed)
        self._typed_through = list(start.fork.typed_through if start.fork else continued.typed_through)
        self._reply = continued.reply
        self._error = continued.error
        self._stopping = False
        self._notices = [start.notice] if start.notice else continued.notices
        self._refused_signals = RefusedSignals()
        self._usage = continued.usage
        self._effects = continued.effects
        self._compensation = Compensation([], start.policy or DEFAULT_POLICY, caller=start.owner)

    def _new_execution(self, kept: Sequence[Any]) -> Execution:
        context = RunContext(
            consent=self._consent,
            reserve=self._budget_guard.reserve,
            words=self._words,
            on_change=self._publish,
            on_usage=self._use,
            on_stop=self._approvals.close,
            choose=self._choose,
            timezone=self._start.timezone,
            asker=self._asker,
        )
        return Execution(context, kept)

    def _words(self) -> Words:
        return Words(
            said=self._talk.said(), typed=self._typed, typed_through=self._typed_through, remembered=self._facts or ()
        )

    def _asker(self) -> AskedBy:
        """Return for whom this run works. A key without the right to the person's memory bars the whole run from it."""
        used = [self._start.through, *(message.through for message in self._talk.said())]
        barred = next((credential for credential in used if credential and not credential.may_remember), None)
        shown = barred or next((credential for credential in reversed(used) if key_of(credential)), None)
        return AskedBy(person=self._start.owner, through=shown.label if shown else "", may_read=barred is None)

    def _keys(self) -> list[str]:
        """Return the ids of the API keys through which anything of this run was requested."""
        said = [message.through for message in self._talk.said()]
        written = [typed.through for typed in self._typed_through]
        return sorted({name for used in (self._start.through, *said, *written) if (name := key_of(used))})

    @workflow.run
    async def run(self, start: StartAssistant) -> dict[str, Any]:
        """Carry out the request. Returns the final view."""
        try:
            failure = await self._work()
            await self._settle()
        except asyncio.CancelledError:
            await self._cancelled()
            raise
        if failure:
            failed = self._failed(failure)
            await self._notify_end()
            raise failed
        view = self._end(AssistantStatus.COMPLETED)
        await self._notify_end()
        return view

    async def _work(self) -> StepError | None:
        """Do the task, or the chat until it is cancelled. Returns why it failed, or None."""
        try:
            if self._start.mode is Mode.CHAT:
                await self._chat()
            await self._turn()
        except (ActivityError, ApplicationError) as error:
            return explain(error, who="the language model")
        except BudgetStopped:
            return self._stopped_by_budget()
        if self._budget_guard.stopped:
            return self._stopped_by_budget()
        failed = self._execution.failed()
        return StepError(type="StepsFailed", message="not every step could be done") if failed else None

    async def _turn(self) -> None:
        """Process one message: plan and run steps for at most `MAX_ROUNDS` rounds, then answer."""
        if self._start.call is not None and self._start.fork is None:
            await self._call(self._start.call)
            return
        if self._start.first is not None and self._start.fork is None and not await self._read_first(self._start.first):
            return
        plan = await self._forked_plan() or await self._plan()
        while plan.steps:
            await self._execute(plan)
            if not self._plans_again(plan):
                break
            plan = await self._plan()
        await self._answer(plan)

    async def _read_first(self, step: BoundStep) -> bool:
        """Read what started the run, as a step that code made. Returns whether it could be read."""
        await self._execute(BoundPlan(steps=[step]))
        if self._execution.met_setback():
            await self._answer(BoundPlan())
            return False
        self._round += 1
        return True

    async def _call(self, step: BoundStep) -> None:
        """Make the one tool call that a protocol client requested. The reply states its outcome; nothing is planned again."""
        await self._execute(BoundPlan(steps=[step]))
        [report] = self._execution.reports()
        self._say(f"{report.tool}: {report.status}{f' ({report.error})' if report.error else ''}")

    async def _forked_plan(self) -> BoundPlan | None:
        again = self._start.fork.again if self._start.fork else None
        return await self._previewed(again, PlanResult()) if again else None

    def _plans_again(self, plan: BoundPlan) -> bool:
        """Whether to make another plan for the rest."""
        self._rounds_left -= 1
        wanted = not plan.final or self._execution.met_setback()
        if wanted and self._rounds_left > 0:
            self._round += 1
            return True
        return False

    async def _chat(self) -> None:
        """Answer messages until the chat is cancelled. After a failed turn it says why and goes on."""
        if self._start.continued:
            await self._next_message()
        while True:
            try:
                await self._turn()
            except (ActivityError, ApplicationError) as error:
                self._report_failure(explain(error, who="the language model"))
            except BudgetStopped:
                self._report_failure(StepError(type="BudgetExhausted", message="the budget is used up"))
            self._turns += 1
            await self._next_message()

    def _report_failure(self, error: StepError) -> None:
        self._error = error
        self._say(f"That did not work: {error.message}.")

    async def _next_message(self) -> None:
        await self._settle()
        if self._must_continue_as_new() and workflow.all_handlers_finished():
            workflow.continue_as_new(
                self._start.model_copy(update={"fork": None, "continued": self._continued_state()}),
                initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
            )
        self._between_turns = True
        self._publish()
        await workflow.wait_condition(lambda: self._talk.waiting() > 0)
        self._between_turns = False
        self._read_message()
        self._begin_turn()

    def _begin_turn(self) -> None:
        self._phase = AssistantStatus.PLANNING
        self._reply, self._error, self._card = None, None, None
        self._rounds_left = MAX_ROUNDS
        self._facts = None
        self._round += 1
        self._execution.begin_turn()
        self._consent.begin_turn()
        self._budget_guard.begin_turn()
        self._publish()

    def _must_continue_as_new(self) -> bool:
        info = workflow.info()
        turns = self._turns - (self._start.continued.turns if self._start.continued else 0)
        return (
            turns >= self._start.turns_per_run
            or info.is_continue_as_new_suggested()
            or info.get_current_history_size() > MAX_HISTORY_BYTES
            or (turns > 0 and info.is_target_worker_deployment_version_changed())
        )

    def _continued_state(self) -> ContinuedState:
        return ContinuedState.model_validate(
            {
                **self._talk.continued(),
                "round": self._round,
                "turns": self._turns,
                "questions": self._questions,
                "kept": self._execution.kept(),
                "effects": self._effects,
                "approvals": self._approvals.views()[-MAX_KEPT:],
                "rejections": self._consent.rejections(),
                "notices": [*self._notices, *self._refused_signals.notices()][-MAX_NOTICES:],
                "usage": self._usage,
                "typed": self._typed,
                "typed_through": self._typed_through,
                "reply": self._reply,
                "error": self._error,
                "asked_budgets": self._budget_guard.asked,
                "day_extra": self._budget_guard.day_extra,
                "day_extra_on": self._budget_guard.day_extra_on,
            }
        )

    async def _plan(self) -> BoundPlan:
        """Make a plan, asking the person up to `MAX_QUESTIONS` questions; show it first if a preview is wanted."""
        await self._recall()
        for asked in range(MAX_QUESTIONS + 1):
            result = await self._valid_plan()
            assert result.plan is not None
            if not result.plan.question:
                return await self._previewed(result.plan, result)
            if asked < MAX_QUESTIONS:
                await self._ask_person(result.plan.question, options=_suggested(result.plan.options))
        raise non_retryable("NoPlan", "too many questions without a plan")

    async def _recall(self) -> None:
        """Ask once for each message what is remembered of the person."""
        if self._facts is not None or not workflow.patched(PATCH):
            return
        self._facts = []
        asker = self._asker()
        if not asker.may_read:
            return
        found = await recall(self._talk.said()[-1].text, asker)
        if found is None:
            self._notice(UNREADABLE)
        else:
            self._facts = found.facts

    async def _valid_plan(self) -> PlanResult:
        """Return a valid plan; an invalid one goes back to the model at most `MAX_REPAIRS` times.

        Before it plans, the model may ask for tools that it was not shown, at most `MAX_NEEDS` times.
        """
        refused: list[RefusedPlan] = []
        needs: list[list[str]] = []
        while len(refused) <= MAX_REPAIRS:
            result = await self._ask_for_plan(refused, needs)
            if result.plan:
                if result.notice and result.notice not in self._notices:
                    self._notice(result.notice)
                return result
            if result.need:
                needs = [*needs, result.need]
                continue
            refused = [*refused, *([result.refused] if result.refused else [])]
        raise _no_plan(refused[-1])

    async def _ask_for_plan(self, refused: list[RefusedPlan], needs: list[list[str]]) -> PlanResult:
        request = PlanRequest(
            messages=self._talk.for_model(),
            timezone=self._start.timezone,
            now=self._now(),
            refused=refused,
            needed=[wanted for asked in needs for wanted in asked],
            may_need=len(needs) < MAX_NEEDS,
            **self._optional_fields(),
        )
        result: PlanResult = await self._reason("plan", request, PlanResult, again=len(refused))
        self._talk.mark_transcribed()
        self._use(result.usage)
        return result

    def _optional_fields(self) -> dict[str, Any]:
        """Return the optional fields of a planning request; unset fields cost no bytes."""
        said: dict[str, Any] = {"last_round": self._rounds_left <= 1}
        if self._facts:
            said["facts"] = [RememberedFact(kind=fact.kind, text=fact.text) for fact in self._facts]
        if self._round > 1:
            said |= {"round": self._round, "progress": self._execution.progress()}
        if self._execution.has_steps():
            said["may_be_empty"] = True
        if self._start.preview or self._start.policy:
            said["with_schemas"] = True
        if self._start.preview:
            said["worst_case"] = True
        if transcript := self._talk.transcript():
            said["transcript"] = transcript
        return said

    async def _previewed(self, plan: BoundPlan, result: PlanResult) -> BoundPlan:
        """Return the plan as the person decided on it, or unchanged if no preview is wanted."""
        if not self._start.preview or not plan.steps:
            return plan
        again = MAX_REPAIRS + (0 if result.lists_all else MAX_NEEDS)
        left = plan_preview.model_calls_left(plan, rounds=self._rounds_left - 1, repairs=again)
        worst = (result.worst_call or Usage(requests=1)).times(left)
        self._card = plan_preview.card(
            plan, self._execution.bound(), self._execution.results(), self._consent, self._words(), worst
        )
        things = await plan_preview.look_up_all(plan, number=self._round, asked_by=self._asker())
        approval_id = self._approvals.ask(
            plan_preview.question(self._round, plan, self._card, things), now=workflow.now()
        )
        view = await self._approvals.decided(approval_id)
        if view.status is not ApprovalStatus.APPROVED:
            reason = f": {view.comment}" if view.comment else ""
            return BoundPlan(reply=f"You did not want this plan{reason}. Nothing was done.")
        decided = plan_preview.edited(plan, view.args)
        self._typed += plan_preview.typed(plan, decided)
        return decided

    async def _choose(self, choice: Choice) -> Option | None:
        """Ask which of several is meant, at most `MAX_CHOICE_QUESTIONS` times; None if the person wants none of them."""
        for asked in range(MAX_CHOICE_QUESTIONS):
            numbered = [SuggestedAnswer(text=str(n), label=label) for n, label in enumerate(choice.labels(), start=1)]
            await self._ask_person(choice.question(again=asked > 0), choosing=True, options=numbered)
            answer = self._talk.said()[-1]
            if (option := choice.answered(answer.text)) is not None:
                self._note_choice(option, answer.through)
                return option
            if gives_up(answer.text):
                return None
        return None

    def _note_choice(self, option: Option, through: Credential | None) -> None:
        """What a credential that may not decide has chosen is its own, though it stands in the person's address book."""
        chosen = list(plan_preview.texts(option))
        self._typed_through = [typed for typed in self._typed_through if typed.text not in chosen]
        if through is not None and not decides(through):
            self._typed_through += [TypedValue(text=text, through=through) for text in chosen]

    def _may_answer(self, message: SendMessage) -> bool:
        """Which of several is meant is a decision. A key that may not decide makes it in the runs that it has started."""
        own = key_of(message.through) == key_of(self._start.through)
        return self._question is None or not self._choosing or own or decides(message.through)

    async def _ask_person(
        self, question: str, *, choosing: bool = False, options: Sequence[SuggestedAnswer] = ()
    ) -> None:
        self._questions += 1
        self._options = list(options)
        self._question, self._choosing = question, choosing
        self._talk.say(question, withheld=choosing, options=() if choosing else [option.text for option in options])
        self._publish()
        self._read_answer()  # a chat's next message may already be queued
        await workflow.wait_condition(lambda: self._question is None)

    def _receive(self, message: SendMessage) -> None:
        if self._talk.receive(message):
            self._read_answer()

    def _read_message(self, *, only: Callable[[SendMessage], bool] = lambda _: True) -> bool:
        """Read the next message.

        After a message from a key that may not decide, values that the person wrote earlier count as that key's.
        """
        if not self._talk.read(only=only, offered=self._offered):
            return False
        self._options = []
        through = self._talk.said()[-1].through
        if through is not None and not decides(through):
            self._typed_through += [TypedValue(text=text, through=through) for text in self._typed]
            self._typed = []
        return True

    def _offered(self, text: str) -> bool:
        """Whether a text was offered, now or with an earlier message: a click may come twice, or from an old page."""
        if text in {option.text for option in self._options}:
            return True
        return was_offered(text, self._talk.messages) and workflow.patched(_OFFERED_BEFORE)

    def _read_answer(self) -> None:
        if self._question is not None and self._read_message(only=self._may_answer):
            self._question = None
            self._publish()

    async def _execute(self, plan: BoundPlan) -> None:
        self._phase = AssistantStatus.RUNNING
        try:
            await self._execution.run(plan)
        finally:
            self._effects = [*self._effects, *self._execution.take_effects()][-MAX_EFFECTS:]

    async def _answer(self, plan: BoundPlan) -> None:
        """Write the final answer. If the model fails, code writes a plain one, since the steps are done."""
        schema = self._talk.answer_schema
        if schema is not None and await self._answer_in(schema, plan.reply):
            return
        if not self._execution.reports():
            self._options = _suggested(plan.options)
            self._say(plan.reply or "", options=[option.text for option in self._options])
            return
        try:
            result: TextResult = await self._reason("reply", self._reply_request(), TextResult)
        except (ActivityError, BudgetStopped) as error:
            reason = "its budget is used up" if isinstance(error, BudgetStopped) else explain(error, who="it").message
            self._notice(f"the language model wrote no answer: {reason}")
            self._say(_plain_answer(self._execution), withheld=self._execution.read_strangers())
        else:
            self._use(result.usage)
            self._say(result.text, withheld=self._execution.read_strangers())

    async def _answer_in(self, schema: dict[str, JsonValue], draft: str | None) -> bool:
        """Write the final answer in the requested JSON schema; False if only an answer in words is possible."""
        request = self._reply_request(answer_schema=schema, draft=draft)
        try:
            result: TextResult = await self._reason("reply", request, TextResult)
        except (ActivityError, BudgetStopped) as error:
            reason = "its budget is used up" if isinstance(error, BudgetStopped) else explain(error, who="it").message
            self._notice(f"the language model did not answer in the form that was asked for: {reason}")
            return False
        self._use(result.usage)
        self._say(result.text, withheld=self._execution.read_strangers())
        return True

    def _reply_request(self, **form: Any) -> ReplyRequest:
        return ReplyRequest(
            messages=self._talk.for_model(),
            timezone=self._start.timezone,
            now=self._now(),
            steps=self._execution.reports(),
            **self._of_a_chat(),
            **form,
        )

    def _of_a_chat(self) -> dict[str, Any]:
        transcript = self._talk.transcript()
        return {"transcript": transcript} if transcript else {}

    async def _reason(self, tool: str, request: Any, result_type: type, *, again: int = 0) -> Any:
        await self._budget_guard.reserve(requests=1, tokens=0, cost=0)
        name = f"{Reasoning.name}.{tool}"
        try:
            result = await run_activity(
                name,
                request,
                task_queue=Reasoning.task_queue(),
                options=Reasoning.options(tool),
                summary=f"{name}, repair {again}" if again else None,
                on_waiting=self._reasoning_is_away,
                result_type=result_type,
                asked_by=self._asker() if tool == "plan" else None,  # whose accounts a plan may name
            )
        except ActivityError as error:
            if (used := used_by(error)) is not None:
                self._use(used)
            stop_if_cancelled()
            raise
        finally:
            self._reasoning_waits = None
        stop_if_cancelled()
        return result

    def _reasoning_is_away(self, waiting: Waiting) -> None:
        self._reasoning_waits, self._reasoning_problem = workflow.now(), waiting.reason
        self._publish()

    def _use(self, usage: Usage, counted: int = 1) -> None:
        for told in usage.instead:
            if told not in self._usage.instead:
                self._notice(told)
        self._usage += usage
        self._budget_guard.used(usage, counted=counted)

    def _say(self, text: str, *, withheld: bool = False, options: Sequence[str] = ()) -> None:
        self._reply = text
        # a task makes no plan after its answer, so nothing needs to be withheld there
        self._talk.say(text, withheld=withheld and self._start.mode is Mode.CHAT, options=options)

    def _now(self) -> datetime:
        return local(on_the_calendar(workflow.now()), self._start.timezone)

    def _status(self) -> AssistantStatus:
        if self._phase in ENDED:
            return self._phase
        if self._approvals.pending():
            return AssistantStatus.AWAITING_APPROVAL
        if self._question is not None or self._between_turns:
            return AssistantStatus.AWAITING_INPUT
        if any(self._execution.account_waits()):
            return AssistantStatus.AWAITING_ACCOUNT
        if self._reasoning_waits or self._execution.any_waits():
            return AssistantStatus.AWAITING_WORKER
        return self._phase

    def _publish(self) -> None:
        """Publish the status to lists and the Web UI.

        Each change of search attributes costs an event and a write on the server, so planning is published as `running`.
        """
        status = self._status()
        if status is not self._since[0]:
            self._since = (status, workflow.now())
        self._budget_guard.works(self._is_working(status))
        told = self._listed_status(status)
        published = (told, len(self._approvals.pending()), self._approvals.others())
        if published != self._published:
            changes: list[Any] = [STATUS.value_set(published[0])]
            if published[1] != self._published[1]:
                changes.append(PENDING_APPROVALS.value_set(published[1]))
            if published[2] != self._published[2]:
                changes.append(APPROVERS.value_set(published[2]))
            workflow.upsert_search_attributes(changes)
            self._published = published
        if self._notifier:
            self._notifier.look(self._approvals.views(), self._question_id())
        self._describe_soon()

    def _listed_status(self, status: AssistantStatus) -> str:
        """Return the status for lists; for a completed run that did less than was asked, its outcome."""
        outcome = self._outcome()
        if outcome in (RunOutcome.ANSWERED, RunOutcome.NOTHING_CHANGED):
            return str(outcome)
        return str(AssistantStatus.RUNNING if status is AssistantStatus.PLANNING else status)

    def _outcome(self) -> RunOutcome | None:
        if self._phase is not AssistantStatus.COMPLETED:
            return None
        return outcome_of_run(self._execution.views(), self._approvals.views())

    def _is_working(self, status: AssistantStatus) -> bool:
        only_people = status in _WAITS_FOR_PEOPLE
        return not only_people or self._execution.works()

    def _describe_soon(self) -> None:
        """Render the details once for all simultaneous changes: a plan of 100 steps changes 100 steps at once."""
        if not self._details_are_due:
            self._details_are_due = True
            asyncio.get_running_loop().call_soon(self._describe)

    def _describe(self) -> None:
        self._details_are_due = False
        workflow.set_current_details(current_details(self._view()))

    async def _cancelled(self) -> None:
        """End as cancelled by the person. With `undo`, effects are undone first."""
        self._stopping = True
        self._approvals.close()
        if await self._undo_is_wanted():
            self._compensation = self._compensate()
            await self._compensation.run()
        await self._settle()
        self._end(AssistantStatus.CANCELLED)
        await self._notify_end()

    async def _undo_is_wanted(self) -> bool:
        """Whether the person who cancelled the run also wants an undo. In a run that began proved, that needs a proof too."""
        reason = workflow.cancellation_reason()
        if reason_without_proof(reason) != UNDO:
            return False
        if not began_proved() or await proved_cancellation(reason or ""):
            return True
        self._notice(
            "this assistant was cancelled at Temporal with an undo; the undo was refused, since it did not come through the API"
        )
        return False

    def _compensate(self) -> Compensation:
        policy = self._start.policy or DEFAULT_POLICY
        return Compensation(
            self._effects,
            policy,
            caller=self._start.owner,
            on_undone=self._execution.mark_undone,
            on_change=self._publish,
        )

    def _stopped_by_budget(self) -> StepError:
        if self._reply is None and self._execution.has_steps():
            self._say(_plain_answer(self._execution))
        return StepError(type="BudgetExhausted", message="the budget was used up and you chose to stop")

    async def _settle(self) -> None:
        """Wait until grants and the day's budget are recorded."""
        await self._consent.settle()
        await self._budget_guard.settle()
        if self._notifier:
            await self._notifier.settle()

    async def _notify_end(self) -> None:
        """Send the notifications about the end. A cancel that arrives now is too late."""
        if self._notifier:
            self._notifier.end(self._phase)
            with contextlib.suppress(asyncio.CancelledError):
                await self._notifier.settle()

    def _end(self, status: AssistantStatus) -> dict[str, Any]:
        self._phase = status
        if self._question is not None:
            self._question, self._options = None, []
        self._approvals.close()
        metrics.run_ended(str(status))
        self._publish()
        self._describe()
        return to_result(self._view())

    def _failed(self, error: StepError) -> ApplicationError:
        """Return the error that fails the run in Temporal and carries the final view."""
        self._error = error
        view = self._end(AssistantStatus.FAILED)
        return ApplicationError(error.message, view, type=error.type, non_retryable=True)

    def _view(self) -> AssistantView:
        steps = self._execution.views()
        return AssistantView(
            id=workflow.info().workflow_id,
            status=self._status(),
            message=self._start.message,
            messages=self._talk.messages[-MAX_SHOWN:],
            earlier_messages=max(0, len(self._talk.messages) - MAX_SHOWN),
            plan=PlanView(steps=steps, card=self._card) if steps or self._card else None,
            approvals=self._approvals.in_order([step.id for step in steps]),
            question=self._question,
            question_id=self._question_id(),
            options=self._options,
            reply=self._reply,
            error=self._error,
            notices=[*self._notices, *self._refused_signals.notices()],
            usage=self._usage,
            mode=self._start.mode,
            waiting_for=[*self._execution.waits(), *self._waits_for_reasoning()],
            accounts_to_connect=list(self._execution.account_waits()),
            budget=self._budget_guard.view(),
            undo=self._compensation.steps(),
            schedule_id=self._start.schedule_id,
            trigger_id=self._start.trigger_id,
            forked_from=self._start.fork.assistant_id if self._start.fork else None,
            turns=self._turns,
            effects=self._effects if self._start.mode is Mode.CHAT else [],
            owner=self._start.owner,
            outcome=self._outcome(),
            status_since=self._since[1],
            facts=self._facts or [],
        )

    def _waits_for_reasoning(self) -> list[WorkerWait]:
        if self._reasoning_waits is None:
            return []
        until = self._reasoning_waits + timedelta(seconds=Reasoning.options("plan").patience)
        return [
            WorkerWait(
                capability=Reasoning.name,
                since=self._reasoning_waits,
                times_out_at=until,
                reason=self._reasoning_problem,
            )
        ]

    @workflow.query
    def view(self) -> dict[str, Any]:
        """Return the whole assistant as people see it."""
        return self._view().model_dump(mode="json")

    @workflow.query
    def said(self, part: SaidBefore) -> MessagePage:
        """Return a page of the conversation, for one longer than a view shows."""
        end = min(part.before, len(self._talk.messages))
        first = max(0, end - part.limit)
        return MessagePage(first=first, messages=self._talk.messages[first:end])

    @workflow.query
    def fork_point(self) -> StartAssistant:
        """Return what a fork needs: the conversation and all finished steps."""
        fork = Fork(
            assistant_id=workflow.info().workflow_id,
            from_step="",
            messages=self._talk.messages,
            kept=self._execution.kept(),
            again=BoundPlan(steps=self._execution.planned()),
            round=self._round,
            typed=self._typed,
            typed_through=self._typed_through,
            ran={step.id: step.args for step in self._execution.views()},
        )
        of_this_run = {"continued": None, "schedule_id": None, "schedule_terms": None, "notice": ""}
        if self._start.trigger_id is not None:
            of_this_run |= {"trigger_id": None, "first": None}
        return self._start.model_copy(update={"fork": fork, **of_this_run})

    @workflow.query
    def undo_point(self) -> StartUndo:
        """Return the effects that were not undone, in the order in which they happened."""
        taken_back = {step.step_id for step in self._compensation.steps() if step.status == "undone"}
        effects = [*self._effects, *self._execution.effects()]
        return StartUndo(
            assistant_id=workflow.info().workflow_id,
            effects=[effect for effect in effects if effect.step_id not in taken_back],
            policy=self._start.policy,
        )

    @workflow.update
    def decide(self, decide: Decide) -> dict[str, Any]:
        """Decide a pending approval. Returns the approval; the step says whether its effect is done."""
        return self._record(decide)

    @decide.validator
    def _check_decision(self, decide: Decide) -> None:
        self._refuse_if_ended()
        self._approvals.check(decide, now=workflow.now())

    @workflow.update
    def send_message(self, message: SendMessage) -> None:
        """Take the next message of a chat, or the answer to the assistant's question."""
        self._receive(message)

    @send_message.validator
    def _check_message(self, message: SendMessage) -> None:
        self._refuse_if_ended()
        try:
            if self._talk.received(message):
                return
        except ValueError as error:
            raise non_retryable("InvalidArguments", str(error)) from None
        if self._start.only_deciders and not decides(message.through):
            raise non_retryable(
                "NotAllowed",
                "this assistant has its own policy or budget, so only a key that may decide may send it messages",
            )
        if not self._may_answer(message):
            raise non_retryable(
                "NotAllowed", "which of them is meant decides what is done, so only a key that may decide can answer"
            )
        if self._question is None and self._start.mode is not Mode.CHAT:
            raise non_retryable("NotWaiting", "the assistant has not asked anything")
        if message.question_id is not None and message.question_id != self._question_id():
            raise non_retryable("NotWaiting", f"question {message.question_id} is not open any more")
        if not message.text.strip():
            raise non_retryable("InvalidArguments", "the answer is empty")
        if self._talk.waiting() >= MAX_WAITING:
            raise non_retryable("Busy", f"{MAX_WAITING} messages are already waiting to be read; send it later")

    def _question_id(self) -> str | None:
        return f"q{self._questions}" if self._question is not None else None

    @workflow.update
    def choose(self, choice: ChooseForStep) -> None:
        """Record what to do about a step that no worker takes, or whose account is disconnected: wait, skip or fail."""
        self._notices = [
            *self._notices[-MAX_NOTICES + 1 :],
            f"{choice.by} chose to {choice.choice} on {choice.step_id}",
        ]
        self._execution.choose(choice.step_id, choice.choice)

    @choose.validator
    def _check_choice(self, choice: ChooseForStep) -> None:
        self._refuse_if_ended()
        if not self._execution.awaits_worker(choice.step_id):
            raise non_retryable("NotWaiting", f"step {choice.step_id} does not wait for a worker or an account")

    @workflow.signal
    def account_connected(self) -> None:
        """An account elsewhere was connected: steps that wait for one try again.

        It needs no proof, since it decides nothing: a step without its account goes on waiting.
        """
        self._execution.account_connected()

    @workflow.signal
    def approve(self, signal: DecisionSignal) -> None:
        """Approve by a plain Temporal signal; the same checks as `decide`."""
        self._decide_by_signal(signal, DecisionKind.APPROVE)

    @workflow.signal
    def reject(self, signal: DecisionSignal) -> None:
        """Reject by a plain Temporal signal; the same checks as `decide`."""
        self._decide_by_signal(signal, DecisionKind.REJECT)

    @workflow.signal
    def message(self, message: SendMessage) -> None:
        """Take a message by a plain Temporal signal, if the run accepts those."""
        if began_proved():
            self._refuse_signal("a message")
            return
        try:
            self._check_message(message)
        except ApplicationError as error:
            self._notice(f"a message was refused: {error.message}")
        else:
            self._receive(message)

    def _decide_by_signal(self, signal: DecisionSignal, kind: DecisionKind) -> None:
        """Decide by a signal. A signal has no response, so a refused one leaves a notice in the view.

        Anyone with access to Temporal can send a signal under any name. So it never counts as a named person's decision,
        and a run that began with a proof refuses it.
        """
        if began_proved():
            self._refuse_signal(f"{kind} of {quoted(signal.approval_id)} in the name of {quoted(signal.by)}")
            return
        try:
            known_hash = signal.args_hash or self._approvals.get(signal.approval_id).args_hash
            decide = Decide(
                approval_id=signal.approval_id,
                decision=kind,
                args_hash=known_hash,
                comment=signal.comment,
                by=SIGNAL,
            )
            self._check_decision(decide)
        except ValidationError:
            self._notice(f"signal {kind} was refused: a value is too long or of the wrong kind")
        except ApplicationError as error:
            self._notice(f"signal {kind} was refused: {error.message}")
        else:
            self._record(decide)

    def _refuse_signal(self, what: str) -> None:
        """Count a refused signal separately, so that many of them cannot displace other notices."""
        self._refused_signals = self._refused_signals.with_signal(what, at=workflow.now())
        self._describe_soon()

    def _record(self, decide: Decide) -> dict[str, Any]:
        view = self._approvals.record(decide, now=workflow.now())
        return view.model_dump(mode="json")

    def _notice(self, text: str) -> None:
        self._notices = [*self._notices[-MAX_NOTICES + 1 :], text]
        workflow.logger.warning("notice: %s", text)
        self._publish()

    def _refuse_if_ended(self) -> None:
        if self._phase in ENDED or self._stopping:
            raise non_retryable("Ended", f"the assistant has ended ({'cancelled' if self._stopping else self._phase})")


def _first_messages(start: StartAssistant) -> list[Message]:
    asked = said_by_person(SendMessage(text=start.message, through=start.through))
    if start.fork is None:
        return [asked]
    if start.fork.again is not None:
        return list(start.fork.messages)
    if was_offered(asked.text, start.fork.messages):
        asked = asked.model_copy(update={"offered": True})
    return [*start.fork.messages, asked]


def _no_plan(refused: RefusedPlan) -> ApplicationError:
    problems = "; ".join(refused.problems[:3])
    return non_retryable("NoPlan", f"the language model made no valid plan: {problems}")


def _plain_answer(execution: Execution) -> str:
    """Return the outcome in plain words, for when the model cannot write it."""
    lines = [
        f"- {report.tool}: {report.status}{f' ({report.error})' if report.error else ''}"
        for report in execution.reports()
    ]
    return "\n".join(["The language model could not write an answer. This is what was done:", *lines])


def _suggested(options: Sequence[str]) -> list[SuggestedAnswer]:
    """Return what a planner offers, each on one line without invisible characters."""
    shown = dict.fromkeys(one_line(option, LONGEST_OPTION) for option in options)
    return [SuggestedAnswer(text=text) for text in shown if text]
