"""Secrets of accounts at rest: sealed, bound to their row, under keys that rotate and may get lost."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from accounts.__main__ import main
from accounts.sealing import KeySource, Sealer, Unreadable, key_of
from retinue.accounts.caller_keys import SEAL_FILE
from retinue.accounts.wire import AccountState, BeginOAuth, FinishOAuth
from retinue.errors import RetinueError, ServiceRefused
from retinue.temporal import keyring
from tests.accounts.service import ANNA, BEN, Service, service


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTS_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'accounts.db'}")
    return tmp_path


@pytest.fixture
async def accounts(data: Path) -> AsyncIterator[Service]:
    async with service(data) as running:
        yield running


def rows(data: Path, query: str, *values: object) -> list[tuple[str, ...]]:
    with sqlite3.connect(data / "accounts.db") as database:
        return list(database.execute(query, values))


async def readyz(accounts: Service) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=accounts.url) as client:
        found: dict[str, Any] = (await client.get("/readyz")).json()
        return found


def fixed(*lines: str) -> Sealer:
    return Sealer(KeySource.fixed(keyring.parse_keys(",".join(lines), kind="test")))


def test_a_sealed_secret_opens_for_its_person_and_account_alone() -> None:
    sealer = fixed(keyring.new_key())
    sealed = sealer.seal("secret", person=ANNA, account_id="1")
    assert sealer.open(sealed, person=ANNA, account_id="1") == "secret"
    for person, account_id in ((BEN, "1"), (ANNA, "2"), (f'{ANNA}","1', "1")):
        with pytest.raises(Unreadable):
            sealer.open(sealed, person=person, account_id=account_id)
    assert sealer.seal("secret", person=ANNA, account_id="1") != sealed, "a nonce for each"


@pytest.mark.parametrize("change", ["", "v1", "v1.", "v1.x.k", "v2.{0}", "{0}x", "x{0}"])
def test_what_was_changed_is_not_opened(change: str) -> None:
    sealer = fixed(keyring.new_key())
    sealed = sealer.seal("secret", person=ANNA, account_id="1")
    with pytest.raises(Unreadable):
        sealer.open(change.format(sealed), person=ANNA, account_id="1")


def test_an_older_key_opens_and_the_first_one_seals() -> None:
    old, new = f"a.b-1:{keyring.new_key().partition(':')[2]}", f"a.b-2:{keyring.new_key().partition(':')[2]}"
    sealed = fixed(old).seal("secret", person=ANNA, account_id="1")
    both = fixed(new, old)
    assert both.open(sealed, person=ANNA, account_id="1") == "secret"
    assert key_of(both.seal("secret", person=ANNA, account_id="1")) == "a.b-2"
    with pytest.raises(Unreadable, match="key is missing"):
        fixed(new).open(sealed, person=ANNA, account_id="1")


async def test_the_key_file_is_private_and_made_once(data: Path) -> None:
    async with service(data):
        made = (data / SEAL_FILE).read_text()
        assert (data / SEAL_FILE).stat().st_mode & 0o777 == 0o600
    async with service(data) as accounts:
        assert (data / SEAL_FILE).read_text() == made
        assert (await readyz(accounts)) == {"status": "ok", "problems": []}


async def test_a_key_file_that_others_can_read_is_said(accounts: Service) -> None:
    (accounts.data / SEAL_FILE).chmod(0o644)
    [problem] = (await readyz(accounts))["problems"]
    assert "can be read by others" in problem


async def test_a_rotation_under_a_running_service_loses_nothing(
    accounts: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    await accounts.connect_calendar(ANNA, "work")
    await accounts.connect_calendar(BEN, "work")
    old = (accounts.data / SEAL_FILE).read_text()
    assert await command("rotate") == 0
    assert "2 secrets" in capsys.readouterr().out
    ring = keyring.parse_keys((accounts.data / SEAL_FILE).read_text(), kind="test")
    assert len(ring.keys) == 2
    assert {key_of(sealed) for (sealed,) in rows(accounts.data, "SELECT sealed FROM account")} == {ring.primary}
    assert await accounts.connection(ANNA) is not None
    (accounts.data / SEAL_FILE).write_text((accounts.data / SEAL_FILE).read_text().removesuffix(old))
    assert await accounts.connection(BEN) is not None, "the old key is needed no more"


async def test_a_lost_key_file_is_never_replaced_and_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is lost is said, the rest of the service works, and the restored file brings all back."""
    async with service(data) as accounts:
        account = (await accounts.connect_calendar(ANNA, "work")).account
    kept = data / "kept.keys"
    shutil.move(data / SEAL_FILE, kept)
    async with service(data) as accounts:
        assert not (data / SEAL_FILE).exists()
        shown = await accounts.of(ANNA).get(account.account_id)
        assert shown.state is AccountState.UNREADABLE
        assert "key" in shown.problem
        with pytest.raises(ServiceRefused, match="key is missing"):
            await accounts.connection(ANNA)
        with pytest.raises(ServiceRefused, match="cannot be kept"):
            await accounts.connect_calendar(BEN)
        assert await accounts.connection(BEN) is None
        missing, lost = (await readyz(accounts))["problems"]
        assert "is missing; restore it from a backup" in missing
        assert "1 accounts cannot be read" in lost
        assert await command("rotate") == 2
        assert not (data / SEAL_FILE).exists()
        assert await command("lost") == 1
        assert f"{ANNA}: work (caldav)" in capsys.readouterr().out
        shutil.copy(kept, data / SEAL_FILE)
        assert await accounts.connection(ANNA) is not None


async def command(name: str) -> int:
    return await asyncio.to_thread(main, [name])


async def test_where_the_old_key_is_lost_for_good_a_new_one_begins_and_accounts_are_connected_again(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with service(data) as accounts:
        account = (await accounts.connect_calendar(ANNA, "work")).account
    (data / SEAL_FILE).unlink()
    assert await command("new-key") == 0
    assert f"{ANNA}: work" in capsys.readouterr().out
    made = (data / SEAL_FILE).read_text()
    assert await command("new-key") == 2, "it overwrites none"
    assert (data / SEAL_FILE).read_text() == made
    async with service(data) as accounts:
        await accounts.connect_calendar(BEN)
        assert await accounts.connection(BEN) is not None, "others work"
        assert (await accounts.of(ANNA).get(account.account_id)).state is AccountState.UNREADABLE
        await accounts.connect_calendar(ANNA, account_id=account.account_id)
        assert await accounts.connection(ANNA) is not None
        assert (await readyz(accounts))["status"] == "ok"


async def test_an_account_without_its_key_can_be_revoked(data: Path) -> None:
    async with service(data) as accounts:
        account = (await accounts.connect_calendar(ANNA)).account
    (data / SEAL_FILE).unlink()
    async with service(data) as accounts:
        await accounts.of(ANNA).revoke(account.account_id)
        assert (await accounts.of(ANNA).list()).accounts == []


async def test_exchanged_rows_open_nothing(accounts: Service) -> None:
    """Who can write the database, but has no key, cannot give Ben's secret to Anna."""
    anna = (await accounts.connect_calendar(ANNA)).account
    ben = (await accounts.connect_calendar(BEN)).account
    [(sealed,)] = rows(accounts.data, "SELECT sealed FROM account WHERE account_id = ?", ben.account_id)
    rows(accounts.data, "UPDATE account SET sealed = ? WHERE account_id = ?", sealed, anna.account_id)
    with pytest.raises(ServiceRefused, match="was changed"):
        await accounts.connection(ANNA)
    rows(accounts.data, "UPDATE account SET person = ? WHERE account_id = ?", ANNA, ben.account_id)
    with pytest.raises(ServiceRefused, match="was changed"):
        await accounts.connection(ANNA, account=ben.account_id)


async def test_no_secret_in_a_backup_a_log_a_representation_or_an_answer(
    accounts: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    anna = accounts.of(ANNA)
    account = (await accounts.connect_calendar(ANNA, "work")).account
    begun = await anna.begin_oauth(
        BeginOAuth(provider_id="google", capabilities=["email"], redirect_uri="http://127.0.0.1/back")
    )
    await anna.finish_oauth(FinishOAuth(state=begun.state, code=SecretStr("code-canary-subject")))
    held = [await accounts.connection(ANNA), await accounts.connection(ANNA, "email")]
    problems: list[str] = []
    for wrong in (
        accounts.connection(ANNA, rejected=held[0]),
        accounts.connect_calendar(ANNA, password="canary-wrong"),
        accounts.connect_calendar(ANNA, password="canary-wrong", account_id=account.account_id),
    ):
        try:
            await wrong
        except RetinueError as error:
            problems += [str(error), repr(error), str(error.hint)]
    assert len(problems) == 9
    answers = [
        (await anna.list()).model_dump_json(),
        (await anna.events()).model_dump_json(),
        (await accounts.admin("acme").connections()).model_dump_json(),
        json.dumps(await readyz(accounts)),
    ]
    files = b"".join(file.read_bytes() for file in accounts.data.glob("accounts.db*"))
    root = next(iter(accounts.root.keys.values())).hex()
    for canary in (
        "canary-password",
        "canary-access",
        "canary-refresh",
        "canary-wrong",
        "verifier-",
        begun.state,
        root,
    ):
        assert canary not in caplog.text
        assert canary not in repr(held)
        assert canary not in "".join(problems)
        assert canary not in "".join(answers)
        assert canary.encode() not in files


def test_the_keys_of_callers_are_printed_for_an_operator(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    printed = capsys.readouterr().out
    for name in ("calendar", "contacts", "email", "reasoning"):
        assert f"RETINUE_ACCOUNTS_KEY_{name.upper()}=capability/{name}~" in printed
    assert "RETINUE_ACCOUNTS_KEY_API=people~" in printed
    assert "RETINUE_ACCOUNTS_PASS_KEYS=" in printed
    assert main(["keys"]) == 0
    assert capsys.readouterr().out == printed


def test_an_unknown_command_prints_the_commands(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explode"]) == 2
    assert "python -P -m accounts rotate" in capsys.readouterr().err
