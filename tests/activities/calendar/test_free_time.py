"""Gaps and slots, without a calendar around them."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from activities.calendar.free_time import Stretch, gaps, slots


def _at(hours: float) -> datetime:
    return datetime(2026, 11, 27, tzinfo=UTC) + timedelta(hours=hours)


def _stretches(*pairs: tuple[float, float]) -> list[Stretch]:
    return [(_at(start), _at(end)) for start, end in pairs]


@pytest.mark.parametrize(
    ("busy", "free"),
    [
        ([], [(9, 17)]),
        ([(7, 9)], [(9, 17)]),
        ([(17, 18)], [(9, 17)]),
        ([(7, 10)], [(10, 17)]),
        ([(16, 18)], [(9, 16)]),
        ([(8, 18)], []),
        ([(9, 17)], []),
        ([(9, 10), (10, 11)], [(11, 17)]),
        ([(10, 13), (11, 12)], [(9, 10), (13, 17)]),
        ([(10, 12), (11, 13)], [(9, 10), (13, 17)]),
        ([(10, 11), (12, 13)], [(9, 10), (11, 12), (13, 17)]),
        ([(18, 19)], [(9, 17)]),
    ],
)
def test_gaps_are_what_no_stretch_covers(busy: list[tuple[float, float]], free: list[tuple[float, float]]) -> None:
    found = [list(gaps(order, _at(9), _at(17))) for order in permutations(_stretches(*busy))]

    assert found == [_stretches(*free)] * len(found)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ([(9, 10)], [(9, 10)]),
        ([(9, 9.99)], []),
        ([(9, 11.5)], [(9, 10), (10, 11)]),
        ([(9, 9.5), (10, 11)], [(10, 11)]),
        ([], []),
    ],
)
def test_slots_follow_each_other_from_the_beginning_of_each_gap(
    free: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    assert list(slots(_stretches(*free), timedelta(hours=1))) == _stretches(*expected)
