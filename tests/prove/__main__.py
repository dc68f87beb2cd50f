"""`python -m tests.prove`: try to break what is promised, print what came out, and write the reliability page.

Takes up to half an hour; `--short` takes about five minutes. It stops at nothing: each guarantee gets its line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.report import machine
from tests.prove import chaos, page
from tests.prove.guarantees import CHAOS, GUARANTEES, Guarantee
from tests.prove.outcomes import Outcome, outcomes

ROOT = Path(__file__).parents[2]
OUT = ROOT / "bench" / "out" / "prove.json"
_SHORT = {"runs": 300, "fault_each": 3.0, "longest": 150.0}
_FULL = {"runs": 10_000, "fault_each": 5.0, "longest": 1_200.0}


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 if every guarantee held."""
    chosen = _parse(arguments)
    guarantees = [
        each for each in GUARANTEES if not chosen.only or any(each.id.startswith(only) for only in chosen.only)
    ]
    tests = {each.id: each.short if chosen.short else each.tests for each in guarantees}
    found: dict[str, Outcome] = _run_tests(guarantees, tests, processes=chosen.processes)
    storm = None
    if any(CHAOS in paths for paths in tests.values()):
        size = _SHORT if chosen.short else _FULL
        runs = chosen.runs or int(size["runs"])
        sys.stdout.write(f"chaos: {runs} runs, seed {chosen.seed}\n")
        sys.stdout.flush()
        longest = size["longest"] if chosen.minutes is None else 60 * chosen.minutes
        storm = chaos.run(seed=chosen.seed, runs=runs, fault_each=size["fault_each"], longest=longest)
    proof = page.Proof(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine(),
        commit=_commit_of(ROOT),
        command=" ".join(["python -P -m tests.prove", *arguments]),
        outcomes=found,
        chaos=storm,
    )
    sys.stdout.write(page.text(proof, guarantees) + "\n")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(asdict(proof), indent=1), encoding="utf-8")
    if chosen.commit:
        page.write(proof, guarantees)
    return 0 if page.holds(proof) else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.prove", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--short", action="store_true", help="a few tests of each guarantee and 300 runs of chaos")
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="these guarantees: R1 S16 ...")
    parser.add_argument("--seed", type=int, default=1, help="of the sequence of requests and faults in the chaos")
    parser.add_argument("--runs", type=int, help="how many requests the chaos makes; fewer if its time is over")
    parser.add_argument("--minutes", type=float, help="how long the chaos makes requests and faults, at most")
    parser.add_argument("--processes", type=int, default=4, help="of pytest")
    parser.add_argument("--commit", action="store_true", help="write docs/reliability.md and its picture")
    return parser.parse_args(arguments)


def _run_tests(guarantees: list[Guarantee], tests: dict[str, tuple[str, ...]], *, processes: int) -> dict[str, Outcome]:
    """Run all tests of these guarantees at once and return each guarantee's share."""
    paths = sorted({path for each in guarantees for path in tests[each.id] if path != CHAOS})
    if not paths:
        return {each.id: Outcome() for each in guarantees}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        pytest = [sys.executable, "-P", "-m", "pytest", "-q", "-n", str(processes), "--dist", "loadgroup"]
        subprocess.run([*pytest, f"--junitxml={report}", *paths], cwd=ROOT, check=False)
        return {each.id: outcomes(report, tests[each.id]) for each in guarantees}


def _commit_of(root: Path) -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
