"""What only contacts at Microsoft have: entries without ids of ours, versions, lost replies."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.contacts.contract import ListContactsResult
from activities.contacts.models import ContactsBase
from activities.contacts.routed import routing
from activities.contacts.settings import ContactsSettings
from retinue.store import Store
from retinue.testing import serving
from tests.accounts.fake_accounts import FakeAccounts
from tests.activities.contacts.conftest import Call, retried
from tests.activities.contacts.microsoft_contacts import MicrosoftContacts
from tests.activities.graph_account import account

ANA = {"name": "Ana Ruiz", "email": "ana@example.com"}


@pytest.fixture
def provider() -> str:
    return "graph"


async def failure(call: Call, tool: str, **arguments: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as failed:
        await call(tool, **arguments)
    assert "canary" not in repr(failed.value)
    return failed.value


async def test_people_are_read_as_outlook_keeps_them(call: Call, microsoft: MicrosoftContacts) -> None:
    microsoft.add(
        displayName="Ben Ode",
        nickName="Benny",
        companyName="Acme",
        emailAddresses=[
            {"name": "x", "address": "ben@example.com"},
            {"address": "old@example.com"},
            {"address": "/O=EX"},
        ],
        businessPhones=["call me", "+49 (30) 12345"],
        personalNotes="met in Rome",
    )
    microsoft.add(givenName="Cleo", surname="Marsh", mobilePhone="030 9")
    microsoft.add(emailAddresses=[{"address": "nobody@example.com"}])

    match = (await call("contacts.find", name="benny"))["match"]
    listed = await call("contacts.list")

    assert (match["name"], match["email"], match["phone"]) == ("Ben Ode", "ben@example.com", "+49 (30) 12345")
    assert (match["other_emails"], match["nickname"]) == (["old@example.com"], "Benny")
    assert (match["organization"], match["note"]) == ("Acme", "met in Rome")
    assert [each["name"] for each in listed["contacts"]] == ["Ben Ode", "Cleo Marsh"]
    assert listed["skipped"] == 1


async def test_what_is_added_to_a_person_replaces_nothing(call: Call, microsoft: MicrosoftContacts) -> None:
    id_ = microsoft.add(displayName="Ana Ruiz", mobilePhone="ask Ben", personalNotes="met in Rome")

    added = await call("contacts.add", **ANA, phone="030 9", note="likes tea")

    kept = microsoft.things[id_]
    assert added["created"] is False
    assert (kept["mobilePhone"], kept["homePhones"]) == ("ask Ben", ["030 9"])
    assert kept["emailAddresses"] == [{"address": "ana@example.com"}]
    assert kept["personalNotes"] == "met in Rome\nlikes tea"


async def test_a_person_whose_reply_was_lost_is_found_and_not_added_again(
    call: Call, microsoft: MicrosoftContacts
) -> None:
    microsoft.broken = [("POST", True)]

    first = await retried(call, "contacts.add", step="s1", **ANA)
    second = await call("contacts.add", step="s1", **ANA)

    assert first == second
    assert (first["created"], len(microsoft.things), microsoft.asked.count("POST me/contacts")) == (True, 1, 1)


async def test_a_person_who_does_not_appear_is_not_added_again(call: Call, microsoft: MicrosoftContacts) -> None:
    """The request may still arrive; after a while a person is asked."""
    microsoft.broken = [("POST", False)]
    errors = [await failure(call, "contacts.add", step="s1", **ANA) for _ in range(3)]
    assert [error.type for error in errors] == ["OutcomeOpen"] * 3
    assert microsoft.asked.count("POST me/contacts") == 1


@pytest.mark.parametrize("done", [True, False])
async def test_a_removal_whose_reply_was_lost_is_done_once(
    call: Call, microsoft: MicrosoftContacts, done: bool
) -> None:
    added = await call("contacts.add", **ANA)
    microsoft.broken = [("DELETE", done)]
    gone = await retried(call, "contacts.remove", step="s2", contact_id=added["contact_id"])
    assert (gone["removed"], microsoft.things) == (True, {})


async def test_an_entry_that_somebody_changes_meanwhile_is_not_removed(
    call: Call, microsoft: MicrosoftContacts
) -> None:
    id_ = microsoft.add(displayName="Ana Ruiz", emailAddresses=[{"address": "ana@example.com"}])
    found = await call("contacts.find", name="ana")

    def meanwhile(asked: Any) -> None:
        if asked.method == "DELETE":
            microsoft.stamp(microsoft.things[id_])

    microsoft.faults = [meanwhile]
    error = await failure(call, "contacts.remove", contact_id=found["match"]["contact_id"])
    assert (error.type, id_ in microsoft.things) == ("Conflict", True)


async def test_pages_are_followed(call: Call, microsoft: MicrosoftContacts) -> None:
    for number in range(25):
        microsoft.add(displayName=f"Person {number:02}")
    microsoft.page = 10
    listed = await call("contacts.list")
    assert [each["name"] for each in listed["contacts"]] == [f"Person {number:02}" for number in range(25)]
    assert microsoft.asked == ["GET me/contacts"] * 3


async def test_an_account_at_microsoft_is_used_by_graph(
    settings: ContactsSettings, microsoft: MicrosoftContacts
) -> None:
    microsoft.add(displayName="Ben Ode")
    store = Store(settings.database_url, ContactsBase.metadata, owner="contacts")
    async with store, serving(microsoft.app()) as url, routing(settings, store, FakeAccounts([account(url)])) as routed:
        listed, used = await routed.run(None, lambda tools: tools.list(), own=_nothing)
    assert ([each.name for each in listed.contacts], used) == (["Ben Ode"], "m1")


async def _nothing() -> ListContactsResult:
    return ListContactsResult(contacts=[])


@pytest.mark.parametrize(
    ("fault", "type_"),
    [
        ({"status": 429, "Retry_After": "3"}, "ServiceBusy"),
        ({"status": 200, "content": b"<html>"}, "ServiceUnavailable"),
        ({"status": 403, "code": "ErrorAccessDenied"}, "AccountDisconnected"),
    ],
)
async def test_what_goes_wrong_has_its_type(
    call: Call, microsoft: MicrosoftContacts, fault: dict[str, Any], type_: str
) -> None:
    microsoft.fail(**fault)
    assert (await failure(call, "contacts.list")).type == type_
