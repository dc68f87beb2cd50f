"""What the demonstration rests on: a stack without settings from outside, and a look into the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli import private_stack
from cli.demo import RECIPIENT, check_mailbox
from cli.exits import CommandError


def _mailbox(path: Path, recipients: Sequence[str], effects: int) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE messages (folder TEXT, recipients JSON)")
        connection.execute("CREATE TABLE ledger (tool TEXT)")
        rows = [("SENT", f'["{address}"]') for address in recipients]
        connection.executemany("INSERT INTO messages VALUES (?, ?)", [*rows, ("INBOX", f'["{RECIPIENT}"]')])
        connection.executemany("INSERT INTO ledger VALUES ('email.send')", [()] * effects)
    connection.close()
    return path


def test_one_mail_and_one_effect_are_right(tmp_path: Path) -> None:
    check_mailbox(_mailbox(tmp_path / "email.db", [RECIPIENT], 1))


@pytest.mark.parametrize(
    ("recipients", "effects"),
    [([], 0), ([RECIPIENT] * 2, 2), ([RECIPIENT], 2), (["other@example.com"], 1), ([RECIPIENT], 0)],
)
def test_anything_else_is_a_failure(tmp_path: Path, recipients: list[str], effects: int) -> None:
    with pytest.raises(CommandError):
        check_mailbox(_mailbox(tmp_path / "email.db", recipients, effects))


def test_a_store_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"email\.db cannot be read"):
        check_mailbox(tmp_path / "email.db")


def test_nothing_configured_outside_reaches_the_private_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "activities" / "email").mkdir(parents=True)
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://model\nTEMPORAL_NAMESPACE=work\nEDITOR=vi\n")
    monkeypatch.setattr(private_stack, "ROOT", tmp_path)

    found = private_stack.isolated({"PATH": "/bin", "OPENAI_API_KEY": "sk", "EMAIL_DATABASE_URL": "sqlite:///mine.db"})

    assert found == {"PATH": "/bin", "OPENAI_BASE_URL": "", "TEMPORAL_NAMESPACE": "default"}
