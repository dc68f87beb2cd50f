"""The plans in code that people start by name.

To add a plan, write a workflow file and add a line here: then the API offers it, schedules run it and the workflow
worker serves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from temporalio import workflow

from workflows import briefing


@dataclass(frozen=True)
class CodePlan:
    """A plan in code and how to start it."""

    workflow: type[Any]
    """The workflow class. Its result and its query `view` have the shape of `AssistantView`, as `CodePlanRun` returns it."""
    title: str
    """The title of its runs in lists."""
    args: type[BaseModel]
    """The arguments of a run; unknown names are refused."""
    input: type[BaseModel]
    """The workflow's input: the fields of `args`, `timezone` and `owner`."""

    @property
    def workflow_type(self) -> str:
        """The workflow type in Temporal."""
        name = workflow._Definition.must_from_class(self.workflow).name
        assert name is not None
        return name

    def start(self, args: BaseModel, *, timezone: str, owner: str) -> BaseModel:
        """Return the workflow's input for a run with these arguments."""
        return self.input.model_validate({**args.model_dump(exclude_unset=True), "timezone": timezone, "owner": owner})


PLANS: Mapping[str, CodePlan] = MappingProxyType(
    {
        "briefing": CodePlan(
            briefing.BriefingWorkflow, title=briefing.TITLE, args=briefing.BriefingArgs, input=briefing.StartBriefing
        ),
    }
)
"""By the name that people use."""
