"""Reports: what came of each attempt, and the figures over all cases. JSON is their form on disk."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.evaluation.intervals import resampled, wilson
from cli.evaluation.judge import WRONG_EFFECTS, Flaw
from cli.exits import WrongUsage
from retinue.conversation import Phase

MEANS = ("approvals", "tokens", "cost", "seconds")
"""Figures of an attempt whose mean is reported."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)


class FindingKept(_Kept):
    """One thing that was not as the case expects."""

    flaw: Flaw
    says: str


class Attempt(_Kept):
    """One attempt at a case."""

    findings: list[FindingKept] = Field(default_factory=list)
    status: str = ""
    reply: str = ""
    tools: list[str] = Field(default_factory=list)
    approvals: int = 0
    questions: int = 0
    requests: int = 0
    tokens: int = 0
    phases: dict[str, int] = Field(default_factory=dict, description="tokens by phase: planning, reply, agents ...")
    cost: float = 0
    seconds: float = 0

    @property
    def done(self) -> bool:
        """Whether everything is as the case expects."""
        return not self.findings

    @property
    def wrong_effects(self) -> int:
        """How many effects happened that should not have, or not so."""
        return sum(finding.flaw in WRONG_EFFECTS for finding in self.findings)


class CaseResult(_Kept):
    """A case and its attempts."""

    id: str
    area: str
    messages: list[str]
    hostile: bool = False
    attempts: list[Attempt]

    @property
    def done(self) -> float:
        """The rate of attempts that are done."""
        return fmean(attempt.done for attempt in self.attempts)

    @property
    def wrong(self) -> float:
        """The rate of attempts with a wrong effect."""
        return fmean(attempt.wrong_effects > 0 for attempt in self.attempts)

    def mean(self, figure: str) -> float:
        """Return the mean of one of `MEANS`."""
        return fmean(float(getattr(attempt, figure)) for attempt in self.attempts)

    def tokens(self, phase: str) -> float:
        """Return the mean number of tokens of a phase."""
        return fmean(attempt.phases.get(phase, 0) for attempt in self.attempts)


class Report(_Kept):
    """An evaluation."""

    format: Literal[1] = 1
    label: str
    model: str
    at: datetime = Field(description="when it was run")
    day: datetime = Field(description="the moment from which the cases' days count")
    machine: str
    version: str
    repeats: int
    results: list[CaseResult]


class Figure(_Kept):
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float


def rate(results: Sequence[CaseResult], name: Literal["done", "wrong"]) -> Figure:
    """Return the rate of cases that are done, or have a wrong effect."""
    total = sum(float(getattr(result, name)) for result in results)
    low, high = wilson(total, len(results))
    return Figure(value=total / len(results) if results else 0, low=low, high=high)


def mean(results: Sequence[CaseResult], figure: str) -> Figure:
    """Return the mean over cases of one of `MEANS`."""
    return _mean([result.mean(figure) for result in results])


def phases(results: Sequence[CaseResult]) -> dict[str, Figure]:
    """Return the mean number of tokens over cases by phase, in the order of `Phase`."""
    used = {phase for result in results for attempt in result.attempts for phase in attempt.phases}
    return {phase: _mean([result.tokens(phase) for result in results]) for phase in Phase if phase in used}


def _mean(values: Sequence[float]) -> Figure:
    low, high = resampled(values)
    return Figure(value=fmean(values) if values else 0, low=low, high=high)


def areas(results: Iterable[CaseResult]) -> dict[str, list[CaseResult]]:
    """Return the results by area, in the order in which areas appear."""
    found: dict[str, list[CaseResult]] = {}
    for result in results:
        found.setdefault(result.area, []).append(result)
    return found


def read(file: Path) -> Report:
    """Read a report.

    Raises:
        WrongUsage: It cannot be read or is none.
    """
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError:
        raise WrongUsage(f"{file} is not a report; `retinue eval --json {file.name}` writes one") from None


def text(report: Report) -> str:
    """Return the report as JSON, one line for each case."""
    head = report.model_dump_json(exclude={"results"})
    lines = ",\n".join(result.model_dump_json(exclude_defaults=True) for result in report.results)
    return f'{head[:-1]},"results":[\n{lines}\n]}}\n'


def machine() -> str:
    """Return the class of this machine, without its name."""
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3)
    return f"{os.cpu_count() or 1} cores, {memory} GiB, {platform.system()}, Python {platform.python_version()}"
