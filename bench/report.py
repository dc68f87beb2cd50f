"""What was found, as a table with the goals beside it, as JSON, and in the README between two marks."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.measure import History, Pair, Ratio, as_json, by_group, cpu_of, latency_of, ratio
from bench.startup import Startup
from bench.workflow_tasks import GOAL, Longest

BEGIN = "<!-- table: written by `python -m bench --commit`, never by hand -->"
END = "<!-- end of the table -->"
GROUPS = ("server", "workers", "api", "client", "model")
_MB = 1_000_000


@dataclass(frozen=True)
class Row:
    """One figure: both sides, what they make, and what it should be at most."""

    name: str
    floor: str
    product: str
    value: float
    shown: str
    spread: str = ""
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty where there is none."""
        if self.goal is None:
            return ""
        return "met" if self.value <= self.goal else f"missed by {self.value / self.goal - 1:.0%}"


@dataclass(frozen=True)
class Found:
    """Everything that one call of the bench measured."""

    pairs: dict[int, list[Pair]]
    floor_history: History
    product_history: History
    startup: Startup | None
    longest: Longest | None
    load: float
    """Load average when the measurement began: how much else the machine had to do."""


def rows(found: Found) -> list[Row]:
    """The main table."""
    return [*_run_rows(found.pairs), *_history_rows(found), *_startup_rows(found.startup), *_task_rows(found.longest)]


def _run_rows(pairs: Mapping[int, Sequence[Pair]]) -> list[Row]:
    figures = [("CPU of a run", cpu_of, 1.25), ("p50 of a run", latency_of(0.5), 1.25), ("p95", latency_of(0.95), None)]
    return [
        _ratio_row(f"{name}, {concurrency} at a time", ratio(each, figure), goal)
        for name, figure, goal in figures
        for concurrency, each in sorted(pairs.items())
    ]


def _ratio_row(name: str, found: Ratio, goal: float | None) -> Row:
    return Row(
        name,
        f"{found.floor * 1000:.0f} ms",
        f"{found.product * 1000:.0f} ms",
        found.ratio,
        f"{found.ratio:.2f}",
        f"{found.low:.2f} to {found.high:.2f}",
        goal,
    )


def _history_rows(found: Found) -> list[Row]:
    floor, product = found.floor_history, found.product_history
    events, size = product.events / floor.events, product.bytes / floor.bytes
    return [
        Row("history events", str(floor.events), str(product.events), events, f"{events:.2f}", "", 1.2),
        Row("history bytes", f"{floor.bytes:,}", f"{product.bytes:,}", size, f"{size:.2f}", "", 2.0),
    ]


def _startup_rows(startup: Startup | None) -> list[Row]:
    if startup is None:
        return []
    seconds, memory = startup.ready_seconds, [value / _MB for value in startup.memory_bytes]
    ready, used = statistics.median(seconds), statistics.median(memory)
    fastest, slowest = min(seconds), max(seconds)
    return [
        Row("`make up` until ready", "", f"{ready:.1f} s", ready, "", f"{fastest:.1f} to {slowest:.1f} s", 6),
        Row("memory of all its processes", "", f"{used:.0f} MB", used, "", "", 600),
    ]


def _task_rows(longest: Longest | None) -> list[Row]:
    if longest is None:
        return []
    announcement = f"longest task, {longest.announced_bytes // 1000} KB announced"
    return [
        Row("longest workflow task, CPU", "", f"{longest.job:.0f} ms", longest.job, "", "", GOAL),
        Row(announcement, "", f"{longest.announcement:.0f} ms", longest.announcement, "", "", GOAL),
    ]


def main_table(found: Found) -> str:
    """The figures against their goals."""
    head = ("figure", "floor", "product", "product / floor", "90 % of resamples", "goal", "")
    body = [(row.name, row.floor, row.product, row.shown, row.spread, _goal(row), row.verdict) for row in rows(found)]
    return table([head, *body])


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    units = {"`make up`": " s", "memory": " MB", "longest": " ms"}
    unit = next((unit for name, unit in units.items() if row.name.startswith(name)), "")
    return f"<= {row.goal:g}{unit}"


def group_table(found: Found) -> str:
    """Where the CPU of a run goes, in milliseconds."""
    body = [
        (f"{side}, {concurrency} at a time", *_milliseconds(by_group(pairs, number)))
        for concurrency, pairs in sorted(found.pairs.items())
        for number, side in enumerate(("floor", "product"))
    ]
    return table([("ms of CPU per run", "server", "workers", "API", "client", "model (not counted)"), *body])


def _milliseconds(groups: Mapping[str, float]) -> list[str]:
    return [f"{groups[group] * 1000:.1f}" if group in groups else "" for group in GROUPS]


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as plain text."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = [["-" * width for width in widths]]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    head, *body = padded
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, *rule, *body])


def machine() -> str:
    """The class of machine, without its name."""
    memory = psutil.virtual_memory().total / 1024**3
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} shared cores ({_processor()}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def section(found: Found) -> str:
    """The README's part."""
    runs = {concurrency: sum(len(floor.seconds) for floor, _ in pairs) for concurrency, pairs in found.pairs.items()}
    counted = ", ".join(f"{count} at concurrency {concurrency}" for concurrency, count in sorted(runs.items()))
    return "\n\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, load average {found.load:.1f} at the start. "
            f"Runs per side: {counted}.",
            main_table(found),
            group_table(found),
        ]
    )


def between_marks(text: str, content: str) -> str:
    """The text with everything between the two marks replaced.

    Raises:
        ValueError: The marks are missing or not in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text lacks {BEGIN!r} or {END!r} after it")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def write_json(found: Found, file: Path) -> None:
    """Everything, with every block."""
    content = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "machine": machine(),
        "load": found.load,
        "figures": [{**asdict(row), "verdict": row.verdict} for row in rows(found)],
        "history": {"floor": asdict(found.floor_history), "product": asdict(found.product_history)},
        "startup": asdict(found.startup) if found.startup else None,
        "longest_tasks": asdict(found.longest) if found.longest else None,
        "blocks": as_json(found.pairs),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")
