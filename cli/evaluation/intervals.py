"""Intervals of 95 %: Wilson's for rates, Newcombe's for differences of rates, resampling of cases for all else.

The unit is the case: repeats of one case say nothing about other requests, so they are averaged first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import correlation, fmean

Z = 1.959963984540054
"""The normal quantile for 95 %."""
RESAMPLES = 2000
_SEED = 15


def wilson(successes: float, of: int) -> tuple[float, float]:
    """Return Wilson's score interval of a rate; (0, 1) if nothing was counted.

    Args:
        successes: 0 to `of`. It may be fractional: the sum of rates of cases that were repeated.
        of: The number of cases.
    """
    if of == 0:
        return 0.0, 1.0
    rate = successes / of
    middle = (rate + Z**2 / (2 * of)) / (1 + Z**2 / of)
    half = Z / (1 + Z**2 / of) * math.sqrt(rate * (1 - rate) / of + Z**2 / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def resampled(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentile interval of the mean over cases drawn with replacement. The draws are always the same."""
    if not values:
        return 0.0, 0.0
    draw = random.Random(_SEED)  # noqa: S311  # statistics, not secrets
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = round(RESAMPLES * 0.025), round(RESAMPLES * 0.975) - 1
    return means[low], means[high]


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean difference `second - first` of the same cases in the same order, and its interval."""
    by_case = [after - before for before, after in zip(first, second, strict=True)]
    low, high = resampled(by_case)
    return (fmean(by_case) if by_case else 0.0), low, high


def rate_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference `second - first` of two rates of the same cases, and its interval by Newcombe's method 10.

    Unlike resampling it does not end at zero width when all cases are the same.

    Args:
        first: The rate of each case, 0 to 1.
        second: The same cases in the same order.
    """
    one, two = (sum(first), len(first)), (sum(second), len(second))
    return newcombe(one, two, phi=_phi(first, second))


def newcombe(first: tuple[float, int], second: tuple[float, int], *, phi: float = 0) -> tuple[float, float, float]:
    """Return the difference of two rates, each as successes and cases, and its interval (Newcombe 1998)."""
    (low1, high1), (low2, high2) = wilson(*first), wilson(*second)
    rate1, rate2 = (successes / of if of else 0.0 for successes, of in (first, second))
    change = rate2 - rate1
    below = _added(rate2 - low2, high1 - rate1, phi)
    above = _added(high2 - rate2, rate1 - low1, phi)
    return change, change - below, change + above


def _added(one: float, two: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * two + two**2))


def _phi(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Pearson's correlation, which for yes and no is phi; 0 if one side never varies."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return correlation(first, second)
