from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import report
from bench.chart import chart
from bench.measure import Block, History
from bench.startup import Startup
from bench.workflow_tasks import Longest

FLOOR = Block("floor", 1, [0.1] * 4, {"server": 0.06, "workers": 0.03, "client": 0.01, "model": 0.02})
PRODUCT = Block("product", 1, [0.12] * 4, {"server": 0.06, "workers": 0.04, "api": 0.01, "client": 0.01, "model": 0.02})
FOUND = report.Found(
    pairs={1: [(FLOOR, PRODUCT)] * 2},
    floor_history=History(events=32, bytes=5000),
    product_history=History(events=34, bytes=12500),
    startup=Startup(ready_seconds=[4, 5, 9], memory_bytes=[500_000_000]),
    longest=Longest(job=12, announcement=80, announced_bytes=200_000, tasks=300),
    load=0.5,
)


def verdicts() -> dict[str, str]:
    return {row.name: row.verdict for row in report.rows(FOUND)}


def test_figures_are_held_against_their_goals() -> None:
    found = verdicts()
    assert found["CPU of a run, 1 at a time"] == "met"
    assert found["history events"] == "met"
    assert found["history bytes"] == "missed by 25%"
    assert found["p95, 1 at a time"] == ""
    assert found["`make up` until ready"] == "met"
    assert found["longest workflow task, CPU"] == "met"
    assert found["longest task, 200 KB announced"] == "met"


def test_a_run_without_starts_has_no_rows_about_them() -> None:
    without = report.Found(FOUND.pairs, FOUND.floor_history, FOUND.product_history, startup=None, longest=None, load=0)
    assert not [row for row in report.rows(without) if "make up" in row.name]


def test_every_line_of_a_table_is_as_long_as_its_head() -> None:
    lines = report.table([("a", "longer"), ("more", "b")]).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3
    assert lines[1] == "| ---- | ------ |"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.between_marks(text, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.between_marks(once, "new") == once


@pytest.mark.parametrize("text", ["no marks", f"{report.END} {report.BEGIN}"])
def test_a_text_without_marks_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        report.between_marks(text, "new")


def test_the_readme_has_the_marks() -> None:
    readme = Path(report.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert "new" in report.between_marks(readme, "new")


def test_the_file_holds_the_figures_and_every_block(tmp_path: Path) -> None:
    report.write_json(FOUND, tmp_path / "out" / "latest.json")
    content = json.loads((tmp_path / "out" / "latest.json").read_text(encoding="utf-8"))
    assert content["blocks"]["1"][0][1]["seconds"] == [0.12] * 4
    assert {figure["name"]: figure["verdict"] for figure in content["figures"]} == verdicts()


def test_the_chart_has_a_bar_for_every_figure_with_a_goal() -> None:
    drawn = ElementTree.fromstring(chart(report.rows(FOUND), note="a <note>"))
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == sum(row.goal is not None for row in report.rows(FOUND))
    assert [bar.get("class") for bar in bars].count("missed") == 1
