"""docs/api.md names every route with the permission that it really asks for, and its example runs."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from api.app import create_app
from api.auth.principals import ALLOWS, Permission
from api.deps import Needs
from api.settings import ApiSettings
from retinue.testing import Answer, plan_answer, serving
from tests.conftest import Stack

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z]+) (/[^`]*)` \| `?([a-z-]+)`? \|", re.MULTILINE)


def routes(found: Any) -> Iterator[APIRoute]:
    """Every route, also those of routers that were included."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from routes(getattr(getattr(route, "original_router", route), "routes", []))


def permission(route: APIRoute) -> str:
    asked = [one.dependency.permission for one in route.dependencies if isinstance(one.dependency, Needs)]
    return str(asked[0]) if asked else "-"


def test_every_route_stands_there_with_its_permission() -> None:
    served = {
        (method, route.path, permission(route))
        for route in routes(create_app().routes)
        if route.include_in_schema
        for method in route.methods or ()
    }
    assert set(ROW.findall(PAGE)) == served


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
