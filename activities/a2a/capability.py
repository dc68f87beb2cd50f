"""One configured A2A agent as a capability, in the form in which a folder's `worker.py` is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import ModuleType

from activities.a2a import config
from activities.a2a.config import Agent
from activities.a2a.connection import Connection
from activities.a2a.models import A2aBase
from activities.a2a.store import Pins, Tasks
from activities.a2a.tools import A2aTools
from retinue.errors import InvalidArguments
from retinue.operator_config import Redaction
from retinue.remote_capability import RemoteCapability, RemoteSettings


def module(name: str, taken: Collection[str]) -> ModuleType:
    """Return a module as a folder's `worker.py` is one.

    Raises:
        LookupError: Something is wrong with the configuration; the message says what.
    """
    try:
        agent = config.agent(name, taken)
        return A2aCapability(name, agent.expanded(), Redaction(agent.secrets())).module()
    except InvalidArguments as error:
        raise LookupError(error.message) from None


class A2aCapability(RemoteCapability):
    """One agent, as the configuration file names and describes it."""

    kind = "a2a"
    loggers = ("a2a", "httpx", "httpcore")

    def __init__(self, name: str, agent: Agent, redaction: Redaction) -> None:
        super().__init__(
            name,
            RemoteSettings.of(name, kind=self.kind),
            A2aBase.metadata,
            description=agent.description or f"The outside agent {name}.",
            instructions=agent.instructions,
        )
        self._pins = Pins(self.store, name)
        self._connection = Connection(name, agent)
        tasks = Tasks(self.store, name)
        self.tools = A2aTools(name, agent, self._connection, self._pins, tasks, self.ledger, redaction)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def accept_named(self, names: Sequence[str]) -> list[str]:
        """Accept what the card says by now, when `names` holds `card`."""
        accepted = "card" in names and await self._pins.accept()
        return ["accepted the card"] if accepted else ["nothing of that name changed"]

    async def changes(self) -> list[str]:
        """Say how the card changed."""
        pin = await self._pins.pinned()
        if pin is None or not pin.changed:
            return []
        return ["card", f"  was: {pin.accepted_words!r}", f"  is:  {pin.seen_words!r}"]
