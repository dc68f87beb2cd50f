"""Values that the offline model reads out of a mail, and what it leaves open."""

import json
from typing import Any

import pytest

from offline.answers import complete
from offline.protocol import ChatRequest

FIELDS = [
    {"name": "title", "kind": "text"},
    {"name": "start", "kind": "moment"},
    {"name": "end", "kind": "moment"},
    {"name": "who", "kind": "address"},
    {"name": "price", "kind": "number"},
]


def values(text: str, *, date: str = "2026-11-20T09:00:00+01:00") -> dict[str, Any]:
    mail = {"from": "bob@example.com", "subject": "Re: Invitation: Budget", "date": date, "text": text}
    task = {
        "task": "extract",
        "now": "2026-11-22T12:00:00+00:00",
        "timezone": "Europe/Berlin",
        "instruction": "The meeting.",
        "fields": FIELDS,
        "inputs": [mail],
    }
    request = {
        "model": "offline",
        "messages": [{"role": "system", "content": "Read."}, {"role": "user", "content": json.dumps(task)}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "extract", "schema": {}}},
    }
    found: dict[str, Any] = json.loads(complete(ChatRequest.model_validate(request)).text)
    return found


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("Shall we meet on Tuesday 24 November from 10:00 to 11:30 in room 4? Bring the numbers.", "10:00", "11:30"),
        ("Hello,\n\nlet's meet on 24 November 2026 at 10:00.\n\nBob", "10:00", "11:00"),
        ("Next Tuesday at 10 am works for me", "10:00", "11:00"),
    ],
)
def test_the_only_time_of_a_mail_is_found(text: str, start: str, end: str) -> None:
    found = values(text)
    assert found["start"] == f"2026-11-24T{start}:00+01:00"
    assert found["end"] == f"2026-11-24T{end}:00+01:00"
    assert (found["title"], found["who"], found["price"]) == ("Budget", "bob@example.com", None)


@pytest.mark.parametrize(
    "text",
    [
        "Tuesday 24 November at 10:00 or Wednesday 25 November at 14:00?",
        "Let us meet soon",
        "On 24 November",
        "",
        "at 10:00",
    ],
)
def test_what_is_open_is_left_open(text: str) -> None:
    assert values(text)["start"] is None
