"""MCP: `/mcp` for assistants and approvals, `/mcp/{capability}` for a capability's own tools.

Streamable HTTP without sessions: each request is authenticated, authorized and rate-limited like any other. The SDK,
26 MB, is imported at the first request.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.types import Receive, Scope, Send

from api.auth.principals import Permission
from api.deps import AppState, needs
from api.protocols.shared.call_context import Call
from retinue.capability import Manifest
from retinue.errors import NotFound
from retinue.temporal.registry import FRESH

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

router = APIRouter(tags=["doors"], include_in_schema=False)
_SERVING = "api.protocols.mcp.server"


class McpAnswer(Response):
    """An answer that a new MCP server for this request writes."""

    def __init__(self, server: Server[Any], answered: Any) -> None:
        super().__init__()
        self._server = server
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the SDK's server."""
        await self._answered(self._server, scope, receive, send)


@router.post("/mcp/", dependencies=[needs(Permission.READ)])
@router.post("/mcp", dependencies=[needs(Permission.READ)])
async def assistants(call: Call) -> Response:
    """Serve assistants and approvals as tools. Each tool requires its own permission."""
    serving = await _loaded()
    return McpAnswer(serving.assistants_server(call), serving.answered)


@router.post("/mcp/{capability}", dependencies=[needs(Permission.READ)])
async def capability_tools(capability: Annotated[str, Path(max_length=40)], call: Call) -> Response:
    """Serve a capability's tools; each call is a run of one step under the caller's policy."""
    manifest = await _manifest(call.state, capability)
    serving = await _loaded()
    return McpAnswer(serving.capability_server(call, manifest), serving.answered)


async def _manifest(state: AppState, name: str) -> Manifest:
    manifests = await state.directory.manifests(max_age=FRESH)
    found = next((manifest for manifest in manifests if manifest.name == name), None)
    if found is None:
        raise NotFound("there is no capability of that name", hint="GET /v1/capabilities lists them")
    return found


async def _loaded() -> Any:
    """Import the module with the SDK in a thread: it takes a second or two the first time."""
    return await asyncio.to_thread(import_module, _SERVING)
