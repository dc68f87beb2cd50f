"""`/.well-known/agent-card.json` is the agent card; `/a2a` takes JSON-RPC of the protocol's versions 1.0 and 0.3.

The SDK is imported at the first request, so that installations without other agents do not load it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth.authenticator import AuthMethod
from api.auth.loopback_only import check_arrival
from api.auth.principals import Permission
from api.deps import StateAtRest, needs
from api.protocols.shared.call_context import Call
from retinue.capability import Manifest
from retinue.errors import RetinueError

router = APIRouter(tags=["doors"], include_in_schema=False)
CARD = "/.well-known/agent-card.json"
_SERVING = "api.protocols.a2a.server"


@router.get(CARD)
async def card(request: Request, state: StateAtRest) -> Response:
    """Return the public agent card. Capabilities are only on the card for authenticated callers."""
    try:
        alone = (await state.people.caller(request.headers, None)).how is AuthMethod.SINGLE_USER
        if alone and not state.settings.retinue_private_address:
            check_arrival(request.scope)
    except RetinueError:  # public: the card says how to authenticate
        alone = False
    manifests: Sequence[Manifest] = await _manifests(state) if alone else ()
    serving = await _loaded()
    known = request.headers.get("if-none-match")
    answer: Response = serving.card_answer(str(request.base_url), manifests, protected=not alone, if_none_match=known)
    return answer


async def _manifests(state: StateAtRest) -> Sequence[Manifest]:
    try:
        await state.connect()
        return await state.directory.manifests()
    except RetinueError:  # without Temporal the card is still served
        return ()


@router.post("/a2a/", dependencies=[needs(Permission.READ)])
@router.post("/a2a", dependencies=[needs(Permission.READ)])
async def rpc(request: Request, call: Call) -> Response:
    """Handle one call of the protocol. Each method requires its own permission."""
    serving = await _loaded()
    answer: Response = await serving.answered(call, request)
    return answer


async def _loaded() -> Any:
    """Import the module with the SDK in a thread: it takes a second the first time."""
    return await asyncio.to_thread(import_module, _SERVING)
