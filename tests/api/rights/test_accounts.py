"""A key that may only ask connects no account, and changes none: what is done from then on would happen there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import refused
from tests.api.rights.conftest import Door, made
from tests.conftest import Stack

PASSWORD = {"provider": "imap", "address": "ana@example.com", "password": "canary-7d2f-app-password"}
CONSENT = {"provider_id": "google", "capabilities": ["email"]}
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/accounts", PASSWORD),
    ("POST", "/v1/accounts/oauth", CONSENT),
    ("POST", "/v1/accounts/oauth/finish", {"state": "x", "code": "y"}),
    ("GET", "/v1/accounts/oauth/callback?state=x&code=y", {}),
    ("POST", "/v1/accounts/oauth/device", CONSENT),
    ("POST", "/v1/accounts/oauth/device/poll", {"state": "x"}),
    ("PATCH", "/v1/accounts/mine/a1", {"default_for": ["email"]}),
    ("DELETE", "/v1/accounts/mine/a1", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_key_that_only_asks_connects_and_changes_nothing(
    door: Door, method: str, path: str, body: dict[str, Any]
) -> None:
    refused(await door.asks.http.request(method, path, json=body), 403, "this needs the permission 'decide'")


async def test_a_key_without_the_right_to_operate_decides_nothing_for_the_organisation(door: Door) -> None:
    asks = door.asks.http
    refused(await asks.put("/v1/accounts/organisation/rules", json={}), 403, "'operate'")
    refused(await asks.get("/v1/accounts/organisation/connections"), 403, "only operators and auditors")
    refused(await asks.get("/v1/accounts/organisation/events"), 403, "only operators and auditors")


@pytest.mark.parametrize("path", ["", "/providers", "/events", "/mine/a1"])
async def test_a_key_that_may_not_read_is_shown_no_account(door: Door, path: str) -> None:
    key = await made(door.person, "only asks", "ask")
    answer = await door.person.http.get(f"/v1/accounts{path}", headers={"Authorization": f"Bearer {key}"})
    refused(answer, 403, "this needs the permission 'read'")


async def test_without_the_service_it_is_said_in_words(stack: Stack) -> None:
    refused(await stack.http.get("/v1/accounts"), 404, "accounts are switched off here")
