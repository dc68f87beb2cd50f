"""The MCP door: `/mcp` for assistants and approvals, `/mcp/{capability}` for a capability's own tools.

Streamable HTTP without sessions: each request is recognised, allowed and counted by itself, as everywhere else. The SDK,
26 MB of it, is imported at the first request.
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
    """The answer of an MCP server that was made for this one request."""

    def __init__(self, server: Server[Any], answered: Any) -> None:
        super().__init__()
        self._server = server
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the SDK answer."""
        await self._answered(self._server, scope, receive, send)


@router.post("/mcp/", dependencies=[needs(Permission.READ)])
@router.post("/mcp", dependencies=[needs(Permission.READ)])
async def assistants(call: Call) -> Response:
    """Assistants and approvals as tools. Each tool asks for a permission of its own."""
    serving = await _loaded()
    return McpAnswer(serving.assistants_server(call), serving.answered)


@router.post("/mcp/{capability}", dependencies=[needs(Permission.READ)])
async def capability_tools(capability: Annotated[str, Path(max_length=40)], call: Call) -> Response:
    """A capability's tools, each call a run of one step under the caller's policy."""
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
    """The module that knows the SDK. It takes a second or two the first time, during which others are answered."""
    return await asyncio.to_thread(import_module, _SERVING)
