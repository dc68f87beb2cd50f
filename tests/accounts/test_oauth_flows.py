"""The flows over real OAuth servers: emulate in the place of Google and Microsoft, oidc-provider as any other authority."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from accounts.oauth import endpoint, metadata
from accounts.oauth.flows import ProviderFlows
from accounts.oauth.providers import providers
from accounts.oauth.settings import OAuthSettings
from retinue.errors import (
    AccountDisconnected,
    InvalidArguments,
    RetinueError,
    ServiceBusy,
    ServiceRefused,
    ServiceUnavailable,
)
from tests.accounts.emulators import CLIENT_SECRET, DOMAINS, REDIRECT, Emulators
from tests.accounts.oauth_clients import AUTHORITY, CLI, answered, begun, connected, finished, flows_over, settings_for

USERINFO = {"google": "/oauth2/v2/userinfo", "microsoft": "/oidc/userinfo", "authority": "/me"}
TOKEN = {"google": "/oauth2/token", "microsoft": "/oauth2/v2.0/token", "authority": "/token"}
SERVICES = list(DOMAINS)


@pytest.fixture(autouse=True)
def _fresh(emulators: Emulators) -> None:
    emulators.reset()


@pytest.fixture
async def flows(emulators: Emulators, tmp_path: Path) -> AsyncIterator[ProviderFlows]:
    over = flows_over(emulators, tmp_path)
    yield over
    await over.close()


def works(emulators: Emulators, service: str, token: SecretStr) -> bool:
    address = getattr(emulators, service) + USERINFO[service]
    answer = httpx.get(address, headers={"authorization": f"Bearer {token.get_secret_value()}"}, timeout=20)
    return answer.status_code == 200


def grants(emulators: Emulators, service: str) -> list[str]:
    return [request["grant"] for request in emulators.requests(service) if request["path"] == TOKEN[service]]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_person_connects_and_the_access_lasts(emulators: Emulators, flows: ProviderFlows, service: str) -> None:
    tokens = await connected(flows, emulators, service, "ben")
    assert tokens.address == f"ben@{DOMAINS[service]}"
    assert tokens.capabilities == ["email"]
    assert works(emulators, service, tokens.access_token)
    renewed = await flows.refresh(service, tokens, capability="email")
    assert renewed.access_token != tokens.access_token
    assert works(emulators, service, renewed.access_token)
    assert renewed.subject == tokens.subject
    later = await flows.refresh(service, renewed, capability="email")
    assert works(emulators, service, later.access_token)


async def test_the_request_has_a_challenge_and_exactly_the_scopes_that_are_needed(flows: ProviderFlows) -> None:
    mail = await flows.begin(
        "google",
        capabilities=["email"],
        redirect_uri=REDIRECT,
        state="s1",
        read_only=["email"],
        address="ana@example.com",
    )
    query = answered(mail.authorize_url)
    assert query["scope"] == "openid email https://www.googleapis.com/auth/gmail.readonly"
    assert query["code_challenge_method"] == "S256"
    assert query["login_hint"] == "ana@example.com"
    assert (query["access_type"], query["include_granted_scopes"], query["state"]) == ("offline", "true", "s1")
    assert mail.memory["verifier"] not in mail.authorize_url


def test_read_only_is_told_from_everything(emulators: Emulators, tmp_path: Path) -> None:
    flows = flows_over(emulators, tmp_path)
    assert flows.allowed("google", ["https://www.googleapis.com/auth/gmail.readonly"]) == {"email": "read"}
    assert flows.allowed("google", ["https://www.googleapis.com/auth/contacts"]) == {"contacts": "write"}
    assert flows.allowed("google", ["openid", "email"]) == {}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_code_is_good_once(emulators: Emulators, flows: ProviderFlows, service: str) -> None:
    flow = await begun(flows, service)
    back = emulators.consent(flow.authorize_url, "ana")
    await finished(flows, service, flow, back)
    with pytest.raises(InvalidArguments, match="expired or was used"):
        await finished(flows, service, flow, back)


async def test_an_expired_code_is_said(emulators: Emulators, flows: ProviderFlows) -> None:
    emulators.lifetimes(code=1)
    flow = await begun(flows, AUTHORITY)
    back = emulators.consent(flow.authorize_url, "ana")
    await asyncio.sleep(2)
    with pytest.raises(InvalidArguments, match="expired or was used"):
        await finished(flows, AUTHORITY, flow, back)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_stolen_code_is_worth_nothing_without_the_verifier(
    emulators: Emulators, flows: ProviderFlows, service: str
) -> None:
    flow = await begun(flows, service)
    back = emulators.consent(flow.authorize_url, "ana")
    thief = await begun(flows, service)
    with pytest.raises(InvalidArguments):
        await finished(flows, service, thief, back)


@pytest.mark.parametrize("iss", ["https://attacker.example", None])
async def test_a_code_of_another_provider_is_not_sent_anywhere(
    emulators: Emulators, flows: ProviderFlows, iss: str | None
) -> None:
    flow = await begun(flows, AUTHORITY)
    code = answered(emulators.consent(flow.authorize_url, "ana"))["code"]
    with pytest.raises(InvalidArguments, match="another provider"):
        await flows.finish(AUTHORITY, code=SecretStr(code), iss=iss, redirect_uri=REDIRECT, memory=flow.memory)
    assert grants(emulators, "authority") == []


@pytest.mark.parametrize(
    ("iss", "fits"),
    [
        ("https://login.microsoftonline.com/9188040d/v2.0", True),
        ("https://login.microsoftonline.com/a/b/v2.0", False),
        ("https://login.microsoftonline.com.attacker.example/9188040d/v2.0", False),
        ("https://accounts.google.com", False),
    ],
)
def test_microsofts_issuer_is_that_of_any_tenant_and_of_nobody_else(iss: str, fits: bool) -> None:
    told = metadata.Metadata(
        issuer="https://login.microsoftonline.com/{tenantid}/v2.0", authorization_endpoint="", token_endpoint=""
    )
    assert told.fits(iss) is fits


async def test_an_id_token_for_another_request_is_refused(emulators: Emulators, flows: ProviderFlows) -> None:
    flow = await begun(flows, "google")
    back = emulators.consent(flow.authorize_url, "ana")
    flow.memory["nonce"] = "another"
    with pytest.raises(ServiceRefused, match="not valid"):
        await finished(flows, "google", flow, back)


async def test_providers_refuse_a_redirect_to_another_host(emulators: Emulators, flows: ProviderFlows) -> None:
    flow = await flows.begin(
        AUTHORITY, capabilities=["email"], redirect_uri="https://attacker.example/accounts/callback", state="s1"
    )
    with pytest.raises(AssertionError, match="400"):
        emulators.consent(flow.authorize_url, "ana")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_withdrawn_consent_disconnects(emulators: Emulators, flows: ProviderFlows, service: str) -> None:
    tokens = await connected(flows, emulators, service, "cleo")
    emulators.withdraw(service, "cleo")
    with pytest.raises(AccountDisconnected, match="must be connected again"):
        await flows.refresh(service, tokens, capability="email")


async def test_a_refresh_token_that_was_used_by_somebody_else_disconnects(
    emulators: Emulators, flows: ProviderFlows
) -> None:
    tokens = await connected(flows, emulators, AUTHORITY)
    stolen = await flows.refresh(AUTHORITY, tokens, capability="email")
    for known in (tokens, stolen):  # the authority sees the first use again, and closes both
        with pytest.raises(AccountDisconnected):
            await flows.refresh(AUTHORITY, known, capability="email")


async def test_after_a_lost_reply_google_still_takes_the_refresh_token(
    emulators: Emulators, flows: ProviderFlows
) -> None:
    tokens = await connected(flows, emulators, "google")
    emulators.fault("google", TOKEN["google"], kind="lost")
    with pytest.raises(ServiceUnavailable):
        await flows.refresh("google", tokens, capability="email")
    await flows.refresh("google", tokens, capability="email")


async def test_after_a_lost_reply_a_provider_that_rotates_wants_the_person(
    emulators: Emulators, flows: ProviderFlows
) -> None:
    """It takes the second use of the refresh token for a theft, as RFC 9700 asks."""
    tokens = await connected(flows, emulators, AUTHORITY)
    emulators.fault("authority", "/token", kind="lost")
    with pytest.raises(ServiceUnavailable):
        await flows.refresh(AUTHORITY, tokens, capability="email")
    with pytest.raises(AccountDisconnected):
        await flows.refresh(AUTHORITY, tokens, capability="email")


async def test_a_provider_that_is_silent_does_not_hold_up_a_removal(
    emulators: Emulators, flows: ProviderFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = await connected(flows, emulators, "google")
    monkeypatch.setattr("accounts.oauth.flows.REVOCATION", 0.5)
    emulators.fault("google", "/oauth2/revoke", kind="slow", seconds=3)
    with pytest.raises(ServiceUnavailable, match="did not answer in time"):
        await flows.revoke("google", tokens)


@pytest.mark.parametrize("service", ["google", "authority"])
async def test_revoking_ends_the_access_at_the_provider(
    emulators: Emulators, flows: ProviderFlows, service: str
) -> None:
    tokens = await connected(flows, emulators, service)
    assert await flows.revoke(service, tokens)
    assert not works(emulators, service, tokens.access_token)
    with pytest.raises(AccountDisconnected):
        await flows.refresh(service, tokens, capability="email")
    assert await flows.revoke(service, tokens)


async def test_microsoft_offers_no_revocation(emulators: Emulators, flows: ProviderFlows) -> None:
    assert not await flows.revoke("microsoft", await connected(flows, emulators, "microsoft"))


FAULTS: dict[str, tuple[dict[str, Any], type[RetinueError]]] = {
    "busy": ({"kind": "answer", "status": 429, "headers": {"retry-after": "7"}}, ServiceBusy),
    "broken": (
        {"kind": "answer", "status": 502, "type": "text/html", "body": "<h1>Bad gateway</h1>"},
        ServiceUnavailable,
    ),
    "page": ({"kind": "answer", "status": 200, "type": "text/html", "body": "<h1>Sign in</h1>"}, ServiceUnavailable),
    "page-400": ({"kind": "answer", "status": 400, "type": "text/html", "body": "<h1>No</h1>"}, ServiceUnavailable),
    "page-403": ({"kind": "answer", "status": 403, "type": "text/html", "body": "<h1>No</h1>"}, ServiceUnavailable),
    "moved": ({"kind": "answer", "status": 302, "headers": {"location": "https://x.example"}}, ServiceUnavailable),
    "other": ({"kind": "answer", "status": 200, "body": "[1]"}, ServiceUnavailable),
    "empty": ({"kind": "answer", "status": 200, "body": '{"token_type": "Bearer"}'}, ServiceUnavailable),
    "later": ({"kind": "answer", "status": 400, "body": '{"error": "temporarily_unavailable"}'}, ServiceUnavailable),
    "stranger": ({"kind": "answer", "status": 401, "body": '{"error": "invalid_client"}'}, ServiceRefused),
    "lost": ({"kind": "lost"}, ServiceUnavailable),
    "slow": ({"kind": "slow", "seconds": 3}, ServiceUnavailable),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_of_a_provider_is_taken_for_a_withdrawn_consent(
    emulators: Emulators, flows: ProviderFlows, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = await connected(flows, emulators, "google")
    monkeypatch.setattr(endpoint, "DEADLINE", 1.0)
    asked, expected = FAULTS[fault]
    emulators.fault("google", TOKEN["google"], **asked)
    with pytest.raises(expected) as found:
        await flows.refresh("google", tokens, capability="email")
    assert type(found.value) in (expected, endpoint.Declined)
    assert tokens.refresh_token
    for secret in (tokens.refresh_token.get_secret_value(), tokens.access_token.get_secret_value(), CLIENT_SECRET):
        assert secret not in str(found.value) + str(found.value.hint)
    emulators.reset()


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_clock_that_is_off_by_five_minutes_is_borne(
    emulators: Emulators, tmp_path: Path, service: str, minutes: int
) -> None:
    flows = flows_over(emulators, tmp_path, now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    tokens = await connected(flows, emulators, service)
    assert flows.token(service, tokens, capability="email") is not None
    await flows.refresh(service, tokens, capability="email")
    await flows.close()


async def test_a_clock_that_is_off_by_hours_is_not(emulators: Emulators, tmp_path: Path) -> None:
    flows = flows_over(emulators, tmp_path, now=lambda: datetime.now(UTC) + timedelta(hours=3))
    with pytest.raises(ServiceRefused, match="not valid"):
        await connected(flows, emulators, "google")
    await flows.close()


async def test_a_token_is_renewed_before_its_end(emulators: Emulators, tmp_path: Path) -> None:
    clock = [datetime.now(UTC)]
    flows = flows_over(emulators, tmp_path, now=lambda: clock[0])
    tokens = await connected(flows, emulators, "google")
    assert flows.token("google", tokens, capability="email") is not None
    begun_at = clock[0]
    clock[0] = begun_at + timedelta(minutes=56)
    assert flows.token("google", tokens, capability="email") is None
    clock[0] = begun_at - timedelta(hours=1)  # set back: nobody knows how long it is still good
    assert flows.token("google", tokens, capability="email") is None
    await flows.close()


async def test_an_account_follows_the_person_to_another_address(emulators: Emulators, flows: ProviderFlows) -> None:
    tokens = await connected(flows, emulators, AUTHORITY, "ana")
    emulators.rename("ana", "ana.smith@example.net")
    renewed = await flows.refresh(AUTHORITY, tokens, capability="email")
    assert (renewed.address, renewed.subject) == ("ana.smith@example.net", tokens.subject)


async def test_tokens_of_another_person_are_never_taken(emulators: Emulators, flows: ProviderFlows) -> None:
    tokens = await connected(flows, emulators, "google", "ana")
    others = emulators.tokens("google", "ben")
    emulators.fault("google", TOKEN["google"], kind="answer", status=200, body=json.dumps(others))
    with pytest.raises(ServiceRefused, match="somebody else"):
        await flows.refresh("google", tokens, capability="email")


async def test_a_capability_that_was_taken_back_alone_is_disconnected(
    emulators: Emulators, flows: ProviderFlows
) -> None:
    tokens = await connected(flows, emulators, "google", "ana", "email", "calendar")
    assert tokens.capabilities == ["email", "calendar"]
    left = "openid email https://www.googleapis.com/auth/gmail.modify"
    answer = {"access_token": "next", "token_type": "Bearer", "expires_in": 3600, "scope": left}
    emulators.fault("google", TOKEN["google"], kind="answer", status=200, body=json.dumps(answer))
    renewed = await flows.refresh("google", tokens, capability="email")
    assert renewed.capabilities == ["email"]
    with pytest.raises(AccountDisconnected, match="not allowed to use calendar"):
        flows.token("google", renewed, capability="calendar")


async def test_microsoft_has_a_token_for_each_of_its_two_apis(emulators: Emulators, flows: ProviderFlows) -> None:
    tokens = await connected(flows, emulators, "microsoft", "ana", "email", "calendar")
    mail = flows.token("microsoft", tokens, capability="email")
    assert mail is not None
    assert flows.token("microsoft", tokens, capability="calendar") is None
    both = await flows.refresh("microsoft", tokens, capability="calendar")
    calendar = flows.token("microsoft", both, capability="calendar")
    assert calendar is not None
    assert flows.token("microsoft", both, capability="email") == mail
    assert calendar.token != mail.token


async def test_a_code_on_another_device_connects(emulators: Emulators, flows: ProviderFlows) -> None:
    flow = await flows.begin_device(CLI, capabilities=["email"])
    assert flow.user_code in flow.verification_uri_complete
    assert await flows.poll_device(CLI, memory=flow.memory) is None
    emulators.consent_on_device(flow.verification_uri_complete, "ben")
    tokens = await flows.poll_device(CLI, memory=flow.memory)
    assert tokens is not None
    assert tokens.address == "ben@example.net"
    await flows.refresh(CLI, tokens, capability="email")


async def test_google_is_not_connected_by_another_device(flows: ProviderFlows) -> None:
    with pytest.raises(InvalidArguments, match="cannot be connected by a code"):
        await flows.begin_device("google", capabilities=["email"])


async def test_a_public_client_redirects_to_any_port_of_this_machine(
    emulators: Emulators, flows: ProviderFlows
) -> None:
    own = "http://127.0.0.1:54321/callback"
    flow = await flows.begin(CLI, capabilities=["email"], redirect_uri=own, state="s1")
    back = emulators.consent(flow.authorize_url, "ana")
    assert back.startswith(own)
    query = answered(back)
    tokens = await flows.finish(
        CLI, code=SecretStr(query["code"]), iss=query["iss"], redirect_uri=own, memory=flow.memory
    )
    assert works(emulators, "authority", tokens.access_token)


async def test_a_description_of_another_issuer_is_refused(emulators: Emulators, tmp_path: Path) -> None:
    other = json.dumps({**emulators.description("authority"), "issuer": "https://attacker.example"})
    emulators.fault("authority", "/.well-known/", kind="answer", status=200, body=other)
    flows = flows_over(emulators, tmp_path)
    with pytest.raises(ServiceRefused, match="another issuer"):
        await begun(flows, AUTHORITY)
    await flows.close()


async def test_a_description_serves_while_the_provider_is_away(
    emulators: Emulators, flows: ProviderFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(flows, "google")
    monkeypatch.setattr(metadata, "_KEPT", 0.0)
    emulators.fault("google", "/.well-known/", kind="answer", status=503)
    assert (await begun(flows, "google")).authorize_url.startswith(emulators.google)


async def test_what_is_not_set_up_is_said(emulators: Emulators) -> None:
    flows = ProviderFlows(providers(OAuthSettings(google_client_id=None)))
    assert [provider.ready for provider in flows.providers()] == [False, False]
    with pytest.raises(InvalidArguments, match="not set up"):
        await begun(flows, "google")
    await flows.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": "http://login.example.com"}, "must begin with https"),
        ({"client_secret": "${MISSING}"}, "MISSING is not set"),
        ({"provider": "google"}, "provider"),
        ({"typo": 1}, "typo"),
    ],
)
def test_a_wrong_file_of_providers_is_refused(
    emulators: Emulators, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    settings = settings_for(emulators, tmp_path)
    assert settings.oauth_providers
    content = json.loads(settings.oauth_providers.read_text())
    content["providers"][AUTHORITY] |= change
    settings.oauth_providers.write_text(json.dumps(content))
    with pytest.raises(InvalidArguments, match=said):
        providers(settings, {"TEST_SECRET": CLIENT_SECRET})
