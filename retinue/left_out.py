"""What an import leaves out of a file, named item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retinue.text import one_line

MOST_NAMED = 200
_LONGEST_NAME = 80
_LONGEST_REASON = 200


@dataclass(frozen=True)
class LeftOut:
    """One thing that an import did not take, or took only in part. `what` holds words of the file, `why` is ours."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{one_line(self.what, _LONGEST_NAME)}: {one_line(self.why, _LONGEST_REASON)}"


def quoted(line: str) -> str:
    """A line of a file, short enough to stand inside a reason."""
    return f"'{one_line(line, _LONGEST_NAME)}'"


def outcome(sentence: str, left_out: Sequence[LeftOut]) -> str:
    """The sentence, followed by a line for each thing that was left out; what exceeds `MOST_NAMED` is counted."""
    if not left_out:
        return sentence
    lines = [f"{sentence}, {len(left_out)} left out:", *(f"  - {each}" for each in left_out[:MOST_NAMED])]
    if len(left_out) > MOST_NAMED:
        lines.append(f"  - and {len(left_out) - MOST_NAMED} more")
    return "\n".join(lines)
