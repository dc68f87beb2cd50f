"""The words that every card uses: the page, the command line, the Web UI and all doors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

FOR_GOOD = "it cannot be undone"
"""The reason for asking about what nothing undoes."""
_PLACES = {
    "to": "a recipient",
    "cc": "a recipient",
    "bcc": "a recipient",
    "attendees": "a participant",
    "url": "the web address",
}
_MAX_LABEL = 60


class KnownOrigin(Protocol):
    """What is known of where a value came from, in the workflow's model or in the client's."""

    @property
    def source(self) -> str:
        """Whose it is."""

    @property
    def step_id(self) -> str | None:
        """The step whose result it was taken from."""

    @property
    def tool(self) -> str | None:
        """Of that step."""

    @property
    def out_of(self) -> Sequence[str]:
        """Steps before that one, out of whose results strangers' words came into it."""


def origin_words(origin: KnownOrigin, *, alone: bool = True) -> str:
    """Where a value came from.

    Args:
        origin: What is known of it.
        alone: Only the person who asked decides, so they are "you".
    """
    you, your = ("you", "your") if alone else ("whoever asked", "the requester's")
    if origin.step_id:
        whose = {
            "contacts": f", {your} contacts",
            "own": ", in which no stranger wrote",
            "strangers": ", which may hold the words of strangers",
            "model": ", written by the model out of what no stranger wrote",
        }
        out_of = f": {', '.join(origin.out_of)}" if origin.out_of else ""
        return f"from step {origin.step_id} ({origin.tool}){whose.get(origin.source, '')}{out_of}"
    words = {
        "user": f"typed by {you}",
        "contacts": f"stands in {your} contacts",
        "own": f"from {your} own data",
        "strangers": "written after strangers' words were read; nobody here typed it",
        "model": f"chosen by the model; {you} did not type it",
        "key": f"asked through {getattr(origin, 'through', None) or 'an API key'}, which may not decide",
    }
    return words.get(origin.source, origin.source)


def place_words(path: str) -> str:
    """What decides where data goes, as the subject of a sentence.

    Args:
        path: JSON pointer of a value in the arguments. Its names may be a stranger's: of them words alone are kept.
    """
    names = [part for part in path.split("/") if part and not part.isdecimal()]
    if len(names) == 1 and names[0] in _PLACES:
        return _PLACES[names[0]]
    label = " ".join(re.findall(r"[^\W_]+", " ".join(names)))[:_MAX_LABEL].strip()
    return f"the value of '{label}', where data goes," if label else "the place where data goes"


def undo_words(undo: str, reasons: Sequence[str]) -> str:
    """What a card says about undoing beside its reasons: nothing where one of them says it."""
    return "" if FOR_GOOD in reasons else undo
