"""Logging in and out, and that a key goes where it belongs and nowhere else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cli import credentials
from cli.exits import ExitCode
from tests.cli.conftest import ME, FakeApi, Run

KEY = "rtn_0123456789"


def test_a_key_is_stored_for_the_person_alone_and_used_from_then_on(
    retinue: Run, api: FakeApi, nobody_is_logged_in: Path
) -> None:
    api.wanted_key = KEY
    result = retinue("login", "--key-stdin", input=f"{KEY}\n")
    assert result.exit_code == 0, result.output
    assert "You are anna of quay." in result.stdout
    assert "You may: ask, read." in result.stdout
    assert KEY not in result.output
    file = nobody_is_logged_in / "retinue/login.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert json.loads(file.read_text()) == {"url": api.url, "api_key": KEY}
    assert json.loads(retinue("whoami", "--json").stdout) == ME
    assert retinue("whoami", "--json", env={"RETINUE_API_KEY": "rtn_other"}).exit_code == ExitCode.NOT_ALLOWED
    assert retinue("logout").stdout == "Removed.\n"
    assert retinue("whoami").exit_code == ExitCode.NOT_ALLOWED
    assert json.loads(retinue("logout", "--json").stdout) == {"removed": False}


def test_a_stored_address_is_the_one_that_is_asked(retinue: Run, api: FakeApi) -> None:
    assert retinue("login").exit_code == 0
    assert retinue("--url", "", "whoami", env={"RETINUE_URL": ""}).exit_code == 0
    assert len(api.credentials) == 2


def test_a_stack_for_one_person_says_that_no_key_is_needed(retinue: Run, api: FakeApi) -> None:
    result = retinue("login")
    assert result.exit_code == 0
    assert "no key is needed" in result.stdout
    assert api.credentials == [None]
    assert (credentials.stored() or credentials.Login(url="")).api_key is None


def test_a_stored_key_goes_to_its_own_address_only(retinue: Run, api: FakeApi) -> None:
    credentials.store(credentials.Login.model_validate({"url": f"{api.url}0", "api_key": KEY}))
    retinue("whoami")
    assert api.credentials == [None]


def test_a_wrong_key_is_not_stored(retinue: Run, api: FakeApi) -> None:
    api.wanted_key = KEY
    result = retinue("login", "--key-stdin", input="rtn_wrong")
    assert result.exit_code == ExitCode.NOT_ALLOWED
    assert "not valid" in result.stderr
    assert credentials.stored() is None


def test_without_a_terminal_a_key_is_not_asked_for(retinue: Run, api: FakeApi) -> None:
    api.wanted_key = KEY
    result = retinue("login")
    assert result.exit_code == ExitCode.WRONG_USAGE
    assert "--key-stdin" in result.stderr


def test_a_key_is_not_sent_unencrypted_to_another_machine(retinue: Run) -> None:
    result = retinue("--url", "http://retinue.invalid", "login", "--key-stdin", input=KEY)
    assert result.exit_code == ExitCode.WRONG_USAGE
    assert "not encrypted" in result.stderr


@pytest.mark.parametrize("content", ["{", '{"url": 1}', ""])
def test_a_file_that_cannot_be_read_says_what_to_do(retinue: Run, content: str) -> None:
    credentials.path().parent.mkdir(parents=True)
    credentials.path().write_text(content)
    result = retinue("whoami")
    assert result.exit_code == ExitCode.FAILED
    assert "bin/retinue logout" in result.stderr
    assert retinue("logout").exit_code == 0


@pytest.mark.parametrize(("status", "code"), [(401, 5), (403, 5), (404, 1), (409, 1), (422, 1), (500, 1)])
@pytest.mark.parametrize("command", [("show", "a-1"), ("ask", "hello", "--no-wait")])
def test_an_error_has_the_same_exit_code_everywhere(
    retinue: Run, api: FakeApi, command: tuple[str, ...], status: int, code: int
) -> None:
    api.refusal = (status, "because")
    result = retinue(*command)
    assert (result.exit_code, "because" in result.stderr) == (code, True)
