"""The front door's keys on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.storage.idempotency import Answer, IdempotencyKeys
from retinue.errors import InvalidArguments


@pytest.fixture
async def doors(database_url: str) -> AsyncIterator[list[IdempotencyKeys]]:
    """Two front doors over one database."""
    doors = [IdempotencyKeys(database_url) for _ in range(2)]
    await asyncio.gather(*(door.open() for door in doors))
    yield doors
    for door in doors:
        await door.close()


async def test_of_fifty_claims_of_one_key_at_once_one_does_the_work_and_all_get_its_answer(
    doors: list[IdempotencyKeys],
) -> None:
    answer = Answer(status=202, headers={"location": "/v1/assistants/a"}, body=b"{}")

    async def request(door: IdempotencyKeys) -> tuple[str, bool, Answer | None]:
        claim = await door.claim(owner="me", key="k", body="b")
        if claim.answer is None:
            await door.keep(claim, answer)
        return claim.assistant_id, claim.repeated, claim.answer

    told = await asyncio.gather(*(request(doors[number % 2]) for number in range(50)))
    assert {assistant_id for assistant_id, _, _ in told} == {told[0][0]}
    assert [first for _, repeated, first in told if not repeated] == [None]
    assert [first for _, repeated, first in told if repeated] == [answer] * 49


async def test_a_key_is_for_one_request_of_one_caller(doors: list[IdempotencyKeys]) -> None:
    first = await doors[0].claim(owner="me", key="k", body="b")
    with pytest.raises(InvalidArguments):
        await doors[1].claim(owner="me", key="k", body="other")
    other = await doors[1].claim(owner="you", key="k", body="other")
    assert (other.repeated, other.assistant_id != first.assistant_id) == (False, True)


async def test_an_undoing_that_is_noted_twice_counts_once(doors: list[IdempotencyKeys]) -> None:
    await asyncio.gather(*(door.note_undo("a-1", number) for door in doors for number in (1, 1, 2)))
    assert [await door.undoings(run) for door in doors for run in ("a-1", "a-2")] == [2, 0, 2, 0]
