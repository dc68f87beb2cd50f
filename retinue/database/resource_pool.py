"""A bounded pool of open resources by name; the least recently used is closed first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Closes(Protocol):
    """A resource that can be closed."""

    async def close(self) -> None:
        """Release the resource."""
        ...


Opened = TypeVar("Opened", bound=Closes)


@dataclass
class _Slot(Generic[Opened]):
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: Opened | None = None
    users: int = 0


class ResourcePool(Generic[Opened]):
    """Opens each resource once and keeps it open within the limit. A resource in use is never closed.

    Args:
        open_: Opens a resource by its name.
        most: How many unused resources stay open.
    """

    def __init__(self, open_: Callable[[str], Awaitable[Opened]], *, most: int) -> None:
        self._open = open_
        self._most = most
        self._places: OrderedDict[str, _Slot[Opened]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are open or being opened."""
        return len(self._places)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Opened]:
        """Yield the resource with this name, open within the block; raises what opening it raises."""
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
