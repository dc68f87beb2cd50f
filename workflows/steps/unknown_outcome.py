"""Handles effects with an unknown outcome: a person is asked, and only an approval repeats them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import JsonValue
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from retinue.effect_status import CLOSE_EFFECT, EffectId, EffectStatus, Outcome, repeat_key
from retinue.errors import OutcomeNotRecorded, OutcomeOpen, OutcomeUnknown

MOST_REPEATS = 5
_ASKED_FOR = timedelta(seconds=5)
UNKNOWN_OUTCOMES = frozenset({OutcomeUnknown.__name__, OutcomeOpen.__name__, OutcomeNotRecorded.__name__})


def is_outcome_unknown(error: ActivityError) -> bool:
    """Whether the tool's last attempt reported that it does not know whether it acted."""
    return isinstance(error.cause, ApplicationError) and error.cause.type in UNKNOWN_OUTCOMES


async def query_effect(task_queue: str, key: str) -> EffectStatus:
    """Ask a capability's ledger for the outcome of a stopped effect of this run; open if it does not answer."""
    try:
        status: EffectStatus = await workflow.execute_activity(
            CLOSE_EFFECT,
            EffectId(activity_id=key),
            task_queue=task_queue,
            result_type=EffectStatus,
            schedule_to_start_timeout=_ASKED_FOR,
            start_to_close_timeout=_ASKED_FOR,
            schedule_to_close_timeout=3 * _ASKED_FOR,
            retry_policy=RetryPolicy(maximum_attempts=2),
            summary=f"whether {key} had happened before it was stopped",
        )
    except ActivityError:
        return EffectStatus(outcome=Outcome.OPEN)
    return status


async def run_until_known(
    step_id: str,
    perform: Callable[[str], Awaitable[JsonValue]],
    may_repeat: Callable[[ActivityError, int], Awaitable[bool]],
) -> JsonValue:
    """Run a step's tool until its outcome is known or the person declines a repeat.

    After an approval it first checks the same key once more, since the reply may have arrived meanwhile. Then it repeats
    the effect under a new key, since the ledger refuses to repeat the first.

    Args:
        step_id: The key of the first effect.
        perform: Runs the tool under a key.
        may_repeat: Asks the person; takes the error and the number of the repeat.

    Raises:
        ActivityError: It failed, or its outcome stays unknown.
    """
    key = step_id
    for number in range(1, MOST_REPEATS + 1):
        try:
            return await perform(key)
        except ActivityError as error:
            if not is_outcome_unknown(error) or not await may_repeat(error, number):
                raise
        try:
            return await perform(key)
        except ActivityError as error:
            if not is_outcome_unknown(error):
                raise
        key = repeat_key(step_id, number)
    return await perform(key)
