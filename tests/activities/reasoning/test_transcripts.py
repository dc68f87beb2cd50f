"""Conversations by reference: kept once, whoever asks again, and never touched by requests without one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from activities.reasoning.contract import Progress, ReplyRequest
from retinue.conversation import Message, Role, Transcript
from retinue.errors import ServiceUnavailable
from retinue.testing import Answer, plan_answer
from tests.activities.reasoning.conftest import NOW, Bench, Make, planning, store_at


def said(number: int, size: int = 0) -> dict[str, Any]:
    return {"role": "user", "text": f"{number}" + "x" * size}


async def last(bench: Bench, **limits: int) -> list[int]:
    found = await bench.transcripts.last("k", **{"before": 100, "limit_messages": 100, "limit_bytes": 10_000, **limits})
    return [int(message["text"].rstrip("x")) for message in found]


async def test_the_same_append_again_writes_nothing(bench: Bench) -> None:
    for _ in range(3):
        assert await bench.transcripts.append("k", at=0, messages=[said(0), said(1)]) == [said(0), said(1)]
    assert [(key, position) for key, position, _ in bench.kept()] == [("k", 0), ("k", 1)]


async def test_what_stands_at_a_position_stays(bench: Bench) -> None:
    await bench.transcripts.append("k", at=0, messages=[said(0), said(1)])
    assert await bench.transcripts.append("k", at=1, messages=[said(7), said(2)]) == [said(1), said(2)]
    assert await last(bench) == [0, 1, 2]


async def test_attempts_at_the_same_time_agree(make: Make) -> None:
    """Two workers, one file: whoever comes first is believed by both."""
    one, other = make().transcripts, make().transcripts
    await asyncio.gather(one.append("x", at=0, messages=[said(0)]), other.append("y", at=0, messages=[said(0)]))
    found = await asyncio.gather(
        *(store.append("k", at=0, messages=[said(n)]) for n, store in enumerate([one, other] * 5))
    )
    assert len({json.dumps(kept) for kept in found}) == 1


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"before": 2}, [0, 1]),
        ({"before": 0}, []),
        ({"limit_messages": 2}, [2, 3]),
        ({"limit_bytes": 1500}, [3]),
        ({"limit_bytes": 2100}, [2, 3]),
        ({"limit_bytes": 1}, [3]),
    ],
)
async def test_the_newest_that_fit_are_read_in_their_order(
    bench: Bench, limits: dict[str, int], expected: list[int]
) -> None:
    await bench.transcripts.append("k", at=0, messages=[said(n, 1000) for n in range(4)])
    await bench.transcripts.append("other", at=0, messages=[said(9)])
    assert await last(bench, **limits) == expected


async def test_half_characters_of_a_model_can_be_kept(bench: Bench) -> None:
    [kept] = await bench.transcripts.append("k", at=0, messages=[{"role": "assistant", "content": "a\ud800"}])
    assert kept["content"] == "a?"


async def test_a_task_touches_no_database(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer(reply="Hello"))
    assert (await bench.tools.plan(planning(word))).plan is not None
    assert not bench.file.exists()


async def test_planning_sees_the_earlier_conversation_and_keeps_what_is_new(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer(reply="Hi"), plan_answer(reply="Still here"))
    await bench.tools.plan(planning(word, transcript=Transcript(key="chat")))
    request = planning("and now?", transcript=Transcript(key="chat", length=1))
    await bench.tools.plan(request)
    shown = bench.model.requests_for(word)[-1]["messages"]
    assert [message["content"] for message in shown if message["role"] == "user"] == [word, "and now?"]
    assert [position for _, position, _ in bench.kept()] == [0, 1]


async def test_steps_stand_before_what_a_chat_said_after_them(bench: Bench, word: str) -> None:
    """A stand-in, and a model, then know what is still to be planned; in a later round of it nothing new is said."""
    bench.model.script(word)
    await bench.transcripts.append("chat", at=0, messages=[{"role": "user", "text": word}])
    done = [Progress(id="s1", tool="calendar.list_events", status="completed")]
    for said, length in (["and now?"], 1), ([], 2):
        await bench.tools.plan(
            planning(*said, transcript=Transcript(key="chat", length=length), round=2, progress=done)
        )
    first, later = (
        [message["content"].partition("\n")[0] for message in request["messages"][2:]]
        for request in bench.model.requests_for(word)
    )
    assert first == [word, "Progress (JSON):", "and now?"]
    assert later == [word, "and now?", "Progress (JSON):"]


async def test_a_request_that_comes_again_shows_and_keeps_the_same(bench: Bench, word: str) -> None:
    bench.model.script(word, plan_answer(reply="a"), plan_answer(reply="b"))
    for _ in range(2):
        await bench.tools.plan(planning(word, "yes?", "no", transcript=Transcript(key="chat")))
    first, second = (request["messages"] for request in bench.model.requests_for(word))
    assert first == second
    assert len(bench.kept()) == 3


async def test_the_final_answer_reads_the_whole_conversation(bench: Bench, word: str) -> None:
    bench.model.script(word, replies=[Answer("Done.")])
    await bench.transcripts.append("chat", at=0, messages=[{"role": "user", "text": word}])
    request = ReplyRequest(
        messages=[Message(role=Role.USER, text="and now?")],
        timezone="UTC",
        now=NOW,
        steps=[],
        transcript=Transcript(key="chat", length=1),
    )
    await bench.tools.reply(request)
    content = json.loads(bench.model.requests_for(word)[-1]["messages"][-1]["content"])
    assert [message["text"] for message in content["conversation"]] == [word, "and now?"]


def lock(file: Path) -> sqlite3.Connection:
    """Another process in the middle of writing."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


async def test_a_locked_store_is_unavailable_and_works_again(
    bench: Bench, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retinue.store._PATIENCE", 0.05)
    monkeypatch.setattr("retinue.store._MIGRATING_PATIENCE", 0.1)
    bench.model.script(word, plan_answer(reply="a"), plan_answer(reply="b"))
    holder = lock(bench.file)
    with pytest.raises(ServiceUnavailable, match="the database of reasoning does not work"):
        await bench.tools.plan(planning(word, transcript=Transcript(key="chat")))
    assert (await bench.tools.plan(planning(word))).plan is not None
    holder.close()
    assert (await bench.tools.plan(planning(word, transcript=Transcript(key="chat")))).plan is not None


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
async def test_a_broken_store_is_unavailable(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "reasoning.db"
    file.write_bytes(content) if content else file.mkdir()
    store = store_at(file)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            await store.append("k", at=0, messages=[said(0)])
    await store.close()


async def test_a_folder_that_cannot_be_made_is_unavailable() -> None:
    with pytest.raises(ServiceUnavailable, match="folder of reasoning's database"):
        await store_at(Path("/dev/null/reasoning.db")).append("k", at=0, messages=[said(0)])
