"""Ranks short texts by the words that they share with a request (BM25), for planners' tools and remembered facts. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

_K1 = 1.2
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WITHOUT_SPACES = re.compile(r"[\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]{2,}")
"""Scripts without spaces between words."""
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "es", "ed", "s", "y", "e")
_SHORTEST_STEM = 3
_COMMON = """
a an and any are as at be by can could did do does for from get got had has have he her his how i if in into is it its just
let like me my need no not of on or our out please she so some that the their them then there these they this those to
too up us want was we were what when where which who will with would you your
"""
_STOP = frozenset(_COMMON.split())


def words(text: str) -> Iterator[str]:
    """Yield the words of a text without endings and accents; of a script without spaces, pairs of characters."""
    plain = unicodedata.normalize("NFKD", _CAMEL.sub(" ", text)).casefold()
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    for word in _WORD.findall(plain):
        if _WITHOUT_SPACES.fullmatch(word):
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        elif word not in _STOP:
            yield _stem(word)


def _stem(word: str) -> str:
    """Return a word without its endings, so that `schedules`, `scheduled` and `scheduling` are the same."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            stem = word.removesuffix(ending)
            return _stem(stem[:-1] if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2] else stem)
    return word


class Bm25:
    """Texts, ready to be ranked.

    Args:
        documents: The words of each text, counted by how much they say of it.
        length_weight: How much longer texts are held back, from 0 to 1.
    """

    def __init__(self, documents: Sequence[Mapping[str, int]], *, length_weight: float = 0.6) -> None:
        self._size = len(documents)
        average = sum(sum(counts.values()) for counts in documents) / max(1, self._size)
        places = Counter(word for counts in documents for word in counts)
        self._weights: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, counts in enumerate(documents):
            length = 1 - length_weight + length_weight * sum(counts.values()) / (average or 1)
            for word, count in counts.items():
                rare = math.log(1 + (self._size - places[word] + 0.5) / (places[word] + 0.5))
                self._weights[word].append((place, rare * count * (_K1 + 1) / (count + _K1 * length)))

    def scores(self, query: str) -> list[float]:
        """Return the score of each text for a query; 0 where no word is shared."""
        found = [0.0] * self._size
        for word in set(words(query)):
            for place, value in self._weights.get(word, ()):
                found[place] += value
        return found
