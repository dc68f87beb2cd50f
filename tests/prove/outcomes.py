"""How the tests of a guarantee went, from pytest's report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree


@dataclass
class Outcome:
    """Counts of one guarantee's tests, and the ids of those that failed."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)


def outcomes(report: Path, paths: Iterable[str]) -> Outcome:
    """Count the tests in these files, folders or single tests."""
    found = Outcome()
    wanted = tuple(paths)
    for test, state in _tests(report):
        if any(_is_in(test, path) for path in wanted):
            if state == "failed":
                found.failed.append(test)
            elif state == "skipped":
                found.skipped += 1
            else:
                found.passed += 1
    return found


def _tests(report: Path) -> Iterator[tuple[str, str]]:
    for case in ElementTree.parse(report).iter("testcase"):  # written by the pytest that was just started
        kinds = {child.tag for child in case}
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"
        yield test, "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def _is_in(test: str, path: str) -> bool:
    return test.startswith((f"{path}/", f"{path}::", f"{path}[")) or test.partition("@")[0] == path
