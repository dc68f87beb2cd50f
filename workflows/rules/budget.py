"""Budgets: what a run, or a person in a day, may use before the person is asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from retinue.schemas.plain_number import PLAIN_NUMBER

_Count = Annotated[int, Field(ge=1), PLAIN_NUMBER]
_UpTo10000 = Annotated[int, Field(ge=1, le=10_000), PLAIN_NUMBER]
_Amount = Annotated[float, Field(gt=0), PLAIN_NUMBER]


class Limits(BaseModel):
    """The limits of a budget; None is unlimited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: _UpTo10000 | None = Field(None, description="requests to language models")
    tokens: _Count | None = Field(None, description="tokens of language models, input and output together")
    cost: _Amount | None = Field(None, description="in the currency of the configured prices")
    steps: _UpTo10000 | None = Field(None, description="steps of plans, including delegated ones")
    tool_calls: _UpTo10000 | None = Field(None, description="calls of tools, including those of agents")
    seconds: _Amount | None = Field(None, description="of work, without waiting for people")


class Budget:
    """A run's limits and usage. Time in which it only waited for people does not count."""

    def __init__(self, limits: Limits, *, started: datetime) -> None:
        self._limits = limits
        self._used: dict[str, float] = dict.fromkeys(Limits.model_fields, 0)
        self._working_since: datetime | None = started

    def take(self, **amounts: float) -> None:
        """Count amounts as used, by the names of `Limits`."""
        for name, amount in amounts.items():
            self._used[name] += amount

    def top_up(self, more: Limits) -> None:
        """Raise the limits that exist."""
        grown = {
            name: getattr(self._limits, name) + amount
            for name, amount in more.model_dump(exclude_none=True).items()
            if getattr(self._limits, name) is not None
        }
        self._limits = self._limits.model_copy(update=grown)

    def works(self, working: bool, now: datetime) -> None:
        """Record whether the run works or only waits for people; idempotent."""
        if self._working_since is not None:
            self._used["seconds"] += (now - self._working_since).total_seconds()
        self._working_since = now if working else None

    def exceeded_by(self, now: datetime, **amounts: float) -> list[str]:
        """Return the names of the limits on `amounts` and on time that using `amounts` would exceed.

        Give amounts that are unknown beforehand, such as the tokens of an answer, as 0: then a limit counts as exceeded
        once it is reached.
        """
        self.works(self._working_since is not None, now)
        broken = []
        for name, amount in {**amounts, "seconds": 0}.items():
            limit, used = getattr(self._limits, name), self._used[name]
            if limit is not None and (used + amount > limit or (amount == 0 and used >= limit)):
                broken.append(name)
        return broken

    @property
    def limits(self) -> Limits:
        """The limits including top-ups."""
        return self._limits

    def used(self) -> dict[str, float]:
        """Return the usage by the names of `Limits`, rounded to six places."""
        return {name: round(amount, 6) for name, amount in self._used.items()}
