"""The chart: one bar per figure, as a share of its goal, so that one line says for all of them how far they may go."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.report import Row

_WIDTH, _LEFT, _RIGHT, _STEP, _TOP = 760, 210, 150, 34, 58
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 12px; fill: #59636e }
.met { fill: #2f7d5b } .missed { fill: #b4552d } .goal { stroke: #1f2328; stroke-width: 2; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .met { fill: #4fb286 } .missed { fill: #e08a5b }
  .goal { stroke: #e6edf3 }
}""".strip()


def chart(rows: Sequence[Row], *, note: str) -> str:
    """The figures that have a goal, as SVG for light and dark pages."""
    shown = [row for row in rows if row.goal]
    longest = max([1.25, *(row.value / row.goal for row in shown if row.goal)])
    unit = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + _STEP * len(shown) + 12
    line = _LEFT + unit
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(f'Figures against their goals: {note}')}</title>",
        f"<style>{_STYLE}</style>",
        '<text x="12" y="22">Each figure against its goal: shorter is better, the line is the goal</text>',
        f'<text class="small" x="12" y="41">{escape(note)}</text>',
        *(part for number, row in enumerate(shown) for part in _bar(row, _TOP + _STEP * number, unit)),
        f'<line class="goal" x1="{line:.1f}" x2="{line:.1f}" y1="{_TOP - 6}" y2="{height - 8}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(row: Row, top: int, unit: float) -> list[str]:
    assert row.goal is not None
    width = unit * row.value / row.goal
    colour = "met" if row.value <= row.goal else "missed"
    value = f"{row.shown or row.product} of {row.goal:g}"
    return [
        f'<text x="12" y="{top + 16}">{escape(row.name.replace("`", ""))}</text>',
        f'<rect class="{colour}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="22" rx="3"/>',
        f'<text class="small" x="{_LEFT + max(width, unit) + 8:.1f}" y="{top + 16}">{escape(value)}</text>',
    ]
