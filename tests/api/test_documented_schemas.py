"""What the documented schemas allow is what the routes take: each of these is refused by both."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conftest import Stack

CRON = {"cron": "0 8 * * mon-fri"}
SAYS = {"message": "hello"}
BRIEFING = {**SAYS, "plan": "briefing"}


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("assistants", "StartBody", {"message": ""}),
        ("assistants", "StartBody", {"message": " \n"}),
        ("assistants", "StartBody", {**SAYS, "plan": "none"}),
        ("assistants", "StartBody", {**SAYS, "plan_args": {"place": "Ghent"}}),
        ("assistants", "StartBody", {**BRIEFING, "plan_args": {"town": "Ghent"}}),
        ("assistants", "StartBody", {**BRIEFING, "preview": True}),
        ("assistants", "StartBody", {**BRIEFING, "mode": "chat"}),
        ("assistants", "StartBody", {**BRIEFING, "policy": "strict"}),
        ("assistants", "StartBody", {**BRIEFING, "budget": {"steps": 1}}),
        ("assistants", "StartBody", {**SAYS, "preview": 1}),
        ("assistants", "StartBody", {**SAYS, "wait_seconds": "5"}),
        ("assistants", "StartBody", {**SAYS, "wait_seconds": False}),
        ("assistants", "StartBody", {**SAYS, "budget": {"requests": "5"}}),
        ("assistants", "StartBody", {**SAYS, "budget": {"cost": 0}}),
        ("schedules", "ScheduleBody", CRON),
        ("schedules", "ScheduleBody", {**CRON, **BRIEFING}),
        ("schedules", "ScheduleBody", {**CRON, "plan": "briefing", "policy": "strict"}),
        ("schedules", "ScheduleBody", {**CRON, **SAYS, "plan_args": {"place": "Ghent"}}),
        ("schedules", "ScheduleBody", {**CRON, **SAYS, "catch_up_seconds": "60"}),
        ("grants", "GrantBody", {"tool": "email.send", "args": {"to": ["*"]}}),
        ("grants", "GrantBody", {"tool": "email.send", "args": {}, "uses": 0}),
        ("grants", "GrantBody", {"tool": "email.send", "args": {}, "uses": True}),
        ("chat/completions", "ChatBody", {"model": "retinue", "messages": [{"role": "user"}], "stream": 1}),
        ("responses", "ResponseBody", {"model": "retinue", "input": []}),
        ("responses", "ResponseBody", {"model": "retinue", "input": ""}),
        ("responses", "ResponseBody", {"model": "retinue", "input": "hello", "background": 0}),
    ],
)
async def test_a_wrong_body_is_wrong_by_its_schema_and_by_its_route(
    stack: Stack, path: str, name: str, body: dict[str, Any]
) -> None:
    document = (await stack.http.get("/openapi.json")).json()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    assert not Draft202012Validator(schema).is_valid(body)
    assert (await stack.http.post(f"/v1/{path}", json=body)).status_code == 422


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("StartBody", SAYS),
        ("StartBody", {**BRIEFING, "plan_args": {"place": "Ghent"}, "mode": "task", "preview": False}),
        ("StartBody", {**SAYS, "plan": None, "wait_seconds": 2.5, "budget": {"requests": 5}}),
        ("ScheduleBody", {**CRON, **SAYS}),
        ("ScheduleBody", {**CRON, "plan": "briefing"}),
        ("GrantBody", {"tool": "email.send", "args": {"/to": ["*@example.org"], "/cc": []}, "uses": 3}),
        ("ResponseBody", {"model": "retinue", "input": [{"role": "user", "content": "hello"}]}),
    ],
)
async def test_a_right_body_is_right_by_its_schema(stack: Stack, name: str, body: dict[str, Any]) -> None:
    document = (await stack.http.get("/openapi.json")).json()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    assert list(Draft202012Validator(schema).iter_errors(body)) == []
