"""What to do when nobody knows whether an effect happened: a person is asked, and only a yes does it again."""

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
DOUBTS = frozenset({OutcomeUnknown.__name__, OutcomeOpen.__name__, OutcomeNotRecorded.__name__})


def is_outcome_unknown(error: ActivityError) -> bool:
    """Whether the tool itself said that it cannot tell whether it acted, or could not yet at its last attempt."""
    return isinstance(error.cause, ApplicationError) and error.cause.type in DOUBTS


async def query_effect(task_queue: str, key: str) -> EffectStatus:
    """What a capability's ledger says about an effect of this run that was stopped; open where it does not answer."""
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
    """Run a step's tool until its outcome is known or the person leaves it in the dark.

    After a yes the same effect is looked for once more, since its reply may have come meanwhile. Only then it is done
    again, under a key of its own: the ledger would refuse to repeat the first.

    Args:
        step_id: The key of the first effect.
        perform: Runs the tool under a key.
        may_repeat: Asks the person, the error and the number of the repeat in hand.

    Raises:
        ActivityError: It failed, or is left in the dark.
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
