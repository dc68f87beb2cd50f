"""`python -m tests.deploy.rolling VERSION`: a capability `drawer` in two versions, to roll one to the other under runs.

The second has a tool more, a field more in arguments and in results, and is otherwise the same. The first is slow where it
is asked to be, so that it can be stopped in the middle of a step.
"""

from __future__ import annotations

import asyncio
import os
import sys
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.plugin import SimplePlugin

import activities
from retinue.activity_adapter import build_activities
from retinue.capability import Annotations, Capability, tool
from retinue.ledger import Ledger
from retinue.settings import RetinueSettings
from retinue.store import Store
from workers import runner

WRITES = Annotations(read_only=False, destructive=False, open_world=False, trusted_output=True)
ASKED = Annotations(read_only=False, destructive=False, open_world=True, trusted_output=True)


class Put(BaseModel):
    model_config = ConfigDict(extra="forbid")
    thing: str
    seconds: float = 0


class PutLabelled(Put):
    label: str = ""


class Kept(BaseModel):
    thing_id: str
    thing: str


class KeptLabelled(Kept):
    label: str = ""


class Drawer(Capability):
    name = "drawer"
    version = "1.9.0"
    description = "A drawer for things."
    instructions = "Put things into it."

    @activity.defn(name="drawer.put")
    @tool(title="Put a thing", annotations=WRITES)
    @abstractmethod
    async def put(self, wish: Put) -> Kept:
        """Put a thing into the drawer, slowly if asked."""

    @activity.defn(name="drawer.give")
    @tool(title="Give a thing away", annotations=ASKED)
    @abstractmethod
    async def give(self, wish: Put) -> Kept:
        """Give a thing to somebody, and note it."""


class NewDrawer(Capability):
    name = "drawer"
    version = "1.10.0"
    description = "A drawer for things."
    instructions = "Put things into it."

    @activity.defn(name="drawer.put")
    @tool(title="Put a thing", annotations=WRITES)
    @abstractmethod
    async def put(self, wish: PutLabelled) -> KeptLabelled:
        """Put a thing into the drawer, with a label."""

    @activity.defn(name="drawer.give")
    @tool(title="Give a thing away", annotations=ASKED)
    @abstractmethod
    async def give(self, wish: PutLabelled) -> KeptLabelled:
        """Give a thing to somebody, and note it."""

    @activity.defn(name="drawer.count")
    @tool(title="Count things", annotations=Annotations(read_only=True, destructive=False, open_world=False))
    @abstractmethod
    async def count(self, wish: Put) -> Kept:
        """Count, in the new version only."""


class DrawerBase(SQLModel, registry=registry()):
    pass


class StoredThing(DrawerBase, table=True):
    __tablename__ = "thing"
    thing_id: str = Field(primary_key=True)
    thing: str


class Tools(Drawer):
    def __init__(self, store: Store) -> None:
        self.ledger: Ledger = Ledger(store)

    async def put(self, wish: Put) -> Kept:
        await asyncio.sleep(wish.seconds)
        return await self._keep(wish)

    async def give(self, wish: Put) -> Kept:
        return await self._keep(wish)

    async def _keep(self, wish: Put) -> Kept:
        async def effect(session: AsyncSession) -> Kept:
            stored = StoredThing(thing_id=uuid4().hex, thing=wish.thing)
            session.add(stored)
            return Kept(thing_id=stored.thing_id, thing=stored.thing)

        return await self.ledger.once(wish, Kept, effect)


class NewTools(NewDrawer):
    def __init__(self, store: Store) -> None:
        self.ledger: Ledger = Ledger(store)

    async def put(self, wish: PutLabelled) -> KeptLabelled:
        async def effect(session: AsyncSession) -> KeptLabelled:
            stored = StoredThing(thing_id=uuid4().hex, thing=wish.thing)
            session.add(stored)
            return KeptLabelled(thing_id=stored.thing_id, thing=stored.thing, label=wish.label)

        return await self.ledger.once(wish, KeptLabelled, effect)

    give = put

    async def count(self, wish: Put) -> Kept:
        return Kept(thing_id="counted", thing=wish.thing)


def drawer(version: str) -> Any:
    """The `worker` module that this would have as a folder."""
    url = os.environ.get("DRAWER_DATABASE_URL") or RetinueSettings().sqlite_url("drawer")
    store = Store(url, DrawerBase.metadata, owner="drawer")
    tools: Capability = NewTools(store) if version == NewDrawer.version else Tools(store)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    plugin = SimplePlugin("drawer", activities=build_activities(tools), run_context=opened)
    return SimpleNamespace(CONTRACT=NewDrawer if isinstance(tools, NewTools) else Drawer, plugin=lambda: plugin)


if __name__ == "__main__":
    activities.load = lambda name: drawer(sys.argv[1])
    runner.main("drawer")
