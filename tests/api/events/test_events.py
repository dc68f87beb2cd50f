"""The stream of a run's events, through a real front door."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.conftest import eventually, refused
from tests.api.events.conftest import Door
from tests.api.events.folding import Folded, events, once, read, refolded, same, stream, until
from tests.conftest import Stack
from tests.days import SOON
from tests.test_main_job import COMPOSED_MAIL, forecast, mail

Fresh = Callable[[str], str]
RANK = ["pending", "awaiting_approval", "running", "completed"]
DISCONNECTS, RUNS = 200, 4


async def asked_mail(stack: Stack, fresh: Fresh) -> str:
    """A run that waits for the approval of a mail."""
    message = fresh("Weather in Lisbon, mail it to team@example.com")
    stack.model.script(message, plan_answer(COMPOSED_MAIL))
    return str((await stack.start(message))["id"])


async def approve(stack: Stack, assistant_id: str) -> None:
    assert (await stack.decide(await stack.asked(assistant_id))).status_code == 200


async def reading(door: Door, expected: dict[str, int]) -> None:
    """Wait until so many read which run: a follower is gone a little later than its readers."""

    async def now() -> dict[str, int]:
        found: dict[str, int] = door.app.state.house.broadcasters.readers_by_run()
        return found

    await eventually(now, expected.__eq__)


def statuses(folded: Folded, step_id: str) -> list[str]:
    """The states of a step as they were told."""
    steps = [step for plan in folded.of("plan") for step in plan["steps"]] + folded.of("step")
    return [step["status"] for step in steps if step["id"] == step_id]


async def test_a_run_is_told_in_order_from_its_plan_to_its_end(stack: Stack, door: Door, fresh: Fresh) -> None:
    assistant_id = await asked_mail(stack, fresh)
    folded = Folded()
    async with stream(door.http, assistant_id) as told:
        await until(told, folded, "approval", status="pending")
        await approve(stack, assistant_id)
        await until(told, folded, "approval", status="approved")
        await until(told, folded, "end", status="completed")
        assert await anext(told, None) is None
    kinds = folded.kinds()
    assert kinds.index("message") < kinds.index("plan") < kinds.index("approval") < kinds.index("end")
    for step_id in ("s1", "s2", "s3"):
        states = statuses(folded, step_id)
        assert states == sorted(states, key=RANK.index)
    assert all(event.id for event in folded.told)
    same(folded, await stack.view(assistant_id))
    once(folded)


async def test_a_late_reader_is_first_told_where_the_run_stands(
    stack: Stack, door: Door, another_door: Door, fresh: Fresh
) -> None:
    assistant_id = await asked_mail(stack, fresh)
    view = await stack.asked(assistant_id)
    folded = Folded()
    async with stream(door.http, assistant_id) as told:
        await until(told, folded, "status", status="awaiting_approval")
    assert folded.kinds() == ["message", "plan", "approval", "usage", "status"]
    same(folded, view)
    await approve(stack, assistant_id)
    await stack.ended(assistant_id)
    late = await read(another_door.http, assistant_id, Folded())
    assert late.kinds() == ["message", "message", "plan", "approval", "usage", "status", "end"]
    # the door that was read before may still have been a moment behind, and then tells what came since
    for folded in (late, await read(door.http, assistant_id, Folded())):
        assert folded.ended
        same(folded, await stack.view(assistant_id))


async def test_after_the_end_a_reader_who_knows_it_is_told_to_stop(stack: Stack, door: Door, fresh: Fresh) -> None:
    message = fresh("Weather in Lisbon?")
    stack.model.script(message, plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]
    folded = await read(door.http, assistant_id, Folded())
    assert folded.ended
    answer = await door.http.get(
        f"/v1/assistants/{assistant_id}/events", headers={"Last-Event-ID": str(folded.last_id)}
    )
    assert (answer.status_code, answer.content) == (204, b"")


async def test_what_is_undone_after_the_end_is_told_to_who_comes_back(stack: Stack, door: Door, fresh: Fresh) -> None:
    message = fresh("Plan the picnic")
    times = {"start": f"{SOON}T10:00:00Z", "end": f"{SOON}T11:00:00Z"}
    picnic = {"id": "s1", "tool": "calendar.create_event", "args": {"title": message, **times}}
    stack.model.script(message, plan_answer([picnic]))
    assistant_id = (await stack.start(message))["id"]
    folded = await read(door.http, assistant_id, Folded())
    before = len(folded.told)
    assert (await stack.http.post(f"/v1/assistants/{assistant_id}/undo", json={"wait_seconds": 20})).status_code == 202
    await read(door.http, assistant_id, folded)
    assert folded.kinds()[before:] == ["step", "status"]
    same(folded, await stack.view(assistant_id))


async def test_readers_who_leave_at_random_places_miss_nothing_and_hear_nothing_twice(
    stack: Stack, door: Door, another_door: Door, fresh: Fresh
) -> None:
    """Fifty times in each of four runs: while it goes on, and then from random places of what was told.

    After the end they come back to one of two doors, which share nothing.
    """
    chance, doors = random.Random(5), [door.http, another_door.http]

    async def one(number: int) -> int:
        message = fresh(f"Weather everywhere, run {number}, and mail it")
        chain = [{**forecast(f"s{step}"), "depends_on": [f"s{step - 1}"][: step > 1]} for step in range(1, 9)]
        stack.model.script(message, plan_answer([*chain, mail("m", depends_on=["s4"])]))
        assistant_id = (await stack.start(message))["id"]
        folded, left = Folded(), 0
        deciding = asyncio.create_task(approve(stack, assistant_id))
        while not folded.ended:
            await read(door.http, assistant_id, folded, count=chance.choice([0, 1, 1, 1, 2]))
            left += 1
        await deciding
        view = await stack.view(assistant_id)
        same(folded, view)
        once(folded)
        assert {statuses(folded, step["id"]).count("completed") for step in folded.steps} == {1}
        while left < DISCONNECTS // RUNS:
            again = refolded(folded.told[: chance.randrange(len(folded.told))])
            await read(chance.choice(doors), assistant_id, again)
            same(again, view)
            once(again)
            left += 1
        return left

    assert sum(await asyncio.gather(*[one(number) for number in range(RUNS)])) >= DISCONNECTS


async def test_many_readers_of_a_run_share_one_follower(stack: Stack, door: Door, fresh: Fresh) -> None:
    assistant_id = await asked_mail(stack, fresh)
    await stack.asked(assistant_id)
    readers = [asyncio.create_task(read(door.http, assistant_id, Folded())) for _ in range(10)]
    await reading(door, {assistant_id: 10})
    await approve(stack, assistant_id)
    told = await asyncio.gather(*readers)
    view = await stack.view(assistant_id)
    for folded in told:
        same(folded, view)
        once(folded)
    await reading(door, {})


@pytest.mark.parametrize(
    "after",
    ["nonsense", "1.2.3", "x.1.1.-.!!!", "a.1.-1.-.", pytest.param("0" * 5000, id="long")],
)
async def test_an_id_that_is_not_ours_counts_as_none(stack: Stack, door: Door, fresh: Fresh, after: str) -> None:
    message = fresh("Weather in Lisbon?")
    stack.model.script(message, plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]
    await stack.ended(assistant_id)
    folded = Folded()
    folded.last_id = after
    await read(door.http, assistant_id, folded)
    assert {"plan", "end"} <= set(folded.kinds())


async def test_a_question_and_its_answer_are_told(stack: Stack, door: Door, fresh: Fresh) -> None:
    message, answer = fresh("Weather there?"), fresh("Lisbon")
    stack.model.script(message, plan_answer(question="Where?"))
    stack.model.script(answer, plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]
    folded = Folded()
    async with stream(door.http, assistant_id) as told:
        asked = await until(told, folded, "question", question="Where?")
        assert asked.data["question_id"] == "q1"
        body = {"message": answer, "question_id": "q1"}
        assert (await stack.http.post(f"/v1/assistants/{assistant_id}/messages", json=body)).status_code == 202
        await until(told, folded, "question", question=None)
        await until(told, folded, "end")
    same(folded, await stack.view(assistant_id))


async def test_a_retry_is_told_while_it_goes_on(stack: Stack, door: Door, fresh: Fresh) -> None:
    """The history of a run stands still while the server tries again."""
    message = fresh("Weather in Lisbon?")
    broken = Answer(status=500)
    stack.model.script(message, broken, broken, plan_answer([forecast()]))
    assistant_id = (await stack.start(message))["id"]
    folded = await read(door.http, assistant_id, Folded())
    notices = [notice for status in folded.of("status") for notice in status.get("notices", [])]
    assert any("is retried" in notice for notice in notices)
    same(folded, await stack.view(assistant_id))


async def test_a_chat_is_told_over_all_its_executions(stack: Stack, named: Door, fresh: Fresh) -> None:
    """It goes on as new after two turns; the reader hears nothing of that, and resumes over it."""
    texts = [fresh(f"Chat {number}") for number in range(6)]
    for text in texts:
        stack.model.script(text, plan_answer([forecast()]), replies=[Answer(f"Answer to {text}")])
    anna, folded = named.person("anna"), Folded()
    async with anna:
        assistant_id = (await anna.post("/v1/assistants", json={"message": texts[0], "mode": "chat"})).json()["id"]
        for number, text in enumerate(texts):
            async with stream(anna, assistant_id, folded.last_id) as told:
                if number:
                    await anna.post(f"/v1/assistants/{assistant_id}/messages", json={"message": text})
                await until(told, folded, "message", role="assistant", index=2 * number + 1)
                await until(told, folded, "status", status="awaiting_input")
        view = (await anna.get(f"/v1/assistants/{assistant_id}")).json()
        await anna.post(f"/v1/assistants/{assistant_id}/cancel")
        runs = {event.id.partition(".")[0] for event in folded.told}
    same(folded, view)
    once(folded)
    assert view["turns"] == 6
    assert len(runs) >= 3


async def test_a_foreign_run_is_refused_before_any_byte(stack: Stack, named: Door, fresh: Fresh) -> None:
    message = fresh("Weather in Lisbon?")
    stack.model.script(message, plan_answer([forecast()]))
    async with named.person("anna") as anna, named.person("ben") as ben:
        assistant_id = (await anna.post("/v1/assistants", json={"message": message})).json()["id"]
        assert (await read(anna, assistant_id, Folded())).ended
        for after in ({}, {"Last-Event-ID": "x.1.1.-.AAAA"}):
            foreign = await ben.get(f"/v1/assistants/{assistant_id}/events", headers=after)
            unknown = await ben.get("/v1/assistants/a-0/events", headers=after)
            refused(foreign, 404)
            assert foreign.text.replace(assistant_id, "a-0") == unknown.text


async def test_one_person_reads_only_so_many_streams(
    stack: Stack, named: Door, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.broker.MAX_STREAMS", 2)
    message = fresh("Mail it")
    stack.model.script(message, plan_answer([mail("s1")]))
    async with named.person("anna") as anna:
        assistant_id = (await anna.post("/v1/assistants", json={"message": message})).json()["id"]
        async with stream(anna, assistant_id) as one, stream(anna, assistant_id) as two:
            assert (await anext(one)).kind == "message"
            assert (await anext(two)).kind == "message"
            answer = await anna.get(f"/v1/assistants/{assistant_id}/events")
            refused(answer, 429)
            assert int(answer.headers["retry-after"]) > 0
        await reading(named, {})
        async with stream(anna, assistant_id) as again:
            assert (await anext(again)).kind == "message"


async def test_silence_is_filled_so_that_nobody_takes_the_stream_for_dead(
    stack: Stack, door: Door, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.sse.HEARTBEAT", 0.05)
    assistant_id = await asked_mail(stack, fresh)
    async with door.http.stream("GET", f"/v1/assistants/{assistant_id}/events") as response, asyncio.timeout(20):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in response.headers["cache-control"]
        lines = response.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        assert await anext(line async for line in lines if line.startswith(":")) == ": alive"


async def test_a_reader_who_takes_nothing_is_dropped_and_can_resume(
    stack: Stack, door: Door, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.sse.SEND", 0.2)
    assistant_id = await asked_mail(stack, fresh)
    view = await stack.asked(assistant_id)
    taken: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        """Takes three events and the greeting, and then nothing for ever."""
        taken.append(message.get("body", b""))
        await asyncio.sleep(3600 * (len(taken) > 5))

    async with asyncio.timeout(20):
        await door.app(get(f"/v1/assistants/{assistant_id}/events"), never, send)
    await reading(door, {})
    folded = Folded()
    async for event in events(each(b"".join(taken[:5]).decode().split("\n"))):
        folded.fold(event)
    assert folded.kinds() == ["message", "plan", "approval"]
    async with stream(door.http, assistant_id, folded.last_id) as told:
        await until(told, folded, "status", status="awaiting_approval")
    assert folded.kinds() == ["message", "plan", "approval", "usage", "status"]
    same(folded, view)


def get(path: str) -> dict[str, Any]:
    """A request as a server hands it on."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "root_path": "",
    }


async def never() -> dict[str, Any]:
    """A connection on which nothing more comes in."""
    await asyncio.sleep(3600)
    return {"type": "http.disconnect"}


async def each(lines: list[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line
