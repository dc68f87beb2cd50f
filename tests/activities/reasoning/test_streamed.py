"""Answers in pieces: what the heartbeats carry, and what happens with services that cannot do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.reasoning import draft
from activities.reasoning.contract import MODEL_OPTIONS, Draft, Reasoning, ReplyRequest
from retinue.activity_adapter import build_activities
from retinue.conversation import Message, Role
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
        self._run = activities_by_name(build_activities(tools))["reasoning.reply"]
        self.beats: list[Sequence[Any]] = []

    async def write(self) -> str:
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: self.beats.append(details)
        said = [Message(role=Role.USER, text="Hello")]
        request = ReplyRequest(messages=said, timezone="UTC", now=datetime(2026, 11, 22, tzinfo=UTC), steps=[])
        written: dict[str, Any] = await environment.run(self._run, request.model_dump(mode="json"))
        return str(written["text"])

    def texts(self) -> list[tuple[int, str]]:
        return [(told.number, told.text) for beat in self.beats for told in beat if isinstance(told, Draft)]


@pytest.fixture
def reply(make: Make, endpoints: Endpoints) -> Reply:
    return Reply(make, endpoints)


def with_more_room(tools: Make, endpoints: Endpoints, file: Path) -> Make:
    """Makes tools whose second model, `two`, may write longer answers."""
    file.write_text(f'[models.two]\nbase_url = "{endpoints.url}"\nmodel = "two"\nmax_output_tokens = 9000\n')
    return lambda **settings: tools(**{**settings, "model": "one, two", "models": file})


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
    drafts = [[told for told in beat if isinstance(told, Draft)] for beat in reply.beats]
    first = next(place for place, found in enumerate(drafts) if found)
    assert all(drafts[first:])
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
    assert (1, "Good ") in reply.texts()
    assert {number for number, _ in reply.texts()} == {1}


async def test_an_answer_that_is_cut_at_its_limit_is_kept_with_a_mark(reply: Reply, endpoints: Endpoints) -> None:
    endpoints.says("one", Answer(pieces=slowly("Good ", "morn"), finish_reason="length"))
    assert await reply.write() == "Good morn\n\n(cut at the model's limit)"
    assert len(endpoints.asked()) == 1


async def test_a_model_with_more_room_is_asked_before_a_cut_answer_is_kept(
    make: Make, endpoints: Endpoints, tmp_path: Path
) -> None:
    endpoints.says("one", Answer("Good morn", finish_reason="length"))
    endpoints.says("two", Answer("Good morning"))
    reply = Reply(with_more_room(make, endpoints, tmp_path / "models.toml"), endpoints)
    assert await reply.write() == "Good morning"
    endpoints.says("two", Answer(status=500))
    assert (await reply.write()).startswith("Good morn\n\n(cut")


async def test_an_answer_of_thoughts_alone_is_not_kept(reply: Reply, endpoints: Endpoints) -> None:
    endpoints.says("one", Answer("<think>hm", finish_reason="length"))
    with pytest.raises(ApplicationError, match="cut off at its token limit"):
        await reply.write()
