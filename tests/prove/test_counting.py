"""The chaos's own tests: what it calls lost, doubled or unasked; and the tests that guarantees name exist."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.prove import chaos
from tests.prove.chaos import Chaos, Result, Wish
from tests.prove.guarantees import CHAOS, GUARANTEES
from tests.prove.outcomes import outcomes

ROOT = Path(__file__).parents[2]
DECIDED = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def counted(folder: Path, wish: Wish, *, tasks: list[str] = [], mails: list[tuple[str, datetime]] = []) -> Result:  # noqa: B006  # never changed
    """What the chaos says of one wish and what stands in the stores."""
    with sqlite3.connect(folder / "tasks.db") as database:
        database.execute("CREATE TABLE task (title)")
        database.executemany("INSERT INTO task VALUES (?)", [(title,) for title in tasks])
    with sqlite3.connect(folder / "email.db") as database:
        database.execute("CREATE TABLE messages (subject, date, folder)")
        rows = [(subject, f"{date:%Y-%m-%d %H:%M:%S}", "sent") for subject, date in mails]
        database.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)
    storm = Chaos(folder, seed=1, runs=0, fault_each=0, longest=0)
    storm._asked, storm._began = [wish], 0.0
    return storm._count(seconds=1)


def wish(kind: chaos.Kind, status: str = "completed", **fields: Any) -> Wish:
    return Wish(7, kind, **{"acknowledged": "a-1", "status": status, "decided_at": DECIDED, **fields})


MARK = Wish(7, "task").mark


def test_one_effect_of_each_wish_is_well(tmp_path: Path) -> None:
    assert counted(tmp_path, wish("mail"), mails=[(MARK, DECIDED)]).holds


@pytest.mark.parametrize("status", ["never acknowledged", "running"])
def test_an_acknowledged_run_that_has_not_ended_is_lost(tmp_path: Path, status: str) -> None:
    assert len(counted(tmp_path, wish("task", status), tasks=[MARK]).lost) == 1


def test_a_completed_run_without_its_effect_is_lost(tmp_path: Path) -> None:
    assert len(counted(tmp_path, wish("task")).lost) == 1


def test_what_nobody_acknowledged_is_not_lost(tmp_path: Path) -> None:
    assert counted(tmp_path, wish("task", "never acknowledged", acknowledged=None)).holds


def test_an_effect_that_stands_twice_is_doubled(tmp_path: Path) -> None:
    assert len(counted(tmp_path, wish("task"), tasks=[MARK, MARK]).doubled) == 1


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (wish("refused mail"), DECIDED),
        (wish("mail", decided_at=None), DECIDED),
        (wish("mail"), DECIDED - timedelta(minutes=1)),
    ],
)
def test_a_mail_without_a_yes_before_it_is_unasked(tmp_path: Path, asked: Wish, sent: datetime) -> None:
    assert len(counted(tmp_path, asked, mails=[(MARK, sent)]).unasked) == 1


def test_an_effect_of_no_wish_is_unasked(tmp_path: Path) -> None:
    assert len(counted(tmp_path, wish("task"), tasks=[MARK, "mark 000099"]).unasked) == 1


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.id)
def test_the_tests_of_a_guarantee_exist(guarantee: Any) -> None:
    for path in {*guarantee.tests, *guarantee.short} - {CHAOS}:
        file, _, test = path.partition("::")
        assert (ROOT / file).exists(), path
        assert not test or f"def {test}(" in (ROOT / file).read_text(), path


def test_each_test_counts_for_its_guarantee_alone(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.a.test_b" name="test_c[x::y]"/>'
        '<testcase classname="tests.a.test_b" name="test_d@heavy"><failure/></testcase>'
        '<testcase classname="tests.a.test_e" name="test_f"><skipped/></testcase>'
        '<testcase classname="tests.ab.test_e" name="test_f"/>'
        "</testsuite></testsuites>"
    )
    whole, single, file = (
        outcomes(report, [path]) for path in ("tests/a", "tests/a/test_b.py::test_d", "tests/a/test_b.py")
    )
    assert (whole.passed, whole.skipped, whole.failed) == (1, 1, ["tests/a/test_b.py::test_d@heavy"])
    assert (single.passed, single.failed) == (0, ["tests/a/test_b.py::test_d@heavy"])
    assert (file.passed, file.skipped) == (1, 0)


@pytest.mark.long
@pytest.mark.xdist_group("heavy")
@pytest.mark.timeout(400)
def test_a_small_storm_loses_and_doubles_nothing() -> None:
    """`make prove` does much more."""
    result = chaos.run(seed=2, runs=80, fault_each=2, longest=60)
    assert result.holds, result
    assert result.acknowledged == result.requested > 0
    assert sum(result.faults.values()) > 0
