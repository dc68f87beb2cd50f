"""Language models: which are used, which servers on this machine offer others, using one of these, testing it."""

from __future__ import annotations

import uuid
from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from activities.reasoning.contract import ModelAction, ModelsRequest, ModelsResult
from api.auth.principals import HOME, Permission, Person
from api.deps import AppState, Caller, State, needs
from api.errors import PROBLEMS
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import Conflict, NotAllowed, ServiceUnavailable
from retinue.temporal.fairness import fair_share
from workflows.models_in_use import MODELS_IN_USE_TYPE, longest

router = APIRouter(prefix="/v1/language-model", tags=["capabilities"], responses=PROBLEMS)


class UseModel(BaseModel):
    """A model of a server on this machine."""

    model_config = ConfigDict(extra="forbid")

    server: str = Field(min_length=1, max_length=500, description="its address, as the list of servers says")
    model: str = Field(min_length=1, max_length=200)


@router.get("", summary="Language models in use", dependencies=[needs(Permission.READ)])
async def show_models(state: State, person: Caller) -> ModelsResult:
    """Show which models are used, and the servers on this machine that offer others. These are sent nothing but a `GET`."""
    return await _asked(state, person, ModelsRequest())


@router.post("", summary="Use a model on this machine", dependencies=[needs(Permission.OPERATE)])
async def use_model(state: State, person: Caller, body: UseModel) -> ModelsResult:
    """Use this model from the next request on, for everybody: `is_sent` says what it is sent.

    Only a model that a server on this machine offers now can be used, and only where the environment names none.
    """
    return await _changed(state, person, ModelsRequest(action=ModelAction.USE, server=body.server, model=body.model))


@router.delete("", summary="Use the built-in model again", dependencies=[needs(Permission.OPERATE)])
async def use_built_in_model(state: State, person: Caller) -> ModelsResult:
    """Forget the model that was chosen. The rule-based one that is part of Retinue answers again."""
    return await _changed(state, person, ModelsRequest(action=ModelAction.USE))


@router.post("/test", summary="Test the language model", dependencies=[needs(Permission.OPERATE)])
async def test_model(state: State, person: Caller) -> ModelsResult:
    """Send one fixed, small request to the model that plans, with nothing of yours, and tell what came back in `test`."""
    _check_alone(person)
    return await _asked(state, person, ModelsRequest(action=ModelAction.TEST))


async def _changed(state: AppState, person: Person, request: ModelsRequest) -> ModelsResult:
    """Change which model is used.

    Raises:
        Conflict: Nothing was changed; the message says why.
    """
    _check_alone(person)
    found = await _asked(state, person, request)
    if found.refused:
        raise Conflict(found.refused)
    return found


def _check_alone(person: Person) -> None:
    """Refuse the operators of single organisations: all of them share the model.

    Raises:
        NotAllowed: The person belongs to one of several organisations.
    """
    if person.tenant != HOME:
        raise NotAllowed("organisations share the language model, so only the environment of the installation names it")


async def _asked(state: AppState, person: Person, request: ModelsRequest) -> ModelsResult:
    try:
        found: ModelsResult = await state.client.execute_workflow(
            MODELS_IN_USE_TYPE,
            request,
            id=f"models-{uuid.uuid4().hex}",
            task_queue=WORKFLOW_QUEUE,
            execution_timeout=longest(request) + timedelta(seconds=1),
            result_type=ModelsResult,
            priority=fair_share(person.owner),
        )
    except (WorkflowFailureError, RPCError):
        raise ServiceUnavailable(
            "the reasoning capability did not answer in time", hint="is its worker running?"
        ) from None
    return found
