"""The accounts service over HTTP: what people do with their accounts, and what a worker gets for a step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from pydantic import SecretStr

from activities.calendar.contract import Calendar
from retinue.accounts import caller_keys
from retinue.accounts.client import AccountsClient
from retinue.accounts.connection import Connection, Provider
from retinue.accounts.routing import Routing
from retinue.accounts.service import AccountsService
from retinue.accounts.wire import (
    AccountState,
    BeginOAuth,
    ChangeAccount,
    Connected,
    ConnectPassword,
    EventKind,
    FinishOAuth,
    OrganisationRules,
)
from retinue.capability import OWN
from retinue.errors import (
    AccountDisconnected,
    Ambiguous,
    Conflict,
    InvalidArguments,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RetinueError,
    ServiceRefused,
    ServiceUnavailable,
)
from retinue.temporal.step_pass import with_pass
from tests.accounts.service import ANNA, BEN, CARA, Service, service

REDIRECT = "http://127.0.0.1:8000/accounts/return"


@pytest.fixture
async def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    async with service(tmp_path) as running:
        yield running


async def sign_in(accounts: Service, person: str, subject: str = "", **fields: object) -> Connected:
    """Connect a Google account, as the consent page would."""
    asked = BeginOAuth.model_validate(
        {"provider_id": "google", "capabilities": ["calendar"], "redirect_uri": REDIRECT, **fields}
    )
    begun = await accounts.of(person).begin_oauth(asked)
    code = SecretStr(f"code-{subject or person.rpartition(':')[2]}")
    return await accounts.of(person).finish_oauth(FinishOAuth(state=begun.state, code=code))


async def kinds(accounts: Service, person: str) -> list[EventKind]:
    return [event.kind for event in (await accounts.of(person).events()).events]


async def test_a_connected_account_is_what_a_step_of_its_person_gets(accounts: Service) -> None:
    connected = (await accounts.connect_calendar(ANNA, "work")).account
    assert connected.state is AccountState.CONNECTED
    assert connected.default_for == ["calendar"]
    found = await accounts.connection(ANNA)
    assert found is not None
    assert (found.account_id, found.name, found.provider) == (connected.account_id, "work", Provider.CALDAV)
    assert found.secret.get_secret_value() == "canary-password"
    used = (await accounts.of(ANNA).list()).accounts[0]
    assert used.last_used_for == "calendar"
    assert used.last_used_at is not None


async def test_another_person_or_capability_or_organisation_gets_nothing(accounts: Service) -> None:
    account_id = (await accounts.connect_calendar(ANNA)).account.account_id
    assert await accounts.connection(BEN) is None
    assert await accounts.connection(CARA) is None
    assert await accounts.connection(ANNA, "email") is None
    for other in (BEN, CARA):
        with pytest.raises(NotFound):
            await accounts.connection(other, account=account_id)
        for call in (accounts.of(other).get, accounts.of(other).test, accounts.of(other).revoke):
            with pytest.raises(NotFound):
                await call(account_id)
        with pytest.raises(NotFound):
            await accounts.of(other).change(account_id, ChangeAccount(name="mine"))
        with pytest.raises(NotFound):
            await accounts.connect_calendar(other, account_id=account_id)
        assert (await accounts.of(other).list()).accounts == []
    assert (await accounts.of(ANNA).get(account_id)).name == "acme-anna@nextcloud.example"


async def test_a_stolen_calendar_key_opens_no_mail_no_people_and_nothing_without_a_pass(accounts: Service) -> None:
    """The thief has the calendar worker's key, and can read the passes of the steps that reach it."""
    await sign_in(accounts, ANNA, capabilities=["calendar", "email"])
    stolen = caller_keys.bearer_of("calendar", accounts.root)
    thief = accounts.worker("calendar")
    for passed in ("", accounts.passed(ANNA, "email"), accounts.passed(ANNA, "calendar", expires=1), "a.b.c"):
        with with_pass(passed or "x"), pytest.raises((NotAllowed, NotAuthenticated)):
            await thief.connection()
    people = accounts.with_key(stolen)
    for path in ("/people/accounts", "/people/events", "/admin/connections", "/admin/events"):
        async with httpx.AsyncClient(base_url=accounts.url) as client:
            headers = {"Authorization": f"Bearer {stolen}", "Retinue-Person": ANNA, "Retinue-Organisation": "acme"}
            assert (await client.get(path, headers=headers)).status_code == 401
    await people.close()
    forged = stolen.replace("calendar", "email", 1)
    with with_pass(accounts.passed(ANNA, "email")), pytest.raises(NotAuthenticated):
        await connection_by(accounts, forged)
    assert await kinds(accounts, ANNA) == [EventKind.DENIED, EventKind.CONNECTED]
    denied = [event for event in (await accounts.admin("").events()).events if event.kind is EventKind.DENIED]
    assert len(denied) == 3 + 4 + 1, "passes without a person, the people's side, the forged key"


async def connection_by(accounts: Service, key: str) -> None:
    await AccountsClient(accounts.with_key(key)).connection()


async def test_the_front_doors_key_opens_no_workers_side(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA)
    with with_pass(accounts.passed(ANNA)), pytest.raises(NotAuthenticated):
        await connection_by(accounts, caller_keys.bearer_of_people(accounts.root))


async def test_a_pass_for_one_account_opens_no_other(accounts: Service) -> None:
    work = (await accounts.connect_calendar(ANNA, "work")).account
    await accounts.connect_calendar(ANNA, "private")
    with with_pass(accounts.passed(ANNA, account="private")):
        found = await accounts.worker("calendar").connection()
        assert found is not None
        assert found.name == "private"
        with pytest.raises(NotAllowed):
            await accounts.worker("calendar").connection(account=work.account_id)
    assert EventKind.DENIED in await kinds(accounts, ANNA)


async def test_a_step_outside_a_pass_has_no_account(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA)
    assert await accounts.worker("calendar").connection() is None


async def test_the_first_account_is_the_default_until_another_is_chosen(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA, "work")
    private = (await accounts.connect_calendar(ANNA, "private")).account
    assert private.default_for == []
    assert name(await accounts.connection(ANNA)) == "work"
    assert name(await accounts.connection(ANNA, account="Private")) == "private"
    await accounts.of(ANNA).change(private.account_id, ChangeAccount(default_for=["calendar"]))
    assert name(await accounts.connection(ANNA)) == "private"
    assert [one.default_for for one in (await accounts.of(ANNA).list()).accounts] == [["calendar"], []]


def name(found: Connection | None) -> str:
    assert found is not None
    return found.name


async def test_after_the_default_is_revoked_several_others_are_asked_about_and_one_takes_its_place(
    accounts: Service,
) -> None:
    first, second, third = [(await accounts.connect_calendar(ANNA, one)).account for one in ("a", "b", "c")]
    await accounts.of(ANNA).revoke(first.account_id)
    with pytest.raises(Ambiguous, match="b, c"):
        await accounts.connection(ANNA)
    await accounts.of(ANNA).change(second.account_id, ChangeAccount(default_for=["calendar"]))
    await accounts.of(ANNA).revoke(second.account_id)
    assert name(await accounts.connection(ANNA)) == "c"
    await accounts.of(ANNA).revoke(third.account_id)
    assert await accounts.connection(ANNA) is None


async def which_and_used(accounts: Service, named: str | None = None) -> list[tuple[str, str]]:
    """The account that a card would show, and the one that the step would use, or why there is none."""
    worker = accounts.worker("calendar")
    routing: Routing[Calendar] = Routing("calendar", worker, {}, ledger=ANY)

    async def used() -> tuple[str, str]:
        found = await worker.connection(account=named)
        return (found.account_id, f"{found.address} ({found.name})") if found else (OWN, "")

    async def shown() -> tuple[str, str]:
        return await routing.which(named)

    answers = []
    for choose in (shown, used):
        with with_pass(accounts.passed(ANNA)):
            try:
                answers.append(await choose())
            except RetinueError as error:
                answers.append((type(error).__name__, error.message))
    return answers


async def test_the_account_on_a_card_is_the_one_that_is_used(accounts: Service) -> None:
    """Also where none is the default, and where it is named by its address."""
    work = (await accounts.connect_calendar(ANNA, "work")).account
    told = []
    for default, others, named in (
        (["calendar"], 0, None),
        ([], 0, None),
        ([], 1, None),
        ([], 0, work.address),
        ([], 0, "WORK"),
        ([], 0, "school"),
    ):
        await accounts.of(ANNA).change(work.account_id, ChangeAccount(default_for=default))
        more = [(await accounts.connect_calendar(ANNA, "more")).account for _ in range(others)]
        for one in more:
            await accounts.of(ANNA).change(one.account_id, ChangeAccount(default_for=[]))
        card, used = await which_and_used(accounts, named)
        assert card == used
        told.append(card[0])
        for one in more:
            await accounts.of(ANNA).revoke(one.account_id)
            await accounts.of(ANNA).change(work.account_id, ChangeAccount(default_for=[]))
    assert told == [work.account_id] * 2 + ["Ambiguous"] + [work.account_id] * 2 + ["NotFound"]


async def test_an_unknown_name_says_which_there_are(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA, "work")
    with pytest.raises(NotFound, match="work"):
        await accounts.connection(ANNA, account="wrok")


async def test_names_are_unique_per_person(accounts: Service) -> None:
    first = (await accounts.connect_calendar(ANNA, "work")).account
    second = (await accounts.connect_calendar(ANNA, "Work")).account
    assert second.name == "Work 2"
    with pytest.raises(Conflict):
        await accounts.of(ANNA).change(second.account_id, ChangeAccount(name=first.name))
    assert (await accounts.connect_calendar(BEN, "work")).account.name == "work"


async def test_a_wrong_password_stores_nothing(accounts: Service) -> None:
    with pytest.raises(InvalidArguments, match="does not accept"):
        await accounts.connect_calendar(ANNA, password="wrong")
    assert (await accounts.of(ANNA).list()).accounts == []
    assert await kinds(accounts, ANNA) == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://calendar.example.com",
        "https://",
        "ftp://127.0.0.1",
        "https://me:secret@127.0.0.1/",
        "file:///etc/passwd",
        "https://[::1",
    ],
)
async def test_an_address_that_is_not_encrypted_is_refused(accounts: Service, endpoint: str) -> None:
    asked = ConnectPassword(
        provider=Provider.CALDAV, address="anna", password=SecretStr("canary-password"), endpoints={"caldav": endpoint}
    )
    with pytest.raises(InvalidArguments):
        await accounts.of(ANNA).connect(asked)
    assert accounts.servers.tested == []


async def test_a_private_address_is_refused_where_the_operator_does_not_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    async with service(tmp_path, accounts_private_hosts=False) as accounts:
        for host in ("127.0.0.1", "169.254.169.254", "10.0.0.8"):
            asked = ConnectPassword(
                provider=Provider.CALDAV,
                address="anna",
                password=SecretStr("canary-password"),
                endpoints={"caldav": f"https://{host}/"},
            )
            with pytest.raises(NotAllowed):
                await accounts.of(ANNA).connect(asked)
        assert accounts.servers.tested == []


@pytest.mark.parametrize(
    ("provider", "endpoints"),
    [
        (Provider.CALDAV, {"caldav": "https://93.184.216.34:22/"}),
        (Provider.IMAP, {"imap": "imaps://93.184.216.34:22", "smtp": "smtps://93.184.216.34"}),
        (Provider.IMAP, {"imap": "imap://93.184.216.34:993", "smtp": "smtps://93.184.216.34"}),
        (Provider.IMAP, {"imap": "imaps://93.184.216.34", "smtp": "smtp://93.184.216.34:25"}),
    ],
)
async def test_only_the_ports_of_the_protocols_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider, endpoints: dict[str, str]
) -> None:
    """Else the service would tell people which ports of other machines are open."""
    monkeypatch.setenv("RETINUE_DATA_DIR", str(tmp_path))
    async with service(tmp_path, accounts_private_hosts=False) as accounts:
        asked = ConnectPassword(
            provider=provider, address="anna@example.com", password=SecretStr("canary-password"), endpoints=endpoints
        )
        with pytest.raises(InvalidArguments, match="port"):
            await accounts.of(ANNA).connect(asked)
        assert accounts.servers.tested == []


async def test_a_refused_password_disconnects_the_account_and_a_new_one_wakes_the_runs_that_wait(
    accounts: Service,
) -> None:
    account = (await accounts.connect_calendar(ANNA, "work")).account
    held = await accounts.connection(ANNA)
    with pytest.raises(AccountDisconnected, match="work must be connected again") as refused:
        await accounts.connection(ANNA, rejected=held)
    assert refused.value.details[0].model_dump()["account_id"] == account.account_id
    with pytest.raises(AccountDisconnected):
        await accounts.connection(ANNA)
    assert (await accounts.of(ANNA).get(account.account_id)).state is AccountState.DISCONNECTED
    accounts.servers.passwords.add("canary-new")
    again = await accounts.connect_calendar(ANNA, password="canary-new", account_id=account.account_id)
    assert again.waiting == ["assistant-1"]
    assert again.account.name == "work"
    found = await accounts.connection(ANNA)
    assert found is not None
    assert found.secret.get_secret_value() == "canary-new"
    assert await kinds(accounts, ANNA) == [EventKind.CONNECTED_AGAIN, EventKind.DISCONNECTED, EventKind.CONNECTED]
    assert (await accounts.connect_calendar(ANNA, account_id=account.account_id)).waiting == []


async def test_an_old_rejection_does_not_disconnect_an_account_that_was_connected_again(accounts: Service) -> None:
    account = (await accounts.connect_calendar(ANNA)).account
    old = await accounts.connection(ANNA)
    accounts.servers.passwords.add("canary-new")
    await accounts.connect_calendar(ANNA, password="canary-new", account_id=account.account_id)
    found = await accounts.connection(ANNA, rejected=old)
    assert found is not None
    assert found.secret.get_secret_value() == "canary-new"


async def test_a_server_that_takes_the_password_again_wakes_the_waiting_run(accounts: Service) -> None:
    account = (await accounts.connect_calendar(ANNA)).account
    with pytest.raises(AccountDisconnected):
        await accounts.connection(ANNA, rejected=await accounts.connection(ANNA))
    accounts.servers.passwords.clear()
    assert not (await accounts.of(ANNA).test(account.account_id)).works
    accounts.servers.passwords.add("canary-password")
    tested = await accounts.of(ANNA).test(account.account_id)
    assert tested.works
    assert tested.waiting == ["assistant-1"]
    assert await accounts.connection(ANNA) is not None


async def test_a_consent_connects_an_account(accounts: Service) -> None:
    connected = (await sign_in(accounts, ANNA, name="google")).account
    assert (connected.name, connected.address) == ("google", "anna@google.example")
    found = await accounts.connection(ANNA)
    assert found is not None
    assert found.secret.get_secret_value() == "canary-access-1"
    assert found.endpoints == {"api": "https://google.example.com"}
    assert accounts.oauth.refreshes == 0


@pytest.mark.parametrize("person", [BEN, CARA])
async def test_a_state_is_worth_nothing_to_another_person(accounts: Service, person: str) -> None:
    asked = BeginOAuth(provider_id="google", capabilities=["calendar"], redirect_uri=REDIRECT)
    begun = await accounts.of(ANNA).begin_oauth(asked)
    with pytest.raises(InvalidArguments):
        await accounts.of(person).finish_oauth(FinishOAuth(state=begun.state, code=SecretStr("code-ben")))
    assert (await accounts.of(person).list()).accounts == []
    assert EventKind.DENIED in await kinds(accounts, person)
    await accounts.of(ANNA).finish_oauth(FinishOAuth(state=begun.state, code=SecretStr("code-anna")))


async def test_a_state_is_worth_nothing_twice_nor_after_a_refusal_nor_if_made_up(accounts: Service) -> None:
    asked = BeginOAuth(provider_id="google", capabilities=["calendar"], redirect_uri=REDIRECT)
    anna = accounts.of(ANNA)
    used, declined, wrong = [(await anna.begin_oauth(asked)).state for _ in range(3)]
    await anna.finish_oauth(FinishOAuth(state=used, code=SecretStr("code-anna")))
    with pytest.raises(NotAllowed):
        await anna.finish_oauth(FinishOAuth(state=declined, error="access_denied"))
    with pytest.raises(InvalidArguments):
        await anna.finish_oauth(FinishOAuth(state=wrong, code=SecretStr("stolen")))
    for state in (used, declined, wrong, "made-up"):
        with pytest.raises(InvalidArguments, match="begin again"):
            await anna.finish_oauth(FinishOAuth(state=state, code=SecretStr("code-anna")))
    assert len((await anna.list()).accounts) == 1


async def test_the_same_google_account_is_connected_once_and_follows_a_new_address(accounts: Service) -> None:
    first = (await sign_in(accounts, ANNA)).account
    accounts.oauth.address = "anna.b@google.example"
    second = (await sign_in(accounts, ANNA, capabilities=["email"])).account
    assert second.account_id == first.account_id
    assert second.address == "anna.b@google.example"
    assert second.capabilities == ["calendar", "email"]


async def test_another_account_at_the_provider_does_not_take_an_accounts_place(accounts: Service) -> None:
    first = (await sign_in(accounts, ANNA)).account
    with pytest.raises(Conflict, match="another account"):
        await sign_in(accounts, ANNA, subject="mallory", account_id=first.account_id)
    assert (await accounts.of(ANNA).get(first.account_id)).address == "anna@google.example"


@pytest.mark.parametrize("provider", ["names nobody any more", "never named anybody"])
async def test_an_account_whose_provider_does_not_say_who_signed_in_is_not_connected_again(
    accounts: Service, provider: str
) -> None:
    """It may be anybody's: the person disconnects it, and grants for it count for the new one no longer."""
    if provider == "never named anybody":
        accounts.oauth.anonymous = True
    first = (await sign_in(accounts, ANNA)).account
    accounts.oauth.anonymous = True
    with pytest.raises(Conflict, match="another account"):
        await sign_in(accounts, ANNA, account_id=first.account_id)
    again = (await sign_in(accounts, ANNA)).account
    assert again.account_id != first.account_id


OTHERS: dict[str, dict[str, Any]] = {
    "address": {"address": "mallory@nextcloud.example"},
    "server": {"endpoints": {"caldav": "https://127.0.0.1:2/dav"}},
    "user": {"username": "mallory"},
}


@pytest.mark.parametrize("other", OTHERS)
async def test_a_password_of_another_account_does_not_take_an_accounts_place(accounts: Service, other: str) -> None:
    before = (await accounts.connect_calendar(ANNA, "work")).account
    asked = ConnectPassword(
        provider=Provider.CALDAV,
        address=before.address,
        password=SecretStr("canary-password"),
        account_id=before.account_id,
    )
    with pytest.raises(Conflict, match="another account") as refused:
        await accounts.of(ANNA).connect(asked.model_copy(update=OTHERS[other]))
    assert refused.value.hint == "disconnect it and connect the new one"
    after = await accounts.of(ANNA).get(before.account_id)
    assert (after.address, after.endpoints) == (before.address, before.endpoints)
    same = {"address": before.address.upper(), "endpoints": {"caldav": "https://127.0.0.1:1/dav/"}}
    again = await accounts.of(ANNA).connect(asked.model_copy(update=same))
    assert again.account.account_id == before.account_id


async def test_a_pass_for_the_own_data_opens_no_account(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA, "work")
    with with_pass(accounts.passed(ANNA, account=OWN)):
        for named in (None, "work"):
            with pytest.raises(NotAllowed, match="own data"):
                await accounts.worker("calendar").connection(account=named)
        assert await accounts.worker("calendar").names() == []
    assert EventKind.DENIED in await kinds(accounts, ANNA)


async def test_a_provider_that_is_not_set_up_says_so(accounts: Service) -> None:
    with pytest.raises(InvalidArguments, match="not set up"):
        await sign_in(accounts, ANNA, provider_id="microsoft")
    with pytest.raises(InvalidArguments, match="no provider"):
        await sign_in(accounts, ANNA, provider_id="caldav")


async def test_twenty_steps_at_once_renew_an_old_token_once(accounts: Service) -> None:
    accounts.oauth.life = timedelta(seconds=30)
    await sign_in(accounts, ANNA)
    accounts.oauth.life, accounts.oauth.slow = timedelta(hours=1), 0.3
    found = await asyncio.gather(*(accounts.connection(ANNA) for _ in range(20)))
    assert accounts.oauth.refreshes == 1
    assert {one.secret.get_secret_value() for one in found if one} == {"canary-access-2"}


async def test_a_rejected_token_is_replaced_once_for_all_who_show_it(accounts: Service) -> None:
    await sign_in(accounts, ANNA)
    old = await accounts.connection(ANNA)
    found = await asyncio.gather(*(accounts.connection(ANNA, rejected=old) for _ in range(5)))
    assert accounts.oauth.refreshes == 1
    assert {one.secret.get_secret_value() for one in found if one} == {"canary-access-2"}


async def test_a_withdrawn_consent_is_said_and_waits(accounts: Service) -> None:
    account = (await sign_in(accounts, ANNA, name="google")).account
    held = await accounts.connection(ANNA)
    accounts.oauth.withdrawn.add("anna")
    with pytest.raises(AccountDisconnected, match="google must be connected again"):
        await accounts.connection(ANNA, rejected=held)
    with pytest.raises(AccountDisconnected):
        await accounts.connection(ANNA)
    assert accounts.oauth.refreshes == 1, "a disconnected account asks the provider no more"
    accounts.oauth.withdrawn.clear()
    again = await sign_in(accounts, ANNA, account_id=account.account_id)
    assert again.waiting == ["assistant-1"]
    assert await accounts.connection(ANNA) is not None


async def test_a_provider_that_does_not_answer_disconnects_nobody(accounts: Service) -> None:
    account = (await sign_in(accounts, ANNA)).account
    held = await accounts.connection(ANNA)
    accounts.oauth.failing = ServiceUnavailable("Google does not answer")
    with pytest.raises(ServiceUnavailable):
        await accounts.connection(ANNA, rejected=held)
    assert (await accounts.of(ANNA).get(account.account_id)).state is AccountState.CONNECTED
    accounts.oauth.failing = None
    assert await accounts.connection(ANNA, rejected=held) is not None


async def test_revoking_withdraws_the_consent_and_deletes_the_secret(accounts: Service) -> None:
    account = (await sign_in(accounts, ANNA)).account
    await accounts.of(ANNA).revoke(account.account_id)
    assert accounts.oauth.revoked == ["anna"]
    assert await accounts.connection(ANNA) is None
    assert await kinds(accounts, ANNA) == [EventKind.REVOKED, EventKind.CONNECTED]


async def test_an_organisation_allows_providers_and_asks_for_roles(accounts: Service) -> None:
    await sign_in(accounts, ANNA)
    rules = OrganisationRules(allowed_providers=["caldav"], roles={"calendar": "owner"})
    await accounts.admin("acme").set_rules(rules, by=ANNA)
    assert await accounts.admin("acme").rules() == rules
    with pytest.raises(ServiceRefused, match="does not allow"):
        await accounts.connection(ANNA)
    with pytest.raises(NotAllowed, match="does not allow"):
        await sign_in(accounts, ANNA)
    with pytest.raises(NotAllowed, match="role owner"):
        await accounts.connect_calendar(BEN)
    asked = ConnectPassword(
        provider=Provider.CALDAV, address="a@nextcloud.example", password=SecretStr("canary-password")
    )
    assert (await accounts.of(BEN, "owner").connect(asked)).account.state is AccountState.CONNECTED
    allowed = {one.id: one.allowed for one in (await accounts.of(BEN).providers()).providers}
    assert allowed == {"google": False, "microsoft": False, "caldav": True, "carddav": False, "imap": False}
    await sign_in(accounts, CARA)
    assert await accounts.connection(CARA) is not None
    with pytest.raises(NotAllowed):
        await accounts.admin("globex").set_rules(rules, by=ANNA)


async def test_an_administrator_sees_who_is_connected_and_no_content(accounts: Service) -> None:
    await sign_in(accounts, ANNA)
    await accounts.connect_calendar(BEN)
    await accounts.connect_calendar(CARA)
    found = (await accounts.admin("acme").connections()).connections
    assert sorted((one.person, one.provider_id) for one in found) == [(ANNA, "google"), (BEN, "caldav")]
    assert "example" not in str(found), "no addresses"
    events = (await accounts.admin("acme").events()).events
    assert {event.person for event in events} == {ANNA, BEN}


async def test_events_are_read_in_pages(accounts: Service) -> None:
    account = (await accounts.connect_calendar(ANNA)).account
    for number in range(5):
        await accounts.of(ANNA).change(account.account_id, ChangeAccount(name=f"n{number}"))
    seen: list[int] = []
    before = None
    while True:
        page = await accounts.of(ANNA).events(before=before, limit=2)
        seen += [event.id for event in page.events]
        before = page.next_before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 6


async def test_a_malformed_request_is_refused_without_repeating_it(accounts: Service) -> None:
    key = caller_keys.bearer_of_people(accounts.root)
    headers = {"Authorization": f"Bearer {key}", "Retinue-Person": ANNA}
    async with httpx.AsyncClient(base_url=accounts.url, headers=headers) as client:
        for body in (
            {"provider": "caldav", "address": 5, "password": "canary-in-a-bad-request"},
            {"provider": "canary-in-a-bad-request"},
            {"provider": "caldav", "address": "a", "password": ["canary-in-a-bad-request"]},
        ):
            reply = await client.post("/people/accounts", json=body)
            assert reply.status_code == 422
            assert "canary" not in reply.text
        reply = await client.post("/people/accounts", content=b'{"password": "canary-in-a-bad-request"')
        assert reply.status_code == 422
        assert "canary" not in reply.text


async def test_a_service_that_is_away_is_waited_for(accounts: Service) -> None:
    away = AccountsService("http://127.0.0.1:1", SecretStr("x"))
    with with_pass("x"), pytest.raises(ServiceUnavailable):
        await AccountsClient(away).connection()


async def test_a_step_learns_the_names_of_its_capabilitys_accounts_and_planning_all(accounts: Service) -> None:
    await accounts.connect_calendar(ANNA, "work")
    await sign_in(accounts, ANNA, name="google", capabilities=["email"])
    await accounts.connect_calendar(BEN, "private")

    async def names(capability: str) -> list[str]:
        with with_pass(accounts.passed(ANNA, capability)):
            return [one.name for one in await accounts.worker(capability).names()]

    assert await names("calendar") == ["work"]
    assert await names("reasoning") == ["google", "work"]
    assert await accounts.connection(ANNA, "reasoning") is None


async def test_no_account_is_called_like_the_own_data(accounts: Service) -> None:
    account = (await accounts.connect_calendar(ANNA, "own")).account
    assert account.name == "own 2"
    with pytest.raises(InvalidArguments):
        await accounts.of(ANNA).change(account.account_id, ChangeAccount(name="Own"))


async def test_a_large_request_is_refused_before_it_is_read(accounts: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"

    async with httpx.AsyncClient(base_url=accounts.url) as client:
        assert (await client.post("/steps/connection", content=b"x" * 100_000)).status_code == 413
        assert (await client.post("/steps/connection", content=endless())).status_code == 413
        assert (await client.get("/healthz")).status_code == 200
