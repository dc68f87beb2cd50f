"""The command `retinue eval`: run cases, or compare two reports."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from cli import local
from cli.demo import interruptible
from cli.evaluation import cases, html, report, running, tables
from cli.evaluation.cases import Case
from cli.evaluation.comparison import Comparison, compare
from cli.evaluation.dates import next_monday
from cli.evaluation.report import Attempt, Report
from cli.exits import CommandError, ExitCode, WrongUsage
from cli.render import say, show, tell
from retinue.settings import ROOT

SHIPPED = ROOT / "examples" / "evaluation"
OFFLINE = "offline"


@dataclass(frozen=True)
class Options:
    """The command's options."""

    model: str | None = None
    base_url: str | None = None
    label: str | None = None
    match: str = ""
    repeat: int = 1
    jobs: int = 2
    limit: float = 120
    json: Path | None = None
    html: Path | None = None
    keep: bool = False


def run(paths: Sequence[Path], options: Options) -> ExitCode:
    """Run cases on a private stack and report. It succeeds whatever the model can do.

    Raises:
        WrongUsage: A case is wrong, or none is left.
        CommandError: The stack did not work.
    """
    chosen = [case for case in cases.read(paths or [SHIPPED]) if options.match in case.id or options.match == case.area]
    if not chosen:
        raise WrongUsage(f"no case has {options.match!r} in its id")
    wish = running.Wish(
        cases=chosen,
        now=next_monday(datetime.now(UTC), cases.ZONE),
        repeat=options.repeat,
        jobs=options.jobs,
        limit=options.limit,
        variables=running.model_variables(options.model, options.base_url),
        keep=options.keep,
    )
    model = wish.variables.get("RETINUE_MODEL") or (OFFLINE if not wish.variables else "default")
    tell(f"{len(chosen)} cases, {wish.repeat} attempts each, by the model {model}. Starting a private stack.")
    with interruptible():
        results = running.run(wish, _Progress(len(chosen) * wish.repeat))
    made = Report(
        label=options.label or model,
        model=model,
        at=datetime.now(UTC).replace(microsecond=0),
        day=wish.now,
        machine=report.machine(),
        version=local.project()["version"],
        repeats=wish.repeat,
        results=results,
    )
    show_table(*tables.totals(made))
    show_table(*tables.by_area(made))
    _write(options.json, report.text(made))
    _write(options.html, html.report_page(made))
    return ExitCode.DONE


def compare_files(first: Path, second: Path, options: Options) -> ExitCode:
    """Compare two reports.

    Raises:
        WrongUsage: One is no report, or they have no case in common.
    """
    found = compare(report.read(first), report.read(second))
    say(f"A: {found.first.label}; B: {found.second.label}; {found.cases} cases, paired.")
    show_table(*tables.differences(found))
    for line in _changed(found):
        say(line)
    _write(options.html, html.comparison_page(found))
    return ExitCode.DONE


def _changed(found: Comparison) -> list[str]:
    words = {"B does more often": found.better, "B does less often": found.worse}
    lines = [f"{word}: {', '.join(name for name, _, _ in which)}" for word, which in words.items() if which]
    return [*lines, *([f"In one report only: {', '.join(found.left_out)}"] if found.left_out else [])]


class _Progress:
    """Prints a line for each attempt that is over."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0
        self._turn = threading.Lock()

    def __call__(self, case: Case, number: int, attempt: Attempt) -> None:
        with self._turn:
            self._over += 1
            what = "done" if attempt.done else "; ".join(f"{one.flaw}: {one.says}" for one in attempt.findings)
            tell(f"[{self._over}/{self._total}] {case.id} ({attempt.seconds:.1f} s): {what}")


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    show(table)


def _write(file: Path | None, text: str) -> None:
    if file is None:
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    tell(f"Written: {file}")
