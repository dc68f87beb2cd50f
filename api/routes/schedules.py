"""Schedules: create, read, list, pause, resume, run now, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.auth.principals import Permission
from api.deps import Caller, MyRuns, State, needs
from api.errors import PROBLEMS
from api.http.etags import UNCHANGED, ListVersion
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.schedules import PauseBody, ScheduleBody, SchedulePage, Schedules, ScheduleView

router = APIRouter(prefix="/v1/schedules", tags=["schedules"], responses=PROBLEMS, route_class=IdempotentRoute)


def my_schedules(state: State, me: Caller, runs: MyRuns) -> Schedules:
    """Return the service for the caller's schedules."""
    return Schedules(state.client, state.links, owner=me.owner, runs=runs)


MySchedules = Annotated[Schedules, Depends(my_schedules)]
ScheduleId = Annotated[str, Path(max_length=100)]


@router.post("", status_code=201, summary="Create a schedule", dependencies=[needs(Permission.ASK)])
async def create(
    body: ScheduleBody, schedules: MySchedules, state: State, once: IdempotentAnswer, response: Response
) -> ScheduleView:
    """Start an assistant at the times of a cron expression, in the person's time zone.

    Times are local, also when clocks change: a time that does not exist on such a day is skipped, one that exists twice
    is used once. The same `Idempotency-Key` and body give the same schedule.
    """
    claimed = await once.claim(body, fingerprint="schedule")
    timezone = body.timezone or state.settings.retinue_timezone
    view = await schedules.create(body, timezone=timezone, claimed=claimed)
    response.headers["Location"] = f"/v1/schedules/{view.id}"
    return view


@router.get(
    "",
    summary="List schedules",
    response_model=SchedulePage,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def list_schedules(
    schedules: MySchedules, known: ListVersion, limit: Annotated[int, Query(ge=1, le=200)] = 100
) -> Response:
    """List the caller's schedules by name; at most 200 exist."""
    return known.or_else(SchedulePage(schedules=await schedules.page(limit=limit)))


@router.get("/{schedule_id}", summary="Read a schedule", dependencies=[needs(Permission.READ)])
async def read(schedule_id: ScheduleId, schedules: MySchedules) -> ScheduleView:
    """Return a schedule with its next and recent starts."""
    return await schedules.view(schedule_id)


@router.post("/{schedule_id}/pause", summary="Pause a schedule", dependencies=[needs(Permission.ASK)])
async def pause(schedule_id: ScheduleId, schedules: MySchedules, body: PauseBody | None = None) -> ScheduleView:
    """Pause a schedule. An assistant that is running continues."""
    return await schedules.pause(schedule_id, body.note if body else None)


@router.post("/{schedule_id}/resume", summary="Resume a schedule", dependencies=[needs(Permission.ASK)])
async def resume(schedule_id: ScheduleId, schedules: MySchedules) -> ScheduleView:
    """Resume a schedule at its next time. Missed times are not caught up."""
    return await schedules.resume(schedule_id)


@router.post("/{schedule_id}/run", status_code=202, summary="Run a schedule now", dependencies=[needs(Permission.ASK)])
async def run(schedule_id: ScheduleId, schedules: MySchedules, once: IdempotentAnswer) -> ScheduleView:
    """Start an assistant now, even if paused; it is the first of `recent_runs`. 409 while one is running."""
    await once.claim()
    return await schedules.run(schedule_id)


@router.delete("/{schedule_id}", status_code=204, summary="Delete a schedule", dependencies=[needs(Permission.ASK)])
async def delete(schedule_id: ScheduleId, schedules: MySchedules) -> None:
    """Delete a schedule. Assistants that it started are kept."""
    await schedules.delete(schedule_id)
