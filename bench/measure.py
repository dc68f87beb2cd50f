"""The interleaved run: blocks of both sides in turn, what each cost, and the ratios with their spread."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.stage import Side, Stage

SETTLE = 0.25
"""Seconds after a block in which what it left to do (visibility records, acknowledgements) is still counted for it."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    runs: int
    concurrency: tuple[int, ...]
    seconds: float
    """No new pair begins later than this after the first."""
    most_pairs: int = 12
    least_pairs: int = 2
    warm_up: int = 24
    seed: int = 7


@dataclass(frozen=True)
class Block:
    """What one block of runs of one side took."""

    side: str
    concurrency: int
    seconds: list[float]
    cpu: dict[str, float]
    """CPU seconds per run by process group."""

    @property
    def cpu_per_run(self) -> float:
        """CPU seconds per run of everything but the model."""
        return sum(value for group, value in self.cpu.items() if group != "model")


Pair = tuple[Block, Block]
"""A block of the floor and one of the product, next to each other in time."""


@dataclass(frozen=True)
class Ratio:
    """Product over floor."""

    floor: float
    product: float
    ratio: float
    low: float
    high: float
    """The middle 90 % of the ratio over bootstrap samples of the pairs."""


async def interleaved(stage: Stage, plan: Plan, *, say: Callable[[str], None]) -> dict[int, list[Pair]]:
    """Measure all pairs. Each pair's order and the order of concurrencies are drawn by a fixed seed."""
    order = random.Random(plan.seed)
    for side in (stage.floor, stage.product):
        for concurrency in plan.concurrency:
            await block(stage, side, concurrency=concurrency, runs=plan.warm_up)
    found: dict[int, list[Pair]] = {concurrency: [] for concurrency in plan.concurrency}
    began = time.monotonic()
    for number in range(plan.most_pairs):
        for concurrency in order.sample(plan.concurrency, len(plan.concurrency)):
            found[concurrency].append(await _pair(stage, plan, concurrency, floor_first=order.random() < 0.5))
        say(f"pair {number + 1} of {plan.most_pairs}, {time.monotonic() - began:.0f} s")
        if time.monotonic() - began > plan.seconds and number + 1 >= plan.least_pairs:
            break
    return found


async def _pair(stage: Stage, plan: Plan, concurrency: int, *, floor_first: bool) -> Pair:
    runs = max(plan.runs, 2 * concurrency)
    sides: list[Side] = [stage.floor, stage.product] if floor_first else [stage.product, stage.floor]
    blocks = {side.name: await block(stage, side, concurrency=concurrency, runs=runs) for side in sides}
    return blocks["floor"], blocks["product"]


async def block(stage: Stage, side: Side, *, concurrency: int, runs: int) -> Block:
    """Run one side `runs` times, `concurrency` at a time."""
    stage.processes.check()
    before = _cpu(stage, side)
    seconds = await _timed_runs(side, concurrency=concurrency, runs=runs)
    await asyncio.sleep(SETTLE)
    after = _cpu(stage, side)
    return Block(side.name, concurrency, seconds, {group: (after[group] - before[group]) / runs for group in after})


async def _timed_runs(side: Side, *, concurrency: int, runs: int) -> list[float]:
    left = iter(range(runs))
    seconds: list[float] = []

    async def one_after_the_other() -> None:
        for _ in left:
            started = time.perf_counter()
            await side.run()
            seconds.append(time.perf_counter() - started)

    await asyncio.gather(*[one_after_the_other() for _ in range(concurrency)])
    return seconds


def _cpu(stage: Stage, side: Side) -> dict[str, float]:
    """CPU seconds so far of what works for a side. The client is this process, on both sides."""
    mine = {
        "server": stage.processes.cpu_seconds("server"),
        "workers": stage.processes.cpu_seconds(f"{side.name} workers"),
        "client": time.process_time(),
        "model": stage.processes.cpu_seconds("model"),
    }
    return mine if side.name == "floor" else {**mine, "api": stage.processes.cpu_seconds("api")}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, interpolated between neighbours."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def cpu_of(blocks: Sequence[Block]) -> float:
    """CPU seconds per run: the median over the blocks, which one disturbed block does not move."""
    return statistics.median(block.cpu_per_run for block in blocks)


def latency_of(share: float) -> Callable[[Sequence[Block]], float]:
    """A percentile of the seconds of all runs."""
    return lambda blocks: percentile([second for block in blocks for second in block.seconds], share)


def ratio(pairs: Sequence[Pair], figure: Callable[[Sequence[Block]], float], *, seed: int = 7) -> Ratio:
    """A figure of both sides, their ratio, and how far it moves when the pairs are drawn anew."""
    draw = random.Random(seed)
    resampled = [_ratio_of(draw.choices(pairs, k=len(pairs)), figure) for _ in range(_RESAMPLES)]
    floor, product = (figure([pair[side] for pair in pairs]) for side in (0, 1))
    return Ratio(floor, product, product / floor, percentile(resampled, 0.05), percentile(resampled, 0.95))


def _ratio_of(pairs: Sequence[Pair], figure: Callable[[Sequence[Block]], float]) -> float:
    return figure([product for _, product in pairs]) / figure([floor for floor, _ in pairs])


def by_group(pairs: Sequence[Pair], side: int) -> dict[str, float]:
    """Median CPU seconds per run of each process group of one side (0 the floor, 1 the product)."""
    groups = pairs[0][side].cpu
    return {group: statistics.median(pair[side].cpu[group] for pair in pairs) for group in groups}


@dataclass(frozen=True)
class History:
    """The size of one run's history."""

    events: int
    bytes: int


async def history_of(stage: Stage, side: Side, *, runs: int = 9) -> History:
    """The median size of the history of some runs, one after the other."""
    found = [await _history(stage, await side.run()) for _ in range(runs)]
    return History(
        events=round(statistics.median(history.events for history in found)),
        bytes=round(statistics.median(history.bytes for history in found)),
    )


async def _history(stage: Stage, workflow_id: str) -> History:
    description = await stage.client.get_workflow_handle(workflow_id).describe()
    info = description.raw_description.workflow_execution_info
    return History(events=info.history_length, bytes=info.history_size_bytes)


def as_json(pairs: dict[int, list[Pair]]) -> dict[str, Any]:
    """All blocks, for the file."""
    return {str(key): [[asdict(block) for block in pair] for pair in value] for key, value in pairs.items()}
