from __future__ import annotations

import pytest

from bench.measure import Block, by_group, cpu_of, latency_of, percentile, ratio


def block(side: str, seconds: list[float], **cpu: float) -> Block:
    return Block(side, 1, seconds, cpu)


PAIRS = [
    (block("floor", [0.1, 0.2], server=0.05, workers=0.05, model=9), block("product", [0.2, 0.4], server=0.2, api=0.1)),
    (block("floor", [0.2, 0.3], server=0.05, workers=0.05), block("product", [0.4, 0.6], server=0.2, api=0.1)),
    (block("floor", [0.1, 0.3], server=0.1, workers=0.7), block("product", [0.2, 0.6], server=0.5, api=1.9)),
]


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 2.5), (0.9, 3.7), (1, 4)])
def test_a_percentile_lies_between_its_neighbours(share: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], share) == pytest.approx(value)


def test_cpu_of_a_run_leaves_the_model_out_and_one_disturbed_block_does_not_move_it() -> None:
    assert cpu_of([floor for floor, _ in PAIRS]) == pytest.approx(0.1)
    assert cpu_of([product for _, product in PAIRS]) == pytest.approx(0.3)


def test_a_ratio_is_product_over_floor_and_its_spread_contains_it() -> None:
    found = ratio(PAIRS, cpu_of)
    assert found.ratio == pytest.approx(3)
    assert found.low <= found.ratio <= found.high


def test_a_ratio_that_every_pair_shares_has_no_spread() -> None:
    found = ratio(PAIRS, latency_of(0.5))
    assert (found.ratio, found.low, found.high) == pytest.approx((2, 2, 2))


def test_the_same_pairs_give_the_same_spread() -> None:
    assert ratio(PAIRS, latency_of(0.95)) == ratio(PAIRS, latency_of(0.95))


def test_cpu_is_also_known_by_process_group() -> None:
    assert by_group(PAIRS, 1) == {"server": 0.2, "api": 0.1}
