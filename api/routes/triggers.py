"""Triggers: create, read, list, pause, resume, test, delete."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.auth.principals import Permission
from api.deps import Caller, MyRuns, State, needs, triggers_of
from api.errors import PROBLEMS
from api.http.etags import UNCHANGED, ListVersion
from api.idempotent_route import IdempotentAnswer, IdempotentRoute
from api.services.triggers import (
    TriggerBody,
    TriggerPage,
    TriggerPause,
    Triggers,
    TriggerTestBody,
    TriggerView,
)
from workflows.account_watch import TriggerTest

router = APIRouter(prefix="/v1/triggers", tags=["triggers"], responses=PROBLEMS, route_class=IdempotentRoute)


def my_triggers(state: State, me: Caller, runs: MyRuns) -> Triggers:
    """Return the service for the caller's triggers."""
    return triggers_of(state, me.owner, runs)


MyTriggers = Annotated[Triggers, Depends(my_triggers)]
TriggerId = Annotated[str, Path(max_length=100)]


@router.post("", status_code=201, summary="Create a trigger", dependencies=[needs(Permission.DECIDE)])
async def create(
    body: TriggerBody, triggers: MyTriggers, state: State, once: IdempotentAnswer, response: Response
) -> TriggerView:
    """Start an assistant when a mail arrives or an event is added or changed.

    The assistant's message is yours; what arrived is read by its first step, as data of strangers. Needs the right to
    decide, since others then choose when it acts. The same `Idempotency-Key` and body give the same trigger.
    """
    claimed = await once.claim(body, fingerprint="trigger")
    timezone = body.timezone or state.settings.retinue_timezone
    view = await triggers.create(body, timezone=timezone, claimed=claimed)
    response.headers["Location"] = f"/v1/triggers/{view.id}"
    return view


@router.get(
    "",
    summary="List triggers",
    response_model=TriggerPage,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def list_triggers(triggers: MyTriggers, known: ListVersion) -> Response:
    """List the caller's triggers by name."""
    return known.or_else(TriggerPage(triggers=await triggers.page()))


@router.get("/{trigger_id}", summary="Read a trigger", dependencies=[needs(Permission.READ)])
async def read(trigger_id: TriggerId, triggers: MyTriggers) -> TriggerView:
    """Return a trigger with its last runs, and what it left out."""
    return await triggers.view(trigger_id)


@router.post("/{trigger_id}/pause", summary="Pause a trigger", dependencies=[needs(Permission.ASK)])
async def pause(trigger_id: TriggerId, triggers: MyTriggers, body: TriggerPause | None = None) -> TriggerView:
    """Pause a trigger. Assistants that are running continue."""
    return await triggers.pause(trigger_id, body.note if body else None)


@router.post("/{trigger_id}/resume", summary="Resume a trigger", dependencies=[needs(Permission.DECIDE)])
async def resume(trigger_id: TriggerId, triggers: MyTriggers) -> TriggerView:
    """Resume a trigger. What arrived meanwhile starts nothing."""
    return await triggers.resume(trigger_id)


@router.post("/{trigger_id}/test", summary="Test a trigger", dependencies=[needs(Permission.DECIDE)])
async def try_out(
    trigger_id: TriggerId, triggers: MyTriggers, once: IdempotentAnswer, body: TriggerTestBody | None = None
) -> TriggerTest:
    """Return the latest arrivals and whether each fits; with `start`, start an assistant with the newest that fits."""
    claimed = await once.claim()
    key = claimed.assistant_id if claimed else uuid.uuid4().hex
    return await triggers.test(trigger_id, start=body.start if body else False, key=key)


@router.delete("/{trigger_id}", status_code=204, summary="Delete a trigger", dependencies=[needs(Permission.ASK)])
async def delete(trigger_id: TriggerId, triggers: MyTriggers) -> None:
    """Delete a trigger. Assistants that it started are kept."""
    await triggers.delete(trigger_id)
