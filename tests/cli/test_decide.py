"""Deciding from the command line: approve, reject, edit, the inbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, Run, approval, done, view, waiting

SHOWN = "a" * 64


@pytest.fixture(autouse=True)
def _waits(api: FakeApi) -> None:
    api.views = [waiting()]


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_decision_prints_the_action_and_is_bound_to_its_hash(retinue: Run, api: FakeApi, decision: str) -> None:
    result = retinue(decision, "a-1", "ap-s1", "--comment", "fine")

    assert result.exit_code == 0
    assert "to: ana@example.com" in result.stdout
    assert api.sent == [("approvals/ap-s1", {"decision": decision, "args_hash": SHOWN, "comment": "fine"})]


def test_the_approval_may_be_left_out_when_exactly_one_waits(retinue: Run, api: FakeApi) -> None:
    assert retinue("approve", "a-1").exit_code == 0
    assert api.sent[0][0] == "approvals/ap-s1"


def test_the_approval_must_be_named_when_several_wait(retinue: Run, api: FakeApi) -> None:
    api.views = [view("awaiting_approval", approvals=[approval(), approval(id="ap-s2")])]

    result = retinue("approve", "a-1")

    assert result.exit_code == 2
    assert "ap-s1, ap-s2" in result.stderr
    assert api.sent == []


def test_a_stale_decision_shows_the_api_s_detail(retinue: Run, api: FakeApi) -> None:
    api.refused_decision = (409, "args_hash does not match the current arguments of approval ap-s1")

    result = retinue("approve", "a-1", "ap-s1", "--args-hash", "b" * 64)

    assert result.exit_code == 1
    assert result.stderr == "args_hash does not match the current arguments of approval ap-s1\n"
    assert api.sent[0][1]["args_hash"] == "b" * 64


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("to=bob@example.com, eve@example.com", "to", ["bob@example.com", "eve@example.com"]),
        ('to=["bob@example.com"]', "to", ["bob@example.com"]),
        ("subject=42", "subject", "42"),
        ("subject=a=b", "subject", "a=b"),
        ("copies=3", "copies", 3),
        ("urgent=true", "urgent", True),
        ("urgent=null", "urgent", None),
        ("folder=true", "folder", "true"),
    ],
)
def test_set_gives_each_value_the_type_of_the_schema(
    retinue: Run, api: FakeApi, setting: str, name: str, value: Any
) -> None:
    assert retinue("edit", "a-1", "--set", setting).exit_code == 0

    [(_, body)] = api.sent
    assert body["decision"] == "edit"
    assert body["args"] == {"to": ["ana@example.com"], "subject": "Hello", "body": "Hi"} | {name: value}
    assert body["args_hash"] == SHOWN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "subject"), "NAME=VALUE"),
        (("--set", "colour=red"), "there is no argument 'colour'; there are to, subject"),
        (("--set", "copies=many"), "copies must be integer"),
        (("--args", "{"), "not JSON"),
        (("--args", "[]"), "must be a JSON object"),
        (("--args", "{}", "--set", "copies=1"), "not both"),
    ],
)
def test_an_edit_that_cannot_be_read_is_not_sent(
    retinue: Run, api: FakeApi, arguments: tuple[str, ...], said: str
) -> None:
    result = retinue("edit", "a-1", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert api.sent == []


def test_edit_opens_the_editor_and_sends_what_it_leaves(retinue: Run, api: FakeApi, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i.bak s/Hello/Goodbye/ "$1"\n')
    editor.chmod(0o700)

    assert retinue("edit", "a-1", env={"EDITOR": str(editor), "VISUAL": ""}).exit_code == 0
    assert api.sent[0][1]["args"]["subject"] == "Goodbye"


def test_an_editor_that_changes_nothing_sends_nothing(retinue: Run, api: FakeApi) -> None:
    result = retinue("edit", "a-1", env={"EDITOR": "true", "VISUAL": ""})

    assert result.exit_code == 0
    assert "nothing was sent" in result.stderr
    assert api.sent == []


def test_the_inbox_shows_every_preview_and_how_to_decide(retinue: Run) -> None:
    result = retinue("approvals")

    assert "say hello" in result.stdout
    assert "subject: Hello" in result.stdout
    assert "bin/retinue reject a-1 ap-s1" in result.stdout


def test_an_empty_inbox_says_so(retinue: Run, api: FakeApi) -> None:
    api.views = [done()]
    assert retinue("approvals").stdout == "No pending approvals.\n"
