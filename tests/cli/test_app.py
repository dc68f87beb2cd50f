"""The command as a person starts it: from any folder, through links, with files of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from activities.reasoning import contract
from api import models
from api.routes.grants import GrantList, GrantShown
from cli import views
from cli.app import app
from cli.local import api_url
from retinue.settings import ROOT
from tests.cli.conftest import Run
from workflows import messages, origins, standing

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


def test_what_the_commands_read_is_what_the_api_shows() -> None:
    shown: dict[type[BaseModel], type[BaseModel]] = {
        views.Assistant: models.Assistant,
        views.AssistantSummary: models.AssistantSummary,
        views.AssistantPage: models.AssistantPage,
        views.InboxItem: models.InboxItem,
        views.Inbox: models.Inbox,
        views.Capability: models.CapabilityState,
        views.Health: models.Health,
        views.Step: messages.StepView,
        views.Approval: messages.ApprovalView,
        views.Origin: origins.Origin,
        views.StepError: messages.StepError,
        views.StepConsent: messages.StepConsent,
        views.PlanCard: messages.PlanCard,
        views.Vote: messages.Vote,
        views.Offer: standing.Scope,
        views.WorkerWait: messages.WorkerWait,
        views.Budget: messages.BudgetView,
        views.UndoStep: messages.UndoStep,
        views.Message: contract.Message,
        views.Usage: contract.Usage,
        views.Grant: GrantShown,
        views.GrantList: GrantList,
    }
    for read, written in shown.items():
        assert set(read.model_fields) <= set(written.model_fields), read.__name__
