"""The front door's keys on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.keys import IdempotencyKeys
from retinue.errors import InvalidArguments


@pytest.fixture
async def doors(database_url: str) -> AsyncIterator[list[IdempotencyKeys]]:
    """Two front doors over one database."""
    doors = [IdempotencyKeys(database_url) for _ in range(2)]
    await asyncio.gather(*(door.open() for door in doors))
    yield doors
    for door in doors:
        await door.close()


async def test_fifty_claims_of_one_key_at_once_are_one(doors: list[IdempotencyKeys]) -> None:
    claims = await asyncio.gather(*(doors[number % 2].claim(owner="me", key="k", body="b") for number in range(50)))
    assert [claim.repeated for claim in claims].count(False) == 1
    assert len({(claim.assistant_id, claim.used_at) for claim in claims}) == 1


async def test_a_key_is_for_one_request_of_one_caller(doors: list[IdempotencyKeys]) -> None:
    first = await doors[0].claim(owner="me", key="k", body="b")
    with pytest.raises(InvalidArguments):
        await doors[1].claim(owner="me", key="k", body="other")
    other = await doors[1].claim(owner="you", key="k", body="other")
    assert (other.repeated, other.assistant_id != first.assistant_id) == (False, True)


async def test_an_undoing_that_is_noted_twice_counts_once(doors: list[IdempotencyKeys]) -> None:
    await asyncio.gather(*(door.note_undo("a-1", number) for door in doors for number in (1, 1, 2)))
    assert [await door.undoings(run) for door in doors for run in ("a-1", "a-2")] == [2, 0, 2, 0]
