"""Ranks tools by how well they fit a request: BM25 over their names, descriptions and example requests. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from retinue.capability import Manifest, ToolSpec

_K1, _B = 1.2, 0.6
_OF_THE_CAPABILITY = 0.4
"""What the best tool of a capability adds to its other tools: who deletes an event first looks it up."""
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


class ToolIndex:
    """The plannable tools of capabilities, ready to be ranked."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._tools = [(manifest, spec) for manifest in manifests for spec in manifest.tools if spec.plannable]
        found = [_weighted(manifest, spec) for manifest, spec in self._tools]
        average = sum(sum(counts.values()) for counts in found) / max(1, len(found))
        places = Counter(word for counts in found for word in counts)
        self._weights: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, counts in enumerate(found):
            length = 1 - _B + _B * sum(counts.values()) / (average or 1)
            for word, count in counts.items():
                rare = math.log(1 + (len(found) - places[word] + 0.5) / (places[word] + 0.5))
                self._weights[word].append((place, rare * count * (_K1 + 1) / (count + _K1 * length)))

    def ranked(self, texts: Mapping[str, float]) -> list[ToolSpec]:
        """Return all tools, those that fit best first.

        Args:
            texts: What they should fit, each with its weight.
        """
        scores = [0.0] * len(self._tools)
        for text, weight in texts.items():
            for word in set(words(text)):
                for place, value in self._weights.get(word, ()):
                    scores[place] += weight * value
        best: dict[str, float] = defaultdict(float)
        for (manifest, _), score in zip(self._tools, scores, strict=True):
            best[manifest.name] = max(best[manifest.name], score)
        total = [
            score + _OF_THE_CAPABILITY * best[manifest.name]
            for (manifest, _), score in zip(self._tools, scores, strict=True)
        ]
        order = sorted(range(len(self._tools)), key=lambda place: -total[place])
        return [self._tools[place][1] for place in order]

    def fitting(self, text: str) -> list[ToolSpec]:
        """Return the tools that share a word with a text, those that fit best first."""
        known = {place for word in set(words(text)) for place, _ in self._weights.get(word, ())}
        names = {self._tools[place][1].name for place in known}
        return [spec for spec in self.ranked({text: 1.0}) if spec.name in names]


def _weighted(manifest: Manifest, spec: ToolSpec) -> Counter[str]:
    """Return the words of a tool, counted by how much they say of it."""
    counts: Counter[str] = Counter()
    parts = {
        3: (spec.name.partition(".")[2], spec.title, *spec.examples),
        2: (manifest.name, spec.description),
        1: (manifest.description, *spec.args_schema.get("properties", {})),
    }
    for weight, texts in parts.items():
        for text in texts:
            for word in words(text):
                counts[word] += weight
    return counts
