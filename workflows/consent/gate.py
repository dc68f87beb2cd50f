"""Consent: policy, grants and people decide whether an action may run, never what a model says about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue
from temporalio import workflow

from retinue.capability import ACCOUNT
from retinue.plan import BoundStep
from retinue.provenance.asked_by import AskedBy
from retinue.text import safe
from workflows.consent import lookups
from workflows.consent.approvals import SIGNAL, Approvals, Question
from workflows.consent.subject_lookup import advise, look_up
from workflows.messages import ApprovalKind, ApprovalStatus, ApprovalView, StartAssistant, StepConsent
from workflows.rules.chosen_account import ChosenAccount, without_account
from workflows.rules.grants import CheckGrant, CheckGrantResult, GrantRequest, RecordApproval, Scope
from workflows.rules.json_args import at, holds, leaves, touches
from workflows.rules.policy import DEFAULT_POLICY, Action, AtExpiry, Decision, Policy, Rule, Verdict
from workflows.rules.provenance import Origin, Source
from workflows.rules.rejections import Rejection, Rejections, Target, target
from workflows.rules.strictness import rule_of_others


class ActionDenied(Exception):
    """An action may not run.

    Args:
        kind: `Denied` by the policy, `Rejected` by a person, `RejectedBefore` (twice), or `Expired` without an answer.
        message: The reason, for the person and the planner.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Authorization:
    """The arguments that may run, how they were allowed, and how many seconds a cancel must still stop them."""

    args: dict[str, JsonValue]
    consent: StepConsent
    hold: float = 0


@dataclass(frozen=True)
class ProposedAction:
    """A step with its resolved arguments and their origins."""

    step: BoundStep
    args: dict[str, JsonValue]
    origins: Sequence[Origin] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    after_strangers: bool = False
    account: ChosenAccount | None = None
    """What it uses, where people are shown it before they decide."""


class Consent:
    """Authorizes the actions of one run."""

    def __init__(
        self,
        start: StartAssistant,
        approvals: Approvals,
        *,
        asked_through: Callable[[], Sequence[str]],
        asker: Callable[[], AskedBy],
        on_notice: Callable[[str], None],
    ) -> None:
        self._start = start
        self._asked_through = asked_through
        self._asker = asker
        self._policy: Policy = start.policy or DEFAULT_POLICY
        self._approvals = approvals
        self._on_notice = on_notice
        self._notes: list[asyncio.Task[None]] = []
        self._rejections = Rejections(start.continued.rejections if start.continued else ())
        self._asking_again: dict[Target, asyncio.Lock] = {}

    def judge(self, action: ProposedAction) -> Verdict:
        """Return the policy's verdict, before grants and people."""
        return self._policy.judge(self._action(action, action.args, action.origins))

    async def clear(self, action: ProposedAction, *, on_asking: Callable[[], None]) -> Authorization:
        """Return the authorization of an action; ask a person where needed and wait for the answer.

        Raises:
            ActionDenied: The action may not run.
        """
        verdict = self.judge(action)
        if verdict.decision is Decision.DENY:
            raise ActionDenied("Denied", f"the policy forbids it: {'; '.join(verdict.reasons) or verdict.rule}")
        if verdict.decision is Decision.AUTO:
            return self._automatic(action, StepConsent(how="automatic", rule=verdict.rule))
        found = await self._standing(action, verdict)
        if found.grant_id:
            return self._automatic(action, StepConsent(how="grant", rule=verdict.rule, grant_id=found.grant_id))
        return await self._ask_unless_settled(action, verdict, offer=found.offer, on_asking=on_asking)

    def _automatic(self, action: ProposedAction, consent: StepConsent) -> Authorization:
        notes = action.step.annotations
        for_good = notes.destructive or notes.undo is None
        leaves = notes.open_world and not notes.read_only
        return Authorization(action.args, consent, hold=self._policy.hold if leaves and for_good else 0)

    async def _standing(self, action: ProposedAction, verdict: Verdict) -> CheckGrantResult:
        """Check the person's grants. They count neither where others decide nor where strangers may have chosen the values."""
        alone = verdict.approvers == 1 and not verdict.not_the_requester and not verdict.by
        steered = action.after_strangers or _goes_where_strangers_say(action)
        if not alone or steered:
            return CheckGrantResult()
        question = CheckGrant(
            key=_key(action),
            assistant_id=workflow.info().workflow_id,
            tool=action.step.tool,
            args=without_account(action.step, action.args),
            sensitive=action.step.annotations.sensitive,
            schedule_id=self._start.schedule_id or self._start.trigger_id,
            keys=tuple(self._asked_through()),
            **({"account": action.account.id} if action.account and action.account.id else {}),
        )
        return await lookups.check_grant(self._start.owner, question)

    async def _ask_unless_settled(
        self, action: ProposedAction, verdict: Verdict, *, offer: Scope | None, on_asking: Callable[[], None]
    ) -> Authorization:
        """Ask a person. What was rejected before is asked once more at most, one at a time."""
        what = target(action.step, action.args)
        if not self._rejections.comes_back(what):
            return await self._ask(action, verdict, offer=offer, again=False, on_asking=on_asking)
        async with self._asking_again.setdefault(what, asyncio.Lock()):
            if self._rejections.is_settled(what):
                where = f" ({', '.join(map(safe, what[1]))})" if what[1] else ""
                self._on_notice(f"{action.step.title}{where} was rejected twice, so nobody was asked a third time")
                raise ActionDenied("RejectedBefore", "it was rejected twice, so nobody was asked a third time")
            again = self._rejections.comes_back(what)  # false if an earlier one was approved meanwhile
            return await self._ask(action, verdict, offer=offer, again=again, on_asking=on_asking)

    def begin_turn(self) -> None:
        """Allow rejected actions to be asked once more, since the person sent a new message."""
        self._rejections.begin_turn()

    def rejections(self) -> list[Rejection]:
        """Return the rejections, for the next run of a chat."""
        return self._rejections.carried()

    async def _ask(
        self,
        action: ProposedAction,
        verdict: Verdict,
        *,
        offer: Scope | None,
        again: bool,
        on_asking: Callable[[], None],
    ) -> Authorization:
        asker = self._asker_of(action)
        things = await look_up(action.step, action.args, key=f"{action.step.id}.shown", asked_by=asker)
        advice = await advise(action.step, action.args, key=f"{action.step.id}.advice", asked_by=asker)
        question = replace(self._question(action, verdict, offer), things=things, advice=advice)
        approval_id = self._approvals.ask(question, now=workflow.now())
        on_asking()
        view = await self._approvals.decided(approval_id)
        if view.status is ApprovalStatus.APPROVED:
            self._rejections.approved(target(action.step, action.args))
            self._remember(action, view)
            return Authorization(view.args, StepConsent(how="approval", rule=view.rule, approval_id=view.id))
        if view.status is ApprovalStatus.EXPIRED:
            raise ActionDenied("Expired", "nobody decided in time, so the policy rejects it")
        self._rejections.rejected(target(action.step, action.args), again=again)
        raise ActionDenied("Rejected", self._who_rejected(view) + (f": {view.comment}" if view.comment else ""))

    def _asker_of(self, action: ProposedAction) -> AskedBy:
        account = action.account
        return self._asker().model_copy(update={"account": account.account}) if account else self._asker()

    def _who_rejected(self, view: ApprovalView) -> str:
        """Return who rejected it, in words for the owner of the run."""
        own = view.decided_by in (None, SIGNAL, self._start.owner)
        return "you rejected it" if own else f"{str(view.decided_by).rpartition(':')[2]} rejected it"

    async def again(self, action: ProposedAction, problem: str, number: int) -> bool:
        """Ask whether to repeat an action whose outcome is unknown; grants do not count here.

        Args:
            action: The action.
            problem: What is known about it, for the person.
            number: Of the repeat, from 1.
        """
        terms = self._terms_of_a_repeat(self.judge(action), problem)
        key = f"{action.step.id}.shown-again-{number}"
        things = await look_up(action.step, action.args, key=key, asked_by=self._asker_of(action))
        question = replace(
            self._question(action, terms, offer=None),
            things=things,
            id=f"ap-{action.step.id}-again-{number}",
            kind=ApprovalKind.REPEAT,
            title=f"Do it again, although it may have happened already: {action.step.title}",
            check=lambda args: iter(
                () if args == action.args else ("it can be repeated only with the same arguments",)
            ),
        )
        view = await self._approvals.decided(self._approvals.ask(question, now=workflow.now()))
        return view.status is ApprovalStatus.APPROVED

    def _terms_of_a_repeat(self, verdict: Verdict, problem: str) -> Verdict:
        """Return terms with the same deciders. Without an answer nothing is repeated, whatever the rule says about expiry."""
        silence = AtExpiry.DENY if verdict.at_expiry is AtExpiry.ALLOW else verdict.at_expiry
        return verdict.model_copy(
            update={"decision": Decision.ASK, "reasons": [problem, *verdict.reasons], "at_expiry": silence}
        )

    def _question(self, action: ProposedAction, verdict: Verdict, offer: Scope | None) -> Question:
        return Question(
            id=f"ap-{action.step.id}",
            step_id=action.step.id,
            tool=action.step.tool,
            title=action.step.title,
            args=action.args,
            terms=verdict,
            judge=lambda args: self._judge_edit(action, args),
            retrace=lambda args: _retraced(action, args),
            args_schema=action.step.args_schema or {},
            origins=action.origins,
            undo=action.step.annotations.undo,
            read_only=action.step.annotations.read_only,
            about=action.about,
            sensitive=action.step.annotations.sensitive,
            offer=offer,
            account=action.account.words if action.account else "",
            check=lambda args: _same_account(action, args),
            others=lambda scope, grant: self._rule_of_others(action.step, scope, grant),
        )

    def _rule_of_others(self, step: BoundStep, scope: Scope, grant: GrantRequest) -> Rule | None:
        """Return the rule by which one person may not allow this alone, or None."""
        return rule_of_others(
            self._policy,
            scope,
            tool=step.tool,
            annotations=step.annotations,
            arguments=list({**(step.args_schema or {}).get("properties", {}), **step.args}),
            caller=self._start.owner,
            also_for=grant.also_for,
        )

    def _judge_edit(self, action: ProposedAction, args: Mapping[str, JsonValue]) -> Verdict:
        """Return the policy's verdict on edited arguments; unchanged values keep their origins."""
        return self._policy.judge(self._action(action, args, list(_origins_of_edit(action, args))))

    def _action(self, action: ProposedAction, args: Mapping[str, JsonValue], origins: Sequence[Origin]) -> Action:
        return Action(
            tool=action.step.tool,
            annotations=action.step.annotations,
            args=args,
            origins=origins,
            caller=self._start.owner,
            scheduled=self._start.schedule_id is not None or self._start.trigger_id is not None,
            after_strangers=action.after_strangers,
        )

    def _remember(self, action: ProposedAction, view: ApprovalView) -> None:
        """Record the approval with the person's grants, concurrently with the effect."""
        if view.approvers == 1 and not view.by:
            self._notes.append(asyncio.create_task(self._note(action, view)))

    async def _note(self, action: ProposedAction, view: ApprovalView) -> None:
        wanted = self._approvals.requested_grant(view.id)
        approval = RecordApproval(
            key=_key(action),
            tool=action.step.tool,
            args=without_account(action.step, view.args),
            sensitive=action.step.annotations.sensitive,
            approval=f"{workflow.info().workflow_id}/{view.id}",
            by=view.decided_by or self._start.owner,
            through=self._approvals.decided_through(view.id),
            wish=wanted,
            **(
                {"account": action.account.id, "account_words": action.account.words}
                if action.account and action.account.id
                else {}
            ),
        )
        grant = await lookups.record_approval(self._start.owner, approval)
        if grant:
            self._approvals.granted(view.id, grant.grant_id)
        elif wanted:
            self._on_notice(f"the grant requested with {view.id} could not be recorded; please add it again")

    async def settle(self) -> None:
        """Wait until all approvals are recorded."""
        if self._notes:
            await asyncio.gather(*self._notes)
            self._notes.clear()


def _key(action: ProposedAction) -> str:
    return f"{workflow.info().workflow_id}/{action.step.id}"


def _same_account(action: ProposedAction, args: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield what is wrong with an edit of the account: nobody has looked up which one that would be."""
    if action.account is not None and args.get(ACCOUNT) != action.args.get(ACCOUNT):
        yield "the account cannot be changed here; reject this and say which account you mean"


def _origins_of_edit(action: ProposedAction, args: Mapping[str, JsonValue]) -> Iterator[Origin]:
    """Yield the origins of destinations: a value that was there before keeps its origin, a new one was typed."""
    for place in action.step.annotations.sensitive:
        before = {str(value): path for path, value in leaves(place, at(action.args, place))}
        for path, value in leaves(place, at(args, place)):
            old = before.get(str(value))
            known = _covering(action.origins, old) if old else None
            if known:
                yield known.model_copy(update={"path": path})
            elif old is None:
                yield Origin(path=path, source=Source.USER, trusted=True)


def _retraced(action: ProposedAction, args: Mapping[str, JsonValue]) -> Iterator[Origin]:
    """Yield the origins of edited arguments: of destinations, and of other values that did not change."""
    yield from _origins_of_edit(action, args)
    for origin in action.origins:
        decides = any(touches(origin.path, place) for place in action.step.annotations.sensitive)
        if not decides and at(args, origin.path) == at(action.args, origin.path):
            yield origin


def _goes_where_strangers_say(action: ProposedAction) -> bool:
    theirs = [origin.path for origin in action.origins if origin.source == Source.STRANGERS]
    return any(touches(path, place) for path in theirs for place in action.step.annotations.sensitive)


def _covering(origins: Sequence[Origin], path: str) -> Origin | None:
    """Return the origin of the value at a JSON pointer, or of a value that contains it."""
    return next((origin for origin in origins if holds(origin.path, path)), None)
