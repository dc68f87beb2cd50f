"""Intervals against known values, reports in JSON and HTML, and two of them compared."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.evaluation import html, report
from cli.evaluation.comparison import compare
from cli.evaluation.intervals import difference, newcombe, rate_difference, resampled, wilson
from cli.evaluation.report import Attempt, CaseResult, FindingKept, Report
from cli.exits import WrongUsage
from tests.cli.conftest import Run

AT = datetime(2027, 3, 1, tzinfo=UTC)
EXTRA = FindingKept.model_validate({"flaw": "extra", "says": "added task: title <script>alert(1)</script>"})


def result(name: str, *done: bool, **more: Any) -> CaseResult:
    """A case with attempts that were done or not."""
    attempts = [Attempt(findings=[] if one else [EXTRA], **more) for one in done]
    return CaseResult(id=name, area=name.partition("-")[0], messages=[f"Do <{name}>"], attempts=attempts)


def made(*results: CaseResult, label: str = "A & B") -> Report:
    """A report."""
    about = {"at": AT, "day": AT, "machine": "2 cores", "version": "0", "repeats": len(results[0].attempts)}
    return Report(label=label, model="some/model", results=list(results), **about)


@pytest.mark.parametrize(
    ("successes", "of", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # Brown, Cai, DasGupta (2001) and every table of the score interval
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval(successes: int, of: int, low: float, high: float) -> None:
    assert wilson(successes, of) == pytest.approx((low, high), abs=0.00006)


def test_the_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = [float(number) for number in range(100)]  # standard error 2.9
    low, high = resampled(values)
    assert low == pytest.approx(49.5 - 1.96 * 2.89, abs=0.7)
    assert high == pytest.approx(49.5 + 1.96 * 2.89, abs=0.7)
    assert resampled(values) == (low, high)
    assert resampled([3.0] * 5) == (3, 3)
    assert resampled([]) == (0, 0)


def test_a_difference_is_paired() -> None:
    before, after = [0.0, 100.0, 1000.0], [1.0, 101.0, 1001.0]
    assert difference(before, after) == (1, 1, 1)


def test_newcombes_interval() -> None:
    assert newcombe((48, 80), (56, 70)) == pytest.approx(
        (0.2, 0.0524, 0.3339), abs=0.00006
    )  # Newcombe (1998), table II


def test_a_difference_of_rates_is_paired_and_never_certain() -> None:
    assert rate_difference([0.0] * 10, [0.0] * 10) == pytest.approx((0, -0.2775, 0.2775), abs=0.00006)
    steady, opposite = [1.0, 0.0] * 20, [0.0, 1.0] * 20
    assert rate_difference(steady, steady) == pytest.approx((0, 0, 0), abs=1e-9)
    assert rate_difference(steady, opposite)[2] > rate_difference(steady, steady)[2] + 0.2
    change, low, high = rate_difference(steady, [1.0] * 40)
    assert change == 0.5
    assert 0.3 < low < 0.5 < high < 0.7


def test_the_unit_is_the_case_and_not_the_attempt() -> None:
    few, many = [result("a", True), result("b", False)], [result("a", *[True] * 50), result("b", *[False] * 50)]
    assert report.rate(few, "done") == report.rate(many, "done")
    assert report.rate(many, "wrong").value == 0.5


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = made(result("a-1", True, False, tokens=120, seconds=2.5, reply="Fine"), result("b-1", True, True))
    file = tmp_path / "report.json"
    file.write_text(report.text(one))
    assert report.read(file) == one
    assert len(file.read_text().splitlines()) == 1 + len(one.results) + 1
    json.loads(file.read_text())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(WrongUsage, match="is not a report"):
        report.read(file)


def test_two_reports_are_compared_case_by_case() -> None:
    names = [f"a-{number}" for number in range(20)]
    one = made(*(result(name, False, tokens=100) for name in names), result("b-1", True))
    two = made(
        *(result(name, True, tokens=90) for name in names[1:]), result(names[0], False, tokens=90), result("c-1", True)
    )
    found = compare(one, two)
    rows = {row.name: row for row in found.rows}
    assert found.cases == 20
    assert (rows["done"].first, rows["done"].second, rows["done"].change) == (0, 0.95, 0.95)
    assert rows["done"].clear
    assert (rows["tokens"].change, rows["tokens"].low, rows["tokens"].high) == (-10, -10, -10)
    assert not rows["cost"].clear
    assert [name for name, _, _ in found.better] == names[1:]
    assert found.worse == []
    assert found.left_out == ["b-1", "c-1"]


def test_reports_without_a_common_case_are_refused() -> None:
    with pytest.raises(WrongUsage, match="no case in common"):
        compare(made(result("a", True)), made(result("b", True)))


def pages() -> list[str]:
    one, two = (
        made(result("a-1", True), result("b-1", False)),
        made(result("a-1", False), result("b-1", True), label="<b>"),
    )
    return [html.report_page(one), html.comparison_page(compare(one, two))]


@pytest.mark.parametrize("page", pages(), ids=["report", "comparison"])
def test_a_page_stands_alone(page: str) -> None:
    assert "<script" not in page
    assert re.findall(r"""(?:src|href)\s*=|url\(|@import|https?://""", page) == []
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page


def test_what_models_wrote_is_escaped() -> None:
    report_page, comparison_page = pages()
    assert "A &amp; B" in report_page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report_page
    assert "<b>" not in comparison_page


def test_the_command_compares_two_files(retinue: Run, tmp_path: Path) -> None:
    one, two, page = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "page.html"
    one.write_text(report.text(made(result("a-1", True), result("b-1", True))))
    two.write_text(report.text(made(result("a-1", False), result("b-1", True), label="Other prompt")))
    done = retinue("eval", "--compare", str(one), str(two), "--html", str(page))
    assert done.exit_code == 0
    assert "B does less often: a-1" in done.stdout
    assert "Other prompt" in page.read_text()


def test_a_wrong_case_ends_the_command_before_anything_starts(retinue: Run, tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text("- id: one\n")
    done = retinue("eval", str(file))
    assert done.exit_code == 2
    assert f"{file}:1: one: `area`: it is missing" in done.stderr.replace("\n", "")
