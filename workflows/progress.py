"""What a planner may see of the steps so far: trusted results as they are, what strangers wrote as a shape only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from activities.reasoning.contract import Progress
from retinue.plan import BoundStep, cut
from workflows.messages import StepStatus, StepView
from workflows.origins import trusted

_RESULT_BYTES = 4_000
_FIELDS = 40
_DEPTH = 6
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def progress(views: Sequence[StepView], steps: Mapping[str, BoundStep]) -> list[Progress]:
    """The steps of earlier rounds, for the next one. A delegated step stands for its agent's calls."""
    return [_of(view, steps) for view in views if view.parent is None]


def _of(view: StepView, steps: Mapping[str, BoundStep]) -> Progress:
    seen = Progress(id=view.id, tool=view.tool, status=view.status)
    ours = trusted(steps[view.id], steps)
    if view.error:
        # a tool's own sentence may quote what it read
        words = f"{view.error.type}: {view.error.message}" if ours or _is_ours(view) else view.error.type
        return seen.model_copy(update={"error": words})
    if view.status is not StepStatus.COMPLETED:
        return seen
    if ours:
        return Progress(id=view.id, tool=view.tool, status=view.status, result=cut(view.result, _RESULT_BYTES))
    return Progress(id=view.id, tool=view.tool, status=view.status, shape=shape(view.result))


def _is_ours(view: StepView) -> bool:
    """Whether the error's sentence was written by the workflow or the person, not by the tool."""
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
    """A value without its content: fields with the names of their types, lists as their length and one item's shape.

    A field whose name is not plain, and so may be somebody's text, is left out.
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
