"""What runs where: the calendar's activities on the queue `calendar`, with a store that lives as long as they."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.plugin import SimplePlugin

from activities.calendar.contract import Calendar
from activities.calendar.icalendar_file import read_file
from activities.calendar.models import CalendarBase
from activities.calendar.routed import routing
from activities.calendar.settings import CalendarSettings
from activities.calendar.store import CalendarStore
from activities.calendar.tools import CalendarTools
from retinue.accounts.client import accounts_of
from retinue.accounts.connection import NamedAccounts
from retinue.activity_adapter import build_activities, keep_open
from retinue.errors import InvalidArguments
from retinue.store import Store
from retinue.temporal.tenant_header import working_for
from retinue.tenancy import ANY_TENANT

if TYPE_CHECKING:
    import httpx

CONTRACT = Calendar


def plugin(settings: CalendarSettings | None = None, accounts: NamedAccounts | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability.

    Args:
        settings: By default those of the environment.
        accounts: Of people at services elsewhere; by default those of the environment, if any.
    """
    settings = settings or CalendarSettings()
    store = _store(settings)
    client = _client(settings)
    service = None if accounts else accounts_of()
    known = accounts or service
    routed = routing(settings, store, known) if known else None

    calls = build_activities(
        _calendar(settings, store, client),
        tenant=ANY_TENANT if client is None else settings.organisation,
        accounts=routed,
    )
    return SimplePlugin(CONTRACT.name, activities=calls, run_context=keep_open(store, client, service, routed))


async def import_file(path: Path, settings: CalendarSettings | None = None, *, person: str = "") -> str:
    """Enter the events of an iCalendar file (.ics) and say what came of it: what was left out is named.

    Args:
        path: Of the file.
        settings: Of the calendar.
        person: Whose calendar; may be left out where nobody is told apart.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is too large or not iCalendar, or the events are kept on a server.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or CalendarSettings()
    if settings.provider != "own":
        raise InvalidArguments("the events are kept on a CalDAV server", hint="import the file there")
    file = await asyncio.to_thread(read_file, path, settings.timezone)
    store = _store(settings)
    async with store:
        with working_for(person, of_organisation=settings.organisation):
            done = await CalendarStore(store).import_events(file.series)
    return file.outcome(done)


def _calendar(settings: CalendarSettings, store: Store, client: httpx.AsyncClient | None) -> Calendar:
    """Return the provider that the settings name. What only the other one needs is not loaded."""
    if client is None:
        return CalendarTools(store, default_zone=settings.timezone)
    from activities.calendar.caldav import CaldavCalendar
    from activities.calendar.caldav_server import CaldavServer
    from activities.calendar.caldav_view import CalendarView

    server = CaldavServer(client, settings.url, timeout=settings.timeout)
    view = CalendarView(server, default_zone=settings.timezone)
    return CaldavCalendar(store.shared(), server, view, default_zone=settings.timezone)


def _client(settings: CalendarSettings) -> httpx.AsyncClient | None:
    if settings.provider == "own":
        return None
    from retinue.network import dav

    return dav.client(settings.url, username=settings.username, password=settings.password, timeout=settings.timeout)


def _store(settings: CalendarSettings) -> Store:
    return Store(settings.database_url, CalendarBase.metadata, owner=CONTRACT.name)
