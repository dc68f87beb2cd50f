"""`python -P -m bench.scale`: what more worker processes bring on this machine, and what a run costs in memory and on disk.

For each number of workflow workers and of processes per capability it starts a server and the product of its own, keeps some
requests going at a time for a while (the job of bench/README.md), and divides the CPU time of each group of processes by
the completed runs. Wall time belongs to the machine and to what else it does; CPU seconds per run hardly do. Then it
lets runs wait for a person, and compares memory and databases before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from temporalio.client import Client

from activities.email.contract import Email
from bench.measure import SETTLE, percentile
from bench.processes import Processes, cpu_seconds, memory_bytes, processes
from bench.report import machine
from bench.stage import Product, ready, start_product, start_servers
from retinue.plan import PlanStep, bind_call
from retinue.runtime.process import leave
from retinue.temporal.connection import DATA_CONVERTER
from workflows.messages import StartAssistant

_WORKERS = "1x1,1x2,1x4,2x1,2x2,2x4"
"""Workflow workers, times processes per capability."""
_WARM_UP = 16
_GROUPS = ("server", "workflows", "capabilities", "api", "client")


@dataclass(frozen=True)
class Setup:
    """The product with some numbers of workers, ready."""

    processes: Processes
    client: Client
    product: Product
    workflows: int

    def pids(self, group: str) -> list[int]:
        """Process ids of a group of `_GROUPS`."""
        if group == "client":
            return [os.getpid()]
        workers = self.processes.groups["product workers"]
        named = {"workflows": workers[: self.workflows], "capabilities": workers[self.workflows :]}
        return [process.pid for process in named.get(group) or self.processes.groups[group]]

    def cpu(self) -> dict[str, list[float]]:
        """CPU seconds so far of each process, by group. The client is this process alone, without those it started."""
        return {
            group: [time.process_time()] if group == "client" else [cpu_seconds(pid) for pid in self.pids(group)]
            for group in _GROUPS
        }

    def memory(self) -> dict[str, int]:
        """Bytes of each group."""
        return {group: sum(map(memory_bytes, self.pids(group))) for group in _GROUPS if group != "client"}

    def on_disk(self) -> dict[str, int]:
        """Bytes of Temporal's database, and of the product's."""
        folder = self.processes.folder
        return {"temporal": _size(folder.glob("temporal.db*")), "product": _size((folder / "data").rglob("*.db*"))}


@dataclass(frozen=True)
class Figures:
    """What one setup did."""

    workflow_workers: int
    per_capability: int
    runs: int
    seconds: float
    p50: float
    cpu: dict[str, float]
    """CPU seconds of a run, by group."""
    busiest: dict[str, float]
    """Of each group's busiest process: CPU seconds per second, 1 being a whole core."""
    load: float

    @property
    def per_core(self) -> float:
        """Runs a second that a whole core does."""
        return 1 / sum(self.cpu.values())

    @property
    def cores(self) -> float:
        """How many cores all processes together had."""
        return sum(self.cpu.values()) * self.runs / self.seconds


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


@asynccontextmanager
async def _setup(workflows: int, each: int) -> AsyncIterator[Setup]:
    with processes() as started:
        address, model = await start_servers(started)
        url = start_product(started, address=address, model=model, workflows=workflows, each=each)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=64)) as http:
            await ready(started, http)
            client = await Client.connect(address, data_converter=DATA_CONVERTER)
            yield Setup(started, client, Product(http), workflows)


async def _throughput(setup: Setup, each: int, *, seconds: float, concurrency: int) -> Figures:
    """Keep `concurrency` requests going for so long."""
    await asyncio.gather(*[setup.product.run() for _ in range(_WARM_UP)])
    before, began, taken = setup.cpu(), time.perf_counter(), list[float]()

    async def one_after_the_other() -> None:
        while time.perf_counter() - began < seconds:
            started = time.perf_counter()
            await setup.product.run()
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*[one_after_the_other() for _ in range(concurrency)])
    await asyncio.sleep(SETTLE)
    lasted = time.perf_counter() - began
    used = {
        group: [now - then for now, then in zip(values, before[group], strict=True)]
        for group, values in setup.cpu().items()
    }
    return Figures(
        workflow_workers=setup.workflows,
        per_capability=each,
        runs=len(taken),
        seconds=lasted,
        p50=percentile(taken, 0.5),
        cpu={group: sum(values) / len(taken) for group, values in used.items()},
        busiest={group: max(values) / lasted for group, values in used.items()},
        load=os.getloadavg()[0],
    )


async def _growth(setup: Setup, runs: int) -> dict[str, float]:
    """Bytes on disk of a completed run."""
    before = setup.on_disk()
    for _ in range(runs // 10):
        await asyncio.gather(*[setup.product.run() for _ in range(10)])
    return {name: (size - before[name]) / runs for name, size in setup.on_disk().items()}


async def _waiting(setup: Setup, runs: int) -> dict[str, float]:
    """Bytes of memory and on disk of a run that waits for a person."""
    await _wait_for_a_person(setup.client, 20)
    memory, disk = setup.memory(), setup.on_disk()
    await _wait_for_a_person(setup.client, runs)
    grown = {name: (size - memory[name]) / runs for name, size in setup.memory().items()}
    return grown | {f"{name}.db": (size - disk[name]) / runs for name, size in setup.on_disk().items()}


async def _wait_for_a_person(client: Client, runs: int) -> None:
    """Start runs of one mail to a stranger; returns once all of them ask."""
    args = {"to": ["ana@example.org"], "subject": "Lunch", "body": "Shall we meet at noon?"}
    [spec] = [tool for tool in Email.manifest().tools if tool.name == "email.send"]
    step = PlanStep(id="s1", tool="email.send", args=args)
    call = bind_call(step, spec, capability="email", task_queue=Email.task_queue())
    wanted = (await _asking(client)) + runs
    for _ in range(runs):
        start = StartAssistant(message="Write to Ana", call=call)
        await client.start_workflow("AssistantWorkflow", start, id=f"a-{uuid.uuid4().hex}", task_queue="workflows")
    while await _asking(client) < wanted:  # noqa: ASYNC110  # the server tells nobody
        await asyncio.sleep(0.5)


async def _asking(client: Client) -> int:
    return (await client.count_workflows("RetinueStatus = 'awaiting_approval' AND ExecutionStatus = 'Running'")).count


def _table(found: Sequence[Figures]) -> str:
    lines = [
        "| workflow workers | processes per capability | runs/s | p50 | cores used | runs/s per core | CPU of a run: server | workflows |"
        " capabilities | API | client | busiest process | load average |",
        "|" + "---|" * 13,
    ]
    for one in found:
        group, share = max(one.busiest.items(), key=lambda item: item[1])
        cpu = " | ".join(f"{one.cpu[name] * 1000:.0f} ms" for name in _GROUPS)
        lines.append(
            f"| {one.workflow_workers} | {one.per_capability} | {one.runs / one.seconds:.1f} | {one.p50:.2f} s | {one.cores:.2f} "
            f"| {one.per_core:.1f} | {cpu} | {group}, {share:.2f} cores | {one.load:.0f} |"
        )
    return "\n".join(lines)


async def _measure(chosen: argparse.Namespace) -> dict[str, object]:
    found: list[Figures] = []
    sizes: dict[str, dict[str, float]] = {}
    for workflows, each in chosen.workers:
        async with _setup(workflows, each) as setup:
            found.append(await _throughput(setup, each, seconds=chosen.seconds, concurrency=chosen.concurrency))
            if not sizes:
                sizes["growth"] = await _growth(setup, chosen.growth)
                sizes["waiting"] = await _waiting(setup, chosen.waiting)
                print(json.dumps(sizes), flush=True)
        print(_table(found[-1:]).splitlines()[-1], flush=True)
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {machine()}\n\n{_table(found)}\n")
    return {"machine": machine(), "sizes": sizes, "figures": [asdict(one) for one in found]}


def _setups(text: str) -> list[tuple[int, int]]:
    pairs = [part.split("x") for part in text.split(",")]
    return [(int(workflows), int(each)) for workflows, each in pairs]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=_setups, default=_setups(_WORKERS), metavar=_WORKERS)
    parser.add_argument("--seconds", type=float, default=60, help="of each setup")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at a time")
    parser.add_argument("--growth", type=int, default=1000, help="runs that databases grow by (a multiple of 10)")
    parser.add_argument("--waiting", type=int, default=1000, help="runs that wait for a person at the same time")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    chosen = parser.parse_args(arguments)
    found = asyncio.run(_measure(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
