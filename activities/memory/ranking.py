"""Which facts help with a request, best first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from activities.memory.contract import Kind
from retinue.bm25 import Bm25, words

_FIRST = (Kind.HOME_PLACE, Kind.WORKING_HOURS, Kind.ALIAS)


class Ranked(Protocol):
    """What a ranking needs of a fact."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def text(self) -> str:
        """Its words."""


RankedFact = TypeVar("RankedFact", bound=Ranked)


def matching(query: str, facts: Sequence[RankedFact]) -> list[RankedFact]:
    """Return the facts that share a word with the query, best first."""
    scores = Bm25([Counter(words(fact.text)) for fact in facts]).scores(query)
    ranked = sorted(zip(scores, facts, strict=True), key=lambda pair: pair[0], reverse=True)
    return [fact for score, fact in ranked if score > 0]


def helpful(query: str, facts: Sequence[RankedFact], characters: int) -> list[RankedFact]:
    """Return the facts to show a planner: home place, working hours and aliases, then by words, the newest first.

    Args:
        query: The request.
        facts: All of one person, oldest first.
        characters: Of all texts together; what does not fit is left out.
    """
    newest = list(reversed(facts))
    always = [fact for kind in _FIRST for fact in newest if fact.kind == kind]
    rest = [fact for fact in newest if fact.kind not in _FIRST]
    found = matching(query, rest)
    taken = set(map(id, found))
    others = [fact for fact in rest if id(fact) not in taken]
    return list(_fitting([*always, *found, *others], characters))


def _fitting(facts: Iterable[RankedFact], characters: int) -> Iterator[RankedFact]:
    left = characters
    for fact in facts:
        if len(fact.text) <= left:
            left -= len(fact.text)
            yield fact
