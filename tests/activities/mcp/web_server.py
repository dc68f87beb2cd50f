"""An MCP server over streamable HTTP, made with the SDK's server side, behind a door that can misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "canary-t0ken-77"
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


@dataclass
class Door:
    """Lets requests with the right token pass, or does what it is told to requests that hold `to`."""

    app: ASGIApp
    to: bytes = b"tools/call"
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"no"
    swallow: bool = False
    late: float = 0
    """Seconds after which an answer begins whose call was done at once; 0 for what `swallow` says."""
    times: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)

    def misbehave(self, status: int = 0, *, times: int = 1, **fields: Any) -> None:
        """Do it to the next requests: answer by `status`; or with `swallow` let it act, and lose the answer."""
        self.status, self.times = status, times
        for name, value in fields.items():
            setattr(self, name, value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(headers)
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return await _answer(send, 401, {}, b"who are you, " + TOKEN.encode())
        if self.times and self.to in body:
            self.times -= 1
            if self.late:
                return await self.app(scope, _again(body, receive), _later(send, self.late))
            if not self.swallow:
                return await _answer(send, self.status, self.headers, self.body)
            return await self.app(scope, _again(body, receive), _half_of(send))
        return await self.app(scope, _again(body, receive), send)


def _again(body: bytes, receive: Receive) -> Receive:
    parts: list[Message] = [{"type": "http.request", "body": body}]

    async def received() -> Message:
        return parts.pop() if parts else await receive()

    return received


def _later(send: Send, seconds: float) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return sent


def _half_of(send: Send) -> Send:
    """An answer that begins and breaks off."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name != b"content-length"]
            await send({**message, "headers": [*kept, (b"content-length", b"100000")]})

    return sent


async def _answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    written = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": written})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Tracker:
    """The server's state: issues that were made."""

    issues: list[str] = field(default_factory=list)


def tracker(state: Tracker) -> MCPServer:
    """The server."""
    server: MCPServer = MCPServer("tracker", log_level="CRITICAL")

    @server.tool(name="tracker_listIssues", annotations=READS)
    def list_issues() -> list[str]:
        """All issues."""
        return state.issues

    @server.tool(name="tracker_createIssue", annotations=ToolAnnotations(destructive_hint=False))
    def create_issue(title: str) -> str:
        """Create an issue."""
        state.issues.append(title)
        return title

    @server.tool(annotations=READS)
    def big(kib: int) -> str:
        """Says a lot."""
        return "x" * (kib * 1024)

    @server.tool(annotations=READS)
    async def grow(name: str, ctx: Context[Any, Any]) -> str:
        """The server gets one more tool and says so."""
        server.add_tool(list_issues, name=name, description=f"Does {name}.")
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return name

    return server
