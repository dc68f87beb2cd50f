"""The command as a person starts it: from any folder, through links, with files of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from cli.app import app
from cli.local import api_url
from retinue.settings import ROOT
from tests.cli.conftest import Run

COMMAND = ROOT / "bin/retinue"


@pytest.mark.parametrize("through", ["itself", "relative"])
def test_it_runs_from_any_folder_and_through_links(tmp_path: Path, through: str) -> None:
    (tmp_path / "email.py").write_text("raise SystemExit('a file of the caller was imported')")
    (tmp_path / "absolute").symlink_to(COMMAND)
    (tmp_path / "relative").symlink_to("absolute")
    command = {"itself": str(COMMAND)}.get(through, f"./{through}")

    result = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert result.stdout.startswith("retinue 0.")


def test_a_checkout_without_its_environment_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    copy = tmp_path / "bin/retinue"
    copy.write_text(COMMAND.read_text())
    copy.chmod(0o755)

    result = subprocess.run([copy], capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "make venv" in result.stderr


@pytest.mark.parametrize("command", [("mail", "deliver"), ("calendar", "import"), ("contacts", "import")])
def test_a_file_that_is_not_there_is_wrong_usage(retinue: Run, command: tuple[str, str]) -> None:
    result = retinue(*command, "nowhere.eml")

    assert result.exit_code == 2
    assert "nowhere.eml" in result.stderr


def test_every_command_has_an_example() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: bin/retinue" in (command.callback.__doc__ or ""), command.callback.__name__


def test_the_help_lists_the_exit_codes() -> None:
    assert "3 waits for a person" in CliRunner().invoke(app, ["--help"]).output


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")],
)
def test_the_address_is_that_of_the_local_stack(monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    monkeypatch.setenv("RETINUE_HOST", host)
    monkeypatch.setenv("RETINUE_PORT", "8123")
    assert api_url() == url


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_PORT", "many")

    result = CliRunner().invoke(app, ["list"])

    assert result.exit_code == 2
    assert "RETINUE_PORT" in result.stderr


PRINT_NO_ANSWER = {
    "up",
    "demo",
    "export",
    "mail deliver",
    "calendar import",
    "contacts import",
    "new capability",
    "backup",
    "restore",
}
"""They start something, print files' contents, or tell how an import went."""
PRINT_NO_ANSWER |= {"policy show", "policy check", "memory export"}


def _commands() -> dict[str, Any]:
    top: dict[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009  # the type is a plain command
    inner = {
        f"{name} {word}": one for name, group in top.items() for word, one in getattr(group, "commands", {}).items()
    }
    return {name: command for name, command in top.items() if not hasattr(command, "commands")} | inner


@pytest.mark.parametrize("name", sorted(set(_commands()) - PRINT_NO_ANSWER))
def test_every_command_that_answers_can_do_so_in_json(name: str) -> None:
    assert "--json" in {option for parameter in _commands()[name].params for option in parameter.opts}


@pytest.mark.parametrize(("typed", "completed"), [("appr", {"approvals", "approve"}), ("schedules pa", {"pause"})])
def test_a_shell_completes_commands(typed: str, completed: set[str]) -> None:
    words = f"retinue {typed}"
    asked = {"_RETINUE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = subprocess.run([COMMAND], env=os.environ | asked, capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) == completed
