"""Whatever is sent, the server answers soon and does not break."""

import json
import time
from typing import Any

import pytest

from offline.answers import complete
from offline.protocol import ChatRequest

from .conftest import planning_messages

LONG = 20_000
ODD = {
    "one word": "a" * LONG,
    "one letter words": "a " * (LONG // 2),
    "dates": "tomorrow " * (LONG // 9),
    "times": "3pm " * (LONG // 4),
    "conjunctions": "and " * (LONG // 4),
    "requests": "schedule lunch and " * 29,
    "verbs": "schedule " * 60,
    "names": "email " + "Ana and " * 290,
    "quotes": '"' * (LONG - 1),
    "single quotes": "'a" * (LONG // 2),
    "commas": "," * LONG,
    "digits": "1" * LONG,
    "dotted digits": "1." * (LONG // 2),
    "slashes": "1/" * (LONG // 2),
    "at signs": "a@" * (LONG // 2),
    "dots behind an at sign": "a@b" + ".c" * (LONG // 2),
    "places": "weather in " + "Rome, " * 290,
    "titles": "Schedule " + "Lunch " * 50 + "tomorrow at 1pm",
    "moves": "Move " + "to " * 70 + "Friday",
    "emoji": "🍕" * (LONG // 4),
    "marks that combine": "e\u0301" * (LONG // 2),
    "right to left": "\u202eשלום " * (LONG // 6),
    "nothing visible": "\u200b\ufeff" * (LONG // 2),
    "control characters": "\x00\x01\x1f" * 100,
    "lone surrogate": "weather in \ud800",
    "dotted capital I": "WEATHER İN Rome on FRİDAY",
    "a huge number": "in " + "9" * 300 + " days",
    "far years": "weather in Rome on 5 December 9999",
    "year zero": "weather in Rome on 0000-01-01",
    "wide digits": "schedule lunch tomorrow at ３pm",
    "superscript": "schedule lunch in ² days at ³pm",
    "big month": "weather in Rome on 99.99.9999",
}


def _answer(agents: list[dict[str, Any]], *said: str) -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    request = {"model": "offline", "messages": planning_messages(agents, *said), "response_format": wanted}
    plan: dict[str, Any] = json.loads(complete(ChatRequest.model_validate(request)).text)
    return plan


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_text_is_answered_soon(agents: list[dict[str, Any]], text: str) -> None:
    began = time.process_time()
    plan = _answer(agents, text)
    assert time.process_time() - began < 1
    assert plan["question"] or plan["reply"] or plan["steps"]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_an_odd_answer_to_a_question_is_no_trap(agents: list[dict[str, Any]], text: str) -> None:
    began = time.process_time()
    plan = _answer(agents, "Schedule lunch with Ana", "On which day and at what time?", text)
    assert time.process_time() - began < 10
    assert plan["question"] or plan["reply"] or plan["steps"]
