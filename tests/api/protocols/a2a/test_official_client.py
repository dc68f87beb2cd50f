"""The official JavaScript client of A2A reads the card, streams a task, decides its approval, and gets the result."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.official import Judges
from tests.conftest import Stack

# the first one installs the judges
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("judges"), pytest.mark.timeout(600)]
TO = "guest@example.org"


async def test_the_official_client_decides_and_gets_the_result(
    stack: Stack, judges: Judges, door: str, new_key: NewKey, fresh: Callable[[str], str]
) -> None:
    message = fresh("mail the guest")
    mail = {"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": "Lunch", "body": "at noon"}}
    stack.model.script(message, plan_answer([mail]), replies=[Answer("Sent.")])
    code, said = await judges.run("a2a.mjs", door, await new_key("read", "ask", "decide"), message)
    assert code == 0, said
    told = json.loads(said)
    assert told["states"] == [6, 3, 3]  # input required, completed, completed
    assert any(TO in words for words in told["preview"])
    assert told["reply"] == "Sent."
    view = await stack.view(told["id"])
    assert [(step["tool"], step["status"]) for step in view["plan"]["steps"]] == [("email.send", "completed")]
