"""Ranks tools by how well they fit a request: BM25 over their names, descriptions and example requests. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from retinue.bm25 import Bm25, words
from retinue.capability import Manifest, ToolSpec

_OF_THE_CAPABILITY = 0.4
"""What the best tool of a capability adds to its other tools: who deletes an event first looks it up."""


class ToolIndex:
    """The plannable tools of capabilities, ready to be ranked."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._tools = [(manifest, spec) for manifest in manifests for spec in manifest.tools if spec.plannable]
        self._index = Bm25([_weighted(manifest, spec) for manifest, spec in self._tools])

    def ranked(self, texts: Mapping[str, float]) -> list[ToolSpec]:
        """Return all tools, those that fit best first.

        Args:
            texts: What they should fit, each with its weight.
        """
        scores = [0.0] * len(self._tools)
        for text, weight in texts.items():
            scores = [score + weight * value for score, value in zip(scores, self._index.scores(text), strict=True)]
        best: dict[str, float] = defaultdict(float)
        for (manifest, _), score in zip(self._tools, scores, strict=True):
            best[manifest.name] = max(best[manifest.name], score)
        total = [
            score + _OF_THE_CAPABILITY * best[manifest.name]
            for (manifest, _), score in zip(self._tools, scores, strict=True)
        ]
        order = sorted(range(len(self._tools)), key=lambda place: -total[place])
        return [self._tools[place][1] for place in order]

    def fitting(self, texts: Mapping[str, float], *, share: float = 0.0) -> list[ToolSpec]:
        """Return the tools that share words with one of the texts, those that fit best first.

        Args:
            texts: As in `ranked`.
            share: How well they fit at least one text, as a part of how well the best one fits it.
        """
        names: set[str] = set()
        for scores in map(self._index.scores, texts):
            least = share * max(scores, default=0.0)
            names |= {
                spec.name for (_, spec), score in zip(self._tools, scores, strict=True) if score > 0 and score >= least
            }
        return [spec for spec in self.ranked(texts) if spec.name in names]


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
