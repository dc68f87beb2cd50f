"""The reasoning capability's tools: plan, reply, compose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from activities.reasoning import prompts
from activities.reasoning.contract import (
    ComposeRequest,
    PlanRequest,
    PlanResult,
    Reasoning,
    RefusedPlan,
    ReplyRequest,
    TextResult,
    Usage,
)
from activities.reasoning.model import LanguageModel
from retinue.capability import Manifest
from retinue.errors import MalformedAnswer
from retinue.plan import bind, check, parse
from retinue.registry import FRESH

ReadManifests = Callable[[float], Awaitable[list[Manifest]]]
_MAX_REFUSED_CHARS = 16_000


class ReasoningTools(Reasoning):
    """Asks the model and checks what it says.

    Args:
        model: The language model.
        manifests: Reads what the registry knows; takes how many seconds old the answer may be.
    """

    def __init__(self, model: LanguageModel, manifests: ReadManifests) -> None:
        self._model = model
        self._manifests = manifests

    async def plan(self, request: PlanRequest) -> PlanResult:
        """Ask for a plan once. A plan that may not run comes back as `refused`, with the reasons."""
        manifests = await self._manifests(FRESH)
        answer, usage = await self._model.complete(
            prompts.for_plan(request, manifests), response_format=prompts.PLAN_FORMAT
        )
        try:
            plan = parse(answer)
        except MalformedAnswer as error:
            return _refused(answer, [error.message], usage)
        if check(plan, manifests):
            manifests = await self._manifests(0)  # a capability may have been announced a moment ago
        if problems := check(plan, manifests):
            return _refused(answer, problems, usage)
        return PlanResult(plan=bind(plan, manifests), usage=usage)

    async def reply(self, request: ReplyRequest) -> TextResult:
        """Write the final answer."""
        text, usage = await self._model.complete(prompts.for_reply(request))
        return TextResult(text=text, usage=usage)

    async def compose(self, request: ComposeRequest) -> TextResult:
        """Write one text from data."""
        text, usage = await self._model.complete(prompts.for_compose(request))
        return TextResult(text=text, usage=usage)


def _refused(answer: str, problems: list[str], usage: Usage) -> PlanResult:
    return PlanResult(refused=RefusedPlan(answer=answer[:_MAX_REFUSED_CHARS], problems=problems), usage=usage)
