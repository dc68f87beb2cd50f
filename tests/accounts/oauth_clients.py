"""The flows over the emulators, as an installation has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from accounts.oauth.flows import ProviderFlows
from accounts.oauth.providers import providers
from accounts.oauth.settings import OAuthSettings
from accounts.oauth_flows import Flow, Tokens
from tests.accounts.emulators import CLI_CLIENT_ID, CLIENT_ID, CLIENT_SECRET, REDIRECT, Emulators

AUTHORITY = "authority"
CLI = "authority-cli"


def settings_for(emulators: Emulators, folder: Path) -> OAuthSettings:
    """Settings by which the emulators stand in for the providers; the authority is one of the operator's file."""
    entry = {
        "title": "The company",
        "provider": "imap",
        "issuer": emulators.authority,
        "capabilities": {"email": {"read": ["mail.read"], "write": ["mail.read", "mail.send"]}},
        "endpoints": {"imap": "imaps://mail.example.net:993", "smtp": "smtps://mail.example.net:465"},
    }
    own = {**entry, "client_id": CLIENT_ID, "client_secret": "${TEST_SECRET}"}
    file = folder / "providers.json"
    file.write_text(json.dumps({"providers": {AUTHORITY: own, CLI: {**entry, "client_id": CLI_CLIENT_ID}}}))
    return OAuthSettings(
        google_client_id=CLIENT_ID,
        google_client_secret=SecretStr(CLIENT_SECRET),
        google_url=emulators.google,
        microsoft_client_id=CLIENT_ID,
        microsoft_client_secret=SecretStr(CLIENT_SECRET),
        microsoft_url=emulators.microsoft,
        oauth_providers=file,
    )


def flows_over(emulators: Emulators, folder: Path, *, now: Callable[[], datetime] | None = None) -> ProviderFlows:
    """The flows of such an installation; the caller closes them."""
    known = providers(settings_for(emulators, folder), {"TEST_SECRET": CLIENT_SECRET})
    return ProviderFlows(known, now=now) if now else ProviderFlows(known)


def answered(address: str) -> dict[str, str]:
    """The query of the address to which a provider sent the browser."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


async def begun(flows: ProviderFlows, service: str, *capabilities: str) -> Flow:
    """A consent that has begun, by default for mail."""
    return await flows.begin(service, capabilities=capabilities or ["email"], redirect_uri=REDIRECT, state="s1")


async def finished(flows: ProviderFlows, service: str, flow: Flow, back: str) -> Tokens:
    """The tokens for the answer of a provider."""
    query = answered(back)
    return await flows.finish(
        service, code=SecretStr(query["code"]), iss=query.get("iss"), redirect_uri=REDIRECT, memory=flow.memory
    )


async def connected(
    flows: ProviderFlows, emulators: Emulators, service: str, name: str = "ana", *capabilities: str
) -> Tokens:
    """The tokens of a person who went through the whole consent."""
    flow = await begun(flows, service, *capabilities)
    return await finished(flows, service, flow, emulators.consent(flow.authorize_url, name))
