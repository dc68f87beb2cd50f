"""The address book's tools as a worker runs them: real activities, on a database file and on a real CardDAV server."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from typing import Any, cast

import httpx
import pytest
from pydantic import AnyHttpUrl, SecretStr
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contacts import graph
from activities.contacts.google import over
from activities.contacts.models import ContactsBase
from activities.contacts.settings import ContactsSettings
from activities.contacts.worker import import_file, plugin
from retinue.accounts.access import Access
from retinue.activity_adapter import build_activities
from retinue.store import Store
from retinue.testing import serving
from tests.accounts.google_account import connection
from tests.accounts.google_people import GooglePeople, google_people
from tests.activities.contacts.microsoft_contacts import MicrosoftContacts
from tests.activities.graph_account import account
from tests.radicale import PASSWORD, USER, Radicale, radicale

Call = Callable[..., Awaitable[dict[str, Any]]]
_NEW_BOOK = (
    '<?xml version="1.0"?><d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop>'
    "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype></d:prop></d:set></d:mkcol>"
)


@dataclass
class AddressBook:
    """One address book on Radicale, seen as other devices see it."""

    url: str
    files: Path

    def ask(self, method: str, name: str = "", **request: Any) -> httpx.Response:
        answer = httpx.request(method, f"{self.url}{name}", auth=(USER, PASSWORD), timeout=10, **request)
        assert answer.is_success, answer.text
        return answer

    def put(self, name: str, *lines: str) -> None:
        card = "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"UID:{name}", *lines, "END:VCARD", ""])
        self.ask("PUT", f"{name}.vcf", content=card.encode(), headers={"Content-Type": "text/vcard"})

    def cards(self) -> list[str]:
        return [file.read_text() for file in sorted(self.files.glob("*.vcf"))]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    """A real CardDAV server, and the folder in which it keeps everything."""
    with radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture
def book(server: Radicale) -> AddressBook:
    """An empty address book."""
    name = uuid.uuid4().hex
    book = AddressBook(f"{server.address}/{USER}/{name}/", server.folder / USER / name)
    book.ask("MKCOL", content=_NEW_BOOK)
    return book


@pytest.fixture(params=["own", "carddav", "google", "graph"])
def provider(request: pytest.FixtureRequest) -> str:
    """Where the address book is kept: every test that uses the tools runs on all."""
    return cast(str, request.param)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the capability's own database."""
    return tmp_path / "contacts.db"


@pytest.fixture
def settings(provider: str, database: Path, request: pytest.FixtureRequest) -> ContactsSettings:
    """Settings of an address book of its own."""
    url = f"sqlite+aiosqlite:///{database}"
    if provider in ("own", "google", "graph"):
        return ContactsSettings(database_url=url)
    book: AddressBook = request.getfixturevalue("book")
    return on_server(book.url, url)


def on_server(book: str, database_url: str, **changes: Any) -> ContactsSettings:
    """Settings of an address book on a server."""
    return ContactsSettings(
        provider="carddav",
        url=AnyHttpUrl(book),
        username=USER,
        password=SecretStr(PASSWORD),
        database_url=database_url,
        **changes,
    )


@pytest.fixture
def google() -> Iterator[GooglePeople]:
    """Contacts at Google, as far as Google's reference tells."""
    with google_people() as running:
        yield running


@pytest.fixture
def microsoft() -> MicrosoftContacts:
    """Contacts at Microsoft, as far as Graph's reference tells."""
    return MicrosoftContacts()


@pytest.fixture
async def call(settings: ContactsSettings, provider: str, request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    """Runs a tool by name; calls with the same `step` are attempts of one step."""
    if provider == "google":
        google: GooglePeople = request.getfixturevalue("google")
        async with at_google(settings, google.url) as run:
            yield run
        return
    if provider == "graph":
        microsoft: MicrosoftContacts = request.getfixturevalue("microsoft")
        async with serving(microsoft.app()) as url, at_microsoft(settings, Access(account(url))) as run:
            yield run
        return
    async for run in served(settings):
        yield run


@asynccontextmanager
async def at_google(settings: ContactsSettings, url: str, **more: Any) -> AsyncIterator[Call]:
    """The tools over an account at Google."""
    store = Store(settings.database_url, ContactsBase.metadata, owner="contacts")
    async with store, httpx.AsyncClient(timeout=5) as http:
        yield caller(build_activities(over(Access(connection(url, "token")), store, http=http, **more)))


@asynccontextmanager
async def at_microsoft(settings: ContactsSettings, access: Access) -> AsyncIterator[Call]:
    """The tools over an account at Microsoft."""
    store = Store(settings.database_url, ContactsBase.metadata, owner="contacts")
    async with store, httpx.AsyncClient(timeout=5, trust_env=False) as http:
        yield caller(build_activities(graph.over(access, store, http=http)))


async def served(settings: ContactsSettings) -> AsyncIterator[Call]:
    """The tools of one worker."""
    served = plugin(settings)
    assert isinstance(served.activities, Sequence)
    assert served.run_context is not None
    async with served.run_context():
        yield caller(served.activities)


def caller(served: Sequence[Callable[..., Any]]) -> Call:
    """Run one tool as the activity of one step."""
    activities = {activity._Definition.must_from_callable(run).name: run for run in served}

    async def run(tool: str, *, step: str | None = None, **arguments: Any) -> dict[str, Any]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_id="assistant-1", activity_id=step or uuid.uuid4().hex, activity_type=tool
        )
        return await environment.run(activities[tool], arguments)

    return run


async def retried(call: Call, tool: str, **arguments: Any) -> dict[str, Any]:
    """An attempt that is tried again as Temporal does: while its error says that this may help."""
    while True:
        try:
            return await call(tool, **arguments)
        except ApplicationError as error:
            if error.non_retryable:
                raise
            await asyncio.sleep(error.next_retry_delay.total_seconds() if error.next_retry_delay else 0.2)


@pytest.fixture
def count_contacts(provider: str, database: Path, request: pytest.FixtureRequest) -> Callable[[], int]:
    """How many people the address book holds."""

    def count() -> int:
        with closing(connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM contact").fetchone()[0])

    if provider == "own":
        return count
    if provider == "google":
        google: GooglePeople = request.getfixturevalue("google")
        return lambda: len(google.people)
    if provider == "graph":
        microsoft: MicrosoftContacts = request.getfixturevalue("microsoft")
        return lambda: len(microsoft.things)
    book: AddressBook = request.getfixturevalue("book")
    return lambda: len(book.cards())


@pytest.fixture
def fill(
    provider: str, settings: ContactsSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[int, str], Awaitable[None]]:
    """Puts many people of one numbered name into the address book."""

    def cards(people: int, name: str) -> str:
        return "".join(
            f"BEGIN:VCARD\nVERSION:3.0\nUID:{number}\nFN:{name} {number}\nN:{name};{number};;;\nEND:VCARD\n"
            for number in range(people)
        )

    async def imported(people: int, name: str) -> None:
        path = tmp_path / "many.vcf"
        path.write_text(cards(people, name), encoding="utf-8")
        assert (await import_file(path, settings)).startswith(f"{people} contacts imported")

    async def uploaded(people: int, name: str) -> None:
        book: AddressBook = request.getfixturevalue("book")
        headers = {"Content-Type": "text/vcard; charset=utf-8"}
        await asyncio.to_thread(book.ask, "PUT", content=cards(people, name).encode(), headers=headers)

    async def entered(people: int, name: str) -> None:
        google: GooglePeople = request.getfixturevalue("google")
        for number in range(people):
            google.put(names=[{"displayName": f"{name} {number}"}])

    async def added(people: int, name: str) -> None:
        microsoft: MicrosoftContacts = request.getfixturevalue("microsoft")
        for number in range(people):
            microsoft.add(displayName=f"{name} {number}")

    return {"own": imported, "carddav": uploaded, "google": entered, "graph": added}[provider]
