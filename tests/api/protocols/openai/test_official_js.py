"""Vercel's AI SDK gets an object of its schema from the assistant, by both of OpenAI's protocols."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.official import Judges
from tests.conftest import Stack

pytestmark = [pytest.mark.xdist_group("judges"), pytest.mark.timeout(600)]  # the first one installs them


async def test_generate_object_gets_an_object_of_the_schema(
    stack: Stack, judges: Judges, door: str, new_key: NewKey, fresh: Callable[[str], str]
) -> None:
    found = [{"town": "Lisbon", "dry": True}, {"town": "Porto", "dry": False}]
    messages = [fresh(f"weather in {one['town']}") for one in found]
    for message, one in zip(messages, found, strict=True):
        stack.model.script(message, plan_answer(reply="In words."))
        stack.model.structured(message, Answer(json.dumps(one)))
    code, said = await judges.run("ai_sdk.mjs", door, await new_key("read", "ask"), *messages)
    assert code == 0, said[-2000:]
    assert json.loads(said.strip().splitlines()[-1]) == found
