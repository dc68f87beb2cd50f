"""Runs that began before a backup was restored: what they did after the backup was made is in no database.

`RETINUE_RESTORED_AT`, or the file `restored-at` in the data folder, says when the restored installation started again. Runs
that began before that, or while schedules and triggers caught up on the lost time, may have done more than the ledger knows.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from retinue.errors import ServiceUnavailable
from retinue.settings import RetinueSettings

CATCHING_UP = timedelta(minutes=15)
"""How long after the start schedules and triggers repeat what they did in the lost time."""
_WITHOUT_PLANS = frozenset({"ReminderWorkflow"})
"""Workflows that do the same in each life: what they start after the restore, they did not do before it."""
_RPC = timedelta(seconds=5)


async def restored_since_start() -> datetime | None:
    """Return when a backup was restored, if the running activity's run may have done this before that; else None.

    It may if it began before the restore or shortly after. Runs that plan may do it under another step than before.

    Raises:
        ServiceUnavailable: Temporal does not say when the run began.
    """
    restored_at = RetinueSettings().restored()
    info = activity.info()
    if restored_at is None or info.workflow_id is None:
        return None
    if info.workflow_type in _WITHOUT_PLANS:
        began = info.scheduled_time
    else:
        began = await _began(activity.client(), info.workflow_id, info.workflow_run_id)
    return restored_at if began < restored_at + CATCHING_UP else None


async def _began(client: Client, workflow_id: str, run_id: str | None) -> datetime:
    try:
        found = await client.get_workflow_handle(workflow_id, run_id=run_id).describe(rpc_timeout=_RPC)
    except RPCError as error:
        raise ServiceUnavailable(f"Temporal does not say when this run began: {error.status.name}") from error
    return found.start_time
