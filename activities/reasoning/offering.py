"""Decides which tools a planning request offers: the prompt lists them, and the format of the answer names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from activities.reasoning.contract import PlanRequest, RefusedPlan
from activities.reasoning.structured import json_in
from retinue.capability import Manifest, ToolSpec
from retinue.errors import MalformedAnswer
from retinue.json_values import json_size
from retinue.plan import PlanStep, parse

_ABOUT_ARGUMENTS = re.compile(r"step ([A-Za-z0-9_.-]{1,40}): ")
_ABOUT_RESULT = re.compile(r"is not a field of the result of ([A-Za-z0-9_.-]{1,40})$")
_MAX_SCHEMAS_BYTES = 16 * 1024


@dataclass(frozen=True)
class Offer:
    """What one planning request offers.

    Args:
        manifests: All capabilities, in the order of the prompt.
        tools: The tools that the prompt shows, in the order of the prompt; all may be used in plans.
    """

    manifests: list[Manifest]
    tools: list[ToolSpec]

    @property
    def agents(self) -> list[str]:
        """The names of all capabilities: each may be given a goal."""
        return [manifest.name for manifest in self.manifests]

    def shown(self, manifest: Manifest) -> list[ToolSpec]:
        """Return the tools of a capability that the prompt shows."""
        return [spec for spec in self.tools if spec.name.partition(".")[0] == manifest.name]

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


def offered(request: PlanRequest, manifests: Iterable[Manifest]) -> Offer:
    """Return what a planning request offers."""
    known = list(manifests)
    return Offer(known, [spec for manifest in known for spec in manifest.tools if spec.plannable])


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
