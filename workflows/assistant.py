"""One conversation or task: understand, plan, run, answer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

from activities.reasoning.contract import (
    Message,
    PlanRequest,
    PlanResult,
    Reasoning,
    RefusedPlan,
    ReplyRequest,
    Role,
    TextResult,
    Usage,
)
from retinue.plan import BoundPlan, json_size
from retinue.times import local
from workflows.approvals import Approvals
from workflows.dispatch import run_activity
from workflows.execution import Execution
from workflows.failures import explain
from workflows.messages import (
    ENDED,
    AssistantStatus,
    AssistantView,
    Decide,
    DecisionKind,
    DecisionSignal,
    PlanView,
    SendMessage,
    StartAssistant,
    StepError,
    StepStatus,
    plain_conversation,
)
from workflows.presentation import current_details

MAX_REPAIRS = 2
"""How often a plan that fails validation goes back to the model."""
MAX_QUESTIONS = 5
MAX_NOTICES = 20
MAX_RECORDED_BYTES = 128 * 1024
_IN_HISTORY = {"plan": {"steps": {"__all__": {"result", "started_at"}}}}
"""What the result need not repeat, since whoever reads it reads it from the history that holds these."""
STATUS = SearchAttributeKey.for_keyword("RetinueStatus")
PENDING_APPROVALS = SearchAttributeKey.for_int("RetinuePendingApprovals")


@workflow.defn(name="AssistantWorkflow")
class AssistantWorkflow:
    """A request in plain language, carried through to its answer."""

    @workflow.init
    def __init__(self, start: StartAssistant) -> None:
        self._start = start
        self._messages = [Message(role=Role.USER, text=start.message)]
        self._approvals = Approvals()
        self._execution: Execution | None = None
        self._phase = AssistantStatus.PLANNING
        self._published: tuple[AssistantStatus, int] = (AssistantStatus.RUNNING, 0)
        self._waits_for_reasoning = False
        self._question: str | None = None
        self._reply: str | None = None
        self._error: StepError | None = None
        self._notices: list[str] = []
        self._usage = Usage()

    @workflow.run
    async def run(self, start: StartAssistant) -> dict[str, Any]:
        """Carry the request through. Returns the final view."""
        try:
            plan = await self._plan()
            await self._execute(plan)
            await self._answer(plan)
        except (ActivityError, ApplicationError) as error:
            raise self._failed(explain(error, who="the language model")) from None
        except asyncio.CancelledError:
            self._end(AssistantStatus.CANCELLED)
            raise
        if self._execution and (self._execution.has(StepStatus.FAILED) or self._execution.has(StepStatus.UNKNOWN)):
            raise self._failed(StepError(type="StepsFailed", message="not every step could be done"))
        return self._end(AssistantStatus.COMPLETED)

    async def _plan(self) -> BoundPlan:
        """Plan, asking the person as often as the plan has a question (bounded)."""
        for asked in range(MAX_QUESTIONS + 1):
            plan = await self._valid_plan()
            if not plan.question:
                return plan
            if asked < MAX_QUESTIONS:
                await self._ask_person(plan.question)
        raise ApplicationError("too many questions without a plan", type="NoPlan", non_retryable=True)

    async def _valid_plan(self) -> BoundPlan:
        """One planning round: a plan that fails validation goes back to the model, at most `MAX_REPAIRS` times."""
        refused: list[RefusedPlan] = []
        while len(refused) <= MAX_REPAIRS:
            result = await self._ask_for_plan(refused)
            if result.plan:
                return result.plan
            refused = [*refused, *([result.refused] if result.refused else [])]
        raise _no_plan(refused[-1])

    async def _ask_for_plan(self, refused: list[RefusedPlan]) -> PlanResult:
        request = PlanRequest(messages=self._messages, timezone=self._start.timezone, now=self._now(), refused=refused)
        result: PlanResult = await self._reason("plan", request, PlanResult, again=len(refused))
        self._usage += result.usage
        return result

    async def _ask_person(self, question: str) -> None:
        self._question = question
        self._messages = [*self._messages, Message(role=Role.ASSISTANT, text=question)]
        self._publish()
        await workflow.wait_condition(lambda: self._question is None)

    async def _execute(self, plan: BoundPlan) -> None:
        if not plan.steps:
            return
        self._phase = AssistantStatus.RUNNING
        said = [message.text for message in self._messages if message.role is Role.USER]
        self._execution = Execution(plan, approvals=self._approvals, said=said, on_change=self._publish)
        await self._execution.run()

    async def _answer(self, plan: BoundPlan) -> None:
        """Write the final answer. What was done stays done when the model fails here: then code writes a plain one."""
        if not self._execution:
            self._say(plan.reply or "")
            return
        request = ReplyRequest(
            messages=self._messages,
            timezone=self._start.timezone,
            now=self._now(),
            steps=self._execution.reports(),
        )
        try:
            result: TextResult = await self._reason("reply", request, TextResult)
        except ActivityError as error:
            self._notices.append(explain(error, who="the language model").message)
            self._say(_plain_answer(self._execution))
        else:
            self._usage += result.usage
            self._say(result.text)

    async def _reason(self, tool: str, request: Any, result_type: type, *, again: int = 0) -> Any:
        name = f"{Reasoning.name}.{tool}"
        try:
            return await run_activity(
                name,
                request,
                task_queue=Reasoning.task_queue(),
                options=Reasoning.options(tool),
                summary=f"{name}, repair {again}" if again else None,
                on_waiting=self._reasoning_is_away,
                result_type=result_type,
            )
        finally:
            self._waits_for_reasoning = False

    def _reasoning_is_away(self) -> None:
        self._waits_for_reasoning = True
        self._publish()

    def _say(self, text: str) -> None:
        self._reply = text
        self._messages = [*self._messages, Message(role=Role.ASSISTANT, text=text)]

    def _now(self) -> datetime:
        return local(workflow.now(), self._start.timezone)

    def _status(self) -> AssistantStatus:
        if self._phase in ENDED:
            return self._phase
        if self._approvals.pending():
            return AssistantStatus.AWAITING_APPROVAL
        if self._question is not None:
            return AssistantStatus.AWAITING_INPUT
        if self._waits_for_reasoning or (self._execution and self._execution.has(StepStatus.AWAITING_WORKER)):
            return AssistantStatus.AWAITING_WORKER
        return self._phase

    def _publish(self) -> None:
        """Let lists and the Web UI see where the run stands.

        Each change of search attributes is an event and a write of the server's, so they say `running` for planning too.
        """
        status = self._status()
        told = AssistantStatus.RUNNING if status is AssistantStatus.PLANNING else status
        published = (told, len(self._approvals.pending()))
        if published != self._published:
            changes: list[Any] = [STATUS.value_set(published[0])]
            if published[1] != self._published[1]:
                changes.append(PENDING_APPROVALS.value_set(published[1]))
            workflow.upsert_search_attributes(changes)
            self._published = published
        workflow.set_current_details(current_details(self._view()))

    def _end(self, status: AssistantStatus) -> dict[str, Any]:
        self._phase = status
        self._question = None
        self._approvals.close()
        self._publish()
        return self._recorded_view()

    def _recorded_view(self) -> dict[str, Any]:
        """The view as the run's result, so that an ended run is read without a worker. A huge one is only queried."""
        content = self._view().model_dump(mode="json", exclude_defaults=True, exclude=_IN_HISTORY)
        if content["messages"] == plain_conversation(content["message"], content.get("reply")):
            del content["messages"]
        if json_size(content) <= MAX_RECORDED_BYTES:
            return content
        return {"id": content["id"], "status": content["status"], "too_large": True}

    def _failed(self, error: StepError) -> ApplicationError:
        """End as failed; the error makes it so in Temporal's eyes too and carries the view."""
        self._error = error
        view = self._end(AssistantStatus.FAILED)
        return ApplicationError(error.message, view, type=error.type, non_retryable=True)

    def _view(self) -> AssistantView:
        return AssistantView(
            id=workflow.info().workflow_id,
            status=self._status(),
            message=self._start.message,
            messages=self._messages,
            plan=PlanView(steps=self._execution.views()) if self._execution else None,
            approvals=self._approvals.views(),
            question=self._question,
            reply=self._reply,
            error=self._error,
            notices=self._notices,
            usage=self._usage + self._execution.usage() if self._execution else self._usage,
        )

    @workflow.query
    def view(self) -> dict[str, Any]:
        """The whole assistant as people see it."""
        return self._view().model_dump(mode="json")

    @workflow.update
    def decide(self, decide: Decide) -> dict[str, Any]:
        """Decide a pending approval. Returns the approval; whether its effect is done stands in the step."""
        return self._record(decide)

    @decide.validator
    def _check_decision(self, decide: Decide) -> None:
        self._refuse_if_ended()
        self._approvals.check(decide)

    @workflow.update
    def send_message(self, message: SendMessage) -> None:
        """Answer the question that the assistant asked."""
        self._receive(message.text)

    @send_message.validator
    def _check_message(self, message: SendMessage) -> None:
        self._refuse_if_ended()
        if self._question is None:
            raise ApplicationError("the assistant has not asked anything", type="NotWaiting", non_retryable=True)
        if not message.text.strip():
            raise ApplicationError("the answer is empty", type="InvalidArguments", non_retryable=True)

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
        """Answer the assistant's question by a plain Temporal signal."""
        try:
            self._check_message(message)
        except ApplicationError as error:
            self._notice(f"a message was refused: {error.message}")
        else:
            self._receive(message.text)

    def _decide_by_signal(self, signal: DecisionSignal, kind: DecisionKind) -> None:
        """A signal cannot be answered, so a refused one leaves a notice in the view."""
        try:
            known_hash = signal.args_hash or self._approvals.get(signal.approval_id).args_hash
            decide = Decide(
                approval_id=signal.approval_id,
                decision=kind,
                args_hash=known_hash,
                comment=signal.comment,
                by=signal.by,
            )
            self._check_decision(decide)
        except ValidationError:
            self._notice(f"signal {kind} was refused: a value is too long or of the wrong kind")
        except ApplicationError as error:
            self._notice(f"signal {kind} was refused: {error.message}")
        else:
            self._record(decide)

    def _record(self, decide: Decide) -> dict[str, Any]:
        view = self._approvals.record(decide, now=workflow.now())
        self._publish()
        return view.model_dump(mode="json")

    def _receive(self, text: str) -> None:
        self._messages = [*self._messages, Message(role=Role.USER, text=text)]
        self._question = None
        self._publish()

    def _notice(self, text: str) -> None:
        self._notices = [*self._notices[-MAX_NOTICES + 1 :], text]
        workflow.logger.warning("refused: %s", text)
        self._publish()

    def _refuse_if_ended(self) -> None:
        if self._phase in ENDED:
            raise ApplicationError(f"the assistant has ended ({self._phase})", type="Ended", non_retryable=True)


def _no_plan(refused: RefusedPlan) -> ApplicationError:
    problems = "; ".join(refused.problems[:3])
    return ApplicationError(
        f"the language model gave no plan that can be run: {problems}", type="NoPlan", non_retryable=True
    )


def _plain_answer(execution: Execution) -> str:
    """The outcome in plain words, for when the model cannot write it."""
    lines = [
        f"- {report.tool}: {report.status}{f' ({report.error})' if report.error else ''}"
        for report in execution.reports()
    ]
    return "\n".join(["The language model could not write an answer. This is what was done:", *lines])
