"""The official AG-UI client starts a run, meets the interrupt, resumes it with the decision, and gets the result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from retinue.testing import Answer, plan_answer
from tests.api.protocols.conftest import NewKey
from tests.api.protocols.official import Judges
from tests.conftest import Stack

pytestmark = [pytest.mark.xdist_group("judges"), pytest.mark.timeout(600)]  # the first one installs them
TO = "guest@example.org"
PAGE = Path(__file__).parents[4] / "docs/protocol-ag-ui.md"


async def test_the_official_client_resumes_with_the_decision_and_gets_the_result(
    stack: Stack, judges: Judges, door: str, new_key: NewKey, fresh: Callable[[str], str]
) -> None:
    message = fresh("mail the guest")
    mail = {"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": "Lunch", "body": "at noon"}}
    stack.model.script(message, plan_answer([mail]), replies=[Answer("Sent.")])
    code, said = await judges.run("ag_ui.mjs", f"{door}/ag-ui", await new_key("read", "ask", "decide"), message)
    assert code == 0, said
    told = json.loads(said)
    first, then = told["first"], told["then"]
    assert (first["outcome"], then["outcome"]) == ("interrupt", "success")
    assert told["waiting"] == [first["interrupts"][0]["id"]]
    assert TO in first["interrupts"][0]["message"]
    assert then["kinds"][0] == "RUN_STARTED"
    assert "TOOL_CALL_RESULT" in then["kinds"]
    assert [part["role"] for part in told["said"]] == ["user", "assistant", "tool", "assistant"]
    assert (told["said"][-1]["content"], told["left"]) == ("Sent.", 0)
    assert told["state"]["assistant"]["status"] == "awaiting_input"
    view = await stack.view(told["state"]["assistant"]["id"])
    assert [(step["tool"], step["status"]) for step in view["plan"]["steps"]] == [("email.send", "completed")]


async def test_the_example_of_the_documentation_runs(stack: Stack, judges: Judges, door: str, new_key: NewKey) -> None:
    [example] = re.findall(r"```js\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [message] = re.findall(r'said = "(.*?)"', example)
    mail = {"id": "s1", "tool": "email.send", "args": {"to": [TO], "subject": "Weather", "body": "mild"}}
    stack.model.script(message, plan_answer([mail]), replies=[Answer("Mild and dry; sent.")])
    here = example.replace("http://127.0.0.1:8000", door).replace("rtn_...", await new_key("read", "ask", "decide"))
    code, said = await judges.run(judges.script("example.mjs", here))
    assert code == 0, said
    assert TO in said
    assert said.strip().endswith("Mild and dry; sent.")


def test_the_lock_of_the_judges_names_no_registry() -> None:
    """npm writes where to pay for packages, too: take "funding" out."""
    lock = (PAGE.parents[1] / "tests/api/protocols/judges/package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "://" not in lock
