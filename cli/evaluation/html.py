"""A report or a comparison as one HTML file: no scripts, nothing loaded, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from cli.evaluation import tables
from cli.evaluation.comparison import Comparison
from cli.evaluation.report import Attempt, CaseResult, Report

_STYLE = """
:root { color-scheme: light dark; --line: #c8ccd2; --soft: #5b6470; --good: #17692f; --bad: #a3191f; --back: #fff; --text: #16191d }
@media (prefers-color-scheme: dark) {
  :root { --line: #3b424b; --soft: #a3acb8; --good: #6fd08c; --bad: #ff8f8f; --back: #14171a; --text: #e8eaed }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; background: var(--back); color: var(--text) }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
.soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
details { border-bottom: 1px solid var(--line); padding: .4rem 0 } summary { cursor: pointer }
li, dd { overflow-wrap: anywhere }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(report: Report) -> str:
    """Return the page of a report."""
    facts = (
        f"Model {report.model}; {len(report.results)} cases, {report.repeats} attempts each; "
        f"{report.at:%Y-%m-%d}, {report.machine}; Retinue {report.version}"
    )
    body = [
        f"<h1>{escape(report.label)}</h1><p class=soft>{escape(facts)}</p>",
        _table("All cases", *tables.totals(report)),
        _table("By area", *tables.by_area(report)),
        "<h2>Cases</h2>",
        *(_case(result) for result in report.results),
    ]
    return _page(report.label, body)


def comparison_page(comparison: Comparison) -> str:
    """Return the page of a comparison."""
    first, second = comparison.first, comparison.second
    names = "".join(
        f"<li>{letter}: {escape(one.label)} <span class=soft>({escape(one.model)}, {one.at:%Y-%m-%d}, {escape(one.machine)})</span>"
        for letter, one in (("A", first), ("B", second))
    )
    body = [
        f"<h1>Two reports compared</h1><ul>{names}</ul>",
        _table(f"{comparison.cases} cases, paired", *tables.differences(comparison)),
        *_changed("Cases that B does more often", comparison.better),
        *_changed("Cases that B does less often", comparison.worse),
    ]
    if comparison.left_out:
        body.append(f"<p class=soft>In one report only: {escape(', '.join(comparison.left_out))}</p>")
    return _page(f"{first.label} and {second.label}", body)


def _changed(title: str, cases: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    if cases:
        rows = [(name, tables.number("done", one), tables.number("done", two)) for name, one, two in cases]
        yield _table(title, ("case", "A", "B"), rows)


def _case(result: CaseResult) -> str:
    word, shade = ("done", "good") if result.done == 1 else ("not done", "bad")
    if 0 < result.done < 1:
        word = f"done in {result.done:.0%} of attempts"
    wrong = ", <span class=bad>a wrong effect</span>" if result.wrong else ""
    hostile = ", hostile" if result.hostile else ""
    attempts = "".join(_attempt(number, attempt) for number, attempt in enumerate(result.attempts, start=1))
    return (
        f"<details><summary>{escape(result.id)}: <span class={shade}>{word}</span>{wrong} "
        f"<span class=soft>({escape(result.area)}{hostile})</span></summary>"
        f"<p>{'<br>'.join(map(escape, result.messages))}</p>{attempts}</details>"
    )


def _attempt(number: int, attempt: Attempt) -> str:
    spent = f"{attempt.status.replace('_', ' ')}, {attempt.tokens:,} tokens, {attempt.seconds:.1f} s"
    found = "".join(f"<li class=bad>{escape(one.flaw)}: {escape(one.says)}" for one in attempt.findings)
    return (
        f"<p>Attempt {number}: <span class=soft>{escape(spent)}; {escape(', '.join(attempt.tools) or 'no tools')}</span></p>"
        f"<ul>{found}</ul><p class=soft>{escape(attempt.reply)}</p>"
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _page(title: str, body: Sequence[str]) -> str:
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
