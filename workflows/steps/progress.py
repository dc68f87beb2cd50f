"""What a planner may see of the steps so far: data and own texts in full, strangers' texts as a shape only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from activities.reasoning.contract import Progress
from retinue.json_values import cut
from retinue.plan import BoundStep
from workflows.messages import StepStatus, StepView
from workflows.rules.provenance import Taint

_RESULT_BYTES = 4_000
_FIELDS = 40
_DEPTH = 6
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def progress(views: Sequence[StepView], steps: Mapping[str, BoundStep], taint: Taint) -> list[Progress]:
    """Return the steps of earlier rounds for the next one; a delegated step represents its agent's calls."""
    return [_of(view, steps[view.id], taint) for view in views if view.parent is None]


def _of(view: StepView, step: BoundStep, taint: Taint) -> Progress:
    seen: dict[str, Any] = {"id": view.id, "tool": view.tool, "status": view.status}
    if view.error:
        # a tool's own sentence may quote what it read
        ours = error_is_ours(view, step, taint)
        return Progress(**seen, error=f"{view.error.type}: {view.error.message}" if ours else view.error.type)
    if view.status is not StepStatus.COMPLETED:
        return Progress(**seen)
    if not taint.strangers_in(view.id):
        return Progress(**seen, result=cut(view.result, _RESULT_BYTES))
    said = taint.without_strangers(view.id)
    known: dict[str, Any] = {"result": cut(said, _RESULT_BYTES)} if _says_anything(said) else {}
    return Progress(**seen, shape=shape(view.result), **known)


def error_is_ours(view: StepView, step: BoundStep, taint: Taint) -> bool:
    """Whether an error's message contains no strangers' words."""
    notes = step.annotations
    by_us = notes.own_errors or notes.trusted_output
    return (by_us and not taint.echoes_strangers(step.id)) or _is_ours(view)


def _says_anything(value: JsonValue) -> bool:
    """Whether a result has any content besides its shape."""
    if isinstance(value, dict):
        return any(map(_says_anything, value.values()))
    if isinstance(value, list):
        return any(map(_says_anything, value))
    return value is not None


def _is_ours(view: StepView) -> bool:
    """Whether the workflow or the person wrote the error's message, not the tool."""
    return view.status in (StepStatus.SKIPPED, StepStatus.REJECTED) or (
        view.error is not None
        and view.error.type
        in (
            "BrokenReference",
            "NoWorker",
            "Timeout",
        )
    )


def shape(value: JsonValue, depth: int = 0) -> JsonValue:
    """Return the shape of a value: fields with the names of their types, lists as length and one item's shape.

    It omits a field whose name is not plain, since that may be a stranger's text.
    """
    if isinstance(value, dict):
        if depth >= _DEPTH:
            return "object"
        fields = [name for name in value if _FIELD_NAME.fullmatch(name)][:_FIELDS]
        return {name: shape(value[name], depth + 1) for name in fields}
    if isinstance(value, list):
        return {"items": len(value), **({"each": shape(value[0], depth + 1)} if value and depth < _DEPTH else {})}
    return _TYPES[type(value)]


_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
