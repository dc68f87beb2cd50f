"""The budget of a run and of the person's day, and the question "top up or stop" when one is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import JsonValue, ValidationError
from temporalio import workflow

from retinue.conversation import Usage
from retinue.times import local as local_time
from retinue.times import on_the_calendar
from workflows.consent import lookups
from workflows.consent.approvals import Approvals, Question
from workflows.messages import ApprovalKind, ApprovalStatus, BudgetView, StartAssistant
from workflows.rules.budget import Budget, Limits
from workflows.rules.grants import Amounts, DayUsage, RecordUsage
from workflows.rules.policy import DEFAULT_POLICY, Decision, Verdict

_WORDS = {"requests": "requests to the language model", "tool_calls": "tool calls"}


class BudgetStopped(Exception):
    """The budget is used up and the person chose to stop."""


@dataclass(frozen=True)
class ExceededLimit:
    """A limit that would be exceeded, and the amount that a top-up offers."""

    says: str
    again: float
    of_the_day: bool = False


class ReserveBudget(Protocol):
    """Waits until the budget allows the amounts; their names are those of `Limits`."""

    def __call__(self, **amounts: float) -> Awaitable[None]:
        """Count the amounts as used.

        Raises:
            BudgetStopped: The budget is used up and the person chose to stop.
        """


class BudgetGuard:
    """Counts what a run uses, and asks its person when a budget is used up. It never ends a run silently."""

    def __init__(self, start: StartAssistant, approvals: Approvals) -> None:
        policy = start.policy or DEFAULT_POLICY
        self._start = start
        self._approvals = approvals
        self._limits = start.budget or policy.run_budget or Limits()
        self._budget = Budget(self._limits, started=workflow.now())
        self._day_limits = policy.day_budget
        continued = start.continued
        self.day_extra = dict(continued.day_extra) if continued else {}
        self.day_extra_on = continued.day_extra_on if continued else None
        self._reported: dict[str, float] = {}
        self.asked = continued.asked_budgets if continued else 0
        self._reports = 0
        self._one_at_a_time = asyncio.Lock()
        self._stopped = False

    def begin_turn(self) -> None:
        """Begin a new budget for a chat's next message; an earlier stop does not apply to it."""
        self._stopped = False
        # usage so far still counts for the day
        self._carry_over()
        self._budget = Budget(self._limits, started=workflow.now())

    def _carry_over(self) -> None:
        for name, amount in self._budget.used().items():
            self._reported[name] = self._reported.get(name, 0) - amount

    def used(self, usage: Usage, *, counted: int) -> None:
        """Count what a model used; `counted` requests were already reserved, perhaps too many."""
        more = usage.requests - counted
        self._budget.take(requests=more, tokens=usage.input_tokens + usage.output_tokens, cost=usage.cost)

    def works(self, working: bool) -> None:
        """Record whether the run works, or only waits for people."""
        self._budget.works(working, workflow.now())

    def view(self) -> BudgetView | None:
        """Return the budget as people see it; None if it is the policy's and has not been used up."""
        if self._start.budget is None and self.asked == 0:
            return None
        return BudgetView(limits=self._budget.limits, used=self._budget.used())

    @property
    def stopped(self) -> bool:
        """Whether the person chose to stop rather than to top up."""
        return self._stopped

    async def reserve(self, **amounts: float) -> None:
        """Count `amounts` as used; ask for a top-up first if they would exceed a limit.

        Raises:
            BudgetStopped: The person chose to stop.
        """
        async with self._one_at_a_time:
            while not self._stopped and (exceeded := await self._exceeded(amounts)):
                self._stopped = not await self._topped_up(exceeded)
            if self._stopped:
                raise BudgetStopped
            self._budget.take(**amounts)

    async def _exceeded(self, amounts: Mapping[str, float]) -> dict[str, ExceededLimit]:
        """Return the limits that these amounts would exceed, by name."""
        run = self._budget.exceeded_by(workflow.now(), **amounts)
        limits, used = self._budget.limits.model_dump(), self._budget.used()
        exceeded = {
            name: ExceededLimit(
                f"{_usage_text(name, used[name], limits[name])} of this run", self._limits.model_dump()[name]
            )
            for name in run
        }
        return exceeded or await self._exceeded_of_the_day(amounts)

    async def _exceeded_of_the_day(self, amounts: Mapping[str, float]) -> dict[str, ExceededLimit]:
        if self._day_limits is None:
            return {}
        day = await self._report()
        limits = self._day_limits.model_dump(exclude_none=True)
        if day and day.day != self.day_extra_on:
            self.day_extra, self.day_extra_on = {}, day.day  # a top-up holds for its day only
        exceeded = {}
        for name, limit in limits.items() if day else ():
            allowed = limit + self.day_extra.get(name, 0)
            if name in amounts and getattr(day, name) + max(amounts[name], 0) >= allowed + (amounts[name] > 0):
                exceeded[name] = ExceededLimit(
                    f"{_usage_text(name, getattr(day, name), allowed)} of today", limit, of_the_day=True
                )
        return exceeded

    async def _report(self) -> DayUsage | None:
        """Add the usage since the last report to the person's day; None if the day's totals are unavailable."""
        used = self._budget.used()
        delta = {name: round(amount - self._reported.get(name, 0), 6) for name, amount in used.items()}
        self._reports += 1
        usage = RecordUsage(
            key=f"{workflow.info().workflow_id}/{workflow.info().run_id[:8]}/{self._reports}",
            day=local_time(on_the_calendar(workflow.now()), self._start.day_timezone).date(),
            delta=Amounts.model_validate({name: max(0, amount) for name, amount in delta.items()}),
        )
        day = await lookups.record_usage(self._start.owner, usage)
        if day is not None:
            self._reported = dict(used)
        return day

    async def _topped_up(self, exceeded: Mapping[str, ExceededLimit]) -> bool:
        """Ask for a top-up. Returns whether it was approved."""
        self.asked += 1
        approval_id = self._approvals.ask(self._question(exceeded), now=workflow.now())
        view = await self._approvals.decided(approval_id)
        if view.status is not ApprovalStatus.APPROVED:
            return False
        for name, amount in Limits.model_validate(view.args).model_dump(exclude_none=True).items():
            if exceeded[name].of_the_day:
                self.day_extra[name] = self.day_extra.get(name, 0) + amount
            else:
                self._budget.top_up(Limits.model_validate({name: amount}))
        return True

    def _question(self, exceeded: Mapping[str, ExceededLimit]) -> Question:
        terms = Verdict(decision=Decision.ASK, rule="budget", reasons=[limit.says for limit in exceeded.values()])
        again = {name: limit.again for name, limit in exceeded.items()}
        return Question(
            id=f"ap-budget-{self.asked}",
            kind=ApprovalKind.BUDGET,
            tool="budget.top_up",
            title="The budget is used up: top it up by this, or reject to stop",
            args=dict(again),
            args_schema=_schema(again),
            terms=terms,
            judge=lambda _: terms,
            check=_problems,
        )

    async def settle(self) -> None:
        """Report the remaining usage to the day's budget."""
        if self._day_limits is not None:
            await self._report()


def _usage_text(name: str, used: float, limit: float) -> str:
    return f"{used:g} of {limit:g} {_WORDS.get(name, name)}"


def _problems(amounts: Mapping[str, JsonValue]) -> Iterator[str]:
    try:
        Limits.model_validate(amounts)
    except ValidationError as error:
        yield from (f"{'/'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def _schema(amounts: Mapping[str, float]) -> dict[str, Any]:
    kinds = {name: "number" if name in ("cost", "seconds") else "integer" for name in amounts}
    properties = {name: {"type": kind, "exclusiveMinimum": 0} for name, kind in kinds.items()}
    return {"type": "object", "properties": properties, "required": list(amounts), "additionalProperties": False}
