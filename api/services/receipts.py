"""Receipts: what a run did, with whose consent, on which data, at what cost, and how to undo it. Built by code only."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import BaseModel, Field, JsonValue

from activities.memory.contract import RecalledFact
from retinue.conversation import Usage
from retinue.text import safe
from retinue.times import Moment
from workflows.messages import (
    ENDED,
    ApprovalStatus,
    ApprovalView,
    AssistantStatus,
    AssistantView,
    DoneEffect,
    StepStatus,
    StepView,
)
from workflows.rules.card import listed

_DONE = frozenset({StepStatus.COMPLETED, StepStatus.UNDONE, StepStatus.UNKNOWN})


class Consent(BaseModel):
    """The consent for an effect."""

    how: str = Field(description="'automatic', 'grant' or 'approval'")
    says: str = Field(description="the consent in words")
    by: list[str] = Field(default_factory=list, description="the people who approved")
    at: Moment | None = None
    rule: str | None = None
    grant_id: str | None = None
    approval_id: str | None = None


class Deed(BaseModel):
    """One effect."""

    step_id: str
    tool: str
    status: StepStatus = Field(description="'completed', 'undone', or 'unknown' if its outcome is unknown")
    args: dict[str, JsonValue]
    result: JsonValue = None
    at: Moment | None = None
    consent: Consent | None = None
    undo: str = Field(description="how to undo it, in words")
    done_by_run: str | None = Field(None, description="the earlier assistant that did it, if this one is its fork")


class Reading(BaseModel):
    """One read-only call."""

    step_id: str
    tool: str
    args: dict[str, JsonValue]


class Refusal(BaseModel):
    """One action that was not done."""

    step_id: str
    tool: str
    status: StepStatus
    why: str


class Receipt(BaseModel):
    """What an assistant did."""

    assistant_id: str
    status: AssistantStatus
    final: bool = Field(description="false while the assistant is running")
    request: str
    owner: str
    did: list[Deed]
    read: list[Reading]
    did_not: list[Refusal]
    usage: Usage
    reply: str | None = None
    remembered: list[RecalledFact] = Field(
        default_factory=list, description="what the memory capability knows of the person and the planner was shown"
    )


def make_receipt(view: AssistantView) -> Receipt:
    """Build the receipt from a run's view."""
    steps = view.plan.steps if view.plan else []
    # reversed: the first approval of a step allowed it, later ones only its repeats
    approvals = {approval.step_id: approval for approval in reversed(view.approvals) if approval.step_id}
    return Receipt(
        assistant_id=view.id,
        status=view.status,
        final=view.status in ENDED,
        request=view.message,
        owner=view.owner,
        did=[
            *(_deed(step, approvals.get(step.id), view.id) for step in _earlier(view)),
            *(_deed(step, approvals.get(step.id), view.id) for step in steps if step.effect and step.status in _DONE),
        ],
        read=[
            Reading(step_id=step.id, tool=step.tool, args=step.args)
            for step in steps
            if not step.effect and step.status is StepStatus.COMPLETED
        ],
        did_not=[
            Refusal(step_id=step.id, tool=step.tool, status=step.status, why=_why_not(step))
            for step in steps
            if step.status not in _DONE and step.status is not StepStatus.COMPLETED
        ],
        usage=view.usage,
        reply=view.reply,
        remembered=view.facts,
    )


def _earlier(view: AssistantView) -> Iterator[StepView]:
    """Return the effects of earlier turns of a chat, which its plan no longer shows."""
    shown = {step.id for step in view.plan.steps} if view.plan else set()
    undone = {step.step_id for step in view.undo if step.status == "undone"}
    for effect in view.effects:
        if effect.step_id not in shown:
            yield StepView(
                id=effect.step_id,
                tool=effect.tool,
                capability=effect.capability,
                args=effect.args,
                depends_on=[],
                status=_fate(effect, undone),
                result=effect.result,
                finished_at=effect.at,
                effect=True,
                undo=effect.undo,
                consent=effect.consent,
            )


def _fate(effect: DoneEffect, undone: Collection[str]) -> StepStatus:
    if effect.step_id in undone:
        return StepStatus.UNDONE
    return StepStatus.UNKNOWN if effect.unknown else StepStatus.COMPLETED


def _why_not(step: StepView) -> str:
    return step.error.message if step.error else f"it is {step.status.replace('_', ' ')}"


def _deed(step: StepView, approval: ApprovalView | None, assistant_id: str) -> Deed:
    return Deed(
        step_id=step.id,
        tool=step.tool,
        status=step.status,
        args=step.args,
        result=step.result,
        at=step.finished_at,
        consent=_consent(step, approval),
        undo=_how_to_undo(step, assistant_id),
        done_by_run=step.reused_from,
    )


def _how_to_undo(step: StepView, assistant_id: str) -> str:
    if step.status is StepStatus.UNDONE:
        return "already undone"
    if step.undo is None:
        return "it cannot be undone"
    return f"POST /v1/assistants/{step.reused_from or assistant_id}/undo undoes it with {step.undo}"


def _consent(step: StepView, approval: ApprovalView | None) -> Consent | None:
    if step.consent is None:
        return None
    how = step.consent
    if how.how == "approval" and approval is not None:
        return _approved(approval)
    if how.how == "grant":
        return Consent(how="grant", says=f"the grant {how.grant_id}", rule=how.rule, grant_id=how.grant_id)
    return Consent(how="automatic", says=f"automatic by the policy's rule {how.rule!r}", rule=how.rule)


def _approved(approval: ApprovalView) -> Consent:
    people = list(dict.fromkeys([vote.by for vote in approval.votes] or [approval.decided_by or "nobody"]))
    edited = ", who had changed the arguments" if approval.decision == "edit" else ""
    lapsed = approval.status is ApprovalStatus.APPROVED and approval.decided_by == "policy"
    says = "no decision in time, which the policy treats as approved" if lapsed else f"{' and '.join(people)}{edited}"
    return Consent(
        how="approval",
        says=says,
        by=[] if lapsed else people,
        at=approval.decided_at,
        rule=approval.rule,
        approval_id=approval.id,
    )


def as_text(receipt: Receipt) -> str:
    """Return the receipt as text. Texts of people and strangers are sanitized and indented."""
    return "\n".join(_lines(receipt)) + "\n"


def _lines(receipt: Receipt) -> Iterator[str]:
    yield f"Receipt of {receipt.assistant_id}: {receipt.status.replace('_', ' ')}"
    yield f"Asked by {receipt.owner}:"
    yield from _indented(receipt.request)
    yield "Done:" if receipt.did else "Nothing was changed."
    for deed in receipt.did:
        yield from _of_deed(deed)
    if receipt.read:
        yield "Read:"
        yield from (f"  - {reading.tool} ({reading.step_id})" for reading in receipt.read)
    if receipt.did_not:
        yield "Not done:"
        yield from (f"  - {item.tool} ({item.step_id}): {safe(item.why)}" for item in receipt.did_not)
    if receipt.remembered:
        yield "Used from memory:"
        yield from (
            f"  - {fact.kind.replace('_', ' ')}: {safe(fact.text)} ({fact.says})" for fact in receipt.remembered
        )
    used = receipt.usage
    tokens = f"{used.input_tokens + used.output_tokens} tokens"
    if used.estimated_tokens:
        tokens += f" ({used.estimated_tokens} of them estimated)"
    yield f"Cost: {used.requests} requests to the language model, {tokens}, {used.cost:g} by the configured prices"
    for name, use in used.phases.items():
        tokens = f"{use.input_tokens + use.output_tokens} tokens"
        yield f"  - {name}: {use.requests} requests, {tokens}, {use.seconds:.1f} seconds, {use.cost:g}"


def _of_deed(deed: Deed) -> Iterator[str]:
    when = f", {deed.at:%Y-%m-%d %H:%M} UTC" if deed.at else ""
    doubt = " - OUTCOME UNKNOWN" if deed.status is StepStatus.UNKNOWN else ""
    before = f", done by {deed.done_by_run}" if deed.done_by_run else ""
    yield f"  - {deed.tool} ({deed.step_id}{when}{before}){doubt}"
    yield from (f"    {line}" for line in _indented(listed("with", deed.args)))
    if deed.consent:
        yield f"    allowed by: {safe(deed.consent.says)}"
    yield f"    to undo: {deed.undo}"


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in safe(text).splitlines())
