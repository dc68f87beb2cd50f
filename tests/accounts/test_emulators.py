"""What other tests rely on: the emulators answer as the providers do, and refuse what providers refuse."""

from __future__ import annotations

import httpx
import pytest

from tests.accounts.emulators import DOMAINS, Emulators

USERINFO = {"google": "/oauth2/v2/userinfo", "microsoft": "/oidc/userinfo", "authority": "/me"}


@pytest.fixture(autouse=True)
def _fresh(emulators: Emulators) -> None:
    emulators.reset()


def asked(emulators: Emulators, service: str, token: str) -> httpx.Response:
    return httpx.get(
        getattr(emulators, service) + USERINFO[service], headers={"authorization": f"Bearer {token}"}, timeout=20
    )


@pytest.mark.parametrize("service", list(DOMAINS))
@pytest.mark.parametrize("name", ["ana", "cleo"])
def test_a_token_is_its_persons(emulators: Emulators, service: str, name: str) -> None:
    tokens = emulators.tokens(service, name)
    assert asked(emulators, service, tokens["access_token"]).json()["email"] == f"{name}@{DOMAINS[service]}"


@pytest.mark.parametrize("service", list(DOMAINS))
def test_withdrawn_and_made_up_tokens_are_refused(emulators: Emulators, service: str) -> None:
    tokens = emulators.tokens(service, "ben", "openid email offline_access")
    emulators.withdraw(service, "ben")
    assert asked(emulators, service, tokens["access_token"]).status_code == 401
    assert asked(emulators, service, "made-up").status_code == 401


def test_faults_happen_as_often_as_asked(emulators: Emulators) -> None:
    token = emulators.tokens("google", "ana")["access_token"]
    emulators.fault("google", "/oauth2/v2/userinfo", kind="answer", status=429, headers={"retry-after": "7"})
    assert asked(emulators, "google", token).headers["retry-after"] == "7"
    assert asked(emulators, "google", token).status_code == 200


def test_a_lost_reply_is_of_a_request_that_was_done(emulators: Emulators) -> None:
    token = emulators.tokens("google", "ana")["access_token"]
    emulators.fault("google", "/calendar/v3/", method="POST", kind="lost")
    events = f"{emulators.google}/calendar/v3/calendars/primary/events"
    meeting = {
        "summary": "Once",
        "start": {"dateTime": "2026-06-01T10:00:00Z"},
        "end": {"dateTime": "2026-06-01T11:00:00Z"},
    }
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(events, headers={"authorization": f"Bearer {token}"}, json=meeting, timeout=20)
    found = httpx.get(events, headers={"authorization": f"Bearer {token}"}, timeout=20).json()["items"]
    assert [event["summary"] for event in found] == ["Once"]
