"""What runs where: the address book's activities on the queue `contacts`, with a store that lives as long as they."""

import asyncio
from pathlib import Path

import httpx
from temporalio.plugin import SimplePlugin

from activities.contacts.carddav import CONTENT_TYPE, CarddavContacts
from activities.contacts.contract import Contacts
from activities.contacts.models import ContactsBase
from activities.contacts.routed import routing
from activities.contacts.settings import ContactsSettings
from activities.contacts.store import ContactsStore
from activities.contacts.tools import ContactsTools
from activities.contacts.vcard_file import read_file
from retinue.accounts.client import accounts_of
from retinue.accounts.connection import NamedAccounts
from retinue.activity_adapter import build_activities, keep_open
from retinue.errors import InvalidArguments
from retinue.network import dav
from retinue.network.service_client import ExternalService
from retinue.store import Store
from retinue.temporal.tenant_header import working_for
from retinue.tenancy import ANY_TENANT

CONTRACT = Contacts


def plugin(settings: ContactsSettings | None = None, accounts: NamedAccounts | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability.

    Args:
        settings: By default those of the environment.
        accounts: Of people at services elsewhere; by default those of the environment, if any.
    """
    settings = settings or ContactsSettings()
    store = _store(settings)
    client = _client(settings) if settings.provider == "carddav" else None
    service = None if accounts else accounts_of()
    known = accounts or service
    routed = routing(settings, store, known) if known else None

    tools: Contacts
    if client is None:
        tools, tenant = ContactsTools(store), ANY_TENANT
    else:
        tools, tenant = CarddavContacts(store.shared(), _collection(settings, client)), settings.organisation
    calls = build_activities(tools, tenant=tenant, accounts=routed)
    return SimplePlugin(CONTRACT.name, activities=calls, run_context=keep_open(store, client, service, routed))


async def import_file(path: Path, settings: ContactsSettings | None = None, *, person: str = "") -> str:
    """Enter the people of a vCard file (.vcf) and say in one sentence what came of it.

    Args:
        path: Of the file.
        settings: Of the address book.
        person: Whose address book; may be left out where nobody is told apart.

    Raises:
        NotFound: There is no such file.
        InvalidArguments: It is too large or no vCard file.
        ServiceUnavailable: The database does not answer.
    """
    settings = settings or ContactsSettings()
    if settings.provider != "own":
        hint = "use the server's own import, or an address book program"
        raise InvalidArguments("files are imported into the own address book, and yours is on a server", hint=hint)
    file = await asyncio.to_thread(read_file, path)
    store = _store(settings)
    async with store:
        with working_for(person, of_organisation=settings.organisation):
            added = await ContactsStore(store).import_contacts(file.people)
    return file.outcome(added)


def _store(settings: ContactsSettings) -> Store:
    return Store(settings.database_url, ContactsBase.metadata, owner=CONTRACT.name)


def _client(settings: ContactsSettings) -> httpx.AsyncClient:
    return dav.client(
        str(settings.url), username=settings.username, password=settings.password, timeout=settings.timeout
    )


def _collection(settings: ContactsSettings, client: httpx.AsyncClient) -> dav.Collection:
    outside = ExternalService(client, name="the address book's server", deadline=settings.timeout)
    return dav.Collection(outside, str(settings.url), content_type=CONTENT_TYPE)
