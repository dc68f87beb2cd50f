"""Code changes against runs that exist: every recorded history must replay, or people's waiting runs would be stuck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from retinue.plan import BoundPlan
from retinue.temporal import DATA_CONVERTER
from workflows.assistant import AssistantWorkflow
from workflows.registry import RegistryWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def replayer() -> Replayer:
    from temporalio.worker import UnsandboxedWorkflowRunner

    return Replayer(
        workflows=[AssistantWorkflow, RegistryWorkflow],
        data_converter=DATA_CONVERTER,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


def load(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def test_there_are_histories_of_every_shape() -> None:
    assert len(HISTORIES) >= 12


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays(path: Path) -> None:
    await replayer().replay_workflow(load(path))


async def test_an_incompatible_change_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's own test: one activity more, and the same history fails."""
    answer = AssistantWorkflow._answer

    async def answer_twice(self: AssistantWorkflow, plan: BoundPlan) -> Any:
        await answer(self, plan)
        await answer(self, plan)

    monkeypatch.setattr(AssistantWorkflow, "_answer", answer_twice)
    [path] = [path for path in HISTORIES if path.stem == "approved"]
    with pytest.raises(Exception, match="TMPRL1100"):
        await replayer().replay_workflow(load(path))
