"""The accounts service on PostgreSQL: its own tests, and two replicas that are one service."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from accounts.app import create_app
from accounts.settings import AccountsServiceSettings
from retinue.accounts import caller_keys
from retinue.accounts.connection import Connection
from retinue.accounts.wire import BeginOAuth, FinishOAuth
from retinue.errors import InvalidArguments, ServiceRefused
from retinue.temporal.keyring import new_key, parse_keys
from retinue.testing import serving
from tests.accounts import test_service
from tests.accounts.emulators import REDIRECT, Emulators, emulators
from tests.accounts.service import ANNA, ScriptedOAuth, ScriptedServers, Service, service
from tests.accounts.test_oauth_in_service import connect, mail, process, refreshes, setting
from tests.databases.borrowed import borrowed, rows

__all__ = ["emulators", "setting"]

globals().update(borrowed(test_service, "accounts", "monkeypatch", at_least=25))


@pytest.fixture
async def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_url: str) -> AsyncIterator[Service]:
    """The service of the borrowed tests."""
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    async with service(
        tmp_path, accounts_database_url=postgresql_url, retinue_accounts_seal_keys=SecretStr(new_key())
    ) as running:
        yield running


@asynccontextmanager
async def replicas(url: str, folder: Path, oauth: ScriptedOAuth, **own: Any) -> AsyncIterator[list[Service]]:
    """Two services over one database, with the same keys by variables and no common folder."""
    root, seal = new_key(), new_key()
    settings = [
        AccountsServiceSettings.model_validate(
            {
                "accounts_database_url": url,
                "retinue_accounts_root_keys": SecretStr(root),
                "retinue_accounts_seal_keys": SecretStr(seal),
                "accounts_private_hosts": True,
                **own,
            }
        )
        for _ in range(2)
    ]
    apps = [create_app(each, oauth=oauth, discovery=ScriptedServers()) for each in settings]
    keys = parse_keys(root, kind="accounts_root")
    async with serving(apps[0]) as one, serving(apps[1]) as other:
        yield [Service(address, keys, folder, oauth, ScriptedServers()) for address in (one, other)]


async def begun(service: Service) -> FinishOAuth:
    asked = BeginOAuth(provider_id="google", capabilities=["calendar"], redirect_uri=REDIRECT)
    return FinishOAuth(state=(await service.of(ANNA).begin_oauth(asked)).state, code=SecretStr("code-anna"))


async def test_a_consent_begun_at_one_is_finished_at_the_other_once(postgresql_url: str, tmp_path: Path) -> None:
    async with replicas(postgresql_url, tmp_path, ScriptedOAuth()) as (one, other):
        brought = await begun(one)
        both = await asyncio.gather(
            *(each.of(ANNA).finish_oauth(brought) for each in (one, other) * 3), return_exceptions=True
        )
        refusals = [each for each in both if isinstance(each, BaseException)]
        assert len(refusals) == 5
        assert all(isinstance(each, InvalidArguments) and "unknown" in each.message for each in refusals)
        assert len((await other.of(ANNA).list()).accounts) == 1


async def test_one_refresh_for_both_and_a_revoked_account_is_gone_at_both(postgresql_url: str, tmp_path: Path) -> None:
    oauth = ScriptedOAuth(slow=1)
    async with replicas(postgresql_url, tmp_path, oauth) as (one, other):
        account = (await one.of(ANNA).finish_oauth(await begun(one))).account
        old = await one.connection(ANNA)
        assert isinstance(old, Connection)
        given = await asyncio.gather(*(each.connection(ANNA, rejected=old) for each in (one, other) * 6))
        assert oauth.refreshes == 1
        assert len({each.secret.get_secret_value() for each in given if each}) == 1
        await other.of(ANNA).revoke(account.account_id)
        assert await one.connection(ANNA) is None
    assert "canary" not in str(rows(postgresql_url, "SELECT * FROM account"))


async def test_two_processes_on_postgresql_renew_a_token_once(
    emulators: Emulators, setting: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, a real authority, clocks that differ by five minutes."""
    monkeypatch.setenv("ACCOUNTS_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("RETINUE_ACCOUNTS_SEAL_KEYS", new_key())
    with process(setting) as one, process(setting, ahead=300) as other:
        await connect(one, emulators)
        old = await mail(one)
        emulators.fault("authority", "/token", kind="slow", seconds=2, count=2)
        given = await asyncio.gather(*(mail((one, other)[turn % 2], rejected=old) for turn in range(12)))
        assert len({each.secret.get_secret_value() for each in given}) == 1
        assert given[0].secret != old.secret
        assert refreshes(emulators) == 1
        grants = Counter(request["grant"] for request in emulators.requests("authority"))
        assert grants["authorization_code"] == 1


async def test_on_postgresql_no_replica_makes_a_seal_key_that_the_others_lack(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would make another one, and what one sealed the other could never open."""
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    async with service(tmp_path, accounts_database_url=postgresql_url) as running:
        assert not (tmp_path / caller_keys.SEAL_FILE).exists()
        async with httpx.AsyncClient(base_url=running.url) as client:
            said = (await client.get("/readyz")).json()
        assert "RETINUE_ACCOUNTS_SEAL_KEYS" in str(said["problems"])
        with pytest.raises(ServiceRefused) as refused:
            await running.connect_calendar(ANNA, "work")
        assert "RETINUE_ACCOUNTS_SEAL_KEYS" in (refused.value.hint or "")
