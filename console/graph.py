"""Layout of a plan as a graph: positions of the steps, and the lines between them. Pure.

Steps are in columns, left to right: each one column after its last dependency, so that steps that can run at the same
time are in one column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

WIDTH, HEIGHT = 190, 58
"""Size of a step in pixels."""
_ACROSS, _DOWN, _EDGE = 56, 18, 10
_MOST = 200


class GraphStep(Protocol):
    """The parts of a step that the layout needs."""

    @property
    def id(self) -> str:
        """Return its id in the plan."""
        ...

    @property
    def depends_on(self) -> Sequence[str]:
        """Return the ids of its dependencies."""
        ...

    @property
    def parent(self) -> str | None:
        """Return the id of the delegated step that it belongs to."""
        ...


@dataclass(frozen=True)
class Node:
    """The position of a step."""

    id: str
    x: int
    y: int


@dataclass(frozen=True)
class Line:
    """A line from one step to a dependent step, as an SVG path."""

    start: str
    end: str
    path: str


@dataclass(frozen=True)
class PlanGraph:
    """The layout of a plan, without `left_out` further steps."""

    width: int
    height: int
    nodes: Sequence[Node]
    lines: Sequence[Line]
    left_out: int = 0


def layout(steps: Sequence[GraphStep]) -> PlanGraph:
    """Lay out a plan."""
    shown = steps[:_MOST]
    before = {step.id: _before(step, shown) for step in shown}
    columns = _columns(before)
    rows = _rows(columns, before)
    nodes = [
        Node(name, _EDGE + column * (WIDTH + _ACROSS), _EDGE + rows[name] * (HEIGHT + _DOWN))
        for name, column in columns.items()
    ]
    places = {node.id: node for node in nodes}
    lines = [_line(places[first], places[name]) for name, waits_for in before.items() for first in waits_for]
    return PlanGraph(
        width=max((node.x for node in nodes), default=0) + WIDTH + _EDGE,
        height=max((node.y for node in nodes), default=0) + HEIGHT + _EDGE,
        nodes=nodes,
        lines=lines,
        left_out=len(steps) - len(shown),
    )


def _before(step: GraphStep, steps: Sequence[GraphStep]) -> list[str]:
    """Return a step's dependencies; a call of an agent comes after its delegated step."""
    known = {one.id for one in steps}
    named = [*step.depends_on, *([step.parent] if step.parent else [])]
    return [name for name in dict.fromkeys(named) if name in known and name != step.id]


def _columns(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    columns: dict[str, int] = {}

    def column(name: str, seen: frozenset[str]) -> int:
        if name not in columns:
            waits_for = [one for one in before[name] if one not in seen]
            columns[name] = 1 + max((column(one, seen | {name}) for one in waits_for), default=-1)
        return columns[name]

    for name in before:
        column(name, frozenset())
    return {name: columns[name] for name in before}


def _rows(columns: Mapping[str, int], before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Order each column by the rows of the dependencies, so that few lines cross."""
    rows: dict[str, int] = {}
    for column in sorted(set(columns.values())):
        names = [name for name, at in columns.items() if at == column]
        names.sort(key=lambda name: _middle([rows[one] for one in before[name] if one in rows]))
        rows |= {name: row for row, name in enumerate(names)}
    return rows


def _middle(rows: Sequence[int]) -> float:
    return sum(rows) / len(rows) if rows else 0.0


def _line(start: Node, end: Node) -> Line:
    x1, y1 = start.x + WIDTH, start.y + HEIGHT // 2
    x2, y2 = end.x, end.y + HEIGHT // 2
    bend = max(_ACROSS // 2, (x2 - x1) // 2)
    return Line(start.id, end.id, f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}")
