"""A bounded number of things that are kept open, by name: those that nobody used for longest are closed first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Closes(Protocol):
    """What can be kept open."""

    async def close(self) -> None:
        """Give back what it holds."""
        ...


Opened = TypeVar("Opened", bound=Closes)


@dataclass
class _Slot(Generic[Opened]):
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: Opened | None = None
    users: int = 0


class ResourcePool(Generic[Opened]):
    """Opens what is asked for, once, and keeps it open while there is room. What is in use is never closed.

    Args:
        open_: Opens one by its name.
        most: How many stay open when nobody uses them.
    """

    def __init__(self, open_: Callable[[str], Awaitable[Opened]], *, most: int) -> None:
        self._open = open_
        self._most = most
        self._places: OrderedDict[str, _Slot[Opened]] = OrderedDict()

    def __len__(self) -> int:
        """How many there are, open or about to be."""
        return len(self._places)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Opened]:
        """The one of that name, open for as long as the block lasts; raises what opening it raises."""
        place = self._places.setdefault(name, _Slot())
        self._places.move_to_end(name)
        place.users += 1
        try:
            async with place.opening:
                place.opened = place.opened or await self._open(name)
            yield place.opened
        finally:
            place.users -= 1
            if place.opened is None and not place.users and self._places.get(name) is place:
                del self._places[name]
            await self._make_room()

    async def close(self) -> None:
        """Close all."""
        places = list(self._places.values())
        self._places.clear()
        for place in places:
            await _shut(place)

    async def _make_room(self) -> None:
        while len(self._places) > self._most:
            unused = next((name for name, place in self._places.items() if not place.users), None)
            if unused is None:
                return
            await asyncio.shield(_shut(self._places.pop(unused)))


async def _shut(place: _Slot[Opened]) -> None:
    if place.opened is not None:
        await place.opened.close()
