"""Decides which tools a planning request offers: the prompt lists them, and the format of the answer names them.

As long as the signatures of all tools fit a budget of tokens, all are offered: rare ones by name alone unless they fit what
was said. Beyond it the request has every capability in one line and the tools that fit. The model may ask for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import is_
from typing import Any

from activities.reasoning.contract import PlanRequest, Reasoning, RefusedPlan
from activities.reasoning.endpoint import tokens_of
from activities.reasoning.retrieval import ToolIndex
from activities.reasoning.signatures import section, signature, signature_in_brief
from activities.reasoning.structured import json_in
from retinue.capability import Manifest, ToolSpec
from retinue.conversation import Message, Role
from retinue.errors import MalformedAnswer
from retinue.json_values import json_size
from retinue.plan import PlanStep, parse
from retinue.text import one_line

_ABOUT_ARGUMENTS = re.compile(r"step ([A-Za-z0-9_.-]{1,40}): ")
_ABOUT_RESULT = re.compile(r"is not a field of the result of ([A-Za-z0-9_.-]{1,40})$")
_MAX_SCHEMAS_BYTES = 16 * 1024
_OVERVIEW_SHARE = 4
"""The lines of capabilities take at most one part in so many of the budget."""
_BRIEF_SHARE = 0.6
"""The part of what is left for tools that lists further ones in brief."""
_LENGTHS_OF_LINES = (120, 60, 0)
_MESSAGES = 6
"""Of the person; older ones do not choose tools."""
_FADING = 0.5
"""Each message back counts so much less."""
_FITTING_TOKENS = 600
"""Tokens that rare tools take that fit a request, where all others are listed."""
_FITTING_SHARE = 0.5
"""How well such a tool fits, as a part of how well the best of all fits."""
_MISSES = 8
"""So many tools in a row that do not fit into the budget end the search for smaller ones."""


@dataclass(frozen=True)
class Offer:
    """What one planning request offers.

    Args:
        manifests: All capabilities, in the order of the prompt.
        tools: The tools that the prompt shows, in its order; `check` also takes plans with others.
        asked: Those of them that are shown since the model asked for them.
        brief: The names of tools that the prompt shows in brief, apart from those.
        overview: All capabilities, one line each, where not all tools are shown.
        fitting: Rare tools that are shown since they fit the request.
        named: The names of rare tools that the prompt only names, before those that fit or were asked for.
        accounts: By capability, the names of the person's accounts where there are several; the default one first.
    """

    manifests: list[Manifest]
    tools: list[ToolSpec]
    asked: tuple[ToolSpec, ...] = ()
    brief: frozenset[str] = frozenset()
    overview: tuple[str, ...] = ()
    fitting: tuple[ToolSpec, ...] = ()
    named: frozenset[str] = frozenset()
    accounts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def lists_all(self) -> bool:
        """Whether the prompt shows all tools, so that the model has no others to ask for."""
        return not (self.overview or self.named)

    @property
    def agents(self) -> list[str]:
        """The names of all capabilities: each may be given a goal."""
        return [manifest.name for manifest in self.manifests]

    @property
    def unseen(self) -> list[str]:
        """The names of capabilities with tools of which none is shown."""
        return [manifest.name for manifest in self.manifests if _plannable(manifest) and not _of(manifest, self.tools)]

    def first(self, manifest: Manifest) -> list[ToolSpec]:
        """Return the tools of a capability that the prompt shows at once, in full or in brief."""
        later = ({spec.name for spec in self.asked} - self.brief) | self.named
        return [spec for spec in _of(manifest, self.tools) if spec.name not in later]

    def then(self, manifest: Manifest) -> list[ToolSpec]:
        """Return those that it shows since the model asked for them."""
        return _of(manifest, self.asked)

    def names(self, manifest: Manifest) -> list[str]:
        """Return the names of those that it only names."""
        return [spec.name for spec in _of(manifest, self.tools) if spec.name in self.named]

    def schemas_for(self, refused: RefusedPlan) -> dict[str, dict[str, Any]]:
        """Return the JSON schemas that a refused plan did not keep to: `args` or `result` by tool, at most 16 KiB."""
        wrong: dict[str, dict[str, Any]] = {}
        for name, part in _misused(refused):
            spec = next((spec for manifest in self.manifests if (spec := manifest.tool(name))), None)
            if spec is None or not spec.plannable:
                continue
            schema = spec.args_schema if part == "args" else spec.result_schema
            grown = {**wrong, name: {**wrong.get(name, {}), part: schema}}
            wrong = grown if json_size(grown) <= _MAX_SCHEMAS_BYTES else wrong
        return wrong


def offered(
    request: PlanRequest, manifests: Iterable[Manifest], earlier: Iterable[Message] = (), *, budget: int | None = None
) -> Offer:
    """Return what a planning request offers, as `Catalog.offer` does."""
    return Catalog(manifests).offer(request, earlier, budget=budget)


class Catalog:
    """All capabilities, with what finding tools among them needs. It is worked out once, as long as they do not change."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self.manifests = list(manifests)
        self._every = [spec for manifest in self.manifests for spec in _plannable(manifest)]

    def of(self, manifests: Sequence[Manifest]) -> Catalog:
        """Return the catalog of these manifests: this one if they are the same objects."""
        same = len(manifests) == len(self.manifests) and all(map(is_, manifests, self.manifests))
        return self if same else Catalog(manifests)

    @cached_property
    def tokens(self) -> int:
        """How many tokens all signatures take."""
        return _tokens("\n\n".join(section(manifest, _plannable(manifest)) for manifest in self.manifests))

    def offer(self, request: PlanRequest, earlier: Iterable[Message] = (), *, budget: int | None = None) -> Offer:
        """Return what a planning request offers.

        Args:
            request: The request.
            earlier: What was said before its messages.
            budget: Tokens that capabilities and tools may take, and half as many for those that the model asks for; None
                for all.
        """
        if budget is None:
            return Offer(self.manifests, self._every)
        if self.tokens <= budget:
            return self._whole(request, earlier)
        overview = _overview(self.manifests, budget // _OVERVIEW_SHARE)
        used = set(_used(request))
        ranked = self._index.ranked(_said([*earlier, *request.messages]))
        room = budget - _tokens("\n".join(overview))
        for_brief = int(room * _BRIEF_SHARE)
        full = _Choice(self._costs, room - for_brief)
        full.add(spec for spec in self._every if spec.name in used or spec.name.startswith(f"{Reasoning.name}."))
        full.add(ranked)
        brief = _Choice(self._brief_costs, for_brief + full.room, but=full.chosen)
        brief.add(ranked)
        asked = _Choice(self._costs, budget // 2, but=full.chosen)
        for wanted in dict.fromkeys(request.needed):
            asked.add(self._wanted(wanted))
        shown = [spec for spec in self._every if spec.name in full.chosen | brief.chosen | asked.chosen]
        later = tuple(spec for spec in shown if spec.name in asked.chosen)
        return Offer(self.manifests, shown, later, frozenset(brief.chosen), tuple(overview))

    def _whole(self, request: PlanRequest, earlier: Iterable[Message]) -> Offer:
        """Return an offer of all tools, in which the part that is the same for every request only names rare ones."""
        used = set(_used(request))
        asked = [spec for wanted in dict.fromkeys(request.needed) for spec in self._wanted(wanted) if spec.rare]
        fitting = _Choice(self._costs, _FITTING_TOKENS, but=(spec.name for spec in asked))
        fitting.add(spec for spec in self._every if spec.rare and spec.name in used)
        fitting.add(
            spec
            for spec in self._index.fitting(_said([*earlier, *request.messages]), share=_FITTING_SHARE)
            if spec.rare
        )
        return Offer(
            self.manifests,
            self._every,
            asked=tuple({spec.name: spec for spec in asked}.values()),
            fitting=tuple(spec for spec in self._every if spec.name in fitting.chosen),
            named=frozenset(spec.name for spec in self._every if spec.rare),
        )

    @cached_property
    def _index(self) -> ToolIndex:
        return ToolIndex(self.manifests)

    @cached_property
    def _costs(self) -> dict[str, int]:
        """Tokens by the names of tools, and of capabilities without their tools."""
        heads = {manifest.name: _tokens(section(manifest, ())) for manifest in self.manifests}
        return heads | {spec.name: _tokens(signature(spec)) for spec in self._every}

    @cached_property
    def _brief_costs(self) -> dict[str, int]:
        heads = {manifest.name: _tokens(manifest.name) + 2 for manifest in self.manifests}
        return heads | {spec.name: _tokens(signature_in_brief(spec)) for spec in self._every}

    def _wanted(self, wanted: str) -> list[ToolSpec]:
        """Return the tools for which a model asked by the name of a capability or a tool, or in words."""
        name = wanted.strip().casefold()
        named = [spec for spec in self._every if name in (spec.name, spec.name.partition(".")[0])]
        return named or self._index.fitting({wanted: 1.0})


class _Choice:
    """Tools that fit into a budget of tokens.

    Args:
        costs: Tokens by the names of tools and capabilities.
        room: How many tokens are left; what is chosen makes it smaller.
        but: Tools that are not chosen again.
    """

    def __init__(self, costs: Mapping[str, int], room: int, *, but: Iterable[str] = ()) -> None:
        self.chosen: set[str] = set()
        self._costs = costs
        self.room = room
        self._but = frozenset(but)
        self._begun: set[str] = set()

    def add(self, tools: Iterable[ToolSpec]) -> None:
        """Choose tools in this order as long as they fit."""
        misses = 0
        for spec in tools:
            if spec.name in self.chosen or spec.name in self._but:
                continue
            capability = spec.name.partition(".")[0]
            cost = self._costs[spec.name] + (0 if capability in self._begun else self._costs[capability])
            if cost > self.room:
                misses += 1
                if misses == _MISSES:
                    return
                continue
            self.chosen.add(spec.name)
            self._begun.add(capability)
            self.room -= cost


def _plannable(manifest: Manifest) -> list[ToolSpec]:
    return [spec for spec in manifest.tools if spec.plannable]


def _of(manifest: Manifest, tools: Iterable[ToolSpec]) -> list[ToolSpec]:
    return [spec for spec in tools if spec.name.partition(".")[0] == manifest.name]


def _overview(manifests: Sequence[Manifest], room: int) -> list[str]:
    """Return one line for each capability, shorter the more there are; at last only names, as many as fit."""
    lines: list[str] = []
    for length in _LENGTHS_OF_LINES:
        says = (f": {one_line(manifest.description, length)}" if length else "" for manifest in manifests)
        lines = [f"{manifest.name}{said}" for manifest, said in zip(manifests, says, strict=True)]
        if _tokens("\n".join(lines)) <= room:
            return lines
    while len(lines) > 1 and _tokens("\n".join(lines)) > room:
        lines = lines[: len(lines) * 3 // 4]
    return [*lines, f"and {len(manifests) - len(lines)} more"]


def _said(messages: Sequence[Message]) -> dict[str, float]:
    """Return what the person said last, with weights: the last message counts most."""
    spoken = [said.text for said in messages if said.role is Role.USER][-_MESSAGES:]
    return {text: _FADING**back for back, text in reversed(list(enumerate(reversed(spoken))))}


def _used(request: PlanRequest) -> Iterator[str]:
    """Yield the tools of steps so far and of refused plans."""
    yield from (step.tool for step in request.progress)
    yield from (step.tool for refused in request.refused for step in _steps(refused.answer) if step.tool)


def _misused(refused: RefusedPlan) -> Iterator[tuple[str, str]]:
    """Yield the tools that a refused plan used wrongly, each with `args` or `result`."""
    tools = {step.id: step.tool for step in _steps(refused.answer) if step.tool}
    for problem in refused.problems:
        if (found := _ABOUT_RESULT.search(problem)) and found[1] in tools:
            yield tools[found[1]], "result"
        elif (found := _ABOUT_ARGUMENTS.match(problem)) and found[1] in tools:
            yield tools[found[1]], "args"


def _steps(answer: str) -> list[PlanStep]:
    """Return the steps of an answer; none if it cannot be read."""
    try:
        return parse(json_in(answer)).steps
    except MalformedAnswer:
        return []


def _tokens(text: str) -> int:
    return tokens_of([{"content": text}])
