"""Figures of reports and comparisons as rows of text, for the terminal and for HTML."""

from __future__ import annotations

from collections.abc import Sequence

from cli.evaluation.comparison import Comparison
from cli.evaluation.report import CaseResult, Figure, Report, areas, mean, phases, rate

Table = tuple[Sequence[str], list[Sequence[str]]]
"""Headings and rows."""
_NAMES = {
    "done": "tasks done",
    "wrong": "cases with a wrong effect",
    "approvals": "approvals asked",
    "tokens": "tokens",
    "cost": "cost",
    "seconds": "seconds",
}
_RATES = ("done", "wrong")


def totals(report: Report) -> Table:
    """Return the figures over all cases."""
    results = report.results
    figures = {"done": rate(results, "done"), "wrong": rate(results, "wrong")}
    figures |= {name: mean(results, name) for name in _NAMES if name not in _RATES}
    rows = [(_NAMES[name], number(name, one.value), _interval(name, one)) for name, one in figures.items()]
    rows += [
        (f"tokens of {phase}", number("tokens", one.value), _interval("tokens", one))
        for phase, one in phases(results).items()
    ]
    return ("", "mean of a case", "95 % interval"), [*rows]


def by_area(report: Report) -> Table:
    """Return the rates of each area."""
    rows = [_area(name, results) for name, results in areas(report.results).items()]
    return ("area", "cases", "done", "95 % interval", "with a wrong effect"), [*rows]


def _area(name: str, results: list[CaseResult]) -> Sequence[str]:
    done = rate(results, "done")
    wrong = rate(results, "wrong").value
    return name, str(len(results)), number("done", done.value), _interval("done", done), number("wrong", wrong)


def differences(comparison: Comparison) -> Table:
    """Return the figures of both reports and their difference."""
    rows = [
        (
            _NAMES[row.name],
            number(row.name, row.first),
            number(row.name, row.second),
            signed(row.name, row.change),
            f"{signed(row.name, row.low)} to {signed(row.name, row.high)}",
            "clear" if row.clear else "within chance",
        )
        for row in comparison.rows
    ]
    return ("", "A", "B", "B - A", "95 % interval", ""), [*rows]


def number(name: str, value: float) -> str:
    """Return a figure as people read it: rates in percent."""
    if name in _RATES:
        return f"{100 * value:.0f} %"
    return f"{value:,.0f}" if name == "tokens" else f"{value:.4g}" if name == "cost" else f"{value:.1f}"


def signed(name: str, value: float) -> str:
    """Return a difference with its sign."""
    return f"{'+' if value > 0 else ''}{number(name, value)}"


def _interval(name: str, figure: Figure) -> str:
    return f"{number(name, figure.low)} to {number(name, figure.high)}"
