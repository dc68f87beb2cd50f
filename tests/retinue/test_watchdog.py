"""The liveness check inside a process: what is stuck ends it, what is slow does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from retinue.runtime.process import STUCK
from retinue.runtime.watchdog import PATIENCE, LoopCheck, Watchdog


def watchdog(problem: str | None, file: Path | None = None) -> tuple[Watchdog, list[int]]:
    """A watchdog over something with this problem, and the codes with which it ended the process."""
    ended: list[int] = []
    return Watchdog([lambda: problem], file, end=ended.append), ended


def test_what_is_stuck_ends_the_process_and_its_file_is_not_touched(tmp_path: Path) -> None:
    watched, ended = watchdog("a task does not end", tmp_path / "alive")
    watched.look()
    assert (ended, (tmp_path / "alive").exists()) == ([STUCK], False)


def test_while_all_is_well_the_file_is_touched(tmp_path: Path) -> None:
    watched, ended = watchdog(None, tmp_path / "alive")
    watched.look()
    assert (ended, (tmp_path / "alive").exists()) == ([], True)


def test_a_process_that_is_stopping_is_not_ended_for_what_takes_long() -> None:
    watched, ended = watchdog("a task does not end")
    watched.stop()
    watched.look()
    assert ended == []


def test_a_loop_that_does_not_answer_is_stuck() -> None:
    loop = asyncio.new_event_loop()
    check = LoopCheck(loop)
    assert [check() for _ in range(PATIENCE)] == [None] * PATIENCE
    assert check() == "its event loop does not answer"
    loop.run_until_complete(asyncio.sleep(0))
    assert check() is None
    loop.close()


@pytest.mark.parametrize("looks", [1, PATIENCE * 3])
async def test_a_loop_that_answers_between_two_looks_is_not(looks: int) -> None:
    check = LoopCheck(asyncio.get_running_loop())
    for _ in range(looks):
        assert check() is None
        await asyncio.sleep(0)
