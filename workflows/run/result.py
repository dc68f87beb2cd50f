"""A run's result: its view without what the history contains, so that an ended run can be read without a worker."""

from __future__ import annotations

from typing import Any

from retinue.json_values import json_size
from retinue.plan import AGENT_VERB
from workflows.messages import AssistantView, StepView, plain_conversation

MAX_RECORDED_BYTES = 128 * 1024
_IN_HISTORY = {"plan": {"steps": {"__all__": {"result", "started_at"}}}}
"""The reader of the result takes these from the history's events."""


def to_result(view: AssistantView) -> dict[str, Any]:
    """Return the view as a run's result; of a huge view only its name, so that it is queried instead."""
    content = view.model_dump(mode="json", exclude_defaults=True, exclude=_IN_HISTORY)
    for step in view.plan.steps if view.plan else []:
        if _is_in_no_event(step):
            [shown] = [shown for shown in content["plan"]["steps"] if shown["id"] == step.id]
            shown["result"] = step.result
    if content["messages"] == plain_conversation(content["message"], content.get("reply")):
        del content["messages"]
    if json_size(content) <= MAX_RECORDED_BYTES:
        return content
    return {"id": content["id"], "status": content["status"], "too_large": True}


def _is_in_no_event(step: StepView) -> bool:
    """Whether the step's result comes from no activity of this run, but from a fork, a child run, a choice or a ledger."""
    return step.reused_from is not None or step.picked or step.looked_up or step.tool.endswith(f".{AGENT_VERB}")
