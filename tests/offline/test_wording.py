"""What the offline model says of each tool's result: a sentence for people, without ids."""

from __future__ import annotations

from typing import Any

import pytest

import activities
from offline.wording import reply
from offline.wording.reply import report_steps

SENT = {"message_id": "<1@retinue.example>", "status": "sent", "delivery": "smtp", "to": ["tom@example.com"]}
LUNCH = {"event_id": "e1", "title": "Lunch", "start": "2026-11-27T12:00:00Z", "end": "2026-11-27T13:00:00Z"}
TOOLS = [
    tool
    for name in activities.folders()
    if name not in ("a2a", "mcp")
    for tool in activities.load(name).CONTRACT.manifest().tools
    if tool.plannable
]


def said(*steps: tuple[str, dict[str, Any]]) -> str:
    """The answer about completed steps."""
    return report_steps([{"tool": tool, "status": "completed", "result": result} for tool, result in steps], "UTC")


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
def test_a_step_that_failed_is_named_in_words(tool: str) -> None:
    text = report_steps([{"tool": tool, "status": "failed", "error": "the service is away"}], "UTC")
    assert tool not in text
    assert text.endswith("failed: the service is away.")


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS if not tool.annotations.read_only])
def test_every_effect_has_its_sentence(tool: str) -> None:
    assert tool in reply._WRITERS


@pytest.mark.parametrize(
    ("tool", "result", "words"),
    [
        ("email.reply", SENT | {"subject": "Re: The boiler"}, 'The mail "Re: The boiler" to tom@example.com was sent.'),
        ("email.forward", SENT | {"subject": "Fwd: Hi"}, 'The mail "Fwd: Hi" to tom@example.com was sent.'),
        ("email.invite", SENT | {"subject": "Lunch"}, 'The mail "Lunch" to tom@example.com was sent.'),
        ("email.answer_invitation", SENT | {"subject": "Accepted: Lunch"}, 'The mail "Accepted: Lunch" to tom@example.com was sent.'),
        ("email.save_attachment", {"file_id": "f", "name": "lease.txt", "saved": True}, 'The file "lease.txt" is saved.'),
        ("email.save_attachment", {"file_id": "f", "name": "lease.txt", "saved": False}, 'The file "lease.txt" was already saved.'),
        ("email.delete_file", {"file_id": "f", "name": "lease.txt"}, 'The file "lease.txt" is deleted.'),
        ("calendar.add_invitation", LUNCH, "The event is in your calendar: Friday 27 November 2026, 12:00 to 13:00: Lunch."),
        ("calendar.move_event", LUNCH, "The event is changed: Friday 27 November 2026, 12:00 to 13:00: Lunch."),
        ("calendar.update_from_invitation", {"event_id": "e", "title": "Lunch", "status": "removed"}, 'The event "Lunch" is removed.'),
        ("calendar.delete_events", {"deleted": [LUNCH], "remaining": []}, 'Deleted: "Lunch".'),
        (
            "calendar.delete_events",
            {"deleted": [], "remaining": [{"event_id": "e", "why": "it changed meanwhile"}]},
            "Nothing was deleted. 1 was not deleted: it changed meanwhile.",
        ),
        ("tasks.delete_many", {"deleted": [{"title": "Milk"}, {"title": "Eggs"}]}, 'Deleted: "Milk", "Eggs".'),
        ("tasks.delete_list", {"deleted": []}, "Nothing was deleted."),
        ("tasks.move", {"task_id": "t", "title": "Milk", "list": None}, 'The task "Milk" is on the other list now.'),
        ("tasks.rename_list", {"list": "food", "to": "groceries", "tasks": 2}, 'The list "groceries" is called "food" now.'),
        ("memory.remember", {"created": True, "kind": "home_place", "text": "Porto"}, "I will remember where you live: Porto."),
        ("memory.remember", {"created": True, "kind": "fact", "text": "I ski"}, 'I will remember this: "I ski".'),
        ("memory.correct", {"fact_id": "f", "text": "Home is Porto"}, 'I will remember this instead: "Home is Porto".'),
    ],
)  # fmt: skip
def test_a_result_is_told(tool: str, result: dict[str, Any], words: str) -> None:
    assert said((tool, result)) == words


def test_a_skipped_time_names_the_next_one() -> None:
    text = said(("tasks.skip", {"task_id": "t", "title": "Bins", "due": "2026-12-04", "skipped": "2026-11-27"}))
    assert text == "That time is left out; the next one is: Bins, due Friday 4 December 2026."


def test_a_search_that_only_found_the_answered_mail_is_left_out() -> None:
    found = {"messages": [{"message_id": "<0@x>", "subject": "The boiler", "from": "tom@example.com"}]}
    assert said(("email.search", found), ("email.reply", SENT)) == "The mail to tom@example.com was sent."
