"""How a run presents itself in the Temporal Web UI: static summary and details, and the current details as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from workflows.messages import ApprovalStatus, ApprovalView, AssistantView, StepStatus, StepView

_WIDTH = 58
_MARKS = {
    StepStatus.COMPLETED: "done",
    StepStatus.RUNNING: "running",
    StepStatus.PENDING: "waits for others",
    StepStatus.AWAITING_APPROVAL: "**WAITS FOR YOUR APPROVAL**",
    StepStatus.AWAITING_WORKER: "**waits: no worker of this capability has taken it yet**",
}


def static_summary(message: str) -> str:
    """One line for lists of runs."""
    line = " ".join(message.split())
    return line if len(line) <= 120 else f"{line[:119]}…"


def static_details(message: str, *, owner: str, timezone: str) -> str:
    """Whose run it is, and the whole request where the summary had to cut it."""
    whole = [] if static_summary(message) == message else _fence(message)
    return "\n".join([f"An assistant of **{owner}**, time zone {timezone}.", *whole])


def current_details(view: AssistantView) -> str:
    """The plan and what waits for a person, as Markdown. What people and strangers wrote stands in code blocks only."""
    return "\n".join(_lines(view))


def _lines(view: AssistantView) -> Iterator[str]:
    yield f"**Status: {view.status.replace('_', ' ')}**"
    for approval in view.approvals:
        if approval.status is ApprovalStatus.PENDING:
            yield from _approval(view.id, approval)
    if view.question:
        yield from ("", "### Question to the person", *_fence(view.question))
    if view.plan:
        yield from ("", "### Plan", *(_step(step) for step in view.plan.steps))
    if view.error:
        yield from ("", f"### What went wrong: {view.error.type}", *_fence(view.error.message))
    if view.reply:
        yield from ("", "### Answer", *_fence(view.reply))


def _approval(workflow_id: str, approval: ApprovalView) -> Iterator[str]:
    yield from ("", f"### Approve? {approval.title}", *_fence(approval.preview))
    yield f"A person must decide, because {' and '.join(approval.reasons)}."
    yield "To approve (or use `reject` in place of `approve`):"
    # what is there to be copied is not wrapped: a line break inside would spoil it
    yield from ("```text", f"bin/retinue approve {workflow_id} {approval.id}", "```")
    yield "or by a signal: *More Actions*, *Send a Signal*, name `approve`, input:"
    yield from ("```json", f'{{"approval_id": "{approval.id}",', f' "args_hash": "{approval.args_hash}"}}', "```")


def _step(step: StepView) -> str:
    after = f", after {', '.join(step.depends_on)}" if step.depends_on else ""
    return f"- `{step.id}` `{step.tool}`{after}: {_MARKS.get(step.status, step.status)}"


def _fence(text: str) -> list[str]:
    """A code block that its content cannot close, wrapped so that nothing hides beyond the page's edge."""
    lines = [part for line in text.replace("```", "'''").splitlines() for part in _wrapped(line)]
    return ["```text", *lines, "```"]


def _wrapped(line: str) -> list[str]:
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent) or [""]
