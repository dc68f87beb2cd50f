"""What is said about tasks and reminders once they are done."""

from typing import Any

import pytest

from offline.wording.reply import report_steps

MUM = {"task_id": "t1", "title": "Call mum", "at": "2026-11-23T08:00:00Z"}
MILK = {"task_id": "t2", "title": "Buy milk", "due": "2026-11-27", "done": False}


def _said(*steps: tuple[str, dict[str, Any]]) -> str:
    reports = [{"tool": f"tasks.{tool}", "status": "completed", "result": result} for tool, result in steps]
    return report_steps(reports, "Europe/Berlin")


@pytest.mark.parametrize(
    ("tool", "result", "said"),
    [
        ("add", MILK, "The task is on your list: Buy milk, due Friday 27 November 2026."),
        (
            "add",
            MILK | {"due": "2026-11-27T14:00:00Z"},
            "The task is on your list: Buy milk, due Friday 27 November 2026, 15:00.",
        ),
        ("complete", MILK | {"done": True, "changed": True}, 'The task "Buy milk" is done.'),
        ("complete", MILK | {"done": True, "changed": False}, 'The task "Buy milk" was already done.'),
        ("reopen", MILK | {"changed": True}, 'The task "Buy milk" is open.'),
        ("delete", {"task_id": "t2", "title": "Buy milk", "deleted": True}, 'The task "Buy milk" is deleted.'),
        (
            "remind",
            MUM | {"status": "planned"},
            'The reminder "Call mum" is set for Monday 23 November 2026, 09:00.',
        ),
        ("cancel_reminder", MUM | {"status": "cancelled"}, 'The reminder "Call mum" is cancelled.'),
        (
            "cancel_reminder",
            MUM | {"status": "reminded"},
            'The reminder "Call mum" had already come on Monday 23 November 2026, 09:00.',
        ),
        ("list", {"tasks": [], "match": None}, "No task was found."),
        (
            "list",
            {"tasks": [MILK, {"task_id": "t1", "title": "Call mum", "remind_at": MUM["at"]}], "match": None},
            "Tasks:\n- Buy milk, due Friday 27 November 2026\n- Call mum, reminder on Monday 23 November 2026, 09:00",
        ),
    ],
)
def test_a_result_is_told(tool: str, result: dict[str, Any], said: str) -> None:
    assert _said((tool, result)) == said


def test_a_list_that_only_found_the_task_is_left_out() -> None:
    done = MILK | {"done": True, "changed": True}

    assert _said(("list", {"tasks": [MILK], "match": MILK}), ("complete", done)) == 'The task "Buy milk" is done.'
