"""A small language for phrases, and the matcher that reads a clause by it.

`(a|b c)` is a choice, `[x]` may be absent, `<kind>` is a slot, everything else a word that must stand there. A clause is
read only when a pattern covers all of it. Slots yield every stretch that they accept, so the matcher tries them in turn;
the number of tries stays small since each free slot is short or reaches to the clause's end.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import TypeVar

from offline.planner.scan import Scan
from offline.planner.when import When

T = TypeVar("T")
_PIECE = re.compile(r"<[a-z_]+>|[()\[\]|]|[^\s()\[\]|<>]+")


@dataclass(frozen=True, slots=True)
class Word:
    """A literal word."""

    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot for a value that a reader of this kind accepts."""

    kind: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences."""

    options: tuple["Sequence_", ...]


Sequence_ = tuple["Node", ...]
Node = Word | Slot | Choice


@cache
def compiled(pattern: str) -> Sequence_:
    """The tree of a pattern."""
    pieces = _PIECE.findall(pattern)
    nodes, rest = _sequence(pieces, 0)
    if rest != len(pieces):
        raise ValueError(f"unbalanced pattern: {pattern}")
    return nodes


def _sequence(pieces: list[str], at: int) -> tuple[Sequence_, int]:
    nodes: list[Node] = []
    while at < len(pieces) and pieces[at] not in ")]|":
        if pieces[at] in "([":
            node, at = _choice(pieces, at)
            nodes.append(node)
        else:
            piece = pieces[at]
            nodes.append(Slot(piece[1:-1]) if piece.startswith("<") else Word(piece))
            at += 1
    return tuple(nodes), at


def _choice(pieces: list[str], at: int) -> tuple[Choice, int]:
    closing = ")" if pieces[at] == "(" else "]"
    options: list[Sequence_] = []
    while pieces[at] != closing:
        option, at = _sequence(pieces, at + 1)
        options.append(option)
    return Choice((*options, ()) if closing == "]" else tuple(options)), at + 1


Values = tuple[tuple[str, object], ...]
Reader = Callable[[Scan, int, int], Iterable[tuple[int, object]]]


@dataclass
class Matcher:
    """Matches patterns against a part of a sentence, and stores the furthest position."""

    scan: Scan
    readers: Mapping[str, Reader]
    furthest: int = field(default=0)

    def matches(self, pattern: str, start: int, end: int) -> Iterator["Match"]:
        """Every reading of the tokens from `start` up to exactly `end`."""
        for stop, values in self._run(compiled(pattern), start, end, ()):
            if stop == end:
                yield Match(self.scan, start, end, values)

    def prefixes(self, pattern: str, start: int, end: int) -> Iterator["Match"]:
        """Every reading of a stretch that begins at `start`."""
        for stop, values in self._run(compiled(pattern), start, end, ()):
            yield Match(self.scan, start, stop, values)

    def _run(self, nodes: Sequence_, at: int, end: int, values: Values) -> Iterator[tuple[int, Values]]:
        self.furthest = max(self.furthest, at)
        if not nodes:
            yield at, values
            return
        head, tail = nodes[0], nodes[1:]
        for stop, more in self._one(head, at, end):
            yield from self._run(tail, stop, end, values + more)

    def _one(self, node: Node, at: int, end: int) -> Iterator[tuple[int, Values]]:
        match node:
            case Word():
                if at < end and self.scan.low(at) == node.text:
                    yield at + 1, ()
            case Slot():
                for stop, value in self.readers[node.kind](self.scan, at, end):
                    yield stop, ((node.kind, value),)
            case Choice():
                for option in node.options:
                    yield from self._run(option, at, end, ())


@dataclass(frozen=True)
class Match:
    """A clause as a pattern read it."""

    scan: Scan
    start: int
    end: int
    values: Values

    def get(self, kind: str, wanted: type[T]) -> T | None:
        """The value of the first slot of a kind."""
        return next((value for name, value in self.values if name == kind and isinstance(value, wanted)), None)

    def need(self, kind: str, wanted: type[T]) -> T:
        """The value of a slot that the pattern always has."""
        value = self.get(kind, wanted)
        if value is None:
            raise LookupError(kind)
        return value

    @property
    def when(self) -> When:
        """All that the clause says about time, from all its slots."""
        found = [value for _, value in self.values if isinstance(value, When)]
        return reduce(When.merged, found) if found else When(self.scan, place=self.scan.begin(self.start))

    @property
    def ending(self) -> int:
        """Return the end of the clause in the text, where an answer is inserted."""
        return self.scan.close(self.end)

    @property
    def words(self) -> str:
        """The clause as it was typed."""
        return self.scan.typed(self.start, self.end)
