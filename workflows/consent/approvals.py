"""Approvals: each waits for a person and is bound to its id and to the exact arguments that were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate, islice
from typing import Any

from pydantic import JsonValue
from temporalio import workflow

from retinue.json_values import json_sha256
from retinue.plan import check_args, references
from retinue.provenance.credential import Credential
from retinue.temporal import metrics
from retinue.temporal.failures import non_retryable
from retinue.tenancy import ANYBODY, colleague, deciders, may_decide
from retinue.text import safe
from workflows.messages import (
    ApprovalKind,
    ApprovalStatus,
    ApprovalView,
    Decide,
    DecisionKind,
    Vote,
)
from workflows.rules.card import Advice, Known, Subject, card_of, rendered
from workflows.rules.destinations import refused_destinations
from workflows.rules.grants import GrantRequest, Scope, check_expiry, requested_scope
from workflows.rules.policy import MAX_NAMES, AtExpiry, Decision, Rule, Verdict
from workflows.rules.provenance import Origin

SIGNAL = "signal"
"""The decider's name for a plain Temporal signal, which proves no identity."""
MAX_KEPT = 50
"""How many approvals a chat keeps when it continues as new."""
_PROBLEMS = 5
"""Problems of an edit that are reported; finding all of them may take long."""
MAX_REFUSED_SHOWN = 3
MAX_QUOTED = 40


def args_hash(args: Mapping[str, JsonValue]) -> str:
    """SHA-256 (hex) of the arguments as canonical JSON: keys sorted, no blanks."""
    return json_sha256(dict(args))


@dataclass(frozen=True)
class RefusedSignals:
    """The signals that a run refused for lack of a proof: their number, and the last few in words. Bounded."""

    count: int = 0
    last: tuple[str, ...] = ()

    def with_signal(self, what: str, *, at: datetime) -> RefusedSignals:
        """Return these with one more signal."""
        return RefusedSignals(
            self.count + 1, (*self.last[1 - MAX_REFUSED_SHOWN :], f"{what} at {at:%Y-%m-%d %H:%M:%S} UTC")
        )

    def notices(self) -> list[str]:
        """Return one notice for all refused signals, or none."""
        if not self.count:
            return []
        return [
            f"{self.count} plain signals to Temporal were refused, since this assistant can be changed only through the "
            f"API. The last: {'; '.join(self.last)}"
        ]


def quoted(text: str) -> str:
    """Return a stranger's text quoted for a notice, safe and short."""
    return repr(" ".join(safe(text[:MAX_QUOTED]).split()))


Judge = Callable[[Mapping[str, JsonValue]], Verdict]


@dataclass(frozen=True)
class Question:
    """What a person is asked, before it becomes an approval.

    Args:
        id: Of the approval; unique in the run.
        tool: What would run, by its full name.
        title: Of the action, as a person would say it.
        args: The true arguments.
        terms: Who must decide, until when, and why.
        judge: Judges edited arguments by the policy; an edit that it denies is refused, and its terms replace `terms`.
        render: Renders the preview of (edited) arguments; by default it is that of the card.
        check: Yields what is wrong with edited arguments beyond their schema.
        retrace: Yields the origins of the values of edited arguments.
        account: The person's account that it uses, in words.
        others: Returns the rule by which others decide about some of what a grant of this scope would cover.
    """

    id: str
    tool: str
    title: str
    args: dict[str, JsonValue]
    terms: Verdict
    judge: Judge
    kind: ApprovalKind = ApprovalKind.ACTION
    step_id: str = ""
    args_schema: Mapping[str, Any] = field(default_factory=dict)
    origins: Sequence[Origin] = ()
    undo: str | None = None
    read_only: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    things: Mapping[str, Known] = field(default_factory=dict)
    advice: Advice | None = None
    account: str = ""
    sensitive: Sequence[str] = ()
    render: Callable[[Mapping[str, JsonValue]], str] | None = None
    check: Callable[[Mapping[str, JsonValue]], Iterator[str]] | None = None
    retrace: Callable[[Mapping[str, JsonValue]], Iterator[Origin]] | None = None
    offer: Scope | None = None
    others: Callable[[Scope, GrantRequest], Rule | None] | None = None


class Approvals:
    """The approvals of one run. Decisions are checked before they are recorded; a refused one leaves no trace."""

    def __init__(
        self, *, requester: str, on_change: Callable[[], None], continued: Sequence[ApprovalView] = ()
    ) -> None:
        self._requester = requester
        self._on_change = on_change
        self._views: dict[str, ApprovalView] = {view.id: view for view in continued}
        self._questions: dict[str, Question] = {}
        self._terms: dict[str, Verdict] = {}
        self._grants: dict[str, GrantRequest] = {}
        self._through: dict[str, Credential] = {}

    def ask(self, question: Question, *, now: datetime) -> str:
        """Open an approval and return its id."""
        self._questions[question.id] = question
        alone = not question.terms.by
        self._views[question.id] = ApprovalView(
            id=question.id,
            step_id=question.step_id,
            tool=question.tool,
            title=question.title,
            args=question.args,
            args_hash=args_hash(question.args),
            args_schema=dict(question.args_schema),
            **self._shown(question, question.args, question.origins, alone=alone),
            reasons=list(question.terms.reasons),
            origins=list(question.origins),
            asked_at=now,
            status=ApprovalStatus.PENDING,
            kind=question.kind,
            undo=question.undo,
            offer=question.offer,
            **self._terms_of(question.id, question.terms, asked_at=now),
        )
        self._on_change()
        return question.id

    def _terms_of(self, approval_id: str, terms: Verdict, *, asked_at: datetime) -> dict[str, Any]:
        self._terms[approval_id] = terms
        expires = asked_at + timedelta(seconds=terms.expires_after) if terms.expires_after else None
        return {
            "rule": terms.rule,
            "approvers": terms.approvers,
            "by": self._colleagues(terms.by),
            "not_the_requester": terms.not_the_requester,
            "expires_at": expires,
            "at_expiry": terms.at_expiry if expires else None,
        }

    def _shown(
        self, question: Question, args: Mapping[str, JsonValue], origins: Sequence[Origin], *, alone: bool
    ) -> dict[str, Any]:
        """Return the preview of these arguments, and the card it is rendered from."""
        if question.render:
            return {"preview": question.render(args)}
        subject = Subject(
            schema=question.args_schema,
            sensitive=question.sensitive,
            things=question.things,
            about={name: text for name, text in question.about.items() if args.get(name) == question.args.get(name)},
            origins=origins,
            undo=question.undo,
            read_only=question.read_only,
            alone=alone,
            advice=question.advice,
            account=question.account,
        )
        card = card_of(args, subject)
        return {"preview": rendered(question.title, card), "card": card}

    async def decided(self, approval_id: str) -> ApprovalView:
        """Wait for the decision; remind, escalate and expire meanwhile. Returns the decided or expired approval."""
        while (view := self.get(approval_id)).status is ApprovalStatus.PENDING:
            terms = self._terms[approval_id]
            moment = self._next_moment(view)
            try:
                await workflow.wait_condition(
                    partial(self._moved_on, approval_id, terms),
                    timeout=None if moment is None else max(moment - workflow.now(), timedelta()),
                )
            except TimeoutError:
                self._process_due(approval_id, workflow.now())
        metrics.decided(view.asked_at)
        return view

    def _moved_on(self, approval_id: str, terms: Verdict) -> bool:
        return self.is_decided(approval_id) or self._terms[approval_id] is not terms

    def _next_moment(self, view: ApprovalView) -> datetime | None:
        """Return when its next reminder, escalation or expiry is due; None if none is."""
        terms = self._terms[view.id]
        due = [view.asked_at + timedelta(seconds=after) for after in terms.remind_after[view.reminders :][:1]]
        if terms.escalate_after and view.escalated_at is None:
            due.append(view.asked_at + timedelta(seconds=terms.escalate_after))
        if view.expires_at and not view.overdue:
            due.append(view.expires_at)
        return min(due, default=None)

    def _process_due(self, approval_id: str, now: datetime) -> None:
        """Do what is due. Expire first: an expired approval needs no reminder."""
        view, terms = self._views[approval_id], self._terms[approval_id]
        if view.status is not ApprovalStatus.PENDING:
            return
        if view.expires_at and now >= view.expires_at and not view.overdue:
            self._update(view, **_expired(terms.at_expiry, now))
        elif (
            terms.escalate_after
            and not view.escalated_at
            and now >= view.asked_at + timedelta(seconds=terms.escalate_after)
        ):
            wider = [*(view.by or [self._requester]), *self._colleagues(terms.escalate_to)]
            self._update(view, escalated_at=now, by=list(dict.fromkeys(wider)))
        elif len(terms.remind_after) > view.reminders:
            self._update(view, reminders=view.reminders + 1, reminded_at=now)

    def _colleagues(self, names: Sequence[str]) -> list[str]:
        return [colleague(self._requester, name) for name in names]

    def _update(self, view: ApprovalView, **changes: Any) -> ApprovalView:
        self._views[view.id] = view.model_copy(update=changes)
        self._on_change()
        return self._views[view.id]

    def views(self) -> list[ApprovalView]:
        """Return all approvals in the order in which they were requested."""
        return list(self._views.values())

    def in_order(self, step_ids: Sequence[str]) -> list[ApprovalView]:
        """Return all approvals in the order of these steps; those that belong to no step come first."""
        place = {step_id: number for number, step_id in enumerate(step_ids)}
        return sorted(self._views.values(), key=lambda view: place.get(view.step_id, -1))

    def pending(self) -> list[ApprovalView]:
        """Return the approvals that still wait for a decision."""
        return [view for view in self._views.values() if view.status is ApprovalStatus.PENDING]

    def others(self) -> list[str]:
        """Return who besides the requester may or could decide: they see the run in their inbox and its outcome."""
        by = {name for view in self._views.values() for name in view.by}
        named = sorted(deciders(by, owner=self._requester) - {self._requester})
        # more does not fit into a search attribute, and the server would fail the run
        return [name for name, end in zip(named, accumulate(map(len, named)), strict=True) if end < MAX_NAMES]

    def get(self, approval_id: str) -> ApprovalView:
        """Return one approval.

        Raises:
            ApplicationError: `ApprovalUnknown`; the message names the pending ones.
        """
        if approval_id not in self._views:
            waiting = ", ".join(view.id for view in self.pending()) or "none"
            raise non_retryable("ApprovalUnknown", f"there is no approval {approval_id!r} here; waiting: {waiting}")
        return self._views[approval_id]

    def is_decided(self, approval_id: str) -> bool:
        """Whether the approval is no longer pending."""
        return self._views[approval_id].status is not ApprovalStatus.PENDING

    def check(self, decide: Decide, *, now: datetime) -> None:
        """Refuse a decision that is late, stale, malformed, or not this person's.

        Raises:
            ApplicationError: `ApprovalUnknown`, `ApprovalDecided`, `ApprovalExpired`, `ApprovalStale`, `NotAllowed`,
                `Denied` or `InvalidArguments`.
        """
        view = self.get(decide.approval_id)
        if view.status is not ApprovalStatus.PENDING:
            raise non_retryable(
                "ApprovalDecided", f"approval {view.id} was already {_outcome(view)}; nothing was changed"
            )
        if view.expires_at and now >= view.expires_at and not view.overdue and view.at_expiry is not AtExpiry.WAIT:
            raise non_retryable(
                "ApprovalExpired", f"approval {view.id} expired at {view.expires_at}; nothing was changed"
            )
        if decide.args_hash != view.args_hash:
            raise non_retryable(
                "ApprovalStale",
                f"args_hash does not match the current arguments of approval {view.id}; read it again and decide on that",
            )
        self._check_person(view, decide)
        self._check_edit(view, decide)
        self._check_grant(view, decide, now)

    def _check_person(self, view: ApprovalView, decide: Decide) -> None:
        may = view.by or [self._requester]
        proves_nobody = decide.by == SIGNAL and not view.by and view.approvers == 1
        if not may_decide(decide.by, may, owner=self._requester) and not proves_nobody:
            raise non_retryable("NotAllowed", f"approval {view.id} is decided by {', '.join(may)}, not by {decide.by}")
        if decide.decision is DecisionKind.REJECT:
            return
        if view.not_the_requester and decide.by == self._requester:
            raise non_retryable("NotAllowed", f"the requester may not approve {view.id}; another person must")
        if decide.decision is DecisionKind.APPROVE and decide.by in {vote.by for vote in view.votes}:
            raise non_retryable("ApprovalDecided", f"{decide.by} has already approved {view.id}; another person must")

    def _check_edit(self, view: ApprovalView, decide: Decide) -> None:
        if decide.decision is not DecisionKind.EDIT:
            if decide.args is not None:
                raise non_retryable("InvalidArguments", "`args` are allowed with the decision 'edit' only")
            return
        if decide.args is None:
            raise non_retryable("InvalidArguments", "the decision 'edit' needs the new `args`, all of them")
        question = self._questions[view.id]
        if view.kind is not ApprovalKind.PLAN and any(references(decide.args)):
            raise non_retryable("InvalidArguments", "write the values themselves; an edit cannot refer to other steps")
        problems = (
            list(islice(check_args(decide.args, view.args_schema), _PROBLEMS))
            or (list(question.check(decide.args)) if question.check else [])
            or list(refused_destinations(decide.args, question.sensitive))
        )
        if problems:
            raise non_retryable(
                "InvalidArguments", f"the new arguments do not fit {view.tool}: {'; '.join(problems[:_PROBLEMS])}"
            )
        verdict = question.judge(decide.args)
        if verdict.decision is Decision.DENY:
            raise non_retryable("Denied", f"the policy forbids this: {'; '.join(verdict.reasons) or verdict.rule}")

    def _check_grant(self, view: ApprovalView, decide: Decide, now: datetime) -> None:
        if decide.grant is None:
            return
        if view.kind is not ApprovalKind.ACTION or decide.decision is DecisionKind.REJECT:
            raise non_retryable("InvalidArguments", "a grant is possible only when you approve or edit an action")
        if view.approvers > 1 or view.not_the_requester or view.by:
            raise non_retryable("NotAllowed", "a grant is possible only where you alone decide")
        if wrong := check_expiry(decide.grant.expires_at, now):
            raise non_retryable("InvalidArguments", wrong)
        question = self._questions[view.id]
        scope = requested_scope(decide.grant, decide.args or view.args, question.sensitive)
        if scope is None:
            raise non_retryable(
                "InvalidArguments",
                "the action is too large for a grant of its exact arguments; give the grant's `args`",
            )
        if question.others and (rule := question.others(scope, decide.grant)):
            raise non_retryable(
                "NotAllowed",
                f"the rule {rule.name!r} gives others a say in some of this; narrow the grant",
            )

    def record(self, decide: Decide, *, now: datetime) -> ApprovalView:
        """Record a checked decision. An edit is its author's approval of the new arguments; it voids earlier votes."""
        view = self._views[decide.approval_id]
        if decide.grant is not None:
            self._grants[view.id] = decide.grant
            if decide.through:
                self._through[view.id] = decide.through
        if decide.decision is DecisionKind.REJECT:
            return self._update(view, status=ApprovalStatus.REJECTED, **_decision(decide, now))
        if decide.args is not None:
            view = self._edited(view, decide.args)
        votes = [*view.votes, *([Vote(by=decide.by, at=now, comment=decide.comment)] if _counts(view, decide) else [])]
        if len(votes) < view.approvers:
            return self._update(view, votes=votes)
        return self._update(view, votes=votes, status=ApprovalStatus.APPROVED, **_decision(decide, now))

    def _edited(self, view: ApprovalView, args: dict[str, JsonValue]) -> ApprovalView:
        """Return the approval with the new arguments. An edit can make its terms stricter, never milder."""
        question = self._questions[view.id]
        verdict = question.judge(args)
        asked = verdict.decision is Decision.ASK
        changes: dict[str, Any] = {
            "approvers": max(view.approvers, verdict.approvers if asked else 1),
            "not_the_requester": view.not_the_requester or (asked and verdict.not_the_requester),
            "by": self._colleagues(verdict.by) if asked and verdict.by else view.by,
        }
        if asked and verdict.reasons != view.reasons:
            changes["reasons"] = list(dict.fromkeys([*view.reasons, *verdict.reasons]))
        changes |= {"args": args, "args_hash": args_hash(args), "votes": []}
        origins = list(question.retrace(args)) if question.retrace else view.origins
        changes |= {"origins": origins, **self._shown(question, args, origins, alone=not changes["by"])}
        return view.model_copy(update=changes)

    def requested_grant(self, approval_id: str) -> GrantRequest | None:
        """Return the grant that was requested with the decision, or None."""
        return self._grants.get(approval_id)

    def decided_through(self, approval_id: str) -> Credential | None:
        """Return the credential of the decision that requested a grant."""
        return self._through.get(approval_id)

    def granted(self, approval_id: str, grant_id: str) -> None:
        """Record the grant that a decision created."""
        self._update(self._views[approval_id], grant_id=grant_id)

    def close(self) -> None:
        """Cancel all pending approvals, since the run ends."""
        if waiting := self.pending():
            for view in waiting:
                self._views[view.id] = view.model_copy(update={"status": ApprovalStatus.CANCELLED})
            self._on_change()


def _counts(view: ApprovalView, decide: Decide) -> bool:
    """Whether a person's vote counts under the current terms: an edit may have changed who may decide."""
    return decide.decision is not DecisionKind.EDIT or not view.by or decide.by in view.by or ANYBODY in view.by


def _decision(decide: Decide, now: datetime) -> dict[str, Any]:
    return {
        "decision": decide.decision,
        "decided_by": decide.by,
        "decided_at": now,
        "comment": decide.comment,
        "args_schema": {},
    }


def _expired(outcome: AtExpiry, now: datetime) -> dict[str, Any]:
    match outcome:
        case AtExpiry.ALLOW:
            return {"status": ApprovalStatus.APPROVED, "decided_by": "policy", "decided_at": now, "args_schema": {}}
        case AtExpiry.WAIT:
            return {"overdue": True}
        case AtExpiry.DENY:
            return {"status": ApprovalStatus.EXPIRED, "decided_by": "policy", "decided_at": now, "args_schema": {}}


def _outcome(view: ApprovalView) -> str:
    return f"{view.status} by {view.decided_by}" if view.decided_by else str(view.status)
