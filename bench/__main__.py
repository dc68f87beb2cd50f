"""`python -m bench`: compare the product with the bare workflow and print what came out.

Takes less than four minutes (`--quick`: about one). `--commit` also writes the table into `bench/README.md` and draws
`bench/chart.svg`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.chart import chart
from bench.measure import History, Pair, Plan, history_of, interleaved
from bench.processes import StartFailed, processes
from bench.stage import stage
from bench.startup import startup
from bench.workflow_tasks import longest
from retinue.runtime.process import leave

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Measure, print, write; returns the exit code. A goal that is missed is a finding, not a failure."""
    chosen = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        found = _measured(chosen)
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    except StartFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{report.section(found)}\n")
    report.write_json(found, chosen.json)
    if chosen.commit:
        _commit(found)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=20, help="runs in a block (at least twice the concurrency)")
    parser.add_argument("--concurrency", type=_numbers, default=(1, 16), metavar="1,16")
    parser.add_argument("--quick", action="store_true", help="few blocks, one start: about a minute")
    parser.add_argument("--json", type=Path, default=HERE / "out" / "latest.json", help="where all blocks are written")
    parser.add_argument("--commit", action="store_true", help="write the table into the README and draw the chart")
    return parser.parse_args(arguments)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _measured(chosen: argparse.Namespace) -> report.Found:
    load = os.getloadavg()[0]
    pairs, histories = asyncio.run(_compared(chosen, load))
    print("starting the whole stack", flush=True)
    started = startup(times=1 if chosen.quick else 3)
    print("measuring workflow tasks", flush=True)
    tasks = asyncio.run(longest())
    return report.Found(pairs, histories["floor"], histories["product"], startup=started, longest=tasks, load=load)


async def _compared(chosen: argparse.Namespace, load: float) -> tuple[dict[int, list[Pair]], dict[str, History]]:
    seconds = 15 if chosen.quick else 130
    plan = Plan(
        runs=5 if chosen.quick else chosen.runs,
        concurrency=chosen.concurrency,
        seconds=seconds,
        warm_up=8 if chosen.quick else 24,
        least_pairs=1 if chosen.quick else 4,
    )
    print(f"load average {load:.1f}; starting both sides", flush=True)
    with processes() as started:
        async with stage(started) as both:
            pairs = await interleaved(both, plan, say=lambda text: print(text, flush=True))
            return pairs, {side.name: await history_of(both, side) for side in (both.floor, both.product)}


def _commit(found: report.Found) -> None:
    readme = HERE / "README.md"
    readme.write_text(report.between_marks(readme.read_text(encoding="utf-8"), report.section(found)), encoding="utf-8")
    note = f"{datetime.now(UTC):%Y-%m-%d}, {report.machine()}"
    (HERE / "chart.svg").write_text(chart(report.rows(found), note=note), encoding="utf-8")


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
