"""Which of several accounts a person means, in plain words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activities.calendar.contract import Calendar
from activities.contacts.contract import Contacts
from activities.email.contract import Email
from offline.answers import complete
from offline.protocol import ChatRequest
from retinue.capability import Manifest
from retinue.plan import check, parse

from .conftest import planning_messages

SEVERAL = {"calendar": ["work", "private"], "email": ["work", "club (old)"]}
NAMES = "The person has these accounts"


@pytest.fixture(scope="session")
def with_accounts(manifests: list[Manifest]) -> list[Manifest]:
    """What capabilities announce where there is an accounts service."""
    taking = {contract.name: contract.manifest(accounts=True) for contract in (Calendar, Email, Contacts)}
    return [taking.get(manifest.name, manifest) for manifest in manifests]


def plan(agents: list[dict[str, Any]], manifests: list[Manifest], *said: str, **accounts: list[str]) -> dict[str, Any]:
    first, *others = planning_messages(agents, *said)
    block = {"role": "system", "content": f"Accounts (JSON):\n{json.dumps(accounts)}\n\n{NAMES}"}
    request = {"model": "offline", "messages": [first, *([block] if accounts else []), *others]}
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    text = complete(ChatRequest.model_validate({**request, "response_format": wanted})).text
    assert check(parse(text), manifests) == []
    found: dict[str, Any] = json.loads(text)
    return found


def accounts_of(found: dict[str, Any]) -> dict[str, str | None]:
    return {step["tool"]: step["args"].get("account") for step in found["steps"]}


MAIL = "to ana@example.com saying hello"


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        ("What's on my private calendar tomorrow?", {"calendar.list_events": "private"}),
        ("What's on my work calendar tomorrow?", {"calendar.list_events": "work"}),
        ("What's on my calendar tomorrow?", {"calendar.list_events": None}),
        ("Show the newest mail in my work inbox", {"email.search": "work"}),
        (f"Send a mail {MAIL} from my work account", {"email.send": "work"}),
        (f"Send a mail from my club (old) account {MAIL}", {"email.send": "club (old)"}),
        (f"Send a mail {MAIL}", {"email.send": None}),
    ],
)
def test_the_account_that_is_named_is_used(
    agents: list[dict[str, Any]], with_accounts: list[Manifest], say: str, expected: dict[str, str | None]
) -> None:
    found = plan(agents, with_accounts, say, **SEVERAL)
    assert accounts_of(found) == expected, found
    assert "work account" not in json.dumps(found)


def test_an_account_that_is_not_named_is_asked_for(agents: list[dict[str, Any]], with_accounts: list[Manifest]) -> None:
    say = f"Send a mail {MAIL} from my account"
    asked = plan(agents, with_accounts, say, **SEVERAL)
    assert (asked["steps"], asked["options"]) == ([], ["work", "club (old)"])
    done = plan(agents, with_accounts, say, asked["question"], "the work one", **SEVERAL)
    assert accounts_of(done) == {"email.send": "work"}
    assert done["steps"][0]["args"]["body"].casefold() == "hello"


def test_with_one_account_words_are_only_words(agents: list[dict[str, Any]], manifests: list[Manifest]) -> None:
    found = plan(agents, manifests, "What's on my work calendar tomorrow?")
    assert all("account" not in step["args"] for step in found["steps"])
