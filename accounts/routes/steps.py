"""Workers' side: the connection of one step."""

from __future__ import annotations

from fastapi import APIRouter

from accounts.deps import Held, TheCapability
from retinue.accounts.wire import AskConnection, AskNames, StepAccounts, StepConnection

router = APIRouter(prefix="/steps")


@router.post("/connection")
async def connection(held: Held, capability: TheCapability, body: AskConnection) -> StepConnection:
    """Return the connection of the step that the worker runs."""
    return await held.steps.connection(capability, body)


@router.post("/accounts")
async def names(held: Held, capability: TheCapability, body: AskNames) -> StepAccounts:
    """Return the names of the accounts of the step's person."""
    return await held.steps.names(capability, body)
