"""Renews the input of runs that start without the API: of schedules and triggers.

Their policy and budget follow the policy file, and the rights of the credential with which they were made.
"""

from __future__ import annotations

from functools import partial

from api.services.runs import Runs
from api.services.schemas import StartBody
from retinue.errors import InvalidArguments, NotAllowed
from workflows.messages import ScheduleTerms, StartAssistant
from workflows.rules.policy import DEFAULT_POLICY


def renewed(
    runs: Runs,
    old: StartAssistant,
    terms: ScheduleTerms,
    *,
    schedule_id: str | None = None,
    trigger_id: str | None = None,
) -> StartAssistant:
    """Return the input as `runs` may make it now; the default policy, with a notice, where the terms hold no longer."""
    input_for = partial(runs.input_for, timezone=old.timezone, schedule_id=schedule_id, trigger_id=trigger_id)
    wish = StartBody(message=old.message, policy=terms.policy, budget=terms.budget)
    try:
        return input_for(wish).model_copy(update={"schedule_terms": terms})
    except (InvalidArguments, NotAllowed) as error:
        what = "schedule" if schedule_id else "trigger"
        notice = (
            f"the {what}'s own policy or budget holds no longer: {error.message}. So this run has the policy "
            f"{DEFAULT_POLICY.name!r}. Make the {what} again to change that"
        )
    return input_for(StartBody(message=old.message)).model_copy(update={"schedule_terms": terms, "notice": notice})
