"""Counts of workers, exported by Temporal's SDK beside its own metrics (see `retinue.runtime.telemetry`).

Names and labels are durable: dashboards and alert rules use them. Labels take few values, and none names a person.
"""

from __future__ import annotations

from datetime import datetime

from temporalio import activity, workflow
from temporalio.client import Client

RUNS_ENDED = "retinue_runs_ended"
"""Runs that ended, by `status`."""
DECISION_WAIT = "retinue_decision_wait"
"""Seconds from a question to its decision or expiry."""
MODEL_CALLS = "retinue_model_calls"
"""Requests to language models, by `model` and `outcome`: `ok`, or why there was no answer."""
MODEL_TOKENS = "retinue_model_tokens"
"""Tokens, by `model` and `direction`: `input` or `output`."""
MODEL_COST = "retinue_model_cost_millionths"
"""Cost in millionths of the currency of the configured prices, by `model`."""
EFFECTS = "retinue_effects"
"""Effects that were made, or found made by an earlier attempt, by `capability`."""
LEDGER_DOUBTS = "retinue_ledger_doubts"
"""Attempts after which nobody knows whether an effect happened, by `capability`."""


def count(name: str, by: int = 1, **labels: str) -> None:
    """Count in the running activity; outside of one, or switched off, this does nothing."""
    if activity.in_activity():
        activity.metric_meter().create_counter(name).add(by, labels)


def begin_at_zero(client: Client, capability: str) -> None:
    """Show a capability's counters of effects before its first one, so that rules and dashboards find their names."""
    runtime = client.service_client.config.runtime
    if runtime is not None:
        for name in (EFFECTS, LEDGER_DOUBTS):
            runtime.metric_meter.create_counter(name).add(0, {"capability": capability})


def run_ended(status: str) -> None:
    """Count the end of the running workflow, once and not in replays."""
    workflow.metric_meter().create_counter(RUNS_ENDED).add(1, {"status": status})


def decided(asked_at: datetime) -> None:
    """Record, once and not in replays, how long a decision of the running workflow took."""
    workflow.metric_meter().create_histogram_timedelta(DECISION_WAIT, unit="s").record(workflow.now() - asked_at)
