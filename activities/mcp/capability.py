"""One configured MCP server as a capability, in the form in which a folder's `worker.py` is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import ModuleType

from activities.mcp import config
from activities.mcp.config import Server
from activities.mcp.connection import Connection
from activities.mcp.models import McpBase
from activities.mcp.store import Pins
from activities.mcp.tools import McpTools
from retinue.errors import InvalidArguments
from retinue.operator_config import Redaction
from retinue.remote_capability import RemoteCapability, RemoteSettings


def module(name: str, taken: Collection[str]) -> ModuleType:
    """Return a module as a folder's `worker.py` is one.

    Raises:
        LookupError: Something is wrong with the configuration; the message says what.
    """
    try:
        server = config.server(name, taken)
        return McpCapability(name, server.expanded(), Redaction(server.secrets())).module()
    except InvalidArguments as error:
        raise LookupError(error.message) from None


class McpCapability(RemoteCapability):
    """One server, as the configuration file names and describes it."""

    kind = "mcp"
    loggers = ("mcp", "client", "httpx2", "httpcore2")

    def __init__(self, name: str, server: Server, redaction: Redaction) -> None:
        super().__init__(
            name,
            RemoteSettings.of(name, kind=self.kind),
            McpBase.metadata,
            description=server.description or f"Tools of the MCP server {name}.",
            instructions=server.instructions,
        )
        self._pins = Pins(self.store, name, prefix=server.prefix)
        self._connection = Connection(name, server)
        self.changed = self._connection.changed
        self.tools = McpTools(name, server, self._connection, self._pins, self.ledger, redaction)

    async def close(self) -> None:
        """Close the session."""
        await self._connection.close()

    async def accept_named(self, names: Sequence[str]) -> list[str]:
        """Accept what the server says by now about these tools."""
        return [f"accepted {pin.name}" for pin in await self._pins.accept(names)] or ["none of these changed"]

    async def changes(self) -> list[str]:
        """Say which tools changed and how."""
        changed = await self._pins.changed()
        return [line for pin in changed for line in (pin.name, *_both(pin.accepted_words, pin.seen_words))]


def _both(was: str, now: str) -> list[str]:
    """Both texts; where they are the same, what changed is a schema or an annotation."""
    if was == now:
        return ["  its description is the same; its title, schemas or annotations changed"]
    return [f"  was: {was!r}", f"  is:  {now!r}"]
