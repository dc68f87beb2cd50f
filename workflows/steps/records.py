"""Converts one step into the forms that views, reports, agents, undo and later turns need. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter

from pydantic import JsonValue

from activities.reasoning.contract import CallOutcome, StepReport
from retinue.capability import ACCOUNT
from retinue.json_values import cut
from retinue.plan import BoundStep
from retinue.text import clip, safe
from workflows.messages import ApprovalView, DoneEffect, KeptStep, RunOutcome, StepStatus, StepView

_SUMMARY = 80
"""Characters of a value in a line for the Web UI."""
_HAPPENED = frozenset({StepStatus.COMPLETED, StepStatus.UNDONE, StepStatus.UNKNOWN})
_LEFT_OUT = frozenset({StepStatus.SKIPPED, StepStatus.REJECTED, StepStatus.CANCELLED, StepStatus.FAILED})
_REMEMBERED_BYTES = 16 * 1024
"""Characters of each value of an effect; a longer one is a text that an undo does not need."""


def summary(step: BoundStep, args: Mapping[str, JsonValue]) -> str:
    """Return one line about a call for the Web UI: `email.send to team@example.com`."""
    names = [name for _, name, _, _ in Formatter().parse(step.summary) if name]
    values = {name: safe(_short(args.get(name))) for name in names}
    return f"{step.tool} {step.summary.format(**values)}".strip() if any(values.values()) else step.tool


def _short(value: JsonValue) -> str:
    """Return a value on a short line; of a list the first whole items, of a long address the domain."""
    texts = (
        [_one(str(item)) for item in value] if isinstance(value, list) else [] if value is None else [_one(str(value))]
    )
    shown = texts[:1]
    for text in texts[1:]:
        if len(", ".join([*shown, text])) > _SUMMARY:
            break
        shown.append(text)
    more = f" and {len(texts) - len(shown)} more" if len(shown) < len(texts) else ""
    return f"{', '.join(shown)}{more}"


def _one(text: str) -> str:
    if len(text) <= _SUMMARY:
        return text
    local, at, domain = text.rpartition("@")
    if at and len(domain) < _SUMMARY - 2 and " " not in text:
        return f"{local[: _SUMMARY - len(domain) - 2]}…@{domain}"
    return clip(text, _SUMMARY)


def initial_view(step: BoundStep, parent: str | None = None) -> StepView:
    """Return the view of a step that has not run yet."""
    of_an_effect = {} if step.annotations.read_only else {"effect": True, "undo": step.annotations.undo}
    return StepView(
        id=step.id,
        tool=step.tool,
        capability=step.capability,
        args=step.args,
        depends_on=step.depends_on,
        why=step.why,
        status=StepStatus.PENDING,
        parent=parent,
        **of_an_effect,
    )


def effect(view: StepView, step: BoundStep) -> DoneEffect:
    """Return a done effect with what an undo may need, without large values."""
    return DoneEffect(
        step_id=view.id,
        tool=view.tool,
        title=step.title,
        capability=view.capability,
        undo=view.undo,
        args={name: cut(value, _REMEMBERED_BYTES) for name, value in view.args.items()},
        result=_remembered(view.result),
        consent=view.consent,
        at=view.finished_at,
        unknown=view.status is StepStatus.UNKNOWN,
    )


def _remembered(result: JsonValue) -> JsonValue:
    """Return what an undo may need of a result, without large values."""
    if isinstance(result, dict):
        return {name: cut(value, _REMEMBERED_BYTES) for name, value in result.items()}
    return cut(result, _REMEMBERED_BYTES)


def outcome_of_run(views: Sequence[StepView], approvals: Sequence[ApprovalView]) -> RunOutcome:
    """Return what a completed run did; one without steps has answered, unless a person rejected its plan."""
    if not views:
        return RunOutcome.NOTHING_CHANGED if approvals else RunOutcome.ANSWERED
    changed = any(view.effect and view.status in _HAPPENED for view in views)
    left_out = any(view.status in _LEFT_OUT for view in views)
    return RunOutcome.NOTHING_CHANGED if left_out and not changed else RunOutcome.DONE


def kept(step: BoundStep, view: StepView) -> KeptStep:
    """Return a finished step for a later turn or another run."""
    return KeptStep(
        bound=step,
        args=view.args,
        result=view.result,
        consent=view.consent,
        at=view.finished_at,
        assistant_id=view.reused_from,
    )


def outcome(view: StepView) -> CallOutcome:
    """Return the outcome of an agent's call; the caller fills in the id of the call."""
    if view.status is StepStatus.COMPLETED:
        return CallOutcome(call_id=view.id, content=view.result)
    said = view.error.message if view.error else ""
    return CallOutcome(call_id=view.id, content={"status": view.status, "error": said})


def report(view: StepView, step: BoundStep, share: int) -> StepReport:
    """Return the report of a step for the final answer, without the id of its account, which tells nobody anything."""
    result = view.result
    if step.annotations.accounts and isinstance(result, dict):
        result = {name: value for name, value in result.items() if name != ACCOUNT}
    said: dict[str, JsonValue] = {"result": cut(result, share)} if result is not None else {}
    if view.error:
        said["error"] = view.error.message
    return StepReport.model_validate({"id": view.id, "tool": view.tool, "status": view.status, **said})
