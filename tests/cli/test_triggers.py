"""The commands of triggers: how options become a trigger."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.triggers import commands


def test_every_command_has_an_example() -> None:
    for command in commands.registered_commands:
        assert "Example: bin/retinue triggers" in ((command.callback and command.callback.__doc__) or "")


@pytest.mark.parametrize(("option", "value"), [("--event", "sms"), ("--quiet", "22:00")])
def test_a_wrong_option_is_wrong_usage(option: str, value: str) -> None:
    result = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9", "triggers", "add", "Tell me", option, value])
    assert result.exit_code == 2, result.output
