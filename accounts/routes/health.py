"""Whether the service lives, and whether it can do its work."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from accounts.deps import Held
from accounts.services.lost_keys import accounts_without_key
from retinue.errors import RetinueError

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Return that the process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(held: Held) -> JSONResponse:
    """Return what is wrong, in words; 503 if nothing works. It names no person and no account."""
    problems = [problem] if (problem := held.sealer.keys.problem()) else []
    try:
        lost = await accounts_without_key(held.store, held.sealer)
    except RetinueError as error:
        return JSONResponse({"status": "unavailable", "problems": [*problems, error.message]}, 503)
    if lost:
        problems.append(
            f"{len(lost)} accounts cannot be read, since their key is missing; `python -P -m accounts lost` lists them"
        )
    return JSONResponse({"status": "ok" if not problems else "degraded", "problems": problems})
