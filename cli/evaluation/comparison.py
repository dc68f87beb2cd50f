"""Two reports of the same cases side by side: another model, or other prompts. Paired by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.evaluation.intervals import difference, rate_difference
from cli.evaluation.report import MEANS, CaseResult, Report
from cli.exits import WrongUsage


@dataclass(frozen=True)
class Row:
    """A figure of both reports, and the second minus the first with its interval of 95 %."""

    name: str
    first: float
    second: float
    change: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """Two reports over the cases that both have.

    Attributes:
        left_out: Cases that only one of them has.
        better: Cases that the second does more often, with both rates.
        worse: Cases that it does less often.
    """

    first: Report
    second: Report
    cases: int
    rows: list[Row]
    better: list[tuple[str, float, float]]
    worse: list[tuple[str, float, float]]
    left_out: list[str]


def compare(first: Report, second: Report) -> Comparison:
    """Compare two reports.

    Raises:
        WrongUsage: They have no case in common.
    """
    pairs = list(_pairs(first, second))
    if not pairs:
        raise WrongUsage("the two reports have no case in common")
    changed = [(one.id, one.done, two.done) for one, two in pairs if one.done != two.done]
    ids = {one.id for one, _ in pairs}
    return Comparison(
        first,
        second,
        len(pairs),
        [_row(name, pairs) for name in ("done", "wrong", *MEANS)],
        better=[each for each in changed if each[2] > each[1]],
        worse=[each for each in changed if each[2] < each[1]],
        left_out=[result.id for result in (*first.results, *second.results) if result.id not in ids],
    )


def _pairs(first: Report, second: Report) -> Iterator[tuple[CaseResult, CaseResult]]:
    others = {result.id: result for result in second.results}
    return ((result, others[result.id]) for result in first.results if result.id in others)


def _row(name: str, pairs: list[tuple[CaseResult, CaseResult]]) -> Row:
    one, two = ([_figure(side, name) for side in sides] for sides in zip(*pairs, strict=True))
    change, low, high = (difference if name in MEANS else rate_difference)(one, two)
    return Row(name, sum(one) / len(one), sum(two) / len(two), change, low, high)


def _figure(result: CaseResult, name: str) -> float:
    return result.mean(name) if name in MEANS else float(getattr(result, name))
