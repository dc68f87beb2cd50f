from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from retinue.errors import ServiceUnavailable
from retinue.network.ttl_cache import TtlCache


class Desk:
    """A memory of strings over a service that counts what it is asked."""

    def __init__(self, size: int = 8) -> None:
        self.memory: TtlCache[str] = TtlCache(size=size, lifetime=timedelta(days=1), clock=lambda: self.now)
        self.now = datetime(2026, 11, 2, tzinfo=UTC)
        self.asked: list[str] = []
        self.failures = 0

    async def get_or_load(self, key: str) -> str:
        return await self.memory.get_or_load(key, lambda: self._ask(key))

    async def _ask(self, key: str) -> str:
        self.asked.append(key)
        await asyncio.sleep(0.01)
        if len(self.asked) <= self.failures:
            raise ServiceUnavailable("away")
        return key.upper()


async def test_the_answer_that_was_not_used_for_longest_leaves_first() -> None:
    desk = Desk(size=2)
    answers = [await desk.get_or_load(key) for key in ("a", "b", "a", "c", "a", "b")]

    assert answers == ["A", "B", "A", "C", "A", "B"]
    assert desk.asked == ["a", "b", "c", "b"]


async def test_an_answer_that_is_too_old_is_asked_for_again() -> None:
    desk = Desk()
    await desk.get_or_load("a")
    desk.now += timedelta(hours=23)
    await desk.get_or_load("a")
    desk.now += timedelta(hours=1)
    await desk.get_or_load("a")

    assert desk.asked == ["a", "a"]


async def test_who_wants_the_same_at_the_same_time_waits_for_one_answer() -> None:
    desk = Desk()

    assert await asyncio.gather(*map(desk.get_or_load, "aabaa")) == ["A", "A", "B", "A", "A"]
    assert sorted(desk.asked) == ["a", "b"]


async def test_after_an_error_the_next_one_asks() -> None:
    desk = Desk()
    desk.failures = 1
    first, *others = await asyncio.gather(*map(desk.get_or_load, "aaa"), return_exceptions=True)

    assert isinstance(first, ServiceUnavailable)
    assert others == ["A", "A"]
    assert desk.asked == ["a", "a"]


async def test_who_gives_up_takes_nobody_along() -> None:
    desk = Desk()
    first, second = (asyncio.create_task(desk.get_or_load("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert await second == "A"
