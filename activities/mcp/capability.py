"""One configured MCP server as a capability, in the form in which a folder's `worker.py` is one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from types import ModuleType

from temporalio.plugin import SimplePlugin

from activities.mcp import config
from activities.mcp.config import Server
from activities.mcp.connection import Connection
from activities.mcp.models import McpBase
from activities.mcp.settings import McpSettings
from activities.mcp.store import Pins
from activities.mcp.tools import McpTools
from retinue.activity_adapter import any_activity, close_effect
from retinue.capability import Capability, Manifest
from retinue.errors import InvalidArguments, RetinueError
from retinue.ledger import Ledger
from retinue.operator_config import Redaction
from retinue.store import Store

_LOOK_AGAIN = 60.0
"""Seconds after which the tools are listed again, although nobody said that they changed."""
_SETTLING = 0.5
_TRY_AGAIN = 2.0
_LONGEST_PAUSE = 60.0
_TALKATIVE = ("mcp", "client", "httpx2", "httpcore2")
"""Loggers of the SDK. They repeat what servers say, and sometimes where requests go."""
_log = logging.getLogger("retinue.mcp")


def module(name: str, taken: Collection[str]) -> ModuleType:
    """A module as a folder's `worker.py` is one, with `manifests` beside, since a server's tools may change.

    Raises:
        LookupError: Something is wrong with the configuration; the message says what.
    """
    try:
        server = config.server(name, taken)
        served = McpCapability(name, server.expanded(), Redaction(server.secrets()), McpSettings.of(name))
    except InvalidArguments as error:
        raise LookupError(error.message) from None
    made = ModuleType(f"activities.mcp.{name}", "Made from the configuration.")
    vars(made).update(CONTRACT=served.contract, plugin=served.plugin, manifests=served.manifests, accept=served.accept)
    return made


class McpCapability:
    """One server: its worker's part, its manifests as they change, and what the operator accepts."""

    def __init__(self, name: str, server: Server, redaction: Redaction, settings: McpSettings) -> None:
        about = {
            "name": name,
            "version": "mcp",
            "description": server.description or f"Tools of the MCP server {name}.",
            "instructions": server.instructions,
        }
        self.contract: type[Capability] = type("ConfiguredServer", (Capability,), about)
        self._opened = asyncio.Event()
        self._store = Store(settings.database_url, McpBase.metadata, owner=name).shared()
        self._pins = Pins(self._store, name, prefix=server.prefix)
        self._whose = settings.organisation
        self._connection = Connection(name, server)
        self._tools = McpTools(name, server, self._connection, self._pins, Ledger(self._store), redaction)

    def plugin(self) -> SimplePlugin:
        """The worker's part: one activity for all tools, a store, and a session that ends with the worker."""

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            for logger in _TALKATIVE:
                logging.getLogger(logger).setLevel(logging.CRITICAL)
            await self._store.open()
            self._opened.set()
            try:
                yield
            finally:
                await self._connection.close()
                await self._store.close()

        calls = [any_activity(self._tools.call, tenant=self._whose), close_effect(self._tools.ledger)]
        return SimplePlugin(self.contract.name, activities=calls, run_context=opened)

    async def manifests(self) -> AsyncIterator[Manifest]:
        """What is to be announced, whenever it is something else. Never ends; a server that is away is tried again."""
        await self._opened.wait()  # it runs beside the worker, and may be asked before that has opened its store
        announced: Manifest | None = None
        pause = _TRY_AGAIN
        while True:
            self._connection.changed.clear()
            try:
                found = await self._tools.look()
            except RetinueError as error:
                _log.warning("not announced: %s", error.message, extra={"capability": self.contract.name})
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _TRY_AGAIN
            if found is None:
                _log.warning("the server offers no tool that can be used", extra={"capability": self.contract.name})
            elif found != announced:
                announced = found
                yield found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connection.changed.wait(), _LOOK_AGAIN)
            await asyncio.sleep(_SETTLING)

    async def accept(self, tools: Sequence[str]) -> list[str]:
        """Accept what the server says by now about these tools; without any, say which changed and how.

        Returns:
            Lines for the operator.
        """
        await self._store.open()
        try:
            if tools:
                return [f"accepted {pin.name}" for pin in await self._pins.accept(tools)] or ["none of these changed"]
            changed = await self._pins.changed()
        finally:
            await self._store.close()
        told = [line for pin in changed for line in (pin.name, *_quoted("was", pin.accepted_words, pin.seen_words))]
        return told or ["nothing changed"]


def _quoted(before: str, was: str, now: str) -> list[str]:
    """Both texts; where they are the same, what changed is a schema or an annotation."""
    if was == now:
        return ["  its description is the same; its title, schemas or annotations changed"]
    return [f"  {before}: {was!r}", f"  is:  {now!r}"]
