"""Liveness, readiness and metrics."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, Response
from temporalio.service import RPCError, RPCStatusCode

from api.deps import AppState, StateAtRest
from api.http import metrics
from api.services.clocks import check_clocks
from api.services.schemas import Health
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import ClockIsWrong, ServiceUnavailable, Undecipherable
from retinue.temporal.pollers import last_start, live_pollers, why_idle
from retinue.temporal.proofs import proves
from retinue.temporal.registry import FRESH

_FRESH = 10.0
"""Seconds for which an answer of the registry is cached."""
_TEMPORAL = {"temporal": "Temporal does not answer"}
_KEYS = {"encryption keys": "the encryption keys of this process do not decrypt the stored data"}
router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Liveness")
async def healthz() -> Health:
    """Return 200 as long as the process answers."""
    return Health(status="ok")


@router.get("/readyz", summary="Readiness", responses={503: {"model": Health}})
async def readyz(state: StateAtRest, response: Response) -> Health:
    """Return 200 once Temporal, the workflow worker, the registry and every capability in `RETINUE_WAIT_FOR` answered.

    After that only the API's database, Temporal, the workflow worker and the registry matter: one failing capability
    must not make the API unavailable. `detail` then names the capabilities that do not work, and why.
    """
    waiting = await _waiting(state)
    if waiting:
        response.status_code = 503
        return Health(status="waiting", waiting_for=sorted(waiting), detail="; ".join(waiting.values()))
    state.ready = True
    return Health(status="ok", detail="; ".join(await _failing_capabilities(state)) or None)


async def _waiting(state: AppState) -> dict[str, str]:
    """Return what is missing, with a sentence each; empty when ready."""
    if problem := await state.keys.problem():
        return {problem: problem}
    try:
        await state.connect()
        if not await live_pollers(state.client, WORKFLOW_QUEUE, workflows=True):
            return {"workflow worker": await _why_no_worker(state)}
        await _notice_start(state)
        if proves(state.client):
            await check_clocks(state.client)
    except Undecipherable:
        return _KEYS
    except ClockIsWrong as error:
        return {error.message: error.message}
    except (RPCError, ServiceUnavailable):
        return _TEMPORAL
    return await _waiting_behind_temporal(state)


async def _waiting_behind_temporal(state: AppState) -> dict[str, str]:
    """Query the registry. Temporal has just answered, so an error is the registry's unless the connection broke."""
    try:
        await state.directory.check(max_age=_FRESH)
        return {} if state.ready else await _capabilities_not_seen(state)
    except Undecipherable:
        return _KEYS
    except RPCError as error:
        if error.status == RPCStatusCode.UNAVAILABLE:
            return _TEMPORAL
        return {"registry": f"the registry does not answer{await _last_start(state)}"}


async def _why_no_worker(state: AppState) -> str:
    """Return the problem of the workflow workers: none is running, or Temporal routes no work to them."""
    if idle := await why_idle(state.client, WORKFLOW_QUEUE):
        return f"no worker of the current version polls the workflows; {idle}"
    return f"no worker polls the workflows{await _last_start(state)}"


async def _last_start(state: AppState) -> str:
    """Return when the workflow worker started, as a part of a sentence; empty if unknown."""
    with contextlib.suppress(RPCError):
        await _notice_start(state)
    if state.worker_started is None:
        return ""
    again = "restarted" if state.worker_restarted else "started"
    return f"; workflow worker {again} {state.worker_started:%H:%M} UTC"


async def _notice_start(state: AppState) -> None:
    """Store when the workflow worker started: the server forgets it when the worker stops."""
    started = await last_start(state.client, WORKFLOW_QUEUE)
    if started is not None and started != state.worker_started:
        state.worker_restarted = state.worker_started is not None
        state.worker_started = started


async def _capabilities_not_seen(state: AppState) -> dict[str, str]:
    known = {manifest.name: manifest.task_queue for manifest in await state.directory.manifests()}
    missing: dict[str, str] = {}
    for name in state.settings.wait_for():
        if name not in known:
            missing[name] = f"{name} has not registered"
        elif not await live_pollers(state.client, known[name]):
            missing[name] = f"no worker of {name} polls its queue"
    return missing


async def _failing_capabilities(state: AppState) -> list[str]:
    """Return a sentence for each capability whose steps wait; empty if unknown at the moment."""
    try:
        manifests = await state.directory.manifests(max_age=FRESH)
        missing = await _capabilities_not_seen(state)
    except (RPCError, Undecipherable):
        return []
    problems = [f"{manifest.name}: {manifest.problem}; its steps wait" for manifest in manifests if manifest.problem]
    return problems + [f"{words}; its steps wait" for _, words in sorted(missing.items())]


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def prometheus(state: StateAtRest) -> Response:
    """Return metrics in Prometheus' text format, the state of the cluster among them."""
    await state.cluster_metrics.refresh(state.connect)
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
