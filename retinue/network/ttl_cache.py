"""A small cache with expiry."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """A least-recently-used cache whose entries expire."""

    def __init__(self, *, size: int, lifetime: timedelta, clock: Callable[[], datetime]) -> None:
        """Start empty.

        Args:
            size: The most entries.
            lifetime: How long an entry is valid.
            clock: Returns the present.
        """
        self._size = size
        self._lifetime = lifetime
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[datetime, Value]] = OrderedDict()
        self._asking: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    async def get_or_load(self, key: Hashable, ask: Callable[[], Awaitable[Value]]) -> Value:
        """Return the entry for a key, loading it if it is missing or expired. Errors are not cached.

        Concurrent callers for one key wait for the first one's load; after an error the next one loads.
        """
        lock, waiting = self._asking.get(key, (asyncio.Lock(), 0))
        self._asking[key] = (lock, waiting + 1)
        try:
            async with lock:
                return await self._fresh(key, ask)
        finally:
            lock, waiting = self._asking.pop(key)
            if waiting > 1:
                self._asking[key] = (lock, waiting - 1)

    def forget(self) -> None:
        """Remove all entries."""
        self._kept.clear()

    async def _fresh(self, key: Hashable, ask: Callable[[], Awaitable[Value]]) -> Value:
        asked_at, value = self._kept.get(key, (None, None))
        if asked_at is None or value is None or self._clock() - asked_at >= self._lifetime:
            value = await ask()
            self._kept[key] = (self._clock(), value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value
