"""Decides which tools a planning request offers: the prompt lists them, and the format of the answer names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from activities.reasoning.contract import PlanRequest
from retinue.capability import Manifest, ToolSpec


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


def offered(request: PlanRequest, manifests: Iterable[Manifest]) -> Offer:
    """Return what a planning request offers."""
    known = list(manifests)
    return Offer(known, [spec for manifest in known for spec in manifest.tools if spec.plannable])
