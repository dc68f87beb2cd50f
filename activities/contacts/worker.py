"""What runs where: the address book's activities on the queue `contacts`, with a store that lives as long as they."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.plugin import SimplePlugin

from activities.contacts.contract import Contacts
from activities.contacts.models import ContactsBase
from activities.contacts.settings import ContactsSettings
from activities.contacts.store import ContactsStore
from activities.contacts.tools import ContactsTools
from activities.contacts.vcard_file import read_file
from retinue.edge import activities_of
from retinue.store import Store

CONTRACT = Contacts


def plugin(settings: ContactsSettings | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability."""
    store = _store(settings or ContactsSettings())

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        await store.open()
        try:
            yield
        finally:
            await store.close()

    return SimplePlugin(CONTRACT.name, activities=activities_of(ContactsTools(store)), run_context=opened)


async def import_file(path: Path, settings: ContactsSettings | None = None) -> str:
    """Enter the people of a vCard file (.vcf) and say in one sentence what came of it.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is too large or no vCard file.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or ContactsSettings()
    file = await asyncio.to_thread(read_file, path)
    store = _store(settings)
    await store.open()
    try:
        added = await ContactsStore(store).import_contacts(file.people)
    finally:
        await store.close()
    return file.outcome(added)


def _store(settings: ContactsSettings) -> Store:
    return Store(settings.database_url, ContactsBase.metadata, owner=CONTRACT.name)
