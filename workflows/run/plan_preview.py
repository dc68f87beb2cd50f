"""The plan card: what a plan would do, shown and decided before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from retinue.conversation import Usage
from retinue.plan import BoundPlan, BoundStep, check_args, references
from retinue.provenance.asked_by import AskedBy
from retinue.text import safe
from workflows.consent.approvals import Question
from workflows.consent.gate import Consent, ProposedAction
from workflows.consent.subject_lookup import look_up
from workflows.messages import ApprovalKind, CardStep, PlanCard
from workflows.rules.card import Known, Subject, card_of, rendered
from workflows.rules.destinations import refused_destinations
from workflows.rules.policy import Decision, Verdict
from workflows.rules.provenance import Words, trace
from workflows.steps.delegation import MAX_TURNS
from workflows.steps.filling_in import unknown_yet

_PLAIN = Verdict(decision=Decision.ASK, rule="preview", reasons=["you wanted to see the plan before it runs"])
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["steps"],
    "additionalProperties": False,
    "properties": {
        "steps": {
            "type": "array",
            "description": "the steps to run; one that is left out is dropped",
            "items": {
                "type": "object",
                "required": ["id"],
                "additionalProperties": False,
                "properties": {"id": {"type": "string"}, "tool": {"type": "string"}, "args": {"type": "object"}},
            },
        }
    },
}


def card(
    plan: BoundPlan,
    earlier: Sequence[BoundStep],
    results: Mapping[str, JsonValue],
    consent: Consent,
    words: Words,
    worst_case: Usage,
) -> PlanCard:
    """Return the card of a plan: per step whether it reaches others, needs approval and why, and can be undone.

    Args:
        plan: The plan.
        earlier: The steps before it.
        results: Of the earlier steps.
        consent: Judges the steps.
        words: The person's messages and the values written into arguments.
        worst_case: The model usage at most.
    """
    steps = {step.id: step for step in [*earlier, *plan.steps]}

    def judged(step: BoundStep) -> Verdict:
        args, filled_in = unknown_yet(step)
        return consent.judge(ProposedAction(step, args, [*trace(step, steps, words, results=results), *filled_in]))

    return PlanCard(steps=[_card_step(step, judged(step)) for step in plan.steps], worst_case=worst_case)


def model_calls_left(plan: BoundPlan, *, rounds: int, repairs: int) -> int:
    """Return the maximum of further requests to models: texts, agents' turns, further plans with repairs, the answer."""
    own = sum(MAX_TURNS if step.agent else step.tool == "reasoning.compose" for step in plan.steps)
    return own + rounds * (1 + repairs) + 1


def _card_step(step: BoundStep, verdict: Verdict) -> CardStep:
    notes = step.annotations
    return CardStep(
        id=step.id,
        agent=step.capability,
        title=step.title,
        external=notes.open_world and not notes.read_only,
        can_be_undone=notes.read_only or notes.undo is not None,
        asks=[] if verdict.decision is Decision.AUTO else verdict.reasons,
        denied=verdict.decision is Decision.DENY and not verdict.tentative,
    )


Things = Mapping[str, Mapping[str, Known]]
"""By step, what is known about the ids in its arguments."""


async def look_up_all(plan: BoundPlan, *, number: int, asked_by: AskedBy) -> Things:
    """Look up the things that the ids in a plan refer to."""
    found = await asyncio.gather(
        *(look_up(step, step.args, key=f"plan-{number}.{step.id}.shown", asked_by=asked_by) for step in plan.steps)
    )
    return {step.id: things for step, things in zip(plan.steps, found, strict=True)}


def question(number: int, plan: BoundPlan, shown: PlanCard, things: Things) -> Question:
    """Return the question about a plan: approve it, drop steps or edit arguments."""
    return Question(
        id=f"ap-plan-{number}",
        kind=ApprovalKind.PLAN,
        tool="plan.run",
        title="Run this plan",
        args={"steps": [{"id": step.id, "tool": step.tool, "args": step.args} for step in plan.steps]},
        args_schema=_SCHEMA,
        terms=_PLAIN,
        judge=lambda _: _PLAIN,
        render=lambda args: _text(edited(plan, args), shown, things),
        check=lambda args: _problems(plan, args),
    )


def edited(plan: BoundPlan, args: Mapping[str, JsonValue]) -> BoundPlan:
    """Return the plan as the person decided it."""
    wanted = _wanted(plan, args)
    steps = [step.model_copy(update={"args": wanted[step.id]}) for step in plan.steps if step.id in wanted]
    # a remaining step depends on what its new arguments refer to, and on its declared dependencies
    rewired = [step.model_copy(update={"depends_on": _needs(step, plan)}) for step in steps]
    return plan.model_copy(update={"steps": rewired})


def typed(plan: BoundPlan, decided: BoundPlan) -> list[str]:
    """Return the whole values that the person wrote into the arguments, in lower case."""
    before = {step.id: set(texts(step.args)) for step in plan.steps}
    return [text for step in decided.steps for text in texts(step.args) if text not in before[step.id]]


def _needs(step: BoundStep, plan: BoundPlan) -> list[str]:
    [planned] = [other for other in plan.steps if other.id == step.id]
    referred_before = {source for source, _ in references(planned.args)}
    said = [name for name in planned.depends_on if name not in referred_before]
    return list(dict.fromkeys([*said, *(source for source, _ in references(step.args))]))


def _wanted(plan: BoundPlan, args: Mapping[str, JsonValue]) -> dict[str, dict[str, JsonValue]]:
    """Return by step the decided arguments; a step without arguments keeps its own."""
    steps = args["steps"]
    assert isinstance(steps, list)  # its schema was checked
    planned = {step.id: step.args for step in plan.steps}
    return {
        str(step["id"]): _object(step.get("args", planned.get(str(step["id"]))))
        for step in steps
        if isinstance(step, dict)
    }


def _object(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _problems(plan: BoundPlan, args: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield what is wrong with an edited plan."""
    steps = args["steps"]
    assert isinstance(steps, list)
    known = {step.id: step for step in plan.steps}
    named = [step for step in steps if isinstance(step, dict)]
    ids = [str(step["id"]) for step in named]
    yield from (
        f"there is no step {name!r}; you can remove steps, but not add any" for name in ids if name not in known
    )
    if not named:
        yield "a plan needs at least one step; to run none, reject it"
    yield from (f"step {name} occurs twice" for name in {name for name in ids if ids.count(name) > 1})
    for step in named:
        if str(step["id"]) in known:
            yield from _step_problems(known[str(step["id"])], step, set(known) - set(ids))


def _step_problems(planned: BoundStep, wanted: Mapping[str, JsonValue], dropped: set[str]) -> Iterator[str]:
    if wanted.get("tool", planned.tool) != planned.tool:
        yield f"step {planned.id} must keep its tool {planned.tool}"
    args = _object(wanted.get("args", planned.args))
    if planned.args_schema:
        yield from (f"step {planned.id}: {problem}" for problem in check_args(args, planned.args_schema))
    yield from (
        f"step {planned.id}: {problem}" for problem in refused_destinations(args, planned.annotations.sensitive)
    )
    before = {source for source, _ in references(planned.args)}
    now = {source for source, _ in references(args)}
    yield from (f"step {planned.id}: it may not newly refer to {name}" for name in now - before)
    said = set(planned.depends_on) - before
    yield from (f"step {planned.id} needs {name}; drop both or neither" for name in sorted((now | said) & dropped))


def texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield every text inside arguments except references, in lower case."""
    if isinstance(value, str):
        yield value.casefold()
    elif isinstance(value, Mapping) and "$from" not in value:
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _text(plan: BoundPlan, shown: PlanCard, things: Things) -> str:
    cards = {step.id: step for step in shown.steps}
    lines = (line for step in plan.steps for line in _lines(step, cards[step.id], things.get(step.id, {})))
    return "\n".join(["Run this plan", *lines])


def _lines(step: BoundStep, shown: CardStep, things: Mapping[str, Known]) -> Iterator[str]:
    subject = Subject(schema=step.args_schema or {}, sensitive=step.annotations.sensitive, things=things)
    after = f", after {', '.join(step.depends_on)}" if step.depends_on else ""
    yield f"{step.id} ({shown.agent}{after}):"
    yield "\n".join(f"    {line}" for line in rendered(safe(step.title), card_of(step.args, subject)).splitlines())
    yield from (
        f"    IT WILL NOT RUN: {problem}." for problem in refused_destinations(step.args, step.annotations.sensitive)
    )
    if shown.external:
        yield "    It reaches other people or systems."
    if not shown.can_be_undone:
        yield "    It cannot be undone."
    if shown.denied:
        yield f"    The policy forbids it: {'; '.join(shown.asks)}."
    elif shown.asks:
        yield f"    You will be asked before it, because {' and '.join(shown.asks)}."
