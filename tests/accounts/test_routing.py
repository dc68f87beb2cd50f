"""Three people on one stack: each step works on its own person's account, and on no other."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiosmtpd.smtp import Envelope
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import activities.calendar.worker as calendar_worker
import activities.contacts.worker as contacts_worker
import activities.email.worker as email_worker
from activities.calendar.contract import Calendar
from activities.calendar.settings import CalendarSettings
from activities.contacts.settings import ContactsSettings
from activities.email.contract import Email
from activities.email.settings import EmailSettings
from retinue.accounts.connection import Connection, Provider, SecretKind
from retinue.capability import OWN, Capability
from retinue.database.resource_pool import ResourcePool
from retinue.provenance.asked_by import AskedBy
from retinue.temporal.person_header import asking
from retinue.temporal.tenant_header import use_tenant
from retinue.tenancy import organisation
from retinue.testing import activities_by_name
from tests.accounts.fake_accounts import AccountsOfPeople, FakeAccounts
from tests.activities.email import mail_servers
from tests.activities.email.mail_servers import DOVECOT, NO_DOVECOT, Dovecot, dovecot
from tests.radicale import PASSWORD, USER, Radicale, radicale
from workers.temporal_server import free_port

Step = Callable[..., Awaitable[dict[str, Any]]]
DAY = {"start": "2026-12-01T00:00:00+00:00", "end": "2026-12-02T00:00:00+00:00"}
DENTIST = {"title": "Dentist", "start": "2026-12-01T10:00:00+00:00", "end": "2026-12-01T11:00:00+00:00"}
_NEW_BOOK = (
    '<?xml version="1.0"?><d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop>'
    "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype></d:prop></d:set></d:mkcol>"
)


@pytest.fixture(scope="module")
def dav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    with radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture(scope="module")
def mail() -> Iterator[Dovecot]:
    if DOVECOT is None:
        pytest.skip(NO_DOVECOT)
    with dovecot() as running:
        yield running


@pytest.fixture
def accounts() -> AccountsOfPeople:
    return AccountsOfPeople()


@pytest.fixture
def calendar_settings() -> dict[str, Any]:
    """What else the settings of the calendar say."""
    return {}


@pytest.fixture
async def step(accounts: AccountsOfPeople, tmp_path: Path, calendar_settings: dict[str, Any]) -> AsyncIterator[Step]:
    """Runs a tool of one of three workers, for a person."""
    url = "sqlite+aiosqlite:///" + str(tmp_path / "{}.db")
    plugins = [
        calendar_worker.plugin(CalendarSettings(database_url=url.format("calendar"), **calendar_settings), accounts),
        contacts_worker.plugin(ContactsSettings(database_url=url.format("contacts")), accounts),
        email_worker.plugin(EmailSettings(database_url=url.format("email")), accounts),
    ]
    by_name: dict[str, Any] = {}
    for each in plugins:
        by_name = {**activities_by_name(each.activities), **by_name}  # of `ledger.close` the calendar's

    async def run(
        person: str, tool: str, *, key: str | None = None, bound: str | None = None, **arguments: Any
    ) -> dict[str, Any]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=key or uuid4().hex, activity_type=tool
        )
        asked_by = AskedBy(person=person, account=bound) if bound else AskedBy(person=person)
        with use_tenant(organisation(person)), asking(asked_by):
            found: dict[str, Any] = await environment.run(by_name[tool], arguments)
        return found

    async with AsyncExitStack() as stack:
        for each in plugins:
            assert each.run_context is not None
            await stack.enter_async_context(each.run_context())
        yield run


def at(provider: Provider, name: str, password: str, **fields: Any) -> Connection:
    """An account with a password."""
    values = {
        "account_id": f"id-{name}-{uuid4().hex[:6]}",
        "address": f"{name}@example.com",
        "username": USER,
        "private_hosts": True,
    }
    secret = SecretStr(password)
    return Connection(provider=provider, name=name, secret=secret, kind=SecretKind.PASSWORD, **(values | fields))


def calendar(dav: Radicale, name: str, password: str = PASSWORD) -> Connection:
    """An account with a new calendar."""
    return at(Provider.CALDAV, name, password, endpoints={"caldav": dav.calendar(uuid4().hex)})


def titles(found: dict[str, Any]) -> list[str]:
    return [event["title"] for event in found["events"]]


async def test_each_step_works_on_its_own_persons_calendar(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    ana, work, private = (calendar(dav, name) for name in ("ana", "work", "private"))
    accounts.people |= {"ana": FakeAccounts([ana]), "ben": FakeAccounts([work, private])}
    made = {
        "ana": await step("ana", "calendar.create_event", **DENTIST),
        "ben": await step("ben", "calendar.create_event", **DENTIST | {"title": "Review"}),
        "private": await step("ben", "calendar.create_event", account="private", **DENTIST | {"title": "Concert"}),
        "carl": await step("carl", "calendar.create_event", **DENTIST | {"title": "Lunch"}),
    }
    assert [one["account"] for one in made.values()] == [ana.account_id, work.account_id, private.account_id, OWN]
    assert titles(await step("ana", "calendar.list_events", **DAY)) == ["Dentist"]
    assert titles(await step("ben", "calendar.list_events", **DAY)) == ["Review"]
    assert titles(await step("ben", "calendar.list_events", account="private", **DAY)) == ["Concert"]
    assert titles(await step("ben", "calendar.list_events", account=private.account_id, **DAY)) == ["Concert"]
    assert titles(await step("ben", "calendar.list_events", account=OWN, **DAY)) == []
    assert titles(await step("carl", "calendar.list_events", **DAY)) == ["Lunch"]
    for connection, title in ((ana, "Dentist"), (work, "Review"), (private, "Concert")):
        content = dav.content(connection.endpoints["caldav"])
        assert [name for name in ("Dentist", "Review", "Concert", "Lunch") if name in content] == [title]


async def test_an_undo_finds_the_event_where_it_was_made(step: Step, accounts: AccountsOfPeople, dav: Radicale) -> None:
    work, private = calendar(dav, "work"), calendar(dav, "private")
    accounts.people["ben"] = FakeAccounts([work, private])
    made = await step("ben", "calendar.create_event", account="private", **DENTIST)
    await step("ben", "calendar.delete_event", event_id=made["event_id"], account=made["account"])
    assert titles(await step("ben", "calendar.list_events", account="private", **DAY)) == []


async def test_an_account_that_does_not_exist_is_named_with_those_that_do(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    accounts.people |= {"ben": FakeAccounts([calendar(dav, "work"), calendar(dav, "private")])}
    for tool, arguments in (("calendar.list_events", DAY), ("calendar.which_account", {})):
        with pytest.raises(ApplicationError) as caught:
            await step("ben", tool, account="school", **arguments)
        assert caught.value.type == "NotFound"
        assert "work" in caught.value.message
        assert "private" in caught.value.message


async def test_the_account_that_was_seen_is_used_though_the_default_is_another_now(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    work, private = calendar(dav, "work"), calendar(dav, "private")
    accounts.people["ben"] = FakeAccounts([work, private])
    shown = await step("ben", "calendar.which_account")
    assert shown == {"account": work.account_id, "words": "work@example.com (work)"}
    accounts.people["ben"] = FakeAccounts([private, work])
    await step("ben", "calendar.create_event", bound=shown["account"], **DENTIST)
    assert titles(await step("ben", "calendar.list_events", account="work", **DAY)) == ["Dentist"]
    assert titles(await step("ben", "calendar.list_events", **DAY)) == []


async def test_own_data_that_were_seen_are_used_though_an_account_is_connected_now(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    shown = await step("ben", "calendar.which_account")
    assert shown == {"account": OWN, "words": ""}
    accounts.people["ben"] = FakeAccounts([calendar(dav, "work")])
    made = await step("ben", "calendar.create_event", bound=shown["account"], **DENTIST)
    assert made["account"] == OWN
    assert titles(await step("ben", "calendar.list_events", **DAY)) == []


async def test_an_account_that_was_revoked_meanwhile_fails_in_words(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    work, private = calendar(dav, "work"), calendar(dav, "private")
    for left in ([private], []):
        accounts.people["ben"] = FakeAccounts(left)
        with pytest.raises(ApplicationError, match="is not connected any more") as caught:
            await step("ben", "calendar.create_event", bound=work.account_id, **DENTIST)
        assert caught.value.type == "NotFound"


async def test_a_password_that_is_refused_is_replaced_or_disconnects_the_account(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    stale = calendar(dav, "work", "wrong")
    fresh = stale.model_copy(update={"secret": SecretStr(PASSWORD)})
    accounts.people |= {
        "ana": FakeAccounts([stale], after_rejection={"work": fresh}),
        "ben": FakeAccounts([stale]),
        "carl": FakeAccounts([stale], after_rejection={"work": stale}),
    }
    await step("ana", "calendar.create_event", **DENTIST)
    assert [rejected for _, rejected in accounts.people["ana"].asked] == [None, stale]
    for person in ("ben", "carl"):
        with pytest.raises(ApplicationError) as caught:
            await step(person, "calendar.list_events", **DAY)
        assert caught.value.type == "AccountDisconnected"
        assert "wrong" not in repr(caught.value)


@pytest.mark.parametrize(
    ("provider", "endpoints", "says"),
    [
        (Provider.IMAP, {}, "cannot use the account"),
        (Provider.CALDAV, {}, "has no address for caldav"),
        (Provider.CALDAV, {"caldav": "http://dav.example.com/x"}, "must be https"),
    ],
)
async def test_an_account_that_cannot_be_used_says_why(
    step: Step, accounts: AccountsOfPeople, provider: Provider, endpoints: dict[str, str], says: str
) -> None:
    accounts.people["ben"] = FakeAccounts([at(provider, "work", "secret", endpoints=endpoints)])
    with pytest.raises(ApplicationError, match=says) as caught:
        await step("ben", "calendar.list_events", **DAY)
    assert caught.value.type == "ServiceRefused"
    assert caught.value.non_retryable


class TestTheServerInTheSettings:
    """It stays the account of everybody in its organisation who has none of their own."""

    @pytest.fixture
    def url(self, dav: Radicale) -> str:
        return dav.calendar(uuid4().hex)

    @pytest.fixture
    def calendar_settings(self, url: str) -> dict[str, Any]:
        return {"provider": "caldav", "url": url, "username": USER, "password": PASSWORD, "organisation": "acme"}

    async def test_it_serves_who_has_no_account(
        self, step: Step, accounts: AccountsOfPeople, dav: Radicale, url: str
    ) -> None:
        accounts.people["acme:ben"] = FakeAccounts([mine := calendar(dav, "work")])
        accounts.people["globex:ben"] = FakeAccounts([theirs := calendar(dav, "work")])
        shared = await step("acme:ana", "calendar.create_event", key="s1", **DENTIST)
        own = await step("acme:ben", "calendar.create_event", key="s2", **DENTIST | {"title": "Review"})
        other = await step("globex:ben", "calendar.create_event", key="s3", **DENTIST | {"title": "Audit"})
        assert [one["account"] for one in (shared, own, other)] == [OWN, mine.account_id, theirs.account_id]
        assert "Dentist" in dav.content(url)
        assert "Review" in dav.content(mine.endpoints["caldav"])
        assert "Review" not in dav.content(url)
        with pytest.raises(ApplicationError, match="does not belong to your organisation"):
            await step("globex:cara", "calendar.list_events", **DAY)

        for person, key, title in (("acme:ana", "s1", "Dentist"), ("acme:ben", "s2", "Review")):
            status = await step(person, "ledger.close", activity_id=key)
            assert (status["outcome"], status["result"]["title"]) == ("done", title)
        assert (await step("acme:ben", "ledger.close", activity_id="s9"))["outcome"] == "nothing"


async def test_each_step_works_on_its_own_persons_address_book(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    def book(name: str) -> Connection:
        url = f"{dav.address}/{USER}/{uuid4().hex}/"
        httpx.request("MKCOL", url, auth=(USER, PASSWORD), content=_NEW_BOOK, timeout=10).raise_for_status()
        return at(Provider.CARDDAV, name, PASSWORD, endpoints={"carddav": url})

    accounts.people |= {"ana": FakeAccounts([book("ana")]), "ben": FakeAccounts([book("work"), book("private")])}
    for person, name, more in (
        ("ana", "Clara", {}),
        ("ben", "Dora", {}),
        ("ben", "Emil", {"account": "private"}),
        ("carl", "Fritz", {}),
    ):
        await step(person, "contacts.add", name=name, email=f"{name.lower()}@example.com", **more)
    listed = {
        (person, account): [one["name"] for one in (await step(person, "contacts.list", account=account))["contacts"]]
        for person, account in (("ana", None), ("ben", None), ("ben", "private"), ("carl", None))
    }
    assert listed == {
        ("ana", None): ["Clara"],
        ("ben", None): ["Dora"],
        ("ben", "private"): ["Emil"],
        ("carl", None): ["Fritz"],
    }


async def test_each_step_works_on_its_own_persons_mailbox(
    step: Step, accounts: AccountsOfPeople, mail: Dovecot, outgoing: tuple[str, list[Envelope]]
) -> None:
    smtp, taken = outgoing

    def mailbox(name: str) -> Connection:
        user = f"u{uuid4().hex[:8]}"
        mail.deliver(
            user, f"From: x@example.com\r\nTo: {name}@example.com\r\nSubject: For {name}\r\n\r\nHi\r\n".encode()
        )
        imap = f"imap://127.0.0.1:{mail.port}?starttls=false"
        return at(Provider.IMAP, name, mail_servers.PASSWORD, username=user, endpoints={"imap": imap, "smtp": smtp})

    accounts.people |= {
        "ana": FakeAccounts([mailbox("ana")]),
        "ben": FakeAccounts([mailbox("work"), mailbox("private")]),
    }
    seen = {
        (person, account): [one["subject"] for one in (await step(person, "email.search", account=account))["messages"]]
        for person, account in (("ana", None), ("ben", None), ("ben", "private"), ("carl", None))
    }
    assert seen == {
        ("ana", None): ["For ana"],
        ("ben", None): ["For work"],
        ("ben", "private"): ["For private"],
        ("carl", None): [],
    }
    words = {"to": ["clara@example.com"], "subject": "Hello", "body": "Hi"}
    sent = [
        await step(person, "email.send", account=account, **words)
        for person, account in (("ana", None), ("ben", "private"))
    ]
    assert [one["delivery"] for one in sent] == ["smtp", "smtp"]
    assert [envelope.mail_from for envelope in taken] == ["ana@example.com", "private@example.com"]
    assert (await step("carl", "email.send", **words))["delivery"] == "own-store"
    assert len(taken) == 2


async def test_a_step_that_runs_again_does_nothing_twice_whichever_account_is_the_default_then(
    step: Step, accounts: AccountsOfPeople, dav: Radicale
) -> None:
    work, private = calendar(dav, "work"), calendar(dav, "private")
    accounts.people["ben"] = FakeAccounts([work, private])
    first = await step("ben", "calendar.create_event", key="s1", **DENTIST)
    accounts.people["ben"] = FakeAccounts([private, work])
    assert (await step("ben", "calendar.create_event", key="s1", **DENTIST))["event_id"] == first["event_id"]
    assert titles(await step("ben", "calendar.list_events", account="private", **DAY)) == []


@pytest.mark.parametrize("contract", [Calendar, Email])
def test_tools_take_an_account_only_where_there_is_an_accounts_service(contract: type[Capability]) -> None:
    without, with_ = contract.manifest(), contract.manifest(accounts=True)
    assert "account" not in str([spec.args_schema for spec in without.tools])
    taking = {spec.name for spec in with_.tools if "account" in spec.args_schema["properties"]}
    assert taking == {spec.name for spec in without.tools} - contract.without_account
    assert contract.without_account <= {spec.name for spec in without.tools}
    assert {spec.name for spec in with_.tools if spec.annotations.accounts} == taking


async def test_what_is_not_used_for_a_while_is_closed() -> None:
    closed: list[str] = []
    both = asyncio.Event()

    @dataclasses.dataclass
    class Thing:
        name: str

        async def close(self) -> None:
            closed.append(self.name)
            if len(closed) == 2:
                both.set()

    async def open_(name: str) -> Thing:
        return Thing(name)

    pool: ResourcePool[Thing] = ResourcePool(open_, most=2, lifetime=0.01)
    async with pool.use("a") as first, pool.use("b"):
        await asyncio.sleep(0.05)
        assert closed == []
        async with pool.use("a") as again:
            assert again is first
    async with asyncio.timeout(10):
        await both.wait()
    assert sorted(closed) == ["a", "b"]
    assert len(pool) == 0
    async with pool.use("a") as other:
        assert other is not first
    await pool.close()


@pytest.mark.parametrize(
    ("provider", "endpoint", "tool", "args"),
    [
        (Provider.CALDAV, "caldav", "calendar.list_events", DAY),
        (Provider.CARDDAV, "carddav", "contacts.list", {}),
        (Provider.IMAP, "imap", "email.search", {}),
    ],
)
async def test_a_server_on_a_private_address_is_refused(
    step: Step, accounts: AccountsOfPeople, provider: Provider, endpoint: str, tool: str, args: dict[str, Any]
) -> None:
    scheme = "imaps" if provider is Provider.IMAP else "https"
    places = {endpoint: f"{scheme}://127.0.0.1:{free_port()}", "smtp": "smtps://127.0.0.1"}
    accounts.people["ana"] = FakeAccounts([at(provider, "ana", PASSWORD, endpoints=places, private_hosts=False)])
    with pytest.raises(ApplicationError, match="private") as refused:
        await step("ana", tool, **args)
    assert (refused.value.type, refused.value.non_retryable) == ("NotAllowed", True)
