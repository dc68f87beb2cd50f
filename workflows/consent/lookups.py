"""Short requests of a workflow: to the person's grants and daily usage, and to the registry.

They are local activities (`workers/local_activities.py`): they run in the workflow's own worker and cost one event each.
A timeout means "no grant, no total, no tool"; it neither allows nor blocks. The person is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.memory.contract import FactCount
from retinue.capability import Manifest, ToolSpec
from workflows.rules.grants import CheckGrant, CheckGrantResult, DayUsage, Grant, RecordApproval, RecordUsage, digested

CHECK_GRANT = "person.check_grant"
RECORD_APPROVAL = "person.record_approval"
RECORD_USAGE = "person.record_usage"
TOOLS = "registry.tools"
AGENT = "registry.agent"
DEBOUNCE = "run.debounce"
PROVED = "run.check_cancellation_proof"
REMEMBERS = "person.remembers"
NOTE_FACTS = "person.note_facts"
SCHEMAS = "registry.check_schemas"
DEBOUNCE_SECONDS = 0.25
"""Seconds."""
_ONE_TRY = timedelta(seconds=6)
_ALL_TRIES = timedelta(seconds=7)
"""Shorter than the eight seconds after which a waiting workflow task must report, so that it costs no extra task."""
_AT_ONCE = timedelta(seconds=1.5)
"""The limit of a question without which a run goes on."""
_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=2, maximum_attempts=4)
_CHECK = timedelta(minutes=1)
"""The limit of one try that only needs CPU; on a busy machine it takes long."""
_CHECK_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=10))

Answer = TypeVar("Answer")


class FoundTool(BaseModel):
    """A tool as announced to the registry, with its task queue and capability."""

    spec: ToolSpec
    task_queue: str
    capability: str


async def check_grant(owner: str, question: CheckGrant) -> CheckGrantResult:
    """Ask whether a grant covers a step. A grant in the answer counts as used once per key."""
    asked = question.model_copy(update={"args": digested(question.args)})
    return await _ask(CHECK_GRANT, CheckGrantResult, owner, asked) or CheckGrantResult()


async def record_approval(owner: str, approval: RecordApproval) -> Grant | None:
    """Record that a person approved an action. Returns the grant that this created, or None."""
    recorded = approval.model_copy(update={"args": digested(approval.args)})
    return await _ask(RECORD_APPROVAL, Grant, owner, recorded)


async def record_usage(owner: str, usage: RecordUsage) -> DayUsage | None:
    """Add to the day's usage. Returns the day's totals, or None if unavailable."""
    return await _ask(RECORD_USAGE, DayUsage, owner, usage)


async def remembers(owner: str) -> bool | None:
    """Return whether the memory capability may know facts of a person; None if nobody can say now."""
    return await _ask(REMEMBERS, bool, owner, within=_AT_ONCE)


async def note_facts(owner: str, result: JsonValue) -> None:
    """Note how many facts a person has, if the result of a step says it, so that planning knows whether to ask for them."""
    try:
        count = FactCount.model_validate(result.get("known")) if isinstance(result, dict) else None
    except ValidationError:
        count = None
    if count is not None:
        await _ask(NOTE_FACTS, FactCount, owner, count)


async def tools(names: Sequence[str]) -> list[FoundTool] | None:
    """Return the announced tools with these full names; None if the registry is unavailable."""
    return await _ask(TOOLS, list[FoundTool], list(names))


async def agent(capability: str) -> list[FoundTool] | None:
    """Return the plannable tools of a capability, empty if it is unknown; None if the registry is unavailable."""
    return await _ask(AGENT, list[FoundTool], capability)


async def proved_cancellation(reason: str) -> bool:
    """Whether a cancellation of this run with this reason came through the API."""
    info = workflow.info()
    return bool(await _ask(PROVED, bool, info.workflow_id, reason, workflow.now()))


async def schema_problem(manifest: Manifest) -> str | None:
    """Return what is wrong with a manifest's schemas, or None. Retries without limit. Only for old runs of the registry."""
    problem: str | None = await workflow.execute_local_activity(
        SCHEMAS, manifest, result_type=str, start_to_close_timeout=_CHECK, retry_policy=_CHECK_RETRY
    )
    return problem


async def debounce() -> None:
    """Wait `DEBOUNCE_SECONDS` while many steps run.

    It holds the workflow task open, so that their results arrive in few tasks: a task costs the server about as much as
    two activities, and without this 100 steps take twenty tasks. A timer would add one more task.
    """
    await _ask(DEBOUNCE, type(None))


async def _ask(name: str, answer: type[Answer], *arguments: Any, within: timedelta = _ALL_TRIES) -> Answer | None:
    try:
        found: Answer | None = await workflow.execute_local_activity(
            name,
            args=arguments,
            result_type=answer,
            start_to_close_timeout=min(_ONE_TRY, within),
            schedule_to_close_timeout=within,
            retry_policy=_RETRY,
        )
    except FailureError as error:
        # a local activity that timed out raises ActivityError, one that failed raises its own error
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from None
        workflow.logger.warning("%s has no answer: %s", name, error.cause or error)
        return None
    return found
