"""What a model is writing, told while it writes: beside the history, and never in place of the message itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from retinue.testing import Answer, plan_answer
from tests.api.events.conftest import Door
from tests.api.events.folding import Folded, once, same, stream, until
from tests.conftest import Stack
from tests.test_main_job import forecast

Fresh = Callable[[str], str]


@dataclass
class Pen:
    """A model that writes a piece whenever the test lets it."""

    pieces: list[str]
    let: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def write(self) -> AsyncIterator[str]:
        for piece in self.pieces:
            async with asyncio.timeout(40):
                await self.let.acquire()
            yield piece

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def answer(self) -> Answer:
        return Answer(pieces=self.write)


async def test_the_answer_is_told_while_it_is_written(stack: Stack, door: Door, fresh: Fresh) -> None:
    message, pen = fresh("Weather in Lisbon?"), Pen(["Sunny ", "and – warm ", "tomorrow."])
    stack.model.script(message, plan_answer([forecast()]), replies=[pen.answer()])
    assistant_id = (await stack.start(message))["id"]
    early, late = Folded(), Folded()
    async with stream(door.http, assistant_id) as first:
        begun = await until(first, early, "text")
        assert (begun.data, begun.id) == ({"about": "reply", "offset": 0, "text": "Sunny "}, "")
        pen.let.release()
        goes_on = await until(first, early, "text")
        assert goes_on.data == {"about": "reply", "offset": 6, "text": "and – warm "}
        async with stream(door.http, assistant_id, early.last_id) as second:
            joined = await until(second, late, "text")
            assert joined.data == {"about": "reply", "offset": 0, "text": "Sunny and – warm "}
            pen.let.release()
            await until(first, early, "end", reply=pen.text)
            await until(second, late, "end", reply=pen.text)
    kinds = early.kinds()
    assert kinds.index("text") < len(kinds) - 1 - kinds[::-1].index("message")
    same(early, await stack.view(assistant_id))
    once(early)
    history = await stack.temporal.get_workflow_handle(assistant_id).fetch_history()
    assert "Sunny and – warm " not in history.to_json().replace(pen.text, "")


async def test_a_composed_text_is_told_under_the_name_of_its_step(stack: Stack, door: Door, fresh: Fresh) -> None:
    message, instruction, pen = fresh("Write it"), fresh("A note"), Pen(["Dear ", "all"])
    step = {"id": "s1", "tool": "reasoning.compose", "args": {"instruction": instruction, "inputs": {}}}
    stack.model.script(message, plan_answer([step]))
    stack.model.composed[instruction] = pen.answer()
    assistant_id = (await stack.start(message))["id"]
    folded = Folded()
    async with stream(door.http, assistant_id) as told:
        begun = await until(told, folded, "text")
        assert begun.data == {"about": "s1", "offset": 0, "text": "Dear "}
        pen.let.release()
        await until(told, folded, "end")
    assert folded.steps[0]["result"]["text"] == pen.text
    same(folded, await stack.view(assistant_id))
