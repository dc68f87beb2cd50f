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
    ending: asyncio.TimerHandle | None = None


class ResourcePool(Generic[Opened]):
    """Opens each resource once and keeps it open within the limit. A resource in use is never closed.

    Args:
        open_: Opens a resource by its name.
        most: How many unused resources stay open.
        lifetime: Seconds for which an unused resource stays open; None: as long as there is room.
    """

    def __init__(self, open_: Callable[[str], Awaitable[Opened]], *, most: int, lifetime: float | None = None) -> None:
        self._open = open_
        self._most = most
        self._lifetime = lifetime
        self._places: OrderedDict[str, _Slot[Opened]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many are open or being opened."""
        return len(self._places)

    @asynccontextmanager
    async def use(self, name: str, open_: Callable[[], Awaitable[Opened]] | None = None) -> AsyncIterator[Opened]:
        """Yield the resource with this name, open within the block; raises what opening it raises.

        Args:
            name: Of the resource.
            open_: Opens it if it is not open; by default the pool's own function.
        """
        place = self._places.setdefault(name, _Slot())
        self._places.move_to_end(name)
        place.users += 1
        if place.ending:
            place.ending.cancel()
        try:
            async with place.opening:
                place.opened = place.opened or await (open_() if open_ else self._open(name))
            yield place.opened
        finally:
            place.users -= 1
            if not place.users and self._places.get(name) is place:
                self._end_later(name, place)
            await self._make_room()

    def _end_later(self, name: str, place: _Slot[Opened]) -> None:
        if place.opened is None:
            del self._places[name]
        elif self._lifetime is not None:
            place.ending = asyncio.get_running_loop().call_later(self._lifetime, self._end, name, place)

    def _end(self, name: str, place: _Slot[Opened]) -> None:
        if self._places.get(name) is place:
            del self._places[name]
            closing = asyncio.create_task(_shut(place))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all."""
        places = list(self._places.values())
        self._places.clear()
        for place in places:
            await _shut(place)
        await asyncio.gather(*self._closing)

    async def _make_room(self) -> None:
        while len(self._places) > self._most:
            unused = next((name for name, place in self._places.items() if not place.users), None)
            if unused is None:
                return
            await asyncio.shield(_shut(self._places.pop(unused)))


async def _shut(place: _Slot[Opened]) -> None:
    if place.ending is not None:
        place.ending.cancel()
    if place.opened is not None:
        await place.opened.close()
