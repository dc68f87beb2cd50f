"""The reliability page: what was tried and what came out, in words and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.report import table
from tests.prove.chaos import FaultDone, Result
from tests.prove.guarantees import CHAOS, NOT_TRIED, Guarantee
from tests.prove.outcomes import Outcome

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
PICTURE = ROOT / "docs" / "images" / "chaos.svg"
BEGIN = "<!-- figures: written by `make prove ARGS=--commit`, never by hand -->"
END = "<!-- end of the figures -->"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 260, 60, 56, 40
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 12px; fill: #59636e }
.axis { stroke: #59636e } .kill { fill: #b4552d } .freeze { fill: #2f6fb3 } .connections { fill: #2f7d5b }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .kill { fill: #e08a5b } .freeze { fill: #6aa9e9 }
  .connections { fill: #4fb286 }
}""".strip()


@dataclass(frozen=True)
class Proof:
    """All that one call found, and where."""

    date: str
    machine: str
    commit: str
    command: str
    outcomes: dict[str, Outcome]
    chaos: Result | None


def holds(proof: Proof) -> bool:
    """Whether no test failed and the chaos lost, doubled and did nothing unasked."""
    return all(not found.failed for found in proof.outcomes.values()) and (proof.chaos is None or proof.chaos.holds)


def text(proof: Proof, guarantees: Sequence[Guarantee]) -> str:
    """The figures as Markdown."""
    rows = [_row(each, proof) for each in guarantees]
    parts = [
        f"{proof.date}, {proof.machine}, commit {proof.commit}, `{proof.command}`.",
        table([("", "what is done", "what holds", "tests passed", "found"), *rows]),
    ]
    if proof.chaos:
        parts += ["### Chaos", _chaos(proof.chaos)]
    return "\n\n".join([*parts, "### Not tried", "\n".join(f"- {each}" for each in NOT_TRIED)])


def _row(guarantee: Guarantee, proof: Proof) -> tuple[str, ...]:
    found = proof.outcomes[guarantee.id]
    passed = str(found.passed) if found.passed or found.failed else ""
    verdict = [f"{len(found.failed)} failed: {', '.join(found.failed[:3])}"] if found.failed else []
    if CHAOS in guarantee.tests and proof.chaos:
        passed = " + ".join(part for part in (passed, "chaos") if part)
        verdict += [] if proof.chaos.holds else ["see Chaos"]
    held = "holds" if passed else "not tried in this run"
    return guarantee.id, guarantee.fault, guarantee.promise, passed, "; ".join(verdict) or held


def _chaos(result: Result) -> str:
    """The chaos in one table, with whatever went wrong."""
    recovery = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.recovery.items())
    rows = [
        ("requests", f"{result.requested}, in {result.seconds / 60:.1f} minutes, seed {result.seed}"),
        ("acknowledged", str(result.acknowledged)),
        ("how they ended", ", ".join(f"{name} {count}" for name, count in sorted(result.outcomes.items()))),
        ("lost", str(len(result.lost))),
        ("doubled", str(len(result.doubled))),
        ("done without a yes", str(len(result.unasked))),
        ("asked about again after doubt", str(result.asked_again)),
        ('answers of the API that were neither success nor "try again"', str(len(result.bad_answers))),
        ("faults", ", ".join(f"{name} {count}" for name, count in sorted(result.faults.items()))),
        ("until ready again", recovery),
    ]
    wrong = [*result.lost, *result.doubled, *result.unasked, *result.bad_answers]
    return "\n\n".join([table([("", ""), *rows]), *(f"- {each}" for each in wrong[:20])])


def write(proof: Proof, guarantees: Sequence[Guarantee]) -> None:
    """Put the figures into the page and draw the picture."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE} lacks {BEGIN}"
    assert end, f"{PAGE} lacks {END}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{text(proof, guarantees)}\n\n{END}{after}", encoding="utf-8")
    if proof.chaos:
        PICTURE.write_text(picture(proof.chaos.timeline, note=f"{proof.date}, {proof.machine}"), encoding="utf-8")


def picture(faults: Sequence[FaultDone], *, note: str) -> str:
    """Each fault as a dot: when it was, and after how many seconds the stack was ready again."""
    recovered = [(fault, fault.recovered) for fault in faults if fault.recovered is not None]
    last = max([1.0, *(fault.at for fault in faults)])
    longest = max([1.0, *(seconds for _, seconds in recovered)])
    bottom = _HEIGHT - _BOTTOM
    across, up = (_WIDTH - _LEFT - 20) / last, (bottom - _TOP) / longest
    dots = [
        f'<circle class="{fault.what.partition(" ")[0]}" cx="{_LEFT + fault.at * across:.1f}"'
        f' cy="{bottom - seconds * up:.1f}" r="4"><title>{escape(fault.what)}: {seconds:.1f} s</title></circle>'
        for fault, seconds in recovered
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(f'Faults and recoveries: {note}')}</title>",
            f"<style>{_STYLE}</style>",
            '<text x="12" y="22">Each dot is a fault: seconds until the stack was ready again</text>',
            f'<text class="small" x="12" y="41">{escape(note)}</text>',
            f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{bottom}" y2="{bottom}"/>',
            f'<text class="small" x="12" y="{_TOP + 8}">{longest:.0f} s</text>',
            f'<text class="small" x="12" y="{bottom}">0 s</text>',
            f'<text class="small" x="{_LEFT}" y="{bottom + 18}">0</text>',
            f'<text class="small" x="{_WIDTH - 90}" y="{bottom + 18}">{last / 60:.1f} minutes</text>',
            f'<text class="small kill" x="{_LEFT + 120}" y="{bottom + 32}">kill -9</text>',
            f'<text class="small freeze" x="{_LEFT + 220}" y="{bottom + 32}">freeze</text>',
            f'<text class="small connections" x="{_LEFT + 320}" y="{bottom + 32}">connections</text>',
            *dots,
            "</svg>",
            "",
        ]
    )
