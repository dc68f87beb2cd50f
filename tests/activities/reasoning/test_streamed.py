"""Answers in pieces: what the heartbeats carry, and what happens with services that cannot do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.reasoning import draft
from activities.reasoning.contract import MODEL_OPTIONS, Draft, Message, Reasoning, ReplyRequest, Role
from retinue.edge import activities_of
from retinue.testing import Answer, activities_by_name
from tests.activities.reasoning.conftest import Make
from tests.activities.reasoning.endpoints import Endpoints, many_models

REFUSED = b'{"error": {"message": "stream is not supported for this model"}}'


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with many_models() as endpoints:
        yield endpoints


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats of their own in between, as if the answer took minutes."""
    monkeypatch.setattr(draft, "EVERY", 0.01)
    options = MODEL_OPTIONS.model_copy(update={"heartbeat": 0.03})
    monkeypatch.setitem(Reasoning.reply.__retinue_tool__, "options", options)  # type: ignore[attr-defined]  # set by @tool


class Reply:
    """The activity that writes an answer, run as a worker would, and what its heartbeats carried."""

    def __init__(self, make: Make, endpoints: Endpoints) -> None:
        tools = make(base_url=endpoints.url, model="one").tools
        self._run = activities_by_name(activities_of(tools))["reasoning.reply"]
        self.beats: list[Sequence[Any]] = []

    async def write(self) -> str:
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: self.beats.append(details)
        said = [Message(role=Role.USER, text="Hello")]
        request = ReplyRequest(messages=said, timezone="UTC", now=datetime(2026, 11, 22, tzinfo=UTC), steps=[])
        written: dict[str, Any] = await environment.run(self._run, request.model_dump(mode="json"))
        return str(written["text"])

    def texts(self) -> list[tuple[int, str]]:
        return [(beat[0].number, beat[0].text) for beat in self.beats if beat]


@pytest.fixture
def reply(make: Make, endpoints: Endpoints) -> Reply:
    return Reply(make, endpoints)


def slowly(*pieces: str) -> Any:
    """These pieces, with so much time in between that heartbeats come."""

    async def write() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0.15)

    return write


async def test_heartbeats_carry_the_text_so_far_and_lose_nothing_of_it(reply: Reply, endpoints: Endpoints) -> None:
    endpoints.says("one", Answer(pieces=slowly("Good ", "morning")))
    assert await reply.write() == "Good morning"
    texts = [text for _, text in reply.texts()]
    assert set(texts) == {"Good ", "Good morning"}
    assert texts == sorted(texts, key=len)
    first = next(place for place, beat in enumerate(reply.beats) if beat)
    assert all(reply.beats[first:])
    assert len(reply.beats) > first + 2
    assert "morning" not in repr(reply.beats)


async def test_an_answer_that_comes_at_once_costs_no_heartbeat(
    reply: Reply, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "EVERY", 30)
    endpoints.says("one", Answer(pieces=slowly("Good ", "morning")))
    assert await reply.write() == "Good morning"
    assert reply.texts() == []


async def test_only_the_beginning_of_a_long_text_is_carried(reply: Reply, endpoints: Endpoints) -> None:
    endpoints.says("one", Answer(pieces=slowly("a" * 10_000, "b" * 10_000)))
    assert len(await reply.write()) == 20_000
    assert max(len(text) for _, text in reply.texts()) == draft.MAX_CHARS


@pytest.mark.parametrize(
    "cannot",
    [
        Answer(status=400, raw=REFUSED),
        Answer(status=422, raw=REFUSED),
        Answer(pieces=slowly("Goo"), finish_reason=""),
    ],
    ids=["refused", "not processable", "broken off"],
)
async def test_a_model_that_cannot_is_asked_for_whole_answers_from_then_on(
    reply: Reply, endpoints: Endpoints, cannot: Answer
) -> None:
    endpoints.says("one", cannot, Answer("Good morning"))
    assert await reply.write() == "Good morning"
    assert await reply.write() == "Good morning"
    assert [body.get("stream", False) for body in endpoints.asked()] == [True, False, False]


async def test_a_service_that_ignores_the_wish_is_understood(reply: Reply, endpoints: Endpoints) -> None:
    endpoints.says("one", Answer("Good morning"))
    assert await reply.write() == "Good morning"
    assert len(endpoints.asked()) == 1


async def test_what_another_try_writes_begins_anew(make: Make, endpoints: Endpoints) -> None:
    reply = Reply(make, endpoints)
    endpoints.says("one", Answer(pieces=slowly("Goo", "d "), finish_reason=""), Answer("Good morning"))
    assert await reply.write() == "Good morning"
    assert Draft(attempt=1, number=1, text="Good ") in [beat[0] for beat in reply.beats if beat]
    assert {number for number, _ in reply.texts()} == {1}
