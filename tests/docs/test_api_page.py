"""docs/api.md names every role with its permissions, and its example runs. Its routes are a generated table."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from api.app import create_app
from api.auth.principals import ALLOWS, Permission
from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer, serving
from tests.conftest import Stack

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")


def test_every_role_stands_there_with_what_it_may_do() -> None:
    told = {
        role: {Permission(name) for name in re.findall(r"`([a-z]+)`", line)}
        for role, line in re.findall(r"^\| (owner|approver|operator|auditor) \| (.*) \|$", PAGE, re.MULTILINE)
    }
    assert told == {str(role): set(permissions) for role, permissions in ALLOWS.items()}


async def test_the_first_conversation_runs(stack: Stack) -> None:
    message = "Email team@example.com that lunch is at noon"
    lunch = {"to": ["team@example.com"], "subject": "Lunch", "body": "Lunch is at noon."}
    plan = plan_answer([{"id": "s1", "tool": "email.send", "args": lunch}])
    stack.model.script(message, plan, replies=[Answer("The mail is sent.")])
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    async with serving(create_app(ApiSettings(), client=stack.temporal)) as door:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", example.replace("http://127.0.0.1:8000", door)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, problem = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, problem.decode()[-2000:]
    words = said.decode()
    assert "to: team@example.com" in words
    assert "The mail is sent." in words
    assert "email.send" in words.partition("The mail is sent.")[2]
