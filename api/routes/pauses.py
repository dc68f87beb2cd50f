"""Pauses of language models that their endpoints asked for: list them and end them."""

from __future__ import annotations

import uuid
from datetime import timedelta

from fastapi import APIRouter
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from activities.reasoning.contract import PausesRequest, PausesResult
from api.auth.principals import Permission, Person
from api.deps import AppState, Caller, State, needs
from api.errors import PROBLEMS
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import ServiceUnavailable
from retinue.temporal.fairness import fair_share
from workflows.model_pauses import LONGEST, MODEL_PAUSES_TYPE

router = APIRouter(prefix="/v1/pauses", tags=["capabilities"], responses=PROBLEMS)
_ANSWER_WITHIN = LONGEST + timedelta(seconds=1)


@router.get("", summary="Pauses of language models", dependencies=[needs(Permission.READ)])
async def list_pauses(state: State, person: Caller) -> PausesResult:
    """List the paused models, until when, and how long their endpoints asked for. Up to 15 seconds old."""
    return await state.pauses.get_or_load("", lambda: _asked(state, person, PausesRequest()))


@router.delete("", summary="End the pauses of language models", dependencies=[needs(Permission.OPERATE)])
async def end_pauses(state: State, person: Caller) -> PausesResult:
    """End all pauses. Return the remaining ones: none unless an endpoint asked again meanwhile."""
    left = await _asked(state, person, PausesRequest(end=True))
    state.pauses.forget()
    return left


async def _asked(state: AppState, person: Person, request: PausesRequest) -> PausesResult:
    try:
        found: PausesResult = await state.client.execute_workflow(
            MODEL_PAUSES_TYPE,
            request,
            id=f"pauses-{uuid.uuid4().hex}",
            task_queue=WORKFLOW_QUEUE,
            execution_timeout=_ANSWER_WITHIN,
            result_type=PausesResult,
            priority=fair_share(person.owner),
        )
    except (WorkflowFailureError, RPCError):
        raise ServiceUnavailable(
            "the reasoning capability did not say which models are paused", hint="is its worker running?"
        ) from None
    return found
