"""Which facts help with a request, best first. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from activities.memory.contract import Kind

_K1 = 1.2
_B = 0.75
_WORD = re.compile(r"\w+")
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


def words(text: str) -> list[str]:
    """Return the words of a text without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


def scores(query: str, texts: Sequence[str]) -> list[float]:
    """Return the BM25 score of each text for a query; 0 where no word is shared."""
    documents = [Counter(words(text)) for text in texts]
    lengths = [document.total() for document in documents]
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    weights = {word: _rarity(word, documents) for word in set(words(query))}
    return [
        sum(
            weight * document[word] * (_K1 + 1) / (document[word] + _K1 * (1 - _B + _B * length / mean))
            for word, weight in weights.items()
            if document[word]
        )
        for document, length in zip(documents, lengths, strict=True)
    ]


def _rarity(word: str, documents: Sequence[Counter[str]]) -> float:
    having = sum(word in document for document in documents)
    return math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))


def matching(query: str, facts: Sequence[RankedFact]) -> list[RankedFact]:
    """Return the facts that share a word with the query, best first."""
    ranked = sorted(
        zip(scores(query, [fact.text for fact in facts]), facts, strict=True), key=lambda pair: pair[0], reverse=True
    )
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
