"""A capability that the operator's configuration file describes: an MCP server, or an A2A agent.

Subclasses say what is served and what the operator accepts. This is what they share: a worker's part, a store with a
ledger, and manifests that are announced again when the remote side changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, Protocol

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import MetaData
from temporalio.plugin import SimplePlugin

from retinue.activity_adapter import any_activity, close_effect
from retinue.capability import Capability, Manifest
from retinue.errors import RetinueError
from retinue.ledger import Ledger
from retinue.settings import RetinueSettings
from retinue.store import Store
from retinue.tenancy import HOME

_LOOK_AGAIN = 60.0
"""Seconds after which the remote side is looked at again, although it has not said that it changed."""
_SETTLING = 0.5
_TRY_AGAIN = 2.0
_LONGEST_PAUSE = 60.0


class RemoteSettings(BaseSettings):
    """`<NAME>_DATABASE_URL` and `<NAME>_ORGANISATION`, read once for each worker."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    database_url: str = Field("", description="an SQLAlchemy asyncio address; by default an SQLite file of its own")
    organisation: str = Field(HOME, description="whose it is ('*': everybody's); by default that of no organisation")

    @classmethod
    def of(cls, name: str, *, kind: str) -> RemoteSettings:
        """Return the settings of one: for `my-files`, `MY_FILES_DATABASE_URL`. `kind` begins the default file's name."""
        settings = cls(_env_prefix=f"{name.replace('-', '_').upper()}_")
        if settings.database_url:
            return settings
        return settings.model_copy(update={"database_url": RetinueSettings().sqlite_url(f"{kind}-{name}")})


class RemoteTools(Protocol):
    """What a subclass serves."""

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool by its name."""

    async def look(self) -> Manifest | None:
        """Ask the remote side what it offers; None where it offers nothing that can be used."""


class RemoteCapability(ABC):
    """One remote capability.

    Args:
        name: As the configuration file names it.
        settings: Where its database is, and whose it is.
        metadata: Of its tables.
        description: For planners.
        instructions: For its agent.
    """

    kind: ClassVar[str]
    """Stands in manifests as the version, and begins the names of files."""
    loggers: ClassVar[tuple[str, ...]]
    """Of the SDK: they repeat what is said, and where requests go, so they are silenced."""
    tools: RemoteTools

    def __init__(
        self, name: str, settings: RemoteSettings, metadata: MetaData, *, description: str, instructions: str
    ) -> None:
        about = {"name": name, "version": self.kind, "description": description, "instructions": instructions}
        self.contract: type[Capability] = type("ConfiguredCapability", (Capability,), about)
        self.store = Store(settings.database_url, metadata, owner=name).shared()
        self.ledger = Ledger(self.store)
        self.changed = asyncio.Event()
        """Set when the remote side says that it offers something else."""
        self._tenant = settings.organisation
        self._opened = asyncio.Event()
        self._log = logging.getLogger(f"retinue.{self.kind}")

    @abstractmethod
    async def close(self) -> None:
        """Close the connections to the remote side."""

    @abstractmethod
    async def accept_named(self, names: Sequence[str]) -> list[str]:
        """Accept what the remote side says by now about these; lines for the operator."""

    @abstractmethod
    async def changes(self) -> list[str]:
        """Say what changed and how; lines for the operator."""

    def module(self) -> ModuleType:
        """Return a module as a folder's `worker.py` is one, with `manifests` beside, since these may change."""
        made = ModuleType(f"{self.kind}.{self.contract.name}", "Made from the configuration.")
        vars(made).update(CONTRACT=self.contract, plugin=self.plugin, manifests=self.manifests, accept=self.accept)
        return made

    def plugin(self) -> SimplePlugin:
        """Return the worker's part: one activity for all tools, a store, and connections that end with the worker."""

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            for logger in self.loggers:
                logging.getLogger(logger).setLevel(logging.CRITICAL)
            async with self.store:
                self._opened.set()
                try:
                    yield
                finally:
                    await self.close()

        calls = [any_activity(self.tools.call, tenant=self._tenant), close_effect(self.ledger)]
        return SimplePlugin(self.contract.name, activities=calls, run_context=opened)

    async def manifests(self) -> AsyncIterator[Manifest]:
        """Yield what is to be announced, whenever it changed. Never ends; a remote side that is away is tried again."""
        await self._opened.wait()  # it runs beside the worker, and may be asked before that has opened its store
        announced: Manifest | None = None
        pause = _TRY_AGAIN
        while True:
            self.changed.clear()
            try:
                found = await self.tools.look()
            except RetinueError as error:
                self._warn("not announced: %s", error.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _TRY_AGAIN
            if found is None:
                self._warn("it offers no tool that can be used")
            elif found != announced:
                announced = found
                yield found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), _LOOK_AGAIN)
            await asyncio.sleep(_SETTLING)

    async def accept(self, names: Sequence[str]) -> list[str]:
        """Accept what the remote side says by now about `names`; without any, say what changed. Lines for the operator."""
        async with self.store:
            return await (self.accept_named(names) if names else self.changes()) or ["nothing changed"]

    def _warn(self, words: str, *args: object) -> None:
        self._log.warning(words, *args, extra={"capability": self.contract.name})
