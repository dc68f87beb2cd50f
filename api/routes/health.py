"""Liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from temporalio.service import RPCError

from api import metrics
from api.clocks import check_clocks
from api.deps import House, HouseAtRest
from api.models import Health
from retinue.errors import ClockIsWrong, ServiceUnavailable, Undecipherable
from retinue.pollers import live_pollers
from retinue.proof import proves
from retinue.temporal import WORKFLOW_QUEUE

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process lives")
async def healthz() -> Health:
    """200 as long as the process answers."""
    return Health(status="ok")


@router.get("/readyz", summary="Requests can be taken", responses={503: {"model": Health}})
async def readyz(kept: HouseAtRest, response: Response) -> Health:
    """200 once Temporal answers, workflows are polled, and the capabilities in `RETINUE_WAIT_FOR` have been seen.

    After that only the API's own database, Temporal and the workflow worker count: one failing capability must not take the front door down.
    """
    waiting = await _waiting_for(kept)
    if waiting:
        response.status_code = 503
        return Health(status="waiting", waiting_for=waiting)
    kept.ready = True
    return Health(status="ok")


async def _waiting_for(kept: House) -> list[str]:
    if problem := await kept.keys.problem():
        return [problem]
    try:
        await kept.connect()
        if not await live_pollers(kept.client, WORKFLOW_QUEUE, workflows=True):
            return ["workflow worker"]
        if proves(kept.client):
            await check_clocks(kept.client)
        return [] if kept.ready else await _capabilities_not_seen(kept)
    except Undecipherable:
        return ["encryption keys"]
    except ClockIsWrong as error:
        return [error.message]
    except (RPCError, ServiceUnavailable):
        return ["temporal"]


async def _capabilities_not_seen(kept: House) -> list[str]:
    expected = kept.settings.wait_for()
    known = {manifest.name: manifest.task_queue for manifest in await kept.directory.manifests()}
    unseen = [name for name in expected if name not in known or not await live_pollers(kept.client, known[name])]
    return sorted(unseen)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def prometheus() -> Response:
    """Metrics in Prometheus' text format."""
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
