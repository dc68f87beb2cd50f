"""A clause of a request as it was read: its place in the text and its values."""

from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

from offline.planner.scan import Scan
from offline.planner.when import When

T = TypeVar("T")
Values = list[tuple[str, object]]


@dataclass(frozen=True)
class Match:
    """A clause from one token up to another, with what was read in it, by kind."""

    scan: Scan
    start: int
    end: int
    values: tuple[tuple[str, object], ...] = ()

    def get(self, kind: str, wanted: type[T]) -> T | None:
        """The first value of a kind."""
        return next((value for name, value in self.values if name == kind and isinstance(value, wanted)), None)

    @property
    def when(self) -> When:
        """All that the clause says about time."""
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
