"""The plans in code that people start by name, beside those that a model makes.

A plan of one's own is a workflow file and a line here: the front door offers it, the schedules run it, the workflow
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
    """A plan in code, as it is started."""

    workflow: type[Any]
    """The workflow class. Its result and its query `view` have the shape of `AssistantView`, as `Course` gives it."""
    title: str
    """What its runs are called in lists."""
    args: type[BaseModel]
    """What a person may say about a run; unknown names are refused."""
    input: type[BaseModel]
    """The workflow's input: the fields of `args`, `timezone` and `owner`."""

    @property
    def workflow_type(self) -> str:
        """The name under which Temporal knows it."""
        name = workflow._Definition.must_from_class(self.workflow).name
        assert name is not None
        return name

    def start(self, args: BaseModel, *, timezone: str, owner: str) -> BaseModel:
        """The workflow's input for a run with these arguments."""
        return self.input.model_validate({**args.model_dump(exclude_unset=True), "timezone": timezone, "owner": owner})


PLANS: Mapping[str, CodePlan] = MappingProxyType(
    {
        "briefing": CodePlan(
            briefing.BriefingWorkflow, title=briefing.TITLE, args=briefing.BriefingArgs, input=briefing.StartBriefing
        ),
    }
)
"""By the name that people use."""
