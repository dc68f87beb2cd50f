"""Runs behind the API: start, read, list, decide and cancel assistants through the Temporal client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.reasoning.contract import Message, Role
from api.services.clocks import check_clocks
from api.services.forks import forked
from api.services.pending_decisions import PendingDecisions, with_recorded, words
from api.services.run_views import (
    NOBODY_ANSWERS,
    closed_from_outside,
    execution_status,
    failure_of,
    recorded_view,
    retrying_notices,
    with_attempts,
    with_pending,
    with_undo,
)
from api.services.schemas import ForkBody, StartBody
from api.services.view_cache import KnownViews
from api.storage.idempotency import Claim, IdempotencyKeys
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, InvalidArguments, NotAllowed, NotFound, RetinueError, ServiceUnavailable
from retinue.provenance.credential import Credential, decides
from retinue.temporal.connection import decode_texts, of_workflow
from retinue.temporal.fairness import fair_share
from retinue.temporal.proofs import check_clock, clock, proves
from retinue.temporal.search_attributes import is_exactly
from retinue.tenancy import anybody, organisation
from workflows.code_plans import PLANS
from workflows.messages import (
    ENDED,
    ApprovalStatus,
    ApprovalView,
    AssistantStatus,
    AssistantView,
    ChooseForStep,
    Decide,
    MessagePage,
    Mode,
    RecordedState,
    RunOutcome,
    SaidBefore,
    SendMessage,
    StartAssistant,
    StartUndo,
    StepStatus,
    UndoStep,
    UndoView,
    WorkerChoice,
)
from workflows.rules.budget import Limits
from workflows.rules.policy import DEFAULT_POLICY, Policy
from workflows.rules.strictness import is_at_least_as_strict, within
from workflows.run.web_ui import static_details, static_summary
from workflows.undo import UNDO, UNDO_TYPE, undo_id

_TYPE = "AssistantWorkflow"
_TYPES = frozenset({_TYPE, *(plan.workflow_type for plan in PLANS.values())})
EDITION = 2
"""Of the rules in `workflows/assistant.py`: new runs replan and ask for grants."""
_OWNER = SearchAttributeKey.for_keyword("RetinueOwner")
_TENANT = SearchAttributeKey.for_keyword("RetinueTenant")
_STATUS = SearchAttributeKey.for_keyword("RetinueStatus")
_PENDING = SearchAttributeKey.for_int("RetinuePendingApprovals")
_APPROVERS = SearchAttributeKey.for_keyword_list("RetinueApprovers")
_RPC = timedelta(seconds=5)
_UPDATE = timedelta(seconds=10)
_KEY_IS_FRESH = timedelta(hours=20)
_SETTLED = ENDED | {AssistantStatus.AWAITING_APPROVAL, AssistantStatus.AWAITING_INPUT}
_LOOK_EVERY = 1.5
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
_MESSAGE_MEMO = "message"
_FIRST_TASK = 5
"""Events of a run that ended in its first workflow task."""
_UNDO_CONSENTS = "whoever takes back what was done consents to the actions that do it"
_SECOND = timedelta(seconds=1)
_WINDOWS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=2), timedelta(days=1), None)
"""How far back a list looks at once: little when many runs were started lately, everything when there were few."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_LISTED = {status: f"ExecutionStatus = 'Running' AND RetinueStatus = '{status}'" for status in AssistantStatus} | {
    AssistantStatus.PLANNING: "ExecutionStatus = 'Running' AND RetinueStatus = 'running'",
    AssistantStatus.COMPLETED: "ExecutionStatus = 'Completed'",
    AssistantStatus.FAILED: "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')",
    AssistantStatus.CANCELLED: "ExecutionStatus = 'Canceled'",
}
"""Search conditions. Of ended runs only Temporal knows all: one that was terminated had no time to say so itself."""


class Access(Enum):
    """What somebody wants with a run, and thereby whose it may be."""

    CHANGE = "their own"
    DECIDE = "their own, or one in which they may decide"
    READ = "the same, and for an auditor all of their organisation"


class _NobodyAnswered(ServiceUnavailable):
    """No workflow worker took an update in time."""


class _ShowsNothing(ServiceUnavailable):
    """A workflow worker answers, and the run itself cannot: it failed before it could, or its start cannot be read."""


@dataclass(frozen=True)
class Waiting:
    """A page of runs that wait for a decision."""

    views: Sequence[AssistantView]
    unreadable: Sequence[str]
    """Ids of those that cannot show what for."""
    assistants: int
    """How many wait in all, as exactly as the server compares names."""
    next_cursor: str | None


class Runs:
    """All assistants of one caller. A run of somebody else looks like one that does not exist.

    Args:
        client: Of Temporal.
        owner: The caller, as `Person.owner` names them.
        policies: By name.
        keys: The table of idempotency keys.
        known: Views that were read before, by whomever.
        turns_per_run: After so many a chat continues as a new run.
        audits: The caller reads, and only reads, all runs of their organisation.
        notifies: New runs tell people's webhooks what they want.
        credential: With which the caller came. Runs carry it with everything that the caller says.
        day_timezone: In whose days the day's budget is counted.
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
        self._client = client
        self._known = known
        self._owner = owner
        self._tenant = organisation(owner)
        self._audits = audits
        self._notifies = notifies
        self._policies = policies
        self._keys = keys
        self._turns_per_run = turns_per_run
        self._pending = PendingDecisions(keys.store)
        self._nobody_answers = False
        """Within this request: further decisions are kept at once instead of each waiting for a worker."""
        self._credential = credential
        self._day_timezone = day_timezone

    def input_for(self, body: StartBody, *, timezone: str, schedule_id: str | None = None) -> StartAssistant:
        """The workflow's input for a request. What is not special is left out, since each run's history carries it.

        Raises:
            InvalidArguments: There is no policy of that name.
            NotAllowed: The policy or the budget may let pass more than the caller's own, and they may not decide.
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
            self.check_decides(f"{what} may let more happen without a question than your own policy does")
        special = {
            "mode": body.mode if body.mode is not Mode.TASK else None,
            "preview": body.preview or None,
            "policy": policy if policy != DEFAULT_POLICY else None,
            "budget": budget,
            "schedule_id": schedule_id,
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
            edition=EDITION,
            **{key: value for key, value in special.items() if value is not None},
        )

    def _is_strict(self, policy: Policy, budget: Limits | None) -> bool:
        """Whether a run under these asks about everything that one under the caller's own policy of today asks about."""
        own = self._policies[DEFAULT_POLICY.name]
        return is_at_least_as_strict(policy, own) and (
            budget is None or own.run_budget is None or within(budget, own.run_budget)
        )

    def _check_adds(self, old: StartAssistant) -> None:
        """Refuse whoever may not decide what adds to a run, or goes on from one, that may let pass more than theirs.

        The file of policies may have become stricter since it began, so what it was started under is compared anew.

        Raises:
            NotAllowed: It may, and they may not.
        """
        if old.only_deciders or not self._is_strict(old.policy or DEFAULT_POLICY, old.budget):
            self.check_decides("that run has a policy or budget that lets more happen than your own policy does")

    def check_decides(self, why: str) -> None:
        """Refuse what lets more happen without a question, where the caller may not decide.

        Args:
            why: What it would do, as the beginning of a sentence.

        Raises:
            NotAllowed: They may not.
        """
        if not decides(self._credential):
            raise NotAllowed(f"{why}, and this key may not decide", hint="use a key that has the permission 'decide'")

    def are_of(self, owner: str) -> bool:
        """Whether the caller is that owner."""
        return owner == self._owner

    @property
    def may_decide(self) -> bool:
        """Whether the caller's credential may approve actions."""
        return decides(self._credential)

    async def start(self, body: StartBody, *, timezone: str, claimed: Claim | None = None) -> AssistantView:
        """Start an assistant and return its first view. With a claimed key, the same run whatever the timing.

        Raises:
            Conflict: The key's run is no longer kept.
            InvalidArguments: There is no such policy or plan.
        """
        if body.plan is not None:
            plan = PLANS[body.plan]
            args = plan.args.model_validate(body.plan_args)
            given = plan.start(args, timezone=timezone, owner=self._owner)
            return await self._start_once(plan.workflow_type, given, body.message, claimed)
        return await self._start_once(_TYPE, self.input_for(body, timezone=timezone), body.message, claimed)

    async def begin(self, given: StartAssistant, *, claimed: Claim | None = None) -> AssistantView:
        """Start an assistant whose input a door has made out of `input_for`. Errors as for `start`."""
        return await self._start_once(_TYPE, self._marked(given), given.message, claimed)

    def _marked(self, given: StartAssistant) -> StartAssistant:
        """With the caller's credential at everything that their client says was said before."""
        if given.continued is None or self._credential is None:
            return given
        mark = {"through": self._credential}
        messages = [
            said if said.through or said.role is not Role.USER else said.model_copy(update=mark)
            for said in given.continued.messages
        ]
        inbox = [said.model_copy(update=mark) for said in given.continued.inbox]
        carried = given.continued.model_copy(update={"messages": messages, "inbox": inbox})
        return given.model_copy(update={"continued": carried})

    async def _start_once(self, kind: str, given: Any, message: str, claimed: Claim | None) -> AssistantView:
        if claimed and datetime.now(UTC) - claimed.used_at > _KEY_IS_FRESH:
            return await self._view_of_old_key(claimed)
        assistant_id = claimed.assistant_id if claimed else f"a-{uuid.uuid4().hex}"
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
        """Start a run. Where proofs are needed, a `new` one is only said to be started if its proof holds.

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
            memo={_MESSAGE_MEMO: summary},
            static_summary=summary,
            static_details=static_details(message, owner=self._owner, timezone=given.timezone),
            rpc_timeout=_RPC,
        )
        if is_proved and new:
            check_clock((await handle.describe(rpc_timeout=_RPC)).start_time, at=at)

    def search_attributes(self) -> TypedSearchAttributes:
        """By these a new run of the caller's is found."""
        tenant = [SearchAttributePair(_TENANT, self._tenant)] if self._tenant else []
        return TypedSearchAttributes(
            [SearchAttributePair(_OWNER, self._owner), SearchAttributePair(_STATUS, AssistantStatus.RUNNING), *tenant]
        )

    async def fork(self, assistant_id: str, body: ForkBody, *, claimed: Claim | None) -> AssistantView:
        """Start a new run that goes on from a step of an old one, keeping its finished results.

        Raises:
            NotFound: There is no such assistant or step.
            InvalidArguments: The new arguments do not fit.
            NotAllowed: It has a policy or budget of its own, and the caller may not decide.
        """
        await self._refuse_while_it_works(assistant_id)
        old: StartAssistant = await self._asked(assistant_id, "fork_point", StartAssistant)
        self._check_adds(old)
        undone = {step.step_id for step in await self._undo_steps(assistant_id) if step.status == "undone"}
        new = forked(old, body, undone=undone, through=self._credential)
        return await self._start_once(_TYPE, new, new.message, claimed)

    async def _undo_steps(self, assistant_id: str) -> list[UndoStep]:
        """What became of the effects that were to be taken back after the end; of each the last try."""
        found: dict[str, UndoStep] = {}
        for number in range(1, 1 + await self._keys.undoings(assistant_id)):
            with contextlib.suppress(NotFound):  # noted, and then Temporal was away when it should have begun
                undo: UndoView = await self._asked(undo_id(assistant_id, number), "view", UndoView)
                found |= {step.step_id: step for step in undo.steps}
        return list(found.values())

    async def _refuse_while_it_works(self, assistant_id: str) -> None:
        """A fork of a run that works could do a second time what that run is about to do."""
        description = await self._describe(assistant_id)
        if description.status is WorkflowExecutionStatus.RUNNING and (
            (await self._queried(assistant_id)).status is not AssistantStatus.AWAITING_INPUT
        ):
            raise Conflict("the assistant is still at work", hint="fork it when it has ended, or cancel it first")

    async def _asked(self, assistant_id: str, query: str, answer: type[Any], *arguments: Any) -> Any:
        """Query a run, ended or not.

        Raises:
            ServiceUnavailable: No workflow worker answers.
            Conflict: It is a run that cannot say such a thing.
        """
        try:
            return await self._handle(assistant_id).query(query, args=arguments, result_type=answer, rpc_timeout=_RPC)
        except WorkflowQueryFailedError:
            raise Conflict("this kind of run has nothing of that sort") from None
        except (RPCError, RPCTimeoutOrCancelledError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                raise _unknown(assistant_id) from None
            raise ServiceUnavailable("no workflow worker answered in time") from None

    async def undo(self, assistant_id: str, *, seconds: float) -> AssistantView:
        """Take back what an ended run did, last effect first. Asked again, it is the same undoing.

        Raises:
            NotAllowed: The caller may not decide: whoever undoes consents to what that does.
            Conflict: It has not ended, or did nothing.
        """
        self.check_decides(_UNDO_CONSENTS)
        description = await self._describe(assistant_id)
        if description.status is WorkflowExecutionStatus.RUNNING:
            raise Conflict("the assistant has not ended", hint='POST .../cancel with {"undo": true} stops and undoes')
        point: StartUndo = await self._asked(assistant_id, "undo_point", StartUndo)
        # first which undoing it will be: one that ends before its steps are read has then told what it took back
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
        """The undoing that is running, or else the next one, for what the ended ones left."""
        number = max(1, await self._keys.undoings(assistant_id))
        return number + 1 if await self._has_ended(undo_id(assistant_id, number)) else number

    async def _start_undo(self, start: StartUndo, number: int) -> WorkflowHandle[Any, Any]:
        """Start the undoing of this number, or find it where it was started before."""
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
                rpc_timeout=_RPC,
            )
        except WorkflowAlreadyStartedError:
            return self._client.get_workflow_handle(undo_id(start.assistant_id, number))

    async def _has_ended(self, workflow_id: str) -> bool:
        try:
            description = await self._handle(workflow_id).describe(rpc_timeout=_RPC)
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
                f"this {claim.named} was used on {claim.used_at:%Y-%m-%d} and its run is no longer kept",
                hint=f"use a new {claim.named} to ask again",
            ) from None

    async def view(self, assistant_id: str) -> AssistantView:
        """The assistant as it stands, with decisions that wait for a workflow worker.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        return await self._with_recorded(await self._view(assistant_id))

    async def _with_recorded(self, view: AssistantView) -> AssistantView:
        recorded = [one for _, one in await self._pending.of(view.id)]
        return with_recorded(view, recorded, reader=self._owner)

    async def recorded(self, run_ids: Sequence[str]) -> dict[tuple[str, str], str]:
        """By run and approval: what is recorded of the caller's own decisions and does not count yet, in words."""
        found = await self._pending.of(*run_ids)
        return {
            (assistant_id, one.approval_id): words(one, reader=self._owner)
            for assistant_id, one in found
            if one.by == self._owner and one.state is RecordedState.WAITING
        }

    async def view_without_worker(self, assistant_id: str) -> AssistantView:
        """The same, without asking a workflow worker: none has just answered."""
        description = await self._describe(assistant_id, to=Access.READ)
        return await self._with_recorded(await self._view_without_worker(description))

    async def _view(self, assistant_id: str) -> AssistantView:
        description = await self._describe(assistant_id, to=Access.READ)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return await self._with_undo(await self._final_view(assistant_id))
        try:
            view = self._known.note(description, await self._queried(assistant_id))
        except (RPCError, RPCTimeoutOrCancelledError):
            return await self._view_without_worker(description)
        except _ShowsNothing as error:
            view = await self._view_without_worker(description)
            return view.model_copy(update={"notices": [*view.notices, error.message]})
        if view.plan and any(step.status is not StepStatus.PENDING for step in view.plan.steps):
            view = with_attempts(view, await self._handle(assistant_id).fetch_history(rpc_timeout=_RPC))
        notices = [*view.notices, *retrying_notices(description, view)]
        return with_pending(view, description).model_copy(update={"notices": notices})

    async def _with_undo(self, view: AssistantView) -> AssistantView:
        """Add what was taken back after the run's end, if anything was."""
        return with_undo(view, await self._undo_steps(view.id)) if view.status in ENDED else view

    async def failed_at_once(self, assistant_id: str) -> AssistantView | None:
        """The view of a run that failed before it began to work; None where it is any other, or nobody knows."""
        try:
            description = await self._describe(assistant_id, to=Access.READ)
        except (NotFound, RPCError):
            return None
        at_once = description.status is WorkflowExecutionStatus.FAILED and description.history_length <= _FIRST_TASK
        return await self.view(assistant_id) if at_once else None

    async def _final_view(self, assistant_id: str) -> AssistantView:
        history = await self._handle(assistant_id).fetch_history(rpc_timeout=_RPC)
        if recorded := await recorded_view(history, of_workflow(self._client, assistant_id)):
            return recorded
        description = await self._describe(assistant_id, to=Access.READ)
        try:
            view = await self._queried(assistant_id)
        except (RPCError, RPCTimeoutOrCancelledError, _ShowsNothing):
            view = await self._view_without_worker(description)
            notices = [notice for notice in view.notices if notice != NOBODY_ANSWERS]
            view = view.model_copy(update={"notices": notices})
        problem = await failure_of(history, of_workflow(self._client, assistant_id))
        return closed_from_outside(with_attempts(view, history), description.status, problem)

    async def _queried(self, assistant_id: str) -> AssistantView:
        try:
            content = await self._handle(assistant_id).query("view", result_type=dict[str, Any], rpc_timeout=_RPC)
        except WorkflowQueryFailedError as error:
            raise _ShowsNothing(f"the run cannot show itself: {error}") from error
        return AssistantView.model_validate(content)

    async def _view_without_worker(self, description: WorkflowExecutionDescription) -> AssistantView:
        """What can be said while no workflow worker answers: the run is safe and waits for one.

        Where this process has seen what it asks for, and the server says that it still asks, that is shown.
        """
        asks = description.typed_search_attributes.get(_PENDING) or 0
        if asks and (last := self._known.last(description)) and asks == sum(map(_waits, last.approvals)):
            return last.model_copy(update={"notices": [*last.notices, NOBODY_ANSWERS]})
        message = await description.memo_value(_MESSAGE_MEMO, "", type_hint=str)
        return AssistantView(
            id=description.id,
            status=AssistantStatus.AWAITING_WORKER,
            message=message,
            messages=[Message(role=Role.USER, text=message)],
            notices=retrying_notices(description) or [NOBODY_ANSWERS],
        )

    async def settled(self, assistant_id: str, *, seconds: float, mine: bool = False) -> AssistantView:
        """The view once the run has ended or needs a person, or after `seconds` as it then stands.

        Args:
            assistant_id: The assistant.
            seconds: How long to wait at most.
            mine: The caller has just started or changed it, so whose it is need not be asked again.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        if not mine:
            await self._describe(assistant_id, to=Access.READ)
        closing = asyncio.ensure_future(self._closed(assistant_id))
        try:
            view = await self._settled(assistant_id, closing, seconds=seconds)
        finally:
            closing.cancel()
        return view if mine else await self._with_undo(view)

    async def _settled(self, assistant_id: str, closing: asyncio.Future[None], *, seconds: float) -> AssistantView:
        """Wait for the run's last event, which costs one long poll, and look only now and then whether it asks."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait([closing], timeout=min(_LOOK_EVERY, left))
            if closing.done():
                return await self._final_view(assistant_id)
            if await self._published(assistant_id) in _SETTLED:
                break
        return await self.view(assistant_id)

    async def _closed(self, assistant_id: str) -> None:
        """Return when the run has ended; a long poll on its history, so nobody's worker is asked."""
        events = self._handle(assistant_id).fetch_history_events(
            wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
        async for _ in events:
            return

    async def _published(self, assistant_id: str) -> str | None:
        return (await self._describe(assistant_id, to=Access.READ)).typed_search_attributes.get(_STATUS)

    async def decide(self, assistant_id: str, decide: Decide) -> bool:
        """Decide an approval; whether it counts already. If not, it is kept, and counts when a workflow worker answers.

        Raises:
            NotFound: No such run or approval.
            Conflict: Already decided, stale, or the run has ended.
            InvalidArguments: An edit that does not fit the tool.
            ServiceUnavailable: No workflow worker answered, and the run has not asked for anything.
        """
        decide = decide.model_copy(update=self._mark())
        description = await self._describe(assistant_id, to=Access.DECIDE)
        if await self._pending.is_kept(self._client, assistant_id, decide):
            return False
        update_id = str(uuid.uuid4())
        asks = description.status is WorkflowExecutionStatus.RUNNING and bool(
            description.typed_search_attributes.get(_PENDING)
        )
        if not (asks and self._nobody_answers):
            try:
                await self._update(assistant_id, "decide", decide, update_id=update_id)
            except _NobodyAnswered:
                if not asks:
                    raise
                self._nobody_answers = True
            else:
                return True
        await self._pending.keep(self._client, assistant_id, decide, update_id=update_id)
        return False

    async def send_message(self, assistant_id: str, message: SendMessage) -> None:
        """Say the next thing of a chat, or answer the assistant's question. Errors as for `decide`.

        Raises:
            NotAllowed: The run may let pass more than the caller's own policy, and they may not decide.
        """
        description = await self._describe(assistant_id)
        if not self.may_decide and description.workflow_type == _TYPE:
            self._check_adds(await self._asked(assistant_id, "fork_point", StartAssistant))
        await self._update(assistant_id, "send_message", message.model_copy(update=self._mark()))

    def _mark(self) -> dict[str, Credential]:
        return {"through": self._credential} if self._credential else {}

    async def messages(self, assistant_id: str, *, before: int, limit: int) -> MessagePage:
        """A part of a conversation: at most `limit` messages before the one at position `before`.

        Raises:
            Conflict: It is a run that holds no conversation.
        """
        await self._describe(assistant_id, to=Access.READ)
        page: MessagePage = await self._asked(assistant_id, "said", MessagePage, SaidBefore(before=before, limit=limit))
        return page

    async def choose(self, assistant_id: str, step_id: str, choice: WorkerChoice) -> None:
        """Say what to do about a step that no worker takes. Errors as for `decide`."""
        await self._describe(assistant_id)
        await self._update(assistant_id, "choose", ChooseForStep(step_id=step_id, choice=choice, by=self._owner))

    async def _update(self, assistant_id: str, name: str, argument: Any, *, update_id: str | None = None) -> None:
        try:
            await self._handle(assistant_id).execute_update(name, argument, id=update_id, rpc_timeout=_UPDATE)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error.cause) from None
        except RPCTimeoutOrCancelledError:
            raise _NobodyAnswered(
                "no workflow worker answered in time", hint="read the assistant before you send this again"
            ) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise Conflict("the assistant has ended; nothing was changed") from None
            raise

    async def cancel(self, assistant_id: str, *, undo: bool = False) -> None:
        """Ask a run to stop, and where `undo` says so to take back what it has done.

        Raises:
            Conflict: It has ended already.
            NotAllowed: It is to be undone, and the caller may not decide.
        """
        if undo:
            self.check_decides(_UNDO_CONSENTS)
        description = await self._describe(assistant_id)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            raise Conflict("the assistant has ended already; there is nothing to cancel")
        await self._handle(assistant_id).cancel(reason=UNDO if undo else "", rpc_timeout=_RPC)

    async def page(
        self, *, status: AssistantStatus | None, limit: int, cursor: str | None, mine: bool = True
    ) -> tuple[list[WorkflowExecution], str | None]:
        """A page of runs, newest first, and the cursor of the next. With `mine` unset, of all that the caller audits.

        Raises:
            InvalidArguments: The cursor is not one of ours.
        """
        position = _position(cursor)
        access = Access.CHANGE if mine or not self._audits else Access.READ
        query = f"{self._listed(access)} AND {_LISTED[status]}" if status else self._listed(access)
        found: list[WorkflowExecution] = []
        async for window in self._windows(query, until=position[0] if position else datetime.now(UTC)):
            found += [run for run in window if self._may(run, access) and (not position or _place(run) < position)]
            if len(found) > limit:
                break
        shown = sorted(found, key=_place, reverse=True)[:limit]
        return shown, _cursor(shown[-1]) if len(found) > limit else None

    async def _windows(self, query: str, *, until: datetime) -> AsyncIterator[list[WorkflowExecution]]:
        """Runs by time of start, latest window first. The server itself can only order by the time of the end."""
        latest = end = until.replace(microsecond=0) + _SECOND
        for width in _WINDOWS:
            since = None if width is None else latest - width
            bounds = f" AND StartTime < '{end.isoformat()}'" + (
                f" AND StartTime >= '{since.isoformat()}'" if since else ""
            )
            found = self._client.list_workflows(query + bounds, page_size=1000, rpc_timeout=_RPC)
            yield [run async for run in found]
            end = since or end

    async def waiting_for_decision(self, *, limit: int, cursor: str | None = None) -> Waiting:
        """Runs that have approvals which wait for the caller, those that began last coming first.

        Args:
            limit: How many to read. The others are counted only, which costs next to nothing.
            cursor: Where an earlier page ended.

        Raises:
            InvalidArguments: The cursor is not one of ours.
        """
        position = _position(cursor)
        names = [is_exactly("RetinueApprovers", name) for name in (self._owner, anybody(self._owner))]
        to_decide = f"({' OR '.join([is_exactly('RetinueOwner', self._owner), *names])})"
        query = (
            f"WorkflowType = '{_TYPE}' AND {to_decide} AND ExecutionStatus = 'Running' AND RetinuePendingApprovals > 0"
        )
        found, counted = await asyncio.gather(
            self._latest(query, position, limit), self._client.count_workflows(query, rpc_timeout=_RPC)
        )
        is_all = limit > 0 and position is None and len(found) <= limit
        gate = asyncio.Semaphore(10)

        async def read(assistant_id: str) -> AssistantView | str:
            async with gate:
                try:
                    description = await self._handle(assistant_id).describe(rpc_timeout=_RPC)
                    return await self._known.of(description, self._queried)
                except (RPCError, RPCTimeoutOrCancelledError, ServiceUnavailable):
                    return assistant_id

        read_ones = await asyncio.gather(*[read(run.id) for run in found[:limit]])
        return Waiting(
            views=[view for view in read_ones if isinstance(view, AssistantView)],
            unreadable=[assistant_id for assistant_id in read_ones if isinstance(assistant_id, str)],
            assistants=len(found) if is_all else counted.count,
            next_cursor=_cursor(found[limit - 1]) if len(found) > limit > 0 else None,
        )

    async def _latest(self, query: str, position: tuple[datetime, str] | None, limit: int) -> list[WorkflowExecution]:
        """So many running runs and one more, those that began last first: so servers list what has not ended."""
        if not limit:
            return []
        before = f" AND StartTime <= '{position[0].isoformat()}'" if position else ""
        listed = self._client.list_workflows(query + before, page_size=limit + 2, rpc_timeout=_RPC)
        found: list[WorkflowExecution] = []
        async for run in listed:
            if self._may(run, Access.DECIDE) and (not position or _place(run) < position):
                found.append(run)
            if len(found) > limit:
                break
        return sorted(found, key=_place, reverse=True)

    def _listed(self, access: Access) -> str:
        kinds = ", ".join(f"'{kind}'" for kind in sorted(_TYPES))
        whole = is_exactly("RetinueTenant", self._tenant) if self._tenant else "RetinueTenant IS NULL"
        whose = whole if access is Access.READ else is_exactly("RetinueOwner", self._owner)
        return f"WorkflowType IN ({kinds}) AND {whose}"

    async def readable(self, assistant_id: str) -> WorkflowExecutionDescription:
        """The run as Temporal sees it, if the caller may read it.

        Raises:
            NotFound: There is none, or it is not for them to see. Nothing tells the two apart.
        """
        return await self._describe(assistant_id, to=Access.READ)

    async def _describe(self, assistant_id: str, *, to: Access = Access.CHANGE) -> WorkflowExecutionDescription:
        """The run as Temporal sees it, if the caller may do that to it. What is unknown costs the same one question."""
        try:
            description = await self._handle(assistant_id).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise _unknown(assistant_id) from None
            raise
        if description.workflow_type not in _TYPES or not self._may(description, to):
            raise _unknown(assistant_id)
        await decode_texts(description, of_workflow(self._client, assistant_id))
        return description

    def _may(self, run: WorkflowExecution, to: Access) -> bool:
        """Whether the caller may do that to a run: by exact names, since servers compare them less exactly."""
        found = run.typed_search_attributes
        owner = found.get(_OWNER)
        if owner is None or organisation(owner) != self._tenant:
            return False
        if owner == self._owner:
            return True
        decides = bool({self._owner, anybody(self._owner)} & set(found.get(_APPROVERS) or []))
        return (to is not Access.CHANGE and decides) or (to is Access.READ and self._audits)

    def _handle(self, assistant_id: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(assistant_id)


def pending_approvals(execution: WorkflowExecution) -> int:
    """How many approvals a listed run waits for."""
    waiting = execution.typed_search_attributes.get(_PENDING) or 0
    return waiting if execution.status is WorkflowExecutionStatus.RUNNING else 0


def listed_status(execution: WorkflowExecution) -> AssistantStatus:
    """The status of a listed run."""
    return execution_status(execution.status, execution.typed_search_attributes.get(_STATUS))


def listed_outcome(execution: WorkflowExecution) -> RunOutcome | None:
    """What a listed run did, once it has completed."""
    if listed_status(execution) is not AssistantStatus.COMPLETED:
        return None
    said = execution.typed_search_attributes.get(_STATUS)
    return RunOutcome(said) if said in set(RunOutcome) else RunOutcome.DONE


def listed_owner(execution: WorkflowExecution) -> str:
    """Whose run a listed one is."""
    return execution.typed_search_attributes.get(_OWNER) or ""


async def listed_message(execution: WorkflowExecution) -> str:
    """The beginning of a listed run's request."""
    message: str = await execution.memo_value(_MESSAGE_MEMO, "", type_hint=str)
    return message


def _waits(approval: ApprovalView) -> bool:
    return approval.status is ApprovalStatus.PENDING


def _unknown(assistant_id: str) -> NotFound:
    return NotFound(f"there is no assistant {assistant_id[:80]!r}", hint="GET /v1/assistants lists yours")


def _refusal(cause: BaseException) -> RetinueError:
    if isinstance(cause, ApplicationError) and cause.type in _REFUSALS:
        return _REFUSALS[cause.type](cause.message)
    return Conflict("the assistant did not accept this", hint=str(cause)[:200])


def _completed(budget: Limits, policy: Limits | None) -> Limits:
    """A budget that lifts none of the policy's limits: those that it does not name stay."""
    kept = policy.model_dump(exclude_none=True) if policy else {}
    return Limits.model_validate(kept | budget.model_dump(exclude_none=True))


def _place(run: WorkflowExecution) -> tuple[datetime, str]:
    return run.start_time, run.id


def _cursor(run: WorkflowExecution) -> str:
    return base64.urlsafe_b64encode(f"{run.start_time.isoformat()} {run.id}".encode()).decode()


def _position(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        moment, assistant_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split(" ", 1)
        started = datetime.fromisoformat(moment).astimezone(UTC)
        if started < _LONG_AGO:
            raise ValueError(moment)
    except (ValueError, OverflowError):
        raise InvalidArguments("this cursor is not valid", hint="start again without one") from None
    return min(started, datetime.now(UTC)), assistant_id
