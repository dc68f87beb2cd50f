"""Files that people import: read within a limit, and what is left out of them, named item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinue.errors import InvalidArguments, NotFound
from retinue.text import one_line

MOST_NAMED = 200
_LONGEST_NAME = 80
_LONGEST_REASON = 200


def content_of(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise InvalidArguments(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise InvalidArguments(f"{path} is larger than {most // 1024**2} MiB", hint="export it in parts")
    return content


@dataclass(frozen=True)
class LeftOut:
    """An item that an import skipped or took in part. `what` quotes the file, `why` is Retinue's text."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{one_line(self.what, _LONGEST_NAME)}: {one_line(self.why, _LONGEST_REASON)}"


def quoted(line: str) -> str:
    """Return a line of a file, short enough to quote in a reason."""
    return f"'{one_line(line, _LONGEST_NAME)}'"


def outcome(sentence: str, left_out: Sequence[LeftOut]) -> str:
    """Return the sentence, followed by a line for each skipped item, up to `MOST_NAMED`, and the number of others."""
    if not left_out:
        return sentence
    lines = [f"{sentence}, {len(left_out)} left out:", *(f"  - {each}" for each in left_out[:MOST_NAMED])]
    if len(left_out) > MOST_NAMED:
        lines.append(f"  - and {len(left_out) - MOST_NAMED} more")
    return "\n".join(lines)
