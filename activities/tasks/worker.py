"""What runs where: the to-do list's activities on the queue `tasks`, with a store that lives as long as they."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.plugin import SimplePlugin

from activities.tasks.contract import Tasks
from activities.tasks.models import TasksBase
from activities.tasks.settings import TasksSettings
from activities.tasks.tools import TasksTools
from retinue.edge import activities_of
from retinue.store import Store

CONTRACT = Tasks


def plugin(settings: TasksSettings | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability."""
    settings = settings or TasksSettings()
    store = Store(settings.database_url, TasksBase.metadata, owner=CONTRACT.name)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    return SimplePlugin(CONTRACT.name, activities=activities_of(TasksTools(store)), run_context=opened)
