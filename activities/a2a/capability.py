"""One configured A2A agent as a capability, in the form in which a folder's `worker.py` is one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from types import ModuleType

from temporalio.plugin import SimplePlugin

from activities.a2a import config
from activities.a2a.config import Agent
from activities.a2a.connection import Connection
from activities.a2a.models import A2aBase
from activities.a2a.settings import A2aSettings
from activities.a2a.store import Pins, Tasks
from activities.a2a.tools import A2aTools
from retinue.activity_adapter import any_activity, close_effect
from retinue.capability import Capability, Manifest
from retinue.errors import InvalidArguments, RetinueError
from retinue.ledger import Ledger
from retinue.operator_config import Redaction
from retinue.store import Store

_LOOK_AGAIN = 60.0
"""Seconds after which the card is fetched again."""
_TRY_AGAIN = 2.0
_LONGEST_PAUSE = 60.0
_TALKATIVE = ("a2a", "httpx", "httpcore")
"""Loggers of the SDK. They repeat what agents say, and where requests go."""
_log = logging.getLogger("retinue.a2a")


def module(name: str, taken: Collection[str]) -> ModuleType:
    """A module as a folder's `worker.py` is one, with `manifests` beside, since an agent's card may change.

    Raises:
        LookupError: Something is wrong with the configuration; the message says what.
    """
    try:
        agent = config.agent(name, taken)
        served = A2aCapability(name, agent.expanded(), Redaction(agent.secrets()), A2aSettings.of(name))
    except InvalidArguments as error:
        raise LookupError(error.message) from None
    made = ModuleType(f"activities.a2a.{name}", "Made from the configuration.")
    vars(made).update(CONTRACT=served.contract, plugin=served.plugin, manifests=served.manifests, accept=served.accept)
    return made


class A2aCapability:
    """One agent: its worker's part, its manifest as it changes, and what the operator accepts."""

    def __init__(self, name: str, agent: Agent, redaction: Redaction, settings: A2aSettings) -> None:
        about = {
            "name": name,
            "version": "a2a",
            "description": agent.description or f"The outside agent {name}.",
            "instructions": agent.instructions,
        }
        self.contract: type[Capability] = type("ConfiguredAgent", (Capability,), about)
        self._agent = agent
        self._redaction = redaction
        self._whose = settings.organisation
        self._opened = asyncio.Event()
        self._store = Store(settings.database_url, A2aBase.metadata, owner=name).shared()
        self._ledger = Ledger(self._store)
        self._pins = Pins(self._store, name)
        self._connection = Connection(name, agent)
        self._tools = A2aTools(
            name, agent, self._connection, self._pins, Tasks(self._store, name), self._ledger, redaction
        )

    def plugin(self) -> SimplePlugin:
        """The worker's part: one activity for both tools, a store, and connections that end with the worker."""

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

        calls = [any_activity(self._tools.call, tenant=self._whose), close_effect(self._ledger)]
        return SimplePlugin(self.contract.name, activities=calls, run_context=opened)

    async def manifests(self) -> AsyncIterator[Manifest]:
        """What is to be announced, whenever it is something else. Never ends; an agent that is away is tried again."""
        await self._opened.wait()
        announced: Manifest | None = None
        pause = _TRY_AGAIN
        while True:
            try:
                found = await self._tools.look()
            except RetinueError as error:
                _log.warning("not announced: %s", error.message, extra={"capability": self.contract.name})
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _TRY_AGAIN
            if found is not None and found != announced:
                announced = found
                yield found
            await asyncio.sleep(_LOOK_AGAIN)

    async def accept(self, names: Sequence[str]) -> list[str]:
        """Accept what the card says by now, when `names` holds `card`; without any, say what changed.

        Returns:
            Lines for the operator.
        """
        await self._store.open()
        try:
            if names:
                accepted = "card" in names and await self._pins.accept()
                return ["accepted the card"] if accepted else ["nothing of that name changed"]
            pin = await self._pins.pinned()
        finally:
            await self._store.close()
        if pin is None or not pin.changed:
            return ["nothing changed"]
        return ["card", f"  was: {pin.accepted_words!r}", f"  is:  {pin.seen_words!r}"]
