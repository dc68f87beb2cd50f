"""A run's texts in the Temporal Web UI: static summary and details, and the current details as Markdown.

The workflow renders them at each change of a run, so they are pure and short: one or two lines per step.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime

from retinue.step_order import in_order
from retinue.text import safe_excerpt, safe_line
from workflows.messages import (
    ApprovalKind,
    ApprovalStatus,
    ApprovalView,
    AssistantView,
    StepConsent,
    StepStatus,
    StepView,
    UndoStep,
    WorkerWait,
)
from workflows.rules.card import destinations, explained
from workflows.rules.policy import ANYBODY

_WIDTH = 58
_MOST = 4000
"""Characters of one text. Wrapping takes CPU, many approvals may be pending, and each change of a run renders all."""
_UNDONE = {"undone": "undone", "impossible": "**cannot be undone**", "pending": "still to be undone"}
_ASKED = {ApprovalKind.BUDGET: "Used up:", ApprovalKind.REPEAT: "Outcome unknown:"}
_MARKS = {
    StepStatus.COMPLETED: "done",
    StepStatus.RUNNING: "running",
    StepStatus.PENDING: "waits for others",
    StepStatus.AWAITING_APPROVAL: "**WAITS FOR YOUR APPROVAL**",
    StepStatus.AWAITING_WORKER: "**waits: no worker of this capability has taken it yet**",
    StepStatus.AWAITING_ACCOUNT: "**WAITS FOR AN ACCOUNT TO BE CONNECTED AGAIN**",
    StepStatus.UNDONE: "undone",
}


def static_summary(message: str) -> str:
    """Return one line for lists of runs."""
    return safe_line(message, 120)


def static_details(message: str, *, owner: str, timezone: str) -> str:
    """Return the owner, and the whole request if the summary cuts it."""
    whole = [] if static_summary(message) == message else _fence(message)
    return "\n".join([f"An assistant of **{owner}**, time zone {timezone}.", *whole])


def current_details(view: AssistantView) -> str:
    """Return the plan and what waits for a person, as Markdown. Texts of people and strangers are in code blocks only."""
    return "\n".join(_lines(view))


def _lines(view: AssistantView) -> Iterator[str]:
    yield f"**Status: {view.status.replace('_', ' ')}**"
    for approval in view.approvals:
        if approval.status is ApprovalStatus.PENDING:
            yield from _approval(view.id, approval)
    for account in view.accounts_to_connect:
        yield from ("", "### An account must be connected again", *_fence(account.reason))
    for waiting in view.waiting_for:
        yield from _missing_worker(view.id, waiting)
    if view.question:
        yield from ("", "### Question to the person", *_fence(view.question))
    if view.plan and view.plan.steps:
        yield from ("", "### Plan", *map(_step, in_order(view.plan.steps)))
    if view.undo:
        yield from ("", "### Undone", *map(_undone, view.undo))
    if view.error:
        yield from ("", f"### What went wrong: {view.error.type}", *_fence(view.error.message))
    if view.reply:
        yield from ("", "### Answer", *_fence(view.reply))


def _approval(workflow_id: str, approval: ApprovalView) -> Iterator[str]:
    first = len(destinations(approval.title, approval.card)) if approval.card else 0
    yield from ("", f"### Approve? {approval.title}", *_fence(approval.preview, most=max(_MOST, first)))
    yield f"{_ASKED.get(approval.kind, 'A person must decide, because')} {' and '.join(approval.reasons)}."
    if below := explained(approval.card, approval.reasons, why=False):
        yield from _fence(below)
    yield from _terms(approval)
    yield "To approve (or use `reject` in place of `approve`):"
    # texts to copy are not wrapped: a line break would spoil them
    yield from ("```text", f"bin/retinue approve {workflow_id} {approval.id}", "```")
    if approval.by or approval.approvers > 1:
        return  # a signal proves no identity
    yield "or by a signal: *More Actions*, *Send a Signal*, name `approve`, input:"
    yield from ("```json", f'{{"approval_id": "{approval.id}",', f' "args_hash": "{approval.args_hash}"}}', "```")


def _terms(approval: ApprovalView) -> Iterator[str]:
    """Yield who must and may decide, and until when."""
    if approval.approvers > 1:
        named = f" ({', '.join(_code(vote.by) for vote in approval.votes)})" if approval.votes else ""
        yield f"{len(approval.votes)} of {approval.approvers} people have approved{named}."
    if approval.by:
        who = "anybody" if ANYBODY in approval.by else ", ".join(map(_code, approval.by))
        yield f"May decide: {who}{', but not the requester' if approval.not_the_requester else ''}."
    if approval.expires_at and approval.overdue:
        yield f"**Overdue** since {_clock(approval.expires_at)}."
    elif approval.expires_at:
        yield f"Expires {_clock(approval.expires_at)}, then: {approval.at_expiry}."


def _missing_worker(workflow_id: str, waiting: WorkerWait) -> Iterator[str]:
    title = (
        f"{_code(waiting.capability)} cannot work" if waiting.reason else f"No worker of {_code(waiting.capability)}"
    )
    yield from ("", f"### {title}", *(_fence(waiting.reason) if waiting.reason else ()))
    held_up = ", ".join(map(_code, waiting.steps)) or "Planning or answering"
    yield f"{held_up}: waits since {_clock(waiting.since)}, until {_clock(waiting.times_out_at)} at most."
    if waiting.steps:
        yield from ("```text", f"bin/retinue choose {workflow_id} {waiting.steps[0]} wait|skip|fail", "```")


def _step(step: StepView) -> str:
    after = f", after {', '.join(step.depends_on)}" if step.depends_on else ""
    indent = "    " if step.parent else ""
    return f"{indent}- `{step.id}` `{step.tool}`{after}: {_mark(step)}{_note(step)}"


def _mark(step: StepView) -> str:
    if step.status is StepStatus.PENDING and step.held_until:
        return f"**held until {_clock(step.held_until)}; a cancel still stops it**"
    return _MARKS.get(step.status, step.status)


def _note(step: StepView) -> str:
    """Return how an effect was allowed, and which run did it."""
    parts = [_allowed(step.consent)] if step.consent and step.status is StepStatus.COMPLETED else []
    if step.reused_from:
        parts.append(f"by assistant {_code(step.reused_from)}")
    return f" ({', '.join(parts)})" if parts else ""


def _allowed(consent: StepConsent) -> str:
    by = consent.approval_id or consent.grant_id or consent.rule
    return f"{consent.how} {_code(by)}" if by else consent.how


def _undone(step: UndoStep) -> str:
    by = f" by `{step.undo}`" if step.undo and step.status == "undone" else ""
    return f"- `{step.step_id}` `{step.tool}`: {_UNDONE.get(step.status, step.status)}{by}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _code(name: str) -> str:
    """Return an untrusted name as a code span that it cannot break."""
    return f"`{' '.join(name.replace('`', chr(39)).split())}`"


def _fence(text: str, *, most: int = _MOST) -> list[str]:
    """Return a code block that its content cannot close, wrapped so that nothing is hidden beyond the page's edge."""
    shown = safe_excerpt(text, most)
    lines = [part for line in shown.replace("```", "'''").splitlines() for part in _wrapped(line)]
    return ["```text", *lines, "```"]


def _wrapped(line: str) -> list[str]:
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent) or [""]
