"""What runs where: the calendar's activities on the queue `calendar`, with a store that lives as long as they."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.plugin import SimplePlugin

from activities.calendar.contract import Calendar
from activities.calendar.icalendar_file import read_file
from activities.calendar.models import CalendarBase
from activities.calendar.settings import CalendarSettings
from activities.calendar.store import CalendarStore
from activities.calendar.tools import CalendarTools
from retinue.edge import activities_of
from retinue.store import Store

CONTRACT = Calendar


def plugin(settings: CalendarSettings | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability."""
    store = _store(settings or CalendarSettings())

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    return SimplePlugin(CONTRACT.name, activities=activities_of(CalendarTools(store)), run_context=opened)


async def import_file(path: Path, settings: CalendarSettings | None = None) -> str:
    """Enter the events of an iCalendar file (.ics) and say in one sentence what came of it.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is too large or not iCalendar.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or CalendarSettings()
    file = await asyncio.to_thread(read_file, path, settings.timezone)
    store = _store(settings)
    await store.open()
    try:
        added = await CalendarStore(store).import_events(file.events)
    finally:
        await store.close()
    return file.outcome(added)


def _store(settings: CalendarSettings) -> Store:
    return Store(settings.database_url, CalendarBase.metadata, owner=CONTRACT.name)
