"""The service over real OAuth servers: several processes of it, consents, and what becomes of accounts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from accounts.app import create_app
from accounts.oauth.settings import OAuthSettings
from accounts.settings import AccountsServiceSettings
from retinue.accounts.connection import Connection
from retinue.accounts.wire import AccountState, BeginOAuth, Connected, EventKind, FinishOAuth, OAuthBegun
from retinue.errors import AccountDisconnected, Conflict, InvalidArguments, NotAllowed, ServiceBusy, ServiceUnavailable
from retinue.settings import ROOT
from retinue.temporal.step_pass import SLACK, with_pass
from retinue.testing import serving
from tests.accounts.emulators import CLIENT_SECRET, REDIRECT, Emulators
from tests.accounts.oauth_clients import AUTHORITY, answered, settings_for
from tests.accounts.service import ANNA, BEN, ScriptedOAuth, ScriptedServers, Service
from workers.temporal_server import answers, free_port

AHEAD = 300
TOKEN = {"google": "/oauth2/token", AUTHORITY: "/token"}


def variables(emulators: Emulators, data: Path) -> dict[str, str]:
    """What the operator of these services sets."""
    chosen = settings_for(emulators, data)
    told = {
        "RETINUE_DATA_DIR": data,
        "ACCOUNTS_DATABASE_URL": f"sqlite+aiosqlite:///{data / 'accounts.db'}",
        "ACCOUNTS_OAUTH_PROVIDERS": chosen.oauth_providers,
        "ACCOUNTS_GOOGLE_CLIENT_ID": chosen.google_client_id,
        "ACCOUNTS_GOOGLE_CLIENT_SECRET": CLIENT_SECRET,
        "ACCOUNTS_GOOGLE_URL": emulators.google,
        "ACCOUNTS_MICROSOFT_CLIENT_ID": chosen.microsoft_client_id,
        "ACCOUNTS_MICROSOFT_CLIENT_SECRET": CLIENT_SECRET,
        "ACCOUNTS_MICROSOFT_URL": emulators.microsoft,
        "TEST_SECRET": CLIENT_SECRET,
    }
    return {name: str(value) for name, value in told.items()}


def reached(url: str, data: Path) -> Service:
    """The keys to call a service with these files."""
    root = AccountsServiceSettings().root_keys()
    return Service(url, root, data, ScriptedOAuth(), ScriptedServers())


@pytest.fixture
def setting(emulators: Emulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    emulators.reset()
    for name, value in variables(emulators, tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
async def service(setting: Path) -> AsyncIterator[Service]:
    """One service, in this process."""
    async with serving(create_app()) as url:
        yield reached(url, setting)


@contextmanager
def process(data: Path, *, ahead: int = 0) -> Iterator[Service]:
    """One service as a process of its own, whose clock is ahead by so many seconds."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "tests.accounts.service_process", str(port), str(ahead)]
    with (data / f"log-{port}").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        deadline = time.monotonic() + 40
        while not answers("127.0.0.1", port):
            assert running.poll() is None, (data / f"log-{port}").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield reached(f"http://127.0.0.1:{port}", data)
    finally:
        running.kill()
        running.wait(10)


async def consented(
    service: Service, emulators: Emulators, name: str = "ana", *, person: str = ANNA, **asked: Any
) -> FinishOAuth:
    """What the provider's redirect brings after a person agreed."""
    wanted = {"provider_id": AUTHORITY, "capabilities": ["email"], "redirect_uri": REDIRECT, **asked}
    begun = await service.of(person).begin_oauth(BeginOAuth.model_validate(wanted))
    query = answered(emulators.consent(begun.authorize_url, name))
    return FinishOAuth(state=query["state"], code=SecretStr(query["code"]), iss=query.get("iss"))


async def connect(service: Service, emulators: Emulators, name: str = "ana", **asked: Any) -> Connected:
    return await service.of(ANNA).finish_oauth(await consented(service, emulators, name, **asked))


async def mail(service: Service, *, rejected: Connection | None = None) -> Connection:
    """What a worker gets in a step of mail."""
    now = datetime.now(UTC)
    step = service.passed(ANNA, "email", expires=int((now + timedelta(seconds=30) + SLACK).timestamp()))
    with with_pass(step):
        found = await service.worker("email").connection(rejected=rejected)
    assert found is not None
    return found


def refreshes(emulators: Emulators, service: str = "authority") -> int:
    return Counter(request["grant"] for request in emulators.requests(service))["refresh_token"]


@pytest.mark.parametrize("ahead", [AHEAD, *(pytest.param(ahead, marks=pytest.mark.long) for ahead in (0, -AHEAD))])
async def test_two_processes_renew_a_token_once_though_their_clocks_differ(
    emulators: Emulators, setting: Path, ahead: int
) -> None:
    with process(setting) as one, process(setting, ahead=ahead) as other:
        await connect(one, emulators)
        old = await mail(one)
        emulators.fault("authority", "/token", kind="slow", seconds=2, count=2)
        both: Sequence[Service] = (one, other)
        given = await asyncio.gather(*(mail(both[turn % 2], rejected=old) for turn in range(12)))
        assert len({each.secret.get_secret_value() for each in given}) == 1
        assert given[0].secret != old.secret
        assert refreshes(emulators) == 1
        again = await mail(
            other, rejected=given[0]
        )  # the refresh token that was issued instead is the one that is kept
        assert again.secret != given[0].secret


async def test_a_process_that_died_while_it_renewed_stops_nobody_for_long(
    emulators: Emulators, setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(setting) as one:
        await connect(one, emulators)
        old = await mail(one)
        emulators.fault("authority", "/token", kind="slow", seconds=60)
        dying = asyncio.create_task(mail(one, rejected=old))
        async with asyncio.timeout(20):
            while not refreshes(emulators):  # noqa: ASYNC110  # another process asks
                await asyncio.sleep(0.05)
    with pytest.raises(ServiceUnavailable):
        await dying
    monkeypatch.setattr("accounts.services.secrets.CLAIM", 1.0)
    async with serving(create_app()) as url:
        assert (await mail(reached(url, setting), rejected=old)).secret != old.secret


async def test_a_code_is_used_once_and_a_state_is_its_persons(service: Service, emulators: Emulators) -> None:
    brought = await consented(service, emulators)
    with pytest.raises(InvalidArguments, match="unknown"):
        await service.of(BEN).finish_oauth(brought)
    await service.of(ANNA).finish_oauth(brought)
    with pytest.raises(InvalidArguments, match="unknown"):
        await service.of(ANNA).finish_oauth(brought)
    assert Counter(each["grant"] for each in emulators.requests("authority"))["authorization_code"] == 1


async def test_the_code_of_another_consent_is_refused(service: Service, emulators: Emulators) -> None:
    mine, victims = await consented(service, emulators, "ana"), await consented(service, emulators, "ben")
    with pytest.raises(InvalidArguments, match="expired or was used"):
        await service.of(ANNA).finish_oauth(mine.model_copy(update={"code": victims.code}))


async def test_the_answer_of_another_provider_connects_nothing(service: Service, emulators: Emulators) -> None:
    brought = await consented(service, emulators)
    with pytest.raises(InvalidArguments, match="another provider"):
        await service.of(ANNA).finish_oauth(brought.model_copy(update={"iss": emulators.google}))
    assert (await service.of(ANNA).list()).accounts == []


async def test_a_refusal_at_the_provider_connects_nothing(service: Service, emulators: Emulators) -> None:
    wanted = BeginOAuth(provider_id=AUTHORITY, capabilities=["email"], redirect_uri=REDIRECT)
    begun = await service.of(ANNA).begin_oauth(wanted)
    query = answered(emulators.consent(begun.authorize_url, "ana", refuse=True))
    assert query["error"] == "access_denied"
    with pytest.raises(NotAllowed, match="not given"):
        await service.of(ANNA).finish_oauth(FinishOAuth(state=query["state"], error=query["error"], iss=query["iss"]))


@pytest.mark.parametrize("provider", ["google", AUTHORITY])
async def test_a_consent_that_was_taken_back_disconnects_until_the_same_person_connects_again(
    service: Service, emulators: Emulators, provider: str
) -> None:
    account = (await connect(service, emulators, provider_id=provider)).account
    old = await mail(service)
    emulators.withdraw(provider, "ana")
    with pytest.raises(AccountDisconnected, match="must be connected again"):
        await mail(service, rejected=old)
    broken = (await service.of(ANNA).list()).accounts[0]
    assert broken.state is AccountState.DISCONNECTED
    asked = len(emulators.requests(provider))
    with pytest.raises(AccountDisconnected):
        await mail(service)
    assert len(emulators.requests(provider)) == asked  # nobody asks the provider in vain
    with pytest.raises(Conflict, match="another account"):
        await connect(service, emulators, "ben", provider_id=provider, account_id=account.account_id)
    again = await connect(service, emulators, provider_id=provider, account_id=account.account_id)
    assert again.account.account_id == account.account_id
    assert (await mail(service)).secret != old.secret


async def test_a_busy_provider_disconnects_nobody(service: Service, emulators: Emulators) -> None:
    await connect(service, emulators, provider_id="google")
    old = await mail(service)
    path = TOKEN["google"]
    emulators.fault("google", path, kind="answer", status=429, headers={"retry-after": "3"})
    with pytest.raises(ServiceBusy) as found:
        await mail(service, rejected=old)
    assert found.value.retry_after == pytest.approx(3)
    emulators.fault("google", path, kind="answer", status=200, type="text/html", body="<h1>Maintenance</h1>")
    with pytest.raises(ServiceUnavailable):
        await mail(service, rejected=old)
    assert (await mail(service, rejected=old)).secret != old.secret


async def test_another_address_at_the_provider_is_taken_over_and_said(service: Service, emulators: Emulators) -> None:
    await connect(service, emulators)
    emulators.rename("ana", "ana.smith@example.net")
    renewed = await mail(service, rejected=await mail(service))
    assert renewed.address == "ana.smith@example.net"
    said = [event.detail for event in (await service.of(ANNA).events()).events if event.kind is EventKind.CHANGED]
    assert said == ["the provider calls it ana.smith@example.net now, before ana@example.net"]


@pytest.mark.parametrize("capability", ["calendar", "email"])
async def test_a_capability_that_was_taken_back_is_said_and_connected_again(
    service: Service, emulators: Emulators, capability: str
) -> None:
    """Whichever of the two is asked for when the provider says so."""
    account = (await connect(service, emulators, provider_id="google", capabilities=["calendar", "email"])).account
    old = await mail(service)
    left = "openid email https://www.googleapis.com/auth/gmail.modify"
    answer = {"access_token": "next", "token_type": "Bearer", "expires_in": 3600, "scope": left}
    emulators.fault("google", TOKEN["google"], kind="answer", status=200, body=json.dumps(answer))
    with suppress(AccountDisconnected):
        await service.connection(ANNA, capability, rejected=old)
    assert (await mail(service)).secret.get_secret_value() == "next"
    with pytest.raises(AccountDisconnected):
        await service.connection(ANNA, "calendar")
    changed = (await service.of(ANNA).list()).accounts[0]
    assert (changed.state, changed.problem) == (AccountState.CONNECTED, "it was not allowed to use calendar any more")
    again = await connect(
        service, emulators, provider_id="google", account_id=account.account_id, capabilities=["calendar"]
    )
    assert again.account.problem == ""
    assert await service.connection(ANNA, "calendar") is not None


def asked_for(begun: OAuthBegun) -> set[str]:
    """The last parts of the scopes that a consent asks for."""
    return {scope.rpartition("/")[2] for scope in answered(begun.authorize_url)["scope"].split()}


async def test_only_what_is_needed_is_asked_for_and_stays_so(service: Service, emulators: Emulators) -> None:
    wanted = BeginOAuth(
        provider_id="google", capabilities=["calendar", "email"], read_only=["email"], redirect_uri=REDIRECT
    )
    begun = await service.of(ANNA).begin_oauth(wanted)
    assert asked_for(begun) == {"openid", "email", "gmail.readonly", "calendar.readonly", "calendar.events"}
    query = answered(emulators.consent(begun.authorize_url, "ana"))
    brought = FinishOAuth(state=query["state"], code=SecretStr(query["code"]))
    account = (await service.of(ANNA).finish_oauth(brought)).account
    assert account.access == {"calendar": "write", "email": "read"}
    again = BeginOAuth(
        provider_id="google", capabilities=["contacts"], account_id=account.account_id, redirect_uri=REDIRECT
    )
    assert asked_for(await service.of(ANNA).begin_oauth(again)) == asked_for(begun) | {"contacts"}
    more = again.model_copy(update={"capabilities": ["email"], "read_only": []})
    assert "gmail.modify" in asked_for(await service.of(ANNA).begin_oauth(more))
    less = again.model_copy(update={"capabilities": ["calendar"], "read_only": ["calendar"]})
    assert asked_for(await service.of(ANNA).begin_oauth(less)) == {
        "openid",
        "email",
        "gmail.readonly",
        "calendar.readonly",
    }


async def test_microsofts_mail_and_calendar_get_tokens_of_their_own(service: Service, emulators: Emulators) -> None:
    await connect(service, emulators, provider_id="microsoft", capabilities=["calendar", "email"])
    calendar = await service.connection(ANNA, "calendar")
    assert calendar is not None
    assert (await mail(service)).secret != calendar.secret
    assert await service.connection(ANNA, "calendar") == calendar
    assert (await mail(service)) == (await mail(service))


async def test_no_token_or_code_stands_in_the_database_or_the_logs(
    service: Service, emulators: Emulators, setting: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    brought = await consented(service, emulators)
    await service.of(ANNA).finish_oauth(brought)
    given = await mail(service)
    await mail(service, rejected=given)
    emulators.withdraw("authority", "ana")
    with pytest.raises(AccountDisconnected):
        await mail(service, rejected=await mail(service))
    assert brought.code
    secrets = [brought.code.get_secret_value(), given.secret.get_secret_value(), CLIENT_SECRET]
    kept = b"".join(file.read_bytes() for file in setting.glob("accounts.db*"))
    own = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert len(kept) > 1000
    assert [secret for secret in secrets if secret.encode() in kept or secret in own] == []


def test_the_settings_are_those_of_the_environment(setting: Path, emulators: Emulators) -> None:
    assert OAuthSettings().google_url == emulators.google
