"""A rule: phrases with the steps that they mean."""

from collections.abc import Callable
from dataclasses import dataclass

from offline.planner.draft import Draft
from offline.planner.patterns import Match


@dataclass(frozen=True, slots=True)
class Rule:
    """Phrases with one meaning.

    Attributes:
        patterns: The phrases.
        build: Adds the steps of a match to the draft; raises `Ask` or `Refuse`.
        open_ended: Whether free text reaches to the clause's end, so that what follows could belong to it.
    """

    patterns: tuple[str, ...]
    build: Callable[[Match, Draft], None]
    open_ended: bool = False
