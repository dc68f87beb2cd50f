"""The stand-in model where a request lists only some tools: it asks for the one that it looked for, once."""

from __future__ import annotations

import json
from typing import Any

from activities.reasoning.contract import PlanRequest
from activities.reasoning.offering import Catalog
from activities.reasoning.prompts import for_plan
from bench.many_tools import manifests as invented
from offline.answers import complete
from offline.protocol import ChatRequest
from retinue.capability import Manifest
from retinue.conversation import Message, Role

from .conftest import NOW, ZONE

BUDGET = 800
"""Enough for the tools of writing and a few others."""


def plan(manifests: list[Manifest], text: str, needed: list[str]) -> dict[str, Any]:
    """The plan for a request that shows few tools of many."""
    said = [Message(role=Role.USER, text=text)]
    request = PlanRequest.model_validate({"messages": said, "timezone": ZONE, "now": NOW, "needed": needed})
    offer = Catalog([*manifests, *invented()]).offer(request, budget=BUDGET)
    form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    asked = {"model": "offline", "messages": for_plan(request, offer), "response_format": form}
    found: dict[str, Any] = json.loads(complete(ChatRequest.model_validate(asked)).text)
    return found


def test_it_asks_for_a_tool_that_is_not_listed_and_then_plans(manifests: list[Manifest]) -> None:
    few = [
        one.model_copy(update={"tools": [spec.model_copy(update={"examples": ()}) for spec in one.tools]})
        for one in manifests
    ]
    text = "Will it rain in Lisbon on Friday?"
    first = plan(few, text, [])
    assert (first["steps"], first["need"]) == ([], ["weather.forecast"])
    second = plan(few, text, first["need"])
    assert [step["tool"] for step in second["steps"]] == ["weather.forecast"]


def test_it_asks_only_once(manifests: list[Manifest]) -> None:
    others = [one for one in manifests if one.name != "weather"]
    text = "What's the weather in Lisbon on Friday?"
    assert plan(others, text, [])["need"] == ["weather.forecast"]
    again = plan(others, text, ["weather.forecast"])
    assert (again["steps"], again.get("need")) == ([], None)
    assert "weather" in again["reply"]
