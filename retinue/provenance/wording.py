"""The words of every card: console, command line, Web UI and protocols."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

FOR_GOOD = "it cannot be undone"
"""The reason for asking about an irreversible action."""
_PLACES = {
    "to": "a recipient",
    "cc": "a recipient",
    "bcc": "a recipient",
    "attendees": "a participant",
    "url": "the web address",
    "text": "the text",
}
_MAX_LABEL = 60


class KnownOrigin(Protocol):
    """The origin of a value, in the workflow's model or in the client's."""

    @property
    def source(self) -> str:
        """Source of the value."""

    @property
    def step_id(self) -> str | None:
        """The step from whose result it comes."""

    @property
    def tool(self) -> str | None:
        """Tool of that step."""

    @property
    def out_of(self) -> Sequence[str]:
        """Earlier steps whose results brought strangers' words into it."""


def origin_words(origin: KnownOrigin, *, alone: bool = True) -> str:
    """Return the origin of a value in words.

    Args:
        origin: Of the value.
        alone: Whether only the requester decides, so that they are "you".
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
        "remembered": f"stands in what {you} had remembered ({getattr(origin, 'fact', None) or 'a fact'}); {you} did not type it now",
        "key": f"asked through {getattr(origin, 'through', None) or 'an API key'}, which may not decide",
    }
    return words.get(origin.source, origin.source)


def place_words(path: str) -> str:
    """Return a destination argument as the subject of a sentence.

    Args:
        path: JSON pointer of a value in the arguments. Its names may be a stranger's, so only words of them are kept.
    """
    names = [part for part in path.split("/") if part and not part.isdecimal()]
    if len(names) == 1 and names[0] in _PLACES:
        return _PLACES[names[0]]
    label = " ".join(re.findall(r"[^\W_]+", " ".join(names)))[:_MAX_LABEL].strip()
    return f"the value of '{label}', where data goes," if label else "the place where data goes"


def undo_words(undo: str, reasons: Sequence[str]) -> str:
    """Return what a card says about undo; empty if one of its reasons says it."""
    return "" if FOR_GOOD in reasons else undo
