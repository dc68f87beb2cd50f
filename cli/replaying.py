"""`python -m cli.replaying`: replay one history with the workflows of this checkout, in a separate process.

It prints one JSON object, `{"workflow_id", "workflow_type", "events", "fits", "why"}`, and exits 0 if the history fits,
1 if not, 2 if it cannot be read. A separate process, since one that used Temporal's runtime may abort at its exit.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from retinue.runtime.process import leave
from retinue.settings import load_environment
from retinue.temporal.connection import connect, data_converter
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
from workflows.undo import UndoWorkflow

LARGEST = 256 * 1024 * 1024
"""Maximum size of a history in bytes: Temporal ends a run at 50 MB."""
_RPC = 10.0


class NoHistory(Exception):
    """The history cannot be read; the message says why."""


def workflow_types() -> list[type]:
    """Return all workflows of this checkout. A test compares them with those of the workers."""
    own = [AssistantWorkflow, MicroAgentWorkflow, UndoWorkflow, PersonWorkflow, RegistryWorkflow, ReminderWorkflow]
    return [
        *own,
        NotificationWorkflow,
        ModelPausesWorkflow,
        ModelsInUseWorkflow,
        AccountWatchWorkflow,
        MemoryRequestWorkflow,
        *(plan.workflow for plan in PLANS.values()),
    ]


def from_file(file: Path) -> WorkflowHistory:
    """Read a history written by `bin/retinue export --history`, Temporal's command line or its Web UI.

    Raises:
        NoHistory: The file has no history.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise NoHistory(f"{file} is too large for a history")
        return _under_its_own_id(WorkflowHistory.from_json(file.stem, file.read_text(encoding="utf-8")))
    except OSError as error:
        raise NoHistory(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise NoHistory(f"{file} holds no workflow history") from None


def _under_its_own_id(history: WorkflowHistory) -> WorkflowHistory:
    """Set the history's own workflow id, since ids of children are derived from it."""
    first = history.events[0]
    if not first.HasField("workflow_execution_started_event_attributes"):
        raise ValueError("the first event is missing")
    started = first.workflow_execution_started_event_attributes
    return WorkflowHistory(started.workflow_id or history.workflow_id, history.events)


async def from_temporal(assistant_id: str) -> tuple[WorkflowHistory, DataConverter]:
    """Fetch the history of a run.

    Raises:
        NoHistory: Temporal cannot be reached, or does not know the run.
    """
    try:
        async with asyncio.timeout(_RPC):
            client = await connect()
            history = await client.get_workflow_handle(assistant_id).fetch_history()
    except (RuntimeError, TimeoutError):
        raise NoHistory("Temporal cannot be reached; see TEMPORAL_ADDRESS") from None
    except RPCError as error:
        known = error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)
        why = (
            f"Temporal does not give it out: {error.status.name}"
            if known
            else f"there is no assistant {assistant_id[:80]!r}"
        )
        raise NoHistory(why) from None
    return history, client.data_converter


async def verdict(history: WorkflowHistory, converter: DataConverter) -> dict[str, object]:
    """Return whether a history fits the workflows of this checkout."""
    replayer = Replayer(
        workflows=workflow_types(), data_converter=converter, workflow_runner=UnsandboxedWorkflowRunner()
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    failure = result.replay_failure
    return {
        "workflow_id": history.workflow_id,
        "workflow_type": history.events[0].workflow_execution_started_event_attributes.workflow_type.name,
        "events": len(history.events),
        "fits": failure is None,
        "why": None if failure is None else str(failure),
    }


async def replayed(what: str) -> dict[str, object]:
    """Return the verdict about a `.json` file, or about a run by its id."""
    if (file := Path(what)).suffix == ".json":
        return await verdict(from_file(file), data_converter())
    return await verdict(*await from_temporal(what))


async def exported(assistant_id: str) -> str:
    """Return a run's history as Temporal's JSON."""
    history, _ = await from_temporal(assistant_id)
    return history.to_json()


def main(arguments: Sequence[str]) -> int:
    """Replay, or with `--export` print the history."""
    load_environment()
    try:
        if arguments[0] == "--export":
            print(json.dumps(json.loads(asyncio.run(exported(arguments[1])))))
            return 0
        found = asyncio.run(replayed(arguments[0]))
    except NoHistory as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0 if found["fits"] else 1


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
