"""Draws the trace of a real run: `python -P -m tests.observability.trace_picture docs/images/trace.svg`."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from tests.observability.sink import Seen, parents

_ROW, _LEFT, _WIDE, _TOP = 20, 470, 470, 54
_COLOURS = {"api": "#2f6f9f", "workflows": "#6b5ca5", "reasoning": "#b8860b", "weather": "#3a8f5c", "email": "#b5473c"}
_OTHER = "#777777"
_SHORTEST = 2.0


def draw(spans: list[Seen], title: str) -> str:
    """Return an SVG with one row per span: its name under its parent's, and when it was."""
    rows = list(_in_order(spans, ""))
    begin, end = min(span.start for span in spans), max(span.end for span in spans)
    height = _TOP + _ROW * len(rows) + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 90} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="12" y="24" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="42" fill="#555">{len(rows)} spans, {(end - begin) / 1e9:.2f} s; colours are processes: '
        + " ".join(f'<tspan fill="{colour}">{name}</tspan>' for name, colour in _COLOURS.items())
        + "</text>",
    ]
    for number, span in enumerate(rows):
        y = _TOP + _ROW * number
        depth = len(parents(spans, span)) - 1
        colour = _COLOURS.get(span.service.removeprefix("retinue-"), _OTHER)
        x = _LEFT + _WIDE * (span.start - begin) / (end - begin)
        width = max(_SHORTEST, _WIDE * (span.end - span.start) / (end - begin))
        took = f"{(span.end - span.start) / 1e6:.1f} ms" if span.end > span.start else ""
        lines += [
            f'<text x="{12 + 14 * depth}" y="{y + 13}" fill="{colour}">{escape(span.name)}</text>',
            f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="12" fill="{colour}"/>',
            f'<text x="{x + width + 5:.1f}" y="{y + 13}" fill="#555" font-size="10">{took}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


def _in_order(spans: list[Seen], parent: str) -> list[Seen]:
    """Return spans so that each follows its parent, siblings by time."""
    ids = {span.id for span in spans}
    under = [span for span in spans if (span.parent == parent) or (not parent and span.parent not in ids)]
    found: list[Seen] = []
    for span in sorted(under, key=lambda span: span.start):
        found += [span, *_in_order(spans, span.id)]
    return found


def main(target: Path) -> None:
    """Run a stack, and draw the trace of its first request."""
    from tests.observability.test_traces import observing

    with tempfile.TemporaryDirectory() as folder, observing(Path(folder)) as seen:
        machine = f"a container with {os.cpu_count()} cores"
        title = f"A forecast by mail, approved by a person; {datetime.now(UTC):%Y-%m-%d}, {machine}, offline model"
        target.write_text(draw(seen.trace(), title), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
