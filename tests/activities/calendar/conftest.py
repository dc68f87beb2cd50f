"""The calendar's tools as a worker runs them: real activities on a real database file, and a real CalDAV server."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from sqlite3 import connect
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from activities.calendar import graph
from activities.calendar.google import over
from activities.calendar.models import CalendarBase
from activities.calendar.settings import CalendarSettings
from activities.calendar.worker import plugin
from retinue.accounts.access import Access
from retinue.accounts.connection import Accounts, Connection
from retinue.activity_adapter import build_activities
from retinue.store import Store
from retinue.testing import serving as local_server
from tests.accounts.google_account import connection
from tests.accounts.google_calendar import GoogleCalendar, google_calendar
from tests.activities.calendar.microsoft_calendar import MicrosoftCalendar
from tests.activities.graph_account import account as microsoft_account
from tests.radicale import PASSWORD, USER, Radicale, radicale

Call = Callable[..., Awaitable[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Shelf:
    """One calendar on a CalDAV server, seen by somebody who is not Retinue."""

    url: str
    client: httpx.Client

    def put(self, name: str, content: str) -> None:
        """Put a resource there, as another app does."""
        lines = "\r\n".join(line for line in content.splitlines() if line)
        headers = {"Content-Type": "text/calendar; charset=utf-8"}
        reply = self.client.put(self.url + name, content=lines.encode(), headers=headers)
        assert reply.status_code in (200, 201, 204), reply.text

    def get(self, name: str) -> str:
        """The content of a resource."""
        reply = self.client.get(self.url + name)
        reply.raise_for_status()
        return reply.text.replace("\r\n ", "")

    def remove(self, name: str) -> None:
        """Remove a resource."""
        self.client.delete(self.url + name).raise_for_status()

    def names(self) -> list[str]:
        """The names of all resources."""
        listed = self.client.request("PROPFIND", self.url, headers={"Depth": "1"})
        hrefs = [each.split("<", 1)[0] for each in listed.text.split("<href>")[1:]]
        return sorted(unquote(href.rpartition("/")[2]) for href in hrefs if not href.endswith("/"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    """A Radicale process with one user."""
    with radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture
def shelf(server: Radicale) -> Iterator[Shelf]:
    """A new calendar."""
    with httpx.Client(auth=(USER, PASSWORD), timeout=30) as client:
        url = server.calendar(uuid4().hex)
        yield Shelf(url, client)
        client.delete(url).raise_for_status()


@pytest.fixture
def provider() -> str:
    """Where the events are kept. The contract's tests run on all providers."""
    return "own"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of the capability's own database."""
    return tmp_path / "calendar.db"


@pytest.fixture
def settings(provider: str, database: Path, request: pytest.FixtureRequest) -> CalendarSettings:
    """Settings of a calendar of its own, whose unzoned times belong to Berlin."""
    own = CalendarSettings(database_url=f"sqlite+aiosqlite:///{database}", timezone="Europe/Berlin")
    if provider in ("own", "google", "graph"):
        return own
    shelf: Shelf = request.getfixturevalue("shelf")
    return on_server(own, shelf.url)


def on_server(own: CalendarSettings, url: str, **more: Any) -> CalendarSettings:
    """The same settings with a calendar on a server."""
    told = {"provider": "caldav", "url": url, "username": USER, "password": PASSWORD, **more}
    return CalendarSettings.model_validate({**own.model_dump(), **told})


@pytest.fixture
def google() -> Iterator[GoogleCalendar]:
    """A calendar at Google, as far as Google's reference tells."""
    with google_calendar() as running:
        yield running


@pytest.fixture
def microsoft() -> MicrosoftCalendar:
    """A calendar at Microsoft, as far as Graph's reference tells."""
    return MicrosoftCalendar()


@pytest.fixture
async def call(settings: CalendarSettings, provider: str, request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    """Runs a tool by name; calls with the same `step` are attempts of one step."""
    if provider == "google":
        google: GoogleCalendar = request.getfixturevalue("google")
        async with at_google(settings, connection(google.url, "token")) as run:
            yield run
        return
    if provider == "graph":
        microsoft: MicrosoftCalendar = request.getfixturevalue("microsoft")
        async with local_server(microsoft.app()) as url, at_microsoft(settings, microsoft_account(url)) as run:
            yield run
        return
    async with serving(settings) as run:
        yield run


@asynccontextmanager
async def at_google(
    settings: CalendarSettings, account: Connection, accounts: Accounts | None = None
) -> AsyncIterator[Call]:
    """The tools over an account at Google."""
    store = Store(settings.database_url, CalendarBase.metadata, owner="calendar")
    async with store, httpx.AsyncClient(timeout=1) as http:
        tools = over(Access(account, accounts), store, http=http, default_zone=settings.timezone)
        yield caller(build_activities(tools))


@asynccontextmanager
async def at_microsoft(
    settings: CalendarSettings, account: Connection, accounts: Accounts | None = None
) -> AsyncIterator[Call]:
    """The tools over an account at Microsoft."""
    store = Store(settings.database_url, CalendarBase.metadata, owner="calendar")
    async with store, httpx.AsyncClient(timeout=5, trust_env=False) as http:
        tools = graph.over(Access(account, accounts), store, http=http, default_zone=settings.timezone)
        yield caller(build_activities(tools))


@asynccontextmanager
async def serving(settings: CalendarSettings) -> AsyncIterator[Call]:
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
            environment.info, workflow_id="assistant-1", activity_id=step or uuid4().hex, activity_type=tool
        )
        return await environment.run(activities[tool], arguments)

    return run


@pytest.fixture
def count_events(provider: str, database: Path, request: pytest.FixtureRequest) -> Callable[[], int]:
    """How many events the calendar holds."""

    def count() -> int:
        with closing(connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])

    if provider == "own":
        return count
    if provider == "google":
        google: GoogleCalendar = request.getfixturevalue("google")
        return lambda: len(google.shown())
    if provider == "graph":
        microsoft: MicrosoftCalendar = request.getfixturevalue("microsoft")
        return lambda: len(microsoft.things)
    shelf: Shelf = request.getfixturevalue("shelf")
    return lambda: len(shelf.names())
