"""What the assistant can do, and whether anybody is there to do it."""

import asyncio

from fastapi import APIRouter

from api.deps import TheHouse
from api.errors import PROBLEMS
from api.models import Capabilities, CapabilityState
from retinue.capability import Manifest
from retinue.pollers import live_pollers

router = APIRouter(prefix="/v1/capabilities", tags=["capabilities"], responses=PROBLEMS)


@router.get("", summary="Capabilities and their health")
async def capabilities(kept: TheHouse) -> Capabilities:
    """Every capability that was ever announced, with its tools and the workers that poll its queue now."""

    async def state(manifest: Manifest) -> CapabilityState:
        pollers = await live_pollers(kept.client, manifest.task_queue)
        return CapabilityState(**dict(manifest), pollers=pollers, healthy=pollers > 0)

    return Capabilities(capabilities=await asyncio.gather(*map(state, await kept.directory.manifests())))
