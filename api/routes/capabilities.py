"""Capabilities and whether their workers are running."""

import asyncio

from fastapi import APIRouter, Response

from api.auth.principals import Permission
from api.deps import State, needs
from api.errors import PROBLEMS
from api.http.etags import UNCHANGED, ListVersion
from api.services.schemas import Capabilities, CapabilityState
from retinue.capability import Manifest
from retinue.temporal.pollers import live_pollers

router = APIRouter(prefix="/v1/capabilities", tags=["capabilities"], responses=PROBLEMS)


@router.get(
    "",
    summary="Capabilities and their health",
    response_model=Capabilities,
    responses=UNCHANGED,
    dependencies=[needs(Permission.READ)],
)
async def capabilities(state: State, known: ListVersion) -> Response:
    """List every registered capability, with its tools and the workers that poll its queue now."""

    async def health_of(manifest: Manifest) -> CapabilityState:
        pollers = await live_pollers(state.client, manifest.task_queue)
        return CapabilityState(**dict(manifest), pollers=pollers, healthy=pollers > 0)

    states = await asyncio.gather(*map(health_of, await state.directory.manifests()))
    return known.or_else(Capabilities(capabilities=states))
