"""Code changes against runs that exist: every recorded history must replay, or people's waiting runs would be stuck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import WorkflowHistory
from temporalio.worker import Interceptor, Replayer, UnsandboxedWorkflowRunner, WorkflowRunner

from retinue.plan import BoundPlan
from retinue.runtime.otlp import Traces
from retinue.temporal.connection import DATA_CONVERTER
from retinue.temporal.tracing import RunTraces
from workers.runner import SANDBOX
from workflows.account_watch import AccountWatchWorkflow
from workflows.assistant import AssistantWorkflow
from workflows.code_plans import PLANS
from workflows.memory_request import MemoryRequestWorkflow
from workflows.microagent import MicroAgentWorkflow
from workflows.model_pauses import ModelPausesWorkflow
from workflows.models_in_use import ModelsInUseWorkflow
from workflows.notification import NotificationWorkflow
from workflows.person import PersonWorkflow
from workflows.registry import RegistryWorkflow
from workflows.reminder import ReminderWorkflow
from workflows.undo import Compensation, UndoWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


RUNNERS: dict[str, WorkflowRunner] = {"as in production": UnsandboxedWorkflowRunner(), "watched": SANDBOX}


def replayer(
    runner: WorkflowRunner = RUNNERS["as in production"], interceptors: Sequence[Interceptor] = ()
) -> Replayer:
    return Replayer(
        workflows=[
            AccountWatchWorkflow,
            AssistantWorkflow,
            MicroAgentWorkflow,
            UndoWorkflow,
            PersonWorkflow,
            RegistryWorkflow,
            ReminderWorkflow,
            NotificationWorkflow,
            MemoryRequestWorkflow,
            ModelPausesWorkflow,
            ModelsInUseWorkflow,
            *(plan.workflow for plan in PLANS.values()),
        ],
        data_converter=DATA_CONVERTER,
        workflow_runner=runner,
        interceptors=interceptors,
        debug_mode=True,  # a busy machine takes more than two seconds for a task: that is no fault of the history
    )


def load(path: Path) -> WorkflowHistory:
    """A history under the id that its run had: children are named by it."""
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    [first, *_] = history.events
    return WorkflowHistory(first.workflow_execution_started_event_attributes.workflow_id, history.events)


@pytest.fixture(autouse=True)
def _their_own_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories were recorded by the real clock."""
    monkeypatch.setattr("retinue.times._OFFSET", timedelta())


def test_there_are_histories_of_every_shape() -> None:
    assert len(HISTORIES) >= 32


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays(path: Path, runner: str) -> None:
    """Once as workers run it, and once in the sandbox that catches clocks, randomness and I/O in workflow code."""
    await replayer(RUNNERS[runner]).replay_workflow(load(path))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_run_that_began_without_traces_replays_with_them(path: Path, traces: RunTraces) -> None:
    """Traces add headers and no command; nothing that a replay does becomes a span."""
    await replayer(interceptors=[traces]).replay_workflow(load(path))


@pytest.fixture(scope="module")
def traces() -> Iterator[RunTraces]:
    exporter = InMemorySpanExporter()
    recorded = Traces("replayed", exporter)
    yield RunTraces(recorded)
    recorded.shutdown()
    again = [span.name for span in exporter.get_finished_spans() if not span.name.startswith("CompleteWorkflow")]
    assert again == []


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


@pytest.mark.parametrize("shape", ["undone_on_cancel", "undo"])
async def test_an_incompatible_change_of_undoing_is_caught(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """What can be taken back is looked up once more."""
    run = Compensation.run

    async def run_after_another_look(self: Compensation) -> None:
        await self._tools()
        await run(self)

    monkeypatch.setattr(Compensation, "run", run_after_another_look)
    [path] = [path for path in HISTORIES if path.stem == shape]
    with pytest.raises(Exception, match="TMPRL1100"):
        await replayer().replay_workflow(load(path))


async def test_an_incompatible_change_of_what_a_chat_does_between_turns_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Going on as new a turn earlier: people's chats would be stuck."""
    monkeypatch.setattr(AssistantWorkflow, "_must_continue_as_new", lambda self: self._turns >= 4)
    [path] = [path for path in HISTORIES if path.stem == "chat_first_run"]
    with pytest.raises(Exception, match="TMPRL1100"):
        await replayer().replay_workflow(load(path))
