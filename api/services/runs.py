"""The service of runs: start, send, decide, cancel, fork and undo through the Temporal client."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.http.metrics import ASSISTANTS_STARTED, DECISIONS
from api.services.clocks import check_clocks
from api.services.forks import forked
from api.services.pending_decisions import Decision, update_name
from api.services.run_access import RPC, TYPE, Access
from api.services.run_list import RunList
from api.services.run_views import MESSAGE_MEMO
from api.services.schemas import BatchDecision, DecisionBody, ForkBody, StartBody
from api.services.view_cache import KnownViews
from api.storage.idempotency import Claim, IdempotencyKeys
from retinue.capability import WORKFLOW_QUEUE
from retinue.conversation import Message, Role
from retinue.errors import Conflict, InvalidArguments, NotAllowed, NotFound, RetinueError, ServiceUnavailable
from retinue.provenance.credential import Credential, decides
from retinue.temporal.fairness import fair_share
from retinue.temporal.proofs import check_clock, clock, proves
from retinue.temporal.search_keys import OWNER, PENDING_APPROVALS, STATUS, TENANT
from workflows.code_plans import PLANS
from workflows.messages import (
    AssistantStatus,
    AssistantView,
    ChooseForStep,
    Decide,
    Mode,
    ScheduleTerms,
    SendMessage,
    StartAssistant,
    StartUndo,
    WorkerChoice,
)
from workflows.rules.budget import Limits
from workflows.rules.policy import DEFAULT_POLICY, Policy
from workflows.rules.strictness import is_at_least_as_strict, within
from workflows.run.web_ui import static_details, static_summary
from workflows.undo import UNDO, UNDO_TYPE, undo_id

_UPDATE = timedelta(seconds=10)
_KEY_IS_FRESH = timedelta(hours=20)
_REFUSALS: dict[str, type[RetinueError]] = {
    "ApprovalUnknown": NotFound,
    "ApprovalDecided": Conflict,
    "ApprovalExpired": Conflict,
    "Busy": Conflict,
    "NotAllowed": NotAllowed,
    "Denied": NotAllowed,
    "ApprovalStale": Conflict,
    "Ended": Conflict,
    "NotWaiting": Conflict,
    "InvalidArguments": InvalidArguments,
}
_UNDO_CONSENTS = "undo approves the actions that undo effects"


class _NobodyAnswered(ServiceUnavailable):
    """No workflow worker accepted an update in time."""


class Runs(RunList):
    """The assistants of one caller. Another person's run looks like one that does not exist.

    Args:
        client: The Temporal client.
        owner: The caller, as `Person.owner` names them.
        policies: The policies by name.
        keys: The table of idempotency keys.
        known: Cached views.
        turns_per_run: Turns after which a chat continues as a new run.
        audits: The caller reads, and only reads, all runs of their organisation.
        notifies: New runs send messages to webhooks.
        credential: The caller's credential. Runs store it with each message.
        day_timezone: The time zone of daily budgets.
    """

    def __init__(
        self,
        client: Client,
        *,
        owner: str,
        policies: Mapping[str, Policy],
        keys: IdempotencyKeys,
        known: KnownViews,
        turns_per_run: int = 100,
        audits: bool = False,
        notifies: bool = False,
        credential: Credential | None = None,
        day_timezone: str = "UTC",
    ) -> None:
        super().__init__(client, owner=owner, keys=keys, known=known, audits=audits)
        self._notifies = notifies
        self._policies = policies
        self._turns_per_run = turns_per_run
        self._nobody_answers = False
        """Within this request: store further decisions at once instead of waiting for a worker each time."""
        self._credential = credential
        self._day_timezone = day_timezone

    def input_for(
        self, body: StartBody, *, timezone: str, schedule_id: str | None = None, trigger_id: str | None = None
    ) -> StartAssistant:
        """Return the workflow's input for a request, without defaults, since each history stores it.

        Raises:
            InvalidArguments: There is no policy of that name.
            NotAllowed: The policy or budget may allow more than the caller's own, and the caller may not decide.
        """
        name = body.policy or DEFAULT_POLICY.name
        if name not in self._policies:
            known = ", ".join(sorted(self._policies))
            raise InvalidArguments(f"there is no policy {name!r}", hint=f"there are {known}; see RETINUE_POLICY")
        policy, budget = self._policies[name], body.budget
        if budget is not None and not decides(self._credential):
            budget = _completed(budget, policy.run_budget)
        is_strict = self._is_strict(policy, budget)
        if not is_strict:
            what = f"the policy {name!r}" if body.policy else "this budget"
            self.check_decides(f"{what} may allow more without an approval than your own policy")
        special = {
            "mode": body.mode if body.mode is not Mode.TASK else None,
            "preview": body.preview or None,
            "policy": policy if policy != DEFAULT_POLICY else None,
            "budget": budget,
            "schedule_id": schedule_id,
            "trigger_id": trigger_id,
            "schedule_terms": self._terms(body) if schedule_id or trigger_id else None,
            "turns_per_run": self._turns_per_run if body.mode is Mode.CHAT else None,
            "notify": self._notifies or None,
            "day_timezone": self._day_timezone if self._day_timezone != "UTC" else None,
            "through": self._credential,
            "only_deciders": None if is_strict else True,
        }
        return StartAssistant(
            message=body.message,
            timezone=timezone,
            owner=self._owner,
            **{key: value for key, value in special.items() if value is not None},
        )

    def _terms(self, body: StartBody) -> ScheduleTerms:
        chosen = {"policy": body.policy, "budget": body.budget, "through": self._credential}
        return ScheduleTerms(**{name: value for name, value in chosen.items() if value is not None})

    def _is_strict(self, policy: Policy, budget: Limits | None) -> bool:
        """Return whether these are at least as strict as the caller's own policy of today."""
        own = self._policies[DEFAULT_POLICY.name]
        return is_at_least_as_strict(policy, own) and (
            budget is None or own.run_budget is None or within(budget, own.run_budget)
        )

    def _check_adds(self, old: StartAssistant) -> None:
        """Check that a caller who may not decide does not use a run whose policy allows more than their own.

        The policy file may have become stricter since the run started, so its policy is compared again.

        Raises:
            NotAllowed: It allows more, and the caller may not decide.
        """
        if old.only_deciders or not self._is_strict(old.policy or DEFAULT_POLICY, old.budget):
            self.check_decides("that assistant has a policy or budget that allows more than your own policy")

    def check_decides(self, why: str) -> None:
        """Check that the caller may decide.

        Args:
            why: The first part of the error's sentence.

        Raises:
            NotAllowed: The caller may not decide.
        """
        if not decides(self._credential):
            raise NotAllowed(f"{why}, and this key may not decide", hint="use a key that has the permission 'decide'")

    @property
    def may_decide(self) -> bool:
        """Return whether the caller's credential may approve actions."""
        return decides(self._credential)

    async def start(self, body: StartBody, *, timezone: str, claimed: Claim | None = None) -> AssistantView:
        """Start an assistant and return its first view. With a claimed key, always the same run.

        Raises:
            Conflict: The key's run is no longer stored.
            InvalidArguments: There is no such policy or plan.
        """
        if body.plan is not None:
            plan = PLANS[body.plan]
            args = plan.args.model_validate(body.plan_args)
            given = plan.start(args, timezone=timezone, owner=self._owner)
            return await self._start_once(plan.workflow_type, given, body.message, claimed)
        return await self._start_once(TYPE, self.input_for(body, timezone=timezone), body.message, claimed)

    async def begin(self, given: StartAssistant, *, claimed: Claim | None = None) -> AssistantView:
        """Start an assistant with an input that a protocol built from `input_for`. Errors as for `start`."""
        return await self._start_once(TYPE, self._marked(given), given.message, claimed)

    def _marked(self, given: StartAssistant) -> StartAssistant:
        """Return the input with the caller's credential on every message that their client sent as history."""
        if given.continued is None or self._credential is None:
            return given
        mark = {"through": self._credential}
        messages = [
            message if message.through or message.role is not Role.USER else message.model_copy(update=mark)
            for message in given.continued.messages
        ]
        inbox = [message.model_copy(update=mark) for message in given.continued.inbox]
        carried = given.continued.model_copy(update={"messages": messages, "inbox": inbox})
        return given.model_copy(update={"continued": carried})

    async def _start_once(self, kind: str, given: Any, message: str, claimed: Claim | None) -> AssistantView:
        if claimed and datetime.now(UTC) - claimed.used_at > _KEY_IS_FRESH:
            return await self._view_of_old_key(claimed)
        assistant_id = claimed.assistant_id if claimed else f"a-{uuid.uuid4().hex}"
        ASSISTANTS_STARTED.inc()
        try:
            await self._start(assistant_id, kind, given, message, new=not (claimed and claimed.repeated))
        except WorkflowAlreadyStartedError:
            return await self.view(assistant_id)
        if claimed and claimed.repeated:
            return await self.view(assistant_id)
        return AssistantView(
            id=assistant_id,
            status=AssistantStatus.PLANNING,
            message=message,
            messages=[Message(role=Role.USER, text=message)],
        )

    async def _start(self, assistant_id: str, kind: str, given: Any, message: str, *, new: bool) -> None:
        """Start a run. In the mode `proved`, report a `new` one as started only if its proof is valid.

        Raises:
            ClockIsWrong: The clocks of this machine and of Temporal's differ too much.
        """
        summary = static_summary(message)
        if is_proved := proves(self._client):
            await check_clocks(self._client)
        at = clock()
        handle = await self._client.start_workflow(
            kind,
            given,
            id=assistant_id,
            task_queue=WORKFLOW_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=self.search_attributes(),
            priority=fair_share(self._owner),
            memo={MESSAGE_MEMO: summary},
            static_summary=summary,
            static_details=static_details(message, owner=self._owner, timezone=given.timezone),
            rpc_timeout=RPC,
        )
        if is_proved and new:
            check_clock((await handle.describe(rpc_timeout=RPC)).start_time, at=at)

    def search_attributes(self) -> TypedSearchAttributes:
        """Return the search attributes of a new run of the caller."""
        tenant = [SearchAttributePair(TENANT, self._tenant)] if self._tenant else []
        return TypedSearchAttributes(
            [SearchAttributePair(OWNER, self._owner), SearchAttributePair(STATUS, AssistantStatus.RUNNING), *tenant]
        )

    async def fork(self, assistant_id: str, body: ForkBody, *, claimed: Claim | None) -> AssistantView:
        """Start a new run from a step of an earlier one, keeping completed results.

        Raises:
            NotFound: There is no such assistant or step.
            InvalidArguments: The new arguments are invalid.
            NotAllowed: It has its own policy or budget, and the caller may not decide.
        """
        await self._refuse_while_it_works(assistant_id)
        old: StartAssistant = await self._asked(assistant_id, "fork_point", StartAssistant)
        self._check_adds(old)
        undone = {step.step_id for step in await self._undo_steps(assistant_id) if step.status == "undone"}
        new = forked(old, body, undone=undone, through=self._credential)
        return await self._start_once(TYPE, new, new.message, claimed)

    async def _refuse_while_it_works(self, assistant_id: str) -> None:
        """Refuse to fork a running run: the fork could repeat an effect that is about to happen."""
        description = await self._describe(assistant_id)
        if description.status is WorkflowExecutionStatus.RUNNING and (
            (await self._queried(assistant_id)).status is not AssistantStatus.AWAITING_INPUT
        ):
            raise Conflict("the assistant is still running", hint="fork it when it has ended, or cancel it first")

    async def undo(self, assistant_id: str, *, seconds: float) -> AssistantView:
        """Undo the effects of an ended run, last first. A repeated call is the same undo.

        Raises:
            NotAllowed: The caller may not decide; undo approves the actions that undo effects.
            Conflict: It has not ended, or had no effects.
        """
        self.check_decides(_UNDO_CONSENTS)
        description = await self._describe(assistant_id)
        if description.status is WorkflowExecutionStatus.RUNNING:
            raise Conflict("the assistant has not ended", hint='POST .../cancel with {"undo": true} cancels and undoes')
        point: StartUndo = await self._asked(assistant_id, "undo_point", StartUndo)
        # find the undo's number first: one that ends before its steps are read has already published its result
        number = await self._undo_number(assistant_id)
        taken_back = {step.step_id for step in await self._undo_steps(assistant_id) if step.status == "undone"}
        left = [effect for effect in point.effects if effect.step_id not in taken_back]
        if not point.effects:
            raise Conflict("the assistant changed nothing, so there is nothing to undo")
        if left:
            handle = await self._start_undo(point.model_copy(update={"effects": left, "by": self._owner}), number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(handle.result(rpc_timeout=_UPDATE), seconds)
        return await self.view(assistant_id)

    async def _undo_number(self, assistant_id: str) -> int:
        """Return the number of the running undo, otherwise of the next one."""
        number = max(1, await self._keys.undoings(assistant_id))
        return number + 1 if await self._has_ended(undo_id(assistant_id, number)) else number

    async def _start_undo(self, start: StartUndo, number: int) -> WorkflowHandle[Any, Any]:
        """Start the undo with this number, or find it if it was started before."""
        await self._keys.note_undo(start.assistant_id, number)
        try:
            return await self._client.start_workflow(
                UNDO_TYPE,
                start,
                id=undo_id(start.assistant_id, number),
                task_queue=WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"undo {start.assistant_id}",
                priority=fair_share(self._owner),
                rpc_timeout=RPC,
            )
        except WorkflowAlreadyStartedError:
            return self._client.get_workflow_handle(undo_id(start.assistant_id, number))

    async def _has_ended(self, workflow_id: str) -> bool:
        try:
            description = await self._handle(workflow_id).describe(rpc_timeout=RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return description.status is not WorkflowExecutionStatus.RUNNING

    async def _view_of_old_key(self, claim: Claim) -> AssistantView:
        try:
            return await self.view(claim.assistant_id)
        except NotFound:
            raise Conflict(
                f"this {claim.named} was used on {claim.used_at:%Y-%m-%d} and its assistant is no longer stored",
                hint=f"use a new {claim.named} to ask again",
            ) from None

    async def decide(self, assistant_id: str, approval_id: str, body: DecisionBody | BatchDecision) -> bool:
        """Decide an approval; return whether it has taken effect. If not, it is stored until a workflow worker answers.

        Raises:
            NotFound: No such run or approval.
            Conflict: Already decided, stale, or the run has ended.
            InvalidArguments: The edited arguments are invalid.
            ServiceUnavailable: No workflow worker answered, and the run has no pending approval.
        """
        given = body.model_dump(exclude={"wait_seconds", "assistant_id", "approval_id"}, exclude_unset=True)
        decide = Decide(approval_id=approval_id, by=self._owner, **given, **self._mark())
        await self._check(assistant_id, to=Access.DECIDE)
        counts = await self._deliver_or_keep(assistant_id, decide)
        DECISIONS.labels(body.decision).inc()
        return counts

    async def _deliver_or_keep(self, assistant_id: str, decision: Decision) -> bool:
        """Deliver a decision, or store it if no workflow worker answers; return whether it has taken effect."""
        if await self._pending.is_pending(self._client, assistant_id, decision):
            return False
        update_id = str(uuid.uuid4())
        if not (self._nobody_answers and await self._may_wait(assistant_id, decision)):
            try:
                await self._update(assistant_id, update_name(decision), decision, update_id=update_id)
            except _NobodyAnswered:
                if not await self._may_wait(assistant_id, decision):
                    raise
                self._nobody_answers = True
            else:
                return True
        await self._pending.keep(self._client, assistant_id, decision, update_id=update_id)
        return False

    async def _may_wait(self, assistant_id: str, decision: Decision) -> bool:
        """Return whether a run is open and may need this decision, as far as the server knows."""
        description = await self._describe(assistant_id, to=Access.READ)
        asks = isinstance(decision, ChooseForStep) or bool(description.typed_search_attributes.get(PENDING_APPROVALS))
        return asks and description.status is WorkflowExecutionStatus.RUNNING

    async def after(self, assistant_id: str, *, seconds: float) -> AssistantView:
        """Return the view of a run that the caller has just changed, once it has settled or `seconds` are over."""
        if seconds:
            return await self.settled(assistant_id, seconds=seconds, mine=True)
        return await self.view(assistant_id)

    async def send_message(self, assistant_id: str, message: SendMessage) -> None:
        """Send the next message of a chat, or the answer to a question. Errors as for `decide`.

        Raises:
            NotAllowed: The run may allow more than the caller's own policy, and the caller may not decide.
        """
        description = await self._describe(assistant_id)
        if not self.may_decide and description.workflow_type == TYPE:
            self._check_adds(await self._asked(assistant_id, "fork_point", StartAssistant))
        await self._update(assistant_id, "send_message", message.model_copy(update=self._mark()))

    def _mark(self) -> dict[str, Credential]:
        return {"through": self._credential} if self._credential else {}

    async def choose(self, assistant_id: str, step_id: str, choice: WorkerChoice) -> bool:
        """Decide about a step without a worker; return whether it has taken effect. If not, it is stored.

        Raises:
            NotFound: No such run.
            Conflict: The step does not wait, another choice is stored, or the run has ended.
        """
        await self._describe(assistant_id)
        chosen = ChooseForStep(step_id=step_id, choice=choice, by=self._owner)
        return await self._deliver_or_keep(assistant_id, chosen)

    async def _update(self, assistant_id: str, name: str, argument: Any, *, update_id: str | None = None) -> None:
        try:
            await self._handle(assistant_id).execute_update(name, argument, id=update_id, rpc_timeout=_UPDATE)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error.cause) from None
        except RPCTimeoutOrCancelledError:
            raise _NobodyAnswered(
                "no workflow worker answered in time, and this was not stored",
                hint="send it again with the same Idempotency-Key, so that it counts once even if it has arrived; "
                "without such a key read the assistant first",
            ) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                await self._describe(assistant_id, to=Access.DECIDE)  # which says so where it is no longer kept
                raise Conflict("the assistant has ended; nothing was changed") from None
            raise

    async def cancel(self, assistant_id: str, *, undo: bool = False) -> None:
        """Cancel a run, with `undo` also undo its effects.

        Raises:
            Conflict: It has already ended.
            NotAllowed: `undo` is set, and the caller may not decide.
        """
        if undo:
            self.check_decides(_UNDO_CONSENTS)
        description = await self._describe(assistant_id)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            raise Conflict("the assistant has already ended; there is nothing to cancel")
        await self._handle(assistant_id).cancel(reason=UNDO if undo else "", rpc_timeout=RPC)


def _refusal(cause: BaseException) -> RetinueError:
    if isinstance(cause, ApplicationError) and cause.type in _REFUSALS:
        return _REFUSALS[cause.type](cause.message)
    return Conflict("the assistant did not accept this", hint=str(cause)[:200])


def _completed(budget: Limits, policy: Limits | None) -> Limits:
    """Return the budget within the policy's limits: limits that it does not name stay."""
    limits = policy.model_dump(exclude_none=True) if policy else {}
    return Limits.model_validate(limits | budget.model_dump(exclude_none=True))
