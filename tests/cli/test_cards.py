"""Cards and the table: what is said about an approval, and about each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.policies import DEFAULT
from cli.render import waits_for
from retinue.client.models import Origin, Step
from retinue.provenance.wording import origin_words
from retinue.step_order import in_order
from tests.cli.conftest import FakeApi, Run, View, step, view, waiting
from workflows.rules.policy import DEFAULT_POLICY
from workflows.rules.policy_file import parse_policies

FAR = "2099-01-01T00:00:00Z"
OFFER = {"args": {"/to": ["ana@example.com"], "/cc": []}, "closed": False}


@pytest.mark.parametrize(
    ("origin", "alone", "words"),
    [
        ({"source": "user"}, True, "typed by you"),
        ({"source": "user"}, False, "typed by whoever asked"),
        ({"source": "contacts"}, True, "stands in your contacts"),
        ({"source": "contacts", "step_id": "s1", "tool": "contacts.find"}, True, "from step s1 (contacts.find), your "),
        (
            {"source": "own", "step_id": "s1", "tool": "email.draft"},
            True,
            "s1 (email.draft), in which no stranger wrote",
        ),
        (
            {"source": "model", "step_id": "s2", "tool": "reasoning.compose"},
            True,
            "written by the model out of what no ",
        ),
        ({"source": "strangers", "step_id": "s1", "tool": "email.read"}, True, "which may hold the words of strangers"),
        ({"source": "strangers"}, True, "after strangers' words were read"),
        ({"source": "model"}, True, "chosen by the model; you did not type it"),
        ({"source": "something new"}, True, "something new"),
    ],
)
def test_origins_are_told_in_words(origin: View, alone: bool, words: str) -> None:
    assert words in origin_words(Origin.model_validate({"path": "/to/0", "trusted": False} | origin), alone=alone)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"approvers": 2, "votes": [{"by": "anna", "at": FAR}]}, "1 of 2 people have approved: anna."),
        ({"by": ["anna", "ben"], "not_the_requester": True}, "May decide: anna, ben, but not the requester."),
        ({"by": ["*"]}, "May decide: anyone."),
        ({"expires_at": FAR, "at_expiry": "allow"}, "then it is allowed."),
        ({"expires_at": "2026-11-22T12:00:00Z", "overdue": True}, "still pending"),
        ({"reminders": 2, "reminded_at": "2026-11-22T12:00:00Z"}, "Reminders so far: 2, the last "),
        ({"escalated_at": "2026-11-22T12:00:00Z"}, "Escalated "),
        ({}, "to ana@example.com: chosen by the model; you did not type it"),
        ({}, "It cannot be undone."),
        ({"offer": OFFER}, "You have approved this 3 times. --from-now-on will allow: email.send, to exactly "),
        ({"offer": OFFER}, f"bin/retinue approve a-1 ap-s1 --args-hash {'a' * 64} --from-now-on"),
    ],
)
def test_the_card_says_who_decides_until_when_and_what_is_offered(
    retinue: Run, api: FakeApi, more: dict[str, Any], said: str
) -> None:
    api.views = [waiting(**more)]
    assert said in retinue("approvals").stdout


def test_a_grant_goes_with_the_approval_and_is_printed(retinue: Run, api: FakeApi) -> None:
    api.views = [waiting(), waiting(status="approved", grant_id="g-1")]
    result = retinue("approve", "a-1", "--from-now-on", "--uses", "2")
    assert result.exit_code == 1  # the stand-in knows no grants
    assert api.sent[0][1]["grant"] == {"uses": 2}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"status": "pending", "held_until": FAR}, "can still be cancelled"),
        ({"effect": True, "consent": {"how": "grant", "grant_id": "g-1"}}, "by the grant (g-1); cannot be undone"),
        ({"effect": True, "undo": "a.b", "consent": {"how": "automatic", "rule": "mine"}}, "automatic (mine)"),
        (
            {"consent": {"how": "approval", "approval_id": "ap-s1"}, "reused_from": "a-0"},
            "approved (ap-s1); done by a-0",
        ),
        ({"status": "undone", "consent": {"how": "automatic"}}, "undone"),
    ],
)
def test_a_step_says_what_happened_with_it(more: View, words: str) -> None:
    shown = Step.model_validate(step("s1", "email.send", "completed") | more)
    assert words in waits_for(shown, set())


def test_an_agents_calls_follow_their_step() -> None:
    steps = [step("s1", "email.agent", "running"), step("s2", "a.b", "running"), step("s1.1", "a.c", "running")]
    steps[2]["parent"] = "s1"
    lost = step("s9.1", "a.d", "completed", parent="s9")
    ordered = in_order([Step.model_validate(one) for one in [*steps, lost]])
    assert [one.id for one in ordered] == ["s1", "s1.1", "s2", "s9.1"]


def test_lines_show_an_agents_calls_further_right(retinue: Run, api: FakeApi) -> None:
    plan = {"steps": [step("s1", "email.agent", "completed"), step("s1.1", "email.send", "completed", parent="s1")]}
    api.views = [view("completed", plan=plan, reply="Done.")]
    assert "\n    s1.1 email.send" in retinue("show", "a-1", "--follow").stderr


def test_a_budget_and_undone_effects_are_shown(retinue: Run, api: FakeApi) -> None:
    undone = [{"step_id": "s1", "tool": "a.b", "title": "Do it", "status": "failed", "error": "it was changed since"}]
    api.views = [view("completed", budget={"limits": {"steps": 2, "cost": None}, "used": {"steps": 2}}, undo=undone)]
    shown = retinue("show", "a-1").stdout
    assert "Budget: 2 of 2 steps." in shown
    assert "s1 a.b: failed: it was changed since" in shown


def test_the_built_in_policy_is_printed_as_a_file_that_reads_back(retinue: Run) -> None:
    assert parse_policies(retinue("policy", "show").stdout)[DEFAULT] == DEFAULT_POLICY


def test_a_policy_file_is_checked_and_every_mistake_named(retinue: Run, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[policies.mine]\nextends = "default"\nhold = "1m"')
    good = retinue("policy", "check", str(file))
    assert (good.exit_code, "mine: 6 rules" in good.stdout) == (0, True)
    assert 'hold = "1m"' in retinue("policy", "show", "mine", "--file", str(file)).stdout
    assert retinue("policy", "show", "other", "--file", str(file)).exit_code == 2
    file.write_text('[policies.mine]\nextends = "x"\n[policies.other]\nhold = "long"')
    bad = retinue("policy", "check", str(file))
    assert (bad.exit_code, len(bad.stderr.splitlines())) == (1, 2)
    assert retinue("policy", "check", str(tmp_path / "none.toml")).exit_code == 2
