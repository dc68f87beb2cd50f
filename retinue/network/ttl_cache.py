"""What was asked a short while ago need not be asked again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """The latest answers, each for a limited time; the one that was not used for longest leaves first."""

    def __init__(self, *, size: int, lifetime: timedelta, clock: Callable[[], datetime]) -> None:
        """Start empty.

        Args:
            size: How many answers are kept.
            lifetime: How long an answer is as good as a new one.
            clock: The present.
        """
        self._size = size
        self._lifetime = lifetime
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[datetime, Value]] = OrderedDict()
        self._asking: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    async def get_or_load(self, key: Hashable, ask: Callable[[], Awaitable[Value]]) -> Value:
        """The answer of that key, asked anew if it is missing or too old. Errors are not remembered.

        Whoever wants the same at the same time waits for the first one's answer; after an error the next one asks.
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
        """Ask again for everything."""
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
