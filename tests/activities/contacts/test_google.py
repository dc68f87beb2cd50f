"""What only contacts at Google have: entries without ids of ours, versions, lost replies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.contacts.settings import ContactsSettings
from tests.accounts.google_people import GooglePeople
from tests.activities.contacts.between import Between, lost, says, standing_between
from tests.activities.contacts.conftest import Call, at_google, retried

ANA = {"name": "Ana Ruiz", "email": "ana@example.com"}


@pytest.fixture
def provider() -> str:
    return "google"


@pytest.fixture
def between(google: GooglePeople) -> Iterator[Between]:
    with standing_between(google.url) as way:
        yield way


@pytest.fixture
async def call(settings: ContactsSettings, between: Between) -> AsyncIterator[Call]:
    async with at_google(settings, between.url) as run:
        yield run


async def failure(call: Call, tool: str, **arguments: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as failed:
        await call(tool, **arguments)
    return failed.value


def ben(google: GooglePeople, **fields: Any) -> str:
    return str(google.put(names=[{"displayName": "Ben Ode"}], **fields)["resourceName"])


async def test_people_are_read_as_google_shows_them_first(call: Call, google: GooglePeople) -> None:
    ben(
        google,
        nicknames=[{"value": "Benny"}],
        organizations=[{"name": "Acme"}],
        emailAddresses=[{"value": "old@example.com"}, {"value": "ben@example.com", "metadata": {"primary": True}}],
        phoneNumbers=[{"value": "+49 (30) 12345"}, {"value": "call me"}],
        biographies=[{"value": "met in Rome"}],
    )
    google.put(emailAddresses=[{"value": "nobody@example.com"}])

    found = await call("contacts.find", name="benny")

    match = found["match"]
    assert (match["name"], match["email"], match["phone"]) == ("Ben Ode", "ben@example.com", "+49 (30) 12345")
    assert (match["other_emails"], match["nickname"]) == (["old@example.com"], "Benny")
    assert (match["organization"], match["note"]) == ("Acme", "met in Rome")
    assert found["skipped_cards"] == ["people/c2: it has no name"]


async def test_a_person_whose_reply_was_lost_is_found_and_not_added_again(
    call: Call, google: GooglePeople, between: Between
) -> None:
    between.after["POST"] = [lost]

    first = await retried(call, "contacts.add", step="s1", **ANA)
    second = await call("contacts.add", step="s1", **ANA)

    assert first == second
    assert (first["created"], len(google.people)) == (True, 1)


async def test_a_person_whom_google_does_not_show_yet_is_asked_about_and_not_added_again(
    settings: ContactsSettings, google: GooglePeople, between: Between
) -> None:
    """Google's list may be minutes late."""
    google.hidden = {"people/c1"}
    between.after["POST"] = [lost]

    async with at_google(settings, between.url, settle=0) as call:
        with pytest.raises(ApplicationError) as unknown:
            await retried(call, "contacts.add", step="s1", **ANA)

    assert (unknown.value.type, unknown.value.non_retryable) == ("OutcomeUnknown", True)
    assert len(google.people) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_is_added_to_a_known_person_is_added_once(
    call: Call, google: GooglePeople, between: Between, when: str
) -> None:
    resource = ben(google, emailAddresses=[{"value": "ben@example.com"}], nicknames=[{"value": "Benny"}])
    getattr(between, when)["PATCH"] = [lost]

    done = await retried(call, "contacts.add", step="s1", name="ben ode", phone="12345", note="met in Rome")

    assert (done["created"], done["phone"], done["note"]) == (False, "12345", "met in Rome")
    kept = google.people[resource]
    assert [each["value"] for each in kept["phoneNumbers"]] == ["12345"]
    assert [each["value"] for each in kept["emailAddresses"]] == ["ben@example.com"]
    assert kept["nicknames"] == [{"value": "Benny"}]


async def test_what_another_device_changed_meanwhile_is_not_overwritten(
    call: Call, google: GooglePeople, between: Between
) -> None:
    resource = ben(google)

    def meanwhile() -> None:
        google.people[resource].update(etag="%other", phoneNumbers=[{"value": "999"}])

    between.meanwhile["PATCH"] = meanwhile

    refused = await failure(call, "contacts.add", name="Ben Ode", phone="12345")

    assert refused.type == "Conflict"
    assert google.people[resource]["phoneNumbers"] == [{"value": "999"}]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_removal_whose_reply_was_lost_is_looked_up(
    call: Call, google: GooglePeople, between: Between, when: str
) -> None:
    ben(google)
    [person] = (await call("contacts.list"))["contacts"]
    getattr(between, when)["DELETE"] = [lost]

    done = await retried(call, "contacts.remove", step="s1", contact_id=person["contact_id"])

    assert (done["removed"], google.people) == (True, {})


async def test_access_that_was_taken_back_is_said(call: Call, between: Between) -> None:
    error = {"code": 403, "status": "PERMISSION_DENIED", "details": [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}
    between.before["GET"] = [says(403, json.dumps({"error": error}).encode())]

    failed = await failure(call, "contacts.list")

    assert (failed.type, failed.non_retryable) == ("AccountDisconnected", True)
    assert "Google Contacts" in failed.message
