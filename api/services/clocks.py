"""Whether the API and Temporal agree about the time: proofs hold for minutes."""

from __future__ import annotations

from temporalio.client import Client

from retinue.capability import WORKFLOW_QUEUE
from retinue.temporal.pollers import latest_poll
from retinue.temporal.proofs import check_clock, clock


async def check_clocks(client: Client) -> None:
    """Refuse to go on where this API's clock is far behind Temporal's, before anything is asked for.

    What Temporal's clock says is known from the last poll of a workflow worker, which is up to a minute ago: a clock that
    is ahead, or behind by little more than proofs bear, is only found when something was started.

    Raises:
        ClockIsWrong: It is behind by more than proofs bear.
        RPCError: Temporal does not answer.
    """
    last = await latest_poll(client, WORKFLOW_QUEUE)
    now = clock()
    if last is not None and last > now:
        check_clock(last, at=now)
