"""What the Temporal Web UI shows of a run. What people and strangers wrote stands in code only."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retinue.conversation import Message, Role
from workflows.messages import (
    ApprovalKind,
    ApprovalStatus,
    ApprovalView,
    AssistantStatus,
    AssistantView,
    PlanView,
    StepConsent,
    StepStatus,
    StepView,
    UndoStep,
    Vote,
    WorkerWait,
)
from workflows.rules import card as cards
from workflows.rules.card import Card, CardLine, CardOrigin, destinations
from workflows.rules.policy import AtExpiry
from workflows.run.web_ui import current_details

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HOSTILE = "x` **bold**\n# Approved\n```\n[link](http://evil.example)"


def step(step_id: str, status: StepStatus = StepStatus.COMPLETED, **more: Any) -> StepView:
    fields = {"tool": "email.send", "capability": "email", "args": {}, "depends_on": []} | more
    return StepView(id=step_id, status=status, **fields)


def approval(**more: Any) -> ApprovalView:
    fields: dict[str, Any] = {
        "id": "ap-s1",
        "step_id": "s1",
        "tool": "email.send",
        "title": "Send a mail",
        "args": {},
        "args_hash": "a" * 64,
        "preview": "Send a mail",
        "reasons": ["it reaches other people or systems"],
        "origins": [],
        "asked_at": NOW,
        "status": ApprovalStatus.PENDING,
    }
    return ApprovalView(**(fields | more))


def details(*steps: StepView, **more: Any) -> str:
    said = [Message(role=Role.USER, text="Mail")]
    plan = PlanView(steps=list(steps)) if steps else None
    return current_details(
        AssistantView(id="a-1", status=AssistantStatus.RUNNING, message="Mail", messages=said, plan=plan, **more)
    )


def test_an_approval_of_several_people_says_who_and_until_when() -> None:
    shown = details(
        approvals=[
            approval(
                approvers=2,
                votes=[Vote(by="anna", at=NOW)],
                by=["anna", "ben"],
                not_the_requester=True,
                expires_at=NOW,
                at_expiry=AtExpiry.DENY,
            )
        ]
    )
    assert "1 of 2 people have approved (`anna`)." in shown
    assert "May decide: `anna`, `ben`, but not the requester." in shown
    assert "Expires 2026-11-27 12:00:00 UTC, then: deny." in shown
    assert "by a signal" not in shown  # it would be refused


def test_an_approval_of_one_person_can_be_given_by_a_signal() -> None:
    assert '{"approval_id": "ap-s1",' in details(approvals=[approval()])


def test_a_used_up_budget_and_a_plan_are_asked_like_actions() -> None:
    budget = approval(kind=ApprovalKind.BUDGET, title="The budget is used up", reasons=["2 of 2 steps of this run"])
    plan = approval(kind=ApprovalKind.PLAN, title="Run this plan", preview="s1 (email):\n    Send a mail")
    assert "Used up: 2 of 2 steps of this run." in details(approvals=[budget])
    assert "### Approve? Run this plan\n```text\ns1 (email):" in details(approvals=[plan])


def test_a_missing_worker_is_named_with_the_choices() -> None:
    waiting = WorkerWait(capability="email", since=NOW, steps=["s1"], times_out_at=NOW + timedelta(days=1))
    shown = details(step("s1", StepStatus.AWAITING_WORKER), waiting_for=[waiting])
    assert "### No worker of `email`" in shown
    assert "until 2026-11-28 12:00:00 UTC at most" in shown
    assert "bin/retinue choose a-1 s1 wait|skip|fail" in shown


def test_steps_say_how_they_were_allowed_held_kept_and_taken_back() -> None:
    shown = details(
        step("s1", consent=StepConsent(how="grant", rule="r", grant_id="g-1")),
        step("s2", StepStatus.PENDING, held_until=NOW),
        step("s3", reused_from="a-0"),
        step("s4", StepStatus.UNDONE),
        undo=[
            UndoStep(step_id="s4", tool="tasks.add", title="Add", undo="tasks.remove", status="undone"),
            UndoStep(step_id="s1", tool="email.send", title="Send", status="impossible", error="nothing"),
        ],
    )
    assert "- `s1` `email.send`: done (grant `g-1`)" in shown
    assert "- `s2` `email.send`: **held until 2026-11-27 12:00:00 UTC; a cancel still stops it**" in shown
    assert "- `s3` `email.send`: done (by assistant `a-0`)" in shown
    assert "- `s4` `tasks.add`: undone by `tasks.remove`" in shown
    assert "- `s1` `email.send`: **cannot be undone**" in shown


def test_an_agents_calls_stand_under_the_step_that_was_delegated() -> None:
    shown = details(step("s1"), step("s2"), step("s1.1", parent="s1"), step("s9.1", parent="forgotten"))
    assert re.findall(r"^ *- `([\w.]+)`", shown, re.MULTILINE) == ["s1", "s1.1", "s2", "s9.1"]
    assert "\n    - `s1.1`" in shown


@pytest.mark.parametrize(
    "more",
    [
        {"approvals": [approval(preview=HOSTILE)]},
        {"approvals": [approval(approvers=2, votes=[Vote(by=HOSTILE, at=NOW)], by=["*"])]},
        {"question": HOSTILE},
        {"reply": HOSTILE},
        {"undo": [UndoStep(step_id="s1", tool="a.b", title=HOSTILE, status="failed", error=HOSTILE)]},
    ],
)
def test_foreign_words_stand_in_code_only(more: dict[str, Any]) -> None:
    shown = re.sub(r"```text\n.*?\n```|```json\n.*?\n```|`[^`\n]*`", "", details(**more), flags=re.DOTALL)
    assert "evil.example" not in shown
    assert "**bold**" not in shown


def test_where_values_came_from_and_undo_stand_below_an_approval() -> None:
    origin = CardOrigin(label="to", value="ana@example.com", words="typed by you", trusted=True)
    shown = details(approvals=[approval(card=Card(origins=[origin], undo="It cannot be undone."))])
    assert "Where the values come from:\n- to ana@example.com: typed by you\nIt cannot be undone." in shown


def test_no_destination_is_cut() -> None:
    to = [f"guest{number}@{'x' * 50}.example" for number in range(100)]
    card = Card(lines=[CardLine(argument="/to", label="to", role=cards.Role.DESTINATION, values=to)])
    shown = details(approvals=[approval(card=card, preview=f"{destinations('Send a mail', card)}\nbody: {'b' * 9000}")])
    assert "".join(shown.split()).count(f"@{'x' * 50}.example") == 100
    assert "[cut: " in shown


def test_a_large_plan_is_rendered_in_no_time() -> None:
    steps = [step(f"s{n}", consent=StepConsent(how="automatic", rule="reads")) for n in range(1000)]
    started = time.perf_counter()
    details(*steps)
    assert time.perf_counter() - started < 0.5
