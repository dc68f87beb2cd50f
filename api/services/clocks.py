"""Clock check: proofs are valid for minutes, so the clocks of the API and Temporal must agree."""

from __future__ import annotations

from temporalio.client import Client

from retinue.capability import WORKFLOW_QUEUE
from retinue.temporal.pollers import latest_poll
from retinue.temporal.proofs import check_clock, clock


async def check_clocks(client: Client) -> None:
    """Refuse to continue if this API's clock is far behind Temporal's.

    Temporal's time is taken from the last poll of a workflow worker, up to a minute ago. A clock that is ahead, or behind
    by little more than proofs tolerate, is only detected at a start.

    Raises:
        ClockIsWrong: It is behind by more than proofs tolerate.
        RPCError: Temporal does not answer.
    """
    last = await latest_poll(client, WORKFLOW_QUEUE)
    now = clock()
    if last is not None and last > now:
        check_clock(last, at=now)
