"""Metrics of the installation, read from Temporal: at most once in a while, and without it they are absent."""

from __future__ import annotations

from typing import Any

import pytest

from api.http import metrics
from api.services.cluster_metrics import ClusterMetrics
from retinue.errors import ServiceUnavailable


class Away:
    """A Temporal that cannot be reached."""

    def __init__(self) -> None:
        self.asked = 0

    async def connect(self) -> None:
        self.asked += 1
        raise ServiceUnavailable("Temporal cannot be reached")


@pytest.fixture
def away() -> Away:
    return Away()


async def test_without_temporal_old_values_are_gone(away: Away) -> None:
    nothing: Any = None
    metrics.TEMPORAL_UP.set(1)
    metrics.OPEN_RUNS.labels("running").set(7)
    metrics.POLLERS.labels("email").set(1)
    await ClusterMetrics(nothing, nothing).refresh(away.connect)
    shown = metrics.exposition().decode()
    assert "retinue_temporal_up 0.0" in shown
    assert "retinue_open_runs{" not in shown
    assert "retinue_queue_workers{" not in shown


async def test_temporal_is_asked_once_however_often_somebody_asks(away: Away) -> None:
    nothing: Any = None
    cluster = ClusterMetrics(nothing, nothing)
    for _ in range(3):
        await cluster.refresh(away.connect)
    assert away.asked == 1
