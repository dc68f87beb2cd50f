"""A person's grants, approval counts, daily usage and number of facts: one execution per owner, for ever.

All state is bounded, so that it always fits into the next run's input.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from temporalio import workflow

from activities.memory.contract import FactCount
from retinue.temporal.failures import non_retryable
from retinue.temporal.person import (
    ADD_GRANT,
    CHECK_GRANT,
    DAY,
    FACTS,
    GRANTS,
    NOTE_FACTS,
    PERSON_TYPE,
    RECORD_APPROVAL,
    RECORD_USAGE,
    REVOKE,
)
from retinue.times import on_the_calendar
from workflows.rules.grants import (
    EQUAL_APPROVALS,
    LOG_USES,
    CheckGrant,
    CheckGrantResult,
    DayUsage,
    Grant,
    NewGrant,
    PersonState,
    RecordApproval,
    RecordUsage,
    Revoke,
    Scope,
    Use,
    check_expiry,
    covers,
    describe,
    digest,
    fits,
    is_live,
    requested_scope,
    sameness,
    scope_of,
)

_UPDATES_PER_RUN = 500
"""Temporal refuses the 2,000th update of one run."""
_LIVE_GRANTS = 500
_LIVE_SIZE = 512 * 1024
"""Bytes of all live grants without their logs. With the limits below the state stays under Temporal's 2 MiB."""
_ENDED_GRANTS = 200
_ENDED_SIZE = 256 * 1024
_LOGGED_USES = 1000
"""Logged uses of all grants together that continue as new keeps."""
_KEYS = 5000
_APPROVALS = 1000
_DAYS = 7
_DAYS_OFF = timedelta(days=2)
"""Any time zone's date is at most one day off; one more for a late request."""


@workflow.defn(name=PERSON_TYPE)
class PersonWorkflow:
    """Holds grants, counts equal approvals, sums daily usage. Every update is idempotent by its key."""

    @workflow.init
    def __init__(self, state: PersonState | None = None) -> None:
        state = state or PersonState()
        self._grants = {grant.grant_id: grant for grant in state.grants}
        self._approvals = dict(state.approvals)
        self._keys = dict(state.keys)
        self._days = dict(state.days)
        self._facts = FactCount(facts=state.facts, revision=state.facts_revision)
        self._updates = 0

    @workflow.run
    async def run(self, state: PersonState | None = None) -> None:
        """Serve updates until the history has grown, then continue as new."""
        await workflow.wait_condition(self._has_grown)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._carried())

    def _has_grown(self) -> bool:
        return self._updates >= _UPDATES_PER_RUN or workflow.info().is_continue_as_new_suggested()

    def _carried(self) -> PersonState:
        uses = min(LOG_USES, _LOGGED_USES // max(1, len(self._grants)))
        return PersonState(
            grants=[grant.model_copy(update={"log": _last(grant.log, uses)}) for grant in self._grants.values()],
            approvals=self._approvals,
            keys=self._keys,
            days=self._days,
            facts=self._facts.facts,
            facts_revision=self._facts.revision,
        )

    @workflow.update(name=CHECK_GRANT)
    def check_grant(self, question: CheckGrant) -> CheckGrantResult:
        """Use a grant for a step if one covers it; else return whether one could be offered."""
        self._updates += 1
        key = digest(CHECK_GRANT, question.key)
        if key in self._keys:
            return self._answered(key, question)
        live = [
            grant
            for grant in self._grants.values()
            if covers(
                grant,
                question.tool,
                question.args,
                question.schedule_id,
                workflow.now(),
                keys=question.keys,
                account=question.account,
            )
        ]
        if not live:
            return CheckGrantResult(offer=self._offer(question))
        grant = min(live, key=lambda grant: grant.uses is not None)  # prefer unlimited grants
        return self._used(key, grant, question)

    def _answered(self, key: str, question: CheckGrant) -> CheckGrantResult:
        """Return the earlier answer for this key, unless the grant was revoked or the arguments differ."""
        grant = self._grants.get(self._keys[key])
        if grant is None or grant.revoked_at or not _fits(grant, question):
            return CheckGrantResult()
        return CheckGrantResult(grant_id=grant.grant_id, says=describe(grant))

    def _used(self, key: str, grant: Grant, question: CheckGrant) -> CheckGrantResult:
        use = Use(key=question.key, assistant_id=question.assistant_id, at=workflow.now())
        used = grant.model_copy(
            update={
                "uses": None if grant.uses is None else grant.uses - 1,
                "used": grant.used + 1,
                "log": _last([*grant.log, use], LOG_USES),
            }
        )
        self._grants[grant.grant_id] = used
        self._remember(key, grant.grant_id)
        return CheckGrantResult(grant_id=grant.grant_id, says=describe(used))

    def _offer(self, question: CheckGrant) -> Scope | None:
        scope = scope_of(question.args, question.sensitive)
        often = (
            scope is not None
            and self._approvals.get(sameness(question.tool, scope, question.account), 0) >= EQUAL_APPROVALS
        )
        return scope if often else None

    @workflow.update(name=RECORD_APPROVAL)
    def record_approval(self, approval: RecordApproval) -> Grant | None:
        """Count an approval; create and return the grant that the person requested with it."""
        self._updates += 1
        key = digest(RECORD_APPROVAL, approval.key)
        if key not in self._keys:
            self._count(approval)
            grant = _grant_of(approval, workflow.now())
            if grant is not None:
                self._keep(grant)
            self._remember(key, grant.grant_id if grant else "")
        return self._grants.get(self._keys[key])

    @record_approval.validator
    def _check_approval(self, approval: RecordApproval) -> None:
        if approval.wish is None or digest(RECORD_APPROVAL, approval.key) in self._keys:
            return
        if requested_scope(approval.wish, approval.args, approval.sensitive) is None:
            raise non_retryable(
                "InvalidArguments", "the action has too many values for a grant of all of them; name `args`"
            )
        self._check_new(approval.wish.expires_at)

    def _count(self, approval: RecordApproval) -> None:
        scope = scope_of(approval.args, approval.sensitive)
        if scope is not None:
            same = sameness(approval.tool, scope, approval.account)
            self._approvals[same] = self._approvals.pop(same, 0) + 1
            _forget_oldest(self._approvals, _APPROVALS)

    @workflow.update(name=ADD_GRANT)
    def add_grant(self, new: NewGrant) -> Grant:
        """Add a grant without an approval. The same id again returns the same grant."""
        self._updates += 1
        if new.grant_id not in self._grants:
            self._keep(
                Grant(
                    **new.model_dump(exclude={"by"}, exclude_unset=True), created_at=workflow.now(), created_by=new.by
                )
            )
        return self._grants[new.grant_id]

    @add_grant.validator
    def _check_add_grant(self, new: NewGrant) -> None:
        if new.grant_id not in self._grants:
            self._check_new(new.expires_at)

    def _check_new(self, expires_at: datetime | None) -> None:
        if problem := check_expiry(expires_at, workflow.now()):
            raise non_retryable("InvalidArguments", problem)
        live = [grant for grant in self._grants.values() if is_live(grant, workflow.now())]
        if len(live) >= _LIVE_GRANTS or sum(map(_size, live)) >= _LIVE_SIZE:
            raise non_retryable(
                "TooManyGrants", f"there are already {len(live)} grants, as many as can be stored; revoke some first"
            )

    @workflow.update(name=REVOKE)
    def revoke(self, revoke: Revoke) -> Grant:
        """Revoke a grant at once; idempotent."""
        self._updates += 1
        grant = self._grants[revoke.grant_id]
        if grant.revoked_at is None:
            self._grants[grant.grant_id] = grant.model_copy(update={"revoked_at": workflow.now()})
            self._approvals.pop(
                sameness(grant.tool, grant, grant.account), None
            )  # do not offer again what was just revoked
        return self._grants[grant.grant_id]

    @revoke.validator
    def _check_revoke(self, revoke: Revoke) -> None:
        if revoke.grant_id not in self._grants:
            raise non_retryable("GrantUnknown", f"there is no grant {revoke.grant_id!r}")

    @workflow.update(name=RECORD_USAGE)
    def record_usage(self, usage: RecordUsage) -> DayUsage:
        """Add to a day and return its totals."""
        self._updates += 1
        key = digest(RECORD_USAGE, usage.key)
        if key not in self._keys:
            self._remember(key, "")
            total = self.day(usage.day).plus(usage.delta)
            self._days[usage.day.isoformat()] = DayUsage(day=usage.day, **dict(total))
            self._days = {day: self._days[day] for day in sorted(self._days)[-_DAYS:]}
        return self.day(usage.day)

    @record_usage.validator
    def _check_usage(self, usage: RecordUsage) -> None:
        if abs(usage.day - on_the_calendar(workflow.now()).date()) > _DAYS_OFF:
            raise non_retryable("InvalidArguments", f"{usage.day} is not today in any time zone")

    @workflow.update(name=NOTE_FACTS)
    def note_facts(self, count: FactCount) -> FactCount:
        """Note how many facts the person has, unless a later count is known. Returns the latest."""
        self._updates += 1
        if count.revision > self._facts.revision:
            self._facts = count
        return self._facts

    @note_facts.validator
    def _check_count(self, count: FactCount) -> None:
        if count.facts < 0 or count.revision > _milliseconds(on_the_calendar(workflow.now()) + _DAYS_OFF):
            raise non_retryable("InvalidArguments", "the number of facts is none, or is from the future")

    @workflow.query(name=FACTS)
    def facts(self) -> FactCount:
        """Return how many facts the memory capability keeps of the person."""
        return self._facts

    @workflow.query(name=GRANTS)
    def grants(self) -> list[Grant]:
        """Return all grants, oldest first, with the ended ones that are still stored."""
        return list(self._grants.values())

    @workflow.query(name=DAY)
    def day(self, day: date) -> DayUsage:
        """Return the usage of a day."""
        return self._days.get(day.isoformat()) or DayUsage(day=day)

    def _keep(self, grant: Grant) -> None:
        """Add a grant; drop all but the newest ended ones."""
        now = workflow.now()
        ended = [known for known in self._grants.values() if not is_live(known, now)]
        kept = {known.grant_id for known in _newest(ended)}
        self._grants = {
            known.grant_id: known for known in self._grants.values() if is_live(known, now) or known.grant_id in kept
        } | {grant.grant_id: grant}

    def _remember(self, key: str, grant_id: str) -> None:
        self._keys[key] = grant_id
        _forget_oldest(self._keys, _KEYS)


def _fits(grant: Grant, question: CheckGrant) -> bool:
    return fits(grant, question.tool, question.args, question.schedule_id, keys=question.keys, account=question.account)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _grant_of(approval: RecordApproval, now: datetime) -> Grant | None:
    """Return the grant requested with an approval. Its id comes from the key, so a repeated request is the same grant."""
    wish = approval.wish
    if wish is None:
        return None
    scope = requested_scope(wish, approval.args, approval.sensitive)
    assert scope is not None  # the update's validator ensures it
    return Grant(
        **dict(scope),
        grant_id=f"g-{digest(RECORD_APPROVAL, approval.key)}",
        tool=approval.tool,
        **({"account": approval.account, "account_words": approval.account_words} if approval.account else {}),
        uses=wish.uses,
        expires_at=wish.expires_at,
        schedule_id=wish.schedule_id,
        also_for=wish.also_for,
        through=approval.through,
        created_at=now,
        created_by=approval.by,
        from_approval=approval.approval,
    )


def _newest(ended: list[Grant]) -> Iterable[Grant]:
    size = 0
    for grant in ended[: -_ENDED_GRANTS - 1 : -1]:
        size += _size(grant)
        if size > _ENDED_SIZE:
            return
        yield grant


def _size(grant: Grant) -> int:
    return len(grant.model_dump_json(exclude={"log"}, exclude_unset=True))


def _last(log: list[Use], count: int) -> list[Use]:
    return log[max(0, len(log) - count) :]


def _forget_oldest(known: dict[str, str] | dict[str, int], count: int) -> None:
    while len(known) > count:
        del known[next(iter(known))]
