"""docs/evaluation.md: its commands are ones, its case can be read, its tables name every field."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.app import app
from cli.evaluation import cases, report
from cli.evaluation.command import SHIPPED
from cli.evaluation.outside import _PLACES as PLACES
from retinue.settings import ROOT

PAGE = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ bin/retinue eval ?(.*)$", PAGE, re.MULTILINE)


def test_the_page_shows_how_to_run_and_compare() -> None:
    assert len(COMMANDS) >= 4
    assert any("--compare" in command for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_understood(command: str) -> None:
    group: Any = typer.main.get_command(app)
    group.commands["eval"].make_context("eval", shlex.split(command))


def test_the_page_names_every_option() -> None:
    group: Any = typer.main.get_command(app)
    options = {option for param in group.commands["eval"].params for option in param.opts if option.startswith("--")}
    assert {option for option in options if option not in PAGE} == set()


def test_the_pages_case_can_be_read(tmp_path: Path) -> None:
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    file = tmp_path / "case.yaml"
    file.write_text(block)
    [case] = cases.read([file])
    assert case.expect.approvals == 1


@pytest.mark.parametrize("model", [cases.Case, cases.Expectation, cases.World])
def test_the_page_names_every_field(model: type[cases.Case]) -> None:
    assert {name for name in model.model_fields if not re.search(rf"`(expect\.)?{name}`", PAGE)} == set()


def test_the_page_names_every_town() -> None:
    assert set(cases.TOWNS) == set(PLACES)
    assert {town for town in cases.TOWNS if town not in PAGE} == set()


@pytest.mark.parametrize("file", sorted((SHIPPED / "reports").glob("*.json")), ids=lambda file: file.stem)
def test_a_committed_report_is_of_shipped_cases(file: Path) -> None:
    """If this fails after a case was renamed: `bin/retinue eval --repeat 3 --json ... --html ...`, and commit both."""
    found = report.read(file)
    assert {result.id for result in found.results} <= {case.id for case in cases.read([SHIPPED])}
    assert found.day > found.at
    assert file.with_suffix(".html").is_file()
    assert file.stat().st_size < 200_000
